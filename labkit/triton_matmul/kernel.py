"""The program that each tile of the result runs. Imports Triton; `labkit.triton_matmul` says so where it is missing.

It stands here undecorated, so that it can be both compiled and interpreted in one process, and it uses only Triton's
built-in operations: the functions of its standard library (tl.zeros, tl.cdiv, …) are fixed to one of the two when
Triton is imported.
"""

# mypy: ignore-errors
# A kernel's types are Triton's own, known when it is traced.

import triton.language as tl


def matmul_program(
    a,  # (m, k)
    b,  # (k, n)
    c,  # (m, n)
    m,
    n,
    k,
    stride_am,
    stride_ak,
    stride_bk,
    stride_bn,
    stride_cm,
    stride_cn,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
    EVEN_K: tl.constexpr,
    UPCAST: tl.constexpr,
):
    """c = a @ b, one (BLOCK_M, BLOCK_N) tile of c per program, summed in float32."""
    # Programs start in the order of their ids, and those that run together share the L2 cache. Counted row by row, they
    # would need one row of a's tiles but all columns of b. Counted down GROUP_M rows before going one column to the
    # right, they form a patch that is nearly square, and a square needs the fewest tiles of a and b.
    program = tl.program_id(0)
    num_tiles_m = (m + BLOCK_M - 1) // BLOCK_M
    num_tiles_n = (n + BLOCK_N - 1) // BLOCK_N
    programs_in_group = GROUP_M * num_tiles_n
    first_tile_m = program // programs_in_group * GROUP_M
    rows_in_group = tl.minimum(num_tiles_m - first_tile_m, GROUP_M)  # the last group can be lower
    tile_m = first_tile_m + program % programs_in_group % rows_in_group
    tile_n = program % programs_in_group // rows_in_group

    rows = tile_m * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = tile_n * BLOCK_N + tl.arange(0, BLOCK_N)
    inner = tl.arange(0, BLOCK_K)
    # Past the edge the rows wrap around: what they load is valid memory, and what comes of it is masked at the store.
    # So the loop needs a mask along k only, and none where BLOCK_K divides k.
    a_tile = a + (rows % m)[:, None] * stride_am + inner[None, :] * stride_ak  # BLOCK_M, BLOCK_K
    b_tile = b + inner[:, None] * stride_bk + (columns % n)[None, :] * stride_bn  # BLOCK_K, BLOCK_N
    total = tl.full((BLOCK_M, BLOCK_N), 0.0, tl.float32)
    for start in range(0, k, BLOCK_K):
        if EVEN_K:
            a_values = tl.load(a_tile)
            b_values = tl.load(b_tile)
        else:
            a_values = tl.load(a_tile, mask=inner[None, :] < k - start, other=0.0)
            b_values = tl.load(b_tile, mask=inner[:, None] < k - start, other=0.0)
        if UPCAST:
            a_values = a_values.to(tl.float32)
            b_values = b_values.to(tl.float32)
        # float32 on tensor cores, in three TF32 products that together keep its precision (one alone: 10 bits of 23)
        total = tl.dot(a_values, b_values, total, input_precision="tf32x3")
        a_tile += BLOCK_K * stride_ak
        b_tile += BLOCK_K * stride_bk

    c_tile = c + rows[:, None] * stride_cm + columns[None, :] * stride_cn
    tl.store(c_tile, total.to(c.dtype.element_ty), mask=(rows[:, None] < m) & (columns[None, :] < n))

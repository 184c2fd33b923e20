"""A product in blocks that fit into a cache, and the memory traffic that this leaves."""

from collections.abc import Iterator

import numpy as np

from labkit.gemm._arguments import Array, ShapeError, at_least, check_axes


def blocked_gemm(a: Array, b: Array, block: int) -> Array:
    """a @ b, computed in blocks of (block, block), those at the edges smaller: a (m, k), b (k, n) -> (m, n).

    A block of c stays in the cache while the blocks of a and b that it needs pass through.

    >>> blocked_gemm(np.ones((3, 5)), np.ones((5, 2)), block=2)
    array([[5., 5.],
           [5., 5.],
           [5., 5.]])
    """
    check_axes("a", a, "m, k")
    check_axes("b", b, "k, n")
    (m, k), (other_k, n) = a.shape, b.shape
    if k != other_k:
        raise ShapeError(
            f"a has {k} columns but b has {other_k} rows (a {a.shape}, b {b.shape}); a @ b sums over both, "
            "so they must be equal: is one of them transposed?"
        )
    c = np.zeros((m, n), np.result_type(a, b))
    for rows in _blocks(m, block):
        for columns in _blocks(n, block):
            for inner in _blocks(k, block):
                c[rows, columns] += a[rows, inner] @ b[inner, columns]
    return c


def blocked_traffic_bytes(m: int, n: int, k: int, block: int, itemsize: int) -> int:
    """Bytes that `blocked_gemm` moves between slow memory and a cache that holds one block of each matrix.

    The model: for each block of c, the blocks of a in its rows and of b in its columns are read one after the
    other, and the block of c is written once, at the end (its sum begins at zero, so it is never read). No
    block outlives that, and a block at an edge costs only the elements it has. So the whole of a is read once
    for each block column of c, ceil(n / block) times, and the whole of b ceil(m / block) times:

        (m·k · ceil(n / block) + k·n · ceil(m / block) + m·n) · itemsize

    With one block for everything that is `gemm_min_bytes`. Caches with lines, and with more room than three
    blocks, behave better or worse than this.

    >>> blocked_traffic_bytes(4, 4, 4, block=2, itemsize=1)  # 80 = 16 * 2 + 16 * 2 + 16
    80
    """
    m, n, k = at_least(0, m=m, n=n, k=k)
    block, itemsize = at_least(1, block=block, itemsize=itemsize)
    a_elements = m * k * -(-n // block)
    b_elements = k * n * -(-m // block)
    return (a_elements + b_elements + m * n) * itemsize


def _blocks(length: int, block: int) -> Iterator[slice]:
    (block,) = at_least(1, block=block)
    for start in range(0, length, block):
        yield slice(start, min(start + block, length))

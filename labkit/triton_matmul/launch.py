"""Calling the Triton kernel: whether it can run here, compiled or interpreted, and with which tiles."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any

from labkit.gemm import ShapeError

if TYPE_CHECKING:
    import torch

DTYPES = ("float16", "bfloat16", "float32")

# (BLOCK_M, BLOCK_N, BLOCK_K), stages of the software pipeline, warps. Each stage on Hopper, and each but one on Ampere,
# keeps a tile of a and one of b in shared memory: in float16 the largest needs 192 KiB on Hopper (which has 227) and
# 144 KiB on Ampere (A100 has 163, consumer cards 99, which is enough from the second on). What does not fit in float32
# the autotuner drops.
CONFIGS = (
    ((128, 256, 64), 4, 8),
    ((128, 256, 64), 3, 8),
    ((256, 128, 64), 3, 8),
    ((128, 128, 64), 3, 4),
    ((128, 128, 64), 3, 8),
    ((128, 128, 32), 4, 4),
    ((64, 256, 32), 4, 4),
    ((128, 64, 32), 4, 4),
    ((64, 128, 32), 4, 4),
    ((64, 64, 32), 5, 2),
)
GROUP_M = 8  # tiles of c, top to bottom, that are computed one after the other
INTERPRETED_TILE = (32, 32, 32)
SMALLEST_TILE = 16  # what tl.dot takes


class TritonUnavailable(RuntimeError):
    """Triton, or what this call needs of it, is not there; the message says what to do instead."""


def unavailable_reason() -> str | None:
    """Why Triton cannot be used here, as a sentence to show; None where it can, on a GPU or interpreted."""
    try:
        import triton  # noqa: F401
    except ImportError as error:
        return (
            f"Triton cannot be imported here ({error}): its wheels are for Linux on x86-64, where `pip install triton` "
            "adds one. labkit.gemm.blocked_gemm does the same tiles in NumPy, anywhere."
        )
    return None


def jit(function: Callable[..., Any], *, interpret: bool) -> Any:
    """`triton.jit`, with the choice made here: the kernel is interpreted on the CPU, or compiled for a GPU.

    Triton itself reads TRITON_INTERPRET when a kernel is decorated, which is too late to change afterwards; here both
    can live in one process. An interpreted kernel may use only built-in operations (tl.full, not tl.zeros) unless
    TRITON_INTERPRET=1 was set before Triton was imported. Raises TritonUnavailable where there is no Triton.
    """
    reason = unavailable_reason()
    if reason is not None:
        raise TritonUnavailable(reason)
    import triton

    with triton.knobs.runtime.scope():
        triton.knobs.runtime.interpret = interpret
        return triton.jit(function)


def matmul(
    a: torch.Tensor,
    b: torch.Tensor,
    *,
    tile: tuple[int, int, int] | None = None,
    interpret: bool | None = None,
) -> torch.Tensor:
    """a @ b by the tiled kernel: (m, k) and (k, n) -> (m, n), of the type of a and b, summed in float32.

    Takes float16, bfloat16 and float32, any strides. `tile` is (BLOCK_M, BLOCK_N, BLOCK_K), powers of two from 16;
    without it a GPU tries `CONFIGS` once for each shape and keeps the fastest. `interpret` runs the kernel's lines one
    by one in NumPy (as TRITON_INTERPRET=1 does); by default that is done for tensors that are not on a GPU.
    """
    _check_operands(a, b)
    interpret = _interpret_by_default(a) if interpret is None else interpret
    if not interpret and not a.is_cuda:
        raise TritonUnavailable(
            f"a compiled kernel needs tensors on a GPU, and these are on {a.device}; move them with .cuda(), "
            "or pass interpret=True to run the kernel step by step on the CPU"
        )
    autotuned = tile is None and not interpret
    kernel = _kernel(interpret, autotuned)
    (m, k), n = a.shape, b.shape[1]
    c = a.new_empty((m, n))
    if not c.numel():
        return c
    blocks = {} if autotuned else _blocks(tile or INTERPRETED_TILE)
    # The interpreter multiplies bfloat16's bit patterns as if they were integers (Triton 3.9): float32 first.
    upcast = interpret and a.element_size() < 4
    with _on_device_of(a):
        kernel[lambda chosen: (_num_tiles(m, chosen["BLOCK_M"]) * _num_tiles(n, chosen["BLOCK_N"]),)](
            a, b, c, m, n, k, *a.stride(), *b.stride(), *c.stride(), UPCAST=upcast, **blocks
        )  # fmt: skip
    return c


@cache
def _kernel(interpret: bool, autotuned: bool) -> Any:
    """The kernel, made once for each way of running it."""
    reason = unavailable_reason()
    if reason is not None:
        raise TritonUnavailable(reason)
    import triton

    from labkit.triton_matmul.kernel import matmul_program

    kernel = triton.heuristics({"EVEN_K": lambda args: args["k"] % args["BLOCK_K"] == 0})(
        jit(matmul_program, interpret=interpret)
    )
    if not autotuned:
        return kernel
    configs = [triton.Config(_blocks(tile), num_stages=stages, num_warps=warps) for tile, stages, warps in CONFIGS]
    # The type is part of the key by itself; of two strides that a matrix has, one tells its layout.
    return triton.autotune(configs, key=["m", "n", "k", "stride_ak", "stride_bk"])(kernel)


def _blocks(tile: tuple[int, int, int]) -> dict[str, int]:
    if len(tile) != 3 or any(size < SMALLEST_TILE or size & (size - 1) for size in tile):
        raise ShapeError(
            f"expected tile (BLOCK_M, BLOCK_N, BLOCK_K) of powers of two from {SMALLEST_TILE}, got {tile}; "
            "matrices may have any size: tiles at the edge are masked"
        )
    return dict(zip(("BLOCK_M", "BLOCK_N", "BLOCK_K"), tile, strict=True)) | {"GROUP_M": GROUP_M}


def _num_tiles(length: int, block: int) -> int:
    return -(-length // block)


def _interpret_by_default(a: torch.Tensor) -> bool:
    if unavailable_reason() is not None or not a.is_cuda:
        return True
    import triton

    return bool(triton.knobs.runtime.interpret)


def _on_device_of(a: torch.Tensor) -> Any:
    """Triton launches on the current GPU, which need not be the one that the tensors are on."""
    if not a.is_cuda:
        return nullcontext()
    import torch

    return torch.cuda.device(a.device)


def _check_operands(a: torch.Tensor, b: torch.Tensor) -> None:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        raise ShapeError(f"expected a (m, k) and b (k, n) with one k, got {tuple(a.shape)} and {tuple(b.shape)}")
    if a.dtype != b.dtype or a.device != b.device:
        raise ValueError(
            f"expected a and b of one type on one device, got {a.dtype} on {a.device} and {b.dtype} on {b.device}"
        )
    if str(a.dtype).removeprefix("torch.") not in DTYPES:
        raise ValueError(f"expected {', '.join(DTYPES)}, got {a.dtype}; convert with .to(...)")
    if max(_last_offset(a), _last_offset(b), a.shape[0] * b.shape[1]) >= 2**31:
        raise ValueError(
            f"a {tuple(a.shape)} @ b {tuple(b.shape)} has a matrix of 2**31 elements or more; the kernel counts "
            "them in 32 bits: multiply it in parts"
        )


def _last_offset(matrix: torch.Tensor) -> int:
    """Elements from the first to the last, by the strides."""
    return sum((size - 1) * stride for size, stride in zip(matrix.shape, matrix.stride(), strict=True))

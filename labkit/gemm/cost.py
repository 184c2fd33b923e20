"""What a matrix product costs in operations and bytes, and how fast that can run: the roofline."""

from typing import overload

import numpy as np

from labkit.gemm._arguments import Array, at_least


def gemm_flops(m: int, n: int, k: int) -> int:
    """Floating-point operations of an (m, k) by (k, n) product: one multiply and one add for each of m·n·k.

    >>> gemm_flops(2, 3, 4)  # 48 = 2 * 2 * 3 * 4
    48
    """
    m, n, k = at_least(0, m=m, n=n, k=k)
    return 2 * m * n * k


def gemm_min_bytes(m: int, n: int, k: int, itemsize: int) -> int:
    """Bytes that any (m, k) by (k, n) product moves at least: each input read once, the result written once.

    >>> gemm_min_bytes(2, 3, 4, itemsize=4)  # 104 = (2 * 4 + 4 * 3 + 2 * 3) * 4
    104
    """
    m, n, k = at_least(0, m=m, n=n, k=k)
    (itemsize,) = at_least(1, itemsize=itemsize)
    return (m * k + k * n + m * n) * itemsize


@overload
def attainable_flops(intensity: float, peak_flops: float, bandwidth: float) -> float: ...
@overload
def attainable_flops(intensity: Array, peak_flops: float, bandwidth: float) -> Array: ...
def attainable_flops(intensity: float | Array, peak_flops: float, bandwidth: float) -> float | Array:
    """FLOP/s under the roofline: the lower of `peak_flops` and what memory can feed, intensity · bandwidth.

    `intensity` is in FLOP per byte, `bandwidth` in bytes/s; an array of intensities gives an array.
    Source: Williams, Waterman, Patterson, "Roofline" (CACM 2009).

    >>> attainable_flops(2.0, peak_flops=100e9, bandwidth=20e9)  # bound by memory: 2 * 20e9
    40000000000.0
    """
    if peak_flops <= 0 or bandwidth <= 0 or np.any(np.less(intensity, 0)):
        raise ValueError(
            f"expected peak_flops > 0, bandwidth > 0 and intensity >= 0, got {peak_flops}, {bandwidth} and {intensity}"
        )
    attainable = np.minimum(peak_flops, np.multiply(intensity, bandwidth))
    return attainable if isinstance(intensity, np.ndarray) else float(attainable)

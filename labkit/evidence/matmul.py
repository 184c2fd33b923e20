"""The Triton product against cuBLAS, and both against the roofline whose two roofs are measured in the same run."""

from __future__ import annotations

from labkit.evidence.place import Place
from labkit.evidence.record import PartResult, Target
from labkit.gemm import attainable_flops, gemm_flops, gemm_min_bytes
from labkit.measure import compare, time_call

SIZE = 4096  # the size of the target
ROOF_SIZES = (4096, 8192)  # the compute roof is the best that cuBLAS does at these
ROOF_BYTES = 2**30  # source and target each: far beyond any cache
SHARE_OF_CUBLAS = 0.8  # the target: what a tiled kernel of this length should reach
ITEM_BYTES = 2  # float16


def run(place: Place) -> PartResult:
    """Raises AssertionError when the product is wrong: a fast wrong kernel is no evidence."""
    import torch

    from labkit.triton_matmul import matmul

    size = place.pick(SIZE, 48)
    a, b = (torch.randn(size, size, device=place.device, dtype=torch.float16) for _ in range(2))
    exact = a.double() @ b.double()
    # float32 sums of float16 products; the results are rounded to float16, 11 bits, beside sums of about sqrt(size).
    torch.testing.assert_close(matmul(a, b).double(), exact, rtol=2**-10, atol=2**-10 * size**0.5)
    timings = compare({"cublas": lambda: a @ b, "triton": lambda: matmul(a, b)}, **place.timing)
    flops = gemm_flops(size, size, size)
    cublas, triton = (flops / (timings[name].median_ms / 1e3) for name in ("cublas", "triton"))
    peak = max(_product_flops(place, each) for each in place.pick(ROOF_SIZES, (48,)))
    bandwidth = _copy_bytes_per_s(place, place.pick(ROOF_BYTES, 2**20))
    roof = attainable_flops(flops / gemm_min_bytes(size, size, size, ITEM_BYTES), max(peak, cublas), bandwidth)
    share = 1 / timings.ratios["triton"]
    figures = {
        "size": float(size),
        "triton_tflops_per_s": triton / 1e12,
        "cublas_tflops_per_s": cublas / 1e12,
        "share_of_cublas": share,
        "triton_spread": timings["triton"].spread,
        "cublas_spread": timings["cublas"].spread,
        "roof_tflops_per_s": roof / 1e12,
        "bandwidth_gb_per_s": bandwidth / 1e9,
        "share_of_roof": triton / roof,
    }
    return PartResult(figures, (Target("share_of_cublas", SHARE_OF_CUBLAS, share),))


def _product_flops(place: Place, size: int) -> float:
    """FLOP/s of torch's own product."""
    import torch

    a, b = (torch.randn(size, size, device=place.device, dtype=torch.float16) for _ in range(2))
    timing = time_call(lambda: a @ b, **place.timing)
    return gemm_flops(size, size, size) / (timing.min_ms / 1e3)


def _copy_bytes_per_s(place: Place, num_bytes: int) -> float:
    """Bytes read plus bytes written per second of a large copy on the device."""
    import torch

    source = torch.ones(num_bytes, device=place.device, dtype=torch.uint8)
    target = torch.empty_like(source)
    timing = time_call(lambda: target.copy_(source), **place.timing)
    return 2 * num_bytes / (timing.min_ms / 1e3)

"""labkit.gemm against torch on the convolution layers of ResNet-18 and VGG-16: one image, one thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table

from labkit import hardware
from labkit.gemm import conv2d_gemm, conv_output_size, gemm_flops, im2col
from labkit.measure import Comparison, compare


@dataclass(frozen=True)
class ConvLayer:
    """A square convolution: `channels` images of size x size to `filters`, kernel and stride alike on both axes."""

    network: str
    channels: int
    filters: int
    size: int
    kernel: int
    stride: int = 1
    padding: int = 0

    def __str__(self) -> str:
        kernel = f"{self.kernel}x{self.kernel}" + (f"/{self.stride}" if self.stride > 1 else "")
        return f"{self.channels} -> {self.filters}, {self.size}x{self.size}, {kernel}"

    @property
    def flops(self) -> int:
        positions = conv_output_size(self.size, self.kernel, self.stride, self.padding) ** 2
        return gemm_flops(self.filters, positions, self.channels * self.kernel**2)


# Every convolution of the two networks, each shape once. He et al. 2015, table 1; Simonyan and Zisserman 2014, table 1.
LAYERS = (
    ConvLayer("ResNet-18", 3, 64, 224, 7, 2, 3),
    ConvLayer("ResNet-18", 64, 64, 56, 3, 1, 1),
    ConvLayer("ResNet-18", 64, 128, 56, 3, 2, 1),
    ConvLayer("ResNet-18", 64, 128, 56, 1, 2),
    ConvLayer("ResNet-18", 128, 128, 28, 3, 1, 1),
    ConvLayer("ResNet-18", 128, 256, 28, 3, 2, 1),
    ConvLayer("ResNet-18", 128, 256, 28, 1, 2),
    ConvLayer("ResNet-18", 256, 256, 14, 3, 1, 1),
    ConvLayer("ResNet-18", 256, 512, 14, 3, 2, 1),
    ConvLayer("ResNet-18", 256, 512, 14, 1, 2),
    ConvLayer("ResNet-18", 512, 512, 7, 3, 1, 1),
    ConvLayer("VGG-16", 3, 64, 224, 3, 1, 1),
    ConvLayer("VGG-16", 64, 64, 224, 3, 1, 1),
    ConvLayer("VGG-16", 64, 128, 112, 3, 1, 1),
    ConvLayer("VGG-16", 128, 128, 112, 3, 1, 1),
    ConvLayer("VGG-16", 128, 256, 56, 3, 1, 1),
    ConvLayer("VGG-16", 256, 256, 56, 3, 1, 1),
    ConvLayer("VGG-16", 256, 512, 28, 3, 1, 1),
    ConvLayer("VGG-16", 512, 512, 28, 3, 1, 1),
    ConvLayer("VGG-16", 512, 512, 14, 3, 1, 1),
)
# A first layer, a 3x3, a 1x1 that strides, and a small late one.
QUICK_LAYERS = (LAYERS[0], LAYERS[1], LAYERS[3], LAYERS[10])

MATMUL_SIZES = (512, 1024, 2048, 4096)


def run(quick: bool = False) -> list[Table]:
    """Medians and ratios per layer; where there is a GPU, also the Triton product against cuBLAS."""
    tables = [layer_table(QUICK_LAYERS if quick else LAYERS, repeats=3 if quick else 7)]
    if hardware.tier() == "gpu":
        tables.append(triton_table(MATMUL_SIZES[-1:] if quick else MATMUL_SIZES))
    return tables


def layer_table(layers: tuple[ConvLayer, ...], repeats: int = 7) -> Table:
    """One row per layer: im2col against unfold, conv2d_gemm against conv2d, in float32."""
    table = Table(
        title=f"Convolution layers, batch 1, float32, one thread, medians of {repeats}; ratio: labkit / torch"
    )
    for column in ("network", "layer"):
        table.add_column(column)
    for column in ("unfold ms", "im2col ms", "ratio", "conv2d ms", "conv2d_gemm ms", "ratio", "GFLOP/s"):
        table.add_column(column, justify="right")
    worst = [0.0, 0.0]
    with _one_thread():
        for layer in layers:
            columns, convolution = _compare_with_torch(layer, repeats)
            ratios = columns.ratios["labkit"], convolution.ratios["labkit"]
            worst = [max(pair) for pair in zip(worst, ratios, strict=True)]
            gflops_per_s = layer.flops / convolution["labkit"].median_ms / 1e6
            cells = [*_cells(columns), *_cells(convolution), f"{gflops_per_s:.1f}"]
            table.add_row(layer.network, str(layer), *cells)
    table.caption = f"worst ratio: im2col / unfold {worst[0]:.2f}, conv2d_gemm / conv2d {worst[1]:.2f}"
    return table


def triton_table(sizes: tuple[int, ...]) -> Table:
    """One row per size: the Triton product against torch's (cuBLAS), square matrices in float16, on the GPU."""
    import torch

    from labkit.triton_matmul import matmul, unavailable_reason

    table = Table(title="Matrix product on the GPU, float16; speed: of cuBLAS")
    for column in ("m = n = k", "torch ms", "triton ms", "speed", "TFLOP/s"):
        table.add_column(column, justify="right")
    reason = unavailable_reason()
    if reason is not None:
        table.caption = reason
        return table
    for size in sizes:
        a, b = torch.randn(2, size, size, device="cuda", dtype=torch.float16)
        compared = compare(
            {"torch": lambda a=a, b=b: a @ b, "triton": lambda a=a, b=b: matmul(a, b)},  # type: ignore[misc]
            synchronize=torch.cuda.synchronize,
            min_sample_ms=20,  # many launches a sample: the queue never runs empty
        )
        triton_ms = compared["triton"].median_ms
        speed = 1 / compared.ratios["triton"]
        tflops_per_s = gemm_flops(size, size, size) / triton_ms / 1e9
        table.add_row(
            f"{size}", f"{compared['torch'].median_ms:.3f}", f"{triton_ms:.3f}", f"{speed:.0%}", f"{tflops_per_s:.1f}"
        )
    return table


def _compare_with_torch(layer: ConvLayer, repeats: int) -> tuple[Comparison, Comparison]:
    """(columns, convolution), each with torch as the baseline, on the same random image and filters."""
    import torch
    from torch.nn import functional as F

    draw = np.random.default_rng(0).standard_normal
    x = draw((1, layer.channels, layer.size, layer.size), dtype=np.float32)
    weight = draw((layer.filters, layer.channels, layer.kernel, layer.kernel), dtype=np.float32)
    image, filters = torch.from_numpy(x), torch.from_numpy(weight)
    window: dict[str, Any] = {"stride": layer.stride, "padding": layer.padding}
    with torch.inference_mode():
        columns = compare(
            {
                "torch": lambda: F.unfold(image, layer.kernel, **window),
                "labkit": lambda: im2col(x, layer.kernel, **window),
            },
            repeats=repeats,
        )
        convolution = compare(
            {
                "torch": lambda: F.conv2d(image, filters, **window),
                "labkit": lambda: conv2d_gemm(x, weight, **window),
            },
            repeats=repeats,
        )
    return columns, convolution


def _cells(compared: Comparison) -> list[str]:
    numbers = compared["torch"].median_ms, compared["labkit"].median_ms, compared.ratios["labkit"]
    return [f"{number:.2f}" for number in numbers]


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread for NumPy's BLAS and for torch, then as it was."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)

"""gemm against torch (unfold, fold, conv2d), brute force counts and invariants, over shapes that hypothesis chooses."""

import doctest
import importlib
import itertools
import pkgutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

import labkit.gemm
from labkit.gemm import (
    ShapeError,
    attainable_flops,
    blocked_gemm,
    blocked_traffic_bytes,
    col2im,
    conv2d_gemm,
    conv_output_size,
    gemm_flops,
    gemm_min_bytes,
    im2col,
)

shapes = settings(max_examples=150, deadline=None)
lengths = st.integers(1, 9)


@st.composite
def layers(draw: st.DrawFn) -> tuple[tuple[int, int, int, int], dict]:
    """An image shape and a window that fits it: not square, strided, padded, dilated, int or pair."""
    kernel, stride, padding, dilation = (
        draw(st.tuples(st.integers(least, most), st.integers(least, most)))
        for least, most in ((1, 4), (1, 3), (0, 3), (1, 3))
    )
    fitting = [max(1, d * (k - 1) + 1 - 2 * p) for k, p, d in zip(kernel, padding, dilation, strict=True)]
    height, width = (draw(st.integers(least, least + 6)) for least in fitting)
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 3)), height, width)
    window = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    # what is equal on both axes is sometimes given as one int
    return shape, {name: v[0] if v[0] == v[1] and draw(st.booleans()) else v for name, v in window.items()}


def whole_numbers(shape: tuple[int, ...], seed: int = 0, dtype: type = np.float32) -> np.ndarray:
    """Small whole numbers: sums are exact in any order, so equality can be asked for."""
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(dtype)


def for_torch(window: dict) -> dict:
    return {"kernel_size" if name == "kernel" else name: value for name, value in window.items()}


# im2col, col2im, conv2d_gemm


@shapes
@given(layers())
def test_im2col_is_unfold(layer: tuple) -> None:
    shape, window = layer
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) + 1
    expected = F.unfold(torch.from_numpy(x), **for_torch(window)).numpy()
    np.testing.assert_array_equal(im2col(x, **window), expected, strict=True)


@shapes
@given(layers())
def test_col2im_is_fold(layer: tuple) -> None:
    shape, window = layer
    cols = whole_numbers(im2col(np.zeros(shape, np.float32), **window).shape)
    expected = F.fold(torch.from_numpy(cols), shape[2:], **for_torch(window)).numpy()
    np.testing.assert_array_equal(col2im(cols, shape[2:], **window), expected, strict=True)


@shapes
@given(layers())
def test_col2im_is_the_adjoint_of_im2col(layer: tuple) -> None:
    shape, window = layer
    x = whole_numbers(shape, seed=1, dtype=np.float64)
    cols = whole_numbers(im2col(x, **window).shape, seed=2, dtype=np.float64)
    assert np.vdot(im2col(x, **window), cols) == np.vdot(x, col2im(cols, shape[2:], **window))


@shapes
@given(layers(), st.integers(1, 4), st.booleans(), st.sampled_from([np.float32, np.float64]))
def test_conv2d_gemm_is_conv2d(layer: tuple, num_filters: int, with_bias: bool, dtype: type) -> None:
    shape, window = layer
    kernel = window.pop("kernel")
    kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
    x = whole_numbers(shape, seed=1, dtype=dtype)
    weight = whole_numbers((num_filters, shape[1], *kernel), seed=2, dtype=dtype)
    bias = whole_numbers((num_filters,), seed=3, dtype=dtype) if with_bias else None
    tensors = [None if array is None else torch.from_numpy(array) for array in (x, weight, bias)]
    expected = F.conv2d(*tensors, **window).numpy()
    np.testing.assert_array_equal(conv2d_gemm(x, weight, bias, **window), expected, strict=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_argument_is_changed_and_types_stay(dtype: type) -> None:
    x, weight, bias = whole_numbers((2, 3, 6, 5), 1, dtype), whole_numbers((4, 3, 2, 3), 2, dtype), np.ones(4, dtype)
    cols, a, b = whole_numbers((2, 18, 20), 3, dtype), whole_numbers((4, 5), 4, dtype), whole_numbers((5, 3), 5, dtype)
    arguments = (x, weight, bias, cols, a, b)
    before = [array.copy() for array in arguments]
    for array in arguments:
        array.flags.writeable = False
    results = [
        im2col(x, (2, 3), padding=1),
        conv2d_gemm(x, weight, bias),
        col2im(cols, (6, 6), (2, 3)),
        blocked_gemm(a, b, 2),
    ]
    assert {result.dtype for result in results} == {np.dtype(dtype)}
    for array, copy in zip(arguments, before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_a_wider_bias_widens_the_result_as_in_numpy() -> None:
    x, weight = np.ones((1, 1, 2, 2), np.float32), np.ones((1, 1, 1, 1), np.float32)
    assert conv2d_gemm(x, weight, np.array([1e-12])).dtype == np.float64
    assert conv2d_gemm(x.astype(int), weight.astype(int), np.array([0.5]))[0, 0, 0, 0] == 1.5


def test_a_kernel_of_one_copies_nothing_and_cannot_be_written_through() -> None:
    x = whole_numbers((2, 3, 4, 5))
    cols = im2col(x, kernel=1)
    assert np.shares_memory(cols, x)
    with pytest.raises(ValueError, match="read-only"):
        cols[0, 0, 0] = 7


def test_what_is_not_contiguous_is_read_right() -> None:
    x = whole_numbers((1, 5, 4, 3)).transpose(0, 3, 2, 1)[:, :, ::-1]
    expected = F.unfold(torch.from_numpy(x.copy()), 2).numpy()
    np.testing.assert_array_equal(im2col(x, 2), expected)


def test_an_empty_batch_gives_an_empty_result() -> None:
    assert im2col(np.zeros((0, 3, 4, 4)), 3).shape == (0, 27, 4)
    assert conv2d_gemm(np.zeros((0, 3, 4, 4)), np.zeros((5, 3, 3, 3))).shape == (0, 5, 2, 2)


@shapes
@given(st.integers(0, 30), st.integers(1, 6), st.integers(1, 4), st.integers(0, 4), st.integers(1, 4))
def test_conv_output_size_counts_the_places_where_the_window_lies_inside(
    size: int, kernel: int, stride: int, padding: int, dilation: int
) -> None:
    starts = range(-padding, size + padding, stride)
    num_places = sum(start + dilation * (kernel - 1) < size + padding for start in starts)
    if num_places:
        assert conv_output_size(size, kernel, stride, padding, dilation) == num_places
    else:
        with pytest.raises(ShapeError):
            conv_output_size(size, kernel, stride, padding, dilation)


# blocking


@shapes
@given(lengths, lengths, lengths, st.integers(1, 11))
def test_blocked_gemm_is_matmul_also_with_partial_blocks(m: int, n: int, k: int, block: int) -> None:
    a, b = whole_numbers((m, k), 1), whole_numbers((k, n), 2)
    np.testing.assert_array_equal(blocked_gemm(a, b, block), a @ b, strict=True)


@shapes
@given(lengths, lengths, lengths, st.integers(1, 11))
def test_blocked_traffic_counts_what_the_blocks_read_and_write(m: int, n: int, k: int, block: int) -> None:
    moved = 0
    for i, j in itertools.product(range(0, m, block), range(0, n, block)):
        rows, columns = len(range(m)[i : i + block]), len(range(n)[j : j + block])
        for inner in (len(range(k)[s : s + block]) for s in range(0, k, block)):
            moved += rows * inner + inner * columns
        moved += rows * columns
    assert blocked_traffic_bytes(m, n, k, block, itemsize=4) == 4 * moved


@shapes
@given(lengths, lengths, lengths)
def test_one_block_for_everything_moves_the_minimum(m: int, n: int, k: int) -> None:
    assert blocked_traffic_bytes(m, n, k, max(m, n), itemsize=2) == gemm_min_bytes(m, n, k, itemsize=2)
    traffic = [blocked_traffic_bytes(m, n, k, block, itemsize=2) for block in range(1, 11)]
    assert traffic == sorted(traffic, reverse=True)


def test_an_empty_inner_axis_sums_to_zero() -> None:
    np.testing.assert_array_equal(blocked_gemm(np.ones((2, 0)), np.ones((0, 3)), 4), np.zeros((2, 3)))


# costs


@shapes
@given(lengths, lengths, lengths)
def test_flops_and_bytes_of_a_product(m: int, n: int, k: int) -> None:
    a, b = torch.ones(m, k), torch.ones(k, n)
    with FlopCounterMode(display=False) as counter:
        c = a @ b
    assert gemm_flops(m, n, k) == counter.get_total_flops()
    assert gemm_min_bytes(m, n, k, itemsize=4) == sum(t.numel() * t.element_size() for t in (a, b, c))


def test_counts_do_not_overflow() -> None:
    large = np.int32(2**20)
    assert gemm_flops(large, large, large) == 2**61
    assert blocked_traffic_bytes(large, large, large, 1, 8) == 2**64 + 2**43


def test_the_roofline_bends_where_the_roofs_meet() -> None:
    assert attainable_flops(4.99, peak_flops=100.0, bandwidth=20.0) == pytest.approx(99.8)
    assert attainable_flops(5.0, peak_flops=100.0, bandwidth=20.0) == 100.0
    assert attainable_flops(1e9, peak_flops=100.0, bandwidth=20.0) == 100.0
    assert attainable_flops(0.0, peak_flops=100.0, bandwidth=20.0) == 0.0
    assert isinstance(attainable_flops(1, 100, 20), float)
    many = attainable_flops(np.array([1.0, 50.0]), peak_flops=100.0, bandwidth=20.0)
    np.testing.assert_array_equal(many, [20.0, 100.0])


# what a caller can get wrong


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: im2col(np.ones((3, 8, 8)), 3), ShapeError, r"expected x of shape \(B, C, H, W\).*x\[None\]"),
        (
            lambda: im2col(np.ones((1, 1, 4, 4)), 3, dilation=3),
            ShapeError,
            "larger than the padded input: kernel 3 with dilation 3 spans 7, but size 4 .* is 4; pad more",
        ),
        (lambda: im2col(np.ones((1, 1, 4, 4)), (2, 2, 2)), ShapeError, "kernel to be an int or"),
        (
            lambda: im2col(np.ones((1, 1, 4, 4)), 2, stride=0),
            ValueError,
            "stride must be a whole number of at least 1, got 0",
        ),
        (lambda: im2col(np.ones((1, 1, 4, 4)), 2, padding=-1), ValueError, "padding must be .* at least 0, got -1"),
        (lambda: im2col(np.ones((1, 1, 4, 4)), 2.5), ValueError, "kernel must be .* got 2.5"),
        (lambda: conv_output_size(4, 0), ValueError, "kernel must be .* at least 1, got 0"),
        (
            lambda: conv2d_gemm(np.ones((1, 3, 8, 8)), np.ones((5, 4, 3, 3))),
            ShapeError,
            "x has 3 channels but each filter of weight expects 4 .*no groups",
        ),
        (
            lambda: conv2d_gemm(np.ones((1, 3, 8, 8)), np.ones((5, 3, 3, 3)), np.ones(3)),
            ShapeError,
            r"expected bias of shape \(5,\), one for each filter of weight, got \(3,\)",
        ),
        (lambda: conv2d_gemm(np.ones((1, 3, 8, 8)), np.ones((5, 27))), ShapeError, "weight of shape"),
        (lambda: col2im(np.ones((1, 5, 4)), 3, 2), ShapeError, "5 rows, which is no multiple of the kernel's 4 taps"),
        (lambda: col2im(np.ones((1, 4, 5)), 3, 2), ShapeError, "5 columns, but .* 2 x 2 = 4 positions"),
        (lambda: col2im(np.ones((4, 4)), 3, 2), ShapeError, r"cols of shape \(B, C\*KH\*KW, L\)"),
        (
            lambda: blocked_gemm(np.ones((2, 3)), np.ones((2, 3)), 2),
            ShapeError,
            "3 columns but b has 2 rows.*transposed",
        ),
        (lambda: blocked_gemm(np.ones((2, 3)), np.ones((3, 3)), 0), ValueError, "block must be .* at least 1, got 0"),
        (lambda: blocked_gemm(np.ones(3), np.ones((3, 3)), 2), ShapeError, r"a of shape \(m, k\), got \(3,\)"),
        (lambda: blocked_traffic_bytes(2, 2, 2, 0, 4), ValueError, "block must be"),
        (lambda: gemm_flops(2, -1, 2), ValueError, "n must be .* at least 0, got -1"),
        (lambda: gemm_min_bytes(2, 2, 2, 0), ValueError, "itemsize must be"),
        (lambda: attainable_flops(1.0, 0.0, 1.0), ValueError, "peak_flops > 0"),
        (lambda: attainable_flops(-1.0, 1.0, 1.0), ValueError, "intensity >= 0"),
    ],
)
def test_errors_say_what_was_expected_and_what_came(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_the_examples_in_the_docstrings_are_true() -> None:
    names = ["labkit.gemm", *(f"labkit.gemm.{found.name}" for found in pkgutil.iter_modules(labkit.gemm.__path__))]
    results = [doctest.testmod(importlib.import_module(name)) for name in names]
    assert sum(result.attempted for result in results) >= 9
    assert sum(result.failed for result in results) == 0

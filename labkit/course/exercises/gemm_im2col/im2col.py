"""`im2col(x, kernel, …)`: every window of an image as one column."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view

from labkit import gemm
from labkit.course.compare import Difference
from labkit.course.exercise import Case, Exercise
from labkit.course.exercises.gemm_im2col.numbers import compare_floats, eighths
from labkit.course.exercises.gemm_im2col.windows import IntOrPair, Layer, pair, places


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)
    layer = Layer.random(rng)
    return [
        Case("one channel, a 2 by 2 window", (eighths(rng, 1, 1, 3, 3), 2)),
        Case("a window higher than wide", (eighths(rng, 1, 1, 4, 5), (3, 2))),
        Case("a 1 by 1 window, two channels", (eighths(rng, 1, 2, 2, 3), 1)),
        Case("two channels", (eighths(rng, 1, 2, 3, 4), 2)),
        Case("a batch of two", (eighths(rng, 2, 1, 3, 4), (2, 2))),
        Case("stride 2, the last window just fits", (eighths(rng, 1, 1, 4, 6), 2, 2)),
        Case("stride 2, a row and a column left over", (eighths(rng, 1, 1, 5, 7), 2, 2)),
        Case("another stride for each axis", (eighths(rng, 1, 1, 6, 7), 2, (3, 1))),
        Case("padding 1", (eighths(rng, 1, 1, 3, 4), 2, 1, 1)),
        Case("another padding for each axis", (eighths(rng, 1, 1, 3, 4), (2, 3), 1, (2, 0))),
        Case("dilation 2", (eighths(rng, 1, 1, 5, 6), 2, 1, 0, 2)),
        Case("another dilation for each axis", (eighths(rng, 1, 1, 4, 7), (3, 2), 1, 0, (1, 3))),
        Case("columns first in memory", (np.asfortranarray(eighths(rng, 1, 2, 4, 3)), 2)),
        Case("float32", (eighths(rng, 1, 1, 4, 3, dtype=np.float32), (2, 1))),
        Case("everything at once", (eighths(rng, 2, 3, 9, 8), (3, 2), (2, 3), (0, 2), (2, 1))),
        Case("everything at once, float32, random", (eighths(rng, 3, 2, *layer.size, dtype=np.float32), *layer.window)),
    ]


def _judge(case: Case, value: Any) -> Difference | None:
    return compare_floats(_columns(*case.args), value, case.args[0].dtype)


def _columns(x: np.ndarray, *window: IntOrPair) -> np.ndarray:
    batch, channels, height, width = x.shape
    places_in_x = places(channels, (height, width), *window)
    with_zero = np.pad(x.reshape(batch, -1), ((0, 0), (0, 1)))  # place -1, the padding, is the zero at the end
    return with_zero[:, places_in_x]


def _blow_up(cases: Sequence[Case], values: Sequence[Any]) -> str:
    before, after = sum(case.args[0].size for case in cases), sum(value.size for value in values)
    return f"The columns hold {after:,} numbers, the images {before:,}: {after / before:.1f} times as many."


im2col = Exercise(
    name="im2col",
    signature="im2col(x, kernel, stride=1, padding=0, dilation=1)",
    goal="Return the windows of x (B, C, H, W) as columns (B, C·KH·KW, L), in the order of torch's unfold: rows by"
    " channel, then down and along the window; columns along the rows of positions. kernel, stride, padding and"
    " dilation are an int or (h, w); padding is zeros; the dtype stays.",
    cases=_cases,
    judge_case=_judge,
    hints=(
        "Take a 3 by 3 image and a 2 by 2 window. Which four entries does row 0 of the columns hold, the one for the"
        " window's upper left tap? Where do they lie in the image?",
        "Fix one tap (i, j) of the window. Over all positions it touches a regular grid of the padded image: it starts"
        " at (i · dilation, j · dilation) and goes in steps of stride. One strided slice takes it, for all images and"
        " channels at once.",
        "`make kernel, stride, padding, dilation pairs; pad x with zeros; oh, ow = the output size per axis`;"
        " `cols = empty (B, C, KH, KW, OH, OW) of x's dtype`; `for each tap i, j: cols[:, :, i, j] = the padded image"
        " from i * dh in oh steps of sh, and from j * dw in ow steps of sw`; `reshape to (B, C*KH*KW, OH*OW)`.",
    ),
    points=4,
    minutes=25,
    difficulty=2,
    num_lines=10,
    note=_blow_up,
)


def _parts(x, cols, kernel):
    """cols with an axis for each of C, KH·KW and L."""
    (kernel_h, kernel_w), (batch, channels) = pair(kernel), x.shape[:2]
    return cols.reshape(batch, channels, kernel_h * kernel_w, -1)


def _output_size(x, kernel, stride, padding, dilation):
    window = (pair(value) for value in (kernel, stride, padding, dilation))
    return [gemm.conv_output_size(*axis) for axis in zip(x.shape[2:], *window, strict=True)]


# Each wrong answer is a right one (labkit's own) that differs in one point.


@im2col.wrong("padding on the top and left only", "zeros stand on all four sides: the image grows by twice padding.")
def _(x, kernel, stride=1, padding=0, dilation=1):
    pad_h, pad_w = pair(padding)
    return gemm.im2col(np.pad(x, ((0, 0), (0, 0), (pad_h, 0), (pad_w, 0))), kernel, stride, 0, dilation)


@im2col.wrong("padding on the bottom and right only", "zeros stand on all four sides, also before the first entry.")
def _(x, kernel, stride=1, padding=0, dilation=1):
    pad_h, pad_w = pair(padding)
    return gemm.im2col(np.pad(x, ((0, 0), (0, 0), (0, pad_h), (0, pad_w))), kernel, stride, 0, dilation)


@im2col.wrong("padding ignored", "x grows by padding zeros on every side before windows are taken.")
def _(x, kernel, stride=1, padding=0, dilation=1):
    return gemm.im2col(x, kernel, stride, 0, dilation)


@im2col.wrong("padding with the edge", "the padding is zeros, not copies of the image's edge.")
def _(x, kernel, stride=1, padding=0, dilation=1):
    pad_h, pad_w = pair(padding)
    padded = np.pad(x, ((0, 0), (0, 0), (pad_h, pad_h), (pad_w, pad_w)), mode="edge")
    return gemm.im2col(padded, kernel, stride, 0, dilation)


@im2col.wrong("padding turned round", "padding is (h, w): the first number goes above and below.")
def _(x, kernel, stride=1, padding=0, dilation=1):
    return gemm.im2col(x, kernel, stride, pair(padding)[::-1], dilation)


@im2col.wrong("kernel height and width swapped", "kernel is (h, w): its first number counts rows.")
def _(x, kernel, stride=1, padding=0, dilation=1):
    return gemm.im2col(x, pair(kernel)[::-1], stride, padding, dilation)


@im2col.wrong("channel as the fastest row", "rows go by channel first: all taps of channel 0, then those of channel 1.")
def _(x, kernel, stride=1, padding=0, dilation=1):
    cols = gemm.im2col(x, kernel, stride, padding, dilation)
    return _parts(x, cols, kernel).swapaxes(1, 2).reshape(cols.shape)


@im2col.wrong("window read column by column", "within a channel the rows of the window come one after the other.")
def _(x, kernel, stride=1, padding=0, dilation=1):
    cols = gemm.im2col(x, kernel, stride, padding, dilation)
    taps = cols.reshape(*x.shape[:2], *pair(kernel), -1)
    return taps.swapaxes(2, 3).reshape(cols.shape)


@im2col.wrong("window flipped", "the window is read as it lies; only the mathematician's convolution turns it round.")
def _(x, kernel, stride=1, padding=0, dilation=1):
    cols = gemm.im2col(x, kernel, stride, padding, dilation)
    return _parts(x, cols, kernel)[:, :, ::-1].reshape(cols.shape)


@im2col.wrong("positions column by column", "positions go along the first row, then the second: width is the fastest.")
def _(x, kernel, stride=1, padding=0, dilation=1):
    cols = gemm.im2col(x, kernel, stride, padding, dilation)
    out_h, out_w = _output_size(x, kernel, stride, padding, dilation)
    return cols.reshape(*cols.shape[:2], out_h, out_w).swapaxes(2, 3).reshape(cols.shape)


@im2col.wrong("windows as rows", "each window is a column: the last axis counts positions.")
def _(x, kernel, stride=1, padding=0, dilation=1):
    return gemm.im2col(x, kernel, stride, padding, dilation).swapaxes(1, 2)


@im2col.wrong(
    "reshaped before the axes are in order", "reshape keeps the order in memory: transpose to C, KH, KW first."
)
def _(x, kernel, stride=1, padding=0, dilation=1):
    cols = gemm.im2col(x, kernel, stride, padding, dilation)
    return cols.swapaxes(1, 2).reshape(cols.shape)


@im2col.wrong("batch merged into the positions", "the batch stays an axis of its own, the first.")
def _(x, kernel, stride=1, padding=0, dilation=1):
    cols = gemm.im2col(x, kernel, stride, padding, dilation)
    return cols.swapaxes(0, 1).reshape(cols.shape[1], -1)


@im2col.wrong("first image only", "x holds a batch: every image has its columns.")
def _(x, kernel, stride=1, padding=0, dilation=1):
    return gemm.im2col(x[:1], kernel, stride, padding, dilation)


@im2col.wrong("dilation ignored", "the taps stand dilation apart: tap i reads at start + i · dilation.")
def _(x, kernel, stride=1, padding=0, dilation=1):
    return gemm.im2col(x, kernel, stride, padding)


@im2col.wrong("stride and dilation exchanged", "stride moves the window, dilation spreads its taps.")
def _(x, kernel, stride=1, padding=0, dilation=1):
    return gemm.im2col(x, kernel, dilation, padding, stride)


@im2col.wrong("stride ignored", "from one position to the next the window moves by stride.")
def _(x, kernel, stride=1, padding=0, dilation=1):
    return gemm.im2col(x, kernel, 1, padding, dilation)


@im2col.wrong("stride of the height for both axes", "stride is (h, w): the second number moves along the width.")
def _(x, kernel, stride=1, padding=0, dilation=1):
    return gemm.im2col(x, kernel, pair(stride)[0], padding, dilation)


@im2col.wrong("output size rounded up", "a window that would reach past the padded image is left out: round down.")
def _(x, kernel, stride=1, padding=0, dilation=1):
    sizes = zip(x.shape[2:], *(pair(value) for value in (kernel, stride, padding, dilation)), strict=True)
    more = [-(n + 2 * p - d * (k - 1) - 1) % s for n, k, s, p, d in sizes]
    (pad_h, pad_w), (more_h, more_w) = pair(padding), more
    padded = np.pad(x, ((0, 0), (0, 0), (pad_h, pad_h + more_h), (pad_w, pad_w + more_w)))
    return gemm.im2col(padded, kernel, stride, 0, dilation)


@im2col.wrong("last position left out", "the window also stands where it just fits: one position more on each axis.")
def _(x, kernel, stride=1, padding=0, dilation=1):
    cols = gemm.im2col(x, kernel, stride, padding, dilation)
    out_h, out_w = _output_size(x, kernel, stride, padding, dilation)
    kept = cols.reshape(*cols.shape[:2], out_h, out_w)[..., : out_h - 1, : out_w - 1]
    return kept.reshape(*cols.shape[:2], (out_h - 1) * (out_w - 1))


@im2col.wrong("always float64", "np.zeros makes float64: give it x's dtype, or float32 becomes twice as large.")
def _(x, kernel, stride=1, padding=0, dilation=1):
    return gemm.im2col(x, kernel, stride, padding, dilation).astype(np.float64)


@im2col.wrong("ints only", "kernel, stride, padding and dilation may be (h, w): make a pair of each first.")
def _(x, kernel, stride=1, padding=0, dilation=1):
    if any(isinstance(value, tuple) for value in (kernel, stride, padding, dilation)):
        raise TypeError("unsupported operand type(s) for -: 'int' and 'tuple'")
    return gemm.im2col(x, kernel, stride, padding, dilation)


@im2col.wrong("pairs only", "kernel, stride, padding and dilation may be one int for both axes.")
def _(x, kernel, stride=1, padding=0, dilation=1):
    kernel[0], stride[0], padding[0], dilation[0]
    return gemm.im2col(x, kernel, stride, padding, dilation)


@im2col.wrong("memory order assumed", "an array's strides need not follow from its shape: take them from x.strides.")
def _(x, kernel, stride=1, padding=0, dilation=1):
    in_memory = x.reshape(-1, order="F" if np.isfortran(x) else "C")
    return gemm.im2col(in_memory.reshape(x.shape), kernel, stride, padding, dilation)


@im2col.right("tap by tap")
def _(x, kernel, stride=1, padding=0, dilation=1):
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = (pair(value) for value in (kernel, stride, padding, dilation))
    batch, channels, height, width = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    oh, ow = (height + 2 * ph - dh * (kh - 1) - 1) // sh + 1, (width + 2 * pw - dw * (kw - 1) - 1) // sw + 1
    cols = np.empty((batch, channels, kh, kw, oh, ow), x.dtype)
    for i in range(kh):
        for j in range(kw):
            cols[:, :, i, j] = padded[:, :, i * dh : i * dh + oh * sh : sh, j * dw : j * dw + ow * sw : sw]
    return cols.reshape(batch, channels * kh * kw, oh * ow)


@im2col.right("window by window")
def _(x, kernel, stride=1, padding=0, dilation=1):
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = (pair(value) for value in (kernel, stride, padding, dilation))
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    height, width = padded.shape[2:]
    span_h, span_w = dh * (kh - 1) + 1, dw * (kw - 1) + 1
    windows = [
        padded[:, :, top : top + span_h : dh, left : left + span_w : dw].reshape(len(x), -1)
        for top in range(0, height - span_h + 1, sh)
        for left in range(0, width - span_w + 1, sw)
    ]
    return np.stack(windows, axis=-1)


@im2col.right("sliding window view")
def _(x, kernel, stride=1, padding=0, dilation=1):
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = (pair(value) for value in (kernel, stride, padding, dilation))
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    view = sliding_window_view(padded, (dh * (kh - 1) + 1, dw * (kw - 1) + 1), axis=(2, 3))
    view = view[:, :, ::sh, ::sw, ::dh, ::dw]
    return view.transpose(0, 1, 4, 5, 2, 3).reshape(len(x), x.shape[1] * kh * kw, -1)


@im2col.right("strides by hand")
def _(x, kernel, stride=1, padding=0, dilation=1):
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = (pair(value) for value in (kernel, stride, padding, dilation))
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    batch, channels, height, width = padded.shape
    oh, ow = (height - dh * (kh - 1) - 1) // sh + 1, (width - dw * (kw - 1) - 1) // sw + 1
    of_image, of_channel, of_row, of_entry = padded.strides
    strides = (of_image, of_channel, dh * of_row, dw * of_entry, sh * of_row, sw * of_entry)
    view = as_strided(padded, (batch, channels, kh, kw, oh, ow), strides, writeable=False)
    return view.reshape(batch, channels * kh * kw, oh * ow)


@im2col.right("index arrays")
def _(x, kernel, stride=1, padding=0, dilation=1):
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = (pair(value) for value in (kernel, stride, padding, dilation))
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    channels, height, width = padded.shape[1:]
    tops, lefts = np.arange(0, height - dh * (kh - 1), sh), np.arange(0, width - dw * (kw - 1), sw)
    i, j = (index.ravel() for index in np.indices((kh, kw)))
    y = (dh * i)[:, None] + np.repeat(tops, len(lefts))
    z = (dw * j)[:, None] + np.tile(lefts, len(tops))
    return padded[:, :, y, z].reshape(len(x), channels * kh * kw, -1)

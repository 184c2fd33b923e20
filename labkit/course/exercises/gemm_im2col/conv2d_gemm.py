"""`conv2d_gemm(x, weight, …)`: a convolution layer as one matrix product per image."""

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from labkit import gemm
from labkit.course.compare import Difference
from labkit.course.exercise import Case, Exercise
from labkit.course.exercises.gemm_im2col.numbers import compare_floats, eighths
from labkit.course.exercises.gemm_im2col.windows import IntOrPair, Layer, pair, window_starts


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)
    layer = Layer.random(rng)

    def layer_arguments(x_shape: tuple[int, ...], kernel: tuple[int, int], num_filters: int, dtype: Any = float) -> Any:
        """x, weight and bias that belong together."""
        weight_shape = (num_filters, x_shape[1], *kernel)
        return tuple(eighths(rng, *shape, dtype=dtype) for shape in (x_shape, weight_shape, (num_filters,)))

    float32 = layer_arguments((1, 1, 3, 4), (2, 2), 2, np.float32)
    everything = layer_arguments((2, 3, 9, 8), (3, 2), 4)
    random = layer_arguments((3, 2, *layer.size), layer.kernel, 3, np.float32)  # as many filters as images
    return [
        Case("one filter, one channel", layer_arguments((1, 1, 3, 3), (2, 2), 1)[:2]),
        Case("a 1 by 1 kernel", layer_arguments((1, 3, 2, 3), (1, 1), 2)[:2]),
        Case("a filter higher than wide", layer_arguments((1, 1, 4, 5), (3, 2), 1)[:2]),
        Case("two channels", layer_arguments((1, 2, 3, 4), (2, 2), 1)[:2]),
        Case("three filters", layer_arguments((1, 1, 3, 4), (2, 2), 3)[:2]),
        Case("a bias", layer_arguments((1, 1, 3, 5), (2, 2), 2)),
        Case("as many filters as output columns, a bias", layer_arguments((1, 1, 3, 4), (2, 2), 3)),
        Case("a batch of three", layer_arguments((3, 1, 3, 4), (2, 2), 2)[:2]),
        Case("stride 2, a row left over", (*layer_arguments((1, 1, 5, 6), (2, 2), 2)[:2], None, 2)),
        Case("another stride for each axis", (*layer_arguments((1, 1, 6, 7), (2, 2), 1)[:2], None, (3, 1))),
        Case("padding 1", (*layer_arguments((1, 1, 3, 4), (2, 2), 1)[:2], None, 1, 1)),
        Case("another padding for each axis", (*layer_arguments((1, 1, 3, 4), (2, 3), 1)[:2], None, 1, (2, 0))),
        Case("dilation 2", (*layer_arguments((1, 1, 5, 6), (2, 2), 1)[:2], None, 1, 0, 2)),
        Case("another dilation for each axis", (*layer_arguments((1, 1, 4, 7), (3, 2), 1)[:2], None, 1, 0, (1, 3))),
        Case("float32", float32),
        Case("everything at once", (*everything, (2, 3), (0, 2), (2, 1))),
        Case("everything at once, float32, random", (*random, *layer.window[1:])),
    ]


def _judge(case: Case, value: Any) -> Difference | None:
    return compare_floats(_convolution(*case.args), value, case.args[0].dtype)


def _convolution(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    stride: IntOrPair = 1,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
) -> np.ndarray:
    """The definition, position by position, in float64: each filter times the window, summed up."""
    (kernel_h, kernel_w), (pad_h, pad_w), (dilation_h, dilation_w) = weight.shape[2:], pair(padding), pair(dilation)
    window = zip(x.shape[2:], weight.shape[2:], pair(stride), (pad_h, pad_w), (dilation_h, dilation_w), strict=True)
    tops, lefts = (window_starts(*axis) for axis in window)
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (pad_h, pad_h), (pad_w, pad_w)))
    out = np.zeros((len(x), len(weight), len(tops), len(lefts)))
    for row, top in enumerate(tops):
        for column, left in enumerate(lefts):
            ys = [pad_h + top + i * dilation_h for i in range(kernel_h)]
            xs = [pad_w + left + j * dilation_w for j in range(kernel_w)]
            under_kernel = padded[:, None, :, ys][..., xs]  # B, 1, C, KH, KW
            out[:, :, row, column] = (weight * under_kernel).sum(axis=(2, 3, 4))
    return out if bias is None else out + bias.reshape(-1, 1, 1)


conv2d_gemm = Exercise(
    name="conv2d_gemm",
    signature="conv2d_gemm(x, weight, bias=None, stride=1, padding=0, dilation=1)",
    goal="Return the convolution layer of x (B, C, H, W) with weight (O, C, KH, KW) and bias (O,) or None, as"
    " (B, O, OH, OW), by a matrix product with your im2col; like torch's conv2d, and in the dtype of x.",
    cases=_cases,
    judge_case=_judge,
    hints=(
        "One output value is the sum over a window of entry times weight. Which row and which column meet in it?",
        "A filter flattened in the order of im2col's rows (C, KH, KW) is a row; a window is a column. All filters times"
        " all windows is one product, (O, C·KH·KW) times (C·KH·KW, L), for each image of the batch.",
        "`cols = im2col(x, kernel of weight, stride, padding, dilation)`; `out = weight as (O, C*KH*KW) @ cols`;"
        " `if there is a bias: one number per filter, so it needs an axis of one behind it`;"
        " `oh, ow = the output size per axis`; `reshape to (B, O, oh, ow)`.",
    ),
    points=3,
    minutes=15,
    difficulty=2,
    num_lines=8,
)


def _add(out, bias):
    return out if bias is None else out + bias.reshape(-1, 1, 1)


# Each wrong answer is a right one (labkit's own) that differs in one point.


@conv2d_gemm.wrong("bias forgotten", "each filter adds its own number to its whole output.")
def _(x, weight, bias=None, stride=1, padding=0, dilation=1):
    return gemm.conv2d_gemm(x, weight, None, stride, padding, dilation)


@conv2d_gemm.wrong(
    "bias along the width", "NumPy lines up last axes: a bias (O,) needs the shape (O, 1, 1) to go to its filters."
)
def _(x, weight, bias=None, stride=1, padding=0, dilation=1):
    out = gemm.conv2d_gemm(x, weight, None, stride, padding, dilation)
    return out if bias is None else out + bias


@conv2d_gemm.wrong("bias along the batch", "the result is (B, O, OH, OW): a bias (O, 1, 1, 1) goes to the images.")
def _(x, weight, bias=None, stride=1, padding=0, dilation=1):
    out = gemm.conv2d_gemm(x, weight, None, stride, padding, dilation)
    return out if bias is None else out + bias[:, None, None, None]


@conv2d_gemm.wrong("one bias for all filters", "bias holds a number for each filter, not one for the layer.")
def _(x, weight, bias=None, stride=1, padding=0, dilation=1):
    out = gemm.conv2d_gemm(x, weight, None, stride, padding, dilation)
    return out if bias is None else out + bias[0]


@conv2d_gemm.wrong("bias subtracted", "the bias is added.")
def _(x, weight, bias=None, stride=1, padding=0, dilation=1):
    return gemm.conv2d_gemm(x, weight, None if bias is None else -bias, stride, padding, dilation)


@conv2d_gemm.wrong(
    "kernel flipped", "a layer's convolution is a correlation: the kernel lies on the window as it is stored."
)
def _(x, weight, bias=None, stride=1, padding=0, dilation=1):
    return gemm.conv2d_gemm(x, weight[:, :, ::-1, ::-1], bias, stride, padding, dilation)


@conv2d_gemm.wrong("kernel transposed", "rows of the kernel meet rows of the window: flatten it as it is stored.")
def _(x, weight, bias=None, stride=1, padding=0, dilation=1):
    turned = weight.swapaxes(2, 3).reshape(weight.shape)
    return gemm.conv2d_gemm(x, turned, bias, stride, padding, dilation)


@conv2d_gemm.wrong("channel as the fastest weight", "im2col's rows go C, KH, KW, so a filter is flattened like that.")
def _(x, weight, bias=None, stride=1, padding=0, dilation=1):
    turned = weight.transpose(0, 2, 3, 1).reshape(weight.shape)
    return gemm.conv2d_gemm(x, turned, bias, stride, padding, dilation)


@conv2d_gemm.wrong(
    "filters as columns", "weight.reshape(-1, O) cuts through the filters: reshape to (O, C·KH·KW), one row a filter."
)
def _(x, weight, bias=None, stride=1, padding=0, dilation=1):
    cut = weight.reshape(-1, len(weight)).T.reshape(weight.shape)
    return gemm.conv2d_gemm(x, cut, bias, stride, padding, dilation)


@conv2d_gemm.wrong("output height and width swapped", "L counts along the width first: reshape to (B, O, OH, OW).")
def _(x, weight, bias=None, stride=1, padding=0, dilation=1):
    out = gemm.conv2d_gemm(x, weight, bias, stride, padding, dilation)
    return out.reshape(*out.shape[:2], out.shape[3], out.shape[2])


@conv2d_gemm.wrong(
    "batch and filters mixed up", "one product over all images gives (O, B·L): transpose before the batch comes first."
)
def _(x, weight, bias=None, stride=1, padding=0, dilation=1):
    out = gemm.conv2d_gemm(x, weight, None, stride, padding, dilation)
    return _add(out.swapaxes(0, 1).reshape(out.shape), bias)


@conv2d_gemm.wrong(
    "batch and filters mixed up, bias and all",
    "one product over all images gives (O, B·L): transpose before the batch comes first.",
)
def _(x, weight, bias=None, stride=1, padding=0, dilation=1):
    out = gemm.conv2d_gemm(x, weight, bias, stride, padding, dilation)
    return out.swapaxes(0, 1).reshape(out.shape)


@conv2d_gemm.wrong("filters before the batch", "the batch is the first axis of the result, the filters are the second.")
def _(x, weight, bias=None, stride=1, padding=0, dilation=1):
    return gemm.conv2d_gemm(x, weight, bias, stride, padding, dilation).swapaxes(0, 1)


@conv2d_gemm.wrong("columns not folded up", "the result is an image again: reshape its L positions to (OH, OW).")
def _(x, weight, bias=None, stride=1, padding=0, dilation=1):
    out = gemm.conv2d_gemm(x, weight, bias, stride, padding, dilation)
    return out.reshape(*out.shape[:2], -1)


@conv2d_gemm.wrong("first channel only", "a filter sums over all channels.")
def _(x, weight, bias=None, stride=1, padding=0, dilation=1):
    return gemm.conv2d_gemm(x[:, :1], weight[:, :1], bias, stride, padding, dilation)


@conv2d_gemm.wrong("mean over channels", "a filter sums over its channels and does not divide.")
def _(x, weight, bias=None, stride=1, padding=0, dilation=1):
    out = gemm.conv2d_gemm(x, weight, None, stride, padding, dilation)
    return _add(out / x.dtype.type(x.shape[1]), bias)


@conv2d_gemm.wrong("stride ignored", "im2col needs the layer's stride.")
def _(x, weight, bias=None, stride=1, padding=0, dilation=1):
    return gemm.conv2d_gemm(x, weight, bias, 1, padding, dilation)


@conv2d_gemm.wrong("padding ignored", "im2col needs the layer's padding.")
def _(x, weight, bias=None, stride=1, padding=0, dilation=1):
    return gemm.conv2d_gemm(x, weight, bias, stride, 0, dilation)


@conv2d_gemm.wrong("dilation ignored", "im2col needs the layer's dilation.")
def _(x, weight, bias=None, stride=1, padding=0, dilation=1):
    return gemm.conv2d_gemm(x, weight, bias, stride, padding)


@conv2d_gemm.wrong("always float64", "the result has x's dtype: somewhere np.zeros or a Python number made float64.")
def _(x, weight, bias=None, stride=1, padding=0, dilation=1):
    return gemm.conv2d_gemm(x, weight, bias, stride, padding, dilation).astype(np.float64)


@conv2d_gemm.wrong("a bias expected always", "bias may be None, and then nothing is added.")
def _(x, weight, bias=None, stride=1, padding=0, dilation=1):
    return gemm.conv2d_gemm(x, weight, None, stride, padding, dilation) + bias[:, None, None]


@conv2d_gemm.right("im2col and one product per image")
def _(x, weight, bias=None, stride=1, padding=0, dilation=1):
    cols = gemm.im2col(x, weight.shape[2:], stride, padding, dilation)
    window = (pair(value) for value in (stride, padding, dilation))
    out_size = [gemm.conv_output_size(*axis) for axis in zip(x.shape[2:], weight.shape[2:], *window, strict=True)]
    out = weight.reshape(len(weight), -1) @ cols
    return _add(out.reshape(len(x), len(weight), *out_size), bias)


@conv2d_gemm.right("sum of shifted 1 by 1 convolutions")
def _(x, weight, bias=None, stride=1, padding=0, dilation=1):
    (sh, sw), (ph, pw), (dh, dw) = (pair(value) for value in (stride, padding, dilation))
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    kh, kw = weight.shape[2:]
    height, width = padded.shape[2:]
    oh, ow = (height - dh * (kh - 1) - 1) // sh + 1, (width - dw * (kw - 1) - 1) // sw + 1
    out = np.zeros((len(x), len(weight), oh, ow), x.dtype)
    for i in range(kh):
        for j in range(kw):
            under_tap = padded[:, :, i * dh : i * dh + oh * sh : sh, j * dw : j * dw + ow * sw : sw]
            out += np.einsum("oc,bcyx->boyx", weight[:, :, i, j], under_tap)
    return _add(out, bias)


@conv2d_gemm.right("tensordot over a view")
def _(x, weight, bias=None, stride=1, padding=0, dilation=1):
    (sh, sw), (ph, pw), (dh, dw) = (pair(value) for value in (stride, padding, dilation))
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    kh, kw = weight.shape[2:]
    view = sliding_window_view(padded, (dh * (kh - 1) + 1, dw * (kw - 1) + 1), axis=(2, 3))
    out = np.tensordot(view[:, :, ::sh, ::sw, ::dh, ::dw], weight, axes=((1, 4, 5), (1, 2, 3)))
    return _add(out.transpose(0, 3, 1, 2), bias)


@conv2d_gemm.right("one product for the whole batch")
def _(x, weight, bias=None, stride=1, padding=0, dilation=1):
    kh, kw = weight.shape[2:]
    cols = gemm.im2col(x, (kh, kw), stride, padding, dilation)  # B, R, L
    batch, _, num_positions = cols.shape
    one_matrix = cols.transpose(1, 0, 2).reshape(-1, batch * num_positions)
    out = np.dot(weight.reshape(len(weight), -1), one_matrix)
    if bias is not None:
        out += bias[:, None]
    oh = len(range(0, x.shape[2] + 2 * pair(padding)[0] - pair(dilation)[0] * (kh - 1), pair(stride)[0]))
    return out.reshape(len(weight), batch, oh, -1).swapaxes(0, 1)

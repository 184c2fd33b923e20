"""`col2im(cols, size, kernel, …)`: the adjoint of im2col, which is its gradient."""

from typing import Any

import numpy as np

from labkit import gemm
from labkit.course.compare import Difference
from labkit.course.exercise import Case, Exercise
from labkit.course.exercises.gemm_im2col.numbers import compare_floats, eighths
from labkit.course.exercises.gemm_im2col.windows import IntOrPair, Layer, pair, places


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)
    layer = Layer.random(rng)

    def case(
        name: str, batch: int, channels: int, size: tuple[int, int], *window: IntOrPair, dtype: Any = np.float64
    ) -> Case:
        cols = eighths(rng, batch, *places(channels, size, *window).shape, dtype=dtype)
        return Case(name, (cols, size, *window))

    return [
        case("one channel, a 2 by 2 window", 1, 1, (3, 3), 2),
        case("windows that do not overlap", 1, 1, (2, 4), 2, 2),
        case("a window higher than wide", 1, 1, (4, 5), (3, 2)),
        case("a 1 by 1 window, two channels", 1, 2, (2, 3), 1),
        case("two channels", 1, 2, (3, 4), 2),
        case("a batch of two", 2, 1, (3, 4), (2, 2)),
        case("stride 2, a row and a column left over", 1, 1, (6, 8), 3, 2),
        case("another stride for each axis", 1, 1, (6, 7), 2, (3, 1)),
        case("padding 1", 1, 1, (3, 4), 2, 1, 1),
        case("another padding for each axis", 1, 1, (3, 4), (2, 3), 1, (2, 0)),
        case("dilation 2", 1, 1, (5, 6), 2, 1, 0, 2),
        case("another dilation for each axis", 1, 1, (4, 7), (3, 2), 1, 0, (1, 3)),
        case("float32", 1, 1, (4, 3), (2, 1), dtype=np.float32),
        case("everything at once", 2, 3, (9, 8), (3, 2), (2, 3), (0, 2), (2, 1)),
        case("everything at once, float32, random", 3, 2, layer.size, *layer.window, dtype=np.float32),
    ]


def _judge(case: Case, value: Any) -> Difference | None:
    return compare_floats(_image(*case.args), value, case.args[0].dtype)


def _image(cols: np.ndarray, size: tuple[int, int], kernel: IntOrPair, *rest: IntOrPair) -> np.ndarray:
    """Each entry of cols, one by one, added to the place that im2col would have taken it from."""
    (height, width), (kernel_h, kernel_w) = size, pair(kernel)
    channels = cols.shape[1] // (kernel_h * kernel_w)
    places_in_x = places(channels, size, kernel, *rest)
    image = np.zeros((len(cols), channels * height * width + 1))  # place -1, the padding, is the one at the end
    for index, place in np.ndenumerate(places_in_x):
        image[:, place] += cols[(slice(None), *index)]
    return image[:, :-1].reshape(len(cols), channels, height, width)


col2im = Exercise(
    name="col2im",
    signature="col2im(cols, size, kernel, stride=1, padding=0, dilation=1)",
    goal="Return the image (B, C, H, W), size = (H, W), into which every entry of cols (B, C·KH·KW, L) has been added"
    " at the place where im2col would have read it; what falls into the padding is dropped, the dtype stays.",
    cases=_cases,
    judge_case=_judge,
    hints=(
        "A 3 by 3 image has four 2 by 2 windows. How many of them hold the pixel in the middle? Then how many entries"
        " of cols arrive there, and what happens to them?",
        "Walk through im2col backwards. Where it read `cols[tap] = a strided slice of the padded image`, add:"
        " `the same slice += cols[tap]`. Begin with zeros, and cut the padding off at the end.",
        "`padded = zeros (B, C, H + 2 ph, W + 2 pw) of cols' dtype`; `taps = cols as (B, C, KH, KW, OH, OW)`;"
        " `for each tap i, j: padded[from i * dh in OH steps of sh, from j * dw in OW steps of sw]"
        " += taps[:, :, i, j]`; `return padded without its padding`.",
    ),
    points=3,
    minutes=20,
    difficulty=3,
    num_lines=11,
)


def _taps(cols, size, kernel, stride, padding, dilation):
    """cols as (B, C, KH, KW, OH, OW)."""
    window = (pair(value) for value in (kernel, stride, padding, dilation))
    out_size = [gemm.conv_output_size(*axis) for axis in zip(size, *window, strict=True)]
    return cols.reshape(len(cols), -1, *pair(kernel), *out_size)


def _zeros(taps, size, padding):
    """The padded image, empty."""
    (height, width), (pad_h, pad_w) = size, pair(padding)
    return np.zeros((*taps.shape[:2], height + 2 * pad_h, width + 2 * pad_w), taps.dtype)


def _under_taps(taps, stride, dilation):
    """For each tap (i, j): where in the padded image its entries lie, as two slices."""
    (sh, sw), (dh, dw) = pair(stride), pair(dilation)
    kh, kw, oh, ow = taps.shape[2:]
    for i, j in np.ndindex(kh, kw):
        yield i, j, slice(i * dh, i * dh + oh * sh, sh), slice(j * dw, j * dw + ow * sw, sw)


def _under_windows(taps, stride, dilation):
    """For each position: where in the padded image its window lies, as two slices."""
    (sh, sw), (dh, dw) = pair(stride), pair(dilation)
    kh, kw, oh, ow = taps.shape[2:]
    for row, column in np.ndindex(oh, ow):
        top, left = row * sh, column * sw
        yield row, column, slice(top, top + kh * dh, dh), slice(left, left + kw * dw, dw)


def _added_up(taps, size, stride, padding, dilation):
    """The padded image, each tap added where it belongs."""
    padded = _zeros(taps, size, padding)
    for i, j, rows, columns in _under_taps(taps, stride, dilation):
        padded[:, :, rows, columns] += taps[:, :, i, j]
    return padded


def _cut(padded, size, padding):
    (height, width), (top, left) = size, pair(padding)
    return padded[:, :, top : top + height, left : left + width]


@col2im.wrong("overwrites, window by window", "where windows overlap their entries add up: `+=`, not `=`.")
def _(cols, size, kernel, stride=1, padding=0, dilation=1):
    taps = _taps(cols, size, kernel, stride, padding, dilation)
    padded = _zeros(taps, size, padding)
    for row, column, rows, columns in _under_windows(taps, stride, dilation):
        padded[:, :, rows, columns] = taps[..., row, column]
    return _cut(padded, size, padding)


@col2im.wrong(
    "overwrites, tap by tap",
    "entries that meet in a pixel add up; `=` keeps the last, and so does `image[index] += …` with repeated indices"
    " (np.add.at adds them all).",
)
def _(cols, size, kernel, stride=1, padding=0, dilation=1):
    taps = _taps(cols, size, kernel, stride, padding, dilation)
    padded = _zeros(taps, size, padding)
    for i, j, rows, columns in _under_taps(taps, stride, dilation):
        padded[:, :, rows, columns] = taps[:, :, i, j]
    return _cut(padded, size, padding)


@col2im.wrong(
    "divides by how many windows overlap", "that is the inverse of im2col; the adjoint adds and does not divide."
)
def _(cols, size, kernel, stride=1, padding=0, dilation=1):
    window = (size, kernel, stride, padding, dilation)
    counts = gemm.col2im(np.ones_like(cols), *window)
    return gemm.col2im(cols, *window) / np.maximum(counts, cols.dtype.type(1))


@col2im.wrong("divides by the window's size", "a pixel gets the sum of what arrives, not a mean.")
def _(cols, size, kernel, stride=1, padding=0, dilation=1):
    return gemm.col2im(cols, size, kernel, stride, padding, dilation) / cols.dtype.type(np.prod(pair(kernel)))


@col2im.wrong("padding not cut off", "the image has the given size: cut the padding off at the end.")
def _(cols, size, kernel, stride=1, padding=0, dilation=1):
    return _added_up(_taps(cols, size, kernel, stride, padding, dilation), size, stride, padding, dilation)


@col2im.wrong("padding cut off at the far end only", "the padding is on all four sides: the image begins after it.")
def _(cols, size, kernel, stride=1, padding=0, dilation=1):
    padded = _added_up(_taps(cols, size, kernel, stride, padding, dilation), size, stride, padding, dilation)
    return _cut(padded, size, 0)


@col2im.wrong("cut with -padding", "with padding 0 the slice `0:-0` is empty: end at padding + size.")
def _(cols, size, kernel, stride=1, padding=0, dilation=1):
    padded = _added_up(_taps(cols, size, kernel, stride, padding, dilation), size, stride, padding, dilation)
    pad_h, pad_w = pair(padding)
    return padded[:, :, pad_h:-pad_h, pad_w:-pad_w]


@col2im.wrong("stride ignored", "from one position to the next the window moves by stride, here as in im2col.")
def _(cols, size, kernel, stride=1, padding=0, dilation=1):
    return _cut(
        _added_up(_taps(cols, size, kernel, stride, padding, dilation), size, 1, padding, dilation), size, padding
    )


@col2im.wrong("dilation ignored", "the taps stand dilation apart, here as in im2col.")
def _(cols, size, kernel, stride=1, padding=0, dilation=1):
    return _cut(
        _added_up(_taps(cols, size, kernel, stride, padding, dilation), size, stride, padding, 1), size, padding
    )


@col2im.wrong("window flipped", "the adjoint puts every tap back where it was read, not on the opposite side.")
def _(cols, size, kernel, stride=1, padding=0, dilation=1):
    taps = _taps(cols, size, kernel, stride, padding, dilation)[:, :, ::-1, ::-1]
    return _cut(_added_up(taps, size, stride, padding, dilation), size, padding)


@col2im.wrong("window filled column by column", "within a channel cols holds the window's first row, then the second.")
def _(cols, size, kernel, stride=1, padding=0, dilation=1):
    taps = _taps(cols, size, kernel, stride, padding, dilation)
    batch, channels, kh, kw, oh, ow = taps.shape
    taps = cols.reshape(batch, channels, kw, kh, oh, ow).swapaxes(2, 3)
    return _cut(_added_up(taps, size, stride, padding, dilation), size, padding)


@col2im.wrong("channel as the fastest row", "rows go by channel first: all taps of channel 0, then those of channel 1.")
def _(cols, size, kernel, stride=1, padding=0, dilation=1):
    batch, channels, kh, kw, oh, ow = _taps(cols, size, kernel, stride, padding, dilation).shape
    taps = cols.reshape(batch, kh, kw, channels, oh, ow).transpose(0, 3, 1, 2, 4, 5)
    return _cut(_added_up(taps, size, stride, padding, dilation), size, padding)


@col2im.wrong("positions column by column", "positions go along the first row, then the second: width is the fastest.")
def _(cols, size, kernel, stride=1, padding=0, dilation=1):
    batch, channels, kh, kw, oh, ow = _taps(cols, size, kernel, stride, padding, dilation).shape
    taps = cols.reshape(batch, channels, kh, kw, ow, oh).swapaxes(4, 5)
    return _cut(_added_up(taps, size, stride, padding, dilation), size, padding)


@col2im.wrong("first image only", "cols holds a batch: every image is put together.")
def _(cols, size, kernel, stride=1, padding=0, dilation=1):
    return gemm.col2im(cols[:1], size, kernel, stride, padding, dilation)


@col2im.wrong("channels added together", "each channel has its own rows in cols and its own image.")
def _(cols, size, kernel, stride=1, padding=0, dilation=1):
    return gemm.col2im(cols, size, kernel, stride, padding, dilation).sum(axis=1, keepdims=True)


@col2im.wrong("height and width of the result swapped", "size is (H, W), and the result is (B, C, H, W).")
def _(cols, size, kernel, stride=1, padding=0, dilation=1):
    return gemm.col2im(cols, size, kernel, stride, padding, dilation).swapaxes(2, 3)


@col2im.wrong("always float64", "np.zeros makes float64: give it the dtype of cols.")
def _(cols, size, kernel, stride=1, padding=0, dilation=1):
    return gemm.col2im(cols, size, kernel, stride, padding, dilation).astype(np.float64)


@col2im.right("tap by tap")
def _(cols, size, kernel, stride=1, padding=0, dilation=1):
    taps = _taps(cols, size, kernel, stride, padding, dilation)
    return _cut(_added_up(taps, size, stride, padding, dilation), size, padding)


@col2im.right("window by window")
def _(cols, size, kernel, stride=1, padding=0, dilation=1):
    taps = _taps(cols, size, kernel, stride, padding, dilation)
    padded = _zeros(taps, size, padding)
    for row, column, rows, columns in _under_windows(taps, stride, dilation):
        padded[:, :, rows, columns] += taps[..., row, column]
    return _cut(padded, size, padding)


@col2im.right("im2col of the indices, added at")
def _(cols, size, kernel, stride=1, padding=0, dilation=1):
    channels = cols.shape[1] // int(np.prod(pair(kernel)))
    num_entries = channels * size[0] * size[1]
    indices = np.arange(1, num_entries + 1).reshape(1, channels, *size)  # 0 is the padding
    index_of_entry = gemm.im2col(indices, kernel, stride, padding, dilation)[0]
    images = np.zeros((len(cols), num_entries + 1), cols.dtype)
    np.add.at(images, (slice(None), index_of_entry), cols)
    return images[:, 1:].reshape(len(cols), channels, *size)


@col2im.right("transposed matrix of im2col")
def _(cols, size, kernel, stride=1, padding=0, dilation=1):
    channels = cols.shape[1] // int(np.prod(pair(kernel)))
    units = np.eye(channels * size[0] * size[1], dtype=cols.dtype)  # one image for each entry
    matrix = gemm.im2col(units.reshape(-1, channels, *size), kernel, stride, padding, dilation).reshape(len(units), -1)
    return (cols.reshape(len(cols), -1) @ matrix.T).reshape(len(cols), channels, *size)


@col2im.right("bincount")
def _(cols, size, kernel, stride=1, padding=0, dilation=1):
    channels = cols.shape[1] // int(np.prod(pair(kernel)))
    indices = np.arange(1, channels * size[0] * size[1] + 1).reshape(1, channels, *size)
    index_of_entry = gemm.im2col(indices, kernel, stride, padding, dilation).ravel()
    images = [np.bincount(index_of_entry, image.ravel(), indices.size + 1)[1:] for image in cols]
    return np.stack(images).reshape(len(cols), channels, *size).astype(cols.dtype)

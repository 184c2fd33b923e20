"""Convolution as a matrix product: im2col, its adjoint, and the convolution made of them."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from labkit.gemm._arguments import Array, IntOrPair, ShapeError, at_least, check_axes, pair


def conv_output_size(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """Output positions along one axis: floor((size + 2·padding - span) / stride) + 1.

    The kernel spans dilation · (kernel - 1) + 1 elements. Raises ShapeError if that is more than there are.

    >>> conv_output_size(8, kernel=3, stride=2, padding=1)  # (8 + 2 - 3) // 2 + 1
    4
    """
    size, padding = at_least(0, size=size, padding=padding)
    kernel, stride, dilation = at_least(1, kernel=kernel, stride=stride, dilation=dilation)
    span = _span(kernel, dilation)
    if span > size + 2 * padding:
        raise ShapeError(
            f"the kernel is larger than the padded input: kernel {kernel} with dilation {dilation} spans {span}, "
            f"but size {size} with padding {padding} on either side is {size + 2 * padding}; "
            "pad more, or take a smaller kernel or dilation"
        )
    return (size + 2 * padding - span) // stride + 1


def im2col(
    x: Array,
    kernel: IntOrPair,
    stride: IntOrPair = 1,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
) -> Array:
    """Columns of image windows: one column for each output position, so that a convolution is one product.

    Shape: x (B, C, H, W) -> (B, C·KH·KW, L), rows ordered C, KH, KW and columns OH, OW, the order of
    `torch.nn.functional.unfold`. Up to the final reshape nothing is copied but the padding; a 1 by 1 kernel
    with stride 1 is not copied at all, and the result is then a read-only view of x.

    >>> im2col(np.arange(9).reshape(1, 1, 3, 3), kernel=2)[0, :, 0]  # the window at the upper left
    array([0, 1, 3, 4])
    """
    window = _Window.of(kernel, stride, padding, dilation)
    check_axes("x", x, "B, C, H, W")
    batch, channels = x.shape[:2]
    out_height, out_width = window.output_size(x.shape[2:])
    (stride_h, stride_w), (dilation_h, dilation_w) = window.stride, window.dilation
    patches = sliding_window_view(_pad(x, window.padding), window.span, axis=(2, 3))  # B, C, …, …, span, span
    patches = patches[:, :, ::stride_h, ::stride_w, ::dilation_h, ::dilation_w]  # B, C, OH, OW, KH, KW
    patches = patches.transpose(0, 1, 4, 5, 2, 3)  # B, C, KH, KW, OH, OW: still a view
    return patches.reshape(batch, channels * window.num_taps, out_height * out_width)


def col2im(
    cols: Array,
    size: IntOrPair,
    kernel: IntOrPair,
    stride: IntOrPair = 1,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
) -> Array:
    """Adjoint of `im2col`: adds each column back to where its window lay, so overlaps sum up.

    Shape: cols (B, C·KH·KW, L) -> (B, C, H, W) for size (H, W); `torch.nn.functional.fold`. Adjoint says
    that <im2col(x), cols> = <x, col2im(cols)> for all x and cols: it is im2col's gradient, not its inverse.

    >>> col2im(np.ones((1, 4, 4)), size=3, kernel=2)[0, 0]  # how many 2 by 2 windows cover each pixel
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    """
    window = _Window.of(kernel, stride, padding, dilation)
    height, width = pair(0, size=size)
    out_height, out_width = window.output_size((height, width))
    batch, channels = _check_columns(cols, window, (out_height, out_width))
    patches = cols.reshape(batch, channels, *window.kernel, out_height, out_width)
    (pad_h, pad_w), (stride_h, stride_w) = window.padding, window.stride
    padded = np.zeros((batch, channels, height + 2 * pad_h, width + 2 * pad_w), cols.dtype)
    for tap_h, tap_w in np.ndindex(window.kernel):  # within one tap no two windows meet: += is safe
        top, left = tap_h * window.dilation[0], tap_w * window.dilation[1]
        bottom, right = top + stride_h * out_height, left + stride_w * out_width
        padded[:, :, top:bottom:stride_h, left:right:stride_w] += patches[:, :, tap_h, tap_w]
    return np.ascontiguousarray(padded[:, :, pad_h : pad_h + height, pad_w : pad_w + width])


def conv2d_gemm(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: IntOrPair = 1,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
) -> Array:
    """Convolution (cross-correlation, like `torch.nn.functional.conv2d`) as one matrix product per image.

    Shape: x (B, C, H, W), weight (O, C, KH, KW), bias (O,) -> (B, O, OH, OW). One group only.
    Source: Chellapilla, Puri, Simard, "High Performance Convolutional Neural Networks" (2006).

    >>> conv2d_gemm(np.ones((1, 2, 5, 5)), np.ones((3, 2, 3, 3)), padding=1).shape
    (1, 3, 5, 5)
    """
    check_axes("x", x, "B, C, H, W")
    check_axes("weight", weight, "O, C, KH, KW")
    num_filters, channels, *kernel = weight.shape
    if channels != x.shape[1]:
        raise ShapeError(
            f"x has {x.shape[1]} channels but each filter of weight expects {channels} "
            f"(x {x.shape}, weight {weight.shape}); their second axes must be equal: there are no groups here"
        )
    if bias is not None and bias.shape != (num_filters,):
        raise ShapeError(f"expected bias of shape ({num_filters},), one for each filter of weight, got {bias.shape}")
    window = _Window.of((kernel[0], kernel[1]), stride, padding, dilation)
    cols = im2col(x, window.kernel, window.stride, window.padding, window.dilation)  # B, C*KH*KW, L
    out = weight.reshape(num_filters, channels * window.num_taps) @ cols  # B, O, L
    if bias is not None:  # in place where the type allows: `out` is nobody else's
        out = np.add(out, bias[:, None], out=out if np.can_cast(bias.dtype, out.dtype) else None)
    return out.reshape(x.shape[0], num_filters, *window.output_size(x.shape[2:]))


@dataclass(frozen=True)
class _Window:
    """How a kernel moves over an image, each part as (h, w)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    @classmethod
    def of(cls, kernel: IntOrPair, stride: IntOrPair, padding: IntOrPair, dilation: IntOrPair) -> "_Window":
        return cls(
            kernel=pair(1, kernel=kernel),
            stride=pair(1, stride=stride),
            padding=pair(0, padding=padding),
            dilation=pair(1, dilation=dilation),
        )

    @property
    def num_taps(self) -> int:
        return math.prod(self.kernel)

    @property
    def span(self) -> tuple[int, int]:
        height, width = map(_span, self.kernel, self.dilation)
        return height, width

    def output_size(self, size: tuple[int, ...]) -> tuple[int, int]:
        height, width = map(conv_output_size, size, self.kernel, self.stride, self.padding, self.dilation)
        return height, width


def _span(kernel: int, dilation: int) -> int:
    """Elements from the first tap to the last, both included."""
    return dilation * (kernel - 1) + 1


def _pad(x: Array, padding: tuple[int, int]) -> Array:
    """x with zeros around its last two axes. By hand: np.pad costs more than a small layer's whole im2col."""
    if padding == (0, 0):
        return x
    (pad_h, pad_w), (height, width) = padding, x.shape[2:]
    padded = np.zeros((*x.shape[:2], height + 2 * pad_h, width + 2 * pad_w), x.dtype)
    padded[:, :, pad_h : pad_h + height, pad_w : pad_w + width] = x
    return padded


def _check_columns(cols: Array, window: _Window, output_size: tuple[int, int]) -> tuple[int, int]:
    """(B, C) of columns that fit the window and the output."""
    check_axes("cols", cols, "B, C*KH*KW, L")
    batch, num_rows, num_positions = cols.shape
    if num_rows % window.num_taps:
        raise ShapeError(
            f"cols has {num_rows} rows, which is no multiple of the kernel's {window.num_taps} taps "
            f"{window.kernel}; expected C*KH*KW rows"
        )
    if num_positions != math.prod(output_size):
        raise ShapeError(
            f"cols has {num_positions} columns, but a window of this kernel, stride, padding and dilation stands "
            f"at {output_size[0]} x {output_size[1]} = {math.prod(output_size)} positions of an image of this size"
        )
    return batch, num_rows // window.num_taps

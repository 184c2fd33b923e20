"""The windows of a convolution, found one index at a time: the oracle of im2col, col2im and conv2d_gemm.

No formula for the number of positions and no NumPy slicing: a position counts when its whole window lies
inside the padded image. `tests/course/test_gemm_im2col_exercises.py` holds this against torch's unfold, fold
and conv2d; importing torch takes longer than a learner should wait for a verdict.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

IntOrPair = int | tuple[int, int]


def pair(value: IntOrPair) -> tuple[int, int]:
    """(h, w) of an int for both axes, or of the two."""
    return value if isinstance(value, tuple) else (value, value)


def window_starts(size: int, kernel: int, stride: int, padding: int, dilation: int) -> list[int]:
    """Where a window may start along one axis, in the image's own indices (negative ones lie in the padding)."""
    last_tap = dilation * (kernel - 1)
    return [start for start in range(-padding, size + padding - last_tap) if (start + padding) % stride == 0]


def places(
    channels: int,
    size: tuple[int, int],
    kernel: IntOrPair,
    stride: IntOrPair = 1,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
) -> np.ndarray:
    """For each entry of an image's columns, the flat index of the image's entry there; -1 where it is padding.

    Shape: (C·KH·KW, L), rows ordered C, KH, KW and columns OH, OW.
    """
    (height, width), (kernel_h, kernel_w), (dilation_h, dilation_w) = size, pair(kernel), pair(dilation)
    tops, lefts = (
        window_starts(*axis)
        for axis in zip(size, pair(kernel), pair(stride), pair(padding), pair(dilation), strict=True)
    )

    def place(channel: int, y: int, x: int) -> int:
        inside = 0 <= y < height and 0 <= x < width
        return (channel * height + y) * width + x if inside else -1

    return np.array(
        [
            [place(channel, top + i * dilation_h, left + j * dilation_w) for top in tops for left in lefts]
            for channel in range(channels)
            for i in range(kernel_h)
            for j in range(kernel_w)
        ]
    )


@dataclass(frozen=True)
class Layer:
    """An image's size and a window that fits it, drawn at random: different in h and w wherever that can be."""

    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    @classmethod
    def random(cls, rng: np.random.Generator) -> "Layer":
        """A layer whose windows still fit with any two of its pairs turned round, so that no mistake raises."""

        def two(low: int, high: int) -> tuple[int, int]:
            first, second = rng.choice(np.arange(low, high + 1), size=2, replace=False)
            return int(first), int(second)

        return cls(size=two(7, 10), kernel=two(2, 3), stride=two(1, 3), padding=two(0, 2), dilation=two(1, 2))

    @property
    def window(self) -> tuple[Any, ...]:
        """kernel, stride, padding, dilation: the arguments in their order."""
        return self.kernel, self.stride, self.padding, self.dilation

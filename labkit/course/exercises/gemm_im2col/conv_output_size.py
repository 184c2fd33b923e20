"""`conv_output_size(size, kernel, …)`: how many positions a window has along one axis."""

import math
from typing import Any

import numpy as np

from labkit.course.compare import Difference, compare_count
from labkit.course.exercise import Case, Exercise
from labkit.course.exercises.gemm_im2col.windows import window_starts


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)
    return [
        Case("defaults", (5, 3)),
        Case("the kernel fills the axis", (4, 4)),
        Case("one element more than the kernel", (5, 4)),
        Case("stride 2, the last window just fits", (7, 3, 2)),
        Case("stride 2, one element left over", (8, 3, 2)),
        Case("stride 2, the next window just fits", (9, 3, 2)),
        Case("padded", (5, 3, 1, 1)),
        Case("padded and strided", (6, 3, 2, 1)),
        Case("dilated", (9, 3, 1, 0, 2)),
        Case("the dilated kernel fills the axis", (7, 3, 1, 0, 3)),
        Case("ResNet-18's first layer", (224, 7, 2, 3)),
        *(_random_case(rng) for _ in range(4)),
    ]


def _random_case(rng: np.random.Generator) -> Case:
    kernel, stride, padding, dilation = (int(rng.integers(low, high)) for low, high in ((2, 6), (2, 6), (1, 4), (2, 4)))
    size = dilation * (kernel - 1) + 1 + int(rng.integers(0, 40))
    return Case("random", (size, kernel, stride, padding, dilation))


def _judge(case: Case, value: Any) -> Difference | None:
    return compare_count(_num_positions(*case.args), value)


def _num_positions(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    return len(window_starts(size, kernel, stride, padding, dilation))  # found one by one


conv_output_size = Exercise(
    name="conv_output_size",
    signature="conv_output_size(size, kernel, stride=1, padding=0, dilation=1)",
    goal="Return, as an int, at how many positions a window of `kernel` taps (`dilation` apart) fits into `size`"
    " elements with `padding` zeros at either end, when it moves by `stride`. It always fits at least once.",
    cases=_cases,
    judge_case=_judge,
    hints=(
        "Draw 7 elements and a window of 3 that moves by 2. Where may it start? Now take 8 elements, then 9.",
        "From its first tap to its last the window spans dilation · (kernel - 1) + 1 elements, the axis has size +"
        " 2 · padding. The first position is free; each step of stride that still fits adds one.",
        "`span = dilation * (kernel - 1) + 1`; `room = size + 2 * padding - span`;"
        " how often does stride fit into room, rounded down? One more.",
    ),
    points=2,
    minutes=6,
    difficulty=1,
    num_lines=2,
)


@conv_output_size.wrong("rounded up", "a window that does not fit wholly is not a position: round down.")
def _(size, kernel, stride=1, padding=0, dilation=1):
    return math.ceil((size + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1


@conv_output_size.wrong("padding on one side only", "padding zeros stand at either end: the axis grows by twice that.")
def _(size, kernel, stride=1, padding=0, dilation=1):
    return (size + padding - dilation * (kernel - 1) - 1) // stride + 1


@conv_output_size.wrong("first position forgotten", "steps are counted, and the position before the first step is one.")
def _(size, kernel, stride=1, padding=0, dilation=1):
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride


@conv_output_size.wrong("stride ignored", "the window moves by stride, not by one.")
def _(size, kernel, stride=1, padding=0, dilation=1):
    return size + 2 * padding - dilation * (kernel - 1)


@conv_output_size.wrong("dilation ignored", "taps that stand dilation apart make the window wider.")
def _(size, kernel, stride=1, padding=0, dilation=1):
    return (size + 2 * padding - kernel) // stride + 1


@conv_output_size.wrong("padding ignored", "the window may start and end in the padding.")
def _(size, kernel, stride=1, padding=0, dilation=1):
    return (size - dilation * (kernel - 1) - 1) // stride + 1


@conv_output_size.wrong(
    "span of dilation times kernel", "there are kernel - 1 gaps between kernel taps: the span is shorter."
)
def _(size, kernel, stride=1, padding=0, dilation=1):
    return (size + 2 * padding - dilation * kernel) // stride + 1


@conv_output_size.wrong(
    "one added before dividing", "the first position comes on top of the steps, after the division."
)
def _(size, kernel, stride=1, padding=0, dilation=1):
    return (size + 2 * padding - dilation * (kernel - 1)) // stride


@conv_output_size.wrong(
    "range without its end", "the last start that fits belongs to the positions; range leaves it out."
)
def _(size, kernel, stride=1, padding=0, dilation=1):
    return len(range(0, size + 2 * padding - dilation * (kernel - 1) - 1, stride))


@conv_output_size.wrong("same size assumed", "only a window with the right padding keeps size / stride positions.")
def _(size, kernel, stride=1, padding=0, dilation=1):
    return -(-size // stride)


@conv_output_size.wrong("float division", "`/` gives a float, and parts of a position: `//` rounds down to an int.")
def _(size, kernel, stride=1, padding=0, dilation=1):
    return (size + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1


@conv_output_size.wrong("padding dilated", "dilation spreads the taps, not the padding.")
def _(size, kernel, stride=1, padding=0, dilation=1):
    return (size + 2 * padding * dilation - dilation * (kernel - 1) - 1) // stride + 1


@conv_output_size.right("formula")
def _(size, kernel, stride=1, padding=0, dilation=1):
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


@conv_output_size.right("walk")
def _(size, kernel, stride=1, padding=0, dilation=1):
    start, count = 0, 0
    while start + dilation * (kernel - 1) < size + 2 * padding:
        start, count = start + stride, count + 1
    return count


@conv_output_size.right("length of a range")
def _(size, kernel, stride=1, padding=0, dilation=1):
    return len(range(-padding, size + padding - dilation * (kernel - 1), stride))


@conv_output_size.right("array of starts")
def _(size, kernel, stride=1, padding=0, dilation=1):
    starts = np.arange(size + 2 * padding)
    return np.count_nonzero((starts % stride == 0) & (starts + dilation * (kernel - 1) < size + 2 * padding))


@conv_output_size.right("rounded up from the number of starts")
def _(size, kernel, stride=1, padding=0, dilation=1):
    return math.ceil((size + 2 * padding - dilation * (kernel - 1)) / stride)

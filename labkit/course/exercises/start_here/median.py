"""`median(samples_ms)`: the figure to quote when timings are noisy."""

import statistics
from typing import Any

import numpy as np

from labkit.course.compare import Difference, compare_number
from labkit.course.exercise import Case, Exercise


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)
    odd = [round(float(value), 3) for value in rng.uniform(1.0, 9.0, size=5)]
    even = [round(float(value), 3) for value in rng.uniform(1.0, 9.0, size=8)]
    return [
        Case("one sample", ([7.5],)),
        Case("two samples", ([4.0, 1.0],)),
        Case("three, out of order", ([3.0, 9.0, 1.0],)),
        Case("a slow outlier", ([2.0, 80.0, 2.5, 2.0, 1.0],)),
        Case("even, out of order", ([6.0, 1.0, 5.0, 2.0],)),
        Case("a slow first run", ([50.0, 3.0, 1.0, 2.0, 4.0, 9.0],)),
        Case("odd, random", (odd,)),
        Case("even, random", (even,)),
    ]


def _judge(case: Case, value: Any) -> Difference | None:
    # The oracle is NumPy, which none of the answers below uses.
    return compare_number(float(np.median(case.args[0])), value)


median = Exercise(
    name="median",
    signature="median(samples_ms)",
    goal="Return the median of a list of timings, in the same unit.",
    cases=_cases,
    judge_case=_judge,
    hints=(
        "One run was interrupted and took 40 times as long. Which figure should not move?",
        "Put the samples in order. With an odd count the middle one is the median; with an even count there are"
        " two middle ones, and the median is halfway between them.",
        "`ordered = a sorted copy`; `middle = n // 2`; if n is odd return `ordered[middle]`, else the mean of"
        " `ordered[middle - 1]` and `ordered[middle]`.",
    ),
    points=1,
    minutes=5,
    difficulty=1,
    num_lines=5,
)


@median.wrong("mean", "one interrupted run moves the mean, and hardly moves the median.")
def _(samples_ms):
    return sum(samples_ms) / len(samples_ms)


@median.wrong("fastest run", "the minimum says what the machine can do once, not what it does.")
def _(samples_ms):
    return min(samples_ms)


@median.wrong("slowest run", "the maximum is whatever disturbed the machine most.")
def _(samples_ms):
    return max(samples_ms)


@median.wrong("middle of the unsorted list", "the samples are in the order of the runs: sort them first.")
def _(samples_ms):
    n = len(samples_ms)
    return samples_ms[n // 2] if n % 2 else (samples_ms[n // 2 - 1] + samples_ms[n // 2]) / 2


@median.wrong("upper middle", "with an even count there are two middle samples, and the median is halfway between.")
def _(samples_ms):
    return sorted(samples_ms)[len(samples_ms) // 2]


@median.wrong("lower middle", "with an even count there are two middle samples; this takes the smaller one.")
def _(samples_ms):
    return sorted(samples_ms)[(len(samples_ms) - 1) // 2]


@median.wrong("middle of the range", "halfway between fastest and slowest follows the slowest run.")
def _(samples_ms):
    return (min(samples_ms) + max(samples_ms)) / 2


@median.wrong("first sample dropped", "leaving out the warm-up is the measuring's work: here every sample counts.")
def _(samples_ms):
    return statistics.median(samples_ms[1:] or samples_ms)


@median.wrong("sorted in place", "the caller's list is in the order of the runs; sort a copy.")
def _(samples_ms):
    samples_ms.sort()
    return statistics.median(samples_ms)


@median.wrong("integer division", "half a millisecond is lost: `//` rounds down.")
def _(samples_ms):
    ordered, n = sorted(samples_ms), len(samples_ms)
    return ordered[n // 2] if n % 2 else (ordered[n // 2 - 1] + ordered[n // 2]) // 2


@median.wrong("never ends", "a loop whose condition never becomes false.", never_ends=True)
def _(samples_ms):
    while len(samples_ms) > 0:
        pass


@median.right("sorted copy")
def _(samples_ms):
    ordered, n = sorted(samples_ms), len(samples_ms)
    return ordered[n // 2] if n % 2 else (ordered[n // 2 - 1] + ordered[n // 2]) / 2


@median.right("standard library")
def _(samples_ms):
    return statistics.median(samples_ms)


@median.right("quantile")
def _(samples_ms):
    return np.quantile(samples_ms, 0.5)


@median.right("strips both ends")
def _(samples_ms):
    rest = list(samples_ms)
    while len(rest) > 2:
        rest.remove(min(rest))
        rest.remove(max(rest))
    return sum(rest) / len(rest)

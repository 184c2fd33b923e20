"""`paired_t(distilled, labels_only)`: is a gain larger than what the seeds alone would give?"""

import math
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from labkit.course.compare import Difference, compare_number
from labkit.course.exercise import Case, Exercise


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)

    def runs(num_seeds: int, gain: float, spread: float) -> tuple[list[float], list[float]]:
        before = rng.normal(0.84, 0.03, num_seeds)
        after = before + rng.normal(gain, spread, num_seeds)
        return _rounded(after), _rounded(before)

    return [
        Case("two seeds", ([0.91, 0.88], [0.83, 0.84])),
        Case("three seeds", ([0.90, 0.93, 0.88], [0.84, 0.86, 0.85])),
        Case("a loss on every seed", ([0.71, 0.70, 0.65], [0.78, 0.80, 0.69])),
        Case("no gain on average", ([0.80, 0.90, 0.85, 0.81], [0.82, 0.88, 0.86, 0.80])),
        Case("hard seeds are hard for both", ([0.72, 0.95, 0.81, 0.88], [0.70, 0.92, 0.80, 0.85])),
        Case("one seed decides", ([0.95, 0.84, 0.85, 0.83, 0.84], [0.80, 0.85, 0.84, 0.83, 0.85])),
        Case("ten seeds, random", runs(10, 0.06, 0.02)),
        Case("eight seeds, random, a small gain", runs(8, 0.01, 0.03)),
    ]


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 4) for value in values]


def _judge(case: Case, value: Any) -> Difference | None:
    from scipy import stats  # the oracle, which most answers do not use

    distilled, labels_only = case.args
    expected = float(stats.ttest_rel(distilled, labels_only).statistic)
    if abs(expected) < 1e-9 and isinstance(value, float | int | np.number) and abs(float(value)) < 1e-9:
        return None  # a mean gain of 0, up to rounding
    return compare_number(expected, value, relative=1e-6)


def _note(cases: Sequence[Case], values: Sequence[Any]) -> str:
    return "The same numbers as scipy.stats.ttest_rel."


paired_t = Exercise(
    name="paired_t",
    signature="paired_t(distilled, labels_only)",
    goal="Return the paired t statistic of two lists of scores, one entry a seed in the same order: the mean of the"
    " differences over its standard error.",
    cases=_cases,
    judge_case=_judge,
    note=_note,
    hints=(
        "A seed that draws awkward images is hard for both students. In which number does that cancel?",
        "Take the difference seed by seed. The mean of n differences has the standard error sd / √n, where sd is their"
        " standard deviation with n - 1 in the denominator.",
        "`gains = distilled minus labels_only, seed by seed`; `error = standard deviation of gains (n - 1) / sqrt(n)`;"
        " `return mean of gains / error`.",
    ),
    points=2,
    minutes=10,
    difficulty=1,
    num_lines=3,
)


def _t(gains, ddof=1):
    return np.mean(gains) / (np.std(gains, ddof=ddof) / math.sqrt(len(gains)))


@paired_t.wrong("not paired", "two separate groups: the spread between seeds, which both share, then drowns the gain.")
def _(distilled, labels_only):
    from scipy import stats

    return stats.ttest_ind(distilled, labels_only).statistic


@paired_t.wrong("population's deviation", "np.std divides by n unless told: with few seeds n - 1 matters (ddof=1).")
def _(distilled, labels_only):
    return _t(np.subtract(distilled, labels_only), ddof=0)


@paired_t.wrong("deviation in place of standard error", "the mean of n differences varies √n times less than one.")
def _(distilled, labels_only):
    gains = np.subtract(distilled, labels_only)
    return np.mean(gains) / np.std(gains, ddof=1)


@paired_t.wrong("deviation divided by n", "the standard error is sd / √n, not sd / n.")
def _(distilled, labels_only):
    gains = np.subtract(distilled, labels_only)
    return np.mean(gains) / (np.std(gains, ddof=1) / len(gains))


@paired_t.wrong(
    "variance in place of deviation", "the standard error is a length, the variance its square: take the root."
)
def _(distilled, labels_only):
    gains = np.subtract(distilled, labels_only)
    return np.mean(gains) / (np.var(gains, ddof=1) / len(gains))


@paired_t.wrong("sign swapped", "a gain is positive: distilled minus labels_only.")
def _(distilled, labels_only):
    return _t(np.subtract(labels_only, distilled))


@paired_t.wrong("spread of the baseline", "what counts is how much the *differences* vary from seed to seed.")
def _(distilled, labels_only):
    return np.mean(np.subtract(distilled, labels_only)) / (np.std(labels_only, ddof=1) / math.sqrt(len(labels_only)))


@paired_t.wrong(
    "each list sorted first", "sorting pairs the worst with the worst: the seeds no longer belong together."
)
def _(distilled, labels_only):
    return _t(np.subtract(sorted(distilled), sorted(labels_only)))


@paired_t.wrong("losses counted as gains", "absolute differences hide the seeds on which it got worse.")
def _(distilled, labels_only):
    return _t(np.abs(np.subtract(distilled, labels_only)))


@paired_t.wrong("relative gains", "differences in points are asked for, not in per cent of the baseline.")
def _(distilled, labels_only):
    return _t(np.divide(distilled, labels_only) - 1)


@paired_t.wrong("median", "the t statistic is built on the mean; the median has another standard error.")
def _(distilled, labels_only):
    gains = np.subtract(distilled, labels_only)
    return np.median(gains) / (np.std(gains, ddof=1) / math.sqrt(len(gains)))


@paired_t.wrong("the mean gain alone", "a gain without its spread says nothing: divide by the standard error.")
def _(distilled, labels_only):
    return np.mean(np.subtract(distilled, labels_only))


@paired_t.wrong("the p value", "t is asked for; p follows from it and from the number of seeds.")
def _(distilled, labels_only):
    from scipy import stats

    return stats.ttest_rel(distilled, labels_only).pvalue


@paired_t.right("NumPy")
def _(distilled, labels_only):
    return _t(np.array(distilled) - np.array(labels_only))


@paired_t.right("standard library")
def _(distilled, labels_only):
    gains = [new - old for new, old in zip(distilled, labels_only, strict=True)]
    return statistics.fmean(gains) / (statistics.stdev(gains) / len(gains) ** 0.5)


@paired_t.right("sums of squares")
def _(distilled, labels_only):
    n = len(distilled)
    gains = [new - old for new, old in zip(distilled, labels_only, strict=True)]
    total = sum(gains)
    squares = sum((gain - total / n) ** 2 for gain in gains)
    return total / math.sqrt(n * squares / (n - 1))


@paired_t.right("SciPy's one-sample test")
def _(distilled, labels_only):
    from scipy import stats

    return float(stats.ttest_1samp(np.subtract(distilled, labels_only), 0).statistic)

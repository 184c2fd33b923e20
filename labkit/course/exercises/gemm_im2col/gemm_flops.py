"""`gemm_flops(m, n, k)`: what a matrix product costs in arithmetic."""

import math
from typing import Any

import numpy as np

from labkit.course.compare import Difference, compare_count
from labkit.course.exercise import Case, Exercise


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)
    random_sizes = [tuple(int(size) for size in rng.choice(np.arange(2, 500), 3, replace=False)) for _ in range(3)]
    # Three odd sizes: their product is odd and above 2**53, so no float holds it.
    large = tuple(int(size) for size in 2 * rng.integers((1_550_000, 1_550_000, 500), (2_000_000, 2_000_000, 700)) + 1)
    return [
        Case("one number times one number", (1, 1, 1)),
        Case("(2, 4) times (4, 3)", (2, 3, 4)),
        Case("a row times a matrix", (1, 5, 7)),
        Case("a fully connected layer, batch of 64", (64, 10, 512)),
        *(Case("random sizes", sizes) for sizes in random_sizes),
        Case("large", (100_000, 100_000, 100_000)),
        Case("larger than a float can count", large),
    ]


def _judge(case: Case, value: Any) -> Difference | None:
    # The oracle adds up k rank-one updates of the result, a multiply and an add for each of its entries.
    m, n, k = case.args
    return compare_count(sum(m * n + m * n for _ in range(k)), value)


gemm_flops = Exercise(
    name="gemm_flops",
    signature="gemm_flops(m, n, k)",
    goal="Return how many floating-point operations an (m, k) times (k, n) product takes, as an int; an add into"
    " the running sum counts like a multiply.",
    cases=_cases,
    judge_case=_judge,
    hints=(
        "Take (2, 4) times (4, 3) and compute one entry of the result by hand. How many multiplies, how many adds?",
        "The result has m · n entries. Each is a sum over k products, and each product is one multiply and one add"
        " into a sum that starts from zero.",
        "`entries of the result * terms per entry * operations per term`",
    ),
    points=1,
    minutes=3,
    difficulty=1,
    num_lines=1,
)


@gemm_flops.wrong("multiplies only", "each of the m·n·k terms is a multiply and an add, so the count doubles.")
def _(m, n, k):
    return m * n * k


@gemm_flops.wrong(
    "one add saved per entry",
    "k terms can be added with k - 1 adds, but the sum starts from zero: the count that everybody uses is 2·k.",
)
def _(m, n, k):
    return m * n * (2 * k - 1)


@gemm_flops.wrong("one entry of the result", "that is one dot product; the result has m·n of them.")
def _(m, n, k):
    return 2 * k


@gemm_flops.wrong("one row of the result", "that is a row times a matrix; a has m rows.")
def _(m, n, k):
    return 2 * n * k


@gemm_flops.wrong("two per entry of the result", "every entry of the result sums over k terms: k is missing.")
def _(m, n, k):
    return 2 * m * n


@gemm_flops.wrong("entries, not operations", "that is how many numbers the three matrices hold, which is memory.")
def _(m, n, k):
    return m * k + k * n + m * n


@gemm_flops.wrong("square matrices only", "the three sizes differ: multiply all of them.")
def _(m, n, k):
    return 2 * m**3


@gemm_flops.wrong("an old result added", "a @ b starts from zero; the extra m·n adds belong to a @ b + c.")
def _(m, n, k):
    return 2 * m * n * k + m * n


@gemm_flops.wrong(
    "counted in floats", "a float has 53 bits and loses the last digits of a large count: stay with integers."
)
def _(m, n, k):
    return int(2.0 * m * n * k)


@gemm_flops.wrong("counted in 32 bits", "large counts do not fit into int32 and wrap around, without a word.")
def _(m, n, k):
    return int(np.prod(np.array([2, m, n, k]), dtype=np.int32))


@gemm_flops.wrong("billions", "the count itself is asked for; GFLOP is a unit for people.")
def _(m, n, k):
    return 2 * m * n * k / 1e9


@gemm_flops.right("product")
def _(m, n, k):
    return 2 * m * n * k


@gemm_flops.right("multiplies, then adds")
def _(m, n, k):
    multiplies = math.prod((m, n, k))
    adds = math.prod((m, n, k))
    return multiplies + adds


@gemm_flops.right("NumPy's integers")
def _(m, n, k):
    return np.int64(2) * m * n * k


@gemm_flops.right("terms as a box")
def _(m, n, k):
    return 2 * np.broadcast_to(np.int8(0), (m, n, k)).size

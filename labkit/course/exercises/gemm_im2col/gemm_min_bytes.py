"""`gemm_min_bytes(m, n, k, itemsize)`: the least that a matrix product moves."""

import math
from typing import Any

import numpy as np

from labkit.course.compare import Difference, compare_count
from labkit.course.exercise import Case, Exercise


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)
    random_sizes = [tuple(int(size) for size in rng.choice(np.arange(2, 500), 3, replace=False)) for _ in range(3)]
    # Three odd areas: their sum is odd and above 2**53, so no float holds it.
    large = tuple(int(size) for size in 2 * rng.integers(30_000_000, 40_000_000, size=3) + 1)
    return [
        Case("one number times one number", (1, 1, 1, 4)),
        Case("(2, 4) times (4, 3), bytes", (2, 3, 4, 1)),
        Case("a row times a matrix", (1, 5, 7, 4)),
        Case("a thin inner axis", (300, 200, 2, 4)),
        *(Case("random sizes", (*sizes, itemsize)) for sizes, itemsize in zip(random_sizes, (2, 4, 8), strict=True)),
        Case("large", (100_000, 100_000, 100_000, 8)),
        Case("larger than a float can count", (*large, 8)),
    ]


def _judge(case: Case, value: Any) -> Difference | None:
    # The oracle is NumPy's own count of the bytes of three arrays, which take no memory here.
    m, n, k, itemsize = case.args
    number = np.empty((), f"V{itemsize}")
    return compare_count(sum(np.broadcast_to(number, shape).nbytes for shape in ((m, k), (k, n), (m, n))), value)


gemm_min_bytes = Exercise(
    name="gemm_min_bytes",
    signature="gemm_min_bytes(m, n, k, itemsize)",
    goal="Return how many bytes an (m, k) times (k, n) product moves at least, as an int: each input read once, the"
    " result written once, every number itemsize bytes.",
    cases=_cases,
    judge_case=_judge,
    hints=(
        "Suppose the cache were endless. Which numbers must still come from memory, and which must go there?",
        "Three matrices cross the boundary, each once: a is (m, k), b is (k, n), the result is (m, n).",
        "`(entries of a + entries of b + entries of the result) * itemsize`",
    ),
    points=1,
    minutes=3,
    difficulty=1,
    num_lines=1,
)


@gemm_min_bytes.wrong("result forgotten", "the result has to be written to memory too: m·n numbers more.")
def _(m, n, k, itemsize):
    return (m * k + k * n) * itemsize


@gemm_min_bytes.wrong("result read as well", "a @ b starts from zero, so the result is only written.")
def _(m, n, k, itemsize):
    return (m * k + k * n + 2 * m * n) * itemsize


@gemm_min_bytes.wrong("numbers, not bytes", "each number takes itemsize bytes.")
def _(m, n, k, itemsize):
    return m * k + k * n + m * n


@gemm_min_bytes.wrong("no reuse", "that reads two numbers for every multiply; the least is to read each number once.")
def _(m, n, k, itemsize):
    return (2 * m * n * k + m * n) * itemsize


@gemm_min_bytes.wrong("float32 assumed", "a number has itemsize bytes; 4 is right for float32 only.")
def _(m, n, k, itemsize):
    return (m * k + k * n + m * n) * 4


@gemm_min_bytes.wrong("b as large as the result", "b is (k, n): its rows are the inner axis.")
def _(m, n, k, itemsize):
    return (m * k + m * n + m * n) * itemsize


@gemm_min_bytes.wrong("bits", "itemsize is in bytes already; a factor of 8 makes bits.")
def _(m, n, k, itemsize):
    return (m * k + k * n + m * n) * itemsize * 8


@gemm_min_bytes.wrong("sides, not areas", "a matrix holds rows times columns numbers.")
def _(m, n, k, itemsize):
    return (m + n + k) * itemsize


@gemm_min_bytes.wrong("largest matrix only", "all three matrices cross the boundary, not only the largest.")
def _(m, n, k, itemsize):
    return max(m * k, k * n, m * n) * itemsize


@gemm_min_bytes.wrong("bytes of the result only", "itemsize multiplies all three matrices: put the sum in brackets.")
def _(m, n, k, itemsize):
    return m * k + k * n + m * n * itemsize


@gemm_min_bytes.wrong("square matrices only", "the three sizes differ, and so do the three matrices.")
def _(m, n, k, itemsize):
    return 3 * m * m * itemsize


@gemm_min_bytes.wrong(
    "counted in floats", "a float has 53 bits and loses the last digits of a large count: stay with integers."
)
def _(m, n, k, itemsize):
    return int((1.0 * m * k + k * n + m * n) * itemsize)


@gemm_min_bytes.right("sum of three")
def _(m, n, k, itemsize):
    return (m * k + k * n + m * n) * itemsize


@gemm_min_bytes.right("shapes")
def _(m, n, k, itemsize):
    return itemsize * sum(math.prod(shape) for shape in ((m, k), (k, n), (m, n)))


@gemm_min_bytes.right("half the surface of a box")
def _(m, n, k, itemsize):
    return itemsize * (2 * (m * (n + k) + n * k)) // 2


@gemm_min_bytes.right("dot product")
def _(m, n, k, itemsize):
    return np.dot(np.array([m, k, n]), np.array([k, n, m])) * itemsize

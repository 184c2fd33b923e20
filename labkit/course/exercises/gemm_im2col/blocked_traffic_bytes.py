"""`blocked_traffic_bytes(m, n, k, block, itemsize)`: what blocking saves, counted."""

import math
from typing import Any

import numpy as np

from labkit.course.compare import Difference, compare_count
from labkit.course.exercise import Case, Exercise


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)
    large = tuple(int(size) for size in 2 * rng.integers(30_000_000, 40_000_000, size=3) + 1)
    return [
        Case("one number at a time", (2, 3, 4, 1, 1)),
        Case("one block holds everything", (4, 2, 3, 4, 1)),
        Case("four blocks each, bytes", (4, 4, 4, 2, 1)),
        Case("whole blocks", (6, 3, 9, 3, 4)),
        Case("a last block of one column", (6, 4, 9, 3, 4)),
        Case("a last block of one row", (7, 3, 9, 3, 4)),
        Case("the inner axis does not divide", (6, 3, 10, 3, 4)),
        Case("nothing divides", (10, 7, 11, 4, 8)),
        *(_random_case(rng) for _ in range(3)),
        Case("large", (100_000, 100_000, 100_000, 10_000, 4)),
        Case("larger than a float can count", (*large, 20_000_000, 2)),
    ]


def _random_case(rng: np.random.Generator) -> Case:
    m, n, k = (int(size) for size in rng.choice(np.arange(30, 100), size=3, replace=False))
    return Case("random", (m, n, k, int(rng.integers(8, 20)), int(rng.choice([2, 8]))))


def _judge(case: Case, value: Any) -> Difference | None:
    return compare_count(_walk(*case.args), value)


def _walk(m: int, n: int, k: int, block: int, itemsize: int) -> int:
    """Go from block to block as the loops do, and add up what each read and each write moves."""

    def sides(length: int) -> list[int]:
        return [min(block, length - start) for start in range(0, length, block)]

    num_bytes = 0
    for rows in sides(m):
        for columns in sides(n):
            for inner in sides(k):
                num_bytes += (rows * inner + inner * columns) * itemsize
            num_bytes += rows * columns * itemsize
    return num_bytes


blocked_traffic_bytes = Exercise(
    name="blocked_traffic_bytes",
    signature="blocked_traffic_bytes(m, n, k, block, itemsize)",
    goal="Return how many bytes a blocked (m, k) times (k, n) product moves, as an int, with a cache that holds one"
    " block of each matrix: for each block of the result, the blocks of a in its rows and of b in its columns are"
    " read once, and the block of the result is written once, at the end; a last block counts only the numbers it has.",
    cases=_cases,
    judge_case=_judge,
    hints=(
        "Take m = n = k = 4 and block = 2. How many blocks has the result? Which blocks of a does the upper left one"
        " need, and which of them are read again for the one beside it?",
        "Each number of a is read once for every block column of the result, each number of b once for every block"
        " row. Partial blocks need no care beyond that: there is one more block column, but a is no larger.",
        "`times_a = n / block rounded up`; `times_b = m / block rounded up`;"
        " `(m*k * times_a + k*n * times_b + m*n) * itemsize`.",
    ),
    points=2,
    minutes=12,
    difficulty=2,
    num_lines=3,
)


@blocked_traffic_bytes.wrong("rounded down", "the last, partial block is read too: round the number of blocks up.")
def _(m, n, k, block, itemsize):
    return (m * k * (n // block) + k * n * (m // block) + m * n) * itemsize


@blocked_traffic_bytes.wrong(
    "parts of a block", "there is no half read: a partial block column needs all of a once more."
)
def _(m, n, k, block, itemsize):
    return int((m * k * n / block + k * n * m / block + m * n) * itemsize)


@blocked_traffic_bytes.wrong(
    "a and b exchanged", "a is read for every block column of the result, so n / block times; b m / block times."
)
def _(m, n, k, block, itemsize):
    return (m * k * -(-m // block) + k * n * -(-n // block) + m * n) * itemsize


@blocked_traffic_bytes.wrong("whole blocks at the edges", "a partial block moves only the numbers it has.")
def _(m, n, k, block, itemsize):
    m, n, k = (-(-size // block) * block for size in (m, n, k))
    return (m * k * (n // block) + k * n * (m // block) + m * n) * itemsize


@blocked_traffic_bytes.wrong(
    "result written for every inner block", "a block of the result stays in the cache until it is complete."
)
def _(m, n, k, block, itemsize):
    return (m * k * -(-n // block) + k * n * -(-m // block) + m * n * -(-k // block)) * itemsize


@blocked_traffic_bytes.wrong(
    "result read as well", "a block of the result starts from zero in the cache: only written."
)
def _(m, n, k, block, itemsize):
    return (m * k * -(-n // block) + k * n * -(-m // block) + 2 * m * n) * itemsize


@blocked_traffic_bytes.wrong("result forgotten", "the result is written to memory, once.")
def _(m, n, k, block, itemsize):
    return (m * k * -(-n // block) + k * n * -(-m // block)) * itemsize


@blocked_traffic_bytes.wrong("every matrix once", "that is the least, with an endless cache; blocks are read again.")
def _(m, n, k, block, itemsize):
    return (m * k + k * n + m * n) * itemsize


@blocked_traffic_bytes.wrong(
    "no reuse", "a block serves block times before it leaves the cache: block divides the reads."
)
def _(m, n, k, block, itemsize):
    return (2 * m * n * k + m * n) * itemsize


@blocked_traffic_bytes.wrong(
    "read for every inner block", "each inner step reads other blocks of a and b; the repeats come from n and m."
)
def _(m, n, k, block, itemsize):
    times = -(-k // block)
    return (m * k * times + k * n * times + m * n) * itemsize


@blocked_traffic_bytes.wrong("numbers, not bytes", "each number takes itemsize bytes.")
def _(m, n, k, block, itemsize):
    return m * k * -(-n // block) + k * n * -(-m // block) + m * n


@blocked_traffic_bytes.wrong(
    "a row of blocks kept", "the cache holds one block of a, so a is read again and again like b."
)
def _(m, n, k, block, itemsize):
    return (m * k + k * n * -(-m // block) + m * n) * itemsize


@blocked_traffic_bytes.wrong(
    "counted in floats", "a float has 53 bits and loses the last digits of a large count: stay with integers."
)
def _(m, n, k, block, itemsize):
    return int((1.0 * m * k * -(-n // block) + 1.0 * k * n * -(-m // block) + m * n) * itemsize)


@blocked_traffic_bytes.right("formula")
def _(m, n, k, block, itemsize):
    return (m * k * -(-n // block) + k * n * -(-m // block) + m * n) * itemsize


@blocked_traffic_bytes.right("rounded up by math.ceil")
def _(m, n, k, block, itemsize):
    return itemsize * (m * k * math.ceil(n / block) + k * n * math.ceil(m / block) + m * n)


@blocked_traffic_bytes.right("block of the result by block of the result")
def _(m, n, k, block, itemsize):
    total = 0
    for i in range(0, m, block):
        for j in range(0, n, block):
            rows, columns = min(block, m - i), min(block, n - j)
            total += rows * k + k * columns + rows * columns
    return total * itemsize


@blocked_traffic_bytes.right("NumPy's integers")
def _(m, n, k, block, itemsize):
    num_rows, num_columns = (np.arange(0, size, block, dtype=np.int64).size for size in (m, n))
    return np.dot([m * k, k * n, m * n], [num_columns, num_rows, 1]) * itemsize

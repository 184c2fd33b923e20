"""`blocked_gemm(a, b, block)`: a matrix product from small products that fit into a cache."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from labkit.course.compare import Difference
from labkit.course.exercise import Case, Exercise
from labkit.course.exercises.gemm_im2col.numbers import compare_floats, eighths
from labkit.course.exercises.gemm_im2col.watched import Ledger, watch


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(name: str, m: int, n: int, k: int, block: int, dtype: Any = np.float64) -> Case:
        return Case(name, (eighths(rng, m, k, dtype=dtype), eighths(rng, k, n, dtype=dtype), block))

    m, n, k = (int(size) for size in rng.choice(np.arange(8, 16), size=3, replace=False))
    return [
        case("one block holds everything", 3, 2, 4, 4),
        case("blocks of one number", 4, 5, 3, 1),
        case("two inner blocks", 2, 2, 4, 2),
        case("whole blocks", 6, 3, 9, 3),
        case("the last inner block is partial", 6, 3, 10, 3),
        case("the last block of rows is partial", 7, 3, 6, 3),
        case("the last block of columns is partial", 6, 5, 3, 3),
        case("many blocks, higher than wide", 9, 4, 7, 2),
        case("float32, every last block is partial", 10, 7, 11, 4, np.float32),
        case("random", m, n, k, 3),
        case("random, float32", n, k, m, 5, np.float32),
    ]


def _probe(candidate: Callable[..., Any], case: Case) -> dict[str, Any]:
    """The product, and where it was not computed from blocks: too large an operand, or too many fetches.

    What is as it should be is None, so that answers that differ only in the order of their loops are alike.
    """
    a, b, block = case.args
    of_a, of_b = Ledger(a, block), Ledger(b, block)
    product = candidate(watch(a, of_a), watch(b, of_b), block)
    # A block for each product; twice that, for loops that reach a block in two steps; and one look at every number.
    too_many = any(
        ledger.num_fetches > 2 * _num_products(case) + matrix.size for ledger, matrix in ((of_a, a), (of_b, b))
    )
    return {
        "product": product,
        "too_large": [of_a.too_large, of_b.too_large],
        "num_fetches": [of_a.num_fetches, of_b.num_fetches] if too_many else None,
    }


def _num_products(case: Case) -> int:
    """How many products of blocks there are."""
    a, b, block = case.args
    return math.prod(math.ceil(size / block) for size in (*a.shape, b.shape[1]))


def _judge(case: Case, value: Any) -> Difference | None:
    a, b, block = case.args
    # The oracle multiplies and adds each pair of numbers, without a product of matrices.
    expected = (a.astype(np.float64)[:, :, None] * b.astype(np.float64)[None]).sum(axis=1)
    difference = compare_floats(expected, value["product"], a.dtype)
    if difference is not None:
        return difference
    for name, sides in zip("ab", value["too_large"], strict=True):
        if sides is not None:
            came = f"the right numbers, but a product with {' by '.join(map(str, sides))} numbers of {name} at once"
            return Difference(f"products of at most {block} by {block} numbers of a and of b", came)
    if value["num_fetches"] is not None:
        of_a, of_b = value["num_fetches"]
        return Difference(
            f"a block of a and one of b used up before the next are fetched: {_num_products(case):,} fetches each",
            f"the right numbers, but a block of a was fetched {of_a:,} times, a block of b {of_b:,} times",
        )
    return None


blocked_gemm = Exercise(
    name="blocked_gemm",
    signature="blocked_gemm(a, b, block)",
    goal="Return a @ b for a (m, k) and b (k, n), computed from blocks: every product you write takes at most block by"
    " block numbers of a and of b, and is done with them before it goes on; sizes need not divide, the dtype stays.",
    cases=_cases,
    judge_case=_judge,
    hints=(
        "Cut a, b and the result into blocks with a pencil. Which blocks of a and of b does the upper left block of the"
        " result need, and what happens to their products?",
        "It is the rule that you know for numbers, with blocks in their place: block (I, J) of the result is the sum"
        " over P of block (I, P) of a times block (P, J) of b. A slice that reaches past the end is cut by NumPy, so"
        " partial blocks need nothing more.",
        "`c = zeros (m, n) of a's dtype`; `for i in steps of block to m: for j in steps of block to n:"
        " for p in steps of block to k: c[block of rows i, block of columns j] += a[rows i, p] @ b[p, columns j]`.",
    ),
    points=4,
    minutes=15,
    difficulty=2,
    num_lines=7,
    probe=_probe,
)


def _steps(size, block):
    return [slice(start, start + block) for start in range(0, size, block)]


@blocked_gemm.wrong("no blocks", "the numbers are right, but one product takes the whole of a and b.")
def _(a, b, block):
    return a @ b


@blocked_gemm.wrong(
    "inner axis not cut", "a block of rows times a block of columns still reads all of k at once: cut k as well."
)
def _(a, b, block):
    c = np.zeros((a.shape[0], b.shape[1]), a.dtype)
    for i in _steps(a.shape[0], block):
        for j in _steps(b.shape[1], block):
            c[i, j] = a[i] @ b[:, j]
    return c


@blocked_gemm.wrong("only rows cut", "each product takes the whole of b: cut the columns and the inner axis too.")
def _(a, b, block):
    return np.concatenate([a[i] @ b for i in _steps(a.shape[0], block)])


@blocked_gemm.wrong("only columns cut", "each product takes the whole of a: cut the rows and the inner axis too.")
def _(a, b, block):
    return np.concatenate([a @ b[:, j] for j in _steps(b.shape[1], block)], axis=1)


@blocked_gemm.wrong("only the inner axis cut", "each product takes all rows of a and all columns of b: cut those too.")
def _(a, b, block):
    return sum((a[:, p] @ b[p] for p in _steps(a.shape[1], block)), np.zeros((), a.dtype))


@blocked_gemm.wrong("row times column", "whole rows of a and whole columns of b are k long: take pieces of block.")
def _(a, b, block):
    return np.array([[row @ column for column in b.T] for row in a])


@blocked_gemm.wrong(
    "number by number, without blocks",
    "the three loops go along whole rows and columns, so every block is fetched again and again: two loops each, over"
    " blocks and inside them.",
)
def _(a, b, block):
    c = np.zeros((a.shape[0], b.shape[1]), a.dtype)
    for i in range(a.shape[0]):
        for j in range(b.shape[1]):
            for p in range(a.shape[1]):
                c[i, j] += a[i, p] * b[p, j]
    return c


@blocked_gemm.wrong("last inner block wins", "a block of the result is a sum over the inner blocks: `+=`, not `=`.")
def _(a, b, block):
    c = np.zeros((a.shape[0], b.shape[1]), a.dtype)
    for i in _steps(a.shape[0], block):
        for j in _steps(b.shape[1], block):
            for p in _steps(a.shape[1], block):
                c[i, j] = a[i, p] @ b[p, j]
    return c


@blocked_gemm.wrong("first inner block only", "the inner axis has more blocks than one: add up all of their products.")
def _(a, b, block):
    c = np.zeros((a.shape[0], b.shape[1]), a.dtype)
    for i in _steps(a.shape[0], block):
        for j in _steps(b.shape[1], block):
            c[i, j] = a[i, :block] @ b[:block, j]
    return c


@blocked_gemm.wrong("partial blocks dropped", "size // block leaves the last, partial block out on every axis.")
def _(a, b, block):
    (m, k), n = (size // block * block for size in a.shape), b.shape[1] // block * block
    c = np.zeros((a.shape[0], b.shape[1]), a.dtype)
    for i in _steps(m, block):
        for j in _steps(n, block):
            for p in _steps(k, block):
                c[i, j] += a[i, p] @ b[p, j]
    return c


@blocked_gemm.wrong(
    "partial inner block dropped", "the last block of the inner axis may be partial: its products count."
)
def _(a, b, block):
    c = np.zeros((a.shape[0], b.shape[1]), a.dtype)
    for i in _steps(a.shape[0], block):
        for j in _steps(b.shape[1], block):
            for p in _steps(a.shape[1] // block * block, block):
                c[i, j] += a[i, p] @ b[p, j]
    return c


@blocked_gemm.wrong("result of whole blocks", "the result is (m, n): cut off what the padding to whole blocks added.")
def _(a, b, block):
    (m, k), n = (-(-size // block) * block for size in a.shape), -(-b.shape[1] // block) * block
    a, b = np.pad(a, ((0, m - a.shape[0]), (0, k - a.shape[1]))), np.pad(b, ((0, k - b.shape[0]), (0, n - b.shape[1])))
    c = np.zeros((m, n), a.dtype)
    for i in _steps(m, block):
        for j in _steps(n, block):
            for p in _steps(k, block):
                c[i, j] += a[i, p] @ b[p, j]
    return c


@blocked_gemm.wrong("one size for all three loops", "m, n and k differ: each loop has its own end.")
def _(a, b, block):
    c = np.zeros((a.shape[0], b.shape[1]), a.dtype)
    for i in _steps(len(a), block):
        for j in _steps(len(a), block):
            for p in _steps(len(a), block):
                c[i, j] += a[i, p] @ b[p, j]
    return c


@blocked_gemm.wrong("diagonal blocks only", "block (I, J) needs every inner block P, not only the one that equals J.")
def _(a, b, block):
    c = np.zeros((a.shape[0], b.shape[1]), a.dtype)
    for i in _steps(a.shape[0], block):
        for j in _steps(min(b.shape), block):
            c[i, j] += a[i, j] @ b[j, j]
    return c


@blocked_gemm.wrong("block taken as the number of blocks", "block is the side of a block, not how many there are.")
def _(a, b, block):
    c = np.zeros((a.shape[0], b.shape[1]), a.dtype)
    for i in _steps(a.shape[0], -(-a.shape[0] // block)):
        for j in _steps(b.shape[1], -(-b.shape[1] // block)):
            for p in _steps(a.shape[1], -(-a.shape[1] // block)):
                c[i, j] += a[i, p] @ b[p, j]
    return c


@blocked_gemm.wrong("always float64", "np.zeros makes float64: give it a's dtype.")
def _(a, b, block):
    c = np.zeros((a.shape[0], b.shape[1]))
    for i in _steps(a.shape[0], block):
        for j in _steps(b.shape[1], block):
            for p in _steps(a.shape[1], block):
                c[i, j] += a[i, p] @ b[p, j]
    return c


@blocked_gemm.right("rows, columns, inner")
def _(a, b, block):
    c = np.zeros((a.shape[0], b.shape[1]), a.dtype)
    for i in _steps(a.shape[0], block):
        for j in _steps(b.shape[1], block):
            for p in _steps(a.shape[1], block):
                c[i, j] += a[i, p] @ b[p, j]
    return c


@blocked_gemm.right("inner axis outermost, np.dot")
def _(a, b, block):
    c = np.zeros((a.shape[0], b.shape[1]), a.dtype)
    for p in range(0, a.shape[1], block):
        panel_a, panel_b = a[:, p : p + block], b[p : p + block]
        for j in range(0, b.shape[1], block):
            for i in range(0, a.shape[0], block):
                c[i : i + block, j : j + block] += np.dot(panel_a[i : i + block], panel_b[:, j : j + block])
    return c


@blocked_gemm.right("einsum on blocks, into one sum")
def _(a, b, block):
    c = np.empty((a.shape[0], b.shape[1]), a.dtype)
    for i in _steps(a.shape[0], block):
        for j in _steps(b.shape[1], block):
            c[i, j] = sum(np.einsum("ip,pj->ij", a[i, p], b[p, j]) for p in _steps(a.shape[1], block))
    return c


@blocked_gemm.right("numbers inside blocks")
def _(a, b, block):
    (m, k), n = a.shape, b.shape[1]
    c = np.zeros((m, n), a.dtype)
    for i0 in range(0, m, block):
        for j0 in range(0, n, block):
            for p0 in range(0, k, block):
                for i in range(i0, min(i0 + block, m)):
                    for p in range(p0, min(p0 + block, k)):
                        a_ip = a[i, p]
                        for j in range(j0, min(j0 + block, n)):
                            c[i, j] += a_ip * b[p][j]
    return c


@blocked_gemm.right("columns of a block times its rows")
def _(a, b, block):
    c = np.zeros((a.shape[0], b.shape[1]), a.dtype)
    for j in _steps(b.shape[1], block):
        for p in _steps(a.shape[1], block):
            for i in _steps(a.shape[0], block):
                for column, row in zip(a[i, p].T, b[p, j], strict=True):
                    c[i, j] += np.outer(column, row)
    return c


@blocked_gemm.right("list of blocks, put together")
def _(a, b, block):
    num_rows, num_inner, num_columns = (math.ceil(size / block) for size in (*a.shape, b.shape[1]))
    blocks_a = [np.array_split(rows, num_inner, axis=1) for rows in np.array_split(a, num_rows)]
    blocks_b = [np.array_split(rows, num_columns, axis=1) for rows in np.array_split(b, num_inner)]
    products = [
        [sum(blocks_a[i][p].dot(blocks_b[p][j]) for p in range(num_inner)) for j in range(num_columns)]
        for i in range(num_rows)
    ]
    return np.block(products)


@blocked_gemm.right("padded to whole blocks")
def _(a, b, block):
    (m, k), n = a.shape, b.shape[1]
    a = np.pad(a, ((0, -m % block), (0, -k % block)))
    b = np.pad(b, ((0, -k % block), (0, -n % block)))
    tiles_a = a.reshape(a.shape[0] // block, block, a.shape[1] // block, block).swapaxes(1, 2)
    tiles_b = b.reshape(b.shape[0] // block, block, b.shape[1] // block, block).swapaxes(1, 2)
    tiles = (tiles_a[:, :, None] @ tiles_b[None]).sum(axis=1)  # every block times every block, then the sum over P
    return tiles.swapaxes(1, 2).reshape(a.shape[0], b.shape[1])[:m, :n]


@blocked_gemm.right("zeros_like and plain arrays")
def _(a, b, block):
    a, b = np.asarray(a), np.asarray(b)
    c = np.zeros_like(a, shape=(a.shape[0], b.shape[1]))
    for i in _steps(a.shape[0], block):
        for p in _steps(a.shape[1], block):
            for j in _steps(b.shape[1], block):
                np.add(c[i, j], a[i, p] @ b[p, j], out=c[i, j])
    return c


@blocked_gemm.right("largest axis halved, again and again")
def _halves(a, b, block):
    (m, k), n = a.shape, b.shape[1]
    if max(m, k, n) <= block:
        return a @ b
    half = -(-max(m, k, n) // block) // 2 * block
    if m == max(m, k, n):
        return np.concatenate([_halves(a[:half], b, block), _halves(a[half:], b, block)])
    if n == max(m, k, n):
        return np.concatenate([_halves(a, b[:, :half], block), _halves(a, b[:, half:], block)], axis=1)
    return _halves(a[:, :half], b[:half], block) + _halves(a[:, half:], b[half:], block)

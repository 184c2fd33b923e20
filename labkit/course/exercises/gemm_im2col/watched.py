"""A matrix that writes down what of it is multiplied and fetched: whether a product was computed in blocks.

A watched matrix is an ordinary NumPy array to whoever computes with it: slices, views, products, functions and
scalars behave as ever. Two things are noted:

- the largest operand of a product (`@`, `*`, dot, einsum, outer, …);
- fetches: how often a read leaves the block in which the reads before it lay. A view of more than a block is
  not yet a read; a copy is the reader's own and free from then on.

What is not seen: a matrix that was turned into a plain array as a whole (`np.asarray(a)`, `a.tolist()`).
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

PRODUCT_UFUNCS = {"matmul", "multiply", "vecdot", "matvec", "vecmat"}
PRODUCT_FUNCTIONS = {
    "dot",
    "inner",
    "outer",
    "vdot",
    "einsum",
    "tensordot",
    "kron",
    "multi_dot",
    "convolve",
    "correlate",
}
CORE_AXES = {"matmul": 2, "matvec": 2, "vecmat": 2}  # the axes in front of these count through a batch


class Ledger:
    """What was done with one matrix (rows one after the other in memory), and how large its blocks may be."""

    def __init__(self, matrix: np.ndarray, block: int) -> None:
        assert matrix.flags.c_contiguous
        self.block = block
        self.too_large: tuple[int, ...] | None = None  # sides of the largest operand that was more than a block
        self.num_fetches = 0
        self._first_byte = _first_byte(matrix)
        self._num_bytes = matrix.nbytes
        self._row_bytes, self._item_bytes = matrix.strides
        self._box = (0, 0, -1, -1)  # the rows and columns that the last reads lay in, both ends included

    def multiplied(self, shape: tuple[int, ...]) -> None:
        """An operand of this shape went into a product; which way round it lies makes no difference."""
        long_sides = sorted((side for side in shape if side > 1), reverse=True)
        sides = (*long_sides, 1, 1)[: max(2, len(long_sides))]
        fits = sides[0] <= self.block and math.prod(sides) <= self.block**2
        if not fits and math.prod(sides) > math.prod(self.too_large or ()):
            self.too_large = sides

    def read(self, view: np.ndarray) -> None:
        """A view of the matrix was taken; it is a fetch when it does not fit into the block of the last ones."""
        spans = [(size - 1) * stride for size, stride in zip(view.shape, view.strides, strict=True)]
        low = _first_byte(view) - self._first_byte + sum(min(0, span) for span in spans)
        high = low + sum(map(abs, spans))
        if view.size == 0 or low < 0 or high >= self._num_bytes:  # somebody's own copy
            return
        (top, left), (bottom, right) = self._place(low), self._place(high)
        box, old = (top, left, bottom, right), self._box
        if not self._fits(box):  # more than a block: nothing is read yet
            return
        union = (min(top, old[0]), min(left, old[1]), max(bottom, old[2]), max(right, old[3]))
        goes_on = self.num_fetches > 0 and self._fits(union)
        self._box = union if goes_on else box
        self.num_fetches += not goes_on

    def _place(self, byte: int) -> tuple[int, int]:
        return byte // self._row_bytes, byte % self._row_bytes // self._item_bytes

    def _fits(self, box: tuple[int, int, int, int]) -> bool:
        return box[2] - box[0] < self.block and box[3] - box[1] < self.block


class Watched(np.ndarray):
    """A matrix, or something made from one, with the matrix's ledger; `watch` makes it."""

    ledger: Ledger | None = None

    def __array_finalize__(self, source: Any) -> None:
        self.ledger = getattr(source, "ledger", None)

    def __getitem__(self, key: Any) -> Any:
        item = super().__getitem__(key)
        if self.ledger is not None:
            self.ledger.read(item if isinstance(item, np.ndarray) else self._as_view(key))
        return item

    def _as_view(self, key: Any) -> np.ndarray:
        """The one entry at this key as a view, which knows where in memory it lies."""
        view: np.ndarray = super().__getitem__((*(key if isinstance(key, tuple) else (key,)), Ellipsis))
        return view

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
        if ufunc.__name__ in PRODUCT_UFUNCS and all(np.ndim(value) > 0 for value in inputs):
            _note(inputs, CORE_AXES.get(ufunc.__name__, 0))
        if out is not None:
            options["out"] = tuple(_plain(value) for value in out)
        result = getattr(ufunc, method)(*map(_plain, inputs), **options)
        return result if out is None else out[0] if len(out) == 1 else out

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function.__name__ in PRODUCT_FUNCTIONS:
            _note((*args, *kwargs.values()), 0)
        return super().__array_function__(function, types, args, kwargs)

    def dot(self, other: Any, out: Any = None) -> Any:
        """As ndarray.dot, which would pass by `__array_function__`."""
        return np.dot(self, other, out)

    def __str__(self) -> str:  # a learner who prints a matrix sees a matrix, and printing is no reading
        return str(_plain(self))

    def __repr__(self) -> str:
        return repr(_plain(self))


def watch(matrix: np.ndarray, ledger: Ledger) -> Watched:
    """The matrix itself, in the same memory; what is done with it goes into the ledger."""
    watched = matrix.view(Watched)
    watched.ledger = ledger
    return watched


def _note(operands: Any, core_axes: int) -> None:
    for operand in _watched_in(operands):
        if operand.ledger is not None:
            operand.ledger.multiplied(operand.shape[-core_axes:])


def _watched_in(values: Any) -> Iterator[Watched]:
    for value in values:
        if isinstance(value, Watched):
            yield value
        elif isinstance(value, list | tuple):
            yield from _watched_in(value)


def _plain(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, Watched) else value


def _first_byte(array: np.ndarray) -> int:
    address: int = array.__array_interface__["data"][0]
    return address

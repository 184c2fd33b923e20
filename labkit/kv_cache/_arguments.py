"""What this package accepts as a number of slots, a list of slots, a row; and how it says no."""

from __future__ import annotations

from operator import index
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Slot numbers are int32 in a token table and in every attention kernel that reads one.
MAX_SLOTS = 2**31 - 1


class CountError(ValueError):
    """A number of slots or tokens that no request can mean: negative, a fraction, a bool, beyond int32."""


class FreeError(ValueError):
    """Slots that cannot be given back: out of range, not held, or twice in one call."""


class RowError(ValueError):
    """A row of a request table that holds no request, or cannot hold a longer one."""


def count_argument(value: Any, name: str, at_least: int = 0) -> int:
    """`value` as an int in at_least..MAX_SLOTS; CountError otherwise (bool, float and NaN included)."""
    if isinstance(value, bool | np.bool_) or not hasattr(value, "__index__"):
        raise CountError(f"{name} is a whole number, and {value!r} is a {type(value).__name__}.")
    try:
        number = index(value)
    except TypeError as error:  # an array of several numbers has __index__ too
        raise CountError(f"{name} is one whole number, and {value!r} is a {type(value).__name__}.") from error
    if number < at_least:
        raise CountError(f"{name} is {number}; it must be {at_least} or more.")
    if number > MAX_SLOTS:
        raise CountError(f"{name} is {number}; slot numbers are int32, so no pool has more than {MAX_SLOTS}.")
    return number


def integers_argument(values: ArrayLike, name: str, error: type[ValueError]) -> NDArray[np.int64]:
    """`values` as a one-dimensional int64 array, shape (n,); `error` for another shape, floats and bools.

    The result may be the caller's own array: read it, do not keep it.
    """
    try:
        numbers = np.asarray(values)
    except ValueError as ragged:
        raise error(f"{name} is a list of whole numbers; got {values!r}.") from ragged
    if numbers.ndim == 0:
        raise error(f"{name} is a list of whole numbers; for one, write [{numbers.item()!r}].")
    if numbers.ndim > 1:
        raise error(f"{name} is a list of whole numbers; got an array of shape {numbers.shape}.")
    if numbers.size == 0:
        return np.empty(0, np.int64)
    if numbers.dtype.kind not in "iu":
        raise error(f"{name} is a list of whole numbers; got an array of {numbers.dtype}.")
    if numbers.dtype == np.uint64 and int(numbers.max()) > MAX_SLOTS:
        raise error(f"{name} has {int(numbers.max())}, which is no slot number: they are int32.")
    return numbers.astype(np.int64, copy=False)


def prompt_argument(prompt_len: Any, max_len: int) -> int:
    """`prompt_len` as an int that fits a row; RowError when it never can."""
    number = count_argument(prompt_len, "prompt_len")
    if number > max_len:
        raise RowError(f"A prompt of {number} tokens never fits a row: max_len is {max_len}. Waiting cannot help.")
    return number


def rows_argument(rows: ArrayLike, lengths: NDArray[np.int64], max_len: int) -> NDArray[np.int64]:
    """The distinct rows that each hold a request with room for one more token, shape (n,); RowError otherwise."""
    numbers = integers_argument(rows, "rows", RowError)
    for row in () if _all_can_grow(numbers, lengths, max_len) else numbers.tolist():
        live_row(row, lengths)
        if lengths[row] >= max_len:
            raise RowError(
                f"Row {row} is full: it holds {lengths[row]} tokens and max_len is {max_len}. "
                "Waiting cannot help; finish the request."
            )
    if len(set(numbers.tolist())) < len(numbers):
        raise RowError(f"A request gets one token a step, and a row stands twice in {numbers.tolist()}.")
    return numbers


def _all_can_grow(rows: NDArray[np.int64], lengths: NDArray[np.int64], max_len: int) -> bool:
    """The usual case of a decode step, in three passes over the rows instead of a call for each."""
    # seen as unsigned, a negative number is larger than any row
    if rows.size == 0 or int(rows.view(np.uint64).max()) >= len(lengths):
        return rows.size == 0
    held = lengths[rows]
    return int(held.min()) >= 0 and int(held.max()) < max_len


def live_row(row: Any, lengths: NDArray[np.int64]) -> int:
    """`row` as an int when it holds a request (lengths[row] >= 0); RowError otherwise."""
    try:
        number = count_argument(row, "A row")
    except CountError as error:
        raise RowError(str(error)) from None
    if number >= len(lengths):
        raise RowError(f"Row {number} does not exist: this table has the rows 0 to {len(lengths) - 1}.")
    if lengths[number] < 0:
        raise RowError(f"Row {number} holds no request: it was never started, or is finished already.")
    return number

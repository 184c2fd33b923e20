"""Comparisons that say how an answer differs: what was expected, what came, where first, how far at most."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from labkit.course.describe import describe


@dataclass(frozen=True)
class Difference:
    """Why an answer is wrong, in two lines.

    `asked` are the arguments of the one question that failed, `(3, [1, 2])`, where its case asks many.
    """

    expected: str
    came: str
    asked: str = ""


def compare_exactly(expected: Any, value: Any) -> Difference | None:
    """Nothing when both are equal and of the same kind (bool is not int; list and tuple are one kind)."""
    if _exactly_equal(expected, value):
        return None
    return Difference(describe(expected), describe_typed(value))


def compare_number(expected: int | float | Fraction, value: Any, relative: float = 1e-9) -> Difference | None:
    """Nothing when the value is a real number within a relative distance of the expected one."""
    came = value.item() if isinstance(value, np.generic) else value
    came = came.item() if isinstance(came, np.ndarray) and came.ndim == 0 else came
    if isinstance(came, bool) or not isinstance(came, int | float | Fraction):
        return Difference(describe(expected), _not(value, "a number"))
    if came == expected:
        return None
    if not isinstance(came, int | Fraction) and not np.isfinite(came):
        return Difference(describe(expected), describe(value))
    wanted = Fraction(expected)
    if abs(Fraction(came) - wanted) <= Fraction(relative) * abs(wanted):
        return None
    return Difference(describe(expected), describe(value) + _factor(wanted, Fraction(came)))


def compare_count(expected: int, value: Any) -> Difference | None:
    """Nothing when the value is this whole number, as a Python or a NumPy integer."""
    came = value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if isinstance(came, float | np.floating):
        kind = type(came).__name__
        return Difference(describe(expected), f"{came!r} ({kind}): a count is a whole number, an int")
    return compare_number(expected, came, relative=0.0)


def compare_arrays(
    expected: np.ndarray, value: Any, relative: float = 1e-6, absolute: float = 0.0, same_dtype: bool = True
) -> Difference | None:
    """Nothing when the value is an array of the same shape (and dtype) and close everywhere.

    `absolute` is in units of the expected array's largest magnitude: rounding grows with the terms of a sum,
    not with its result.
    """
    wanted = describe(expected)
    if not isinstance(value, np.ndarray):
        return Difference(wanted, _not(value, "an array"))
    came = describe(value)
    if value.shape != expected.shape:
        return Difference(wanted, f"{came}: another shape")
    if same_dtype and value.dtype != expected.dtype:
        return Difference(wanted, f"{came}: another dtype")
    if value.dtype.kind not in "biufc":
        return Difference(wanted, f"{came}: not numbers")
    scale = float(np.max(np.abs(expected))) if expected.size else 0.0
    close = np.isclose(value, expected, rtol=relative, atol=absolute * scale, equal_nan=True)
    if close.all():
        return None
    return Difference(wanted, came + _first_difference(expected, value, close))


def describe_typed(value: Any) -> str:
    """`describe`, with the type where the text does not show it."""
    if isinstance(value, np.ndarray | np.generic | str | bytes | tuple | list | dict) or value is None:
        return describe(value)
    return f"{describe(value)} ({type(value).__name__})"


def _not(value: Any, wanted: str) -> str:
    return "None: is a return missing?" if value is None else f"{describe_typed(value)}: not {wanted}"


def _first_difference(expected: np.ndarray, value: np.ndarray, close: np.ndarray) -> str:
    place = tuple(int(i) for i in np.argwhere(~close)[0])
    with np.errstate(invalid="ignore", over="ignore"):
        gap = np.abs(value.astype(np.complex128) - expected.astype(np.complex128))
    largest = f"max difference {np.nanmax(gap):.3g}" if np.isfinite(gap).any() else "not finite"
    return (
        f"; first different at {list(place)}: expected {expected[place]:.6g}, came {value[place]:.6g};"
        f" {int((~close).sum()):,} of {close.size:,} entries differ; {largest}"
    )


def _factor(expected: Fraction, came: Fraction) -> str:
    if expected == 0 or came == 0 or abs(came / expected - 1) < Fraction(1, 1000):
        return ""  # nothing to say of a zero, and "1 times" of a number that differs in its last digits
    return f" ({float(came / expected):.4g} times the expected)"


def _exactly_equal(expected: Any, value: Any) -> bool:
    if isinstance(expected, np.ndarray) or isinstance(value, np.ndarray):
        return (
            isinstance(expected, np.ndarray)
            and isinstance(value, np.ndarray)
            and expected.shape == value.shape
            and bool(np.array_equal(expected, value))
        )
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(expected, bool) or isinstance(value, bool):
        return isinstance(expected, bool) and isinstance(value, bool) and expected == value
    if isinstance(expected, list | tuple) and isinstance(value, list | tuple):
        return len(expected) == len(value) and all(map(_exactly_equal, expected, value))
    if isinstance(expected, dict) and isinstance(value, dict):
        return expected.keys() == value.keys() and all(_exactly_equal(expected[k], value[k]) for k in expected)
    if isinstance(expected, int | float | Fraction) and isinstance(value, int | float | Fraction):
        return expected == value
    return type(expected) is type(value) and bool(expected == value)

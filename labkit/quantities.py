"""Whole numbers and bytes: what the calculators accept, and how they say it."""

import math
import operator
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import SupportsFloat, SupportsIndex, cast

GB = 10**9  # what memory is sold in
GIB = 2**30  # what nvidia-smi's "MiB" and most allocators count in; 7.4 % more

LARGEST_EXPONENT = 30  # of a number on a command line

Exact = int | Fraction
Number = SupportsIndex | SupportsFloat | Fraction


class QuantityError(ValueError):
    """A count or a size that no machine can have; the message is one sentence."""


def whole_number(value: Number, name: str, at_least: int = 1) -> int:
    """`value` as an int: ints, NumPy's integers, and floats or Fractions that are whole (7.5e9).

    >>> whole_number(7.5e9, "num_params")
    7500000000

    Raises QuantityError, naming `name`, for anything fractional, smaller than `at_least`, or no number.
    """
    number = _as_int(value)
    if number is None or number < at_least:
        raise QuantityError(f"{name} must be a whole number of at least {at_least}, got {value!r}.")
    return number


def _as_int(value: object) -> int | None:
    if isinstance(value, bool):  # True is an int to Python, and a slip to everybody else
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]  # int, and NumPy's integers
    except TypeError:
        pass
    if isinstance(value, Fraction):
        return int(value) if value.denominator == 1 else None
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    return None


def parse_whole_number(text: str, name: str, at_least: int = 1) -> int:
    """What stands on a command line, exactly: "64", "7.5e9", "1_000_003".

    >>> parse_whole_number("7.5e9", "--params")
    7500000000
    """
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("nan")
    if not value.is_finite():
        raise QuantityError(f"{name} must be a whole number of at least {at_least}, like 64 or 7.5e9, got {text!r}.")
    if value.adjusted() > LARGEST_EXPONENT:  # before anything is computed with it: 1e999999999 would take for ever
        raise QuantityError(f"{name} must be at most 1e{LARGEST_EXPONENT}, got {text}.")
    if value != value.to_integral_value() or value < at_least:
        raise QuantityError(f"{name} must be a whole number of at least {at_least}, got {text}.")
    return int(value)


def exact(value: Number, name: str = "value") -> Fraction:
    """`value` as a Fraction of at least 0; a float counts as the binary number that it is."""
    try:
        fraction = value if isinstance(value, Fraction) else Fraction(cast(float, value))
    except (TypeError, ValueError, OverflowError):
        fraction = Fraction(-1)
    if fraction < 0:
        raise QuantityError(f"{name} must be a number of at least 0, got {value!r}.")
    return fraction


def simplest(value: Fraction) -> Exact:
    """An int where it divides, the Fraction where it does not."""
    return value.numerator if value.denominator == 1 else value


def json_number(value: Exact) -> int | float:
    """The same for JSON, which has no fractions: an int where exact, the nearest float where not."""
    return value if isinstance(value, int) else int(value) if value.denominator == 1 else float(value)


def gb(num_bytes: Exact | float) -> str:
    """Bytes in units of 1e9: 31406250000 are "31.41"."""
    return decimals(float(num_bytes) / GB)


def gib(num_bytes: Exact | float) -> str:
    """Bytes in units of 2^30: 31.41 GB are "29.25"."""
    return decimals(float(num_bytes) / GIB)


def decimals(value: float) -> str:
    """Two decimals, and two significant digits for what would be "0.00" in them.

    >>> decimals(1234.567), decimals(0.000314), decimals(0)
    ('1,234.57', '0.00031', '0.00')
    """
    return f"{value:.2g}" if 0 < value < 0.01 else f"{value:,.2f}"


def counted(count: int, noun: str) -> str:
    """A number and what it counts: "1 rank", "64 ranks"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"

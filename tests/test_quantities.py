"""Counts are read exactly, and what is no count is refused in a sentence that names it."""

import doctest
import math
from fractions import Fraction

import numpy as np
import pytest

from labkit import quantities
from labkit.quantities import QuantityError, exact, gb, gib, json_number, parse_whole_number, simplest, whole_number


def test_examples_in_docstrings():
    result = doctest.testmod(quantities)
    assert (result.failed, result.attempted > 0) == (0, True)


@pytest.mark.parametrize("value", [7, np.int64(7), 7.0, np.float64(7), Fraction(14, 2)])
def test_whole_numbers_of_any_type_are_accepted(value):
    assert whole_number(value, "n") == 7
    assert type(whole_number(value, "n")) is int


@pytest.mark.parametrize("value", [0, -1, 7.5, Fraction(1, 2), True, "7", None, math.nan, math.inf])
def test_everything_else_is_refused(value):
    with pytest.raises(QuantityError, match=r"^world_size must be a whole number of at least 1, got "):
        whole_number(value, "world_size")


def test_text_is_read_exactly():
    assert parse_whole_number("1000000000000000000003", "n") == 10**21 + 3
    assert parse_whole_number("7.5e9", "n") == 7_500_000_000
    for text in ("7.5", "x", "", "inf", "nan", "-1", "1/0"):
        with pytest.raises(QuantityError, match=r"^--n must be a whole number of at least 1"):
            parse_whole_number(text, "--n")


def test_a_number_that_would_take_for_ever_is_refused_at_once():
    """`labkit zero --params 1e999999999` once computed the power of ten, for ever."""
    for text in ("1e999999999", "-1e999999999", "1e31"):
        with pytest.raises(QuantityError, match=f"^--n must be at most 1e30, got {text}\\.$"):
            parse_whole_number(text, "--n")
    with pytest.raises(QuantityError, match=r"^--n must be a whole number of at least 1, got 1e-999999999\.$"):
        parse_whole_number("1e-999999999", "--n")


def test_numbers_of_at_least_zero():
    assert exact(0.5) == Fraction(1, 2)
    for value in (-1, math.nan, math.inf, "many", None):
        with pytest.raises(QuantityError, match="bytes must be a number of at least 0"):
            exact(value, "bytes")


def test_units_are_not_mixed_up():
    assert (gb(31_406_250_000), gib(31_406_250_000)) == ("31.41", "29.25")
    assert simplest(Fraction(6, 3)) == 2
    assert type(simplest(Fraction(6, 3))) is int
    assert json_number(Fraction(1, 4)) == 0.25

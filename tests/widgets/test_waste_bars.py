"""The bars of what is wasted: counted by the function that they are given."""

import pytest

from labkit.kv_cache import CountError, wasted_slots
from labkit.widgets.waste_bars import waste_bars

LENGTHS = [5, 17, 100]


def test_the_sentence_has_the_numbers_of_the_function() -> None:
    bars = waste_bars(wasted_slots, LENGTHS)
    assert bars.values == {"maximum": 100, "block": 16}
    # 178 of 300 slots; 11 + 15 + 12 of 160
    assert bars.sentence == (
        "Reserved and empty: 59.33% with the maximum, 100; 23.75% with blocks of 16; 0.00% with tokens."
    )


def test_the_controls_change_what_is_counted() -> None:
    bars = waste_bars(wasted_slots, LENGTHS)
    before = bars.png
    bars.set(block=1, maximum=1_000)
    # 2,878 of 3,000 slots
    assert "95.93% with the maximum, 1,000; 0.00% with blocks of 1;" in bars.sentence
    assert bars.png != before


def test_it_is_the_learners_function_that_counts() -> None:
    bars = waste_bars(lambda lengths, reserve: sum(lengths), LENGTHS)
    assert bars.sentence.count("50.00%") == 3


def test_an_error_of_the_function_is_raised() -> None:
    with pytest.raises(CountError):
        waste_bars(wasted_slots, [-1, 3])


def test_no_lengths_are_no_picture() -> None:
    with pytest.raises(ValueError, match="there is nothing to draw: lengths is empty"):
        waste_bars(wasted_slots, [])

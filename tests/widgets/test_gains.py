"""The picture of gains: a dot for each seed, a bar for their mean, and a sentence with the same numbers."""

import pytest

from labkit.widgets.gains import gains
from labkit.widgets.still import figure_png

ROWS = {"5 labels a class": (4.0, 6.0, 5.0), "all labels": (-0.5, 0.0, 0.5)}


def test_a_row_has_a_bar_of_the_mean_and_a_dot_for_each_seed() -> None:
    figure, _ = gains(ROWS)
    (axes,) = figure.axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([5.0, 0.0])
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [list(line.get_xdata()) for line in dots] == [list(points) for points in ROWS.values()]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(ROWS)
    low, high = axes.get_ylim()
    assert low > high  # the first row stands on top
    assert figure_png(figure).startswith(b"\x89PNG")


def test_the_sentence_says_mean_range_and_how_many_seeds_gained() -> None:
    _, sentence = gains(ROWS)
    assert sentence == (
        "5 labels a class: +5.0 points (+4.0 to +6.0), better on 3 of 3 seeds;"
        " all labels: +0.0 points (-0.5 to +0.5), better on 1 of 3 seeds."
    )


@pytest.mark.parametrize("rows", [{}, {"nothing": ()}])
def test_nothing_to_show_is_refused(rows: dict[str, tuple[float, ...]]) -> None:
    with pytest.raises(ValueError, match="gains need a row, and each row at least one seed"):
        gains(rows)

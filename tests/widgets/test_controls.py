"""Controls: named, bounded, and moved by a test as a learner moves them."""

from typing import Any

import pytest

from labkit.widgets.controls import Choice, Controls, Real, Whole


def controls(calls: list[dict[str, Any]] | None = None) -> Controls:
    made = Controls(
        "demo",
        {
            "ranks": Whole(8, low=1, high=64, label="number of ranks"),
            "temperature": Real(1.0, low=0.5, high=20),
            "precision": Choice(2, {"fp32": 4, "fp16": 2}),
            "stage": Choice(0, (0, 1, 2, 3)),
        },
        on_change=lambda: calls.append(made.values) if calls is not None else None,
    )
    return made


def test_starting_values_and_names() -> None:
    made = controls()
    assert made.values == {"ranks": 8, "temperature": 1.0, "precision": 2, "stage": 0}
    names = [widget.description for widget in made.widgets.values()]
    assert names == ["number of ranks", "temperature", "precision", "stage"]


def test_several_values_are_one_change() -> None:
    calls: list[dict[str, Any]] = []
    made = controls(calls)
    made.set(ranks=4, stage=2, precision=4)
    assert calls == [{"ranks": 4, "temperature": 1.0, "precision": 4, "stage": 2}]
    made.set(ranks=4)
    assert len(calls) == 1  # nothing moved


def test_the_learners_own_change_and_the_reset_button_are_heard() -> None:
    calls: list[dict[str, Any]] = []
    made = controls(calls)
    made.widgets["ranks"].value = 2  # what the browser's message does
    made.reset_button.click()
    assert [call["ranks"] for call in calls] == [2, 8]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ranks": 65}, "ranks is a whole number from 1 to 64; got 65"),
        ({"ranks": 2.5}, "ranks is a whole number from 1 to 64; got 2.5"),
        ({"ranks": True}, "ranks is a whole number from 1 to 64; got True"),
        ({"ranks": "8"}, "ranks is a whole number from 1 to 64; got '8'"),
        ({"temperature": float("nan")}, "temperature is a number from 0.5 to 20; got nan"),
        ({"temperature": None}, "temperature is a number from 0.5 to 20; got None"),
        ({"precision": "fp16"}, "precision is one of 4, 2; got 'fp16'"),
        ({"stage": 4}, "stage is one of 0, 1, 2, 3; got 4"),
        ({"rank": 1}, "no control 'rank'; there is 'precision', 'ranks', 'stage', 'temperature'"),
    ],
)
def test_a_value_that_a_control_cannot_take_is_refused_and_nothing_moves(values: Any, message: str) -> None:
    made = controls()
    with pytest.raises(ValueError, match=message):
        made.set(**{"ranks": 1, "temperature": 2, **values})
    assert made.values == controls().values


def test_a_start_outside_the_bounds_is_refused() -> None:
    with pytest.raises(ValueError, match="ranks is a whole number from 1 to 4; got 8"):
        Controls("demo", {"ranks": Whole(8, low=1, high=4)})


def test_anything_else_than_a_control_is_refused() -> None:
    with pytest.raises(TypeError, match="the control 'ranks' is a Whole, a Real or a Choice; got 8"):
        Controls("demo", {"ranks": 8})  # type: ignore[dict-item]


def test_the_row_says_what_its_fields_take() -> None:
    """A browser silently puts the nearest number into a field that was given one outside."""
    made = controls()
    said = "Limits: number of ranks 1 to 64, temperature 0.5 to 20. A number outside becomes the nearest one inside."
    assert made.limits == said
    assert said in made.row().children[-1].value
    only_lists = Controls("demo", {"stage": Choice(0, (0, 1))})
    assert only_lists.limits == ""
    assert len(only_lists.row().children) == 2


def test_saved_text_says_the_values_and_what_to_do() -> None:
    bundle = controls().row()._repr_mimebundle_()
    assert bundle["text/plain"] == (
        "Controls: number of ranks = 8, temperature = 1, precision = fp16, stage = 0. Run this cell to move them."
    )
    assert "application/vnd.jupyter.widget-view+json" in bundle

"""Shapes on a page: the same description for the browser and for the PNG, brought up to date in one message."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.widgets.controls import Whole
from labkit.widgets.drawing import (
    Area,
    Board,
    Dot,
    Drawing,
    Line,
    LiveDrawing,
    Panel,
    Text,
    as_figure,
    live_drawing,
    round_ticks,
)
from labkit.widgets.hand_drawn import HandDrawn
from labkit.widgets.still import figure_png


def squares(length: int) -> Drawing:
    if length == 7:
        raise ValueError("no seven")
    panel = Panel(40, 20, 300, 80, x=(0, length), y=(0, length**2))
    curve = [(x, x * x) for x in range(length + 1)]
    shapes = [
        *panel.frame("step", "tokens"),
        panel.area([*curve, (length, 0)], "#0072B2", edge="#222222", hatched=True),
        panel.line(curve, "#D55E00", dashed=True),
        Dot(*panel.at(length, length**2), "#D55E00", hollow=True),
        Text(50, 30, "$x^2$", bold=True),
    ]
    return Drawing("Squares", 360, 130, shapes, f"After {length} steps there are {length**2}.")


def made() -> LiveDrawing:
    return live_drawing("squares", squares, length=Whole(5, low=1, high=9))


def test_another_value_is_another_drawing_and_reset_brings_the_first_back() -> None:
    live = made()
    first = live.drawing
    assert live.sentence == "After 5 steps there are 25."
    live.set(length=3)
    assert live.sentence == "After 3 steps there are 9."
    live.reset()
    assert live.drawing == first


def test_an_error_is_raised_kept_and_sent_to_the_browser() -> None:
    live = made()
    with pytest.raises(ValueError, match="no seven"):
        live.set(length=7)
    assert "ValueError: no seven" in live.board.problem
    live.controls.widgets["length"].value = 2  # the browser
    assert (live.error, live.board.problem) == (None, "")
    live.controls.widgets["length"].value = 7
    assert isinstance(live.error, ValueError)
    assert live.sentence == "After 2 steps there are 4."


def test_a_change_is_one_message_to_the_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    live = made()
    sent: list[set[str]] = []
    monkeypatch.setattr(live.board, "send_state", lambda key=None: sent.append(set(key or ())))
    live.set(length=2)
    assert sent == [{"page"}]


def test_the_browser_gets_every_shape_as_plain_data() -> None:
    page = json.loads(json.dumps(made().board.page))
    assert {shape["kind"] for shape in page["shapes"]} == {"Area", "Line", "Dot", "Text"}
    assert all(round(x, 1) == x for shape in page["shapes"] for point in shape.get("points", ()) for x in point)
    assert page["sentence"] == "After 5 steps there are 25."


def test_what_the_javascript_reads_is_what_python_sends() -> None:
    """A field that drawing.js does not name would not be drawn; it is named in the parameters of its shape."""
    source = Board._esm.read_text() if hasattr(Board._esm, "read_text") else str(Board._esm)
    for kind in (Area, Line, Dot, Text):
        head = source[source.index(f"  {kind.__name__}: (") :]
        head = head[: head.index("=>")]
        assert all(field in head for field in kind.__dataclass_fields__), kind


def test_the_png_is_the_same_each_time_and_a_dollar_is_a_dollar() -> None:
    figure, sentence = as_figure(squares(5))
    assert sentence == "After 5 steps there are 25."
    assert figure_png(figure) == figure_png(as_figure(squares(5))[0])
    assert figure_png(as_figure(squares(6))[0]) != figure_png(figure)


def test_what_is_published_is_a_board_with_a_png_and_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, Any]] = []

    def publish(data: dict[str, Any], metadata: Any, display_id: str | None = None, update: bool = False) -> None:
        sent.append({**data, "display_id": display_id, "update": update})

    monkeypatch.setattr("labkit.widgets.picture.publish", publish)
    monkeypatch.setattr("labkit.widgets.drawing.publish", publish)
    live = made()
    live._ipython_display_()
    controls, board, sentence = sent
    assert controls["text/plain"] == "Controls: length = 5. Run this cell to move them."
    assert {"image/png", "application/vnd.jupyter.widget-view+json"} <= board.keys()
    assert (sentence["text/plain"], sentence["update"]) == ("After 5 steps there are 25.", False)
    live.set(length=3)
    assert sent[3]["update"] is True
    assert sent[3]["display_id"] == sentence["display_id"] == "labkit-squares-sentence"


def test_it_is_a_widget_that_never_leaves_an_empty_place() -> None:
    assert issubclass(Board, HandDrawn)
    assert repr(made().board) == "<Board>"


@given(st.floats(0.01, 1e6), st.floats(0, 1e6))
def test_ticks_are_few_round_and_inside(span: float, low: float) -> None:
    ticks = round_ticks(low, low + span)
    assert 2 <= len(ticks) <= 8
    assert all(low - 1e-6 * (low + span) <= tick <= (low + span) * (1 + 1e-6) for tick in ticks)
    gaps = [b - a for a, b in pairwise(ticks)]
    assert max(gaps) == pytest.approx(min(gaps), rel=1e-3, abs=1e-9 * (low + span))


def test_places_on_a_panel() -> None:
    panel = Panel(40, 20, 300, 80, x=(0, 10), y=(5, 15))
    assert panel.at(0, 5) == (40, 100)
    assert panel.at(10, 15) == (340, 20)
    assert panel.at(5, 10) == (190, 60)
    assert Panel(0, 0, 10, 10, x=(3, 3), y=(2, 2)).at(3, 2) == (0, 10)  # no division by zero

"""A book of frames: the same description for the browser and for the PNG."""

import json
from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from labkit.widgets.flipbook import Book, Cell, Flipbook, Frame, Label, Lit, Stage, draw_frame, flipbook, text_size
from labkit.widgets.hand_drawn import HandDrawn
from labkit.widgets.palette import color


def slots(length: int) -> Book:
    if length == 7:
        raise ValueError("no seven")
    cells = [Cell(x=24 * at, y=0, width=22, height=22, quantity="free", text=str(at)) for at in range(8)]
    frames = [
        Frame(f"A holds {held} of 8 slots.", {at: Lit("weights", mark="A") for at in range(held)})
        for held in range(length + 1)
    ]
    labels = [Label(0, 30, "slots", bold=True)]
    return Book("Slots", 200, 40, cells, frames, labels, point=f"At most {length} slots are held.", first=1)


def made() -> Flipbook:
    from labkit.widgets.controls import Whole

    return flipbook("slots", slots, length=Whole(5, low=0, high=8))


def test_steps_and_sentences() -> None:
    book = made()
    assert book.sentence == "A holds 1 of 8 slots."
    book.go(5)
    assert book.sentence == "A holds 5 of 8 slots."
    with pytest.raises(ValueError, match="frames run from 0 to 5; got 6"):
        book.go(6)


def test_another_value_opens_another_book_at_its_first_frame() -> None:
    book = made()
    book.go(5)
    book.set(length=3)
    assert (book.frame, book.book.point) == (1, "At most 3 slots are held.")
    book.go(2)
    book.reset()
    assert (book.frame, len(book.book.frames)) == (1, 6)


def test_reset_returns_to_the_first_frame_also_when_no_control_moved() -> None:
    book = made()
    book.go(4)
    book.reset()
    assert book.frame == 1
    book.go(4)
    book.controls.reset_button.click()  # what the browser does
    assert book.frame == 1


def test_an_error_is_raised_kept_and_sent_to_the_browser() -> None:
    book = made()
    with pytest.raises(ValueError, match="no seven"):
        book.set(length=7)
    assert "ValueError: no seven" in book.stage.problem
    book.controls.widgets["length"].value = 2  # the browser
    assert (book.error, book.stage.problem) == (None, "")


def test_a_change_is_one_message_to_the_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    book = made()
    book.go(4)
    sent: list[set[str]] = []
    monkeypatch.setattr(book.stage, "send_state", lambda key=None: sent.append(set(key or ())))
    book.set(length=2)
    assert sent == [{"page", "frame"}]


def test_the_browser_gets_plain_data_with_the_colours_that_the_book_uses() -> None:
    page = json.loads(json.dumps(slots(2).as_traits()))
    assert page["colors"].keys() == {"free", "weights"}
    assert page["colors"]["weights"] == [color("weights"), "#FFFFFF"]
    assert page["frames"][2]["lit"] == {"0": ["weights", "A", None], "1": ["weights", "A", None]}
    assert page["cells"][3]["text"] == "3"


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_the_png_shows_the_frame_its_marks_and_its_sentence() -> None:
    figure = draw_frame(slots(5), 2)
    fills = [patch.get_facecolor() for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    assert len(set(fills[:2])) == 1
    assert fills[2] != fills[1]
    assert texts(figure).count("A") == 2
    assert "slots" in texts(figure)
    assert " ".join(texts(figure)).endswith("A holds 2 of 8 slots.")


def test_a_frame_can_replace_the_text_of_a_cell() -> None:
    book = Book("b", 30, 30, [Cell(0, 0, 30, 30, "free", text="old")], [Frame("", {0: Lit("weights", text="new")})])
    assert texts(draw_frame(book, 0)) == ["new"]


@pytest.mark.parametrize(("width", "text", "fits"), [(30, "12", True), (30, "123456789", False), (5, "1", False)])
def test_text_that_would_be_too_small_to_read_is_left_out(width: int, text: str, fits: bool) -> None:
    assert (text_size(Cell(0, 0, width, 30, "free"), text) > 0) is fits


def test_the_saved_output_of_a_stage_is_a_png_and_a_sentence() -> None:
    book = made()
    data, metadata = book.stage._repr_mimebundle_()
    assert data["text/plain"] == "A holds 1 of 8 slots."
    assert metadata["image/png"]["alt"] == "A holds 1 of 8 slots."
    assert data.keys() == {"image/png", "text/plain", "application/vnd.jupyter.widget-view+json"}


def test_reprs_hold_no_address() -> None:
    assert repr(made()) == "<Flipbook slots: length=5>"
    assert repr(made().stage) == "<Stage>"


def test_files_of_the_browser_side_are_there_and_ask_for_nothing_from_outside() -> None:
    for source in (Stage._esm, Stage._css):
        text = str(source)
        assert len(text) > 500
        assert [word for word in text.split() if "//" in word and "http" in word] == ['"http://www.w3.org/2000/svg";'][
            : text.count("http")
        ]


def test_a_hand_drawn_widget_without_a_still_is_refused() -> None:
    class Bare(HandDrawn):
        _esm = "export default {}"

    with pytest.raises(NotImplementedError, match="Bare draws no still"):
        Bare()._repr_mimebundle_()


def test_as_traits_is_complete() -> None:
    page: dict[str, Any] = slots(1).as_traits()
    sizes, counting = ("width", "height"), ("step", "count_from", "row", "first")
    assert page.keys() == {"title", *sizes, *counting, "colors", "cells", "labels", "frames"}

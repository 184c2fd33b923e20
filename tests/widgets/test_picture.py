"""A picture follows its controls, and an error in its drawing is neither lost nor hidden."""

from typing import Any

import pytest
from matplotlib.figure import Figure

from labkit.widgets.controls import Choice, Whole
from labkit.widgets.palette import new_figure
from labkit.widgets.picture import Picture, picture


def draw(ranks: int, stage: int) -> tuple[Figure, str]:
    figure = new_figure(3, 1)
    figure.subplots().barh(["bytes"], [10 / ranks + stage])
    return figure, f"stage {stage} on {ranks} ranks: {10 // (ranks - 5)} bytes"  # 5 ranks: ZeroDivisionError


def bytes_picture() -> Picture:
    return picture("bytes", draw, ranks=Whole(10, low=1, high=64), stage=Choice(1, (0, 1, 2, 3)))


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What goes to the notebook: the data of each output, with its display id and whether it replaces one."""
    sent: list[dict[str, Any]] = []

    def publish(data: dict[str, Any], metadata: Any, display_id: str | None = None, update: bool = False) -> None:
        sent.append({**data, "display_id": display_id, "update": update})

    monkeypatch.setattr("labkit.widgets.picture.publish", publish)
    return sent


def test_values_sentence_and_png_are_there_without_a_notebook() -> None:
    made = bytes_picture()
    assert made.values == {"ranks": 10, "stage": 1}
    assert made.sentence == "stage 1 on 10 ranks: 2 bytes"
    assert made.png.startswith(b"\x89PNG")
    assert made.error is None


def test_set_redraws_and_reset_brings_back_the_very_same_picture() -> None:
    made = bytes_picture()
    first = made.png
    made.set(ranks=6, stage=3)
    assert made.sentence == "stage 3 on 6 ranks: 10 bytes"
    assert made.png != first
    made.reset()
    assert made.png == first


def test_an_error_at_the_first_drawing_fails_the_cell() -> None:
    with pytest.raises(ZeroDivisionError):
        picture("bytes", draw, ranks=Whole(5, low=1, high=64), stage=Choice(1, (0, 1)))


def test_an_error_in_set_is_raised_and_kept_until_the_next_success() -> None:
    made = bytes_picture()
    with pytest.raises(ZeroDivisionError):
        made.set(ranks=5)
    assert isinstance(made.error, ZeroDivisionError)
    made.set(ranks=6)
    assert made.error is None


def test_an_error_that_a_control_in_the_browser_caused_is_shown_and_kept(published: list[dict[str, Any]]) -> None:
    made = bytes_picture()
    made._ipython_display_()
    published.clear()
    made.controls.widgets["ranks"].value = 5  # what the browser's message does: nobody is there to catch
    assert isinstance(made.error, ZeroDivisionError)
    shown, below = published
    assert "ZeroDivisionError" in shown["text/plain"]
    assert "10 // (ranks - 5)" in shown["text/plain"]
    assert "Reset" in below["text/plain"]


def test_outputs_have_fixed_ids_and_changes_replace_them(published: list[dict[str, Any]]) -> None:
    made = bytes_picture()
    made.set(ranks=9)
    assert published == []  # not shown yet
    made._ipython_display_()
    made.set(ranks=8)
    sent = [(output["display_id"], output["update"], sorted(output.keys() & MIME_TYPES)) for output in published]
    assert sent == [
        (None, False, ["application/vnd.jupyter.widget-view+json", "text/plain"]),
        ("labkit-bytes", False, ["image/png", "text/plain"]),
        ("labkit-bytes-sentence", False, ["text/html", "text/plain"]),
        ("labkit-bytes", True, ["image/png", "text/plain"]),
        ("labkit-bytes-sentence", True, ["text/html", "text/plain"]),
    ]


MIME_TYPES = {"application/vnd.jupyter.widget-view+json", "image/png", "text/html", "text/plain"}


def test_a_picture_without_controls_shows_none(published: list[dict[str, Any]]) -> None:
    picture("still", lambda: draw(10, 1))._ipython_display_()
    assert [output["display_id"] for output in published] == ["labkit-still", "labkit-still-sentence"]


def test_repr_holds_no_address() -> None:
    assert repr(bytes_picture()) == "<Picture bytes: ranks=10, stage=1>"

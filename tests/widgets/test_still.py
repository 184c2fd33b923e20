"""PNG and sentence: the same bytes each time, text that is safe and complete, errors that show the learner's line."""

import base64
import contextlib
import html
import io
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from matplotlib.figure import Figure
from PIL import Image

from labkit.widgets import palette, still


def bars(heights: tuple[int, ...] = (1, 2, 3)) -> Figure:
    figure = palette.new_figure(4, 2)
    with palette.style():
        figure.subplots().bar(range(len(heights)), heights, color=palette.color("weights"))
    return figure


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_the_same_figure_gives_the_same_bytes() -> None:
    assert still.figure_png(bars()) == still.figure_png(bars())
    assert still.figure_png(bars()) != still.figure_png(bars((3, 2, 1)))


def test_another_process_with_other_settings_gives_the_same_bytes(tmp_path: Any) -> None:
    (tmp_path / "matplotlibrc").write_text("font.size: 30\naxes.facecolor: red\n")
    code = """
import sys
from labkit.widgets import palette, still
figure = palette.new_figure(4, 2)
with palette.style():
    figure.subplots().bar(range(3), (1, 2, 3), color=palette.color("weights"))
sys.stdout.buffer.write(still.figure_png(figure))
"""
    made = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=True)
    assert made.stdout == still.figure_png(bars())


def test_png_holds_no_version_or_date() -> None:
    png = still.figure_png(bars())
    assert Image.open(io.BytesIO(png)).info.keys() <= {"transparency"}
    assert len(png) < 14_000


def test_flat_colours_survive_the_smaller_palette() -> None:
    seen = {tuple(color) for color in pixels(still.figure_png(bars())).reshape(-1, 3)}
    for expected in (palette.color("weights"), palette.PAPER):
        assert tuple(bytes.fromhex(expected[1:])) in seen


def test_a_picture_of_many_colours_is_not_reduced() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    figure = Figure(figsize=(4, 4))
    figure.figimage(noise)
    seen = pixels(still.figure_png(figure)).reshape(-1, 3)
    assert len(np.unique(seen, axis=0)) > 20_000


def test_a_pyplot_figure_is_closed_so_that_it_is_not_shown_twice() -> None:
    figure = plt.figure()
    still.figure_png(figure)
    assert not plt.fignum_exists(figure.number)


def test_png_is_shown_at_the_size_of_the_figure_with_the_sentence_as_alternative_text() -> None:
    data, metadata = still.png_bundle(still.figure_png(bars()), "Three bars.")
    assert metadata["image/png"] == {"width": 4 * 96, "height": 2 * 96, "alt": "Three bars."}
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")


def test_sentence_is_text_and_never_markup() -> None:
    data, _ = still.sentence_bundle("1 < 2 & <script>\nsecond")
    assert data["text/plain"] == "1 < 2 & <script>\nsecond"
    assert "<p>1 &lt; 2 &amp; &lt;script&gt;</p><p>second</p>" in data["text/html"]


def test_outside_a_notebook_show_prints_the_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(InteractiveShell, "_instance", None)  # a notebook that ran in this process left its shell
    still.show(bars(), "Three bars.")
    assert capsys.readouterr().out == "Three bars.\n"


@contextlib.contextmanager
def learners_context() -> Iterator[None]:
    yield


@learners_context()  # puts a line of the standard library between
def learners_function() -> None:
    int("three")


def test_an_error_is_told_with_the_learners_line() -> None:
    with pytest.raises(ValueError, match="three") as caught:
        learners_function()
    data, _ = still.error_bundle(caught.value)
    assert "ValueError: invalid literal for int() with base 10: 'three'" in data["text/plain"]
    assert "in learners_function, line" in data["text/plain"]
    assert 'int("three")' in data["text/plain"]
    assert html.escape(data["text/plain"]) in data["text/html"]


def test_the_learners_line_is_the_one_that_called_a_library() -> None:
    with pytest.raises(ValueError, match="reshape") as caught:
        np.broadcast_to(np.zeros(3), (3,)).reshape(2, 2)
    assert "reshape(2, 2)" in still.describe_error(caught.value)
    with pytest.raises(ValueError, match="broadcast") as caught:
        np.broadcast_to(np.zeros(3), (2, 2))  # raised in a Python file of NumPy's
    assert "np.broadcast_to(np.zeros(3), (2, 2))" in still.describe_error(caught.value)


def test_an_error_without_any_line_of_the_learners_is_told_without_one() -> None:
    assert still.describe_error(ValueError("no m")) == "No picture: ValueError: no m"

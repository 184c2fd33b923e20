"""What a picture leaves in a saved notebook, and that the same run twice leaves the same (nbval, strict)."""

import base64
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter

pytestmark = [pytest.mark.notebook, pytest.mark.xdist_group("pictures_in_notebooks")]

CELLS = [
    """
from labkit.widgets.controls import Whole
from labkit.widgets.palette import new_figure
from labkit.widgets.picture import picture
from labkit.widgets.im2col_stepper import im2col_stepper
from labkit.widgets.roofline import roofline
from labkit.widgets.still import show
""",
    """
def draw(ranks):
    figure = new_figure(3, 1)
    figure.subplots().barh(["bytes"], [16 / ranks])
    return figure, f"{16 / ranks:.2f} bytes < 17 on {ranks} ranks"

picture("bytes", draw, ranks=Whole(8, low=1, high=64))
""",
    "im2col_stepper()",
    "show(*roofline([('gemv', 0.5, 9e9)], 100e9, 20e9))",
    "moved = picture('moved', draw, ranks=Whole(8, low=1, high=64))\nmoved",
    "moved.set(ranks=4)",  # replaces the outputs of the cell above
]

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(scope="module")
def executed() -> nbformat.NotebookNode:
    cells = [nbformat.v4.new_code_cell(source.strip(), id=f"cell-{at}") for at, source in enumerate(CELLS)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    NotebookClient(notebook, timeout=120).execute()
    return notebook


def as_saved(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Without widget state, as `labkit build` commits a solution."""
    saved = nbformat.reads(nbformat.writes(notebook), as_version=4)
    saved.metadata.pop("widgets", None)
    return saved


def outputs(notebook: nbformat.NotebookNode, cell: int) -> list[dict[str, Any]]:
    return [output["data"] for output in notebook.cells[cell].outputs]


def test_a_picture_is_saved_as_controls_png_and_sentence(executed: nbformat.NotebookNode) -> None:
    controls, png, sentence = outputs(executed, 1)
    assert controls["text/plain"] == "Controls: ranks = 8. Run this cell to move them."
    assert base64.b64decode(png["image/png"]).startswith(b"\x89PNG")
    assert sentence["text/plain"] == "2.00 bytes < 17 on 8 ranks"


def test_a_control_that_moves_replaces_what_was_shown(executed: nbformat.NotebookNode) -> None:
    first, moved = outputs(executed, 1), outputs(executed, 4)
    assert moved[2]["text/plain"] == "4.00 bytes < 17 on 4 ranks"
    assert moved[1]["image/png"] != first[1]["image/png"]
    assert executed.cells[5].outputs == []


def test_a_flipbook_is_saved_as_controls_png_with_its_sentence_and_point(executed: nbformat.NotebookNode) -> None:
    controls, stage, point = outputs(executed, 2)
    assert controls["text/plain"].startswith("Controls: kernel = 3, stride = 1, padding = 1, dilation = 1.")
    assert base64.b64decode(stage["image/png"]).startswith(b"\x89PNG")
    assert stage["text/plain"].startswith("Output row 1, column 1 is weights · column 7")
    assert "9.0 times" in point["text/plain"]


def test_a_still_is_saved_as_png_and_sentence(executed: nbformat.NotebookNode) -> None:
    png, sentence = outputs(executed, 3)
    assert "image/png" in png
    assert "bound by memory: 9 GFLOP/s, 90% of 10 GFLOP/s" in sentence["text/plain"]


def test_nothing_saved_holds_an_address_and_no_picture_is_large(executed: nbformat.NotebookNode) -> None:
    for at in range(len(CELLS)):
        for output in executed.cells[at].outputs:
            text = json.dumps({key: value for key, value in output.data.items() if key != "image/png"})
            assert not re.search(r"0x[0-9a-f]{6}| at 0x", text)
            assert len(output.data.get("image/png", "")) < 80_000


def test_nbval_strict_finds_the_same_outputs_again(executed: nbformat.NotebookNode, tmp_path: Path) -> None:
    saved = as_saved(executed)
    del saved.cells[4:]  # what a later cell replaces cannot be found again
    path = tmp_path / "pictures.ipynb"
    nbformat.write(saved, path)
    command = [sys.executable, "-m", "pytest", "-q", "--nbval", "-p", "no:cacheprovider", str(path)]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert "4 passed" in ran.stdout, ran.stdout


def test_papermill_runs_the_pictures(executed: nbformat.NotebookNode, tmp_path: Path) -> None:
    source, target = tmp_path / "in.ipynb", tmp_path / "out.ipynb"
    nbformat.write(as_saved(executed), source)
    papermill.execute_notebook(source, target, progress_bar=False)
    again = nbformat.read(target, as_version=4)
    for cell in range(1, len(CELLS)):
        for first, second in zip(outputs(executed, cell), outputs(again, cell), strict=True):
            assert {k: v for k, v in first.items() if k != WIDGET_VIEW} == {
                k: v for k, v in second.items() if k != WIDGET_VIEW
            }  # the PNG too, byte for byte


def test_html_without_widget_state_shows_every_picture_and_sentence(executed: nbformat.NotebookNode) -> None:
    page, _ = HTMLExporter().from_notebook_node(as_saved(executed))
    assert page.count('src="data:image/png;base64,') == 4
    assert "<p>2.00 bytes &lt; 17 on 8 ranks</p>" in page
    assert "9.0 times as many" in page


def test_html_of_a_template_that_reads_alternative_texts_has_them(executed: nbformat.NotebookNode) -> None:
    page, _ = HTMLExporter(template_name="classic").from_notebook_node(as_saved(executed))
    assert re.search('alt="2.00 bytes (<|&lt;) 17 on 8 ranks"', page)


def test_an_error_while_drawing_fails_the_run(tmp_path: Path) -> None:
    cell = nbformat.v4.new_code_cell("""
from labkit.widgets.picture import picture
picture("bad", lambda: 1 / 0)
""")
    with pytest.raises(Exception, match="ZeroDivisionError"):
        NotebookClient(nbformat.v4.new_notebook(cells=[cell]), timeout=60).execute()

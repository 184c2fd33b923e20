"""Lab 02 as a learner meets it: a stub, a wrong answer that is named, a right one; the solution with Netron in it."""

import re
from typing import TYPE_CHECKING

import pytest

from labkit.course.paths import solution_path, starter_path

if TYPE_CHECKING:
    from tests.browser.conftest import Lab

LAB = "02_onnx_export"
RUN_ALL_MS = 280_000

BROKEN = """
class TokenMean(nn.Module):
    def forward(self, x):
        return x.sum(1) / int(x.shape[1])
"""

SETUP = """
import onnxruntime as ort
import torch
from torch import nn

import labkit

lab = labkit.open_lab("02_onnx_export")
"""


def test_the_starter_stops_at_its_first_gap_and_reads_well(lab: "Lab") -> None:
    lab.page.set_default_timeout(RUN_ALL_MS)
    lab.open_notebook(starter_path(LAB))
    lab.run_all()
    lab.page.get_by_text("○ export_onnx: not written yet").wait_for()
    lab.screenshot("starter")
    red = '.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.stderr"]'
    assert lab.page.locator(red).count() == 1  # the verdict itself; the exporter has said nothing about itself
    assert lab.toasts() == []


def test_from_a_size_as_an_int_to_green(lab: "Lab") -> None:
    lab.page.set_default_timeout(RUN_ALL_MS)
    lab.open_notebook([SETUP, 'lab.card("TokenMean")', BROKEN, "lab.check(TokenMean)"])
    lab.run_all()
    red = lab.page.get_by_text("✗ TokenMean:")
    red.wait_for()
    text = lab.read(red)
    words = ("given", "expected", "came", "the graph, exported from an example of", "behaves like *size as an int*")
    places = [text.index(word) for word in words]
    assert places == sorted(places)
    assert "Traceback" not in text
    lab.screenshot("wrong")
    lab.write_answer("class TokenMean", BROKEN.replace("x.sum(1) / int(x.shape[1])", "x.mean(1)"))
    lab.page.get_by_text(re.compile("✓ TokenMean: right on all")).wait_for()
    assert lab.toasts() == []


@pytest.mark.timeout(600)
def test_the_solution_runs_under_a_base_url_with_its_graphs_in_netron(lab_under_base_url: "Lab") -> None:
    lab = lab_under_base_url
    lab.page.set_default_timeout(RUN_ALL_MS)
    lab.open_notebook(solution_path(LAB), quick=True)
    lab.use_theme("JupyterLab Dark")
    lab.run_all()
    assert lab.errors() == []
    assert lab.unfinished_cells() == []
    assert lab.page.get_by_text("✓ solved").count() >= 8
    for name in ("digits.onnx", "as exported", "basic"):
        frame = lab.page.locator(f"iframe[title='Netron: {name}']")
        frame.scroll_into_view_if_needed()
        lab.page.frame_locator(f"iframe[title='Netron: {name}']").locator("body.default").wait_for()
        lab.screenshot(name.replace(" ", "-"))
    inside = lab.page.frame_locator("iframe[title='Netron: digits.onnx']")
    inside.get_by_text("Conv", exact=True).first.wait_for()
    assert lab.console_errors() == []
    assert lab.toasts() == []

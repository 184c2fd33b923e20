"""labkit.widgets.simplify_picture: the numbers in the picture and in the sentence are those of the report."""

from __future__ import annotations

from labkit.onnx_simplify import Outcome, SimplifyReport
from labkit.widgets.simplify_picture import draw_report

ORIGINAL = Outcome("original", {"Conv": 2, "BatchNormalization": 2, "Relu": 1}, 900, 0.0, 0.0)
LABKIT = Outcome("labkit", {"Conv": 2, "Relu": 1}, 800, 1e-8, 2e-7, tool_ms=3.0)
ORT = Outcome("ort all", {"com.microsoft.nchwc::Conv": 2}, 850, 1e-8, 3e-7, tool_ms=4.0)
FAILED = Outcome("onnxsim", error="onnxsim gives up: ValueError: no")


def test_bars_and_cells_hold_the_counts() -> None:
    figure, sentence = draw_report(SimplifyReport("net.onnx", (ORIGINAL, LABKIT, FAILED, ORT)))
    bars, cells = figure.axes
    assert [text.get_text() for text in bars.texts] == ["5", "3", "2"]
    assert [label.get_text() for label in bars.get_xticklabels()] == ["original", "labkit", "ort\nall"]
    labels = [label.get_text() for label in cells.get_yticklabels()]
    assert labels == ["BatchNormalization", "Conv", "Conv (nchwc)", "Relu"]
    numbers = [text.get_text() for text in cells.texts]
    assert numbers == ["2", "·", "·", "2", "2", "·", "·", "·", "2", "1", "1", "·"]
    assert sentence == (
        "net.onnx has 5 nodes; left by labkit 3, ort all 2. The outputs differ by at most 3.0e-07 of their scale. "
        "onnxsim: onnxsim gives up: ValueError: no."
    )


def test_where_nothing_changed_there_are_only_bars() -> None:
    figure, _sentence = draw_report(SimplifyReport("net.onnx", (LABKIT, Outcome("onnxslim", LABKIT.ops, 800))))
    assert len(figure.axes) == 1
    assert all(tick.is_integer() for tick in figure.axes[0].get_yticks().tolist())

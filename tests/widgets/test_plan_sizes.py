"""The picture of plan sizes draws the bytes that it is given, and says what became of them."""

import pytest
from matplotlib.figure import Figure

from labkit.widgets.plan_sizes import plan_sizes
from labkit.widgets.still import figure_png

GRAPH = {"fp32": 50_000, "fp16": 25_000, "int8": 5_000}
PLAN = {"fp32": 300_000, "fp16": 270_000, "int8": 600_000}


def widths(figure: Figure) -> list[list[float]]:
    return [[bar.get_width() for bar in axes.patches] for axes in figure.axes]  # type: ignore[attr-defined]


def test_bars_are_kilobytes() -> None:
    figure, _ = plan_sizes(GRAPH, PLAN)
    assert widths(figure) == [[50.0, 25.0, 5.0], [300.0, 270.0, 600.0]]


def test_the_sentence_compares_with_the_first() -> None:
    _, sentence = plan_sizes(GRAPH, PLAN)
    assert sentence.splitlines() == [
        "fp32: a graph of 50,000 bytes, a plan of 300,000.",
        "fp16: the graph has 50% of that, the plan 90%.",
        "int8: the graph has 10% of that, the plan 200%.",
    ]


def test_the_numbers_stand_beside_short_bars_and_in_long_ones() -> None:
    figure, _ = plan_sizes(GRAPH, PLAN)
    graph = figure.axes[0]
    assert [text.get_text() for text in graph.texts] == ["50 KB, 100%", "25 KB, 50%", "5 KB, 10%"]
    assert [text.get_horizontalalignment() for text in graph.texts] == ["right", "right", "left"]


def test_the_same_sizes_give_the_same_picture() -> None:
    assert figure_png(plan_sizes(GRAPH, PLAN)[0]) == figure_png(plan_sizes(GRAPH, PLAN)[0])


@pytest.mark.parametrize(("graph", "plan"), [({}, {}), (GRAPH, {"fp32": 1})])
def test_a_graph_without_a_plan_is_refused(graph: dict[str, int], plan: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="one graph and one plan for each precision"):
        plan_sizes(graph, plan)

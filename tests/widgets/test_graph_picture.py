"""labkit.widgets.graph_picture: what the drawing says is what the graph is; a large graph becomes counts."""

from __future__ import annotations

from typing import Any

import onnx
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labkit.onnx_simplify import drop_identities, simplify
from labkit.widgets.graph_picture import MAX_NODES, draw_change, draw_graph
from labkit.widgets.still import figure_png


def parse(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["": 20]> {text}')


def chain(length: int, op: str = "Relu") -> onnx.ModelProto:
    nodes = [f"v{at + 1} = {op}(v{at})" for at in range(length)]
    return parse(f"g (float[n] v0) => (float[n] v{length}) {{ {' '.join(nodes)} }}")


SHAPES = """g (float[b, 4] x) => (float[b, 2, 2] y) <int64[2] two = {2, 2}, float[4, 4] w> {
    k = Constant<value_ints = [0]>()
    s = Shape(x)
    n = Gather(s, k)
    t = Concat<axis = 0>(n, two)
    m = MatMul(x, w)
    y = Reshape(m, t)
}"""


def texts(axes: Axes) -> list[str]:
    return sorted(text.get_text() for text in axes.texts)


def dashed_lines(figure: Figure) -> int:
    from matplotlib.patches import FancyBboxPatch, PathPatch

    lines: list[Any] = [p for p in figure.axes[0].patches if isinstance(p, PathPatch)]
    assert len(lines) < len([p for p in figure.axes[0].patches if isinstance(p, FancyBboxPatch)]) + 3
    return sum(line.get_linestyle() not in ("-", "solid") for line in lines)


def weighted() -> onnx.ModelProto:
    import numpy as np

    model = parse(SHAPES.replace(", float[4, 4] w", ""))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((4, 4), np.float32), "w"))
    return model


def test_boxes_name_operators_weights_inputs_and_outputs_and_leave_constants_out() -> None:
    figure, sentence = draw_graph(weighted(), "the head")
    assert texts(figure.axes[0]) == ["Concat", "Gather", "MatMul 4×4", "Reshape", "Shape", "x", "y"]
    assert sentence == "The head: 6 nodes, Concat 1, Constant 1, Gather 1, MatMul 1, Reshape 1, Shape 1."
    assert dashed_lines(figure) == 3  # Shape -> Gather -> Concat -> Reshape


def test_shape_arithmetic_is_left_out_of_a_large_graph_and_that_is_said() -> None:
    model = weighted()
    model.graph.node[-1].output[0] = "v0"
    model.graph.node.extend(chain(40).graph.node)
    model.graph.output[0].name = "v40"
    figure, sentence = draw_graph(model)
    assert {"Gather", "Shape", "Concat"}.isdisjoint(texts(figure.axes[0]))
    assert "Reshape" in texts(figure.axes[0])
    assert "3 of them compute shapes from the inputs' sizes and are not drawn." in sentence
    assert "goes on at the same number in another column" in sentence


def test_a_very_large_graph_becomes_bars() -> None:
    figure, sentence = draw_graph(chain(MAX_NODES + 1))
    assert figure.axes[0].get_xlabel() == "nodes by type"
    assert sentence == f"The graph: {MAX_NODES + 1} nodes, Relu {MAX_NODES + 1}."


def test_change_lights_up_what_became_of_each_node() -> None:
    model = weighted()
    model.graph.node.insert(5, onnx.helper.make_node("Identity", ["m"], ["i"]))
    model.graph.node[6].input[0] = "i"
    after = drop_identities(model)
    after.graph.node[-2].op_type = "Gemm"
    figure, sentence = draw_change(model, after)
    before_axes, after_axes = figure.axes
    assert "× Identity" in texts(before_axes)
    assert "» MatMul" in texts(before_axes)
    assert "+ Gemm" in texts(after_axes)
    assert "Shape" in texts(after_axes)  # kept: no mark
    assert before_axes.get_title(loc="left") == "Before: 7 nodes"
    assert after_axes.get_title(loc="left") == "After: 6 nodes"
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["kept", "× removed", "» fused into another node", "+ new"]
    assert sentence.startswith("7 nodes before, 6 after: ")


def test_a_change_that_the_drawing_would_not_show_becomes_bars_the_most_changed_first() -> None:
    figure, sentence = draw_change(weighted(), simplify(weighted()))  # only a Constant went
    assert figure.axes[0].get_yticklabels()[0].get_text() == "Constant"
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == [
        "before: 6 nodes",
        "after: 5 nodes",
    ]
    assert "1 folded into constants (Constant 1)" in sentence
    assert all(tick.is_integer() for tick in figure.axes[0].get_xticks().tolist())


def test_values_read_only_inside_subgraphs_are_connected() -> None:
    model = parse("""g (bool c, float[2] x) => (float[2] y) {
        a = Relu(x)
        y = If(c) <then_branch = t () => (float[2] p) { p = Exp(a) }, else_branch = e () => (float[2] r) { r = Neg(a) }>
    }""")
    from matplotlib.patches import PathPatch

    figure, _sentence = draw_graph(model)
    assert sum(isinstance(patch, PathPatch) for patch in figure.axes[0].patches) == 4  # x-Relu, Relu-If, c-If, If-y


@pytest.mark.parametrize("length", [0, 1, 60])
def test_the_same_graph_gives_the_same_png(length: int) -> None:
    model = chain(length) if length else parse("g (float[2] x) => (float[2] x) { }")
    pngs = {figure_png(draw_graph(model)[0]) for _ in range(2)}
    assert len(pngs) == 1
    assert pngs.pop().startswith(b"\x89PNG")

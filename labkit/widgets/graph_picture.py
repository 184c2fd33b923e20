"""A static picture of an ONNX graph, and of what a pass did to it: what stays where no viewer runs.

    figure, sentence = draw_graph(model)
    figure, sentence = draw_change(before, after)       # lights up what went, what took over, what is new

Constant nodes and initializers are not drawn; a box that reads weights names their shape. Shape arithmetic (what
depends on the sizes of the inputs and not on their values) has dashed lines, and is left out of a large graph.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import onnx

from labkit.onnx_simplify import count_ops, graph_diff
from labkit.onnx_simplify.counting import op_name
from labkit.onnx_simplify.diff import ADDED, CHANGED, FOLDED, FUSED, KEPT, REMOVED
from labkit.onnx_simplify.editing import Scope, count_reads
from labkit.quantities import counted
from labkit.widgets.graph_layout import Layout, Route, lay_out
from labkit.widgets.palette import INK, MUTED, PAPER, color, new_figure, style, text_on, tint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_NODES = 64  # with more boxes a drawing says less than the counts: bars by type instead
_SHAPES_SHOWN = 40  # with more boxes, those of shape arithmetic are left out
_TYPES_SHOWN = 10

_ROW = 0.40  # inches from layer to layer
_BOX = 0.235  # height of a box in inches
_CHARACTER = 0.064  # width of a character in inches at the font size below
_FONT = 7.5
_MAX_ROWS = 26


@dataclass(frozen=True)
class _Look:
    fill: str
    line: str
    mark: str = ""  # stands before the type: colour is never the only sign
    dashed: bool = False
    legend: str = ""


def _look(quantity: str, mark: str = "", *, strength: float = 1.0, dashed: bool = False, legend: str = "") -> _Look:
    hue = color(quantity)
    return _Look(tint(hue, strength), hue, mark, dashed, legend)


_STATUS: dict[str, _Look] = {
    KEPT: _look("kept", strength=0.12, legend="kept"),
    REMOVED: _look("removed", "×", strength=0.6, legend="removed"),
    FOLDED: _look("removed", "=", strength=0.25, dashed=True, legend="folded into a constant"),
    FUSED: _look("fused", "»", strength=0.25, dashed=True, legend="fused into another node"),
    CHANGED: _look("fused", "*", strength=0.6, legend="took something in"),
    ADDED: _look("fused", "+", strength=0.6, legend="new"),
}
_INPUT = _look("inputs", strength=0.45)
_OUTPUT = _look("outputs", strength=0.35)
_WEIGHTED = _look("weights", strength=0.22)
_PLAIN = _look("kept", strength=0.10)


@dataclass(frozen=True)
class _Box:
    label: str
    look: _Look
    pill: bool = False

    @property
    def width(self) -> float:
        return max(len(self.label), 4) * _CHARACTER + 0.16


@dataclass(frozen=True)
class _Drawing:
    boxes: Mapping[Any, _Box]
    edges: Mapping[tuple[Any, Any], bool]  # (source, target) -> whether it is shape arithmetic
    layout: Layout
    num_left_out: int
    statuses: set[str]  # of the nodes that are drawn

    @property
    def height(self) -> float:
        return self.layout.num_rows * _ROW


@style()
def draw_graph(model: onnx.ModelProto, name: str = "the graph") -> tuple[Figure, str]:
    """The main graph from inputs to outputs; bars by operator type when it is too large to be read."""
    sentence = f"{_capitalized(name)}: {_ops_in_words(model)}."
    drawing = _drawing(model, None)
    if drawing is None:
        return _bars([(name, model)]), sentence
    figure = new_figure(width=max(drawing.layout.width + 0.3, 4.0), height=drawing.height + 0.1)
    _paint(figure.subplots(), drawing)
    if drawing.layout.num_columns > 1:
        sentence += " A line that ends in a number goes on at the same number in another column."
    if drawing.num_left_out:
        sentence += f" {drawing.num_left_out} of them compute shapes from the inputs' sizes and are not drawn."
    return figure, sentence


@style()
def draw_change(
    before: onnx.ModelProto,
    after: onnx.ModelProto,
    names: tuple[str, str] = ("before", "after"),
) -> tuple[Figure, str]:
    """Both graphs side by side, each node marked with what became of it; bars by type when they are too large."""
    diff = graph_diff(before, after)
    drawings = [_drawing(before, diff.before), _drawing(after, diff.after)]
    drawn = [drawing for drawing in drawings if drawing is not None]
    if len(drawn) < 2 or not (shown := drawn[0].statuses | drawn[1].statuses) - {KEPT}:
        return _bars([(names[0], before), (names[1], after)]), str(diff)
    widths = [max(drawing.layout.width, 1.8) for drawing in drawn]
    figure = new_figure(width=max(sum(widths) + 0.8, 6.0), height=max(drawing.height for drawing in drawn) + 0.75)
    both = figure.subplots(1, 2, width_ratios=widths)
    num_rows = max(drawing.layout.num_rows for drawing in drawn)
    for axes, drawing, name, model in zip(both, drawn, names, (before, after), strict=True):
        _paint(axes, drawing, num_rows=num_rows)
        axes.set_title(f"{_capitalized(name)}: {len(model.graph.node)} nodes")
    _legend(figure, shown)
    return figure, str(diff)


def _drawing(model: onnx.ModelProto, statuses: Sequence[str] | None) -> _Drawing | None:
    """The main graph laid out; None when it is too large even without its shape arithmetic."""
    scope, reads = Scope.of(model), count_reads(model.graph)
    of_shapes = _shape_arithmetic(scope)
    shown = [at for at, node in enumerate(model.graph.node) if node.op_type != "Constant"]
    if len(shown) > _SHAPES_SHOWN:
        shown = [at for at in shown if not of_shapes.issuperset(model.graph.node[at].output)]
    if len(shown) > MAX_NODES:
        return None
    boxes: dict[Any, _Box] = {}
    made_by: dict[str, Any] = {}
    for value in model.graph.input:
        if value.name not in scope.constants and reads[value.name]:
            boxes["in", value.name] = _Box(value.name, _INPUT, pill=True)
            made_by[value.name] = ("in", value.name)
    for at in shown:
        node = model.graph.node[at]
        boxes["node", at] = _node_box(node, scope, statuses[at] if statuses else None)
        made_by.update({name: ("node", at) for name in node.output if name})
    edges: dict[tuple[Any, Any], bool] = {}
    for at in shown:
        for name in _read_by(model.graph.node[at]):
            if name in made_by:
                edges[made_by[name], ("node", at)] = name in of_shapes
    for at, value in enumerate(model.graph.output):
        boxes["out", at] = _Box(value.name, _OUTPUT, pill=True)
        if value.name in made_by:
            edges[made_by[value.name], ("out", at)] = False
    layout = lay_out({key: box.width for key, box in boxes.items()}, edges, _MAX_ROWS)
    num_drawable = sum(node.op_type != "Constant" for node in model.graph.node)
    drawn = {statuses[at] for at in shown} if statuses else set()
    return _Drawing(boxes, edges, layout, num_left_out=num_drawable - len(shown), statuses=drawn)


def _shape_arithmetic(scope: Scope) -> set[str]:
    """The values that depend on the sizes of the inputs and not on what is in them."""
    of_shapes: set[str] = set()
    for node in scope.graph.node:
        varying = [name for name in _read_by(node) if name not in scope.constants]
        if node.op_type in ("Shape", "Size") or (varying and of_shapes.issuperset(varying)):
            of_shapes.update(name for name in node.output if name)
    return of_shapes - scope.outputs


def _read_by(node: onnx.NodeProto) -> list[str]:
    """What a node reads, also by the graphs inside it."""
    alone = onnx.GraphProto(node=[node])
    return list(count_reads(alone))


def _node_box(node: onnx.NodeProto, scope: Scope, status: str | None) -> _Box:
    weights = [scope.constants[name] for name in node.input if name in scope.constants]
    largest = max((tensor for tensor in weights if len(tensor.dims) > 1), key=_num_elements, default=None)
    shape = " " + "×".join(map(str, largest.dims)) if largest is not None else ""
    if status is not None:
        look = _STATUS[status]
        return _Box(f"{look.mark} {op_name(node)}".strip(), look)
    return _Box(op_name(node) + shape, _WEIGHTED if largest is not None else _PLAIN)


def _num_elements(tensor: onnx.TensorProto) -> int:
    total = 1
    for dim in tensor.dims:
        total *= dim
    return total


def _paint(axes: Axes, drawing: _Drawing, num_rows: int | None = None) -> None:
    layout = drawing.layout
    rows = num_rows or layout.num_rows
    axes.set_xlim(-0.1, layout.width + 0.1)
    axes.set_aspect("equal", anchor="N")  # both axes are in inches
    axes.set_ylim((rows - 0.5) * _ROW, -0.5 * _ROW)
    axes.set_axis_off()
    for route in layout.routes:
        _paint_route(axes, route, drawing)
    for key, box in drawing.boxes.items():
        place = layout.places[key]
        _paint_box(axes, box, place.x, place.y * _ROW)


def _paint_box(axes: Axes, box: _Box, x: float, y: float) -> None:
    from matplotlib.patches import FancyBboxPatch

    rounding = _BOX / 2 if box.pill else 0.05
    axes.add_patch(
        FancyBboxPatch(
            (x - box.width / 2 + rounding, y - _BOX / 2 + rounding),
            box.width - 2 * rounding,
            _BOX - 2 * rounding,
            boxstyle=f"round,pad={rounding}",
            facecolor=box.look.fill,
            edgecolor=box.look.line,
            linewidth=1.0,
            linestyle=(0, (2, 1.5)) if box.look.dashed else "-",
            zorder=3,
        )
    )
    ink = text_on(box.look.fill)
    axes.text(x, y, box.label, ha="center", va="center_baseline", fontsize=_FONT, color=ink, zorder=4)


def _paint_route(axes: Axes, route: Route, drawing: _Drawing) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    points = [(x, y * _ROW) for x, y in route.points]
    of_shapes = drawing.edges.get(route.edge, False)
    vertices, codes = [points[0]], [Path.MOVETO]
    for at in range(len(points) - 1):
        (x0, y0), (x1, y1) = points[at], points[at + 1]
        third = (y1 - y0) / 3
        slope_in, slope_out = _slope(points, at), _slope(points, at + 1)
        vertices += [(x0 + slope_in * third, y0 + third), (x1 - slope_out * third, y1 - third), (x1, y1)]
        codes += [Path.CURVE4] * 3
    axes.add_patch(
        PathPatch(
            Path(vertices, codes),
            facecolor="none",
            edgecolor=MUTED,
            linewidth=0.7 if of_shapes else 0.9,
            linestyle=(0, (2, 1.6)) if of_shapes else "-",
            zorder=1,
        )
    )
    if route.tag is not None:
        starts_here = route.points[0] == _place_of(route.edge[0], drawing)
        _paint_tag(axes, route.tag, *(points[-1] if starts_here else points[0]))


def _slope(points: Sequence[tuple[float, float]], at: int) -> float:
    """dx/dy of a smooth line through the points: upright where it leaves and enters a box."""
    if at in (0, len(points) - 1):
        return 0.0
    (x0, y0), (x1, y1) = points[at - 1], points[at + 1]
    return (x1 - x0) / (y1 - y0)


def _place_of(key: Any, drawing: _Drawing) -> tuple[float, float]:
    place = drawing.layout.places[key]
    return place.x, place.y


def _paint_tag(axes: Axes, tag: int, x: float, y: float) -> None:
    axes.text(
        x,
        y,
        str(tag + 1),
        ha="center",
        va="center_baseline",
        fontsize=_FONT - 1.5,
        color=INK,
        zorder=5,
        bbox={"boxstyle": "circle,pad=0.18", "facecolor": PAPER, "edgecolor": MUTED, "linewidth": 0.7},
    )


def _legend(figure: Figure, shown: set[str]) -> None:
    from matplotlib.patches import Patch

    handles = [
        Patch(
            facecolor=(look := _STATUS[status]).fill,
            edgecolor=look.line,
            linestyle=(0, (2, 1.5)) if look.dashed else "-",
            label=f"{look.mark} {look.legend}".strip(),
        )
        for status in _STATUS
        if status in shown
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=min(len(handles), 4), fontsize=8)


def _bars(models: Sequence[tuple[str, onnx.ModelProto]]) -> Figure:
    """Nodes by type, a bar for each model: the types that differ most first, then the commonest."""
    counts = [(name, count_ops(model)) for name, model in models]
    differ: Counter[str] = Counter()
    for op in {op for _name, ops in counts for op in ops}:
        numbers = [ops.get(op, 0) for _name, ops in counts]
        differ[op] = 1000 * (max(numbers) - min(numbers)) + max(numbers)
    types = sorted(differ, key=lambda op: (-differ[op], op))[:_TYPES_SHOWN]
    figure = new_figure(height=0.22 * len(types) * len(models) + 0.9)
    axes = figure.subplots()
    thick = 0.8 / len(counts)
    looks = [_STATUS[KEPT], _STATUS[CHANGED]]
    for number, (name, ops) in enumerate(counts):
        places = [at + (number - (len(counts) - 1) / 2) * thick for at in range(len(types))]
        look, numbers = looks[number % 2], [ops.get(op, 0) for op in types]
        label = f"{name}: {sum(ops.values())} nodes"
        bars = axes.barh(places, numbers, 0.9 * thick, color=look.fill, edgecolor=look.line, label=label)
        axes.bar_label(bars, padding=3, fontsize=8)
    axes.set_yticks(range(len(types)), types)
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", integer=True)  # half a node is none
    axes.invert_yaxis()
    axes.set_xlabel(
        f"nodes by type; {len(types)} of {len(differ)} types" if len(types) < len(differ) else "nodes by type"
    )
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(models))  # above the bars, not on them
    return figure


def _ops_in_words(model: onnx.ModelProto) -> str:
    ops = count_ops(model)
    shown = list(ops.items())[:_TYPES_SHOWN]
    said = ", ".join(f"{op} {number}" for op, number in shown)
    more = len(ops) - len(shown)
    return f"{counted(sum(ops.values()), 'node')}, {said}" + (f" and {more} more types" if more else "")


def _capitalized(text: str) -> str:
    """The beginning of a sentence; the name of a file stays as it is."""
    return text if "." in text else text[:1].upper() + text[1:]

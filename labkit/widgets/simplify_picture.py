"""What each simplifier did to a model, in one picture: nodes in all, and nodes by type.

show(*draw_report(simplify_report("model.onnx")))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.onnx_simplify import Outcome, SimplifyReport
from labkit.onnx_simplify.counting import short_name
from labkit.widgets.palette import MUTED, color, new_figure, style, text_on, tint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TYPES_SHOWN = 12


@style()
def draw_report(report: SimplifyReport) -> tuple[Figure, str]:
    """Bars with the nodes that each tool left, and below them the nodes by type: pale is gone, green is new."""
    made = [outcome for outcome in report.outcomes if outcome.ops]
    types = report.changed_ops()[:_TYPES_SHOWN]
    figure = new_figure(width=max(7.0, 1.6 + 0.85 * len(made)), height=1.8 + 0.27 * max(len(types), 1))
    if types:
        bars, cells = figure.subplots(2, 1, height_ratios=(1.5, 0.27 * len(types)), sharex=True)
        _draw_cells(cells, report.original, made, types)
    else:
        bars = figure.subplots()
    _draw_bars(bars, made)
    bars.set_xticks(range(len(made)), [outcome.tool.replace(" ", "\n") for outcome in made])
    bars.tick_params(axis="x", length=0, labelbottom=True)
    return figure, _sentence(report, made)


def _draw_bars(axes: Axes, made: list[Outcome]) -> None:
    colors = [color("kept") if at == 0 else color("fused") for at in range(len(made))]
    bars = axes.bar(
        range(len(made)),
        [outcome.num_nodes for outcome in made],
        0.62,
        color=[tint(hue, 0.6) for hue in colors],
        edgecolor=colors,
    )
    axes.bar_label(bars, padding=2)
    axes.set_ylabel("nodes")
    axes.locator_params(axis="y", integer=True)  # half a node is none
    axes.set_ylim(0, 1.18 * max(outcome.num_nodes for outcome in made))
    axes.set_xlim(-0.55, len(made) - 0.45)


def _draw_cells(axes: Axes, original: Outcome, made: list[Outcome], types: list[str]) -> None:
    from matplotlib.patches import Rectangle

    for row, op in enumerate(types):
        before = original.ops.get(op, 0)
        for column, outcome in enumerate(made):
            number = outcome.ops.get(op, 0)
            fill = _cell_color(before, number)
            axes.add_patch(Rectangle((column - 0.46, row - 0.45), 0.92, 0.9, facecolor=fill))
            ink = text_on(fill) if number else MUTED
            axes.text(column, row, str(number or "·"), ha="center", va="center_baseline", fontsize=8.5, color=ink)
    axes.set_ylim(len(types) - 0.4, -0.6)
    axes.set_yticks(range(len(types)), [short_name(op) for op in types])
    axes.tick_params(length=0, labelbottom=False)
    for side in axes.spines.values():
        side.set_visible(False)


def _cell_color(before: int, number: int) -> str:
    """Grey as deep as the share that is left; green for what the original has fewer of."""
    if number > before:
        return tint(color("fused"), 0.45)
    return tint(color("kept"), 0.06 + 0.5 * number / before if before else 0.06)


def _sentence(report: SimplifyReport, made: list[Outcome]) -> str:
    rest = [outcome for outcome in made if outcome.tool != report.original.tool]
    said = f"{report.model} has {report.original.num_nodes} nodes"
    if rest:
        said += "; left by " + ", ".join(f"{outcome.tool} {outcome.num_nodes}" for outcome in rest)
    compared = [outcome.max_rel for outcome in rest if outcome.max_rel is not None]
    if compared:
        said += f". The outputs differ by at most {max(compared):.1e} of their scale"
    failed = [outcome for outcome in report.outcomes if outcome.error]
    return said + "." + "".join(f" {outcome.tool}: {outcome.error}." for outcome in failed)

"""What a precision saves: the bytes of the graph beside those of the plan that was built from it.

show(*plan_sizes({"fp32": 50_278, "int8": 23_114}, {"fp32": 326_988, "int8": 579_156}))
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from labkit.widgets.palette import MUTED, color, new_figure, style, text_on

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@style()
def plan_sizes(graph_bytes: Mapping[str, int], plan_bytes: Mapping[str, int]) -> "tuple[Figure, str]":
    """Bars of KB (1e3 bytes) for each precision, the first one being what the others are compared with.

    Both have the same precisions as keys; raises ValueError otherwise, or when there are none.
    """
    if not graph_bytes or graph_bytes.keys() != plan_bytes.keys():
        raise ValueError(f"one graph and one plan for each precision; got {list(graph_bytes)} and {list(plan_bytes)}")
    names = list(graph_bytes)
    figure = new_figure(height=1.2 + 0.55 * len(names))
    graph, plan = figure.subplots(1, 2, sharey=True)
    _draw_bars(graph, "the ONNX graph", "weights", [graph_bytes[name] for name in names])
    _draw_bars(plan, "the plan", "outputs", [plan_bytes[name] for name in names])
    graph.set_yticks(range(len(names)), names)
    graph.set_ylim(len(names) - 0.45, -0.55)
    first, *rest = names
    sentences = [f"{first}: a graph of {graph_bytes[first]:,} bytes, a plan of {plan_bytes[first]:,}."]
    for name in rest:
        graph_share, plan_share = graph_bytes[name] / graph_bytes[first], plan_bytes[name] / plan_bytes[first]
        sentences.append(f"{name}: the graph has {graph_share:.0%} of that, the plan {plan_share:.0%}.")
    return figure, "\n".join(sentences)


def _draw_bars(axes: "Axes", title: str, quantity: str, num_bytes: list[int]) -> None:
    hue = color(quantity)
    axes.barh(range(len(num_bytes)), [each / 1e3 for each in num_bytes], 0.62, color=hue)
    for row, each in enumerate(num_bytes):
        inside = each > 0.3 * max(num_bytes)  # is there room in the bar for the text?
        axes.annotate(
            f"{each / 1e3:,.0f} KB, {each / num_bytes[0]:.0%}",
            (each / 1e3, row),
            (-5 if inside else 5, 0),
            textcoords="offset points",
            ha="right" if inside else "left",
            va="center_baseline",
            fontsize=9,
            color=text_on(hue) if inside else MUTED,
        )
    axes.set_title(title)
    axes.set_xlabel("KB")
    axes.tick_params(axis="y", length=0)

"""Gains over seeds, one row a setting: every seed a dot, the mean a bar, nothing gained a line.

from labkit.widgets.gains import gains
from labkit.widgets.still import show

show(*gains({"5 labels a class": (4.1, 6.0, 5.2), "all labels": (0.2, -0.4, 0.1)}))    # percentage points
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from labkit.widgets.palette import INK, MUTED, color, new_figure, style, tint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROW_INCHES = 0.42


@style()
def gains(rows: Mapping[str, Sequence[float]]) -> "tuple[Figure, str]":
    """Figure and sentence: percentage points gained, a sequence with an entry for each seed in every row."""
    if not rows or not all(rows.values()):
        raise ValueError("gains need a row, and each row at least one seed")
    figure = new_figure(width=7.4, height=0.9 + ROW_INCHES * len(rows))
    axes = figure.subplots()
    for place, points in enumerate(rows.values()):
        axes.barh(place, fmean(points), height=0.6, color=tint(color("student"), 0.55), zorder=1)
        axes.plot(points, [place] * len(points), "o", color=color("measured"), markersize=5, alpha=0.75, zorder=3)
        axes.plot([fmean(points)] * 2, [place - 0.3, place + 0.3], color=INK, linewidth=2, zorder=2)
    axes.axvline(0, color=MUTED, linewidth=1.2, zorder=0)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.invert_yaxis()
    axes.set_xlabel("percentage points gained; a dot for each seed, the bar is their mean")
    return figure, "; ".join(_said(name, points) for name, points in rows.items()) + "."


def _said(name: str, points: Sequence[float]) -> str:
    better = sum(each > 0 for each in points)
    spread = f"{min(points):+.1f} to {max(points):+.1f}"
    return f"{name}: {fmean(points):+.1f} points ({spread}), better on {better} of {len(points)} seeds"

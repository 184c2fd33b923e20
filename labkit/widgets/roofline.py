"""The roofline: how fast a computation can run, given how much it computes for each byte that it moves.

    from labkit.widgets.roofline import Point, gemm_roofline, roofline
    from labkit.widgets.still import show

    points = [Point("relu", 0.125, 0.9e9), Point("gemm 512", 85.3, 31e9)]       # measured by the learner
    show(*roofline(points, peak_flops, bandwidth_bytes_per_s, attainable=attainable_flops))
    gemm_roofline(peak_flops, bandwidth_bytes_per_s)                            # choose m, n, k and see the side

Source: Williams, Waterman, Patterson, "Roofline" (CACM 2009). Intensity is in FLOP/byte; the roof itself comes from
`attainable`, which a learner writes. Rates are shown with SI prefixes: GFLOP/s and GB/s are 1e9.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from labkit.gemm import attainable_flops, gemm_flops, gemm_min_bytes
from labkit.widgets.controls import Choice, Whole
from labkit.widgets.palette import INK, MUTED, PAPER, color, new_figure, request_letter, style
from labkit.widgets.picture import Picture, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Attainable = Callable[[float, float, float], float]

LEGEND_INCHES = 0.68  # of height for one point
NOISE = 1.05  # a measured point this far above the roof is still called "on" it


class Point(NamedTuple):
    """A computation under the roof: its intensity in FLOP/byte, and its FLOP/s where that was measured."""

    name: str
    intensity: float
    flops_per_s: float | None = None


@style()
def roofline(
    points: Iterable[Point | tuple[str, float, float | None]],
    peak_flops: float,
    bandwidth_bytes_per_s: float,
    attainable: Attainable = attainable_flops,
    trail: Sequence[float] = (),
) -> "tuple[Figure, str]":
    """Figure (log-log) and sentence: where each point stands, which side bounds it, how near the roof it is.

    peak_flops in FLOP/s and bandwidth in bytes/s are those of the machine, measured or from its data sheet.
    attainable: called as attainable(intensity, peak_flops, bandwidth). A point without a measured rate is drawn
    hollow, on the roof. trail: intensities to mark on the roof, as where a shape goes when one of its sides grows.
    """
    if peak_flops <= 0 or bandwidth_bytes_per_s <= 0:
        raise ValueError(f"peak and bandwidth are above 0; got {peak_flops} FLOP/s, {bandwidth_bytes_per_s} bytes/s")
    seen = [Point(*point) for point in points]
    if wrong := [point for point in seen if not point.intensity > 0]:
        raise ValueError(f"{wrong[0].name} has an intensity of {wrong[0].intensity} FLOP/byte; it is above 0")

    def roof(intensity: float) -> float:
        return float(attainable(intensity, peak_flops, bandwidth_bytes_per_s))

    ridge = peak_flops / bandwidth_bytes_per_s
    height = max(3.9, LEGEND_INCHES * (len(seen) + 0.5))
    figure = new_figure(width=8.8, height=height)
    axes, legend = figure.subplots(1, 2, width_ratios=(5, 3.4))
    _draw_roof(axes, roof, seen, trail, ridge)
    _draw_names(axes, ridge, peak_flops, bandwidth_bytes_per_s)
    axes.plot(trail, [roof(intensity) for intensity in trail], ".", color=color("model"), markersize=7, zorder=3)
    legend.set_axis_off()
    sentences = [
        f"A peak of {si(peak_flops, 'FLOP/s')} and a bandwidth of {si(bandwidth_bytes_per_s, 'B/s')} meet at "
        f"{ridge:.3g} FLOP/byte: below that memory decides, above it arithmetic."
    ]
    for number, point in enumerate(seen):
        letter = request_letter(number)
        _draw_point(axes, point, roof(point.intensity), letter)
        short, said = _describe(point, roof(point.intensity), peak_flops)
        _write_legend(legend, LEGEND_INCHES * number / (0.85 * height), f"{letter}  {point.name}", short)
        sentences.append(f"{letter}, {point.name}: {said}")
    return figure, "\n".join(sentences)


def gemm_roofline(
    peak_flops: float,
    bandwidth_bytes_per_s: float,
    attainable: Attainable = attainable_flops,
    flops: Callable[[int, int, int], int] = gemm_flops,
    min_bytes: Callable[[int, int, int, int], int] = gemm_min_bytes,
    name: str = "gemm-roofline",
) -> Picture:
    """Where a matrix product of a chosen shape stands, and where it would go with more rows m (the dots).

    flops(m, n, k) and min_bytes(m, n, k, itemsize) are the learner's own, or labkit's. name: another one for a
    second such picture in the same notebook.
    """

    def intensity(m: int, n: int, k: int, itemsize: int) -> float:
        return flops(m, n, k) / min_bytes(m, n, k, itemsize)

    def draw(m: int, n: int, k: int, itemsize: int) -> "tuple[Figure, str]":
        trail = [intensity(2**power, n, k, itemsize) for power in range(13)]
        point = Point(f"gemm {m} × {n} × {k}", intensity(m, n, k, itemsize))
        figure, said = roofline([point], peak_flops, bandwidth_bytes_per_s, attainable, trail)
        counts = f"{flops(m, n, k):,} FLOP for at least {min_bytes(m, n, k, itemsize):,} bytes."
        return figure, f"{said}\n{counts} The dots are m = 1, 2, 4, … 4096."

    return picture(
        name,
        draw,
        m=Whole(1, low=1, high=8192),
        n=Whole(1024, low=1, high=8192),
        k=Whole(1024, low=1, high=8192),
        itemsize=Choice(4, {"float64": 8, "float32": 4, "float16": 2}, label="type"),
    )


def si(value: float, unit: str) -> str:
    """The value with an SI prefix and three digits: si(3.1e10, "FLOP/s") is "31 GFLOP/s"."""
    for prefix, factor in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= 0.9995 * factor:
            return f"{float(f'{value / factor:.3g}'):g} {prefix}{unit}"
    return f"{value:.3g} {unit}"


def _describe(point: Point, limit: float, peak_flops: float) -> tuple[str, str]:
    """What stands in the legend, and the longer sentence below."""
    side = "memory" if limit < peak_flops else "arithmetic"
    where = f"{point.intensity:.3g} FLOP/byte, bound by {side}"
    if point.flops_per_s is None:
        at_most = f"at most {si(limit, 'FLOP/s')}"
        return f"{where}\n{at_most}", f"{where}: {at_most}."
    share = point.flops_per_s / limit
    reached = f"{si(point.flops_per_s, 'FLOP/s')}, {share:.0%} of {si(limit, 'FLOP/s')}"
    return f"{where}\n{reached}", f"{where}: {reached}.{_above_roof(side) if share > NOISE else ''}"


def _above_roof(side: str) -> str:
    if side == "memory":
        return " Above the roof: its data came from a cache, or the bandwidth was measured too low."
    return " Above the roof: the peak was measured too low, or FLOP are counted that were not done."


def _draw_roof(
    axes: "Axes", roof: Callable[[float], float], points: list[Point], trail: Sequence[float], ridge: float
) -> None:
    from matplotlib.ticker import FuncFormatter

    intensities = [*trail, *(point.intensity for point in points)]
    low, high = min([ridge / 16, *(x / 3 for x in intensities)]), max([ridge * 16, *(x * 3 for x in intensities)])
    line = sorted([ridge, *(low * (high / low) ** (step / 100) for step in range(101))])
    heights = [roof(intensity) for intensity in line]
    rates = [*heights, *(point.flops_per_s for point in points if point.flops_per_s)]
    axes.loglog(line, heights, color=color("capacity"), zorder=2)
    axes.set_xlim(low, high)
    axes.set_ylim(min(rates) / 3, max(rates) * 3.5)
    axes.fill_between(line, heights, min(rates) / 3, color=color("free"), zorder=0)
    axes.vlines(ridge, min(rates) / 3, roof(ridge), color=MUTED, linestyle=":", linewidth=1.2, zorder=1)
    axes.set_xlabel("intensity, FLOP per byte")
    axes.set_ylabel("FLOP/s")
    axes.grid(True, linewidth=0.6)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: si(value, "").rstrip()))
    axes.minorticks_off()


def _draw_names(axes: "Axes", ridge: float, peak_flops: float, bandwidth_bytes_per_s: float) -> None:
    bottom = axes.get_ylim()[0]
    corner: dict[str, Any] = {"textcoords": "offset points", "va": "top", "fontsize": 9, "color": INK}
    names = f"slope: bandwidth {si(bandwidth_bytes_per_s, 'B/s')}\nflat: peak {si(peak_flops, 'FLOP/s')}"
    axes.annotate(names, (0, 1), (6, -4), xycoords="axes fraction", **corner)  # always free: no roof is up there
    axes.text(ridge, bottom * 1.15, "← memory decides  ", ha="right", fontsize=9, color=MUTED)
    axes.text(ridge, bottom * 1.15, "  arithmetic decides →", ha="left", fontsize=9, color=MUTED)


def _write_legend(legend: "Axes", down: float, title: str, text: str) -> None:
    legend.text(0, 1 - down, title, weight="bold", va="top", transform=legend.transAxes)
    below: dict[str, Any] = {
        "textcoords": "offset points",
        "va": "top",
        "color": MUTED,
        "fontsize": 9,
        "linespacing": 1.35,
    }
    legend.annotate(text, (0, 1 - down), (15, -14), xycoords="axes fraction", **below)


def _draw_point(axes: "Axes", point: Point, limit: float, letter: str) -> None:
    measured = point.flops_per_s is not None
    y = limit if point.flops_per_s is None else point.flops_per_s
    axes.plot([point.intensity] * 2, [y, limit], color=color("measured"), linewidth=1.2, linestyle="--", zorder=3)
    axes.plot(
        point.intensity,
        y,
        "o",
        markersize=14,
        markerfacecolor=color("measured") if measured else PAPER,
        markeredgecolor=color("measured"),
        markeredgewidth=1.8,
        zorder=4,
        clip_on=False,
    )
    ink = "#FFFFFF" if measured else INK
    axes.text(
        point.intensity, y, letter, color=ink, weight="bold", fontsize=9, ha="center", va="center_baseline", zorder=5
    )

"""A router at work: capacity, arrival rate and policy, and an hour of traffic redrawn from a real simulation.

    from labkit.widgets.live_router import live_router

    live_router()                               # a synthetic trace of conversations
    live_router(trace, can_admit=can_admit)     # your own trace, and your own admission test among the policies

Every change of a control runs `labkit.serving.simulate` twice, with the policy that was chosen and with the peak test
beside it. Two thousand requests take a few hundredths of a second.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from labkit.router import FunctionPolicy, make_policy
from labkit.serving import (
    SimulationResult,
    Trace,
    TraceError,
    makespan_s,
    mean_use,
    occupancy,
    percentile,
    queue_length,
    simulate,
    synthetic_trace,
    ttft_s,
)
from labkit.widgets.controls import Choice, Real, Whole
from labkit.widgets.drawing import Drawing, LiveDrawing, Panel, Shape, Text, live_drawing
from labkit.widgets.palette import INK, MUTED, color, tint

NUM_REQUESTS = 2_000
NUM_COLUMNS = 240  # of the curves: more than a screen shows would only be slow
REFERENCE = "peak test, true lengths"
DECLARED = 1_000
OWN = "your can_admit"

# what a learner reads -> name of the policy, and the length that is declared for every output
POLICIES: dict[str, tuple[str, int | None]] = {
    REFERENCE: ("peak", None),
    "reserve everything": ("reserve", None),
    "fits now, evict later": ("fits-now", None),
    "lengths from the past": ("past-future", None),
    f"peak test, {DECLARED:,} declared": ("peak", DECLARED),
}

# The page, in CSS pixels.
WIDTH = 884
CHART_WIDTH = 500
LEFT = 56
POOL_HEIGHT = 150
QUEUE_HEIGHT = 110
TOP = 26
GAP = 40
TABLE = LEFT + CHART_WIDTH + 30  # where the table begins
ROW = 25


def live_router(
    trace: Trace | None = None,
    can_admit: Callable[..., Any] | None = None,
    capacity: int = 40_000,
    policy: str = "reserve everything",
    name: str = "live-router",
) -> LiveDrawing:
    """A panel with the controls capacity (tokens), arrival rate (requests per second) and policy.

    trace: its first 2,000 requests, with their gaps stretched to the rate; by default synthetic conversations.
    can_admit(running, candidate, capacity): the learner's own, asked at every step in which somebody waits.
    Raises TraceError for a trace in which no time passes, RequestError for a can_admit that cannot be called.
    """
    if can_admit is not None:
        FunctionPolicy(can_admit)  # says now, and not when it is chosen, that it is none
    base = (synthetic_trace("conv", NUM_REQUESTS) if trace is None else trace).first(NUM_REQUESTS)
    if base.span_s == 0:
        raise TraceError("the panel stretches the gaps between arrivals; this trace has none.")
    own_rate = (base.num_requests - 1) / base.span_s
    reference: dict[tuple[int, float], SimulationResult] = {}

    def run(capacity: int, rate: float, policy: str) -> SimulationResult:
        stretched = replace(base, arrival_ns=np.rint(base.arrival_ns * (own_rate / rate)).astype(np.int64))
        if policy == OWN:
            assert can_admit is not None
            return simulate(stretched, capacity, FunctionPolicy(can_admit))
        kind, declared = POLICIES[policy]
        return simulate(stretched, capacity, make_policy(kind, declared=declared))

    def make(capacity: int, rate: float, policy: str) -> Drawing:
        key = (capacity, rate)
        if key not in reference:
            reference.clear()  # only the latest: another policy at the same place
            reference[key] = run(capacity, rate, REFERENCE)
        result = reference[key] if policy == REFERENCE else run(capacity, rate, policy)
        return _panel(result, reference[key], policy, rate)

    return live_drawing(
        name,
        make,
        capacity=Whole(capacity, low=1_000, high=400_000, step=2_000, label="capacity (tokens)"),
        rate=Real(float(f"{own_rate:.2g}"), low=0.1, high=100, step=0.5, label="requests per second"),
        policy=Choice(policy, [*POLICIES, *([OWN] if can_admit else [])]),
    )


class Figures(NamedTuple):
    """What the table says of one simulation, as text."""

    done: str
    mean_ttft: str
    p99_ttft: str
    use: str
    evictions: str
    recomputed: str

    @classmethod
    def of(cls, result: SimulationResult) -> "Figures":
        waits = ttft_s(result)
        p99 = percentile(waits, 99)
        return cls(
            f"{makespan_s(result):,.0f} s",
            f"{waits.mean():,.1f} s" if len(waits) else "–",
            f"{p99:,.1f} s" if p99 is not None else "–",
            f"{mean_use(result):.0%}",
            f"{int(result.num_evictions.sum()):,}",
            f"{result.num_recomputed_tokens:,}",
        )


ROWS = Figures(
    "all done after",
    "first token, mean",
    "first token, 99 %",
    "pool full on average",
    "evictions",
    "tokens computed again",
)


def _panel(result: SimulationResult, reference: SimulationResult, policy: str, rate: float) -> Drawing:
    end_s = max(makespan_s(result), makespan_s(reference), 1e-9)
    queues = [_columns(*queue_length(each), end_s) for each in (result, reference)]
    longest = max(1.0, *(float(top.max()) for _, top in queues))
    seconds = (0.0, end_s)
    pool = Panel(LEFT, TOP, CHART_WIDTH, POOL_HEIGHT, x=seconds, y=(0, 1.1 * result.capacity))
    queue_top = TOP + POOL_HEIGHT + GAP + TOP
    queue = Panel(LEFT, queue_top, CHART_WIDTH, QUEUE_HEIGHT, x=seconds, y=(0, 1.1 * longest))
    times, low, high = _band(result, end_s)
    shapes = [
        *pool.frame("seconds", "tokens held, and the capacity"),
        pool.area([(0, 0), *zip(times, high, strict=True), (end_s, 0)], tint(color("model"), 0.45)),
        pool.area([(0, 0), *zip(times, low, strict=True), (end_s, 0)], color("model")),
        pool.level(result.capacity, color("capacity"), dashed=True),
        *queue.frame("seconds", "requests waiting (dashed: the peak test)"),
        *(queue.line(list(zip(times, top, strict=True)), ink, 1.8, dashed)
          for (_, top), ink, dashed in zip(queues[::-1], (MUTED, color("measured")), (True, False), strict=True)),
        *_table(Figures.of(result), Figures.of(reference), policy),
    ]  # fmt: skip
    return Drawing(
        "A router at work", WIDTH, queue_top + QUEUE_HEIGHT + 34, shapes, _sentence(result, reference, policy, rate)
    )


def _sentence(result: SimulationResult, reference: SimulationResult, policy: str, rate: float) -> str:
    ours, theirs = Figures.of(result), Figures.of(reference)
    said = (
        f"{result.num_requests:,} requests, {rate:g} per second, {result.capacity:,} tokens, {policy}: all done after "
        f"{ours.done}, first token after {ours.mean_ttft} on average, pool {ours.use} full, {ours.evictions} evictions."
    )
    if policy != REFERENCE:
        said += f" The peak test: {theirs.done}, {theirs.mean_ttft}, {theirs.use}."
    if result.num_refused:
        said += f" {result.num_refused:,} requests can never fit and are refused."
    return f"{said}\nTrace: {result.trace.credit}." if result.trace.credit else said


def _table(ours: Figures, theirs: Figures, policy: str) -> list[Shape]:
    """Three columns: the figure, of the policy that was chosen, of the peak test."""
    second, third = WIDTH - 78, WIDTH
    shapes: list[Shape] = [
        Text(second, TOP - 12, "chosen", "end", bold=True, color=color("measured")),
        Text(third, TOP - 12, "peak test", "end", bold=True, color=MUTED),
    ]
    for row, (name, our, their) in enumerate(zip(ROWS, ours, theirs, strict=True)):
        y = TOP + 14 + row * ROW
        shapes += [Text(TABLE, y, name), Text(second, y, our, "end"), Text(third, y, their, "end", color=MUTED)]
    return [*shapes, Text(TABLE, TOP + 24 + len(ROWS) * ROW, policy, bold=True, color=INK)]


def _band(result: SimulationResult, end_s: float) -> tuple[list[float], list[float], list[float]]:
    """Times, and the least and the most tokens held in each column of the chart."""
    times, tokens = occupancy(result)
    middles, high = _columns(times, tokens, end_s)
    _, low = _columns(times, -tokens, end_s)
    return middles.tolist(), (-low).tolist(), high.tolist()


def _columns(
    times_s: NDArray[np.float64], values: NDArray[np.int64], end_s: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The middle of each column, and the largest value in it: of its points, and of the one that it begins with."""
    edges = np.linspace(0, end_s, NUM_COLUMNS + 1)
    top = np.zeros(NUM_COLUMNS)
    if len(times_s):
        first = np.searchsorted(times_s, edges[:-1])
        begins_with = np.where(first > 0, values[np.maximum(first - 1, 0)], 0)
        padded = np.append(values, values[-1])  # reduceat wants an index inside
        inside = np.maximum.reduceat(padded, np.minimum(first, len(values)))
        is_empty = first >= np.append(first[1:], len(values))
        top = np.where(is_empty, begins_with, np.maximum(inside, begins_with)).astype(np.float64)
    return (edges[:-1] + edges[1:]) / 2, top

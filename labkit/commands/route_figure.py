"""A simulation over time in three panels: the pool, the queue, how long each request waited."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from labkit.serving import (
    SimulationResult,
    makespan_s,
    mean_use,
    occupancy,
    queue_length,
    ttft_s,
)
from labkit.widgets.palette import MUTED, color, new_figure, style, tint

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@style()
def hour_figure(result: SimulationResult) -> Figure:
    """The figure of `labkit route --plot`; its last line says what is shown and whose trace it is."""
    figure = new_figure(width=8.0, height=6.4)
    pool, queue, waiting = figure.subplots(3, sharex=True)
    minutes = 1 / 60

    times_s, tokens = occupancy(result)
    pool.fill_between(times_s * minutes, tokens, color=tint(color("model"), 0.5), linewidth=0)
    pool.axhline(result.capacity, color=color("capacity"), linewidth=1)
    pool.set(title="Pool: the line is its capacity", ylabel="tokens held", ylim=(0, result.capacity * 1.08))
    pool.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")

    times_s, num_waiting = queue_length(result)
    queue.step(times_s * minutes, num_waiting, where="post", color=color("model"), linewidth=1)
    queue.set(title="Queue", ylabel="requests waiting", ylim=(0, None))

    arrivals_s = result.trace.arrival_ns[result.served] / 1e9
    waiting.plot(arrivals_s * minutes, ttft_s(result), ".", color=color("measured"), markersize=2)
    waiting.set(title="Time to first token of each request, by its arrival", ylabel="TTFT (s)", ylim=(0, None))
    waiting.set_xlabel("simulated time (minutes)")
    figure.supxlabel(_wrapped(caption(result)), fontsize=9, color=MUTED, x=0.02, ha="left")
    return figure


def caption(result: SimulationResult) -> str:
    """What the figure shows, in a sentence or two, with the source and licence of a published trace."""
    first_tokens_s, (_, num_waiting) = ttft_s(result), queue_length(result)
    plural = "" if result.num_requests == 1 else "s"
    said = (
        f"{result.num_requests:,} request{plural} of {result.trace.name} on a pool of {result.capacity:,} tokens, "
        f"policy {result.policy} ({result.lengths}): done after {makespan_s(result):,.0f} s, "
        f"pool {mean_use(result):.0%} full on average"
    )
    if len(first_tokens_s):
        said += f", at most {num_waiting.max():,} waiting, first token after {first_tokens_s.max():,.1f} s at most"
    said += ". Simulated with a linear cost model."
    return f"{said} Trace: {result.trace.credit}." if result.trace.credit else said


def _wrapped(text: str) -> str:
    return "\n".join(textwrap.wrap(text, 120))

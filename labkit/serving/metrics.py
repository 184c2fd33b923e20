"""What a simulation was worth, each figure with its definition. Arrays leave out refused requests.

ttft_s(result).mean(), percentile(latency_s(result), 99), goodput_per_s(result, Slo(ttft_s=1.0))
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labkit.router import RequestError
from labkit.serving.result import SimulationResult

Seconds = NDArray[np.float64]

PERCENTILES = (50, 90, 99)


@dataclass(frozen=True)
class Slo:
    """A service level objective: a request is good if it meets both, in seconds; inf asks for nothing."""

    ttft_s: float = inf
    tpot_s: float = inf

    def __post_init__(self) -> None:
        for name, value in (("ttft_s", self.ttft_s), ("tpot_s", self.tpot_s)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise RequestError(f"{name} of an objective is {value!r}; expected seconds above 0.")


def waiting_s(result: SimulationResult) -> Seconds:
    """Seconds from arrival to the start of the first prefill, one per served request, by arrival."""
    return _seconds(result, result.start_ns - result.trace.arrival_ns)


def ttft_s(result: SimulationResult) -> Seconds:
    """Time to first token: seconds from arrival to the end of the first prefill, one per served request, by arrival."""
    return _seconds(result, result.first_token_ns - result.trace.arrival_ns)


def latency_s(result: SimulationResult) -> Seconds:
    """Seconds from arrival to the last token, one per served request, by arrival."""
    return _seconds(result, result.finish_ns - result.trace.arrival_ns)


def tpot_s(result: SimulationResult) -> Seconds:
    """Time per output token: (last - first token) / (outputs - 1), for each served request with two tokens or more.

    Prefills of others and waiting after an eviction are in it: they are what a reader notices as a stall.
    """
    several = result.served & (result.trace.output_tokens > 1)
    num_gaps = result.trace.output_tokens[several] - 1
    seconds: Seconds = (result.finish_ns - result.first_token_ns)[several] / 1e9 / num_gaps
    return seconds


def percentile(values: ArrayLike, percent: float) -> float | None:
    """The smallest value that `percent` % of the values do not exceed (no interpolation); None of no values.

    >>> percentile([3.0, 1.0, 2.0], 50)
    2.0
    """
    if isinstance(percent, bool) or not isinstance(percent, int | float) or not 0 <= percent <= 100:
        raise RequestError(f"percent is {percent!r}; expected a number from 0 to 100.")
    values = np.asarray(values, np.float64)
    return float(np.percentile(values, percent, method="inverted_cdf")) if values.size else None


def summary(values: ArrayLike) -> dict[str, float | None]:
    """Mean, percentiles and maximum by name ("mean", "p50", "p90", "p99", "max"); None of no values."""
    values = np.asarray(values, np.float64)
    percentiles = {f"p{percent}": percentile(values, percent) for percent in PERCENTILES}
    if not values.size:
        return {"mean": None, **percentiles, "max": None}
    return {"mean": float(values.mean()), **percentiles, "max": float(values.max())}


def makespan_s(result: SimulationResult) -> float:
    """Seconds from the first arrival to the last token of all."""
    return result.makespan_ns / 1e9


def throughput_per_s(result: SimulationResult) -> float:
    """Output tokens of served requests per second of the makespan; an evicted request's tokens count once."""
    return _per_second(result, int(result.trace.output_tokens[result.served].sum()))


def goodput_per_s(result: SimulationResult, slo: Slo) -> float:
    """Served requests per second of the makespan that meet the objective. One output token has no time per token."""
    return _per_second(result, int(good(result, slo).sum()))


def good(result: SimulationResult, slo: Slo) -> NDArray[np.bool_]:
    """Which requests of the trace meet the objective; refused ones do not."""
    met = result.served & (result.first_token_ns - result.trace.arrival_ns <= slo.ttft_s * 1e9)
    num_gaps = np.maximum(result.trace.output_tokens - 1, 1)
    per_token_ns = (result.finish_ns - result.first_token_ns) / num_gaps
    answer: NDArray[np.bool_] = met & (per_token_ns <= slo.tpot_s * 1e9)
    return answer


def mean_use(result: SimulationResult) -> float:
    """Share of the pool that holds tokens, averaged over the time of the makespan; idle time counts as empty.

    During a decode step the slots of the tokens that it appends count as held, during a prefill those of its prompts.
    """
    line, cost = result.timeline, result.cost
    if not result.makespan_ns:
        return 0.0
    steps, running = line.num_steps.astype(np.float64), line.num_running.astype(np.float64)
    growth_ns = cost.decode_per_token_ns * running
    # Step j = 0 … n-1 of a stretch holds h + B*j and takes d + g*j, with h = S + B and d the first step's time.
    held, first_ns = line.num_tokens + running, (line.end_ns - line.start_ns) - growth_ns * steps * (steps - 1) / 2
    first_ns = np.divide(first_ns, steps, out=np.zeros(len(steps)), where=steps > 0)
    sum_j, sum_jj = steps * (steps - 1) / 2, (steps - 1) * steps * (2 * steps - 1) / 6
    decode = held * first_ns * steps + (held * growth_ns + running * first_ns) * sum_j + running * growth_ns * sum_jj
    prefill = (line.num_tokens * (line.end_ns - line.start_ns))[line.num_steps == 0]
    return float((decode.sum() + prefill.sum()) / result.capacity / result.makespan_ns)


def occupancy(result: SimulationResult) -> tuple[Seconds, NDArray[np.int64]]:
    """A polyline (time in s, tokens held), twice as many points as stretches, to plot against the capacity."""
    line = result.timeline
    times = np.column_stack([line.start_ns, line.end_ns]).ravel() / 1e9
    return times, np.column_stack([line.num_tokens, line.tokens_at_end]).ravel()


def queue_length(result: SimulationResult) -> tuple[Seconds, NDArray[np.int64]]:
    """(time in s, requests waiting from then on) at each arrival and each start; for a plot with steps.

    Those that wait again after an eviction are not counted.
    """
    arrivals, starts = result.trace.arrival_ns[result.served], result.start_ns[result.served]
    times = np.concatenate([arrivals, starts])
    change = np.repeat([1, -1], [len(arrivals), len(starts)])
    order = np.argsort(times, kind="stable")  # at one instant, arrivals first
    return times[order] / 1e9, np.cumsum(change[order])


def _seconds(result: SimulationResult, times_ns: NDArray[np.int64]) -> Seconds:
    seconds: Seconds = times_ns[result.served] / 1e9
    return seconds


def _per_second(result: SimulationResult, count: int) -> float:
    return count / makespan_s(result) if result.makespan_ns else 0.0

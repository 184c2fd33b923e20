"""Synthetic traces with the lengths and rates of the Azure traces of 2023, for when there is no file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import log

import numpy as np
from numpy.typing import NDArray

from labkit.router._arguments import RequestError, whole
from labkit.serving.traces import Trace

_PROBABILITIES = np.array([0.0, 0.5, 0.9, 0.99, 1.0])
_MOST_REQUESTS = 10_000_000


@dataclass(frozen=True)
class LengthStatistics:
    """What is known of a distribution of lengths, in tokens: its quantiles 0, 0.5, 0.9, 0.99, 1 and its mean."""

    quantiles: tuple[int, int, int, int, int]
    mean: float


@dataclass(frozen=True)
class Workload:
    """Statistics of one trace: mean arrivals per second, lengths of prompts and of outputs."""

    rate_per_s: float
    prompt: LengthStatistics
    output: LengthStatistics


# Of Azure/AzurePublicDataset, AzureLLMInferenceTrace_conv.csv and _code.csv (Patel et al., ISCA 2024; CC-BY-4.0)
WORKLOADS = {
    "conv": Workload(
        5.53,
        prompt=LengthStatistics((2, 1020, 2735, 4142, 14050), mean=1154.7),
        output=LengthStatistics((7, 129, 424, 601, 1000), mean=211.1),
    ),
    "code": Workload(
        2.57,
        prompt=LengthStatistics((3, 1469, 5188, 7436, 7437), mean=2047.8),
        output=LengthStatistics((6, 13, 55, 251, 1899), mean=27.9),
    ),
}


def synthetic_trace(
    workload: str = "conv",
    num_requests: int = 1000,
    seed: int = 0,
    *,
    rate_per_s: float | None = None,
    burstiness: float = 1.0,
) -> Trace:
    """A trace drawn from the statistics of `workload` ("conv" or "code"); the same arguments, the same trace.

    rate_per_s: mean arrivals per second (default: that of the workload).
    burstiness: standard deviation of the gaps over their mean; 1 is a Poisson process, 0 a steady beat.

    Prompt, output and gap are drawn independently: that long prompts have short answers, and that arrivals come and
    go with the hour, is not in it. Raises RequestError for anything out of range.
    """
    if workload not in WORKLOADS:
        raise RequestError(f"there is no workload {workload!r}; there are {', '.join(WORKLOADS)}.")
    statistics = WORKLOADS[workload]
    n = whole(num_requests, "num_requests", at_most=_MOST_REQUESTS)
    rate = _number(statistics.rate_per_s if rate_per_s is None else rate_per_s, "rate_per_s", 1e-3, 1e9)
    burstiness = _number(burstiness, "burstiness", 0, 100)
    rng = np.random.default_rng(whole(seed, "seed"))
    prompt = _draw(rng, statistics.prompt, n)
    output = _draw(rng, statistics.output, n)
    # Drawn last and at mean 1, so that another rate stretches the same arrivals and changes no length.
    gaps_s = _gaps(rng, burstiness, n) / rate
    arrival_ns = np.rint((np.cumsum(gaps_s) - gaps_s[:1]) * 1e9).astype(np.int64)
    return Trace(arrival_ns, prompt, output, f"synthetic {workload}, seed {seed}")


def _number(value: float, name: str, low: float, high: float) -> float:
    if not isinstance(value, int | float) or not low <= value <= high:
        raise RequestError(f"{name} is {value!r}; expected a number from {low:g} to {high:g}.")
    return float(value)


def _gaps(rng: np.random.Generator, burstiness: float, n: int) -> NDArray[np.float64]:
    """Gamma distributed times of mean 1 and standard deviation `burstiness`."""
    if not burstiness:
        return np.ones(n)
    shape = burstiness**-2
    return rng.gamma(shape, 1 / shape, n)


def _draw(rng: np.random.Generator, statistics: LengthStatistics, n: int) -> NDArray[np.int64]:
    bend = _bend(statistics)
    return np.rint(_lengths_at(rng.random(n), statistics, bend)).astype(np.int64)


def _lengths_at(probabilities: NDArray[np.float64], statistics: LengthStatistics, bend: float) -> NDArray[np.float64]:
    """The inverse of the distribution: geometric between two known quantiles, and bent to meet the mean."""
    known = np.log(statistics.quantiles)
    place = np.clip(np.searchsorted(_PROBABILITIES, probabilities, side="right") - 1, 0, len(known) - 2)
    low, high = _PROBABILITIES[place], _PROBABILITIES[place + 1]
    share = ((probabilities - low) / (high - low)) ** bend
    lengths: NDArray[np.float64] = np.exp(known[place] + share * (known[place + 1] - known[place]))
    return lengths


@lru_cache
def _bend(statistics: LengthStatistics) -> float:
    """The exponent for which the mean comes out; a larger one bends every part towards its lower end."""
    probabilities = (np.arange(20_000) + 0.5) / 20_000
    low, high = log(1 / 50), log(50)
    for _ in range(40):
        middle = (low + high) / 2
        if _lengths_at(probabilities, statistics, float(np.exp(middle))).mean() > statistics.mean:
            low = middle
        else:
            high = middle
    return float(np.exp((low + high) / 2))

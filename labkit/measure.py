"""Honest timing: warm-up, enough calls per sample to beat the clock, the median, and the spread beside it.

    >>> print(time_call(lambda: sum(range(100_000))))                   # doctest: +SKIP
    median 1.213 ms, 1.187 to 1.402 ms, spread 18%, 7 samples of 1 call

Two things that are to be compared belong in one `compare`, which takes their samples in turns: a machine
that slows down half-way (heat, a neighbour) then slows all of them down, and the ratio stays right where both
times are wrong.
"""

import gc
import math
import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter_ns

from labkit.quantities import counted

# A shorter sample would say more about the clock (tens of nanoseconds a reading) than about the call.
MIN_SAMPLE_MS = 1.0

Call = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """Milliseconds per call, one entry per sample in the order taken.

    A sample is the mean over `calls_per_sample` calls.
    """

    samples_ms: tuple[float, ...]
    calls_per_sample: int = 1

    def __post_init__(self) -> None:
        if not self.samples_ms:
            raise ValueError("a Timing needs at least one sample; samples_ms is empty")

    @property
    def median_ms(self) -> float:
        """The middle sample: one disturbed sample does not move it, as it would move the mean."""
        return statistics.median(self.samples_ms)

    @property
    def min_ms(self) -> float:
        return min(self.samples_ms)

    @property
    def max_ms(self) -> float:
        return max(self.samples_ms)

    @property
    def spread(self) -> float:
        """(max - min) / median. Between two timings, a difference smaller than their spread is noise."""
        return (self.max_ms - self.min_ms) / self.median_ms if self.median_ms else 0.0

    def __str__(self) -> str:
        unit, per_ms = _unit(self.median_ms)
        decimals = 3 if self.median_ms * per_ms < 10 else 1
        median, low, high = (f"{ms * per_ms:,.{decimals}f}" for ms in (self.median_ms, self.min_ms, self.max_ms))
        samples = f"{counted(len(self.samples_ms), 'sample')} of {counted(self.calls_per_sample, 'call')}"
        return f"median {median} {unit}, {low} to {high} {unit}, spread {self.spread:.0%}, {samples}"


@dataclass(frozen=True)
class Comparison:
    """Timings of several calls, their samples taken in turns; the first is the baseline of the others."""

    timings: Mapping[str, Timing]

    @property
    def baseline(self) -> str:
        """Name of the call whose ratio is 1."""
        return next(iter(self.timings))

    @property
    def ratios(self) -> dict[str, float]:
        """Time of each call over the baseline's: above 1 is slower.

        It is the median of the ratios within each round, so what slowed down a whole round cancels.
        """
        base = self.timings[self.baseline].samples_ms
        return {name: _median_ratio(timing.samples_ms, base) for name, timing in self.timings.items()}

    def __getitem__(self, name: str) -> Timing:
        return self.timings[name]

    def __str__(self) -> str:
        width = max(map(len, self.timings))
        ratios = self.ratios
        return "\n".join(f"{name:<{width}}  {ratios[name]:7.2f} x  {t}" for name, t in self.timings.items())


def time_call(
    call: Call,
    *,
    repeats: int = 7,
    warmup: int = 2,
    synchronize: Call | None = None,
    min_sample_ms: float = MIN_SAMPLE_MS,
) -> Timing:
    """How long `call()` takes, in milliseconds: `repeats` samples after `warmup` calls that are thrown away.

    A short call is made often enough per sample that the sample lasts `min_sample_ms` (finding out how often
    makes at least one more call). Work that runs elsewhere needs `synchronize`, which waits until it is done:
    on CUDA, `time_call(step, synchronize=torch.cuda.synchronize)`; without it only the launch is timed.
    """
    return compare(
        {"call": call}, repeats=repeats, warmup=warmup, synchronize=synchronize, min_sample_ms=min_sample_ms
    )["call"]


def compare(
    calls: Mapping[str, Call],
    *,
    repeats: int = 7,
    warmup: int = 2,
    synchronize: Call | None = None,
    min_sample_ms: float = MIN_SAMPLE_MS,
) -> Comparison:
    """Time several calls in turns, A B A B …, so that drift hits all alike; ratios are relative to the first.

    >>> print(compare({"numpy": a, "mine": b}))                      # doctest: +SKIP
    numpy     1.00 x  median 2.013 ms, 1.990 to 2.104 ms, spread 6%, 7 samples of 1 call
    mine      1.52 x  median 3.061 ms, 3.002 to 3.183 ms, spread 6%, 7 samples of 1 call
    """
    if not calls:
        raise ValueError("nothing to time: pass at least one call, like compare({'numpy': f, 'mine': g})")
    if repeats < 1 or warmup < 0:
        raise ValueError(f"expected repeats >= 1 and warmup >= 0, got repeats={repeats} and warmup={warmup}")
    wait = synchronize or _nothing_to_wait_for
    with _garbage_collection_paused():
        num_calls = {name: _warm_up(call, warmup, wait, min_sample_ms) for name, call in calls.items()}
        rounds = [
            {name: _sample_ms(call, num_calls[name], wait) for name, call in calls.items()} for _ in range(repeats)
        ]
    return Comparison({name: Timing(tuple(taken[name] for taken in rounds), num_calls[name]) for name in calls})


def _sample_ms(call: Call, num_calls: int, wait: Call) -> float:
    """Mean milliseconds per call over `num_calls` calls, whatever they started included."""
    wait()  # what was started before the sample is not part of it
    start_ns = perf_counter_ns()
    for _ in range(num_calls):
        call()
    wait()
    return (perf_counter_ns() - start_ns) / num_calls / 1e6


def _warm_up(call: Call, warmup: int, wait: Call, min_sample_ms: float) -> int:
    """Call it `warmup` times, then find how many calls a sample needs."""
    for _ in range(warmup):
        call()
    num_calls = 1
    while (sample_ms := _sample_ms(call, num_calls, wait) * num_calls) < min_sample_ms:
        # At most tenfold a step: the first, tiny sample is mostly the cost of reading the clock.
        wanted = math.ceil(num_calls * min_sample_ms / sample_ms) if sample_ms else math.inf
        num_calls = int(min(max(wanted, num_calls + 1), num_calls * 10))
    return num_calls


@contextmanager
def _garbage_collection_paused() -> Iterator[None]:
    """As in `timeit`: a collection that happens to fall into one sample is not the call's doing."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _nothing_to_wait_for() -> None:
    pass


def _median_ratio(samples: tuple[float, ...], base: tuple[float, ...]) -> float:
    return statistics.median(own / other if other else math.inf for own, other in zip(samples, base, strict=True))


def _unit(ms: float) -> tuple[str, float]:
    """The unit that suits `ms`, and how many of it a millisecond has."""
    for unit, per_ms in (("s", 1e-3), ("ms", 1.0), ("µs", 1e3)):
        if ms * per_ms >= 1:
            return unit, per_ms
    return "ns", 1e6

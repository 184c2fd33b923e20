"""measure: timed on a clock that only the timed calls move, so nothing here depends on the machine."""

import gc
import time

import pytest

from labkit import measure
from labkit.measure import Comparison, Timing, compare, time_call


class FakeClock:
    """Nanoseconds that pass only when a call says so."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns

    def costing(self, *costs_ms: float):
        """A call that takes `costs_ms` one after the other, then always the last; it counts its calls."""

        def call() -> None:
            self.now_ns += round(costs_ms[min(call.count, len(costs_ms) - 1)] * 1e6)
            call.count += 1

        call.count = 0
        return call


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()
    monkeypatch.setattr(measure, "perf_counter_ns", clock)
    return clock


def test_warm_up_calls_are_not_in_the_samples(clock: FakeClock) -> None:
    timing = time_call(clock.costing(100, 50, 3), repeats=5, warmup=2)
    assert timing.samples_ms == (3.0,) * 5


def test_one_disturbed_sample_moves_the_spread_and_not_the_median(clock: FakeClock) -> None:
    # the call after the two warm-ups finds the number of calls per sample
    timing = time_call(clock.costing(2, 2, 2, 2, 2, 9, 2, 2), repeats=5, warmup=2)
    assert timing.median_ms == 2.0
    assert (timing.min_ms, timing.max_ms) == (2.0, 9.0)
    assert timing.spread == pytest.approx((9 - 2) / 2)


def test_a_short_call_is_made_often_enough_for_the_clock(clock: FakeClock) -> None:
    timing = time_call(clock.costing(0.0001), min_sample_ms=1.0)  # 100 ns
    assert 10_000 <= timing.calls_per_sample < 20_000
    assert timing.median_ms == pytest.approx(0.0001)


def test_a_long_call_is_made_once_a_sample(clock: FakeClock) -> None:
    call = clock.costing(5000)
    timing = time_call(call, repeats=3, warmup=1)
    assert timing.calls_per_sample == 1
    assert call.count == 1 + 1 + 3  # warm-up, finding the number, samples


def test_a_call_that_the_clock_cannot_see_ends(clock: FakeClock) -> None:
    calls = 0

    def every_thousandth_call_ticks() -> None:
        nonlocal calls
        calls += 1
        clock.now_ns += 1_000_000 * (calls % 1000 == 0)

    assert time_call(every_thousandth_call_ticks, repeats=1).calls_per_sample >= 1000


def test_samples_are_taken_in_turns(clock: FakeClock) -> None:
    order: list[str] = []
    costs = {"a": clock.costing(1), "b": clock.costing(1)}
    calls = {name: lambda name=name: (order.append(name), costs[name]()) for name in costs}
    compare(calls, repeats=3, warmup=0)
    assert order[2:] == ["a", "b"] * 3  # after one call each that finds the number of calls per sample


def test_drift_hits_all_alike_so_the_ratio_is_exact(clock: FakeClock) -> None:
    slowing = [1.0, 1.0, 1.0, 2.0, 4.0, 8.0, 16.0]
    once, thrice = clock.costing(*slowing), clock.costing(*(3 * cost for cost in slowing))
    comparison = compare({"once": once, "thrice": thrice}, repeats=5, warmup=1)
    assert comparison["once"].spread > 1
    assert comparison.ratios == {"once": 1.0, "thrice": pytest.approx(3.0)}


def test_the_first_call_is_the_baseline(clock: FakeClock) -> None:
    comparison = compare({"mine": clock.costing(4), "theirs": clock.costing(2)})
    assert comparison.baseline == "mine"
    assert comparison.ratios == {"mine": 1.0, "theirs": 0.5}


def test_synchronize_is_waited_for_before_each_sample_and_in_it(clock: FakeClock) -> None:
    pending_ms = [50.0]  # something else is still running when the timing begins

    def synchronize() -> None:
        clock.now_ns += round(sum(pending_ms) * 1e6)
        pending_ms.clear()

    timing = time_call(lambda: pending_ms.append(0.25), repeats=3, warmup=1, synchronize=synchronize)
    assert timing.samples_ms == (0.25,) * 3
    assert timing.calls_per_sample == 4  # for a sample of 1 ms: what was pending did not pass for the call's time


def test_collection_is_paused_and_comes_back_even_after_an_error() -> None:
    seen = []
    time_call(lambda: seen.append(gc.isenabled()), repeats=1, min_sample_ms=0)
    assert not any(seen)
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        time_call(lambda: 1 / 0)
    assert gc.isenabled()


def test_the_real_clock_sees_a_sleep() -> None:
    timing = time_call(lambda: time.sleep(0.003), repeats=3, warmup=0)
    assert timing.min_ms >= 2.9


@pytest.mark.parametrize(
    ("timing", "text"),
    [
        (
            Timing((1.25, 1.2, 1.4)),
            "median 1.250 ms, 1.200 to 1.400 ms, spread 16%, 3 samples of 1 call",
        ),
        (
            Timing((0.0000345,), calls_per_sample=29_000),
            "median 34.5 ns, 34.5 to 34.5 ns, spread 0%, 1 sample of 29,000 calls",
        ),
        (Timing((2500.0, 2500.0)), "median 2.500 s, 2.500 to 2.500 s, spread 0%, 2 samples of 1 call"),
    ],
)
def test_a_timing_reads_as_a_sentence(timing: Timing, text: str) -> None:
    assert str(timing) == text


def test_a_comparison_is_a_line_a_call_with_its_ratio() -> None:
    lines = str(Comparison({"numpy": Timing((2.0,)), "blocked": Timing((7.0,))})).splitlines()
    assert lines[0].startswith("numpy       1.00 x  median 2.000 ms")
    assert lines[1].startswith("blocked     3.50 x  median 7.000 ms")


def test_what_cannot_be_timed_is_said() -> None:
    with pytest.raises(ValueError, match="pass at least one call"):
        compare({})
    with pytest.raises(ValueError, match="repeats=0"):
        time_call(int, repeats=0)
    with pytest.raises(ValueError, match="warmup=-1"):
        time_call(int, warmup=-1)
    with pytest.raises(ValueError, match="at least one sample"):
        Timing(())

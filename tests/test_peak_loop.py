"""The compiled loop against the one in Python, which tests/test_serving.py holds against the step reference.

Guards: every time, every stretch and every count is the same integer; what the compiled loop cannot say in 64 bits is
played by the other; it is as fast as the course says.
"""

from __future__ import annotations

import importlib
import random
import subprocess
import sys
import time
from dataclasses import fields

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_serving import azure, needs_azure, random_case

from labkit.router import DeclaredLengths, FitsNow, PeakTest
from labkit.serving import (
    COMPILED_FROM,
    BatchLimits,
    LinearCost,
    load_compiled,
    make_trace,
    peak_loop,
    simulate,
    sweep,
    synthetic_trace,
)
from labkit.serving.peak_loop import _steps_to_cover, serves
from labkit.serving.result import SimulationResult, Timeline

NUM_WORKLOADS = 400
ANY = LinearCost(), BatchLimits()


def assert_same(trace, capacity, cost=ANY[0], limits=ANY[1]):
    assert serves(PeakTest(), trace, cost, limits)
    compiled, python = (
        simulate(trace, capacity, cost=cost, limits=limits, compiled=compiled) for compiled in (True, False)
    )
    for field in fields(SimulationResult):
        ours, theirs = getattr(compiled, field.name), getattr(python, field.name)
        if isinstance(ours, Timeline):
            for part in fields(Timeline):
                assert getattr(ours, part.name).tolist() == getattr(theirs, part.name).tolist(), part.name
        elif isinstance(ours, np.ndarray):
            assert ours.tolist() == theirs.tolist(), field.name
            assert ours.dtype == theirs.dtype
        else:
            assert ours == theirs, field.name
    return compiled


def test_random_workloads_are_the_same(record_property):
    rng = random.Random("compiled")
    num_refused = num_tests = num_admitted = 0
    for _ in range(NUM_WORKLOADS):
        trace, capacity, cost, limits, _ = random_case(rng)
        result = assert_same(trace, capacity, cost, limits)
        num_refused += result.num_refused
        num_tests += result.num_tests
        num_admitted += int(result.served.sum())
    assert num_refused > 0
    assert num_tests > num_admitted  # some were refused for a while, which is what the peak test is about
    record_property("tried: random workloads", NUM_WORKLOADS)


@pytest.mark.parametrize("rate_per_s", [0.5, 5.53, 99])
@pytest.mark.parametrize("capacity", [9_000, 20_000, 60_000, 400_000])
def test_real_lengths_are_the_same(rate_per_s, capacity):
    """Pools from one request to more than everybody, a queue that is long and one that is empty."""
    assert_same(synthetic_trace("conv", 300, seed=capacity, rate_per_s=rate_per_s), capacity)


@needs_azure
@pytest.mark.parametrize("name", ["conv", "code"])
@pytest.mark.parametrize("capacity", [14_088, 40_000, 120_000])
def test_azure_is_the_same(name, capacity):
    assert_same(azure(name), capacity)


def test_no_requests_and_nobody_who_fits():
    for rows in ([], [(5, 9, 9)], [(5, 1, 1)], [(5, 9, 9), (6, 1, 1), (6, 9, 9)]):
        assert_same(make_trace(rows), 3)


def test_the_timeline_grows_as_long_as_it_must():
    """A round admits one prompt at most, and each waits for that: more stretches than were foreseen."""
    limits = BatchLimits(max_prefill_tokens=1)
    result = assert_same(make_trace([(i, 1, 400) for i in range(0, 3000, 3)]), 10**6, LinearCost(1, 0, 0, 0, 0), limits)
    assert len(result.timeline.start_ns) > 64 + 2 * result.num_requests


@given(st.integers(1, 10**9), st.integers(0, 10**6), st.integers(1, 10**13))
def test_steps_to_cover_is_that_of_the_cost(first_ns, growth_ns, gap_ns):
    # one request and no token: a step takes the base, and each adds what the growth says
    expected = LinearCost(first_ns, 0, growth_ns).steps_to_cover(1, 0, gap_ns)
    assert _steps_to_cover(first_ns, growth_ns, gap_ns) == expected


def test_what_could_overflow_is_left_to_python():
    slow = LinearCost(decode_base_ns=10**12)
    assert not serves(PeakTest(), make_trace([(0, 1, 10_000_000)]), *ANY)
    assert not serves(PeakTest(), make_trace([(2**60, 1, 1)]), *ANY)
    assert not serves(PeakTest(), make_trace([(0, 1, 900_000)] * 2), slow, BatchLimits())
    assert serves(PeakTest(), make_trace([(0, 1, 900)]), slow, BatchLimits())
    late = make_trace([(2**60, 5, 5)])
    assert (
        simulate(late, 100, compiled=True).finish_ns.tolist() == simulate(late, 100, compiled=False).finish_ns.tolist()
    )


def test_other_policies_are_left_to_python():
    trace = make_trace([(0, 5, 5)])
    for policy in (PeakTest(DeclaredLengths(9)), PeakTest(headroom=0.1), FitsNow()):
        assert not serves(policy, trace, *ANY)
        assert simulate(trace, 100, policy, compiled=True).served.all()


def test_long_traces_take_it_and_short_ones_do_not_wait_for_it():
    code = (
        "import sys; from labkit.serving import simulate, synthetic_trace as trace;"
        f"simulate(trace('conv', {COMPILED_FROM - 1}), 40_000); print('numba' in sys.modules);"
        f"simulate(trace('conv', {COMPILED_FROM}), 40_000); print('numba' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["False", "True"]


def test_where_nothing_can_be_kept_it_is_compiled_anew(monkeypatch):
    """A read-only installation and no home: Numba finds no place for its cache, and refuses."""

    def njit(function=None, cache=False):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return function

    with monkeypatch.context() as patched:
        patched.setattr(numba, "njit", njit)
        importlib.reload(peak_loop)
        assert peak_loop._decode_ns(10, 2, 3) == 36
    importlib.reload(peak_loop)


def test_a_bar_is_told_that_all_are_done():
    told = []
    simulate(make_trace([(0, 5, 5)] * 50 + [(0, 500, 1)]), 100, progress=told.append, compiled=True)
    assert told == [51]


def test_a_large_sweep_is_single_simulations_in_the_order_asked_for():
    capacities = [30_000, 9_000, *range(20_000, 29_600, 200)]
    rows = sweep(capacities, [3, 0], num_requests=2000, num_processes=2)
    assert [(row.seed, row.capacity) for row in rows] == [(seed, c) for seed in (3, 0) for c in capacities]
    for row in rows[::17]:
        alone = simulate(synthetic_trace("conv", 2000, seed=row.seed), row.capacity, compiled=False)
        assert row.makespan_s == alone.makespan_ns / 1e9
        assert row.max_tokens_used == alone.max_tokens_used


def test_a_seed_deals_the_lengths_of_a_given_trace_out_anew():
    trace = synthetic_trace("conv", 50, seed=1, rate_per_s=20)
    first, second, again = sweep([12_000], [0, 1, 1], trace=trace, num_processes=1)
    assert first.makespan_s == simulate(trace, 12_000).makespan_ns / 1e9
    assert first.makespan_s != second.makespan_s
    assert second == again


def test_an_hour_of_traffic_while_a_slider_moves():
    """150,000 requests a second on one core, by a wide margin, so that a busy machine does not matter."""
    load_compiled()
    trace, times_s = synthetic_trace("conv", 20_000), []
    for _ in range(5):
        start = time.process_time()
        simulate(trace, 40_000)
        times_s.append(time.process_time() - start)
    assert trace.num_requests / min(times_s) > 150_000

"""Simulations side by side against the same one by one.

Guards: every time to first token, and every total, is the same integer as `simulate` gives, which tests/test_serving.py
holds against the step reference. So a sweep says the same on either way.
"""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_serving import azure, needs_azure, random_case

from labkit.serving import BatchLimits, LinearCost, make_trace, mean_use, simulate, sweep, synthetic_trace
from labkit.serving.lockstep import _steps_to_cover, fits_in_tables, simulate_side_by_side

NUM_ROUNDS, NUM_LANES = 20, 20


def assert_same(traces, capacities, cost, limits):
    assert fits_in_tables(traces, capacities, cost, limits)
    outcomes = simulate_side_by_side(traces, capacities, cost, limits)
    for trace, capacity, outcome in zip(traces, capacities, outcomes, strict=True):
        alone = simulate(trace, capacity, cost=cost, limits=limits)
        expected = (alone.first_token_ns - trace.arrival_ns)[alone.served]
        assert outcome.ttft_ns.tolist() == expected.tolist()
        assert outcome.makespan_ns == alone.makespan_ns
        assert outcome.max_tokens_used == alone.max_tokens_used
        assert outcome.num_refused == alone.num_refused
        assert outcome.mean_use == pytest.approx(mean_use(alone), rel=1e-9)


def test_random_workloads_are_the_same_side_by_side(record_property):
    rng = random.Random("side by side")
    num_refused = 0
    for _ in range(NUM_ROUNDS):
        cases = [random_case(rng) for _ in range(NUM_LANES)]
        traces, capacities = [case[0] for case in cases], [case[1] for case in cases]
        assert_same(traces, capacities, cases[0][2], cases[0][3])
        num_refused += sum(
            int((trace.prompt_tokens + trace.output_tokens > capacity + 1).sum())
            for trace, capacity in zip(traces, capacities, strict=True)
        )
    assert num_refused > 0
    record_property("tried: random workloads", NUM_ROUNDS * NUM_LANES)


def test_real_lengths_are_the_same_side_by_side():
    """Pools from one request to more than everybody, a queue that is long and one that is empty."""
    traces = [synthetic_trace("conv", 200, seed=seed, rate_per_s=rate) for seed, rate in ((0, 0.5), (1, 5.53), (2, 99))]
    capacities = [9_000, 20_000, 60_000, 400_000]
    pairs = [(trace, capacity) for trace in traces for capacity in capacities]
    assert_same([trace for trace, _ in pairs], [capacity for _, capacity in pairs], LinearCost(), BatchLimits())


@needs_azure
@pytest.mark.parametrize("name", ["conv", "code"])
def test_azure_is_the_same_side_by_side(name):
    """The first 2,000 requests: an empty machine, and soon a full one. With so few lanes, all would take a minute."""
    trace = azure(name).first(2000)
    assert_same([trace] * 4, [7_000, 14_088, 40_000, 120_000], LinearCost(), BatchLimits())


def test_no_requests_and_nobody_who_fits():
    traces = [make_trace([]), make_trace([(5, 9, 9)]), make_trace([(5, 1, 1)])]
    assert_same(traces, [3, 3, 3], LinearCost(), BatchLimits())
    assert simulate_side_by_side([], []) == []


@given(st.lists(st.tuples(st.integers(1, 10**9), st.integers(0, 10**6), st.integers(1, 10**13)), min_size=1))
def test_steps_to_cover_is_the_scalar_one(rows):
    first_ns, growth_ns, gap_ns = np.array(rows).T
    # one request and no token: a step takes the base, and each adds what the growth says
    expected = [LinearCost(first, 0, growth).steps_to_cover(1, 0, gap) for first, growth, gap in rows]
    assert _steps_to_cover(first_ns, growth_ns, gap_ns).tolist() == expected


def test_what_could_overflow_is_simulated_one_by_one():
    huge = make_trace([(0, 1, 10_000_000)] * 60)
    assert not fits_in_tables([huge], [10**9])
    assert not fits_in_tables([make_trace([(2**60, 1, 1)])], [100])
    assert not fits_in_tables([make_trace([(0, 1, 1)])], [2**30])
    rows = sweep([2**30 + i for i in range(100)], [0], trace=make_trace([(0, 5, 5)]), num_processes=1)
    assert {row.max_tokens_used for row in rows} == {9}


def test_a_large_sweep_is_single_simulations_in_the_order_asked_for():
    capacities = [30_000, 9_000, *range(20_000, 29_600, 200)]
    rows = sweep(capacities, [3, 0], num_requests=25, num_processes=2)
    assert [(row.seed, row.capacity) for row in rows] == [(seed, c) for seed in (3, 0) for c in capacities]
    assert rows == sweep(capacities, [3, 0], num_requests=25, num_processes=1)
    for row in rows[:3]:
        alone = simulate(synthetic_trace("conv", 25, seed=row.seed), row.capacity)
        assert row.makespan_s == alone.makespan_ns / 1e9
        assert row.max_tokens_used == alone.max_tokens_used


def test_a_seed_deals_the_lengths_of_a_given_trace_out_anew():
    trace = synthetic_trace("conv", 50, seed=1, rate_per_s=20)
    first, second, again = sweep([12_000], [0, 1, 1], trace=trace, num_processes=1)
    assert first.makespan_s == simulate(trace, 12_000).makespan_ns / 1e9
    assert first.makespan_s != second.makespan_s
    assert second == again

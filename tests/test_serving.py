"""The event-driven simulator against tests/step_reference.py, which takes every step and jumps over none.

Guards: every admit, first-token and finish time is the same integer, on random workloads and on both Azure traces; the
published totals of the Azure runs come out.
"""

from __future__ import annotations

import doctest
import importlib
import random
import time
from functools import cache
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from step_reference import simulate_by_steps

from labkit.benchmarks import serving as benchmark
from labkit.router import (
    POLICIES,
    DeclaredLengths,
    FitsNow,
    FunctionPolicy,
    PeakTest,
    RequestError,
    ReserveAll,
    SampledLengths,
    TrueLengths,
    admit_from,
    can_admit,
    make_policy,
    order_bound,
    smallest_counterexample,
)
from labkit.serving import (
    NEVER,
    BatchLimits,
    LinearCost,
    Slo,
    TraceError,
    goodput_per_s,
    latency_s,
    make_trace,
    makespan_s,
    mean_use,
    occupancy,
    percentile,
    queue_length,
    read_trace,
    simulate,
    summary,
    sweep,
    synthetic_trace,
    throughput_per_s,
    tpot_s,
    ttft_s,
    waiting_s,
)

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
needs_azure = pytest.mark.skipif(not DATA.is_dir(), reason="the Azure traces are not beside this checkout")
NUM_WORKLOADS = 120  # of each policy

# A step takes 10 ns, so that arrivals fall on boundaries; prefill takes no time, or a token 1 ns.
BEAT = LinearCost(10, 0, 0, 0, 0)


@cache
def azure(name):
    return read_trace(DATA / f"azure_llm_2023_{name}.csv")


# --- the rules, as plain functions of (running, candidate, capacity) -----------------------------------------------


def peak_fits(running, candidate, capacity):
    """The published shape: sort, running sum, maximum."""
    return order_bound(sorted([*running, candidate], key=lambda request: -request[1])) <= capacity


def peak_fits_with_headroom(running, candidate, capacity):
    return not running or peak_fits(running, candidate, capacity - capacity // 4)


def reservations_fit(running, candidate, capacity):
    return sum(run + left for run, left in [*running, candidate]) <= capacity


def fits_now(running, candidate, capacity):
    return sum(run for run, _ in [*running, candidate]) <= capacity


def always(running, candidate, capacity):
    return True


def moody(running, candidate, capacity):
    """As wrong as a learner's function can be: it even refuses an empty pool now and then."""
    return (sum(7 * run + 3 * left for run, left in running) + 5 * candidate[0] + candidate[1]) % 3 > 0


# policy -> (how it is made from lengths, the same rule, whether it is asked only after somebody has finished)
RULES = {
    "peak": (PeakTest, peak_fits, False),
    "peak, a quarter free": (lambda lengths: PeakTest(lengths, headroom=0.25), peak_fits_with_headroom, False),
    "reserve": (ReserveAll, reservations_fit, False),
    "fits now": (FitsNow, fits_now, False),
    "own can_admit": (lambda lengths: FunctionPolicy(can_admit, lengths), peak_fits, False),
    "only after a finish": (lambda lengths: FunctionPolicy(can_admit, lengths, "finish"), peak_fits, True),
    "always": (lambda lengths: FunctionPolicy(always, lengths), always, False),
    "moody": (lambda lengths: FunctionPolicy(moody, lengths), moody, False),
}


def random_case(rng):
    """A workload with bursts, ties, arrivals on boundaries, one-token outputs, and requests that can never fit."""
    capacity = rng.choice([rng.randint(4, 60), 4 * rng.randint(5, 50)])
    gap = rng.choice([0, 1, 10, 50, 300, 30_000_000])
    now, rows = 0, []
    for _ in range(rng.randint(1, 25)):
        now += rng.choice([0, 0, gap, 10 * rng.randint(0, 20), rng.randint(0, 2 * gap + 1)])
        prompt = rng.randint(1, rng.choice([3, 10, capacity]))
        rows.append((now, prompt, rng.choice([1, 1, 2, rng.randint(1, 30), rng.randint(1, 10)])))
    costs = [BEAT, LinearCost(10, 0, 0, 10, 0), LinearCost(1, 2, 3, 4, 5), LinearCost(7, 0, 1, 20, 1), LinearCost()]
    few = BatchLimits(rng.randint(1, 6), rng.randint(1, 30))
    limits = rng.choice([BatchLimits(), few, BatchLimits(1000, rng.randint(5, 60))])
    number, window, guess = rng.randint(1, 25), rng.randint(1, 8), rng.randint(1, 12)
    each = [rng.randint(1, 25) for _ in rows]
    lengths = rng.choice(
        [
            TrueLengths,
            lambda: DeclaredLengths(number),  # too long for some (they stop early), too short for others
            lambda: DeclaredLengths(each),
            lambda: SampledLengths(number, window, guess),
        ]
    )
    return make_trace(rows), capacity, rng.choice(costs), limits, lengths


def assert_same(result, by_steps):
    for name, stepped in (
        ("start_ns", "start"),
        ("first_token_ns", "first_token"),
        ("admit_ns", "admit"),
        ("finish_ns", "finish"),
        ("num_evictions", "evictions"),
    ):
        expected = [getattr(request, stepped) for request in by_steps.requests]
        assert getattr(result, name).tolist() == expected, name
    assert result.max_tokens_used == by_steps.max_tokens
    assert result.num_decode_steps == by_steps.decode_steps
    assert result.num_recomputed_tokens == by_steps.recomputed


@pytest.mark.parametrize("rule", RULES)
def test_random_workloads_match_the_step_reference(rule, record_property):
    make, can_admit_by_rule, only_after_finish = RULES[rule]
    rng = random.Random(rule)
    num_evictions = num_refused = 0
    for _ in range(NUM_WORKLOADS):
        trace, capacity, cost, limits, lengths = random_case(rng)
        result = simulate(trace, capacity, make(lengths()), cost=cost, limits=limits)
        by_steps = simulate_by_steps(
            trace, capacity, can_admit_by_rule, lengths(), cost, limits, ask_only_after_finish=only_after_finish
        )
        assert_same(result, by_steps)
        if result.makespan_ns:
            in_use = by_steps.token_ns / capacity / result.makespan_ns
            assert mean_use(result) == pytest.approx(in_use, rel=1e-9)
        num_evictions += int(result.num_evictions.sum())
        num_refused += result.num_refused
    assert num_evictions > 0  # the cases are hard enough to be worth comparing
    assert num_refused > 0
    record_property("tried: random workloads", NUM_WORKLOADS)


@pytest.mark.parametrize("name", POLICIES)
def test_policies_by_name_match_the_step_reference(name):
    """The policies of `labkit route`, on requests as long as real ones."""
    rules = {"peak": peak_fits, "reserve": reservations_fit, "fits-now": fits_now}
    trace = synthetic_trace("conv", 150, seed=5, rate_per_s=20)
    policy = make_policy(name, seed=3)

    def with_headroom(running, candidate, capacity):
        limit = capacity - int(capacity * policy.headroom)
        return not running or rules.get(name, peak_fits)(running, candidate, limit)

    lengths = SampledLengths(3) if name == "past-future" else TrueLengths()
    assert_same(simulate(trace, 20_000, policy), simulate_by_steps(trace, 20_000, with_headroom, lengths))


# --- the Azure traces ---------------------------------------------------------------------------------------------


@needs_azure
@pytest.mark.parametrize(
    ("name", "capacity", "makespan", "max_tokens", "decode_steps", "mean_ttft", "max_ttft"),
    [
        ("conv", 120_000, 3573.391, 120_000, 45_802, 125.0, 253.1),
        ("conv", 40_000, 4605.823, 40_000, 131_268, 654.9, 1115.5),
        ("code", 120_000, 3468.227, 120_000, 23_789, 13.9, 65.1),
        ("code", 40_000, 3470.479, 40_000, 27_820, 17.2, 76.8),
    ],
)
def test_azure_totals(name, capacity, makespan, max_tokens, decode_steps, mean_ttft, max_ttft):
    result = simulate(azure(name), capacity, compiled=False)
    assert makespan_s(result) == pytest.approx(makespan, abs=0.0006)
    assert (result.max_tokens_used, result.num_decode_steps) == (max_tokens, decode_steps)
    assert ttft_s(result).mean() == pytest.approx(mean_ttft, abs=0.06)
    assert ttft_s(result).max() == pytest.approx(max_ttft, abs=0.06)
    assert result.num_refused == result.num_evictions.sum() == 0


@needs_azure
def test_azure_all_at_once():
    result = simulate(azure("conv").all_at_once(), 40_000)
    assert makespan_s(result) == pytest.approx(4574.773, abs=0.0006)
    assert (result.max_tokens_used, result.num_decode_steps) == (40_000, 129_199)


@needs_azure
@pytest.mark.parametrize(
    ("policy", "ratio", "max_tokens"),
    [
        (ReserveAll(), 1.047, 38_346),
        (PeakTest(DeclaredLengths(1000)), 1.160, 34_796),
        (ReserveAll(DeclaredLengths(1000)), 1.237, 30_194),
    ],
    ids=["reserve", "peak, declared 1000", "reserve, declared 1000"],
)
def test_what_other_rules_cost_on_azure(policy, ratio, max_tokens):
    trace = azure("conv").all_at_once()
    result = simulate(trace, 40_000, policy)
    assert result.makespan_ns / simulate(trace, 40_000).makespan_ns == pytest.approx(ratio, abs=0.0006)
    assert result.max_tokens_used == max_tokens


@needs_azure
@pytest.mark.parametrize(("name", "capacity"), [("conv", 120_000), ("code", 40_000)])
def test_azure_matches_the_step_reference(name, capacity):
    trace = azure(name)
    by_steps = simulate_by_steps(trace, capacity, peak_fits_fast)
    assert_same(simulate(trace, capacity, compiled=False), by_steps)
    assert_same(simulate(trace, capacity, compiled=True), by_steps)


def peak_fits_fast(running, candidate, capacity):
    """`peak_fits` without checking each number again."""
    held = 0
    for k, (run, left) in enumerate(sorted([*running, candidate], key=lambda request: -request[1]), 1):
        held += run
        if held + k * left > capacity:
            return False
    return True


@needs_azure
def test_azure_cannot_be_served_below_its_largest_request():
    for name, largest in (("conv", 14_088), ("code", 7840)):
        trace = azure(name)
        assert simulate(trace, largest).num_refused == 0
        assert simulate(trace, largest - 1).num_refused == 1


# --- by hand ------------------------------------------------------------------------------------------------------


def test_one_request_by_hand():
    cost = LinearCost(100, 10, 1, 50, 2)
    result = simulate(make_trace([(7, 5, 3)]), 7, cost=cost)
    # prefill 50 + 2 * 5 from 7 on; steps with 5 and 6 tokens in the cache
    assert result.start_ns.tolist() == [7]
    assert result.first_token_ns.tolist() == result.admit_ns.tolist() == [67]
    assert result.finish_ns.tolist() == [67 + 115 + 116]
    assert (result.max_tokens_used, result.num_decode_steps, result.makespan_ns) == (7, 2, 291)


def test_one_output_token_ends_with_the_prefill():
    result = simulate(make_trace([(0, 5, 1), (0, 5, 1)]), 5, cost=LinearCost(100, 0, 0, 50, 0))
    assert result.finish_ns.tolist() == result.first_token_ns.tolist() == [50, 100]
    assert (result.num_decode_steps, result.max_tokens_used) == (0, 5)


def test_an_arrival_on_a_boundary_belongs_to_it():
    for arrival, started in ((10, 10), (11, 20), (9, 10)):
        result = simulate(make_trace([(0, 1, 9), (arrival, 1, 2)]), 100, cost=BEAT)
        assert result.start_ns.tolist() == [0, started]


def test_admitted_between_two_completions():
    """Two running (1, 1) hold 2 tokens each at the next boundary; until then a third is one token too many."""
    trace = make_trace([(0, 1, 3), (0, 1, 3), (0, 1, 3)])
    now = simulate(trace, 8, cost=BEAT)
    assert now.start_ns.tolist() == [0, 0, 10]
    assert now.num_evictions.sum() == 0
    after_finish = simulate(trace, 8, FunctionPolicy(can_admit, retest="finish"), cost=BEAT)
    assert after_finish.start_ns.tolist() == [0, 0, 20]


def test_first_come_first_served_does_not_skip():
    result = simulate(make_trace([(0, 6, 5), (0, 6, 5), (0, 1, 1)]), 10, cost=BEAT)
    assert result.start_ns[2] >= result.start_ns[1] > result.start_ns[0]


def test_what_can_never_fit_is_refused_at_once_and_blocks_nobody():
    result = simulate(make_trace([(0, 3, 3), (1, 50, 60), (2, 3, 3)]), 100)
    assert result.finish_ns[1] == result.admit_ns[1] == result.start_ns[1] == NEVER
    assert result.served.tolist() == [True, False, True]
    assert simulate(make_trace([(0, 50, 51)]), 100).num_refused == 0


def test_a_rule_that_refuses_an_empty_pool_blocks_nobody():
    def refuses_long_prompts(running, candidate, capacity):
        return candidate[0] < 5

    result = simulate(make_trace([(0, 9, 2), (0, 4, 2)]), 100, refuses_long_prompts)
    assert result.served.tolist() == [False, True]


def test_an_unsafe_rule_shows_in_evictions_and_recomputing_is_charged():
    trace = make_trace([(0, 2, 9), (0, 2, 9)])
    safe, unsafe = (simulate(trace, 12, policy) for policy in ("peak", "fits-now"))
    assert safe.num_evictions.tolist() == [0, 0]
    assert unsafe.num_evictions.tolist() == [0, 1]  # the one admitted last
    assert unsafe.num_recomputed_tokens == 2 + 5  # its prompt and the tokens that it had
    assert unsafe.max_tokens_used == 12
    assert unsafe.first_token_ns[1] < unsafe.admit_ns[1] < unsafe.finish_ns[1]


def test_declared_too_short_evicts_and_declared_too_long_waits():
    trace = make_trace([(0, 2, 6), (0, 2, 6)])  # 7 tokens each at the end
    short, right, long = (simulate(trace, capacity, PeakTest(DeclaredLengths(declared)))
                          for capacity, declared in ((12, 3), (14, 6), (14, 12)))  # fmt: skip
    assert short.num_evictions.tolist() == [0, 1]
    assert right.num_evictions.sum() == long.num_evictions.sum() == 0
    assert right.start_ns[1] == right.start_ns[0]
    # It ends early: the second starts when the first is gone, not when it was believed to be.
    assert long.finish_ns[0] == long.start_ns[1]
    assert right.finish_ns.tolist() == simulate(trace, 14).finish_ns.tolist()


def test_a_long_prompt_goes_alone():
    limits = BatchLimits(max_prefill_tokens=10)
    result = simulate(make_trace([(0, 30, 2), (0, 5, 2), (0, 5, 2), (0, 5, 2)]), 100, cost=BEAT, limits=limits)
    assert result.start_ns.tolist() == [0, 10, 10, 20]


def test_at_most_so_many_run():
    trace = make_trace([(0, 1, 3)] * 5)
    result = simulate(trace, 100, cost=BEAT, limits=BatchLimits(max_running=2))
    assert result.start_ns.tolist() == [0, 0, 20, 20, 40]
    assert result.timeline.num_running.max() == 2


def test_what_takes_no_time_has_no_use():
    result = simulate(make_trace([(0, 5, 1)]), 10, cost=LinearCost(1, 0, 0, 0, 0))
    assert (result.makespan_ns, mean_use(result), result.served.all()) == (0, 0.0, True)


def test_no_requests():
    result = simulate(make_trace([]), 10)
    assert (result.num_requests, result.makespan_ns, result.max_tokens_used, mean_use(result)) == (0, 0, 0, 0.0)
    assert summary(ttft_s(result)) == {"mean": None, "p50": None, "p90": None, "p99": None, "max": None}
    assert throughput_per_s(result) == goodput_per_s(result, Slo()) == 0.0


# --- what must always hold ----------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**9))
def test_invariants(seed):
    trace, capacity, cost, limits, _ = random_case(random.Random(seed))
    result = simulate(trace, capacity, cost=cost, limits=limits)
    line, served = result.timeline, result.served
    assert result.max_tokens_used <= capacity
    assert result.num_evictions.sum() == 0  # true lengths
    assert (np.diff(result.start_ns[served]) >= 0).all()  # in the order of arrival
    shortest = cost.decode_base_ns + cost.decode_per_request_ns
    least = result.admit_ns + (trace.output_tokens - 1) * shortest
    assert (result.finish_ns >= least)[served].all()
    assert (line.start_ns[1:] >= line.end_ns[:-1]).all()
    # every token but the first of a request, which its prefill makes, takes one slot of one decode step
    assert (line.num_steps * line.num_running).sum() == (trace.output_tokens[served] - 1).sum()
    assert line.num_steps.sum() == result.num_decode_steps
    assert served.tolist() == (trace.prompt_tokens + trace.output_tokens - 1 <= capacity).tolist()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**9))
def test_nothing_idles_while_the_head_waits(seed):
    trace, capacity, cost, _, _ = random_case(random.Random(seed))
    result = simulate(trace, capacity, cost=cost)
    line = result.timeline
    for idle_from, idle_to in zip(line.end_ns[:-1], line.start_ns[1:], strict=True):
        if idle_to > idle_from:
            waiting = (trace.arrival_ns < idle_to) & (result.start_ns >= idle_to) & result.served
            assert not waiting.any()


def test_the_same_simulation_twice_with_one_policy_object():
    trace = synthetic_trace("conv", 200, rate_per_s=30)
    for policy in (PeakTest(SampledLengths(1)), ReserveAll(), FunctionPolicy(can_admit)):
        first, second = (simulate(trace, 20_000, policy) for _ in range(2))
        assert first.finish_ns.tolist() == second.finish_ns.tolist()


def test_progress_is_told_and_ends_with_everybody():
    told = []
    simulate(make_trace([(0, 5, 5)] * 50 + [(0, 500, 1)]), 100, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 51
    assert len(told) > 3


# --- cost ---------------------------------------------------------------------------------------------------------

COSTS = st.builds(LinearCost, st.integers(1, 50), *[st.integers(0, 50)] * 4)


@given(COSTS, st.integers(1, 20), st.integers(0, 500), st.integers(1, 40))
def test_many_steps_are_the_sum_of_single_ones(cost, num_requests, num_tokens, num_steps):
    one_by_one = sum(cost.decode_ns(num_requests, num_tokens + num_requests * step) for step in range(num_steps))
    assert cost.decode_ns(num_requests, num_tokens, num_steps) == one_by_one


@given(COSTS, st.integers(1, 20), st.integers(0, 500), st.integers(1, 10**7))
def test_steps_to_cover_is_the_fewest(cost, num_requests, num_tokens, gap_ns):
    steps = cost.steps_to_cover(num_requests, num_tokens, gap_ns)
    assert cost.decode_ns(num_requests, num_tokens, steps) >= gap_ns
    assert steps == 1 or cost.decode_ns(num_requests, num_tokens, steps - 1) < gap_ns


def test_fit_finds_the_constants_again():
    truth = LinearCost(11_000_000, 30_000, 150, 5_000_000, 60_000)
    steps = [(b, s, truth.decode_ns(b, s)) for b in (1, 8, 64) for s in (1000, 20_000, 90_000)]
    prefills = [(n, truth.prefill_ns(n)) for n in (10, 500, 8000)]
    fitted = LinearCost.fit(steps, prefills)
    for name in LinearCost.__slots__:
        assert getattr(fitted, name) == pytest.approx(getattr(truth, name), abs=2)
    assert max(fitted.relative_errors(steps, prefills)) < 1e-6


def test_fit_has_no_negative_constant_and_says_how_good_it_is():
    steps = [(1, 100, 50.0), (10, 100, 40.0), (1, 5000, 60.0), (10, 9000, 70.0)]  # more requests, less time: noise
    fitted = LinearCost.fit(steps, [(10, 100.0), (20, 190.0)])
    assert fitted.decode_per_request_ns == 0
    assert 0 < fitted.relative_errors(steps, [(10, 100.0)])[0] < 1


@pytest.mark.parametrize(
    ("steps", "prefills", "said"),
    [
        ([(1, 2, 3)], [(1, 1), (2, 2)], r"3 or more rows of \(num_requests, num_tokens, ns\)"),
        ([(1, 2, 3)] * 3, [(1, 1), (2, 2)], "do not tell the constants apart"),
        ([(1, 2, float("nan"))] * 3, [(1, 1), (2, 2)], "NaN"),
        ([(1, 1, 5), (2, 1, 5), (1, 9, 6)], [(1, 1)], r"2 or more rows of \(num_tokens, ns\)"),
        ("abc", [(1, 1)], "all numbers"),
    ],
)
def test_bad_measurements_are_refused_in_a_sentence(steps, prefills, said):
    with pytest.raises(RequestError, match=said):
        LinearCost.fit(steps, prefills)


@pytest.mark.parametrize("bad", [-1, 1.5, True, 10**13, float("nan")])
def test_bad_constants_are_refused(bad):
    with pytest.raises(RequestError, match="decode_per_token_ns"):
        LinearCost(decode_per_token_ns=bad)


def test_a_step_takes_time():
    with pytest.raises(RequestError, match="takes no time"):
        LinearCost(0, 0, 5)


# --- metrics ------------------------------------------------------------------------------------------------------


def test_metrics_by_hand():
    cost = LinearCost(10, 0, 0, 100, 0)
    result = simulate(make_trace([(0, 2, 3), (50, 2, 1), (500, 90, 90)]), 20, cost=cost)
    # the second waits for the prefill, its own prefill stalls the first for 100 ns; the third can never fit
    assert result.finish_ns.tolist() == [220, 210, NEVER]
    assert (waiting_s(result) * 1e9).tolist() == pytest.approx([0, 60])
    assert (ttft_s(result) * 1e9).tolist() == pytest.approx([100, 160])
    assert (latency_s(result) * 1e9).tolist() == pytest.approx([220, 160])
    assert (tpot_s(result) * 1e9).tolist() == pytest.approx([60])  # one output token has no time per token
    assert makespan_s(result) == pytest.approx(220e-9)
    assert throughput_per_s(result) == pytest.approx(4 / 220e-9)
    for slo, num_good in ((Slo(), 2), (Slo(ttft_s=150e-9), 1), (Slo(tpot_s=59e-9), 1), (Slo(ttft_s=1e-9), 0)):
        assert goodput_per_s(result, slo) == pytest.approx(num_good / 220e-9)


def test_percentiles_are_values_that_occur():
    values = [float(v) for v in range(1, 101)]
    assert [percentile(values, p) for p in (0, 50, 90, 99, 100)] == [1, 50, 90, 99, 100]
    assert percentile([], 50) is None
    assert summary([2.0]) == {"mean": 2.0, "p50": 2.0, "p90": 2.0, "p99": 2.0, "max": 2.0}
    for bad in (-1, 101, float("nan"), None, "50", True):
        with pytest.raises(RequestError, match="expected a number from 0 to 100"):
            percentile(values, bad)


@pytest.mark.parametrize("bad", [0, -1, float("nan"), "1"])
def test_bad_objectives_are_refused(bad):
    with pytest.raises(RequestError, match="seconds above 0"):
        Slo(ttft_s=bad)


def test_pool_and_queue_over_time():
    result = simulate(synthetic_trace("conv", 300, rate_per_s=30), 20_000)
    times_s, tokens = occupancy(result)
    assert (np.diff(times_s) >= 0).all()
    assert tokens.max() == result.max_tokens_used
    assert tokens.min() > 0
    times_s, waiting = queue_length(result)
    assert (np.diff(times_s) >= 0).all()
    assert waiting.min() == waiting[-1] == 0
    halfway = times_s[len(times_s) // 2]
    counted = (result.trace.arrival_ns / 1e9 <= halfway).sum() - (result.start_ns / 1e9 <= halfway).sum()
    assert waiting[np.searchsorted(times_s, halfway, side="right") - 1] == counted


# --- sweep, speed, bad input --------------------------------------------------------------------------------------


def test_a_sweep_is_single_simulations_on_any_number_of_processes():
    arguments = {"capacities": [15_000, 30_000], "seeds": [0, 1], "num_requests": 60, "policy": "past-future"}
    rows = sweep(**arguments, num_processes=1)
    assert [(row.seed, row.capacity) for row in rows] == [(0, 15_000), (0, 30_000), (1, 15_000), (1, 30_000)]
    assert sweep(**arguments, num_processes=2) == rows
    single = simulate(synthetic_trace("conv", 60, seed=1), 15_000, make_policy("past-future", seed=1))
    assert rows[2].makespan_s == makespan_s(single)
    assert rows[2].mean_ttft_s == ttft_s(single).mean()
    assert rows[2].num_evictions == single.num_evictions.sum()


def test_a_sweep_says_what_is_wrong_before_it_starts():
    wrong = ({"policy": "peek"}, {"capacities": [0]}, {"seeds": [-1]}, {"num_processes": -1}, {"num_requests": [3]})
    for arguments in (*wrong, {"capacities": [float("nan")]}, {"num_requests": 1.5}):
        with pytest.raises(RequestError):
            sweep(**({"capacities": [1000], "seeds": [0]} | arguments))
    with pytest.raises(TraceError, match="expected a Trace"):
        sweep([1000], [0], trace="conv.csv")


def cpu_s(call):
    start = time.process_time()
    call()
    return time.process_time() - start


def test_jumping_is_worth_it():
    """At least 8 times faster than stepping (it is about 12 times), and linear in requests; in turns, the median."""
    short, long = synthetic_trace("conv", 1000), synthetic_trace("conv", 8000)
    gains, growths = [], []
    for _ in range(7):
        jumping_s = cpu_s(lambda: simulate(short, 40_000, compiled=False))
        gains.append(cpu_s(lambda: simulate_by_steps(short, 40_000, peak_fits_fast)) / jumping_s)
        growths.append(cpu_s(lambda: simulate(long, 40_000, compiled=False)) / jumping_s)
    assert median(gains) > 8
    assert median(growths) < 3 * 8


def test_fast_enough_for_a_live_panel():
    """A few thousand requests in well under the 0.2 s that a moving slider allows."""
    assert min(cpu_s(lambda: simulate(synthetic_trace("conv", 3000), 40_000)) for _ in range(5)) < 0.2


def test_the_benchmark_compares_right_answers():
    """Its published form is right, all its rounds admit the same, and every table has a row of each."""
    assert smallest_counterexample(benchmark.published_test) is None
    running, queue, capacity = benchmark._load(50)
    published = benchmark._published_round(running, queue, capacity)
    assert 0 < published < len(queue)
    assert admit_from(running, queue, capacity) == published
    calendar = benchmark._calendar(running)
    for _ in range(2):  # the round is undone, so that it can be timed again
        assert benchmark._calendar_round(calendar, queue, capacity) == published
    assert [table.row_count for table in benchmark.run(quick=True)] == [5, 3, 4, 1]


@pytest.mark.parametrize("bad", [0, -5, 1.0, float("nan"), True, "100", None, 10**20])
def test_bad_capacities_are_refused_in_a_sentence(bad):
    with pytest.raises(RequestError, match="capacity is"):
        simulate(make_trace([(0, 1, 1)]), bad)


@pytest.mark.parametrize("bad", ["conv.csv", [(0, 1, 1)], None])
def test_what_is_no_trace_is_refused_with_how_to_make_one(bad):
    with pytest.raises(
        TraceError, match=r"expected a Trace, got a .*; read_trace, make_trace and synthetic_trace make"
    ):
        simulate(bad, 10)


@pytest.mark.parametrize("bad", [0, -1, 2.5, True])
def test_bad_limits_are_refused(bad):
    with pytest.raises(RequestError, match="max_running"):
        BatchLimits(max_running=bad)
    with pytest.raises(RequestError, match="max_prefill_tokens"):
        BatchLimits(max_prefill_tokens=bad)


def test_simulated_centuries_are_refused():
    slow = LinearCost(decode_per_token_ns=10**12)
    with pytest.raises(RequestError, match="years; take smaller costs"):
        simulate(make_trace([(0, 1_000_000, 20)]), 10**8, cost=slow)


def test_an_exception_of_a_learners_function_comes_through():
    def divides(running, candidate, capacity):
        return 1 / len(running) > 0

    with pytest.raises(ZeroDivisionError):
        simulate(make_trace([(0, 1, 1)]), 10, divides)


@pytest.mark.parametrize("module", ["cost", "metrics", "simulate", "traces"])
def test_examples_in_docstrings(module):
    result = doctest.testmod(importlib.import_module(f"labkit.serving.{module}"))
    assert result.attempted > 0
    assert result.failed == 0

"""The live panel shows what a simulation of its own gave, beside the peak test, and is fast enough to play with."""

import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from labkit.router import RequestError, can_admit, make_policy
from labkit.serving import (
    TraceError,
    makespan_s,
    mean_use,
    occupancy,
    queue_length,
    simulate,
    synthetic_trace,
    ttft_s,
)
from labkit.widgets.drawing import Area, Line, Text
from labkit.widgets.live_router import NUM_COLUMNS, OWN, POLICIES, REFERENCE, _columns, live_router

TRACE = synthetic_trace("conv", 300, seed=1)


def texts(live) -> list[str]:
    return [shape.text for shape in live.drawing.shapes if isinstance(shape, Text)]


@pytest.mark.parametrize("policy", POLICIES)
def test_the_figures_are_those_of_the_simulation(policy: str) -> None:
    live = live_router(TRACE, capacity=15_000, policy=policy)
    rate = live.values["rate"]
    own_rate = (TRACE.num_requests - 1) / TRACE.span_s
    stretched = replace(TRACE, arrival_ns=np.rint(TRACE.arrival_ns * (own_rate / rate)).astype(np.int64))
    kind, declared = POLICIES[policy]
    result = simulate(stretched, 15_000, make_policy(kind, declared=declared))
    shown = texts(live)
    for figure in (
        f"{makespan_s(result):,.0f} s",
        f"{ttft_s(result).mean():,.1f} s",
        f"{mean_use(result):.0%}",
        f"{int(result.num_evictions.sum()):,}",
        f"{result.num_recomputed_tokens:,}",
        policy,
    ):
        assert figure in shown
    assert f"all done after {makespan_s(result):,.0f} s" in live.sentence
    assert ("The peak test:" in live.sentence) == (policy != REFERENCE)


def test_the_rate_stretches_the_gaps_and_the_capacity_is_the_pool() -> None:
    live = live_router(TRACE)
    live.set(rate=0.5, policy=REFERENCE)
    assert "pool" in live.sentence
    slow = live.drawing
    live.set(rate=50)
    assert makespan(live.sentence) < makespan(slow.sentence) / 2
    live.set(capacity=5_000)
    assert "5,000 tokens" in live.sentence
    assert "can never fit and are refused" in live.sentence


def makespan(sentence: str) -> float:
    return float(sentence.partition("all done after ")[2].partition(" s")[0].replace(",", ""))


def test_the_learners_own_test_is_among_the_policies() -> None:
    assert OWN not in live_router(TRACE).controls.specs["policy"].options
    asked = []

    def mine(running, candidate, capacity):
        asked.append(candidate)
        return can_admit(running, candidate, capacity)

    live = live_router(TRACE, can_admit=mine, capacity=15_000)
    live.set(policy=REFERENCE)
    reference = live.sentence
    assert not asked
    live.set(policy=OWN)
    assert asked
    assert live.sentence.startswith(reference.replace(REFERENCE, OWN))


def test_a_wrong_own_test_shows_its_error() -> None:
    live = live_router(TRACE, can_admit=lambda running, candidate, capacity: None)
    live.controls.widgets["policy"].value = OWN  # the browser
    assert "expected True or False" in live.board.problem


def test_a_trace_without_gaps_and_a_published_one() -> None:
    with pytest.raises(TraceError, match="stretches the gaps"):
        live_router(TRACE.all_at_once())
    live = live_router(replace(TRACE, credit="somebody; CC-BY-4.0"))
    assert live.sentence.endswith("Trace: somebody; CC-BY-4.0.")


def test_what_cannot_be_asked_is_refused_before_anything_is_drawn() -> None:
    with pytest.raises(RequestError, match="can_admit is 3; expected a function"):
        live_router(can_admit=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="capacity is a whole number from 1000 to 400000; got 0"):
        live_router(capacity=0)


def test_curves_keep_what_is_highest() -> None:
    result = simulate(TRACE, 15_000)
    for times, values in (occupancy(result), queue_length(result)):
        end_s = makespan_s(result)
        middles, top = _columns(times, values, end_s)
        assert len(middles) == len(top) == NUM_COLUMNS
        assert top.max() == values.max()
        edges = np.linspace(0, end_s, NUM_COLUMNS + 1)
        edges[-1] = np.inf
        for column, (low, high) in enumerate(pairwise(edges)):  # each column for itself
            inside, before = values[(low <= times) & (times < high)], values[times < low]
            assert top[column] == max([*inside, *(before[-1:] if len(before) else [0])])
    assert _columns(np.array([]), np.array([], np.int64), 1.0)[1].tolist() == [0] * NUM_COLUMNS


def test_there_is_an_area_for_the_pool_and_two_lines_for_the_queues() -> None:
    shapes = live_router(TRACE).drawing.shapes
    assert sum(isinstance(shape, Area) for shape in shapes) == 2
    assert sorted(shape.dashed for shape in shapes if isinstance(shape, Line) and len(shape.points) == NUM_COLUMNS) == [
        False,
        True,
    ]


def test_a_change_takes_less_than_a_fifth_of_a_second() -> None:
    """CPU time of simulation and drawing together, over 2,000 requests: other processes do not count."""
    live = live_router()
    took_s = []
    for capacity, policy in zip((38_000, 36_000, 34_000, 32_000, 30_000), POLICIES, strict=True):
        began = time.process_time()
        live.set(capacity=capacity, policy=policy)
        took_s.append(time.process_time() - began)
    assert sorted(took_s)[2] < 0.2

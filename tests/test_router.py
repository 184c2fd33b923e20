"""The router against counting at every step: the truth of every answer here is the definition, `tokens_at`."""

from __future__ import annotations

import copy
import doctest
import importlib
import time
from itertools import combinations_with_replacement, permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.router import (
    POLICIES,
    DeclaredLengths,
    FunctionPolicy,
    OccupancyCalendar,
    PeakTest,
    RequestError,
    SampledLengths,
    TrueLengths,
    WhatIf,
    admit_from,
    can_admit,
    first_admissible_step,
    make_policy,
    order_bound,
    peak_tokens,
    smallest_counterexample,
    tokens_at,
)

MODULES = ("_arguments", "calendar", "peak", "what_if")
SMALL = st.tuples(st.integers(0, 9), st.integers(0, 9))
LARGE = st.tuples(st.integers(0, 10**12), st.integers(0, 10**12))
FEW = st.lists(SMALL, max_size=6)
EXAMPLES = settings(max_examples=200, deadline=None)


def counted_peak(requests):
    """The peak by definition, one step after the other."""
    last = max((left for _, left in requests), default=0)
    return max(tokens_at(requests, step) for step in range(last + 1))


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings(module):
    result = doctest.testmod(importlib.import_module(f"labkit.router.{module}"))
    assert result.attempted > 0
    assert result.failed == 0


# --- the peak -----------------------------------------------------------------------------------------------------


def test_published_example():
    assert peak_tokens([(5, 4), (4, 3), (5, 3), (3, 2), (4, 2)]) == 31


def test_peak_of_every_small_set_up_to_three_requests():
    kinds = list(product(range(4), repeat=2))
    sets = [each for n in range(4) for each in combinations_with_replacement(kinds, n)]
    assert len(sets) == 969
    for requests in sets:
        assert peak_tokens(requests) == counted_peak(requests), requests


@EXAMPLES
@given(FEW)
def test_peak_is_counted_peak(requests):
    assert peak_tokens(requests) == counted_peak(requests)


@EXAMPLES
@given(st.lists(LARGE, max_size=6))
def test_numbers_beyond_int32_do_not_overflow(requests):
    """The peak is at a completion, so the definition at those steps is enough."""
    assert peak_tokens(requests) == max((tokens_at(requests, left) for _, left in requests), default=0)


@EXAMPLES
@given(st.lists(SMALL, min_size=1, max_size=5))
def test_every_order_is_safe_and_descending_is_tight(requests):
    bounds = [order_bound(order) for order in permutations(requests)]
    assert min(bounds) == counted_peak(requests)


def test_smallest_example_of_a_wasteful_order():
    assert (order_bound([(1, 1), (1, 0)]), order_bound([(1, 0), (1, 1)])) == (2, 4)


# --- admission ----------------------------------------------------------------------------------------------------


@EXAMPLES
@given(FEW, SMALL)
def test_tight_pair(running, candidate):
    peak = counted_peak([*running, candidate])
    assert can_admit(running, candidate, peak) is True
    if peak:
        assert can_admit(running, candidate, peak - 1) is False


@pytest.mark.parametrize(
    ("running", "candidate", "peak"),
    [
        ([], (100, 19), 119),  # a prompt of 100 with 20 outputs: p + g - 1
        ([], (0, 0), 0),
        ([(3, 0), (4, 0)], (5, 0), 12),  # nobody grows, and everybody is still there now
        ([(7, 3)], (7, 3), 20),  # two identical requests are two
        ([(2000, 2000)] * 20, (2000, 2000), 84_000),  # int16 breaks
        ([(2**31, 2**31)] * 3, (2**31, 2**31), 2**34),  # int32 and int64 products
    ],
)
def test_fixed_tight_pairs(running, candidate, peak):
    assert can_admit(running, candidate, peak)
    assert peak == 0 or not can_admit(running, candidate, peak - 1)


@EXAMPLES
@given(FEW, st.lists(SMALL, max_size=6), st.integers(0, 60))
def test_admit_from_is_one_after_the_other(running, waiting, capacity):
    inside = list(running)
    for candidate in waiting:
        if counted_peak([*inside, candidate]) > capacity:
            break
        inside.append(candidate)
    assert admit_from(running, waiting, capacity) == len(inside) - len(running)


def test_nobody_overtakes_the_head():
    assert admit_from([], [(50, 1), (1, 1)], 10) == 0


@EXAMPLES
@given(FEW, SMALL, st.integers(0, 60))
def test_first_admissible_step_by_trying_each(running, candidate, capacity):
    def fits_at(step):
        alive = [(run + step, left - step) for run, left in running if left >= step]
        return counted_peak([*alive, candidate]) <= capacity

    by_trying = next((step for step in range(20) if fits_at(step)), None)
    assert first_admissible_step(running, candidate, capacity) == by_trying


def test_a_wait_that_ends_before_the_first_completion():
    assert not can_admit([(1, 1), (1, 1)], (1, 1), 5)
    assert first_admissible_step([(1, 1), (1, 1)], (1, 1), 5) == 1


def test_never_is_none():
    assert first_admissible_step([], (5, 6), 10) is None
    assert first_admissible_step([(1, 1)], (11, 0), 10) is None


def test_waiting_for_a_long_time_takes_no_long_time():
    assert first_admissible_step([(0, 10**15)], (1, 10**3), 10**12) == 10**15 + 1
    assert first_admissible_step([(10**6, 10**12)], (1, 0), 10**6) == 10**12 + 1  # refused at every step until then


@EXAMPLES
@given(st.lists(LARGE, max_size=5), LARGE, st.integers(0, 10**13))
def test_first_admissible_step_is_admissible_and_the_one_before_is_not(running, candidate, capacity):
    def fits_at(step):
        alive = [(run + step, left - step) for run, left in running if left >= step]
        return can_admit(alive, candidate, capacity)

    step = first_admissible_step(running, candidate, capacity)
    if step is None:
        assert sum(candidate) > capacity
    else:
        assert fits_at(step)
        assert step == 0 or not fits_at(step - 1)


def test_arguments_stay_as_they_are():
    running, waiting, candidate = [[3, 2], [1, 4], [1, 1]], [[1, 1], [9, 9]], [2, 2]
    before = copy.deepcopy((running, waiting, candidate))
    peak_tokens(running)
    can_admit(running, candidate, 5)
    admit_from(running, waiting, 20)
    first_admissible_step(running, candidate, 9)
    WhatIf(running).peak_with(*candidate)
    assert (running, waiting, candidate) == before


def test_numpy_rows_and_generators_are_lists_of_requests():
    rows = np.array([(5, 4), (4, 3)], np.int16)
    assert peak_tokens(rows) == peak_tokens((5 - i, 4 - i) for i in range(2)) == 15
    assert type(peak_tokens(np.full((20, 2), 2000, np.int16))) is int
    assert peak_tokens(np.full((20, 2), 2000, np.int16)) == 80_000


BAD_NUMBERS = (-1, 1.0, float("nan"), float("inf"), True, np.True_, "3", None, [1], np.array([1, 2]))


@pytest.mark.parametrize("bad", BAD_NUMBERS, ids=repr)
@pytest.mark.parametrize(
    ("ask", "named"),
    [
        (lambda bad: peak_tokens([(1, 1), (bad, 1)]), r"run of requests\[1\]"),
        (lambda bad: peak_tokens([(1, bad)]), r"left of requests\[0\]"),
        (lambda bad: can_admit([(1, 1)], (bad, 1), 9), "run of candidate"),
        (lambda bad: can_admit([(1, 1)], (1, 1), bad), "capacity"),
        (lambda bad: admit_from([(bad, 1)], [], 9), r"run of running\[0\]"),
        (lambda bad: admit_from([], [(1, bad)], 9), r"left of waiting\[0\]"),
        (lambda bad: first_admissible_step([], (1, 1), bad), "capacity"),
        (lambda bad: WhatIf([]).peak_with(1, bad), "left of candidate"),
        (lambda bad: order_bound([(1, bad)]), r"left of order\[0\]"),
        (lambda bad: tokens_at([], bad), "step"),
    ],
)
def test_bad_numbers_are_refused_in_a_sentence(ask, named, bad):
    with pytest.raises(RequestError, match=named) as refusal:
        ask(bad)
    assert str(refusal.value).endswith(".")


@pytest.mark.parametrize("bad", [5, [(1, 2, 3)], [5], ["ab c"], None])
def test_what_is_no_list_of_pairs_is_refused(bad):
    with pytest.raises(RequestError, match="pair"):
        peak_tokens(bad)


def test_wording():
    with pytest.raises(RequestError) as refusal:
        peak_tokens([(1, 1), (2, -3)])
    assert str(refusal.value) == "left of requests[1] is -3; it must be 0 or more."


def test_empty_queues_and_pools():
    assert peak_tokens([]) == 0
    assert admit_from([], [], 0) == 0
    assert can_admit([], (0, 0), 0)
    assert not can_admit([], (1, 0), 0)
    assert WhatIf().peak_with(3, 4) == 7


# --- structures ---------------------------------------------------------------------------------------------------


@EXAMPLES
@given(FEW, st.lists(SMALL, max_size=6))
def test_what_if_is_the_peak(running, candidates):
    what_if = WhatIf(running)
    for candidate in candidates:
        assert what_if.peak_with(*candidate) == counted_peak([*running, candidate])


@EXAMPLES
@given(st.lists(st.tuples(st.integers(0, 3), SMALL, st.integers(0, 9)), max_size=12), st.integers(1, 8))
def test_calendar_is_the_occupancy(script, num_cells):
    """Requests come one after the other, time passes, some end early; a dict of ramps is the model."""
    calendar, ramps, now = OccupancyCalendar(num_cells), [], 0
    for wait, (run, left), cut in script:
        now += wait
        in_life = [tokens_of(ramps, step) + run + step - now for step in range(now, now + left + 1)]
        peak, at = calendar.peak_with(now, run, left)
        assert (peak, in_life[at - now]) == (max(in_life), max(in_life))
        calendar.add(now, run, left)
        ramps.append((now, run, now + left))
        if cut < left:  # it turns out to end at now + cut; what remains is taken away
            calendar.remove(now + cut + 1, run + cut + 1, left - cut - 1)
            ramps[-1] = (now, run, now + cut)
        expected = [tokens_of(ramps, step) for step in range(now, now + 30)]
        assert [calendar.tokens_at(step) for step in range(now, now + 30)] == expected
        assert calendar.peak_from(now)[0] == max(expected)


def tokens_of(ramps, step):
    return sum(run + step - start for start, run, end in ramps if start <= step <= end)


def test_add_within_adds_only_what_fits():
    calendar = OccupancyCalendar()
    assert calendar.add_within(9, 0, 5, 4) == (9, 4)
    assert calendar.add_within(9, 1, 1, 3) == (13, 4)
    assert [calendar.tokens_at(step) for step in range(6)] == [5, 6, 7, 8, 9, 0]


def test_calendar_of_a_long_prompt_and_a_long_output():
    calendar = OccupancyCalendar()
    calendar.add_within(10**9, 0, 10**6, 100_000)
    assert calendar.tokens_at(100_000) == 1_100_000
    with pytest.raises(RequestError, match="10,000,000 are the most"):
        calendar.peak_with(0, 1, 10**7 + 1)


def best_us(call, number):
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        for _ in range(number):
            call()
        best = min(best, time.process_time() - start)
    return best / number * 1e6


def test_questions_do_not_grow_with_the_running_set():
    """1,000 times as many running: at most 4 times the time, where a sort would need more than 1,000 times."""
    rng = np.random.default_rng(0)
    running = list(zip(rng.integers(50, 4001, 10_000).tolist(), rng.integers(0, 2049, 10_000).tolist(), strict=True))
    few, many = WhatIf(running[:10]), WhatIf(running)
    ratio = best_us(lambda: many.peak_with(700, 700), 2000) / best_us(lambda: few.peak_with(700, 700), 2000)
    assert ratio < 4
    sort_us = best_us(lambda: can_admit(running, (700, 700), 10**9), 3)
    assert best_us(lambda: many.peak_with(700, 700), 2000) < sort_us / 300


# --- counterexamples ----------------------------------------------------------------------------------------------


def by_key(key):
    return lambda requests: order_bound(sorted(requests, key=key))


def left_sorted_run_not(requests):
    lefts = sorted((left for _, left in requests), reverse=True)
    return order_bound(list(zip([run for run, _ in requests], lefts, strict=True)))


def both_sorted(requests):
    runs, lefts = (sorted(column, reverse=True) for column in zip(*requests, strict=True))
    return order_bound(list(zip(runs, lefts, strict=True)))


def counted_from_zero(requests):
    held, peak = 0, 0
    for k, (run, left) in enumerate(sorted(requests, key=lambda r: -r[1])):
        held += run
        peak = max(peak, k * left + held)
    return peak


def adds_up(requests):
    held, total = 0, 0
    for k, (run, left) in enumerate(sorted(requests, key=lambda r: -r[1]), 1):
        held += run
        total += k * left + held
    return total


def sorts_in_place(requests):
    requests.sort(key=lambda r: -r[1])
    return order_bound(requests)


WRONG_PEAKS = {
    "ascending": (by_key(lambda r: r[1]), "wasteful"),
    "unsorted": (order_bound, "wasteful"),
    "by run": (by_key(lambda r: -r[0]), "wasteful"),
    "k from 0": (counted_from_zero, "unsafe"),
    "left sorted, run not": (left_sorted_run_not, "unsafe"),
    "both sorted apart": (both_sorted, "wasteful"),
    "sum for max": (adds_up, "wasteful"),
    "reserves all": (lambda requests: sum(run + left for run, left in requests), "wasteful"),
    "now only": (lambda requests: sum(run for run, _ in requests), "unsafe"),
    "drops left = 0": (lambda requests: peak_tokens([r for r in requests if r[1]]), "unsafe"),
    "merged by a set": (lambda requests: peak_tokens(set(requests)), "unsafe"),
    "a float": (lambda requests: float(peak_tokens(requests)), "wrong type"),
    "nothing": (lambda requests: None, "wrong type"),
    "index error": (lambda requests: [][0], "raises"),
    "sorts in place": (sorts_in_place, "changes its arguments"),
}  # fmt: skip


def strict(running, candidate, capacity):
    return peak_tokens([*running, candidate]) < capacity


def leaves_candidate(running, candidate, capacity):
    running.append(candidate)
    return peak_tokens(running) <= capacity


def only_exact(running, candidate, capacity):
    return peak_tokens([*running, candidate]) == capacity


def unsorted(running, candidate, capacity):
    return order_bound([*running, candidate]) <= capacity


WRONG_ADMISSIONS = {
    "strict <": (strict, "wasteful"),
    "always": (lambda running, candidate, capacity: True, "unsafe"),
    "never": (lambda running, candidate, capacity: False, "wasteful"),
    "ignores running": (lambda running, candidate, capacity: sum(candidate) <= capacity, "unsafe"),
    "ignores candidate": (lambda running, candidate, capacity: peak_tokens(running) <= capacity, "unsafe"),
    "leaves candidate": (leaves_candidate, "changes its arguments"),
    "a count": (lambda running, candidate, capacity: 1, "wrong type"),
    "raises": (lambda running, candidate, capacity: running[0], "raises"),
    "only at the exact fit": (only_exact, "wasteful"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_PEAKS)
def test_wrong_peaks_are_shown(name):
    function, kind = WRONG_PEAKS[name]
    example = smallest_counterexample(function)
    assert example is not None
    assert kind in example.kinds
    assert str(example).startswith(f"{' and '.join(example.kinds)} (")


# Compared with a capacity, and given a copy, these two do no harm.
@pytest.mark.parametrize("name", [name for name in WRONG_PEAKS if name not in ("a float", "sorts in place")])
def test_the_same_mistake_inside_can_admit(name):
    function, _ = WRONG_PEAKS[name]
    example = smallest_counterexample(lambda running, candidate, capacity: function([*running, candidate]) <= capacity)
    assert example is not None


@pytest.mark.parametrize("name", WRONG_ADMISSIONS)
def test_wrong_admissions_are_shown(name):
    function, kind = WRONG_ADMISSIONS[name]
    example = smallest_counterexample(function)
    assert example is not None
    assert kind in example.kinds


def ascending_walk(running, candidate, capacity):
    """The theorem from the other end, as SGLang has it: give memory back while walking by ascending left."""
    ascending = sorted([*running, candidate], key=lambda r: r[1])
    held = sum(run for run, _ in ascending)
    for i, (run, left) in enumerate(ascending):
        if held + left * (len(ascending) - i) > capacity:
            return False
        held -= run
    return True


def on_a_calendar(running, candidate, capacity):
    calendar = OccupancyCalendar()
    for request in [*running, candidate]:
        calendar.add(0, *request)
    return calendar.peak_from(0)[0] <= capacity


@pytest.mark.parametrize(
    "function",
    [
        can_admit,
        peak_tokens,
        counted_peak,
        ascending_walk,
        on_a_calendar,
        lambda running, candidate, capacity: WhatIf(running).peak_with(*candidate) <= capacity,
        lambda running, candidate, capacity: np.bool_(can_admit(running, candidate, capacity)),
        lambda requests: np.int64(peak_tokens(requests)),
    ],
)
def test_right_functions_have_no_counterexample(function):
    assert smallest_counterexample(function) is None


def test_counterexample_in_words():
    example = smallest_counterexample(unsorted)
    assert example is not None
    assert example.kinds == ("wasteful", "order-dependent")
    assert str(example) == (
        "wasteful and order-dependent (would refuse what fits; answers differently when the same requests come in "
        "another order): with (1, 0) running, candidate (1, 1) and capacity 2 it says False; right is True: the most "
        "they hold is 2 tokens, at step 0."
    )


@pytest.mark.parametrize("bad", [3, lambda a, b: True, lambda: 1])
def test_what_is_neither_function_is_refused(bad):
    with pytest.raises(RequestError, match="expected peak_tokens"):
        smallest_counterexample(bad)


# --- lengths and policies -----------------------------------------------------------------------------------------


def test_true_lengths_are_a_copy():
    outputs = [3, 4]
    beliefs = TrueLengths().begin(outputs)
    beliefs[0] = 9
    assert outputs == [3, 4]


def test_declared_lengths():
    assert DeclaredLengths(7).begin([1, 2, 3]) == [7, 7, 7]
    assert DeclaredLengths(np.array([4, 5])).begin([1, 2]) == [4, 5]
    assert DeclaredLengths(7).outlived(0, 7) == 8
    assert DeclaredLengths(7).outlived(0, 100) == 110
    with pytest.raises(RequestError, match="2 lengths for 3 requests"):
        DeclaredLengths([4, 5]).begin([1, 2, 3])
    for bad in (0, -1, 1.5, [1, 0]):
        with pytest.raises(RequestError, match="declared"):
            DeclaredLengths(bad)


@EXAMPLES
@given(st.lists(st.integers(1, 50), max_size=30), st.integers(0, 60), st.integers(1, 10))
def test_a_draw_is_longer_than_what_there_is_and_comes_from_the_window(history, generated, window):
    lengths = SampledLengths(seed=1, window=window, first_guess=20)
    lengths.begin([1])
    for length in history:
        lengths.observe(length)
    longer = [length for length in history[-window:] if length > generated]
    drawn = {lengths.outlived(request, generated) for request in range(40)}
    assert min(drawn) > generated
    if longer:
        assert drawn <= set(longer)


def test_draws_have_the_distribution_of_the_history_and_repeat():
    def draws(seed):
        lengths = SampledLengths(seed)
        lengths.begin([1])
        for length in [10] * 300 + [20] * 600 + [30] * 100:
            lengths.observe(length)
        return [lengths.outlived(request, 15) for request in range(4000)]

    assert draws(3) == draws(3) != draws(4)
    assert draws(3).count(20) / 4000 == pytest.approx(6 / 7, abs=0.02)  # given that it is longer than 15


def test_policies_by_name_object_and_function():
    assert {name: make_policy(name).name for name in POLICIES} == {name: name for name in POLICIES}
    policy = PeakTest()
    assert make_policy(policy) is policy
    assert make_policy(can_admit).name == "can_admit"
    assert make_policy("reserve", declared=9).lengths.name == "every output declared 9"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: make_policy("peek"), "there is no policy 'peek'; there are peak, reserve"),
        (lambda: make_policy(None), "there is no policy None"),
        (lambda: make_policy(PeakTest(), declared=3), "declared belongs to a policy made here"),
        (lambda: PeakTest(headroom=1.0), "share of the pool"),
        (lambda: PeakTest(headroom=float("nan")), "share of the pool"),
        (lambda: FunctionPolicy(3), "expected a function"),
        (lambda: FunctionPolicy(can_admit, retest="sometimes"), "'step' or 'finish'"),
    ],
)
def test_bad_policies_are_refused_in_a_sentence(make, said):
    with pytest.raises(RequestError, match=said):
        make()


def test_an_answer_that_is_no_bool_is_refused():
    policy = FunctionPolicy(lambda running, candidate, capacity: None)
    policy.begin(10)
    with pytest.raises(RequestError, match=r"answered None \(NoneType\); expected True or False"):
        policy.try_admit(0, 0, 0, 1, 1)

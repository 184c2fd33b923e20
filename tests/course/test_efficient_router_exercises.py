"""Lab 06's checks: their oracle against labkit's router, what a learner reads, and that no oracle runs beside them.

That every known wrong answer is rejected by its name, and every right one accepted, is the kill matrix's work.
"""

import ast
import inspect
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit import router
from labkit.course.exercise import Case, Exercise
from labkit.course.exercises.efficient_router import LAB, counting, questions
from labkit.course.exercises.efficient_router.questions import Question, questions_of

NAMES = ("peak_tokens", "can_admit", "admit_from", "first_admissible_step")
LEAST_WRONG = {"peak_tokens": 14, "can_admit": 20, "admit_from": 8, "first_admissible_step": 8}
LEAST_RIGHT = {"peak_tokens": 3, "can_admit": 6, "admit_from": 3, "first_admissible_step": 3}

# What the facts on this lab name, in the words of the bank.
MUST_BE_KNOWN = {
    "ascending order",
    "the order as given",
    "sorted by run",
    "k counted from 0",
    "left sorted, run in the old order",
    "both columns sorted separately",
    "sum instead of maximum",
    "everybody's whole length",
    "tokens held now",
    "requests with nothing left dropped",
    "identical requests merged",
    "16-bit integers",
    "a new longest request put before the last",
}

REQUEST = st.tuples(st.integers(0, 9), st.integers(0, 9))
FEW = st.lists(REQUEST, max_size=5)
EXAMPLES = settings(max_examples=100, deadline=None)


def exercise(name: str) -> Exercise:
    return LAB.exercise(name)


def all_questions(name: str, seed: int = 0) -> list[Question]:
    return [question for case in exercise(name).make_cases(seed) for question in questions_of(case)]


def read(name: str, candidate: object, seed: int = 0) -> str:
    verdict = exercise(name).judge(candidate, seed=seed)
    assert not verdict.passed
    return str(verdict)


# --- the lab as a whole -----------------------------------------------------------------------------------


def test_the_lab_has_the_names_of_the_design() -> None:
    assert tuple(each.name for each in LAB.exercises) == NAMES
    for name in NAMES:
        theirs = tuple(inspect.signature(getattr(router, name)).parameters)
        assert exercise(name).signature == f"{name}({', '.join(theirs)})"


@pytest.mark.parametrize("name", NAMES)
def test_labkits_own_function_passes(name: str) -> None:
    for seed in range(2):
        verdict = exercise(name).judge(getattr(router, name), seed=seed)
        assert verdict.passed, str(verdict)


@pytest.mark.parametrize("name", NAMES)
def test_a_stub_is_not_written_yet(name: str) -> None:
    def stub(*args: object) -> None:
        raise NotImplementedError(f"write {name}, about {exercise(name).num_lines} lines")

    verdict = exercise(name).judge(stub)
    assert not verdict.passed
    assert str(verdict).startswith(f"○ {name}: not written yet")


@pytest.mark.parametrize("name", NAMES)
def test_there_are_enough_wrong_and_right_answers(name: str) -> None:
    wrong, right = exercise(name).wrong_answers, exercise(name).right_answers
    assert len({each.name for each in wrong}) == len(wrong) >= LEAST_WRONG[name]
    assert len({each.name for each in right}) == len(right) >= LEAST_RIGHT[name]


def test_the_known_mistakes_of_the_field_are_in_the_bank() -> None:
    for name in ("peak_tokens", "can_admit"):
        assert {each.name for each in exercise(name).wrong_answers} >= MUST_BE_KNOWN
    assert "strictly less" in {each.name for each in exercise("can_admit").wrong_answers}


def test_a_mistaken_peak_says_first_which_way_it_is_wrong() -> None:
    for each in exercise("can_admit").wrong_answers:
        if each.name in MUST_BE_KNOWN:
            assert each.sentence.startswith(("unsafe", "wasteful")), each.name


# --- the oracle -------------------------------------------------------------------------------------------


@EXAMPLES
@given(FEW)
def test_the_counted_peak_is_the_routers(requests: list[tuple[int, int]]) -> None:
    peak, step = counting.peak_and_step(requests)
    assert peak == router.peak_tokens(requests)
    assert requests == [] or peak == router.tokens_at(requests, step)


@EXAMPLES
@given(FEW, FEW, st.integers(0, 60))
def test_the_counted_queue_is_the_routers(running: list, waiting: list, capacity: int) -> None:
    assert counting.num_admitted(running, waiting, capacity) == router.admit_from(running, waiting, capacity)


@EXAMPLES
@given(FEW, REQUEST, st.integers(0, 60))
def test_the_counted_wait_is_the_routers(running: list, candidate: tuple[int, int], capacity: int) -> None:
    expected = router.first_admissible_step(running, candidate, capacity)
    assert counting.first_step(running, candidate, capacity) == expected


def test_the_oracle_uses_neither_the_router_nor_a_sort_nor_any_answer() -> None:
    tree = ast.parse(inspect.getsource(counting))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert modules == {
        "collections.abc",
        "functools",
        "numpy.typing",
        "labkit.course.exercises.efficient_router.questions",
    }


def test_what_runs_beside_a_learner_knows_no_oracle() -> None:
    source = inspect.getsource(questions)
    assert "counting" not in source
    assert "labkit.router" not in source
    for name in NAMES:
        assert exercise(name).probe is questions.probe


# --- the cases --------------------------------------------------------------------------------------------


def test_admission_is_asked_in_tight_pairs() -> None:
    asked = all_questions("can_admit")
    by_set: dict[tuple, set[int]] = {}
    for running, candidate, capacity in asked:
        peak = router.peak_tokens([*running, candidate])
        by_set.setdefault((tuple(sorted(running)), candidate), set()).add(capacity - peak)
    pairs = [distances for distances in by_set.values() if {0, -1} <= distances]
    assert len(pairs) > 700
    assert len(asked) > 2_000


@pytest.mark.parametrize("name", ["peak_tokens", "can_admit"])
def test_the_fixed_cases_are_there(name: str) -> None:
    sets = [question[0] if name == "peak_tokens" else [*question[0], question[1]] for question in all_questions(name)]
    assert any(len(each) == 1 for each in sets)
    assert any(len(each) > 1 and all(left == 0 for _, left in each) for each in sets)
    assert any(len(each) > 2 and len(set(each)) == 1 for each in sets)
    assert [(2_000, 2_000)] * 21 in sets
    assert (name == "can_admit") or [] in sets


def test_waits_come_in_all_kinds() -> None:
    steps = [counting.first_step(*question) for question in all_questions("first_admissible_step")]
    assert steps.count(None) > 10
    assert steps.count(0) > 10
    between = [
        step
        for step, (running, _, _) in zip(steps, all_questions("first_admissible_step"), strict=True)
        if step and step not in {left + 1 for _, left in running}
    ]
    assert len(between) > 50  # between two completions


@pytest.mark.parametrize("name", ["admit_from", "first_admissible_step"])
def test_nobody_is_asked_about_a_pool_that_has_overflown(name: str) -> None:
    """What an empty place costs there is nobody's business: a safe router never gets there."""
    for running, _, capacity in all_questions(name):
        assert router.peak_tokens(running) <= capacity or not running


def test_another_seed_asks_other_questions() -> None:
    for name in NAMES:
        assert all_questions(name, seed=1) != all_questions(name, seed=2)
        assert all_questions(name, seed=1) == all_questions(name, seed=1)


def test_a_package_comes_back_as_it_was() -> None:
    asked: list[Question] = [([(1, 2), (3, 4)], (5, 6), 7), ([], (0, 0), 0), ([(1, 2)], [(3, 4)], 5)]
    for small in (True, False):
        assert questions_of(questions.package("some", asked, small)) == asked
    assert questions_of(questions.package("some", [([],)], True)) == [([],)]
    assert questions_of(Case("one", ([(1, 2)],))) == [([(1, 2)],)]


# --- what a learner reads ---------------------------------------------------------------------------------


def in_order(key, reverse=False):
    """The published formula after a sort of the learner's choice."""

    def peak(requests):
        rows = sorted(requests, key=key, reverse=reverse) if key else list(requests)
        runs = np.cumsum([run for run, _ in rows])
        return int(max((runs + np.arange(1, len(rows) + 1) * [left for _, left in rows]), default=0))

    return peak


def test_the_smallest_failing_set_is_shown_with_the_way_it_is_wrong() -> None:
    text = read("peak_tokens", in_order(None))
    assert "given     peak_tokens([(1, 0), (1, 1)]), one of 584 questions" in text
    assert "expected  2: held together at step 0" in text
    assert "came      4: wasteful: a router would refuse what fits" in text
    assert "order-dependent: for peak_tokens([(1, 1), (1, 0)]) it says 2" in text
    assert "behaves like *the order as given*: wasteful and order-dependent" in text


def test_ascending_is_wasteful_and_does_not_depend_on_the_order() -> None:
    text = read("can_admit", lambda r, c, capacity: in_order(lambda q: q[1])([*r, c]) <= capacity)
    assert "given     can_admit([(1, 0)], (1, 1), 2), one of " in text
    assert "expected  True: together they hold at most 2 tokens, at step 0" in text
    assert "came      False: wasteful: a router would refuse what fits" in text
    assert "order-dependent: for" not in text
    assert "behaves like *ascending order*: wasteful: the longest must come first" in text


def test_no_look_ahead_is_unsafe() -> None:
    text = read("can_admit", lambda r, c, capacity: c[0] + sum(run for run, _ in r) <= capacity)
    assert "came      True: unsafe: a router would admit what overflows" in text
    assert "behaves like *tokens held now*" in text


def test_strictly_less_is_told_from_everything_else() -> None:
    text = read("can_admit", lambda r, c, capacity: router.peak_tokens([*r, c]) < capacity)
    assert "behaves like *strictly less*: wasteful, by one token" in text


def test_a_peak_that_wraps_round_is_shown_with_large_numbers() -> None:
    def peak(requests):
        runs, lefts = np.array(sorted(requests, key=lambda q: q[1])[::-1] or [(0, 0)], "int16").T
        return max(lefts * np.arange(1, len(runs) + 1, dtype="int16") + np.add.accumulate(runs, dtype="int16"))

    text = read("peak_tokens", peak)
    assert "21 requests of (2000, 2000)" in text
    assert "behaves like *16-bit integers*" in text


def test_a_queue_that_skips_says_who_did_not_fit() -> None:
    def skips(running, waiting, capacity):
        inside = list(running)
        for each in waiting:
            if router.can_admit(inside, each, capacity):
                inside.append(each)
        return len(inside) - len(running)

    text = read("admit_from", skips)
    assert "they would hold" in text
    assert "came      1: unsafe: with the head admitted, they hold" in text
    assert "behaves like *skips a blocked head*" in text


def test_a_wait_for_the_next_completion_is_late() -> None:
    def at_completions(running, candidate, capacity):
        for step in sorted({0} | {left + 1 for _, left in running}):
            alive = [(run + step, left - step) for run, left in running if left >= step]
            if router.can_admit(alive, candidate, capacity):
                return step
        return None

    text = read("first_admissible_step", at_completions)
    assert "wasteful: it fits earlier" in text
    assert "behaves like *only at completions*: late" in text


@pytest.mark.parametrize(
    ("name", "answer", "said"),
    [
        ("peak_tokens", 31.0, "came      31.0 (float): expected a whole number, an int"),
        ("peak_tokens", True, "came      True (bool): expected a whole number, an int"),
        ("can_admit", 1, "came      1 (int): expected True or False"),
        ("can_admit", None, "came      None: expected True or False"),
        ("admit_from", [(1, 0)], "expected a whole number, an int"),
        ("admit_from", 99, "there are not so many in the queue"),
        ("first_admissible_step", False, "came      False (bool): expected a whole number, an int, or None"),
        ("first_admissible_step", -1, "steps are counted from 0, which is now"),
    ],
)
def test_answers_of_another_kind(name: str, answer: object, said: str) -> None:
    assert said in read(name, lambda *args: answer)


def test_numbers_of_numpy_are_taken() -> None:
    assert exercise("peak_tokens").judge(lambda q: np.int64(router.peak_tokens(q))).passed
    assert exercise("peak_tokens").judge(lambda q: np.array(router.peak_tokens(q))).passed
    assert exercise("can_admit").judge(lambda *args: np.bool_(router.can_admit(*args))).passed


def test_an_exception_says_which_question_it_was() -> None:
    def fails(running, candidate, capacity):
        return router.can_admit(running, candidate, capacity) if running else max(running)

    text = read("can_admit", fails)
    assert "ValueError: max() iterable argument is empty" in text or "max() arg is an empty sequence" in text
    assert "given     can_admit([], (1, 0), 1), one of " in text
    verdict = exercise("can_admit").judge(fails)
    assert verdict.findings[0].call == "can_admit([], (1, 0), 1)"


def test_a_large_package_shows_the_one_question_that_failed() -> None:
    """And not `584 questions`: what a learner types to see it again is the question itself."""

    def wraps(requests):
        return router.peak_tokens(requests) % 4_096  # right on all that is small

    verdict = exercise("peak_tokens").judge(wraps)
    packed = [each for each in verdict.findings if each.case.name == "random sets"]
    assert len(packed) == 1
    requests = ast.literal_eval(packed[0].call.removeprefix("peak_tokens"))
    assert router.peak_tokens(requests) >= 4_096
    assert f"given     {packed[0].call[:60]}" in packed[0].message
    assert ", one of 400 questions" in packed[0].message
    single = next(each for each in verdict.findings if each.case.name == "numbers of a real pool")
    assert single.call == ""


def test_a_changed_argument_is_found() -> None:
    def leaves(running, candidate, capacity):
        running.append(candidate)
        return router.peak_tokens(running) <= capacity

    text = read("can_admit", leaves)
    assert "the answer changed its argument running" in text
    assert "behaves like *candidate left in the caller's list*" in text


def test_a_verdict_takes_less_than_a_second() -> None:
    for name, candidate in (
        ("peak_tokens", in_order(None)),
        ("can_admit", lambda r, c, capacity: c[0] + sum(run for run, _ in r) <= capacity),
        ("can_admit", lambda r, c, capacity: True),
        ("admit_from", lambda r, w, capacity: len(w)),
        ("first_admissible_step", lambda r, c, capacity: 0),
    ):
        began = time.process_time()
        assert not exercise(name).judge(candidate).passed
        assert time.process_time() - began < 1

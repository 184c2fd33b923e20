"""Lab 05's checks: their oracles against torch and labkit, slot numbers kept out of names, scripts read with care.

That every known wrong answer is rejected by its name, and every right one accepted, is the kill matrix's work.
"""

import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit import kv_cache
from labkit.course.apart import ask_here
from labkit.course.exercise import Case, Exercise
from labkit.course.exercises.token_attention import LAB
from labkit.course.exercises.token_attention.allocator_right import right as right_allocators
from labkit.course.exercises.token_attention.allocator_scripts import LARGE
from labkit.course.exercises.token_attention.allocator_wrong import Sets
from labkit.course.exercises.token_attention.learner_scripts import Complaint, read_script
from labkit.course.exercises.token_attention.table_play import ScatteredPool
from labkit.course.exercises.token_attention.table_wrong import Lists

SEEDS = (0, 1, 2, 3, 4)
NAMES = ("wasted_slots", "TokenAllocator", "exposing_script", "fragmenting_script", "TokenTable", "token_attention")
OWN = ("wasted_slots", "TokenAllocator", "TokenTable", "token_attention")  # labkit has these too


def exercise(name: str) -> Exercise:
    return LAB.exercise(name)


# --- the lab as a whole -----------------------------------------------------------------------------------


def test_the_lab_has_the_names_of_the_design() -> None:
    assert tuple(each.name for each in LAB.exercises) == NAMES
    assert LAB.points == 20


@pytest.mark.parametrize("name", OWN)
def test_labkits_own_passes(name: str) -> None:
    for seed in SEEDS[:2]:  # that a right answer passes on every seed is the kill matrix's work
        verdict = exercise(name).judge(getattr(kv_cache, name), seed=seed)
        assert verdict.passed, str(verdict)


@pytest.mark.parametrize("name", NAMES)
def test_a_stub_is_not_written_yet(name: str) -> None:
    def stub(*args: object) -> None:
        raise NotImplementedError(f"write {name}, about {exercise(name).num_lines} lines")

    verdict = exercise(name).judge(stub)
    assert str(verdict).startswith(f"○ {name}: not written yet: write {name}")


@pytest.mark.parametrize("name", NAMES)
def test_there_are_enough_wrong_and_right_answers(name: str) -> None:
    wrong, right = exercise(name).wrong_answers, exercise(name).right_answers
    least_wrong, least_right = (20, 6) if name == "TokenAllocator" else (8, 3)
    assert len({each.name for each in wrong}) == len(wrong) >= least_wrong
    assert len({each.name for each in right}) == len(right) >= least_right


def test_a_verdict_does_not_wait_for_torch() -> None:
    code = (
        "import sys; from labkit.course.exercises.token_attention import LAB;"
        "verdicts = [each.judge(lambda *args: args[0]) for each in LAB.exercises];"
        "assert not any(verdict.passed for verdict in verdicts); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ["TokenAllocator", "TokenTable"])
def test_a_verdict_takes_less_than_a_second(name: str) -> None:
    each = exercise(name)
    cases = each.make_cases(0)
    slow = []
    for wrong in each.wrong_answers[::12]:
        start = time.process_time()  # not the wall clock: others compute on this machine too
        verdict = each.judge_answers(cases, ask_here(wrong.candidate, each.probe, cases), 0)
        assert verdict.findings[0].misconception == wrong.name
        slow += [wrong.name] if time.process_time() - start > 1 else []
    assert slow == []


# --- the allocator ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("generation", [1, 2, 3, 4])
def test_no_published_generation_passes(generation: int) -> None:
    verdict = exercise("TokenAllocator").judge(kv_cache.GENERATIONS[generation])
    assert not verdict.passed
    assert {finding.case.name for finding in verdict.findings} & {"given back twice", "a run of the whole pool"}


def test_the_scripts_cover_what_they_should() -> None:
    cases = exercise("TokenAllocator").make_cases(3)
    calls = [call for case in cases for call in case.args[1]]
    assert {call[0] for call in calls} == {"alloc", "alloc_contiguous", "free"}
    assert any(case.args[0] > 300 for case in cases)
    assert any(case.args[0] >= 40_000 for case in cases)
    assert sum(case.name.startswith("random") for case in cases) >= 4
    assert exercise("TokenAllocator").make_cases(4)[-1].args != cases[-1].args


class _LastFit(Sets):
    """As the bank's right allocator, with all slots from the other end of the pool."""

    def list_free(self) -> list[int]:
        return super().list_free()[::-1]

    def alloc_contiguous(self, n: int) -> Any:
        for start in range(self.size - n, -1, -1):
            if self.held.isdisjoint(range(start, start + n)):
                return self.take(range(start, start + n))
        return None


class _ExactFitRefused(_LastFit):
    def alloc(self, n: int) -> Any:
        return None if n >= self.num_free > 0 else super().alloc(n)


class _DoubleFree(_LastFit):
    def look_for_bad(self, slots: list[int]) -> None:
        if len(set(slots)) < len(slots) or any(not 0 <= slot < self.size for slot in slots):
            raise ValueError("not in the pool")


class _HalfDone(_LastFit):
    def free(self, indices: Any) -> None:
        for slot in indices.tolist():
            if slot not in self.held:
                raise ValueError("not held")
            self.held.discard(slot)


class _Anywhere(_LastFit):
    def alloc_contiguous(self, n: int) -> Any:
        slots = super().alloc_contiguous(n)
        return self.alloc(n) if slots is None else slots


@pytest.mark.parametrize(
    ("candidate", "name"),
    [
        (_ExactFitRefused, "refuses the exact fit"),
        (_DoubleFree, "any slot of the pool accepted"),
        (_HalfDone, "a refused free half done"),
        (_Anywhere, "any slots instead of a run"),
    ],
)
def test_a_mistake_is_named_wherever_the_slots_lie(candidate: Any, name: str) -> None:
    assert exercise("TokenAllocator").judge(_LastFit, seed=1).passed
    assert exercise("TokenAllocator").judge(candidate, seed=1).findings[0].misconception == name


def test_a_large_pool_shows_what_small_ones_do_not() -> None:
    class Int16(Sets):
        def take(self, slots: Any) -> Any:
            return super().take(slots).astype(np.int16).astype(np.int64)

    verdict = exercise("TokenAllocator").judge(Int16)
    assert [finding.case.args[0] >= LARGE for finding in verdict.findings] == [True]
    assert verdict.findings[0].misconception is None
    assert "slots from 0 to size - 1" in str(verdict)


def test_a_half_written_class_is_not_written_yet() -> None:
    class TokenAllocator(Sets):
        def free(self, indices: Any) -> None:
            raise NotImplementedError("TokenAllocator: write this exercise, about 24 lines")

    text = str(exercise("TokenAllocator").judge(TokenAllocator))
    assert text.startswith("○ TokenAllocator: not written yet: `free`: write this exercise, about 24 lines (")
    assert text.endswith(" cases are right already)")


def test_what_is_written_is_judged_before_the_rest_is() -> None:
    class TokenAllocator(Sets):
        def alloc(self, n: int) -> Any:
            return super().alloc(n) if n else None

        def free(self, indices: Any) -> None:
            raise NotImplementedError

        def alloc_contiguous(self, n: int) -> Any:
            raise NotImplementedError

    text = str(exercise("TokenAllocator").judge(TokenAllocator))
    assert text.startswith("✗ TokenAllocator: 2 of ")
    assert "wait for `free` and `alloc_contiguous`, not written yet; the smallest:" in text
    assert "behaves like *alloc(0) is None*" in text


def test_a_learner_reads_script_rule_call_and_line() -> None:
    class TokenAllocator(Sets):
        def free(self, indices: Any) -> None:
            super().free(indices)
            if len(indices) == 2:
                self.held[0]  # type: ignore[index]

    text = str(exercise("TokenAllocator").judge(TokenAllocator))
    assert "given     size = 3; script = [('alloc', 'a', 2), ('free', 'a')]" in text
    assert "expected  no complaint: every one of these slots is held" in text
    assert "came      call 2, free([0, 1]) raises TypeError" in text
    assert "TypeError: 'set' object is not subscriptable" in text
    assert "self.held[0]" in text


def test_what_is_no_allocator_gets_a_reason() -> None:
    for candidate in (lambda size: None, lambda size: [0] * size, list, lambda: Sets(4)):
        verdict = exercise("TokenAllocator").judge(candidate)
        assert not verdict.passed
        assert "Error" in str(verdict)


# --- the table --------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 30), st.lists(st.tuples(st.sampled_from(["alloc", "run", "free", "bad"]), st.integers(0, 9))))
def test_the_given_pool_is_a_right_allocator(size: int, calls: list[tuple[str, int]]) -> None:
    pool, given_out = ScatteredPool(size), []
    for kind, n in calls:
        before = set(pool.held)
        if kind in ("alloc", "run"):
            slots = pool.alloc(n) if kind == "alloc" else pool.alloc_contiguous(n)
            if slots is None:
                assert pool.held == before
                assert kind == "run" or n > size - len(before)
            else:
                assert len(set(slots.tolist())) == n
                assert not before & set(slots.tolist())
                assert kind == "alloc" or n == 0 or slots[-1] - slots[0] == n - 1
                given_out.append(slots)
        elif kind == "free" and given_out:
            pool.free(given_out.pop(n % len(given_out)))
        elif kind == "bad":
            with pytest.raises(ValueError, match="given back to the pool"):
                pool.free(np.array([*sorted(before)[:1], -1]))
            assert pool.held == before
        assert pool.num_free + len(pool.held) == size


def test_a_table_may_ask_for_runs_first() -> None:
    def table(max_requests: int, max_len: int, allocator: Any) -> kv_cache.TokenTable:
        return kv_cache.TokenTable(max_requests, max_len, allocator, take=kv_cache.alloc_any)

    assert exercise("TokenTable").judge(table).passed
    assert exercise("TokenTable").judge(kv_cache.TokenTable).passed  # runs first


class _Rows(kv_cache.TokenTable):
    """labkit's own, with an answer that is a part of its array."""

    clears = True

    def slots(self, row: int) -> Any:
        if self._lengths[row] < 0:
            raise ValueError("no request there")
        return self._slots[row, : self._lengths[row]]

    def finish(self, row: int) -> None:
        kept = self._slots.copy()
        super().finish(row)
        if not self.clears:
            self._slots[:] = kept


@pytest.mark.parametrize("clears", [True, False])
def test_a_view_of_the_row_is_refused_by_name(clears: bool) -> None:
    """`return self.table[row, :n]`: the bug of two published generations, whether or not a finished row is cleared."""

    class TokenTable(_Rows):
        pass

    TokenTable.clears = clears
    verdict = exercise("TokenTable").judge(TokenTable)
    assert verdict.findings[0].misconception == "a view of the row"
    assert "expected  an answer of slots(row) stays as it was given" in str(verdict)
    assert "what slots(row) answered earlier for request 'a' reads other slots now" in str(verdict)


def test_an_error_inside_a_table_shows_its_line() -> None:
    class TokenTable(Lists):
        def append(self, rows: Any) -> bool:
            return bool(self.lengths[rows])  # type: ignore[attr-defined]

    text = str(exercise("TokenTable").judge(TokenTable))
    assert "AttributeError" in text
    assert "self.lengths[rows]" in text


# --- the scripts ------------------------------------------------------------------------------------------

ATOM = st.none() | st.booleans() | st.integers(-2, 9) | st.floats() | st.sampled_from(["alloc", "free", "a", "b", ""])
NEARLY_A_CALL = st.lists(ATOM | st.lists(ATOM, max_size=2), max_size=4).map(tuple)
ANYTHING = ATOM | st.lists(ATOM | NEARLY_A_CALL | st.just(("alloc", "a", 2)) | st.just(("free", "a")), max_size=6)


@settings(max_examples=60, deadline=None)
@given(ANYTHING)
def test_no_answer_breaks_the_judge_of_a_script(value: Any) -> None:
    for name, args in (("fragmenting_script", (5,)), ("exposing_script", (1, 5)), ("exposing_script", (4, 5))):
        each = exercise(name)
        difference = each.judge_case(Case("any", args), value)
        assert difference is None or difference.came
        assert each.seen(Case("any", args), value) is not None or difference is None  # type: ignore[attr-defined]


def test_a_script_is_read_with_care() -> None:
    def complaint(value: Any) -> str:
        read = read_script(value, ("alloc",), size=4, max_calls=5)
        assert isinstance(read, Complaint)
        return read.message

    assert read_script([("alloc", "a", 3), ["free", "a"], ("free", [0])], ("alloc",), 4, 5) == [
        ("alloc", "a", 3),
        ("free", "a"),
        ("free", [0]),
    ]
    assert "a script is a list of calls" in complaint("alloc")
    assert "no calls" in complaint([])
    assert "at most 5 are played" in complaint([("free", "a")] * 6)
    for bad in (
        ("alloc", "a", 0),
        ("alloc", "a", 2.0),
        ("alloc", "a", True),
        ("alloc", "a", 10**9),
        ("alloc_any", "a", 1),
    ):
        assert complaint([("alloc", "a", 1), bad]).startswith("call 2 is (")


def test_a_fragmenting_script_fools_labkits_allocator_too() -> None:
    for answer in exercise("fragmenting_script").right_answers:
        for size in (3, 4, 9, 40):
            log = kv_cache.play(kv_cache.TokenAllocator(size), answer.candidate(size))
            *_, state = (state for _, state in kv_cache.iter_pool_states(log))
            assert log["events"][-1]["answer"] is None
            assert kv_cache.longest_free_run(state) == 1
            assert 2 * log["events"][-1]["num_free"] >= size


def test_the_scripts_that_expose_a_generation_pass_on_right_allocators() -> None:
    for answer in exercise("exposing_script").right_answers:
        for generation in (1, 2, 3, 4):
            for allocator in right_allocators:
                log = kv_cache.play(allocator.candidate(9), answer.candidate(generation, 9), 9)
                assert kv_cache.first_violation(log) is None
            log = kv_cache.play(kv_cache.GENERATIONS[generation](9), answer.candidate(generation, 9), 9)
            assert kv_cache.first_violation(log) is not None


# --- what a sentence may say ------------------------------------------------------------------------------


def test_a_sentence_says_what_happens_and_calls_a_cause_an_example() -> None:
    """Neither `/` nor `np.unique` stands in these answers: what is there is the behaviour that they lead to, too."""

    def wasted(lengths: Any, reserve: Any) -> Any:
        n = reserve[1] if len(reserve) > 1 else 1
        per_request = [n - length if reserve[0] == "max" else -length % n for length in lengths]
        return np.array(per_request).sum()  # 0.0 of an empty array

    class TokenAllocator(Sets):
        def look_for_bad(self, slots: list[int]) -> None:
            if not self.held.issuperset(slots):
                raise ValueError("not held")

    for name, candidate, behaviour, cause in (
        ("wasted_slots", wasted, "the right number, as a float", "`/`"),
        ("TokenAllocator", TokenAllocator, "a slot twice in one free is freed once", "np.unique"),
    ):
        text = str(exercise(name).judge(candidate))
        assert text.index(behaviour) < text.index("For example") < text.index(cause)


# --- counting and attention -------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 99), max_size=6), st.integers(1, 40))
def test_wasted_slots_is_judged_like_tables_that_were_filled(lengths: list[int], block: int) -> None:
    table = kv_cache.BlockTable(6, 99, 10_000, block)
    for length in lengths:
        table.start(length)
    wasted = table.num_reserved - table.num_tokens
    assert exercise("wasted_slots").judge_case(Case("blocks", (lengths, ("block", block))), wasted) is None
    whole = kv_cache.ReserveMaxTable(6, 99, 10_000)
    for length in lengths:
        whole.start(length)
    wasted = whole.num_reserved - whole.num_tokens
    assert exercise("wasted_slots").judge_case(Case("maximum", (lengths, ("max", 99))), wasted) is None


def test_token_attention_is_judged_like_torchs_attention() -> None:
    for seed in SEEDS:
        for case in exercise("token_attention").make_cases(seed):
            q, k_cache, v_cache, slots = case.args
            k, v = (torch.from_numpy(cache[slots]).transpose(0, 1) for cache in (k_cache, v_cache))
            out = torch.nn.functional.scaled_dot_product_attention(torch.from_numpy(q)[:, None], k, v)
            assert exercise("token_attention").judge_case(case, out[:, 0].numpy()) is None, case.name


def test_slots_never_lie_in_the_order_of_the_pool() -> None:
    for seed in SEEDS:
        for case in exercise("token_attention").make_cases(seed):
            slots = case.args[3]
            assert len(slots) < 2 or not (np.diff(slots) > 0).all()

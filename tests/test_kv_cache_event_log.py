"""Event logs and what is read from them; the audit against a bank of wrong allocators; the four generations."""

from __future__ import annotations

import copy
import json
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.kv_cache import (
    FREE,
    GENERATIONS,
    FreeError,
    RecordingAllocator,
    RecordingTable,
    TokenAllocator,
    TokenTable,
    count_runs,
    first_violation,
    fragmentation,
    iter_pool_states,
    longest_free_run,
    play,
    pool_counters,
    pool_states,
    share_in_one_run,
)


def random_script(seed: int, size: int, num_calls: int = 120) -> list[tuple]:
    """Good and bad calls: holders come and go; double frees, repeated, negative and too large slots, bad counts."""
    rng = random.Random(seed)
    script: list[tuple] = []
    for i in range(num_calls):
        kind, holder = rng.random(), f"h{rng.randrange(i + 1)}"
        if kind < 0.55:
            n = rng.choice([0, 1, 1, 2, 3, rng.randrange(size // 2 + 1), size])
            script.append((rng.choice(["alloc", "alloc_contiguous"]), f"h{i}", n))
        elif kind < 0.85:
            script.append(("free", holder))
        elif kind < 0.95:
            script.append(("free", [rng.randrange(-2, size + 2) for _ in range(rng.randrange(4))]))
        else:
            script.append(("alloc", f"h{i}", rng.choice([-1, size + 1])))
    return script


FIXED_SCRIPTS = {
    "exact fit": (16, [("alloc", "a", 16), ("free", "a"), ("alloc_contiguous", "b", 16)]),
    "exhaustion": (16, [("alloc", "a", 10), ("alloc", "b", 7), ("alloc", "c", 6)]),
    "nothing": (16, [("alloc", "a", 0), ("alloc_contiguous", "b", 0), ("free", []), ("free", "a")]),
    "last window": (400, [("alloc", "a", 400), ("free", list(range(250, 400))), ("alloc_contiguous", "b", 150)]),
    "no window round the end": (8, [("alloc", "a", 8), ("free", [0, 1, 6, 7]), ("alloc_contiguous", "b", 3)]),
    "double free": (16, [("alloc", "a", 8), ("alloc", "b", 8), ("free", "a"), ("free", "a")]),
    "a slot twice": (16, [("alloc", "a", 16), ("free", [3, 4, 3])]),
    "negative": (16, [("alloc", "a", 16), ("free", [-1])]),
    "half done": (16, [("alloc", "a", 16), ("free", [1, 2, 99]), ("alloc", "b", 2)]),
    "aliasing": (16, [("alloc", "a", 4), ("alloc", "b", 4), ("free", "a"), ("alloc", "c", 6)]),
}


def violations(make) -> dict[str, str]:
    """Script name -> rule, for each script on which an allocator breaks one."""
    scripts = FIXED_SCRIPTS | {f"random {seed}": (24, random_script(seed, 24)) for seed in range(10)}
    found = {name: first_violation(play(make(size), script)) for name, (size, script) in scripts.items()}
    return {name: violation.rule for name, violation in found.items() if violation}


# Wrong allocators of the catalogue: each is the right one with a single thing spoilt


class Right:
    """A set and a sort: shares nothing with TokenAllocator."""

    def __init__(self, size: int) -> None:
        self.size, self.free_slots = size, set(range(size))

    @property
    def num_free(self) -> int:
        return len(self.free_slots)

    def check(self, n: int) -> None:
        if n < 0:
            raise ValueError("negative")

    def alloc(self, n: int) -> np.ndarray | None:
        self.check(n)
        return self.take(sorted(self.free_slots)[:n]) if n <= len(self.free_slots) else None

    def windows(self, n: int) -> range:
        return range(self.size - n + 1)

    def alloc_contiguous(self, n: int) -> np.ndarray | None:
        self.check(n)
        for start in self.windows(n):
            if self.free_slots.issuperset(range(start, start + n)):
                return self.take(list(range(start, start + n)))
        return None

    def take(self, slots: list[int]) -> np.ndarray:
        self.free_slots -= set(slots)
        return np.array(slots, dtype=np.int64)

    def free(self, indices) -> None:
        slots = np.asarray(indices).tolist()
        if len(set(slots)) < len(slots) or self.free_slots.intersection(slots):
            raise ValueError("twice")
        if any(not 0 <= slot < self.size for slot in slots):
            raise ValueError("range")
        self.free_slots |= set(slots)


class RefusesExactFit(Right):
    def alloc(self, n):
        return super().alloc(n) if n == 0 or n < self.num_free else None


class GivesAPart(Right):
    def alloc(self, n):
        return super().alloc(min(n, self.num_free))


class NothingIsNone(Right):
    def alloc(self, n):
        return super().alloc(n) if n else None


class NothingTakesASlot(Right):
    def alloc(self, n):
        return super().alloc(max(n, 1))


class CounterNeverFalls(Right):
    @property
    def num_free(self):
        return self.size


class MissesLastWindow(Right):
    def windows(self, n):
        return range(self.size - n)


class WindowWrapsRound(Right):
    def alloc_contiguous(self, n):
        self.check(n)
        for start in range(self.size):
            window = [(start + i) % self.size for i in range(n)]
            if self.free_slots.issuperset(window):
                return self.take(window)
        return None


class AcceptsDoubleFree(Right):
    def free(self, indices):
        self.free_slots |= set(np.asarray(indices).tolist()) & set(range(self.size))


class AcceptsARepeatedSlot(Right):
    def free(self, indices):
        super().free(list(dict.fromkeys(np.asarray(indices).tolist())))


class AcceptsNegative(Right):
    def free(self, indices):
        super().free([slot % self.size if slot < 0 else slot for slot in np.asarray(indices).tolist()])


class FreesHalf(Right):
    def free(self, indices):
        for slot in np.asarray(indices).tolist():
            super().free([slot])


class AnswersAList(Right):
    def alloc(self, n):
        answer = super().alloc(n)
        return answer if answer is None else [f"slot {slot}" for slot in answer.tolist()]


class ScatteredRun(Right):
    def alloc_contiguous(self, n):
        return self.alloc(n)


class RaisesOnExhaustion(Right):
    def alloc(self, n):
        answer = super().alloc(n)
        if answer is None:
            raise IndexError("full")
        return answer


class KeepsNegativeCount(Right):
    def check(self, n):
        pass

    def alloc(self, n):
        return super().alloc(max(n, 0))


WRONG = {
    RefusesExactFit: "all or nothing",
    GivesAPart: "all or nothing",
    NothingIsNone: "all or nothing",
    NothingTakesASlot: "all or nothing",
    CounterNeverFalls: "conservation",
    MissesLastWindow: "all or nothing",
    WindowWrapsRound: "all or nothing",
    AcceptsDoubleFree: "bad free",
    AcceptsARepeatedSlot: "bad free",
    AcceptsNegative: "bad free",
    FreesHalf: "conservation",
    AnswersAList: "answer",
    ScatteredRun: "one run",
    RaisesOnExhaustion: "all or nothing",
    KeepsNegativeCount: "bad count",
    GENERATIONS[1]: "bad free",
    GENERATIONS[2]: "bad free",
    GENERATIONS[3]: "aliasing",
    GENERATIONS[4]: "bad free",
}


@pytest.mark.parametrize("make", [TokenAllocator, Right])
def test_the_audit_accepts_right_allocators(make) -> None:
    assert violations(make) == {}


@pytest.mark.parametrize("make", list(WRONG))
def test_the_audit_rejects_wrong_allocators_by_rule(make) -> None:
    assert WRONG[make] in violations(make).values()


def test_a_violation_reads_as_a_sentence() -> None:
    log = play(GENERATIONS[1](16), FIXED_SCRIPTS["double free"][1])
    assert str(first_violation(log)) == (
        "step 3: bad free: free([0, 1, 2, 3, 4, 5, 6, 7]) is accepted; "
        "only held slots, each once, may be freed (ValueError)"
    )


def test_an_allocator_that_is_born_wrong() -> None:
    assert first_violation(play(TokenAllocator(8), [], size=9)).rule == "conservation"


# The four generations: the bug of each, and that there is nothing else wrong with them


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_generation_is_right_until_it_is_misused(generation: int) -> None:
    """Alloc and free of the whole in good order; copies of the answers, which 3 and 4 do not make."""
    rng, allocator, held = random.Random(generation), GENERATIONS[generation](200), []
    for _ in range(300):
        n = rng.randrange(30)
        if n <= allocator.num_free:
            held.append(np.array(allocator.alloc(n)))
        else:
            allocator.free(held.pop(rng.randrange(len(held))))
        slots = [slot for array in held for slot in array.tolist()]
        assert len(set(slots)) == len(slots) == 200 - allocator.num_free


@pytest.mark.parametrize("generation", [1, 2])
@given(held=st.sets(st.integers(0, 19)), n=st.integers(0, 20))
def test_the_early_generations_find_the_first_run(generation: int, held: set[int], n: int) -> None:
    allocator = GENERATIONS[generation](20)
    allocator.free(np.setdiff1d(allocator.alloc(20), list(held)))
    free = [start for start in range(21 - n) if held.isdisjoint(range(start, start + n))]
    answer = allocator.alloc_contiguous(n)
    assert answer.tolist() == list(range(free[0], free[0] + n)) if free else answer is None


def test_generation_1_counts_more_than_it_has() -> None:
    allocator = GENERATIONS[1](16)
    slots = allocator.alloc(16)
    allocator.free(slots)
    allocator.free(slots[:4])
    assert allocator.num_free == 20
    assert len(allocator.alloc(18)) == 16


def test_generation_2_counts_a_repeated_slot_twice_and_loses_what_is_freed_twice() -> None:
    allocator = GENERATIONS[2](16)
    slots = allocator.alloc(16)
    allocator.free(slots[[0, 0]])
    assert allocator.num_free == 2
    allocator = GENERATIONS[2](16)
    slots = allocator.alloc(4)
    allocator.free(slots)
    allocator.free(slots)
    assert allocator.num_free == 16
    assert len(allocator.alloc(16)) == 12


def test_generation_3_answers_with_views_and_shares_slots_after_a_double_free() -> None:
    allocator = GENERATIONS[3](16)
    allocator.alloc(3)
    kept = allocator.alloc(3)
    before = kept.tolist()
    allocator.free([0, 1, 2])
    assert kept.tolist() != before
    allocator = GENERATIONS[3](16)
    slots = allocator.alloc(12)[:4].copy()
    allocator.free(slots)
    allocator.free(slots)
    assert set(allocator.alloc(4)) == set(allocator.alloc(4))


def test_generation_4_answers_are_valid_until_the_ring_comes_round() -> None:
    allocator = GENERATIONS[4](16)
    kept = allocator.alloc(8)
    before = kept.tolist()
    for _ in range(6):
        assert kept.tolist() == before
        allocator.free(np.array(allocator.alloc(8))[::-1])
    assert kept.tolist() != before
    allocator = GENERATIONS[4](16)
    slots = allocator.alloc(12)[:4].copy()
    allocator.free(slots)
    allocator.free(slots)
    assert set(allocator.alloc(4)) == set(allocator.alloc(4))


def test_later_generations_stop_when_slots_run_out() -> None:
    assert GENERATIONS[1](4).alloc(5) is GENERATIONS[2](4).alloc(5) is None
    for generation in (3, 4):
        with pytest.raises(AssertionError, match="5 slots asked for, 4 free"):
            GENERATIONS[generation](4).alloc(5)


def test_one_script_shows_each_generation_its_own_end() -> None:
    script = [
        ("alloc", "a", 8),
        ("alloc", "b", 4),
        ("free", "a"),
        ("alloc", "c", 8),
        ("free", "c"),
        ("free", "c"),
        ("alloc", "d", 4),
    ]
    stops = {generation: first_violation(play(make(16), script)) for generation, make in GENERATIONS.items()}
    assert {generation: (stop.step, stop.rule) for generation, stop in stops.items()} == {
        1: (5, "bad free"),
        2: (5, "bad free"),
        3: (2, "aliasing"),
        4: (5, "bad free"),
    }
    assert first_violation(play(TokenAllocator(16), script)) is None


# Recording


def test_an_event_says_what_was_asked_answered_and_moved() -> None:
    recorder = RecordingAllocator(TokenAllocator(8))
    recorder.owner = "a"
    slots = recorder.alloc(np.int64(3))
    recorder.free(slots[:1])
    with pytest.raises(FreeError):
        recorder.free(slots[:1])
    assert recorder.alloc_contiguous(7) is None
    expected = {"step": 0, "operation": "alloc", "argument": 3, "answer": slots.tolist(), "error": None}
    expected |= {"num_free": 5, "taken": [(0, slots.tolist())], "returned": []}
    assert recorder.log["events"][0] == expected
    assert [event["returned"] for event in recorder.log["events"]] == [[], [int(slots[0])], [], []]
    assert recorder.log["events"][2]["error"]["type"] == "FreeError"
    assert recorder.log["events"][2]["error"]["value_error"] is True
    assert recorder.log["events"][3]["answer"] is None
    assert recorder.log["owners"] == ["a"]
    recorder.check_integrity()  # what is not recorded is the allocator's own


def test_a_log_is_json_whatever_the_learner_returns() -> None:
    class Odd:
        num_free = float("nan")

        def alloc(self, n):
            return {"slots": {1, 2}} if n else (np.float32("inf"), [np.int8(3)], "x")

        def free(self, indices):
            raise KeyError("not a ValueError")

    log = play(Odd(), [("alloc", "a", 2), ("alloc", "a", 0), ("free", [1]), ("alloc", "b", float("nan"))], size=8)
    assert json.loads(json.dumps(log, allow_nan=False))["events"][2]["error"]["value_error"] is False
    assert log["events"][1]["answer"] == ["inf", [3], "x"]
    assert all(event["taken"] == [] for event in log["events"])
    assert first_violation(log).rule == "conservation"


def test_play_goes_on_after_an_error_and_names_aliased_answers() -> None:
    script = [("alloc", "a", 2), ("alloc", "b", 2), ("free", [77]), ("free", "a"), ("alloc", "c", 1)]
    log = play(GENERATIONS[3](8), script)
    assert len(log["events"]) == len(script)
    assert "changed" not in log["events"][1]
    assert "changed" in log["events"][3]
    assert not any("changed" in event for event in play(TokenAllocator(8), script)["events"])


@pytest.mark.parametrize("step", [("alloc", 3), ("free",), ("grow", "a", 3)])
def test_a_script_that_is_none_is_refused(step: tuple) -> None:
    with pytest.raises(ValueError, match=r"A call is .* got"):
        play(TokenAllocator(8), [step])


def test_a_recorder_can_be_copied() -> None:
    recorder = RecordingAllocator(TokenAllocator(8))
    recorder.alloc(2)
    twin = copy.copy(recorder)
    assert twin.num_free == 6


def recorded_requests() -> tuple[RecordingTable, dict[int, str]]:
    table = RecordingTable(TokenTable(4, 16, TokenAllocator(32)), size=32)
    first, second = table.start(5), table.start(3)
    table.append([first, second])
    table.finish(first)
    third = table.start(6)
    table.append([second])
    assert third == first  # the row is used again, the owner is a new one
    with pytest.raises(ValueError, match="holds no request"):
        table.finish(3)
    return table, {second: "request 1", third: "request 2"}


def test_a_recorded_table_colours_slots_by_request() -> None:
    table, owners = recorded_requests()
    state = pool_states(table.log)[-1]
    for row, owner in owners.items():
        assert sorted(table.slots(row)) == np.flatnonzero(state == table.log["owners"].index(owner)).tolist()
    assert np.count_nonzero(state == FREE) == 32 - table.num_tokens == table.log["events"][-1]["num_free"]
    assert json.loads(json.dumps(table.log))["events"][-1]["error"]["type"] == "RowError"
    assert share_in_one_run(table.log) == 1
    assert math.isnan(share_in_one_run(table.log, "free"))


# States and counters


@settings(max_examples=100)
@given(st.lists(st.booleans(), max_size=40))
def test_runs_and_fragmentation_by_brute_force(is_free: list[bool]) -> None:
    state = [FREE if free else 0 for free in is_free]
    longest = max(map(len, "".join("f" if free else "h" for free in is_free).split("h")))
    assert longest_free_run(state) == longest
    assert fragmentation(state) == (1 - longest / sum(is_free) if any(is_free) else 0)


@given(st.lists(st.integers(0, 12)))
def test_count_runs_by_brute_force(slots: list[int]) -> None:
    runs: list[list[int]] = []
    for slot in slots:
        if runs and runs[-1][-1] + 1 == slot:
            runs[-1].append(slot)
        else:
            runs.append([slot])
    assert count_runs(slots) == len(runs)


def test_states_follow_the_log() -> None:
    log = play(TokenAllocator(24), random_script(3, 24))
    states = pool_states(log)
    assert states.shape == (len(log["events"]) + 1, 24)
    counters = pool_counters(log)
    assert counters["num_free"] == [24] + [event["num_free"] for event in log["events"]]
    assert json.loads(json.dumps(counters)) == counters
    for (_, state), kept in zip(iter_pool_states(log), states, strict=True):
        assert (state == kept).all()


def test_slots_outside_the_pool_do_not_break_the_picture() -> None:
    class Outside(Right):
        def alloc(self, n):
            return np.arange(self.size - 1, self.size - 1 + n)

    log = play(Outside(4), [("alloc", "a", 3)])
    assert pool_states(log)[-1].tolist() == [FREE, FREE, FREE, 0]
    assert first_violation(log).rule == "range"

"""The token allocator and the tables against Python sets: at small sizes by hypothesis, at real ones by churn."""

from __future__ import annotations

import copy
import doctest
import importlib
import pickle
import random
import time
from collections import deque
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from labkit import kv_cache
from labkit.kv_cache import (
    BlockTable,
    CountError,
    FreeError,
    IntegrityError,
    ReserveMaxTable,
    RowError,
    TokenAllocator,
    TokenTable,
    alloc_any,
    alloc_contiguous_else_lowest,
    alloc_contiguous_first,
    replay,
    token_attention,
    wasted_slots,
)

STATEFUL = settings(max_examples=40, stateful_step_count=40, deadline=None)


def has_free_run(held: set[int], size: int, n: int) -> bool:
    """Brute force: is there a window of n free slots?"""
    return any(held.isdisjoint(range(start, start + n)) for start in range(size - n + 1))


class AllocatorMachine(RuleBasedStateMachine):
    """Any order of calls, good and bad, against a set of held slots."""

    given_out = Bundle("given_out")

    @initialize(size=st.integers(0, 40))
    def make(self, size: int) -> None:
        self.size = size
        self.allocator = TokenAllocator(size)
        self.held: set[int] = set()
        self.answers: list[tuple[np.ndarray, list[int]]] = []

    def take(self, answer: np.ndarray | None, n: int) -> list[int]:
        assert isinstance(answer, np.ndarray)
        assert answer.dtype == np.int64
        assert answer.shape == (n,)
        slots = answer.tolist()
        assert len(set(slots)) == n
        assert self.held.isdisjoint(slots)
        assert set(slots) <= set(range(self.size))
        self.held |= set(slots)
        self.answers.append((answer, slots))
        return slots

    @rule(target=given_out, n=st.integers(0, 45))
    def alloc(self, n: int) -> list[int]:
        answer = self.allocator.alloc(n)
        if n > self.size - len(self.held):
            assert answer is None
            return []
        return self.take(answer, n)

    @rule(target=given_out, n=st.integers(0, 45))
    def alloc_contiguous(self, n: int) -> list[int]:
        answer = self.allocator.alloc_contiguous(n)
        if not has_free_run(self.held, self.size, n):
            assert answer is None
            return []
        slots = self.take(answer, n)
        assert slots == list(range(min(slots, default=0), min(slots, default=0) + n))
        return slots

    @rule(target=given_out, n=st.integers(0, 45))
    def alloc_lowest(self, n: int) -> list[int]:
        answer = self.allocator.alloc_lowest(n)
        free = sorted(set(range(self.size)) - self.held)
        if n > len(free):
            assert answer is None
            return []
        assert answer.tolist() == free[:n]
        return self.take(answer, n)

    @rule(slots=consumes(given_out), data=st.data())
    def free_some_in_any_order(self, slots: list[int], data: st.DataObject) -> None:
        still_held = data.draw(st.permutations([slot for slot in slots if slot in self.held]))
        freed = still_held[: data.draw(st.integers(0, len(still_held)))]
        self.allocator.free(np.array(freed, dtype=np.int64))
        self.held -= set(freed)

    @rule()
    def free_everything_in_one_call(self) -> None:
        self.allocator.free(sorted(self.held, reverse=True))
        self.held.clear()

    @rule(slots=st.lists(st.integers(-3, 43), min_size=1, max_size=6))
    def free_anything(self, slots: list[int]) -> None:
        if len(set(slots)) == len(slots) and self.held.issuperset(slots):
            self.allocator.free(slots)
            self.held -= set(slots)
        else:
            with pytest.raises(FreeError):
                self.allocator.free(np.array(slots))

    @invariant()
    def conserves(self) -> None:
        assert self.allocator.num_free == self.size - len(self.held)
        self.allocator.check_integrity()

    @invariant()
    def answers_do_not_change(self) -> None:
        for answer, slots in self.answers:
            assert answer.tolist() == slots


class TableMachine(RuleBasedStateMachine):
    """Requests that come, grow and go, against a dict of slot lists."""

    MAX_REQUESTS, MAX_LEN, SIZE = 4, 12, 24

    def __init__(self) -> None:
        super().__init__()
        self.allocator = TokenAllocator(self.SIZE)
        self.table = TokenTable(self.MAX_REQUESTS, self.MAX_LEN, self.allocator)
        self.requests: dict[int, list[int]] = {}

    @property
    def num_free(self) -> int:
        return self.SIZE - sum(map(len, self.requests.values()))

    @rule(prompt_len=st.integers(0, MAX_LEN))
    def start(self, prompt_len: int) -> None:
        row = self.table.start(prompt_len)
        if len(self.requests) == self.MAX_REQUESTS or prompt_len > self.num_free:
            assert row is None
            return
        assert row not in self.requests
        self.requests[row] = self.table.slots(row).tolist()
        assert len(self.requests[row]) == prompt_len

    @rule(data=st.data())
    def append(self, data: st.DataObject) -> None:
        open_rows = [row for row, slots in self.requests.items() if len(slots) < self.MAX_LEN]
        rows = data.draw(st.lists(st.sampled_from(open_rows), unique=True) if open_rows else st.just([]))
        fits = len(rows) <= self.num_free
        assert self.table.append(rows) is fits
        for row in rows if fits else []:
            self.requests[row].append(int(self.table.slots(row)[-1]))

    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        if self.requests:
            row = data.draw(st.sampled_from(sorted(self.requests)))
            self.table.finish(row)
            del self.requests[row]

    @rule(row=st.integers(-1, MAX_REQUESTS))
    def refuse_a_row_without_request(self, row: int) -> None:
        if row not in self.requests:
            for call in (self.table.finish, self.table.slots, lambda row: self.table.append([row])):
                with pytest.raises(RowError):
                    call(row)

    @rule(data=st.data())
    def refuse_a_row_twice(self, data: st.DataObject) -> None:
        if self.requests:
            row = data.draw(st.sampled_from(sorted(self.requests)))
            with pytest.raises(RowError):
                self.table.append([row, row])

    @invariant()
    def rows_read_as_they_were_written(self) -> None:
        assert self.table.rows == sorted(self.requests)
        assert {row: self.table.slots(row).tolist() for row in self.requests} == self.requests

    @invariant()
    def slots_have_one_owner(self) -> None:
        owned = [slot for slots in self.requests.values() for slot in slots]
        assert len(set(owned)) == len(owned) == self.table.num_tokens == self.table.num_reserved
        assert self.allocator.num_free == self.num_free
        self.allocator.check_integrity()


TestAllocatorMachine = AllocatorMachine.TestCase
TestAllocatorMachine.settings = STATEFUL
TestTableMachine = TableMachine.TestCase
TestTableMachine.settings = STATEFUL


@pytest.mark.parametrize("module", ["allocator", "table", "reservation", "pool_state", "event_log"])
def test_the_examples_in_docstrings_are_true(module: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(f"labkit.kv_cache.{module}"))
    assert tried > 0
    assert failed == 0


# The allocator at real sizes, and its edges


@pytest.mark.parametrize(("size", "occupancy"), [(40_000, 0.94), (120_000, 0.5)])
def test_churn_at_real_sizes(size: int, occupancy: float) -> None:
    """Dozens of requests that come, grow and go through one call each; the model is a set."""
    rng = random.Random(size)
    allocator, held, requests = TokenAllocator(size), set(), []
    for _ in range(600):
        n = rng.choice([1, 32, rng.randrange(1, 4_000)])
        contiguous = rng.random() < 0.5
        slots = (allocator.alloc_contiguous if contiguous else allocator.alloc)(n)
        if slots is None:
            assert contiguous or n > size - len(held)
        else:
            assert len(set(slots.tolist())) == n
            assert held.isdisjoint(slots.tolist())
            assert not contiguous or (np.diff(slots) == 1).all()
            held.update(slots.tolist())
            requests.append(slots)
        while len(held) > occupancy * size:
            two = [requests.pop(rng.randrange(len(requests))) for _ in range(min(2, len(requests)))]
            freed = rng.sample(np.concatenate(two).tolist(), sum(map(len, two)))
            allocator.free(np.array(freed))
            held.difference_update(freed)
        assert allocator.num_free == size - len(held)
    allocator.check_integrity()


@pytest.mark.parametrize("size", [3, 300, 40_000])
def test_exact_fit_and_one_more(size: int) -> None:
    for name in ("alloc", "alloc_contiguous"):
        allocator = TokenAllocator(size)
        assert getattr(allocator, name)(size + 1) is None
        assert sorted(getattr(allocator, name)(size).tolist()) == list(range(size))
        assert getattr(allocator, name)(1) is None
        assert allocator.num_free == 0


def test_a_run_longer_than_int8_at_the_very_end() -> None:
    allocator = TokenAllocator(1_000)
    allocator.alloc(1_000)
    allocator.free(range(700, 1_000))
    assert allocator.alloc_contiguous(301) is None
    assert allocator.alloc_contiguous(300).tolist() == list(range(700, 1_000))


def test_a_window_does_not_wrap_round() -> None:
    allocator = TokenAllocator(10)
    allocator.alloc(10)
    allocator.free([0, 1, 8, 9])
    assert allocator.alloc_contiguous(3) is None
    assert allocator.alloc_contiguous(2) is not None


def test_every_second_slot_held_leaves_no_run() -> None:
    allocator = TokenAllocator(40_000)
    allocator.alloc(40_000)
    allocator.free(np.arange(0, 40_000, 2))
    assert allocator.num_free == 20_000
    assert allocator.alloc_contiguous(2) is None
    assert len(alloc_contiguous_first(allocator, 2)) == 2
    allocator.check_integrity()


def test_nothing_is_a_legal_amount() -> None:
    allocator = TokenAllocator(0)
    for empty in (allocator.alloc(0), allocator.alloc_contiguous(0)):
        assert empty.dtype == np.int64
        assert empty.shape == (0,)
    allocator.free([])
    allocator.free(np.array([], dtype=np.int64))
    allocator.check_integrity()
    assert allocator.alloc(1) is None


@pytest.mark.parametrize("call", ["alloc", "alloc_contiguous", "alloc_lowest", "size"])
@pytest.mark.parametrize(
    ("n", "wording"),
    [
        (-1, "it must be 0 or more"),
        (2.0, "2.0 is a float"),
        (float("nan"), "nan is a float"),
        (True, "True is a bool"),
        (np.bool_(True), "is a bool"),
        (10**30, "no pool has more than 2147483647"),
        ("3", "'3' is a str"),
        (None, "None is a NoneType"),
        (np.array([1, 2]), "one whole number"),
    ],
)
def test_a_bad_count_is_refused_with_a_sentence(call: str, n: object, wording: str) -> None:
    allocator = TokenAllocator(4)
    with pytest.raises(CountError, match=wording):
        TokenAllocator(n) if call == "size" else getattr(allocator, call)(n)
    assert allocator.num_free == 4


def test_numpy_integers_are_counts() -> None:
    assert len(TokenAllocator(np.int32(8)).alloc(np.int64(1))) == 1


@pytest.mark.parametrize(
    ("bad", "wording"),
    [
        ([1, 2, 1], "Slot 1 stands twice in one free"),
        ([0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "Slot 0 stands twice"),
        ([1, 5], "Slot 5 is free already"),
        ([5], "Slot 5 is free already"),
        ([-1], "Slot -1 is not in the pool, which has slots 0 to 7"),
        ([0, 8], "Slot 8 is not in the pool"),
        ([2**40], "Slot 1099511627776 is not in the pool"),
        ([2**63], "they are int32"),
        ([2**80], "got an array of object"),
        ([0.0, 1.0], "got an array of float64"),
        ([True, False], "got an array of bool"),
        (3, r"for one, write \[3\]"),
        ([[0, 1]], r"an array of shape \(1, 2\)"),
    ],
)
@pytest.mark.parametrize("as_array", [False, True])
def test_a_bad_free_is_refused_and_nothing_is_freed(bad: object, wording: str, as_array: bool) -> None:
    allocator = TokenAllocator(8)
    allocator.alloc_contiguous(4)
    with pytest.raises(FreeError, match=wording):
        allocator.free(np.array(bad) if as_array else bad)
    assert allocator.num_free == 4
    allocator.check_integrity()
    allocator.free([3, 1, 0, 2])
    assert sorted(allocator.alloc(8)) == list(range(8))


@pytest.mark.parametrize("bad", [[-1], [0, -1], np.array([-1]), np.array([-8, 1])])
def test_a_negative_slot_does_not_count_from_the_end(bad: object) -> None:
    allocator = TokenAllocator(8)
    allocator.alloc(8)  # slot 7 is held, so only the sign is wrong
    with pytest.raises(FreeError, match="is not in the pool"):
        allocator.free(bad)
    assert allocator.num_free == 0
    allocator.check_integrity()


def test_a_refused_free_leaves_no_trace() -> None:
    """A free that fails at its last slot, again and again, then the whole pool is used twice over."""
    allocator = TokenAllocator(40_000)
    slots = allocator.alloc(30_000)
    for bad in (np.append(slots, slots[0]), np.append(slots, -1), np.append(slots, 39_999), np.append(slots, 40_000)):
        with pytest.raises(FreeError):
            allocator.free(bad)
        allocator.check_integrity()
    allocator.free(slots)
    for _ in range(2):
        everything = allocator.alloc(40_000)
        assert len(set(everything.tolist())) == 40_000
        allocator.free(everything)


def test_writing_into_an_answer_or_an_argument_changes_nothing_inside() -> None:
    allocator = TokenAllocator(8)
    for n in (1, 3):
        answer = allocator.alloc(n)
        argument = answer.copy()
        answer[:] = 99
        allocator.free(argument)
        argument[:] = 99
        allocator.check_integrity()
    assert sorted(allocator.alloc(8)) == list(range(8))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_a_copy_of_an_allocator_is_independent(duplicate) -> None:
    allocator = TokenAllocator(8)
    allocator.alloc(3)
    twin = duplicate(allocator)
    twin.alloc(2)
    assert (allocator.num_free, twin.num_free) == (5, 3)
    allocator.check_integrity()
    twin.check_integrity()


@pytest.mark.parametrize(
    "break_it",
    [
        lambda allocator: allocator._held.__setitem__(0, 0),
        lambda allocator: allocator._stack.__setitem__(7, 6),
        lambda allocator: allocator._stack.__setitem__(7, -3),
        lambda allocator: allocator._place.__setitem__(7, 5),
        lambda allocator: setattr(allocator, "_mark", 4),
    ],
)
def test_check_integrity_says_all_the_numbers(break_it) -> None:
    allocator = TokenAllocator(8)
    allocator.alloc(3)
    break_it(allocator)
    with pytest.raises(
        IntegrityError, match=r"free \d \+ held \d = \d, and the pool has 8 slots.*stack has \d entries"
    ):
        allocator.check_integrity()


def test_alloc_and_free_do_not_depend_on_the_size_of_the_pool() -> None:
    """The one guard on time, a generous one: 1e7 slots cost less than 3 times what 1e5 cost (a ratio, same run)."""

    def seconds(calls: deque, allocator: TokenAllocator) -> float:
        start = time.perf_counter()
        for _ in range(100):  # a fraction of a millisecond: on a busy machine, some samples are whole
            calls.append(allocator.alloc(1))
            allocator.free(calls.popleft())
        return time.perf_counter() - start

    pools = []
    for size in (100_000, 10_000_000):
        allocator = TokenAllocator(size)
        allocator.alloc(size // 2)
        pools.append((deque(allocator.alloc(1) for _ in range(64)), allocator))
    samples = [[seconds(*pool) for pool in pools] for _ in range(100)]  # in turns
    small, large = (min(column) for column in zip(*samples, strict=True))
    assert large < 3 * small


# The table


def test_a_finished_row_cannot_free_the_slots_of_its_successor() -> None:
    table = TokenTable(1, 8, TokenAllocator(8))
    first = table.start(4)
    table.finish(first)
    with pytest.raises(RowError, match="holds no request: it was never started, or is finished already"):
        table.finish(first)
    second = table.start(4)
    assert second == first
    assert len(table.slots(second)) == 4


def test_a_prompt_or_a_row_that_can_never_fit_is_refused() -> None:
    table = TokenTable(2, 4, TokenAllocator(100))
    with pytest.raises(RowError, match="A prompt of 5 tokens never fits a row: max_len is 4"):
        table.start(5)
    row = table.start(4)
    with pytest.raises(RowError, match=f"Row {row} is full: it holds 4 tokens and max_len is 4"):
        table.append([row])
    assert (table.rows, table.num_tokens) == ([row], 4)


@pytest.mark.parametrize("prompt_len", [-1, 1.5, float("nan"), True, 10**30])
def test_a_bad_prompt_length_is_refused(prompt_len: object) -> None:
    table = TokenTable(2, 4, TokenAllocator(100))
    with pytest.raises(ValueError, match="prompt_len"):
        table.start(prompt_len)
    assert table.rows == []


@pytest.mark.parametrize("rows", [[0.0], [True], 0, [[0]], [7], [-1]])
def test_bad_rows_are_refused(rows: object) -> None:
    table = TokenTable(2, 4, TokenAllocator(100))
    table.start(2)
    with pytest.raises(RowError):
        table.append(rows)
    with pytest.raises(RowError):
        table.batch(rows)
    assert table.num_tokens == 2


def test_a_table_does_not_believe_an_allocator_that_gives_a_part() -> None:
    class Half(TokenAllocator):
        def alloc(self, n: int) -> np.ndarray | None:
            return super().alloc(n // 2)

    with pytest.raises(RuntimeError, match="asked for 4 slots and answered with 2"):
        TokenTable(2, 8, Half(16), take=alloc_any).start(4)


def test_take_decides_where_a_prompt_lies() -> None:
    runs = {}
    for take in (alloc_any, alloc_contiguous_first):
        allocator = TokenAllocator(100)
        allocator.free(allocator.alloc(100)[np.random.default_rng(0).permutation(60)])  # 60 free, in disorder
        table = TokenTable(2, 64, allocator, take=take)
        runs[take.__name__] = kv_cache.count_runs(table.slots(table.start(30)))
    assert runs["alloc_contiguous_first"] == 1 < runs["alloc_any"]


def test_batch_is_what_a_kernel_reads() -> None:
    table = TokenTable(3, 8, TokenAllocator(16))
    first, second = table.start(2), table.start(5)
    slots, lengths = table.batch([second, first])
    assert slots.shape == (2, 5)
    assert lengths.tolist() == [5, 2]
    assert slots[1].tolist() == [*table.slots(first).tolist(), -1, -1, -1]
    assert slots.dtype == lengths.dtype == np.int32


# What the schemes reserve


@given(st.lists(st.integers(0, 60)), st.integers(1, 70))
def test_wasted_slots_is_what_a_count_slot_by_slot_gives(lengths: list[int], unit: int) -> None:
    def in_whole_blocks(length: int) -> int:
        reserved = 0
        while reserved < length:
            reserved += unit
        return reserved

    assert wasted_slots(lengths, ("block", unit)) == sum(in_whole_blocks(n) - n for n in lengths)
    assert wasted_slots(lengths, ("token",)) == 0
    if max(lengths, default=0) <= unit:
        assert wasted_slots(lengths, ("max", unit)) == sum(unit - n for n in lengths)


@pytest.mark.parametrize(
    ("lengths", "reserve", "wording"),
    [
        ([5, 200], ("max", 100), "A request of 200 tokens does not fit in a reservation of 100"),
        ([-1], ("token",), "A length is -1"),
        ([1.5], ("token",), "array of float64"),
        ([1], ("block", 0), "A block is 0; it must be 1 or more"),
        ([1], ("block", float("nan")), "nan is a float"),
        ([1], ("pages", 4), r'reserve is \("max", n\), \("block", n\) or \("token",\); got \(\'pages\', 4\)'),
        ([1], ("token", 4), "got"),
    ],
)
def test_wasted_slots_refuses(lengths: list, reserve: tuple, wording: str) -> None:
    with pytest.raises(CountError, match=wording):
        wasted_slots(lengths, reserve)


def test_wasted_slots_does_not_overflow() -> None:
    many = 2**31 - 1
    assert wasted_slots([0] * 10, ("max", many)) == 10 * many


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 12)), min_size=1, max_size=6), st.integers(1, 16))
def test_tables_reserve_what_wasted_slots_says(requests: list[tuple[int, int]], block: int) -> None:
    """Prompts that then grow, in all three schemes: same tokens, distinct slots, waste as by the formula."""
    tables = {
        ("token",): TokenTable(6, 32, TokenAllocator(512)),
        ("block", block): BlockTable(6, 32, 512, block),
        ("max", 32): ReserveMaxTable(6, 32, 512),
    }
    for reserve, table in tables.items():
        rows = [table.start(prompt_len) for prompt_len, _ in requests]
        for step in range(12):
            assert table.append([row for row, (_, grows) in zip(rows, requests, strict=True) if grows > step])
        lengths = [prompt_len + grows for prompt_len, grows in requests]
        slots = [table.slots(row).tolist() for row in rows]
        assert [len(of_one) for of_one in slots] == lengths
        assert len({slot for of_one in slots for slot in of_one}) == sum(lengths) == table.num_tokens
        assert table.num_reserved - table.num_tokens == wasted_slots(lengths, reserve)
        for row in rows:
            table.finish(row)
        assert table.num_reserved == 0


def test_blocks_run_out_all_or_nothing() -> None:
    table = BlockTable(max_requests=4, max_len=16, num_slots=11, block=4)  # 2 blocks, 3 slots unused
    rows = [table.start(4), table.start(3)]
    assert table.start(1) is None
    assert table.append(rows) is False
    assert [len(table.slots(row)) for row in rows] == [4, 3]
    assert table.append(rows[1:]) is True
    with pytest.raises(RowError):
        table.append([rows[0], 3])
    table.finish(rows[0])
    with pytest.raises(RowError):
        table.finish(rows[0])


def test_replay_counts_the_same_tokens_in_every_scheme() -> None:
    rng = random.Random(5)
    requests = [(rng.randrange(1, 200), rng.randrange(1, 100)) for _ in range(80)]

    def fits(running: list[tuple[int, int]], new: tuple[int, int]) -> bool:
        return sum(held + left for held, left in [*running, new]) <= 2_000

    by_token = replay(TokenTable(100, 300, TokenAllocator(2_000)), requests, fits)
    by_block = replay(BlockTable(100, 300, 4_000, 16), requests, fits)
    by_max = replay(ReserveMaxTable(100, 300, 40_000), requests, fits)
    assert by_token.num_tokens.tolist() == by_block.num_tokens.tolist() == by_max.num_tokens.tolist()
    assert by_token.used_share == 1 > by_block.used_share > by_max.used_share
    assert by_max.prompts_in_one_run == 1
    assert by_token.num_evictions == 0
    # Each request is read once a decode step, at every length it passes through.
    assert by_token.num_tokens.sum() == sum(p + i for p, g in requests for i in range(1, g))


def test_runs_survive_at_real_sizes_when_the_pool_is_not_pushed() -> None:
    """A pool of 40,000 and requests of thousands of tokens: who decides where the tokens lie decides the runs."""
    rng = random.Random(0)
    requests = [(rng.randrange(100, 3_000), rng.randrange(10, 400)) for _ in range(150)]

    def at_most(limit: int):
        return lambda running, new: sum(held + left for held, left in [*running, new]) <= limit

    in_one_run = {}
    for take in (alloc_any, alloc_contiguous_first, alloc_contiguous_else_lowest):
        for limit in (20_000, 40_000):
            allocator = TokenAllocator(40_000)
            result = replay(TokenTable(64, 4_096, allocator, take=take), requests, at_most(limit))
            allocator.check_integrity()
            assert allocator.num_free == 40_000
            assert result.num_evictions == 0
            in_one_run[take.__name__, limit] = result.prompts_in_one_run
    assert in_one_run["alloc_contiguous_first", 20_000] > in_one_run["alloc_contiguous_first", 40_000]
    assert in_one_run["alloc_contiguous_first", 20_000] > 0.9 > 0.5 > in_one_run["alloc_any", 20_000]
    assert in_one_run["alloc_contiguous_else_lowest", 40_000] > in_one_run["alloc_any", 40_000]


def azure_trace(name: str) -> np.ndarray:
    """Prompt and output lengths of the Azure LLM inference trace 2023 (CC-BY-4.0), shape (num_requests, 2)."""
    path = Path(__file__).parents[2] / "shared" / "data" / f"azure_llm_2023_{name}.csv"
    if not path.exists():
        pytest.skip("the Azure trace is not on this machine; it is not part of the repository")
    return np.loadtxt(path, delimiter=",", skiprows=1, usecols=(1, 2), dtype=np.int64)


@pytest.mark.parametrize(
    ("limit", "take", "occupancy", "one_run", "run_len"),
    [
        (40_000, alloc_contiguous_else_lowest, 0.939, 0.087, 1.6),
        (30_000, alloc_contiguous_else_lowest, 0.706, 0.801, 9.1),
        (30_000, alloc_any, 0.706, 0.057, 1.1),
    ],
)
def test_churn_on_the_azure_trace_is_what_was_measured_before(
    limit: int, take, occupancy: float, one_run: float, run_len: float
) -> None:
    """The oracle is a measurement made before this code, by another program: 1,500 requests, admitted by their peak."""

    def peak_fits(running: list[tuple[int, int]], new: tuple[int, int]) -> bool:
        sums = 0
        for num, (run, left) in enumerate(sorted([*running, new], key=lambda request: -request[1]), 1):
            sums += run
            if num * left + sums > limit:
                return False
        return True

    requests = [tuple(request) for request in azure_trace("conv")[:1_500].tolist()]
    result = replay(TokenTable(1_000, 16_384, TokenAllocator(40_000), take=take), requests, peak_fits)
    assert result.num_tokens.mean() / 40_000 == pytest.approx(occupancy, abs=0.0005)
    assert result.prompts_in_one_run == pytest.approx(one_run, abs=0.0005)
    assert result.mean_run_len == pytest.approx(run_len, abs=0.05)


@pytest.mark.parametrize(
    ("name", "percent_by_block"),
    [("conv", {16: 0.61, 64: 2.51, 256: 9.22}), ("code", {16: 0.35, 64: 1.47, 256: 5.88})],
)
def test_waste_on_the_azure_trace_is_what_was_measured_before(name: str, percent_by_block: dict[int, float]) -> None:
    """The oracle is a measurement made before this code, by another program; every decode step is weighted equally."""
    prompts, outputs = azure_trace(name).T
    lengths = np.concatenate([np.arange(p, p + g) for p, g in zip(prompts, outputs, strict=True)])
    for block, percent in percent_by_block.items():
        wasted = wasted_slots(lengths, ("block", block))
        assert 100 * wasted / (wasted + lengths.sum()) == pytest.approx(percent, abs=0.005)


def test_replay_evicts_and_still_finishes_everybody() -> None:
    allocator = TokenAllocator(40)
    result = replay(TokenTable(8, 40, allocator), [(10, 20), (10, 20), (10, 20)])
    assert result.num_evictions > 0
    assert result.num_tokens.max() <= 40
    assert allocator.num_free == 40


def test_replay_refuses_a_request_that_can_never_run() -> None:
    with pytest.raises(ValueError, match="refused by an empty pool"):
        replay(TokenTable(8, 100, TokenAllocator(40)), [(41, 1)])
    with pytest.raises(ValueError, match="does not fit alone"):
        replay(TokenTable(8, 100, TokenAllocator(40)), [(30, 12)])
    assert len(replay(TokenTable(8, 100, TokenAllocator(40)), [(30, 11)]).num_tokens) == 10


# Attention


def random_cache(num_slots: int, num_heads: int, head_size: int, dtype: type = np.float64) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(1)
    shapes = [(num_heads, head_size), (num_slots, num_heads, head_size), (num_slots, num_heads, head_size)]
    return tuple(rng.standard_normal(shape).astype(dtype) for shape in shapes)


@pytest.mark.parametrize(("num_tokens", "num_heads", "head_size"), [(1, 1, 1), (7, 2, 5), (300, 8, 64)])
def test_attention_is_torch_attention_over_the_gathered_cache(num_tokens: int, num_heads: int, head_size: int) -> None:
    q, k_cache, v_cache = random_cache(2 * num_tokens, num_heads, head_size)
    slots = np.random.default_rng(2).permutation(2 * num_tokens)[:num_tokens]
    unread = np.setdiff1d(np.arange(2 * num_tokens), slots)
    k_cache[unread] = v_cache[unread] = np.nan  # other requests' memory must not matter
    per_head = [torch.from_numpy(cache[slots]).transpose(0, 1) for cache in (k_cache, v_cache)]
    expected = torch.nn.functional.scaled_dot_product_attention(torch.from_numpy(q)[:, None], *per_head)[:, 0]
    np.testing.assert_allclose(token_attention(q, k_cache, v_cache, slots), expected, rtol=1e-12)


def test_attention_through_a_table_equals_attention_over_a_contiguous_cache() -> None:
    """The lab's claim: where the tokens lie does not matter. The cache is filled through the table as it grows."""
    q, k, v = random_cache(20, 3, 8)
    pool_k, pool_v = np.full((64, 3, 8), np.nan), np.full((64, 3, 8), np.nan)
    allocator = TokenAllocator(64)
    allocator.free(allocator.alloc(64)[np.random.default_rng(3).permutation(64)[:40]])
    table = TokenTable(2, 32, allocator, take=alloc_any)
    row = table.start(12)
    pool_k[table.slots(row)], pool_v[table.slots(row)] = k[:12], v[:12]
    for token in range(12, 20):
        assert table.append([row])
        pool_k[table.slots(row)[token]], pool_v[table.slots(row)[token]] = k[token], v[token]
    through_table = token_attention(q, pool_k, pool_v, table.slots(row))
    np.testing.assert_allclose(through_table, token_attention(q, k, v, np.arange(20)), rtol=1e-13)


def test_attention_survives_large_scores() -> None:
    q, k_cache, v_cache = random_cache(8, 2, 4, np.float32)
    out = token_attention(q * 1e4, k_cache * 1e4, v_cache, [0, 3, 5])
    assert np.isfinite(out).all()
    for head in range(2):  # the softmax is one-hot there
        largest = max([0, 3, 5], key=lambda slot: q[head] @ k_cache[slot, head])
        np.testing.assert_allclose(out[head], v_cache[largest, head], rtol=1e-5)


def test_half_precision_is_computed_in_float32() -> None:
    q, k_cache, v_cache = random_cache(512, 2, 64, np.float16)
    out = token_attention(q, k_cache, v_cache, np.arange(512))
    exact = token_attention(*(array.astype(np.float64) for array in (q, k_cache, v_cache)), np.arange(512))
    assert out.dtype == np.float16
    np.testing.assert_allclose(out, exact, rtol=2**-10, atol=1e-6)  # one rounding, at the end


@pytest.mark.parametrize(
    ("change", "wording"),
    [
        ({"slots": []}, "a softmax over no tokens is not defined"),
        ({"slots": [0, -1]}, "slots go from -1 to 0.*a column past the request's last token"),
        ({"slots": [8]}, "the cache has slots 0 to 7"),
        ({"slots": [0.5]}, "array of float64"),
        ({"q": np.zeros((3, 4))}, r"got q \(3, 4\), k_cache \(8, 2, 4\)"),
        ({"q": np.zeros((2, 4), int)}, "takes floating-point arrays; q is int64"),
        ({"v_cache": np.zeros((8, 2, 5))}, r"v_cache \(8, 2, 5\)"),
    ],
)
def test_attention_refuses_what_does_not_fit(change: dict, wording: str) -> None:
    q, k_cache, v_cache = random_cache(8, 2, 4)
    arguments = {"q": q, "k_cache": k_cache, "v_cache": v_cache, "slots": [0, 1]} | change
    with pytest.raises(ValueError, match=wording):
        token_attention(**arguments)

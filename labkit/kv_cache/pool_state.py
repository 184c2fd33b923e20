"""What a pool looks like after each call of an event log, and the few numbers that say how broken up it is.

A state is an array (size,): the owner of each slot (an index into log["owners"]), or FREE.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labkit.kv_cache.event_log import Event, Log

FREE = -1
State = NDArray[np.int64]


def iter_pool_states(log: Log) -> Iterator[tuple[Event | None, State]]:
    """(event, state after it), beginning with (None, the empty pool); one array, changed in place: copy what you keep.

    Slots outside the pool are left out; a slot taken twice shows its last owner (`audit` complains about both).
    """
    state = np.full(log["size"], FREE, np.int64)
    yield None, state
    for event in log["events"]:
        state[_inside(event["returned"], log["size"])] = FREE
        for owner, slots in event["taken"]:
            state[_inside(slots, log["size"])] = owner
        yield event, state


def pool_states(log: Log) -> State:
    """All states, shape (num_events + 1, size); for long logs on large pools use iter_pool_states."""
    return np.array([state.copy() for _, state in iter_pool_states(log)])


def longest_free_run(state: ArrayLike) -> int:
    """Length of the longest run of free slots: the largest alloc_contiguous that can succeed."""
    edges = np.flatnonzero(np.diff(np.asarray(state) == FREE, prepend=False, append=False))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def fragmentation(state: ArrayLike) -> float:
    """1 - longest free run / free slots: 0 when one run holds them all (or none is free), towards 1 when scattered.

    >>> fragmentation([0, FREE, 0, FREE])                   # 2 free, longest run 1
    0.5
    """
    num_free = int(np.count_nonzero(np.asarray(state) == FREE))
    return 1 - longest_free_run(state) / num_free if num_free else 0.0


def count_runs(slots: ArrayLike) -> int:
    """Number of runs of consecutive ascending slots, in token order; 1 is what contiguous attention needs.

    >>> count_runs([4, 5, 6, 9, 2])                         # 4 5 6 | 9 | 2
    3
    """
    slots = np.asarray(slots)
    return int(np.count_nonzero(np.diff(slots) != 1)) + 1 if slots.size else 0


def share_in_one_run(log: Log, operation: str = "start") -> float:
    """Of the calls of this kind that got slots, the share that got them in one run; NaN when there was none.

    "start" asks it of prompts, "append" of decode batches, "alloc" of an allocator's own log.
    """
    got = [event["taken"] for event in log["events"] if event["operation"] == operation and event["taken"]]
    in_one_run = [count_runs([slot for _, slots in taken for slot in slots]) == 1 for taken in got]
    return sum(in_one_run) / len(in_one_run) if in_one_run else float("nan")


def pool_counters(log: Log) -> dict[str, list]:
    """Per state (num_events + 1 values each): num_free, longest_free_run, fragmentation, as plain lists."""
    counters: dict[str, list] = {"num_free": [], "longest_free_run": [], "fragmentation": []}
    for _, state in iter_pool_states(log):
        counters["num_free"].append(int(np.count_nonzero(state == FREE)))
        counters["longest_free_run"].append(longest_free_run(state))
        counters["fragmentation"].append(fragmentation(state))
    return counters


def _inside(slots: list[int], size: int) -> list[int]:
    return [slot for slot in slots if 0 <= slot < size]

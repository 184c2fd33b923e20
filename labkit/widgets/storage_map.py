"""The same requests under three ways to reserve memory: a slot for each token, blocks, the maximum at once.

from labkit.widgets.storage_map import storage_map

storage_map(TokenTable, TokenAllocator)         # the learner's own classes; without them labkit's
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from labkit.kv_cache import BlockTable, RecordingTable, ReserveMaxTable, TokenAllocator, TokenTable
from labkit.kv_cache.event_log import Log
from labkit.widgets.flipbook import Flipbook
from labkit.widgets.slot_map import slot_map

SIZE = 48
MAX_LEN = 16
BLOCK = 4
MAX_REQUESTS = 8

# (step of arrival, prompt, output): some short, one that uses all that is reserved for it
REQUESTS = ((0, 5, 4), (0, 9, 8), (1, 2, 6), (1, 7, 3), (2, 4, 9), (3, 6, 2), (4, 3, 5))


def storage_map(
    table_class: Callable[..., Any] = TokenTable, allocator_class: Callable[[int], Any] = TokenAllocator
) -> Flipbook:
    """A slot map of the requests above; the control chooses how memory is reserved."""
    allocator = allocator_class(SIZE)
    own = _Counting(table_class(MAX_REQUESTS, MAX_LEN, allocator), allocator)
    maximum, blocks, tokens = f"the maximum, {MAX_LEN}", f"blocks of {BLOCK}", "token by token"
    logs = {
        maximum: play_requests(ReserveMaxTable(MAX_REQUESTS, MAX_LEN, SIZE), SIZE, REQUESTS),
        blocks: play_requests(BlockTable(MAX_REQUESTS, MAX_LEN, SIZE, BLOCK), SIZE, REQUESTS),
        tokens: play_requests(own, SIZE, REQUESTS),
    }
    first = _fullest(logs[maximum])
    return slot_map(logs, name="storage-map", first=first, units={maximum: MAX_LEN, blocks: BLOCK}, label="reserve")


def play_requests(table: Any, size: int, requests: Sequence[tuple[int, int, int]]) -> Log:
    """Starts each (step of arrival, prompt, output) when it has come and fits, first come first served; the log.

    A request is let in when what all will hold at their ends fits the pool, so that no step runs out of slots.
    """
    recorder = RecordingTable(table, size)
    waiting, running, step = list(requests), dict[int, tuple[int, int]](), 0  # row: (left, tokens at its end)
    while waiting or running:
        while waiting and waiting[0][0] <= step:
            _, prompt, output = waiting[0]
            at_end = prompt + output - 1  # the last token is sampled and never cached
            if sum(end for _, end in running.values()) + at_end > size or (row := recorder.start(prompt)) is None:
                break
            running[row] = (output - 1, at_end)
            waiting.pop(0)
        growing = [row for row, (left, _) in running.items() if left]
        if growing and not recorder.append(growing):
            raise ValueError(f"append({growing}) is refused, although all requests fit into the pool together")
        running = {row: (max(left - 1, 0), end) for row, (left, end) in running.items()}
        for row in [row for row, (left, _) in running.items() if not left]:
            recorder.finish(row)
            del running[row]
        step += 1
    return recorder.log


class _Counting:
    """A learner's table, which need not count its slots: the allocator does."""

    def __init__(self, table: Any, allocator: Any) -> None:
        self._table, self._allocator = table, allocator
        self._size = allocator.num_free

    @property
    def num_reserved(self) -> int:
        return int(self._size - self._allocator.num_free)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)


def _fullest(log: Log) -> int:
    """The number of the frame after the first call that was refused, or the last one."""
    with suppress(StopIteration):
        return next(
            event["step"] + 1 for event in log["events"] if event["operation"] == "start" and event["answer"] is None
        )
    return len(log["events"])

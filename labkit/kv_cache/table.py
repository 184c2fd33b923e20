"""The Token Table: one row per request, column i holds the slot of its token i."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labkit.kv_cache._arguments import (
    RowError,
    count_argument,
    integers_argument,
    live_row,
    prompt_argument,
    rows_argument,
)
from labkit.kv_cache.allocator import SlotAllocator, Slots, alloc_contiguous_first

# In _lengths: this row holds no request. (A request of length 0 is a request.)
NO_REQUEST = -1
# In _slots: no token here. Negative, so that a stale read is refused by free and by attention.
NO_SLOT = -1


class RequestTable(Protocol):
    """A storage scheme: tokens one by one (TokenTable), in blocks, or the maximum reserved at once."""

    @property
    def num_tokens(self) -> int: ...
    @property
    def num_reserved(self) -> int: ...
    def start(self, prompt_len: int) -> int | None: ...
    def append(self, rows: ArrayLike) -> bool: ...
    def finish(self, row: int) -> None: ...
    def slots(self, row: int) -> Slots: ...


class TokenTable:
    """Rows for up to max_requests requests of up to max_len tokens, over the slots of one allocator.

    >>> from labkit.kv_cache import TokenAllocator
    >>> table = TokenTable(max_requests=4, max_len=16, allocator=TokenAllocator(10))
    >>> row = table.start(prompt_len=3)
    >>> table.append([row]), len(table.slots(row))          # 3 + 1
    (True, 4)
    >>> table.start(prompt_len=7) is None                   # 6 slots are free
    True
    >>> table.finish(row)

    A row is the only owner of its slots: finish clears it, so a second finish is refused instead of
    freeing slots that belong to somebody else by then. `take(allocator, n)` says how slots are asked
    for: `alloc_contiguous_first`, `alloc_any` or `alloc_contiguous_else_lowest`.
    """

    def __init__(
        self,
        max_requests: int,
        max_len: int,
        allocator: SlotAllocator,
        *,
        take: Callable[[Any, int], Slots | None] = alloc_contiguous_first,
    ) -> None:
        self.max_requests = count_argument(max_requests, "max_requests")
        self.max_len = count_argument(max_len, "max_len")
        self.allocator = allocator
        self._take = take
        self._slots = np.full((self.max_requests, self.max_len), NO_SLOT, np.int32)
        self._lengths = np.full(self.max_requests, NO_REQUEST, np.int64)
        self._free_rows = list(range(self.max_requests))[::-1]  # the lowest is given out first
        self._num_tokens = 0

    @property
    def rows(self) -> list[int]:
        """The rows that hold a request, ascending."""
        return np.flatnonzero(self._lengths != NO_REQUEST).tolist()

    @property
    def num_tokens(self) -> int:
        """Tokens cached over all requests."""
        return self._num_tokens

    @property
    def num_reserved(self) -> int:
        """Slots taken from the pool: exactly the tokens cached, which is the point of this scheme."""
        return self.num_tokens

    def start(self, prompt_len: int) -> int | None:
        """The row of a new request with slots for prompt_len tokens; None and no change when rows or slots run out.

        RowError when prompt_len exceeds max_len: waiting cannot help such a request.
        """
        prompt_len = prompt_argument(prompt_len, self.max_len)
        if not self._free_rows:
            return None
        slots = self._slots_from_allocator(prompt_len)
        if slots is None:
            return None
        row = self._free_rows.pop()
        self._slots[row, :prompt_len] = slots
        self._lengths[row] = prompt_len
        self._num_tokens += prompt_len
        return row

    def append(self, rows: ArrayLike) -> bool:
        """One more slot for each of these rows (a decode step); False and no change when slots run out.

        RowError for a row without a request, a row named twice, or a row that is full.
        """
        numbers = rows_argument(rows, self._lengths, self.max_len)
        slots = self._slots_from_allocator(len(numbers))
        if slots is None:
            return False
        self._slots[numbers, self._lengths[numbers]] = slots
        self._lengths[numbers] += 1
        self._num_tokens += len(numbers)
        return True

    def finish(self, row: int) -> None:
        """Give all slots of this request back and clear its row; RowError when it holds none."""
        row = live_row(row, self._lengths)
        self.allocator.free(self.slots(row))
        self._slots[row, : self._lengths[row]] = NO_SLOT
        self._num_tokens -= int(self._lengths[row])
        self._lengths[row] = NO_REQUEST
        self._free_rows.append(row)

    def slots(self, row: int) -> Slots:
        """The slots of this request in token order, shape (num_tokens,), a copy; RowError when it holds none."""
        row = live_row(row, self._lengths)
        return self._slots[row, : self._lengths[row]].astype(np.int64)

    def batch(self, rows: ArrayLike) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """What a batched attention kernel reads: slots (num_rows, longest), -1 past an end, and lengths (num_rows,)."""
        numbers = [live_row(row, self._lengths) for row in integers_argument(rows, "rows", RowError).tolist()]
        lengths = self._lengths[numbers].astype(np.int32)
        return self._slots[numbers, : lengths.max(initial=0)], lengths

    def _slots_from_allocator(self, n: int) -> Slots | None:
        slots = self._take(self.allocator, n)
        if slots is not None and len(slots) != n:  # NumPy would spread one slot over many rows
            raise RuntimeError(f"The allocator was asked for {n} slots and answered with {len(slots)}.")
        return slots

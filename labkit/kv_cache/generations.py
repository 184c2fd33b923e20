"""Four generations of one allocator, each with its bug, so that one script can be played on all of them.

LightLLM (ModelTC, Apache-2.0) kept its KV slots in four ways between 2023 and 2026. These are the
ideas, written anew in NumPy behind this package's interface; none of them is code of that project,
and none of them is meant for use: the bug of each is the reason for the next.

    1  RunningSumAllocator       2023-07, commit 360eb453   O(pool) a call; counter and mask can disagree
    2  ReferenceCountAllocator   2023-11, commit 51f68bab   O(pool) a call; a repeated slot counts twice
    3  StackViewAllocator        2025-02, commit b8cfd70c   O(n) a call; an answer is a view of the stack
    4  StackRingAllocator        by 2026                    O(n) a call; an answer is valid for a while

Contiguous allocation was part of 1 and 2 and was then removed; 3 and 4 answer None.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from labkit.kv_cache.allocator import Slots


class RunningSumAllocator:
    """One bool per slot (free or not), a counter beside it, and a running sum over the whole pool in each alloc.

    Its bug: free adds to the counter without looking at the mask, so the two disagree after a double free.
    """

    def __init__(self, size: int) -> None:
        self.num_free = size
        self._is_free = np.ones(size, bool)

    def alloc(self, n: int) -> Slots | None:
        """The first n free slots: those where the number of free slots so far is at most n. O(pool)."""
        if n > self.num_free:
            return None
        num_free_so_far = np.cumsum(self._is_free, dtype=np.int32)
        return self._take(np.flatnonzero((num_free_so_far <= n) & self._is_free))

    def alloc_contiguous(self, n: int) -> Slots | None:
        """The first window a..a+n-1 with n free slots in it, by a difference of the running sum. O(pool)."""
        if n > self.num_free:
            return None
        if n == 0:
            return np.empty(0, np.int64)
        sums = np.cumsum(self._is_free, dtype=np.int32)
        last = len(sums) - n + 1
        num_free_in_window = sums[n - 1 :] - sums[:last] + self._is_free[:last]
        starts = np.flatnonzero(num_free_in_window == n)
        return self._take(np.arange(starts[0], starts[0] + n)) if starts.size else None

    def free(self, indices: ArrayLike) -> None:
        """Mark them free and raise the counter, whatever they were."""
        indices = np.asarray(indices, np.int64)
        self._is_free[indices] = True
        self.num_free += len(indices)

    def _take(self, slots: Slots) -> Slots:
        self._is_free[slots] = False
        self.num_free -= len(slots)
        return slots


class ReferenceCountAllocator:
    """One reference count per slot, 0 is free; in each alloc the indices of all zeros are listed.

    Its bugs: a slot twice in one free is lowered once and counted twice, and a double free leaves the
    count at -1, which is never free again.
    """

    def __init__(self, size: int) -> None:
        self.num_free = size
        self._counts = np.zeros(size, np.int32)

    def alloc(self, n: int) -> Slots | None:
        """The first n slots with count 0. O(pool)."""
        if n > self.num_free:
            return None
        return self._take(np.flatnonzero(self._counts == 0)[:n])

    def alloc_contiguous(self, n: int) -> Slots | None:
        """The first n neighbours in the sorted list of free slots that span n - 1. O(pool)."""
        if n > self.num_free:
            return None
        if n == 0:
            return np.empty(0, np.int64)
        free = np.flatnonzero(self._counts == 0)
        starts = np.flatnonzero(free[n - 1 :] - free[: len(free) - n + 1] == n - 1)
        return self._take(free[starts[0] : starts[0] + n]) if starts.size else None

    def free(self, indices: ArrayLike) -> None:
        """Lower the counts by one, then count how many of these entries are zero now."""
        indices = np.asarray(indices, np.int64)
        self._counts[indices] -= 1  # NumPy, like torch, does this once for a repeated index
        self.num_free += int(np.count_nonzero(self._counts[indices] == 0))

    def _take(self, slots: Slots) -> Slots:
        self._counts[slots] += 1
        self.num_free -= len(slots)
        return slots.copy()


class StackViewAllocator:
    """A stack of free slot numbers and a mark; alloc is a slice above the mark, free copies below it.

    Its bug: the slice is a view. When the mark comes down and other numbers are written there, the
    earlier answer reads those. A double free writes the same slots twice, so two requests share them.
    """

    def __init__(self, size: int) -> None:
        self._stack = np.arange(size)
        self._mark = 0

    @property
    def num_free(self) -> int:
        """Slots above the mark."""
        return len(self._stack) - self._mark

    def alloc(self, n: int) -> Slots:
        """The next n entries of the stack. O(1), because nothing is copied."""
        assert n <= self.num_free, f"{n} slots asked for, {self.num_free} free"  # this generation stops the server
        self._mark += n
        return self._stack[self._mark - n : self._mark]

    def alloc_contiguous(self, n: int) -> Slots | None:
        """None: this generation does not look for runs."""
        return None

    def free(self, indices: ArrayLike) -> None:
        """Lower the mark and write the slots there."""
        indices = np.asarray(indices, np.int64)
        start = self._mark - len(indices)
        assert start >= 0, f"{len(indices)} slots freed, {self._mark} held"
        self._stack[start : self._mark] = indices
        self._mark = start


class StackRingAllocator(StackViewAllocator):
    """The stack, with answers copied into a ring of three times the pool; what is returned is a view of the ring.

    Its bug: an answer is valid until the ring comes round. A double free still goes unnoticed.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._ring = np.empty(3 * size, np.int64)
        self._next = 0

    def alloc(self, n: int) -> Slots:
        """A view of n entries of the ring, from its beginning again when the end is too near. O(n)."""
        slots = super().alloc(n)
        if self._next + n > len(self._ring):
            self._next = 0
        start, self._next = self._next, self._next + n
        self._ring[start : self._next] = slots
        return self._ring[start : self._next]


# Generation number -> class, oldest first: what lab 05 walks through.
GENERATIONS = {
    1: RunningSumAllocator,
    2: ReferenceCountAllocator,
    3: StackViewAllocator,
    4: StackRingAllocator,
}

"""The token allocator: a pool of `size` slots, each holding the keys and values of one token in every layer.

Three arrays, and what is true of them between two calls (mark is the number of slots held):

    _stack   (size,)  int64   _stack[mark:] are the free slots, the next one to give out first
    _place   (size,)  int32   where a *free* slot lies in _stack; means nothing for a held slot
    _held    (size,)  bytes   1 for a held slot, 0 for a free one

alloc and free move the mark, so their cost grows with n and not with the pool. A run of n free slots is
n zero bytes in a row, and finding it is substring search: a held slot at the end of a window rules out
n windows at once (Boyer and Moore 1977), where a running sum has to touch every slot. Taking the run
out of the middle of the stack is the deletion of a sparse set (Briggs and Torczon 1993): the hole is
filled from the edge of the free part.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labkit.kv_cache._arguments import FreeError, count_argument, integers_argument

Slots = NDArray[np.int64]
_INT64 = np.dtype(np.int64)


class IntegrityError(RuntimeError):
    """An allocator's own arrays contradict each other; the message has all the numbers."""


class SlotAllocator(Protocol):
    """What a request table needs from an allocator; a learner's class has the same four names."""

    @property
    def num_free(self) -> int: ...
    def alloc(self, n: int) -> Slots | None: ...
    def alloc_contiguous(self, n: int) -> Slots | None: ...
    def free(self, indices: ArrayLike) -> None: ...


class TokenAllocator:
    """Hands out the slots 0..size-1 of a pool, each to one holder at a time.

    >>> allocator = TokenAllocator(8)
    >>> first = allocator.alloc(3)
    >>> len(first), allocator.num_free
    (3, 5)
    >>> allocator.alloc(6) is None, allocator.num_free      # nothing partial, nothing changed
    (True, 5)
    >>> allocator.free(first)
    >>> allocator.num_free
    8

    An answer is a copy: it belongs to the caller and never changes. Not safe for several threads.
    A pool of 0 slots is legal and always full.
    """

    def __init__(self, size: int) -> None:
        self._size = count_argument(size, "The size of a pool")
        self._mark = 0
        self._stack = np.arange(self._size, dtype=np.int64)
        self._place = np.arange(self._size, dtype=np.int32)
        self._held = bytearray(self._size)

    def __repr__(self) -> str:
        return f"TokenAllocator(size={self._size}, num_free={self.num_free})"

    @property
    def size(self) -> int:
        """Number of slots in the pool, free and held."""
        return self._size

    @property
    def num_free(self) -> int:
        """Number of slots that alloc can still give out."""
        return self._size - self._mark

    def alloc(self, n: int) -> Slots | None:
        """Any n free slots, distinct and in any order, shape (n,); None and no change when fewer are free.

        alloc(0) is an empty array. CountError for an n that is negative, not a whole number, or beyond int32.
        """
        mark = self._mark
        if type(n) is int and n == 1 and mark < self._size:  # every decode step of a single request
            slot = self._stack[mark : mark + 1].copy()
            self._held[slot.item()] = 1
            self._mark = mark + 1
            return slot
        n = count_argument(n, "The number of slots asked for")
        if n > self.num_free:
            return None
        slots = self._stack[mark : mark + n].copy()
        self._flags()[slots] = 1
        self._mark = mark + n
        return slots

    def alloc_contiguous(self, n: int) -> Slots | None:
        """n free slots in a row, ascending, shape (n,); None and no change when no free run is that long.

        The lowest run that is long enough (first fit). alloc_contiguous(0) is an empty array. O(size) at worst.
        """
        n = count_argument(n, "The number of slots asked for")
        if n > self.num_free:
            return None
        start = self._held.find(bytes(n))
        if start < 0:
            return None
        slots = np.arange(start, start + n, dtype=np.int64)
        self._take(slots)
        return slots

    def alloc_lowest(self, n: int) -> Slots | None:
        """The n free slots with the lowest numbers, ascending, shape (n,); None as alloc. O(size).

        Worth its price where runs matter and none is long enough: it mends holes at one end and leaves the
        other whole, while alloc's stack order spreads a request over the pool and keeps it broken.
        """
        n = count_argument(n, "The number of slots asked for")
        if n > self.num_free:
            return None
        slots = np.flatnonzero(self._flags() == 0)[:n].astype(np.int64)  # a copy: the slice would keep all alive
        self._take(slots)
        return slots

    def free(self, indices: ArrayLike) -> None:
        """Give these held slots back, in any order and from any number of allocs; all of them or none.

        FreeError (a ValueError) and no change when a slot is out of range, not held, or there twice.
        """
        if type(indices) is np.ndarray and indices.shape == (1,) and indices.dtype == _INT64:
            slot = indices.item()
            if 0 <= slot < self._size and self._held[slot]:
                self._mark = mark = self._mark - 1
                self._stack[mark] = slot
                self._place[slot] = mark
                self._held[slot] = 0
                return
        self._free_many(integers_argument(indices, "What is freed", FreeError))

    def check_integrity(self) -> None:
        """IntegrityError with every number unless free + held = size and the three arrays agree; O(size)."""
        free, flags = self._stack[self._mark :], self._flags()
        in_range = free[(free >= 0) & (free < self._size)]
        num_held = int(np.count_nonzero(flags))
        num_distinct = len(np.unique(in_range))
        num_free_and_held = int(np.count_nonzero(flags[in_range]))
        num_misplaced = int(np.count_nonzero(self._stack[self._place[in_range] % self._size] != in_range))
        if (
            self.num_free + num_held == self._size
            and num_distinct == len(free) == self.num_free
            and num_free_and_held == num_misplaced == 0
        ):
            return
        raise IntegrityError(
            f"free {self.num_free} + held {num_held} = {self.num_free + num_held}, "
            f"and the pool has {self._size} slots. "
            f"The free stack has {len(free)} entries, {num_distinct} of them distinct slots of the pool; "
            f"{num_free_and_held} are marked held, {num_misplaced} are not where their place says."
        )

    def _flags(self) -> NDArray[np.uint8]:
        """_held as a writable array; made anew on each use, so that copying or pickling an allocator is safe."""
        return np.frombuffer(self._held, np.uint8)

    def _take(self, slots: Slots) -> None:
        """Mark these free slots held and close the gaps they leave in the stack; O(n)."""
        flags, new_mark = self._flags(), self._mark + len(slots)
        flags[slots] = 1
        edge = self._stack[self._mark : new_mark]  # leaves the free part of the stack
        staying = edge[flags[edge] == 0]  # but these slots are still free
        places = self._place[slots]
        holes = places[places >= new_mark]
        self._stack[holes] = staying
        self._place[staying] = holes
        self._mark = new_mark

    def _free_many(self, slots: Slots) -> None:
        if slots.size == 0:
            return
        flags = self._flags()
        # Seen as unsigned, a negative number is larger than any slot: one pass checks both ends.
        # A search for a 0 byte is faster than all() on a few hundred flags.
        if int(slots.view(np.uint64).max()) >= self._size or 0 in flags[slots].tobytes():
            raise FreeError(self._why_not_held(slots))
        mark = self._mark - len(slots)  # below zero only with a repeated slot, which is refused next
        # place means nothing for a held slot, so writing it before the last check changes nothing.
        places = np.arange(mark, self._mark, dtype=np.int32)
        self._place[slots] = places
        repeated = slots[self._place[slots] != places]
        if repeated.size:
            raise FreeError(f"Slot {repeated[0]} stands twice in one free; its holder has it once. Nothing is freed.")
        self._stack[mark : self._mark] = slots
        flags[slots] = 0
        self._mark = mark

    def _why_not_held(self, slots: Slots) -> str:
        for slot in slots.tolist():
            if not 0 <= slot < self._size:
                return f"Slot {slot} is not in the pool, which has slots 0 to {self._size - 1}. Nothing is freed."
            if not self._held[slot]:
                return (
                    f"Slot {slot} is free already: it was given back before, or never given out. Nothing is freed. "
                    "Freeing it again would let two requests share it."
                )
        raise AssertionError("every slot is held")


def alloc_any(allocator: SlotAllocator, n: int) -> Slots | None:
    """n slots wherever they lie, as alloc gives them; the simplest thing a TokenTable can be told to do."""
    return allocator.alloc(n)


def alloc_contiguous_first(allocator: SlotAllocator, n: int) -> Slots | None:
    """n slots in one run if there is one, else any n, else None; works with every allocator that has both."""
    slots = allocator.alloc_contiguous(n)
    return allocator.alloc(n) if slots is None else slots


def alloc_contiguous_else_lowest(allocator: TokenAllocator, n: int) -> Slots | None:
    """n slots in one run if there is one, else the lowest n, else None: slower, and runs stay longer."""
    slots = allocator.alloc_contiguous(n)
    return allocator.alloc_lowest(n) if slots is None else slots

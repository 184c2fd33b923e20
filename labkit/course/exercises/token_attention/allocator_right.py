"""Right allocators, by different ideas: none of them puts the slots where the others do."""

import numpy as np

from labkit.course.banks import RightAnswers
from labkit.course.exercises.token_attention.allocator_wrong import Sets

right = RightAnswers()
right("a set of held slots")(Sets)


def _refuse_bad(is_free, slots):
    bad = (slots < 0) | (slots >= len(is_free))
    if bad.any() or is_free[slots].any() or len(np.unique(slots)) < len(slots):
        raise ValueError("only slots that are held, each once")


class _Flags:
    """One flag per slot."""

    def __init__(self, size):
        self.is_free = np.ones(size, bool)

    @property
    def num_free(self):
        return int(self.is_free.sum())

    def take(self, slots):
        self.is_free[slots] = False
        return slots

    def alloc(self, n):
        free = np.flatnonzero(self.is_free)
        return self.take(free[:n]) if n <= len(free) else None

    def free(self, indices):
        _refuse_bad(self.is_free, indices)
        self.is_free[indices] = True


@right("running sum")
class RunningSum(_Flags):
    def alloc(self, n):
        if n > self.num_free:
            return None
        return self.take(np.flatnonzero((np.cumsum(self.is_free) <= n) & self.is_free))

    def alloc_contiguous(self, n):
        sums = np.concatenate([[0], np.cumsum(self.is_free)])
        starts = np.flatnonzero(sums[n:] - sums[: max(len(sums) - n, 0)] == n)
        return self.take(np.arange(starts[0], starts[0] + n)) if len(starts) else None


@right("differences of the free slots")
class DifferencesOfTheFreeSlots(_Flags):
    def alloc_contiguous(self, n):
        free = np.flatnonzero(self.is_free)
        if n > len(free) or n == 0:
            return None if n else free[:0]
        starts = np.flatnonzero(free[n - 1 :] - free[: len(free) - n + 1] == n - 1)
        return self.take(np.arange(free[starts[0]], free[starts[0]] + n)) if len(starts) else None


@right("edges of the free runs, last fit")
class EdgesOfTheFreeRunsLastFit(_Flags):
    def alloc(self, n):
        free = np.flatnonzero(self.is_free)
        return self.take(free[len(free) - n :]) if n <= len(free) else None

    def alloc_contiguous(self, n):
        edges = np.flatnonzero(np.diff(self.is_free, prepend=False, append=False))
        for start, end in zip(edges[::2][::-1], edges[1::2][::-1], strict=True):
            if end - start >= n:
                return self.take(np.arange(end - n, end))
        return None if n else np.empty(0, np.int64)


class _Stack:
    """Free slots on a stack; a run is looked for in a sorted copy."""

    def __init__(self, size):
        self.stack = list(range(size))
        self.is_free = np.ones(size, bool)

    @property
    def num_free(self):
        return len(self.stack)

    def alloc(self, n):
        if n > len(self.stack):
            return None
        slots = np.array([self.stack.pop() for _ in range(n)], np.int64)
        self.is_free[slots] = False
        return slots

    def alloc_contiguous(self, n):
        ordered = sorted(self.stack)
        for at in range(len(ordered) - n + 1):
            if n == 0 or ordered[at + n - 1] - ordered[at] == n - 1:
                slots = np.array(ordered[at : at + n], np.int64)
                self.stack = ordered[:at] + ordered[at + n :]
                self.is_free[slots] = False
                return slots
        return None

    def free(self, indices):
        _refuse_bad(self.is_free, indices)
        self.is_free[indices] = True
        self.stack.extend(indices.tolist())


right("a stack, sorted for a run")(_Stack)


@right("substring search in a bytearray")
class SubstringSearchInABytearray:
    def __init__(self, size):
        self.state = bytearray(size)

    @property
    def num_free(self):
        return self.state.count(0)

    def take(self, slots):
        for slot in slots:
            self.state[slot] = 1
        return np.array(slots, np.int64)

    def alloc(self, n):
        free = [slot for slot, held in enumerate(self.state) if not held]
        return self.take(free[:n]) if n <= len(free) else None

    def alloc_contiguous(self, n):
        start = self.state.find(bytes(n)) if n <= len(self.state) else -1
        return self.take(range(start, start + n)) if start >= 0 else None

    def free(self, indices):
        slots = set(indices.tolist())
        known = all(0 <= slot < len(self.state) and self.state[slot] for slot in slots)
        if not known or len(slots) < len(indices):
            raise ValueError("only slots that are held, each once")
        for slot in slots:
            self.state[slot] = 0


@right("list of gaps, best fit")
class ListOfGapsBestFit:
    def __init__(self, size):
        self.gaps = {0: size} if size else {}  # start: length, no two of them touch
        self.size = size

    @property
    def num_free(self):
        return sum(self.gaps.values())

    def cut(self, start, n):
        length = self.gaps.pop(start)
        if length > n:
            self.gaps[start + n] = length - n
        return range(start, start + n)

    def alloc(self, n):
        if n > self.num_free:
            return None
        slots = []
        while len(slots) < n:
            start = max(self.gaps, key=self.gaps.get)
            slots += self.cut(start, min(n - len(slots), self.gaps[start]))
        return np.array(slots, np.int64)

    def alloc_contiguous(self, n):
        fitting = [start for start, length in self.gaps.items() if length >= n]
        if n == 0 or not fitting:
            return None if n else np.empty(0, np.int64)
        return np.array(self.cut(min(fitting, key=self.gaps.get), n), np.int64)

    def free(self, indices):
        slots = sorted(indices.tolist())
        is_free = {slot for start, length in self.gaps.items() for slot in range(start, start + length)}
        in_pool = not slots or (slots[0] >= 0 and slots[-1] < self.size)
        if not in_pool or len(set(slots)) < len(slots) or not is_free.isdisjoint(slots):
            raise ValueError("only slots that are held, each once")
        is_free.update(slots)
        self.gaps = {}
        start = None
        for slot in sorted(is_free):
            start = slot if slot - 1 not in is_free else start
            self.gaps[start] = slot - start + 1


@right("bits of one integer")
class BitsOfOneInteger:
    def __init__(self, size):
        self.free_bits = (1 << size) - 1
        self.size = size

    @property
    def num_free(self):
        return self.free_bits.bit_count()

    def slots_of(self, bits):
        text = bin(bits)[:1:-1]
        return np.flatnonzero(np.frombuffer(text.encode(), np.uint8) == ord("1"))

    def alloc(self, n):
        slots = self.slots_of(self.free_bits)[:n]
        if len(slots) < n:
            return None
        self.free_bits ^= sum(1 << slot for slot in slots.tolist())
        return slots

    def alloc_contiguous(self, n):
        runs, length = self.free_bits, 1  # bit i: a run of `length` begins at i
        while length < n:
            step = min(length, n - length)
            runs &= runs >> step
            length += step
        if n == 0 or not runs:
            return None if n else np.empty(0, np.int64)
        start = (runs & -runs).bit_length() - 1
        self.free_bits ^= ((1 << n) - 1) << start
        return np.arange(start, start + n)

    def free(self, indices):
        bits = 0
        for slot in indices.tolist():
            bit = 1 << slot if 0 <= slot < self.size else 0
            if not bit or (self.free_bits | bits) & bit:
                raise ValueError(f"slot {slot} is not held, or stands there twice")
            bits |= bit
        self.free_bits |= bits

"""Right tables, by different ideas."""

import numpy as np

from labkit.course.banks import RightAnswers
from labkit.course.exercises.token_attention.table_wrong import Lists

right = RightAnswers()
right("a list of slots for each row")(Lists)


class _Array:
    """One array for all rows, as LightLLM keeps it."""

    def __init__(self, max_requests, max_len, allocator):
        self.table = np.full((max_requests, max_len), -1, np.int32)
        self.lengths = np.full(max_requests, -1)
        self.allocator = allocator

    def take(self, n):
        return self.allocator.alloc(n)

    def live(self, rows):
        rows = np.asarray(rows, np.int64)
        if (self.lengths[rows] < 0).any():
            raise ValueError("no request there")
        return rows

    def start(self, prompt_len):
        free = np.flatnonzero(self.lengths < 0)
        slots = self.take(prompt_len) if len(free) else None
        if slots is None:
            return None
        self.table[free[0], :prompt_len] = slots
        self.lengths[free[0]] = prompt_len
        return free[0]

    def append(self, rows):
        rows = self.live(rows)
        slots = self.take(len(rows))
        if slots is None:
            return False
        self.table[rows, self.lengths[rows]] = slots
        self.lengths[rows] += 1
        return True

    def finish(self, row):
        self.live([row])
        self.allocator.free(self.slots(row))
        self.lengths[row] = -1

    def slots(self, row):
        return self.table[row, : self.lengths[row]].copy()


right("one array")(_Array)


@right("a new array for each step")
class ANewArrayForEachStep(Lists):
    """Its answers are its own arrays, and none of them is ever written to again."""

    def start(self, prompt_len):
        row = super().start(prompt_len)
        if row is not None:
            self.tokens[row] = np.array(self.tokens[row], np.int64)
        return row

    def append(self, rows):
        self.look_for_dead(rows)
        slots = self.allocator.alloc(len(rows))
        for row, slot in zip(rows, () if slots is None else slots, strict=slots is not None):
            self.tokens[row] = np.append(self.tokens[row], slot)
        return slots is not None

    def slots(self, row):
        return self.tokens[row]


@right("one array, runs first")
class OneArrayRunsFirst(_Array):
    def take(self, n):
        slots = self.allocator.alloc_contiguous(n)
        return self.allocator.alloc(n) if slots is None else slots


@right("a linked list through the slots")
class ALinkedListThroughTheSlots:
    def __init__(self, max_requests, max_len, allocator):
        self.allocator = allocator
        self.before = {}  # slot of a token -> slot of the token before it
        self.newest = [None] * max_requests

    def start(self, prompt_len):
        row = next((row for row, newest in enumerate(self.newest) if newest is None), None)
        slots = None if row is None else self.allocator.alloc(prompt_len)
        if slots is None:
            return None
        self.newest[row] = -1
        for slot in slots.tolist():
            self.push(row, slot)
        return row

    def push(self, row, slot):
        self.before[slot] = self.newest[row]
        self.newest[row] = slot

    def append(self, rows):
        if any(self.newest[row] is None for row in rows):
            raise ValueError("no request there")
        if len(rows) > self.allocator.num_free:
            return False
        for row, slot in zip(rows, self.allocator.alloc(len(rows)), strict=True):
            self.push(row, int(slot))
        return True

    def finish(self, row):
        if self.newest[row] is None:
            raise ValueError("no request there")
        self.allocator.free(self.slots(row)[::-1].copy())
        self.newest[row] = None

    def slots(self, row):
        backwards = []
        slot = self.newest[row]
        while slot != -1:
            backwards.append(slot)
            slot = self.before[slot]
        return np.array(backwards[::-1], np.int64)


@right("chunks, joined when read")
class ChunksJoinedWhenRead(Lists):
    def start(self, prompt_len):
        if not self.free_rows or (slots := self.allocator.alloc(prompt_len)) is None:
            return None
        row = self.free_rows.pop(0)
        self.tokens[row] = [slots]
        return row

    def append(self, rows):
        self.look_for_dead(rows)
        slots = self.allocator.alloc(len(rows))
        for i, row in enumerate(rows if slots is not None else ()):
            self.tokens[row].append(slots[i : i + 1])
        return slots is not None

    def slots(self, row):
        return np.concatenate(self.tokens[row])

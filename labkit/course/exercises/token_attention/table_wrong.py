"""Wrong tables, each with the sentence that a learner reads: one right one, with one thing changed at a time."""

import numpy as np

from labkit.course.banks import WrongAnswers

wrong = WrongAnswers()


class Lists:
    """A right table, for others to spoil: a list of slots for each row that holds a request."""

    def __init__(self, max_requests, max_len, allocator):
        self.max_len = max_len
        self.allocator = allocator
        self.free_rows = list(range(max_requests))[::-1]
        self.tokens = {}

    def start(self, prompt_len):
        if not self.free_rows:
            return None
        slots = self.allocator.alloc(prompt_len)
        if slots is None:
            return None
        row = self.free_rows.pop()
        self.tokens[row] = slots.tolist()
        return row

    def look_for_dead(self, rows):
        if any(row not in self.tokens for row in rows):
            raise ValueError(f"of {rows} one holds no request")

    def append(self, rows):
        self.look_for_dead(rows)
        slots = self.allocator.alloc(len(rows))
        if slots is None:
            return False
        for row, slot in zip(rows, slots.tolist(), strict=True):
            self.tokens[row].append(slot)
        return True

    def finish(self, row):
        self.look_for_dead([row])
        self.allocator.free(self.slots(row))
        del self.tokens[row]
        self.free_rows.append(row)

    def slots(self, row):
        return np.array(self.tokens[row], np.int64)


@wrong(
    "row not cleared",
    "a finished row still answers with its slots, and its next finish frees what belongs to others now.",
)
class RowNotCleared(Lists):
    def finish(self, row):
        self.allocator.free(self.slots(row))
        self.free_rows.append(row)


@wrong(
    "row given back twice",
    "a second finish of the same row is accepted: later, two requests may be given this row. Refuse it.",
)
class RowGivenBackTwice(Lists):
    def finish(self, row):
        self.allocator.free(self.slots(row))
        self.tokens[row] = []
        self.free_rows.append(row)


@wrong("slots for a finished request", "nobody will free what a finished row is given: refuse it before you take any.")
class SlotsForAFinishedRequest(Lists):
    def append(self, rows):
        slots = self.allocator.alloc(len(rows))
        if slots is None:
            return False
        for row, slot in zip(rows, slots.tolist(), strict=True):
            self.tokens.get(row, []).append(slot)
        return True


@wrong("length not advanced", "after an append, slots(row) has as many entries as before: count the new token.")
class LengthNotAdvanced(Lists):
    def append(self, rows):
        before = {row: list(self.tokens[row]) for row in rows if row in self.tokens}
        done = super().append(rows)
        self.tokens.update(before)
        return done


@wrong(
    "last token overwritten",
    "the new token's slot stands where the last one's stood: it goes behind it, to column `length`.",
)
class LastTokenOverwritten(Lists):
    def append(self, rows):
        done = super().append(rows)
        for row in rows if done else ():
            del self.tokens[row][-2]
        return done


@wrong("newest token first", "slots(row)[i] is the slot of token i: the new one goes to the end.")
class NewestTokenFirst(Lists):
    def append(self, rows):
        done = super().append(rows)
        for row in rows if done else ():
            self.tokens[row].insert(0, self.tokens[row].pop())
        return done


@wrong("slots sorted", "the slots come in ascending order, not in token order: which token lies where is lost.")
class SlotsSorted(Lists):
    def slots(self, row):
        return np.sort(super().slots(row))


@wrong("start and length instead of slots", "slots of a request need not be neighbours: keep every one of them.")
class StartAndLengthInsteadOfSlots(Lists):
    def slots(self, row):
        first = self.tokens[row][0]
        return np.arange(first, first + len(self.tokens[row]))

    def finish(self, row):
        self.look_for_dead([row])
        self.allocator.free(self.tokens.pop(row))
        self.free_rows.append(row)


@wrong("one slot for the whole batch", "each request of the step needs a slot of its own: ask for len(rows).")
class OneSlotForTheWholeBatch(Lists):
    def append(self, rows):
        self.look_for_dead(rows)
        slots = self.allocator.alloc(1)
        if slots is None:
            return False
        for row in rows:
            self.tokens[row].append(int(slots[0]))
        return True


@wrong("a step half done", "the first rows have their slots when the pool runs out: ask once, for all of them.")
class AStepHalfDone(Lists):
    def append(self, rows):
        self.look_for_dead(rows)
        for row in rows:
            slots = self.allocator.alloc(1)
            if slots is None:
                return False
            self.tokens[row].append(int(slots[0]))
        return True


class RowByRow(Lists):
    """Looks at a row, takes its slot, goes on to the next: whatever stops it, those before have grown."""

    looks_first = takes_first = False

    def append(self, rows):
        if self.looks_first:
            self.look_for_dead(rows)
        if self.takes_first and len(rows) > self.allocator.num_free:
            return False
        for row in rows:
            self.look_for_dead([row])
            slots = self.allocator.alloc(1)
            if slots is None:
                return False
            self.tokens[row].append(int(slots[0]))
        return True


@wrong(
    "half done before a finished row",
    "the rows before the one that holds no request have grown when it raises: look at all rows first.",
)
class HalfDoneBeforeAFinishedRow(RowByRow):
    takes_first = True


@wrong(
    "half done, whatever refuses",
    "two mistakes: the rows before a finished one have grown when it raises, and the first rows of a batch have grown"
    " when the pool runs out. Look at all rows, then ask once for all slots, and only then write.",
)
class HalfDoneWhateverRefuses(RowByRow):
    pass


@wrong(
    "lengths advanced by a refusal", "the step is refused, and its rows count one token more: write after the slots."
)
class LengthsAdvancedByARefusal(Lists):
    def append(self, rows):
        self.look_for_dead(rows)
        for row in rows:
            self.tokens[row].append(-1)
        slots = self.allocator.alloc(len(rows))
        if slots is None:
            return False
        for row, slot in zip(rows, slots.tolist(), strict=True):
            self.tokens[row][-1] = slot
        return True


@wrong("slots of a refused step lost", "the slots that it got before the pool ran out are in no row: give them back.")
class SlotsOfARefusedStepLost(Lists):
    def append(self, rows):
        self.look_for_dead(rows)
        slots = [self.allocator.alloc(1) for _ in rows]
        if any(slot is None for slot in slots):
            return False
        for row, slot in zip(rows, slots, strict=True):
            self.tokens[row].append(int(slot[0]))
        return True


@wrong("append answers nothing", "True says that the step can run, and None came: is a return missing at the end?")
class AppendAnswersNothing(Lists):
    def append(self, rows):
        return super().append(rows) and None


@wrong("append raises when slots run out", "a full pool is an everyday answer: False, and the scheduler decides.")
class AppendRaisesWhenSlotsRunOut(Lists):
    def append(self, rows):
        if len(rows) > self.allocator.num_free:
            raise MemoryError("out of slots")
        return super().append(rows)


@wrong(
    "an empty step refused",
    "append([]) answers False, and nobody was refused. For example, `not` takes an empty answer for None.",
)
class AnEmptyStepRefused(Lists):
    def append(self, rows):
        return super().append(rows) if rows else False


@wrong("slots taken without a row", "start answers None where no row is left, and its slots are gone: rows first.")
class SlotsTakenWithoutARow(Lists):
    def start(self, prompt_len):
        slots = self.allocator.alloc(prompt_len)
        if slots is None or not self.free_rows:
            return None
        row = self.free_rows.pop()
        self.tokens[row] = slots.tolist()
        return row


@wrong(
    "row taken without slots", "start answers None where slots run out, and its row is gone: take it after the slots."
)
class RowTakenWithoutSlots(Lists):
    def start(self, prompt_len):
        if not self.free_rows:
            return None
        row = self.free_rows.pop()
        slots = self.allocator.alloc(prompt_len)
        if slots is None:
            return None
        self.tokens[row] = slots.tolist()
        return row


@wrong("exact fit refused", "a prompt that takes the last slot fits: refuse only when more are needed.")
class ExactFitRefused(Lists):
    def start(self, prompt_len):
        return None if prompt_len >= self.allocator.num_free else super().start(prompt_len)


@wrong("runs only", "start is refused where the free slots are no run: a table needs no neighbours, any slots will do.")
class RunsOnly(Lists):
    def start(self, prompt_len):
        if not self.free_rows:
            return None
        slots = self.allocator.alloc_contiguous(prompt_len)
        if slots is None:
            return None
        row = self.free_rows.pop()
        self.tokens[row] = slots.tolist()
        return row


@wrong("a new row for each request", "there are max_requests rows: those of finished requests are used again.")
class ANewRowForEachRequest(Lists):
    def __init__(self, max_requests, max_len, allocator):
        super().__init__(max_requests, max_len, allocator)
        self.num_rows, self.next_row = max_requests, 0

    def start(self, prompt_len):
        if len(self.tokens) == self.num_rows:
            return None
        self.free_rows = [self.next_row]
        row = super().start(prompt_len)
        self.next_row += row is not None
        return row


@wrong("finished rows never come back", "finish frees the slots and keeps the row: after a while none is left.")
class FinishedRowsNeverComeBack(Lists):
    def finish(self, row):
        super().finish(row)
        self.free_rows.pop()


@wrong("frees the prompt only", "the tokens that were appended have slots too: free the whole row.")
class FreesThePromptOnly(Lists):
    def start(self, prompt_len):
        row = super().start(prompt_len)
        self.prompt_lens = {**getattr(self, "prompt_lens", {}), row: prompt_len}
        return row

    def finish(self, row):
        self.look_for_dead([row])
        self.allocator.free(self.slots(row)[: self.prompt_lens[row]])
        del self.tokens[row]
        self.free_rows.append(row)


@wrong(
    "frees the row's empty columns too",
    "more is freed than the request holds, such as columns past its length: free the first `length`.",
)
class FreesTheRowsEmptyColumnsToo(Lists):
    def finish(self, row):
        self.look_for_dead([row])
        whole_row = np.zeros(self.max_len, np.int64)
        whole_row[: len(self.tokens[row])] = self.tokens[row]
        self.allocator.free(whole_row)
        del self.tokens[row]
        self.free_rows.append(row)


@wrong("nothing freed", "the row is cleared, and its slots stay taken in the pool: give them back first.")
class NothingFreed(Lists):
    def finish(self, row):
        self.look_for_dead([row])
        del self.tokens[row]
        self.free_rows.append(row)


@wrong("the whole row as slots", "columns past the length hold no token: slots(row) has `length` entries.")
class TheWholeRowAsSlots(Lists):
    def slots(self, row):
        return np.pad(super().slots(row), (0, self.max_len - len(self.tokens[row])), constant_values=-1)


@wrong("a list of slots", "attention gathers with an array of integers.")
class AListOfSlots(Lists):
    def slots(self, row):
        return list(self.tokens[row])


class OneArray(Lists):
    """Rows of one array, and an answer that is a part of it: the next request in the row writes there."""

    def __init__(self, max_requests, max_len, allocator):
        super().__init__(max_requests, max_len, allocator)
        self.table = np.full((max_requests, max_len), -1)

    def slots(self, row):
        tokens = self.tokens[row]
        self.table[row, : len(tokens)] = tokens
        return self.table[row, : len(tokens)]

    def finish(self, row):
        super().finish(row)
        self.table[row] = -1


@wrong(
    "a view of the row",
    "an answer of slots(row) reads other slots later, because it shares memory with the table: for example, a slice of"
    " its row is a view. Answer with a copy.",
)
class AViewOfTheRow(OneArray):
    pass

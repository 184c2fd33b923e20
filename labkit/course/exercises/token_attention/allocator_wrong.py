"""Wrong allocators, each with the sentence that a learner reads: one right one, with one thing changed at a time."""

from itertools import pairwise

import numpy as np

from labkit.course.banks import WrongAnswers

wrong = WrongAnswers()


class Sets:
    """A right allocator, for others to spoil: the slots that are held, as a set."""

    def __init__(self, size):
        self.size = size
        self.held = set()

    @property
    def num_free(self):
        return self.size - len(self.held)

    def list_free(self):
        return [slot for slot in range(self.size) if slot not in self.held]

    def take(self, slots):
        self.held.update(slots)
        return np.array(slots, np.int64)

    def alloc(self, n):
        return None if n > self.num_free else self.take(self.list_free()[:n])

    def alloc_contiguous(self, n):
        for start in range(self.size - n + 1):
            if self.held.isdisjoint(range(start, start + n)):
                return self.take(range(start, start + n))
        return None

    def free(self, indices):
        slots = indices.tolist()
        self.look_for_bad(slots)
        self.held.difference_update(slots)

    def look_for_bad(self, slots):
        if len(set(slots)) < len(slots) or not self.held.issuperset(slots):
            raise ValueError(f"{slots}: not held, or twice")


@wrong("refuses the exact fit", "n equal to num_free can be served: refuse only when n is larger.")
class RefusesTheExactFit(Sets):
    def alloc(self, n):
        return None if n >= self.num_free > 0 else super().alloc(n)


@wrong("part on exhaustion", "a prompt with half of its slots cannot run: all n, or None and nothing taken.")
class PartOnExhaustion(Sets):
    def alloc(self, n):
        return super().alloc(min(n, self.num_free))


@wrong("slots gone on exhaustion", "it answers None, and has taken what was left: look before you take.")
class SlotsGoneOnExhaustion(Sets):
    def alloc(self, n):
        slots = super().alloc(min(n, self.num_free))
        return slots if len(slots) == n else None


@wrong("raises on exhaustion", "a full pool is an everyday answer, not an error: None, and the caller waits.")
class RaisesOnExhaustion(Sets):
    def alloc(self, n):
        assert n <= self.num_free, "out of slots"
        return super().alloc(n)


@wrong("alloc(0) is None", "nobody was refused: no slots is an empty array. None means that the caller has to wait.")
class AllocZeroIsNone(Sets):
    def alloc(self, n):
        return super().alloc(n) if n else None


@wrong("alloc(0) takes a slot", "no slots were asked for: the answer is an empty array.")
class AllocZeroTakesASlot(Sets):
    def alloc(self, n):
        return super().alloc(max(n, 1))


@wrong(
    "num_free never falls", "an alloc has to lower it by n. For example, a counter beside the marks that alloc forgets."
)
class NumFreeNeverFalls(Sets):
    num_free = 0

    def __init__(self, size):
        super().__init__(size)
        self.num_free = size

    def alloc(self, n):
        free = self.list_free()
        return self.take(free[:n]) if n <= len(free) else None


@wrong("num_free never rises", "a free has to raise it by as many slots. For example, a counter that free forgets.")
class NumFreeNeverRises(Sets):
    num_free = 0

    def __init__(self, size):
        super().__init__(size)
        self.num_free = size

    def take(self, slots):
        self.num_free -= len(slots)
        return super().take(slots)


@wrong("num_free rises by one", "after a free it is one larger, however many slots came back: count slots, not calls.")
class NumFreeRisesByOne(Sets):
    num_free = 0

    def __init__(self, size):
        super().__init__(size)
        self.num_free = size

    def take(self, slots):
        self.num_free -= len(slots)
        return super().take(slots)

    def free(self, indices):
        super().free(indices)
        self.num_free += 1


@wrong("num_free is a method", "it is read without parentheses: make it an attribute or a property.")
class NumFreeIsAMethod(Sets):
    def num_free(self):
        return self.size - len(self.held)

    def alloc(self, n):
        return None if n > self.num_free() else self.take(self.list_free()[:n])


@wrong(
    "freed slots never come back", "num_free rises, and nobody is ever given these slots again: are they still marked?"
)
class FreedSlotsNeverComeBack(Sets):
    num_back = 0

    @property
    def num_free(self):
        return self.size - len(self.held) + self.num_back

    def free(self, indices):
        super().look_for_bad(indices.tolist())
        self.num_back += len(indices)


@wrong("frees the newest", "other slots come back than `indices` says, for example those on top of a stack.")
class FreesTheNewest(Sets):
    def free(self, indices):
        self.look_for_bad(indices.tolist())
        for slot in sorted(self.held, reverse=True)[: len(indices)]:
            self.held.remove(slot)


@wrong("gives back whole answers only", "a request frees slots of many calls at once: any held slots may come back.")
class GivesBackWholeAnswersOnly(Sets):
    def __init__(self, size):
        super().__init__(size)
        self.answers = [()]

    def take(self, slots):
        self.answers.append(tuple(slots))
        return super().take(slots)

    def free(self, indices):
        if tuple(indices.tolist()) not in self.answers:
            raise ValueError("nobody was given these")
        super().free(indices)


@wrong(
    "freeing nothing fails", "a request without slots may finish: an empty array is legal. For example, it has no max."
)
class FreeingNothingFails(Sets):
    def free(self, indices):
        if indices.max() >= self.size:
            raise ValueError("past the end")
        super().free(indices)


@wrong("double free accepted", "a slot that is free cannot be given back: two requests would be given it later.")
class DoubleFreeAccepted(Sets):
    def __init__(self, size):
        super().__init__(size)
        self.ever = set()

    def take(self, slots):
        self.ever.update(slots)
        return super().take(slots)

    def look_for_bad(self, slots):
        if len(set(slots)) < len(slots) or not self.ever.issuperset(slots):
            raise ValueError("never given out, or twice")


@wrong("any slot of the pool accepted", "in range is not enough: only a slot that somebody holds can come back.")
class AnySlotOfThePoolAccepted(Sets):
    def look_for_bad(self, slots):
        if len(set(slots)) < len(slots) or any(not 0 <= slot < self.size for slot in slots):
            raise ValueError("no slots of this pool, or twice")


@wrong("a slot twice in one free accepted", "each of the two is held when you look, and one slot is counted twice.")
class ASlotTwiceInOneFreeAccepted(Sets):
    num_twice = 0

    @property
    def num_free(self):
        return self.size - len(self.held) + self.num_twice

    def free(self, indices):
        slots = indices.tolist()
        if not self.held.issuperset(slots):
            raise ValueError("not held")
        self.num_twice += len(slots) - len(set(slots))
        self.held.difference_update(slots)


@wrong(
    "free looks at nothing",
    "whatever is in `indices` is taken: refuse, before anything changes, slots that are not held, slots outside of the"
    " pool, and a slot that stands there twice.",
)
class FreeLooksAtNothing(Sets):
    def free(self, indices):
        is_free = np.ones(self.size, bool)
        is_free[list(self.held)] = False
        is_free[indices] = True
        self.held = set(np.flatnonzero(~is_free).tolist())


@wrong(
    "free adds whatever comes to a list",
    "all of `indices` is free afterwards, also what was free before, stands there twice or is no slot of this pool:"
    " refuse these before anything changes.",
)
class FreeAddsWhateverComesToAList(Sets):
    def __init__(self, size):
        super().__init__(size)
        self.back = list(range(size))

    @property
    def num_free(self):
        return len(self.back)

    def list_free(self):
        return list(self.back)

    def take(self, slots):
        for slot in slots:
            self.back.remove(slot)
        return super().take(slots)

    def free(self, indices):
        self.held.difference_update(indices.tolist())
        self.back.extend(indices.tolist())


@wrong(
    "neither free slots nor repeated ones refused",
    "two mistakes: a slot that is free already is accepted, and one that stands twice in one call. The range alone is"
    " not enough.",
)
class NeitherFreeSlotsNorRepeatedOnesRefused(Sets):
    def look_for_bad(self, slots):
        if any(not 0 <= slot < self.size for slot in slots):
            raise ValueError("no slots of this pool")


@wrong(
    "repeated slots merged",
    "a slot twice in one free is freed once, in silence, and has to be refused. For example, flags that are set"
    " twice, a set, or np.unique hide it.",
)
class RepeatedSlotsMerged(Sets):
    def free(self, indices):
        super().free(np.unique(indices))


@wrong("negative slot counts from the end", "-1 gives back the last slot, as an index of NumPy's does: refuse it.")
class NegativeSlotCountsFromTheEnd(Sets):
    def look_for_bad(self, slots):
        super().look_for_bad([slot % self.size if slot < 0 else slot for slot in slots])

    def free(self, indices):
        self.look_for_bad(indices.tolist())
        self.held.difference_update(slot % self.size for slot in indices.tolist() if slot < self.size)


@wrong("IndexError past the end", "look at the range yourself: a caller that sends bad slots is told so by ValueError.")
class IndexErrorPastTheEnd(Sets):
    def free(self, indices):
        is_held = np.zeros(self.size, bool)
        is_held[list(self.held)] = True
        if not is_held[indices].all() or (indices < 0).any():
            raise ValueError("not held")
        super().free(indices)


@wrong("a refused free half done", "the slots before the bad one are gone when it raises: look at all of them first.")
class ARefusedFreeHalfDone(Sets):
    def free(self, indices):
        for slot in indices.tolist():
            if slot not in self.held:
                raise ValueError(f"slot {slot} is not held")
            self.held.remove(slot)


@wrong("bad slots left out in silence", "a bad free is a fault of the caller's, and worth a ValueError at once.")
class BadSlotsLeftOutInSilence(Sets):
    def free(self, indices):
        self.held.difference_update(indices.tolist())


@wrong("the caller's array kept", "free kept the array itself, and the caller wrote into it afterwards: take a copy.")
class TheCallersArrayKept(Sets):
    def __init__(self, size):
        super().__init__(size)
        self.back = [np.arange(size)]

    def list_free(self):
        return np.concatenate(self.back).tolist()

    def take(self, slots):
        slots = list(slots)
        self.back = [np.setdiff1d(np.concatenate(self.back), slots)]
        return super().take(slots)

    def free(self, indices):
        super().free(indices)
        self.back.append(indices)


@wrong(
    "the caller's array sorted",
    "free changed the array that it was passed: it is the caller's. For example, sort() works in place.",
)
class TheCallersArraySorted(Sets):
    def free(self, indices):
        indices.sort()
        super().free(indices)


@wrong(
    "a view of the stack",
    "an answer reads other numbers later: it shares memory with something of yours. Answer with a copy.",
)
class AViewOfTheStack(Sets):
    def __init__(self, size):
        super().__init__(size)
        self.stack = np.arange(size)

    def alloc(self, n):
        mark = len(self.held)
        if n > self.num_free:
            return None
        self.held.update(self.stack[mark : mark + n].tolist())
        return self.stack[mark : mark + n]

    def alloc_contiguous(self, n):
        slots = super().alloc_contiguous(n)
        if slots is not None:
            rest = self.stack[len(self.held) - n :]
            rest[:] = np.concatenate([slots, rest[~np.isin(rest, slots)]])
        return slots

    def free(self, indices):
        super().free(indices)
        mark = len(self.held)
        self.stack[mark : mark + len(indices)] = indices


@wrong(
    "a ring of answers", "many calls later an answer reads other numbers, for example when a ring comes round: copy."
)
class ARingOfAnswers(Sets):
    def __init__(self, size):
        super().__init__(size)
        self.ring, self.next = np.empty(3 * size, np.int64), 0

    def take(self, slots):
        slots = super().take(slots)
        if self.next + len(slots) > len(self.ring):
            self.next = 0
        answer = self.ring[self.next : self.next + len(slots)]
        answer[:] = slots
        self.next += len(slots)
        return answer


@wrong("answers with a list", "attention gathers with an int64 array; a list is converted again at every step.")
class AnswersWithAList(Sets):
    def take(self, slots):
        return super().take(slots).tolist()


@wrong("int32 answers", "both kinds of alloc answer with int64 arrays.")
class Int32Answers(Sets):
    def take(self, slots):
        return super().take(slots).astype(np.int32)


@wrong("last window missed", "a run that ends with the last slot is not found: there are size - n + 1 places to begin.")
class LastWindowMissed(Sets):
    def alloc_contiguous(self, n):
        for start in range(self.size - n):
            if self.held.isdisjoint(range(start, start + n)):
                return self.take(range(start, start + n))
        return None


@wrong("window round the end", "the last slot and the first are not neighbours.")
class WindowRoundTheEnd(Sets):
    def alloc_contiguous(self, n):
        for start in range(self.size if n <= self.size else 0):
            window = [(start + i) % self.size for i in range(n)]
            if self.held.isdisjoint(window):
                return self.take(window)
        return None


@wrong("first gap only", "the first gap is too short, and a later one would do: go on looking.")
class FirstGapOnly(Sets):
    def alloc_contiguous(self, n):
        start = next((slot for slot in range(self.size) if slot not in self.held), self.size)
        window = range(start, start + n)
        fits = start + n <= self.size and self.held.isdisjoint(window)
        return self.take(window) if fits else None


@wrong("behind the last one held only", "gaps between requests are runs too; memory would be used only once.")
class BehindTheLastOneHeldOnly(Sets):
    def alloc_contiguous(self, n):
        start = max(self.held, default=-1) + 1
        return self.take(range(start, start + n)) if start + n <= self.size else None


@wrong("gap of exactly n only", "a longer gap will do as well: its rest stays free.")
class GapOfExactlyNOnly(Sets):
    def alloc_contiguous(self, n):
        edges = [-1, *sorted(self.held), self.size]
        for before, after in pairwise(edges):
            if after - before - 1 == n:
                return self.take(range(before + 1, after))
        return self.take([]) if n == 0 else None


@wrong("run one longer than asked", "a run of exactly n is not found, only a longer one: an error by one.")
class RunOneLongerThanAsked(Sets):
    def alloc_contiguous(self, n):
        for start in range(self.size - n):
            if self.held.isdisjoint(range(start, start + n + 1)):
                return self.take(range(start, start + n))
        return None


@wrong(
    "any slots instead of a run", "without a run the answer is None; whether other slots will do, the caller decides."
)
class AnySlotsInsteadOfARun(Sets):
    def alloc_contiguous(self, n):
        slots = super().alloc_contiguous(n)
        return self.alloc(n) if slots is None else slots


@wrong("a run across held slots", "n neighbours in the list of free slots are no run when held ones lie between them.")
class ARunAcrossHeldSlots(Sets):
    def alloc_contiguous(self, n):
        slots = super().alloc_contiguous(n)
        if slots is None and n <= self.num_free:
            start = self.list_free()[0]
            return self.take(range(start, start + n)) if start + n <= self.size else None
        return slots


@wrong("a run of nothing fails", "alloc_contiguous(0) asks for an empty run, which every pool has.")
class ARunOfNothingFails(Sets):
    def alloc_contiguous(self, n):
        return super().alloc_contiguous(n) if n else None


@wrong(
    "running sum in int8",
    "right up to 127 slots, which is where 8 bits end. For example, cumsum in the flags' own type.",
)
class RunningSumInInt8(Sets):
    width = np.int8

    def alloc(self, n):
        is_free = np.ones(self.size, bool)
        is_free[list(self.held)] = False
        return None if n > self.num_free else self.take(self.chosen(is_free, n))

    def chosen(self, is_free, n):
        num_free_so_far = np.cumsum(is_free, dtype=self.width)
        return np.flatnonzero((num_free_so_far <= n) & is_free).tolist()

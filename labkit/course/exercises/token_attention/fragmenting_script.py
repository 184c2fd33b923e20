"""`fragmenting_script(size)`: requests come and go until there is no run of two, with half of the pool free."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from labkit.course.compare import Difference
from labkit.course.exercise import Case
from labkit.course.exercises.token_attention.learner_scripts import Call, Complaint, read_script
from labkit.course.played import PlayedExercise

RUN = 2  # what the last call asks for


@dataclass
class _Pool:
    """An allocator that knows runs only: the lowest run that is long enough, by trying every place."""

    owners: list[str | None]

    @property
    def num_free(self) -> int:
        return self.owners.count(None)

    def can_place(self, n: int) -> int | None:
        for start in range(len(self.owners) - n + 1):
            if all(owner is None for owner in self.owners[start : start + n]):
                return start
        return None

    def longest_free_run(self) -> int:
        return max(n for n in range(len(self.owners) + 1) if self.can_place(n) is not None)


def _cases(seed: int, tier: str) -> list[Case]:
    odd, even = np.random.default_rng(seed).integers(5, 30, size=2) * 2 + (1, 0)
    sizes = (4, 8, 3, 5, 16, int(odd), int(even))
    return [Case(f"a pool of {size}", (size,)) for size in sizes]


def _judge(case: Case, value: Any) -> Difference | None:
    complaint, _ = _play(case.args[0], value)
    if complaint is None:
        return None
    return Difference(
        f"a last call for a run of {RUN} that is refused, with at least half of the slots free", complaint.message
    )


def _seen(case: Case, value: Any) -> Any:
    complaint, pool = _play(case.args[0], value)
    return [complaint and complaint.reason, [owner is None for owner in pool.owners]]


def _play(size: int, value: Any) -> tuple[Complaint | None, _Pool]:
    """What is wrong with a script, and the pool where it stopped; the oracle is a list of owners."""
    pool = _Pool([None] * size)
    calls = read_script(value, ("alloc_contiguous",), size, max_calls=8 * size)
    if isinstance(calls, Complaint):
        return calls, pool
    for number, call in enumerate(calls[:-1], 1):
        complaint = _make(pool, number, call)
        if complaint:
            return complaint, pool
    return _judge_last(pool, calls[-1]), pool


def _make(pool: _Pool, number: int, call: Call) -> Complaint | None:
    holder = call[1]
    if call[0] == "free":
        if isinstance(holder, list):
            return Complaint(
                "part", f"call {number} frees slots by number; a request gives back all that it holds, by name"
            )
        if holder not in pool.owners:
            return Complaint("nothing to free", f"call {number}, free({holder!r}): {holder!r} holds nothing")
        pool.owners = [None if owner == holder else owner for owner in pool.owners]
        return None
    start = pool.can_place(call[2])
    if start is None:
        return Complaint(
            "refused early",
            f"call {number} of the script, alloc_contiguous({call[2]}), is refused already with {pool.num_free} of"
            f" {len(pool.owners)} slots free; only the last one should be",
        )
    pool.owners[start : start + call[2]] = [holder] * call[2]
    return None


def _judge_last(pool: _Pool, call: Call) -> Complaint | None:
    state = f"{pool.num_free} of {len(pool.owners)} slots free, the longest run {pool.longest_free_run()}"
    if call[0] != "alloc_contiguous" or call[2] != RUN:
        return Complaint("another last call", f"the last call is {call!r}, with {state}")
    if pool.can_place(RUN) is not None:
        return Complaint("served", f"the last call is served: {state}")
    if 2 * pool.num_free < len(pool.owners):
        return Complaint("less than half", f"the last call is refused, with {state}")
    return None


fragmenting_script = PlayedExercise(
    name="fragmenting_script",
    signature="fragmenting_script(size)",
    goal='Return a list of calls, made from `("alloc_contiguous", holder, n)` and `("free", holder)`, after which a'
    " contiguous allocator refuses a run of 2 with at least half of its pool free. The refused call is the last one.",
    cases=_cases,
    judge_case=_judge,
    hints=(
        "When every second slot is held, how long is the longest free run? What has to happen before that?",
        "First fit hands a freed slot out again at once. So fill the whole pool with requests of one slot, and only"
        " then let every second one finish. With an odd size, which of them have to stay?",
        "`for i in range(size): (alloc_contiguous, name i, 1)`; `for i in 0, 2, 4, …: (free, name i)`; at last"
        " `(alloc_contiguous, another name, 2)`.",
    ),
    points=2,
    minutes=10,
    difficulty=2,
    num_lines=3,
    seen=_seen,
)
wrong, right = fragmenting_script.wrong, fragmenting_script.right

LAST = ("alloc_contiguous", "last", RUN)


def _singles(count):
    return [("alloc_contiguous", f"r{i}", 1) for i in range(count)]


def _finish(places):
    return [("free", f"r{i}") for i in places]


@wrong("the freed slot is taken again", "a request that comes after a finished one gets its slot: fill the pool first.")
def _(size):
    script = []
    for i in range(size):
        script.append(("alloc_contiguous", f"r{i}", 1))
        if i % 2 == 0:
            script.append(("free", f"r{i}"))
    return [*script, LAST]


@wrong("the first half finishes", "their slots are neighbours: that is one long run.")
def _(size):
    return [*_singles(size), *_finish(range((size + 1) // 2)), LAST]


@wrong("nobody finishes", "the pool is full: any allocator refuses then, and no slot is free.")
def _(size):
    return [*_singles(size), LAST]


@wrong("the odd places finish", "with an odd size fewer than half are free: let slots 0, 2, 4, … finish instead.")
def _(size):
    return [*_singles(size), *_finish(range(1, size, 2)), LAST]


@wrong("every third one finishes", "the free slots are single ones, and only a third of the pool.")
def _(size):
    return [*_singles(size), *_finish(range(0, size, 3)), LAST]


@wrong("two of three finish", "two neighbours finish, and their slots are a run of 2.")
def _(size):
    return [*_singles(size), *_finish(i for i in range(size) if i % 3 != 2), LAST]


@wrong("everybody finishes", "an empty pool is one run, and nothing is refused.")
def _(size):
    return [*_singles(size), *_finish(range(size)), LAST]


@wrong("requests of two slots", "where a request of 2 was, the next one of 2 fits: let them hold one slot each.")
def _(size):
    pairs = [("alloc_contiguous", f"r{i}", 2) for i in range(size // 2)]
    return [*pairs, *_finish(range(0, size // 2, 2)), LAST]


@wrong("the last slot left out", "the pool was not full: its last slots are free and make a run.")
def _(size):
    return [*_singles(size - 1 if size % 2 == 0 else size - 2), *_finish(range(0, size - 2, 2)), LAST]


@wrong("asks for more than is free", "that is refused everywhere; a run of 2 has to be refused with many slots free.")
def _(size):
    return [*_singles(size), *_finish(range(0, size, 2)), ("alloc_contiguous", "last", size)]


@wrong("the refused call left out", "the script ends before anything is refused: the last call asks for the run of 2.")
def _(size):
    return [*_singles(size), *_finish(range(0, size, 2))]


@wrong("slots freed out of a running request", "a request gives back all of its slots when it finishes, and no part.")
def _(size):
    return [("alloc_contiguous", "r0", size), ("free", list(range(0, size, 2))), LAST]


@wrong("one name for all requests", "free gives back everything that a name holds: each request needs its own.")
def _(size):
    return [*[("alloc_contiguous", "r", 1)] * size, *[("free", "r")] * ((size + 1) // 2), LAST]


@wrong("one request too many", "the pool is full when it comes: it is refused, and the last call should be the first.")
def _(size):
    return [*_singles(size + 1), *_finish(range(0, size, 2)), LAST]


@wrong("slots taken one by one from anywhere", "this pool knows runs only: alloc_contiguous(1) takes a single slot.")
def _(size):
    return [*[("alloc", f"r{i}", 1) for i in range(size)], *_finish(range(0, size, 2)), LAST]


@wrong("for a pool of 8 only", "the script is written for one size: let the loops run to `size`.")
def _(size):
    return [*_singles(8), *_finish(range(0, 8, 2)), LAST]


@right("singles, then every second one")
def _(size):
    return [*_singles(size), *_finish(range(0, size, 2)), LAST]


@right("backwards, with other names")
def _(size):
    calls = [("alloc_contiguous", name, 1) for name in map(chr, range(0x4E00, 0x4E00 + size))]
    calls += [("free", chr(0x4E00 + i)) for i in reversed(range(size)) if i % 2 == 0]
    return [*calls, ("alloc_contiguous", "", RUN)]


@right("two kinds of request, turn about")
def _(size):
    script = [("alloc_contiguous", "short" if i % 2 == 0 else "long", 1) for i in range(size)]
    return (*script, ("free", "short"), LAST)


@right("after a long request has gone")
def _(size):
    script = [("alloc_contiguous", "warm-up", size), ("free", "warm-up"), *_singles(size)]
    script += [("free", f"r{i}") for i in range(size) if i % 2 == 0]
    script.append(LAST)
    return script

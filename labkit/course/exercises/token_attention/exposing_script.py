"""`exposing_script(generation, size)`: for each of four published allocators, calls that show what is wrong with it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from labkit.course.compare import Difference
from labkit.course.exercise import Case
from labkit.course.exercises.token_attention.learner_scripts import Call, Complaint, read_script
from labkit.course.played import PlayedExercise
from labkit.kv_cache import GENERATIONS
from labkit.kv_cache.event_log import Log, play

# generation -> what its script has to bring about
CLAIMS = {
    1: "num_free of generation 1 above the size of the pool",
    2: "an alloc of generation 2 that answers with fewer slots than it was asked for",
    3: "good calls only, after one of which a holder of generation 3 reads other slots than it was given",
    4: "good calls only, after one of which a holder of generation 4 reads other slots than it was given",
}


SHOWN_SIZE = 8  # the pool of which the green line speaks


def _cases(seed: int, tier: str) -> list[Case]:
    sizes = (4, SHOWN_SIZE, int(np.random.default_rng(seed).integers(9, 20)))
    return [
        Case(f"generation {generation}, a pool of {size}", (generation, size))
        for generation in CLAIMS
        for size in sizes
    ]


def _judge(case: Case, value: Any) -> Difference | None:
    complaint = _complaint(case, value)
    return Difference(CLAIMS[case.args[0]], complaint.message) if complaint else None


def _note(cases: Sequence[Case], values: Sequence[Any]) -> str:
    lengths = [str(len(value)) for case, value in zip(cases, values, strict=True) if case.args[1] == SHOWN_SIZE]
    return f"Calls that it takes on a pool of {SHOWN_SIZE}, generation by generation: {', '.join(lengths)}."


def _seen(case: Case, value: Any) -> Any:
    complaint = _complaint(case, value)
    return complaint and complaint.reason


def _complaint(case: Case, value: Any) -> Complaint | None:
    generation, size = case.args
    calls = read_script(value, ("alloc",), size, max_calls=8 * size + 32)
    if isinstance(calls, Complaint):
        return calls
    complaint = _bad_call(size, calls) if generation > 2 else None
    if complaint:
        return complaint
    allocator: Any = GENERATIONS[generation](size)
    return _SHOWN[generation](play(allocator, calls, size), calls)


def _bad_call(size: int, calls: list[Call]) -> Complaint | None:
    """The first call that no allocator has to serve; counting is enough for that."""
    held: dict[str, int] = {}
    gone: set[str] = set()
    for number, call in enumerate(calls, 1):
        match call:
            case ("alloc", holder, n):
                num_free = size - sum(held.values())
                if n > num_free:
                    return Complaint("exhausted", f"call {number} asks for {n} slots and {num_free} are free")
                if holder in gone:
                    return Complaint(
                        "name used again",
                        f"call {number}: {holder!r} has finished; free would give its old slots back once more,"
                        " so a new request needs a new name",
                    )
                held[holder] = held.get(holder, 0) + n
            case ("free", str(holder)):
                if holder not in held:
                    again = "has given everything back already" if holder in gone else "was given nothing"
                    return Complaint("bad free", f"call {number}, free({holder!r}): {holder!r} {again}")
                del held[holder]
                gone.add(holder)
            case _:
                return Complaint("by number", f"call {number} frees by number; what a holder holds has no number here")
    return None


def _too_many_free(log: Log, calls: list[Call]) -> Complaint | None:
    most = max(event["num_free"] for event in log["events"])
    if most > log["size"]:
        return None
    return Complaint(f"at most {most - log['size']}", f"num_free is at most {most}, and the pool has {log['size']}")


def _too_few_slots(log: Log, calls: list[Call]) -> Complaint | None:
    answers = [event for event in log["events"] if event["operation"] == "alloc" and event["answer"] is not None]
    if any(len(event["answer"]) < event["argument"] for event in answers):
        return None
    last = log["events"][-1]
    return Complaint(
        f"all served, the last is {last['operation']}",
        f"every alloc that was served got what it asked for ({len(answers)} of them)",
    )


def _other_slots(log: Log, calls: list[Call]) -> Complaint | None:
    holding: set[str] = set()
    finished_changed = False
    for event, call in zip(log["events"], calls, strict=True):
        holding = holding - {call[1]} if call[0] == "free" else holding | {call[1]}
        changed = set(event.get("changed", ()))
        if changed & holding:
            return None
        finished_changed |= bool(changed)
    if finished_changed:
        return Complaint("finished", "only what finished requests were given has changed; nobody reads that any more")
    handed_out = sum(call[2] for call in calls if call[0] == "alloc")
    reason = "unchanged, and no ring is full" if handed_out < 3 * log["size"] else "unchanged"
    return Complaint(reason, f"after {len(calls)} calls everybody still reads the slots that they were given")


_SHOWN = {1: _too_many_free, 2: _too_few_slots, 3: _other_slots, 4: _other_slots}


exposing_script = PlayedExercise(
    name="exposing_script",
    signature="exposing_script(generation, size)",
    goal='Return a list of calls, made from `("alloc", holder, n)` and `("free", holder)`, that shows the bug of the'
    " published allocator of this generation, 1 to 4, on a pool of `size` slots.",
    cases=_cases,
    judge_case=_judge,
    hints=(
        "For each generation: which two things that it keeps say the same twice, or whose memory is the answer?",
        "1 and 2: give something back twice; generation 2 needs a request for the whole pool afterwards, to feel the"
        " loss. 3: an answer is a slice of the stack, and a free writes below the mark: who was given slots from there?"
        " 4: an answer is a slice of a ring of 3 * size entries.",
        "1: alloc a, free a, free a. 2: the same, then alloc b with all of the pool. 3: alloc a, alloc b, free a, and"
        " look at b. 4: alloc a; then 3 * size times alloc and free one slot, each time under a new name, keeping the"
        " last one.",
    ),
    points=4,
    minutes=25,
    difficulty=2,
    num_lines=12,
    seen=_seen,
    note=_note,
)
wrong, right = exposing_script.wrong, exposing_script.right


def _right(generation, size):
    if generation < 3:
        return [("alloc", "a", 2), ("free", "a"), ("free", "a"), ("alloc", "b", size)]
    if generation == 3:
        return [("alloc", "a", 2), ("alloc", "b", 2), ("free", "a")]
    return [("alloc", "a", 1), *_turns(3 * size), ("alloc", "z", 1)]


def _turns(count):
    return [call for i in range(count) for call in (("alloc", f"b{i}", 1), ("free", f"b{i}"))]


@wrong("good calls only", "generations 1 and 2 are right as long as every caller is: one caller has to err.")
def _(generation, size):
    if generation > 2:
        return _right(generation, size)
    return [("alloc", "a", 2), ("free", "a"), ("alloc", "b", size), ("free", "b")]


@wrong("one script for all", "giving back twice shows the first two; views go wrong under good calls, so show that.")
def _(generation, size):
    return _right(1, size)


@wrong("stops at the double free", "generation 2 has lost the slots, and nobody has felt it yet: ask for all of them.")
def _(generation, size):
    return _right(generation, size)[:3] if generation == 2 else _right(generation, size)


@wrong("gives back in reverse order", "the newest first puts the same numbers back: the older one has to go first.")
def _(generation, size):
    if generation == 3:
        return [("alloc", "a", 2), ("alloc", "b", 2), ("free", "b"), ("free", "a")]
    return _right(generation, size)


@wrong("looks at the one who gave back", "a holder that has finished reads its slots no more: look at another one.")
def _(generation, size):
    if generation == 3:
        return [("alloc", "a", 1), ("alloc", "b", 2), ("free", "b"), ("free", "a"), ("alloc", "c", 3)]
    if generation == 4:
        return [("alloc", "a", 1), ("free", "a"), *_turns(4 * size - 1), ("alloc", "c", 2)]
    return _right(generation, size)


@wrong("one turn of the pool", "the ring has three times as many entries as the pool: go round once.")
def _(generation, size):
    if generation == 4:
        return [("alloc", "a", 1), *_turns(size), ("alloc", "z", 1)]
    return _right(generation, size)


@wrong("asks for more than is free", "that generations 3 and 4 stop there is another question: ask for what is free.")
def _(generation, size):
    return [("alloc", "a", size + 1)] if generation > 2 else _right(generation, size)


@wrong("one name for many requests", "free gives back all that a name was ever given: a new request, a new name.")
def _(generation, size):
    if generation == 4:
        return [("alloc", "a", 1), *[("alloc", "b", 1), ("free", "b")] * (3 * size), ("alloc", "z", 1)]
    return _right(generation, size)


@wrong("a run asked for", "generations 3 and 4 have no alloc_contiguous any more: that is no bug, it was given up.")
def _(generation, size):
    return [("alloc_contiguous", "a", 2)] if generation > 2 else _right(generation, size)


@wrong("freed by number", "nobody knows which numbers a holder was given: free by the holder's name.")
def _(generation, size):
    if generation > 2:
        return [("alloc", "a", 2), ("alloc", "b", 2), ("free", [0, 1])]
    return _right(generation, size)


@wrong("the ring just not full", "3 * size entries are written, the first of them not again: one more request.")
def _(generation, size):
    if generation == 4:
        return [("alloc", "a", 1), *_turns(3 * size - 1)]
    return _right(generation, size)


@wrong("a call and no list", "a script is a list, also when it has one call only.")
def _(generation, size):
    return _right(generation, size)[0]


@wrong("generations from 0", "the first generation has number 1.")
def _(generation, size):
    return _right(generation + 1, size) if generation < 4 else []


@right("given back twice; the older one first; many small requests")
def _(generation, size):
    return _right(generation, size)


@right("slots that nobody was given")
def _(generation, size):
    if generation == 1:
        return [("free", [0])]
    if generation == 2:
        return [("alloc", "a", size), ("free", [0, 0]), ("alloc", "b", 2)]
    if generation == 3:
        return [("alloc", "a", 1), ("alloc", "b", size - 1), ("free", "a"), ("alloc", "c", 1)]
    everything_often = [
        ("alloc", f"x{i}", size - 1) if turn else ("free", f"x{i}") for i in range(7) for turn in (1, 0)
    ]
    return [("alloc", "a", 1), *everything_often, ("alloc", "y", 1)]


@right("one long story")
def _(generation, size):
    story = [("alloc", f"s{i}", 1) for i in range(size)]
    if generation > 2:
        story += [("free", "s0"), ("free", "s2"), ("alloc", "t", 2)]
        story += [
            call for i in range(3 * size) for call in (("free", f"u{i - 1}" if i else "t"), ("alloc", f"u{i}", 1))
        ]
        return story
    story += [("free", "s1"), ("free", "s1"), ("free", "s2"), ("free", "s2")]
    story += [("free", f"s{i}") for i in range(size) if i not in (1, 2)]
    return [*story, ("alloc", "t", size)]

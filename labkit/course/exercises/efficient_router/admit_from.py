"""`admit_from(running, waiting, capacity)`: how many start now, first come first served."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from labkit.course.exercise import Case, Exercise
from labkit.course.exercises.efficient_router.counting import num_admitted, peak_and_step
from labkit.course.exercises.efficient_router.mistaken_peaks import bound, peak_at_ends
from labkit.course.exercises.efficient_router.questions import (
    Question,
    Request,
    package,
    probe,
    questions_of,
    random_requests,
)
from labkit.course.exercises.efficient_router.wording import Reading, not_a_count, tokens

NUM_RANDOM_QUEUES = 150


def _cases(seed: int, tier: str) -> list[Case]:
    return [
        package("every short queue, at each peak and one below", _small(), True),
        Case("nobody runs, nobody waits", ([], [], 10)),
        Case("nobody waits", ([(5, 4), (4, 3)], [], 20)),
        Case("nobody waits, and the pool is full", ([(5, 4)], [], 9)),
        Case("one waits, and just fits", ([], [(5, 4)], 9)),
        Case("one waits, and is one token too large", ([], [(5, 4)], 8)),
        Case("the head is blocked, the next would fit", ([(6, 2)], [(9, 9), (1, 0)], 12)),
        Case("the head can never fit", ([], [(50, 1), (1, 1), (1, 0)], 10)),
        Case("each fits, both do not", ([(5, 4)], [(3, 2), (3, 2)], 15)),
        Case("both fit exactly", ([(5, 4)], [(3, 2), (3, 2)], 17)),
        Case("identical requests", ([(4, 3)], [(4, 3)] * 4, 21)),
        Case("identical requests, one token less", ([(4, 3)], [(4, 3)] * 4, 20)),
        Case("nobody appends anything", ([(3, 0)], [(4, 0), (5, 0), (6, 0)], 12)),
        Case("nobody appends anything, one token less", ([(3, 0)], [(4, 0), (5, 0), (6, 0)], 11)),
        Case("short ones first, a long one behind", ([(2, 9)], [(3, 1), (4, 2), (1, 12), (2, 1)], 24)),
        Case("long ones first, short ones behind", ([(4, 2)], [(1, 12), (2, 9), (3, 1), (4, 1)], 28)),
        Case("the published example, as a queue", ([(5, 4), (4, 3)], [(5, 3), (3, 2), (4, 2)], 31)),
        Case("the published example, one token less", ([(5, 4), (4, 3)], [(5, 3), (3, 2), (4, 2)], 30)),
        Case("21 requests of (2000, 2000)", ([(2_000, 2_000)] * 10, [(2_000, 2_000)] * 12, 84_000)),
        package("random queues", _random(seed), False),
    ]


def _small() -> Iterator[Question]:
    """At most one runs, one or two wait; capacities at the peak of every prefix, and one below."""
    kinds = [(run, left) for run in (1, 2) for left in range(3)]
    queues = [[first] for first in kinds] + [list(pair) for pair in product(kinds, repeat=2)]
    for running, waiting in product([[], *([kind] for kind in kinds)], queues):
        yield from ((running, waiting, capacity) for capacity in _tight_capacities(running, waiting))


def _random(seed: int) -> Iterator[Question]:
    rng = np.random.default_rng([seed, 1])
    for size in np.sort(rng.integers(2, 11, NUM_RANDOM_QUEUES)).tolist():
        most = int(rng.choice([10, 100, 1_000]))
        running = random_requests(rng, int(rng.integers(0, 6)), most)
        waiting = random_requests(rng, size, most)
        peak = _prefix_peaks(running, waiting)[int(rng.integers(size))]
        yield running, waiting, peak
        yield running, waiting, max(peak - 1, peak_and_step(running)[0])


def _prefix_peaks(running: Sequence[Request], waiting: Sequence[Request]) -> list[int]:
    return [peak_and_step([*running, *waiting[:number]])[0] for number in range(1, len(waiting) + 1)]


def _tight_capacities(running: Sequence[Request], waiting: Sequence[Request]) -> list[int]:
    """A capacity below what runs already would ask about a pool that has overflown."""
    peaks, least = _prefix_peaks(running, waiting), peak_and_step(running)[0]
    return sorted({capacity for peak in peaks for capacity in (peak, peak - 1) if capacity >= least})


def _why(running: list[Request], waiting: list[Request], capacity: int) -> str:
    number = num_admitted(running, waiting, capacity)
    if not waiting:
        return "nobody waits"
    if number == len(waiting):
        return "all who wait fit"
    peak, step = peak_and_step([*running, *waiting[: number + 1]])
    return f"with {waiting[number]} they would hold {tokens(peak)} at step {step}"


def _way(question: Question, right: int, answer: Any) -> str:
    if reason := not_a_count(answer):
        return reason
    if answer == right:
        return ""
    running, waiting, _ = question
    if answer < right:
        return "wasteful: the next in the queue fits as well"
    if answer > len(waiting):
        return "there are not so many in the queue"
    peak, step = peak_and_step([*running, *waiting[:answer]])
    first = "the head" if answer == 1 else f"the first {answer}"
    return f"unsafe: with {first} admitted, they hold {tokens(peak)} at step {step}"


def _note(cases: Sequence[Case], values: Sequence[Any]) -> str:
    return f"{sum(len(questions_of(case)) for case in cases):,} queues."


_reading = Reading(call="admit_from", right=num_admitted, why=_why, way=_way, same_set=lambda question: question)

admit_from = Exercise(
    name="admit_from",
    signature="admit_from(running, waiting, capacity)",
    goal="Return how many requests from the head of the queue start now, an int: first come first served, up to the"
    " first refusal.",
    cases=_cases,
    judge_case=_reading.judge,
    probe=probe,
    hints=(
        "Two requests are admitted in the same step. Which requests must the second one be tested against?",
        "Whoever is accepted counts as running for the next in the queue, in full. The first refusal ends the round:"
        " nobody overtakes.",
        "`inside` = a copy of running; for each candidate of the queue: if it cannot be admitted to `inside`, stop,"
        " else append it to `inside`. Return how many were appended.",
    ),
    points=3,
    minutes=10,
    difficulty=2,
    num_lines=6,
    note=_note,
)


# --- wrong answers ----------------------------------------------------------------------------------------


@admit_from.wrong(
    "each tested against those who ran before",
    "unsafe: whoever was accepted a moment ago holds memory too, although its prompt has not been computed yet.",
)
def _(running, waiting, capacity):
    number = 0
    while number < len(waiting) and _fits([*running, waiting[number]], capacity):
        number += 1
    return number


@admit_from.wrong(
    "skips a blocked head",
    "it counts whoever fits, also behind a refusal. First come first served stops there, or large requests starve.",
)
def _(running, waiting, capacity):
    inside = list(running)
    for candidate in waiting:
        if _fits([*inside, candidate], capacity):
            inside.append(candidate)
    return len(inside) - len(running)


@admit_from.wrong(
    "counts everybody who fits alone beside them",
    "unsafe: it asks about each one for itself, and stops at nobody.",
)
def _(running, waiting, capacity):
    return sum(_fits([*running, candidate], capacity) for candidate in waiting)


@admit_from.wrong("strictly less", "wasteful, by one token: a pool that is exactly full does not overflow. It is `<=`.")
def _(running, waiting, capacity):
    return _served(running, waiting, capacity - 1)


@admit_from.wrong("at most one a round", "wasteful: the round goes on until somebody is refused.")
def _(running, waiting, capacity):
    return min(1, _served(running, waiting, capacity))


@admit_from.wrong("all or nobody", "wasteful: where the whole queue does not fit, its head may.")
def _(running, waiting, capacity):
    return len(waiting) if _fits([*running, *waiting], capacity) else 0


@admit_from.wrong("from the tail", "the queue is served from its head: the first to come is `waiting[0]`.")
def _(running, waiting, capacity):
    return _served(running, waiting[::-1], capacity)


@admit_from.wrong("the smallest first", "that admits more now and is another policy: long requests wait for ever.")
def _(running, waiting, capacity):
    return _served(running, sorted(waiting, key=sum), capacity)


@admit_from.wrong(
    "only the prompts of those accepted",
    "unsafe: whoever was accepted in this round grows as well, it does not only hold its prompt.",
)
def _(running, waiting, capacity):
    inside = list(running)
    for number, candidate in enumerate(waiting):
        if not _fits([*inside, candidate], capacity):
            return number
        inside.append((candidate[0], 0))
    return len(waiting)


@admit_from.wrong("prompts that fit now", "unsafe: it looks at the tokens held now, and not at what is appended later.")
def _(running, waiting, capacity):
    held = sum(run for run, _ in running)
    for number, (run, _) in enumerate(waiting):
        held += run
        if held > capacity:
            return number
    return len(waiting)


@admit_from.wrong(
    "everybody's whole length",
    "wasteful: it reserves run + left for each, and some are gone before others are large.",
)
def _(running, waiting, capacity):
    reserved = sum(map(sum, running))
    for number, candidate in enumerate(waiting):
        reserved += sum(candidate)
        if reserved > capacity:
            return number
    return len(waiting)


@admit_from.wrong(
    "the accepted put at the end of the sorted list",
    "wasteful: they stand behind those who run, wherever their left belongs. Any order is safe, one is tight.",
)
def _(running, waiting, capacity):
    inside = sorted(running, key=lambda request: -request[1])
    for number, candidate in enumerate(waiting):
        inside.append(candidate)
        if bound(inside) > capacity:
            return number
    return len(waiting)


@admit_from.wrong("the accepted left in the caller's list", "right, and `running` comes back longer than it was.")
def _(running, waiting, capacity):
    for number, candidate in enumerate(waiting):
        if not _fits([*running, candidate], capacity):
            return number
        running.append(candidate)
    return len(waiting)


@admit_from.wrong("taken out of the caller's queue", "right, and `waiting` comes back shorter than it was.")
def _(running, waiting, capacity):
    inside, number = list(running), 0
    while waiting and _fits([*inside, waiting[0]], capacity):
        inside.append(waiting.pop(0))
        number += 1
    return number


@admit_from.wrong("the accepted instead of their number", "the question is how many, an int.")
def _(running, waiting, capacity):
    return waiting[: _served(running, waiting, capacity)]


@admit_from.wrong("the refused one counted too", "the one at which the round stops has not been admitted.")
def _(running, waiting, capacity):
    return min(_served(running, waiting, capacity) + 1, len(waiting))


@admit_from.wrong("no answer where all fit", "the loop ends without a refusal, and then all of the queue is admitted.")
def _(running, waiting, capacity):
    number = _served(running, waiting, capacity)
    return number if number < len(waiting) else None


@admit_from.wrong(
    "never ends",
    "it was stopped before it answered. For example, the head is never taken away and tested for ever.",
    never_ends=True,
)
def _(running, waiting, capacity):
    while True:
        if waiting and not _fits([*running, waiting[0]], capacity):
            return 0


def _fits(requests, capacity):
    return peak_at_ends(requests) <= capacity


def _served(running, waiting, capacity):
    return next(
        (number for number in range(len(waiting)) if not _fits([*running, *waiting[: number + 1]], capacity)),
        len(waiting),
    )


# --- right answers ----------------------------------------------------------------------------------------


@admit_from.right("one after the other")
def _(running, waiting, capacity):
    inside = list(running)
    for candidate in waiting:
        if not _fits([*inside, candidate], capacity):
            break
        inside.append(candidate)
    return len(inside) - len(running)


@admit_from.right("every prefix, by halves")
def _(running, waiting, capacity):
    def overflows(number):
        return not _fits([*running, *waiting[:number]], capacity)

    return bisect_left(range(1, len(waiting) + 1), True, key=overflows)


@admit_from.right("a calendar that keeps what was admitted")
def _(running, waiting, capacity):
    calendar = np.zeros(1 + max((left for _, left in [*running, *waiting]), default=0), np.int64)
    for run, left in running:
        calendar[: left + 1] += np.arange(run, run + left + 1)
    for number, (run, left) in enumerate(waiting):
        calendar[: left + 1] += np.arange(run, run + left + 1)
        if calendar.max() > capacity:
            return number
    return len(waiting)


@admit_from.right("backwards from the whole queue")
def _(running, waiting, capacity):
    number = len(waiting)
    while number and not _fits([*running, *waiting[:number]], capacity):
        number -= 1
    return np.int64(number)

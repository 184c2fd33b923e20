"""Peaks that look right: what a wrong `peak_tokens` and a wrong `can_admit` have in common.

A sentence says first whether the mistake is unsafe, wasteful or order-dependent. The shares of random sets that go
wrong, and where some of them were found, stand in the lab.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from labkit.course.exercise import Exercise
from labkit.course.exercises.efficient_router.questions import Request

Requests = Sequence[Request]


class MistakenPeak(NamedTuple):
    """A wrong peak, its name and the sentence that a learner reads."""

    name: str
    sentence: str
    peak: Callable[[Requests], int]


MISTAKEN_PEAKS: list[MistakenPeak] = []


def add_mistaken_peaks(exercise: Exercise, candidate_of: Callable[[Callable[[Requests], int]], Callable]) -> None:
    """List every mistaken peak among the exercise's wrong answers, as the candidate that is made from it."""
    for each in MISTAKEN_PEAKS:
        exercise.wrong(each.name, each.sentence)(candidate_of(each.peak))


def _mistaken(name: str, sentence: str) -> Callable[[Callable[[Requests], int]], None]:
    return lambda peak: MISTAKEN_PEAKS.append(MistakenPeak(name, sentence, peak))


def bound(order: Requests) -> int:
    """The formula on requests in this order: the peak if left descends."""
    runs = most = 0
    for k, (run, left) in enumerate(order, 1):
        runs += run
        most = max(most, k * left + runs)
    return most


def _descending(requests: Requests) -> list[Request]:
    return sorted(requests, key=lambda request: -request[1])


def held(requests: Requests, step: int) -> int:
    """Tokens held at a step."""
    return sum(run + step for run, left in requests if left >= step)


def peak_at_ends(requests: Requests) -> int:
    """The true peak, looked for at completions only."""
    return max((held(requests, end) for end in {left for _, left in requests}), default=0)


@_mistaken(
    "ascending order",
    "wasteful: the longest must come first. In this order the last term counts everybody until the longest ends, as if"
    " no memory ever came back.",
)
def _(requests):
    return bound(sorted(requests, key=lambda request: request[1]))


@_mistaken(
    "the order as given",
    "wasteful and order-dependent: the formula is the peak only when left descends. In any other order it is larger.",
)
def _(requests):
    return bound(requests)


@_mistaken(
    "sorted by run",
    "wasteful: who leaves first is decided by left, not by the tokens that are held now.",
)
def _(requests):
    return bound(sorted(requests, reverse=True))


@_mistaken(
    "k counted from 0",
    "unsafe: at the end of the k-th request k requests have grown, itself included.",
)
def _(requests):
    runs = most = 0
    for k, (run, left) in enumerate(_descending(requests)):
        runs += run
        most = max(most, k * left + runs)
    return most


@_mistaken(
    "left sorted, run in the old order",
    "unsafe, wasteful and order-dependent: the k-th run must be that of the request with the k-th left. Sort pairs.",
)
def _(requests):
    lefts = sorted((left for _, left in requests), reverse=True)
    return bound([(run, left) for (run, _), left in zip(requests, lefts, strict=True)])


@_mistaken(
    "both columns sorted separately",
    "wasteful: large runs stand beside long lefts that are not theirs, as when each is sorted for itself. Sort pairs.",
)
def _(requests):
    runs, lefts = (sorted(column, reverse=True) for column in zip(*requests, strict=True)) if requests else ([], [])
    return bound(list(zip(runs, lefts, strict=True)))


@_mistaken(
    "sum instead of maximum",
    "wasteful: the completions do not happen at once. The peak is the largest of the terms.",
)
def _(requests):
    runs = total = 0
    for k, (run, left) in enumerate(_descending(requests), 1):
        runs += run
        total += k * left + runs
    return total


@_mistaken(
    "everybody's whole length",
    "wasteful: it adds up what each request holds at its own end, and the ends come at different times.",
)
def _(requests):
    return sum(run + left for run, left in requests)


@_mistaken(
    "tokens held now",
    "unsafe: it fits now, and everybody who runs appends a token at each step to come.",
)
def _(requests):
    return sum(run for run, _ in requests)


@_mistaken(
    "the longest for itself",
    "unsafe: the others hold tokens too while it grows.",
)
def _(requests):
    return max((run + left for run, left in requests), default=0)


@_mistaken(
    "only the first completion",
    "unsafe: after it the others go on growing, and may pass it.",
)
def _(requests):
    return held(requests, min((left for _, left in requests), default=0))


@_mistaken(
    "only the last completion",
    "unsafe: most have gone by then. The peak may be at any completion.",
)
def _(requests):
    return held(requests, max((left for _, left in requests), default=0))


@_mistaken(
    "stops at the first dip",
    "unsafe: occupancy falls at a completion and then rises again, perhaps higher. Look at every completion.",
)
def _(requests):
    step = most = 0
    while (total := held(requests, step)) > most:
        step, most = step + 1, total
    return most


@_mistaken(
    "gone at the step of its last token",
    "unsafe: at step left a request still holds run + left tokens. It is freed after that step.",
)
def _(requests):
    last_steps = {left - 1 for _, left in requests if left > 0}
    return max((sum(run + at for run, left in requests if left > at) for at in last_steps), default=0)


@_mistaken(
    "ties counted one at a time",
    "unsafe: requests with equal left end at the same step, and until then all of them hold their tokens.",
)
def _(requests):
    ends = [(sum(r + left for r, l in requests if l > left), run + left) for run, left in requests]
    return max((others + own for others, own in ends), default=0)


@_mistaken(
    "one request for each left",
    "unsafe: of requests that end together only the last one counts, as in a dictionary keyed by left.",
)
def _(requests):
    return bound([(run, left) for left, run in sorted({left: run for run, left in requests}.items(), reverse=True)])


@_mistaken(
    "identical requests merged",
    "unsafe: two equal requests count as one, and both hold tokens. For example, a set keeps one of them.",
)
def _(requests):
    return bound(_descending(list(set(requests))))


@_mistaken(
    "requests with nothing left dropped",
    "unsafe: a request with left = 0 holds its tokens at this step, and is freed after it.",
)
def _(requests):
    return bound(_descending([request for request in requests if request[1] > 0]))


@_mistaken(
    "a new longest request put before the last",
    "wasteful and order-dependent: a request longer than all before it is placed second, for example by an insertion"
    " that stops one place too early. Any order is safe, and only the right one is tight.",
)
def _(requests):
    ascending: list[Request] = []
    for request in requests:
        place = next((i for i, other in enumerate(ascending) if request[1] <= other[1]), max(len(ascending) - 1, 0))
        ascending.insert(place, request)
    return bound(ascending[::-1])


@_mistaken(
    "16-bit integers",
    "unsafe: right until the tokens pass 32,767, where 16 bits end: the sum wraps round to a negative number. A pool"
    " holds more than that.",
)
def _(requests):
    rows = np.array(_descending(requests), np.int16).reshape(-1, 2)
    k = np.arange(1, len(rows) + 1, dtype=np.int16)
    return int((k * rows[:, 1] + np.cumsum(rows[:, 0], dtype=np.int16)).max(initial=0))


@_mistaken(
    "whole blocks of 16",
    "wasteful: it rounds every request up to full blocks. Here a slot holds one token, and every token counts.",
)
def _(requests):
    ends = {left for _, left in requests}
    return max((sum(-(-(run + at) // 16) * 16 for run, left in requests if left >= at) for at in ends), default=0)

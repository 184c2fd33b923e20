"""`peak_tokens(requests)`: the most tokens that a set of requests ever holds at once."""

import heapq
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from labkit.course.exercise import Case, Exercise
from labkit.course.exercises.efficient_router.counting import peak_and_step
from labkit.course.exercises.efficient_router.mistaken_peaks import add_mistaken_peaks, bound, held, peak_at_ends
from labkit.course.exercises.efficient_router.questions import Question, Request, package, probe, questions_of
from labkit.course.exercises.efficient_router.sets import BY_HAND, random_sets, small_sets_in_every_order
from labkit.course.exercises.efficient_router.wording import UNSAFE, WASTEFUL, Reading, not_a_count


def _cases(seed: int, tier: str) -> list[Case]:
    return [
        package("every set of up to three small requests, in every order", _small(), True),
        Case("nobody", ([],)),
        *(Case(name, (requests,)) for name, requests in BY_HAND.items()),
        package("random sets", ((each,) for each in random_sets(seed)), False),
    ]


def _small() -> Iterator[Question]:
    return ((order,) for same in small_sets_in_every_order() for order in same)


def _why(requests: list[Request]) -> str:
    return f"held together at step {peak_and_step(requests)[1]}" if requests else "nobody holds anything"


def _way(question: Question, right: int, answer: Any) -> str:
    if reason := not_a_count(answer):
        return reason
    return (UNSAFE if answer < right else WASTEFUL) if answer != right else ""


def _note(cases: Sequence[Case], values: Sequence[Any]) -> str:
    return f"{sum(len(questions_of(case)) for case in cases):,} sets, each counted step by step."


_reading = Reading(
    call="peak_tokens",
    right=lambda requests: peak_and_step(requests)[0],
    why=_why,
    way=_way,
    same_set=lambda question: sorted(question[0]),
)

peak_tokens = Exercise(
    name="peak_tokens",
    signature="peak_tokens(requests)",
    goal="Return the most tokens that these requests ever hold together, an int; 0 for no requests.",
    cases=_cases,
    judge_case=_reading.judge,
    probe=probe,
    hints=(
        "Between two completions, does the number of tokens held ever fall? So at which steps need you look?",
        "Look only at completions, the longest request first. When the k-th longest is about to leave, exactly the"
        " first k are still there, and each of them has grown by its `left`.",
        "sort by left, descending; `held = 0`; for the k-th request, k from 1: add its run to `held`, and the tokens at"
        " its end are `k * left + held`; return the largest of these, or 0.",
    ),
    points=3,
    minutes=15,
    difficulty=2,
    num_lines=6,
    note=_note,
)

add_mistaken_peaks(peak_tokens, lambda peak: peak)


@peak_tokens.wrong(
    "sorted in place", "the right number, but the caller's list comes back in another order. Sort a copy."
)
def _(requests):
    requests.sort(key=lambda request: -request[1])
    return bound(requests)


@peak_tokens.wrong("nobody raises an error", "an empty pool has a peak too: 0 tokens.")
def _(requests):
    order = sorted(requests, key=lambda request: -request[1])
    return max(k * left + sum(run for run, _ in order[:k]) for k, (_, left) in enumerate(order, 1))


@peak_tokens.wrong("a float", "tokens are counted: a float is exact only up to a size, and then it silently is not.")
def _(requests):
    return float(peak_at_ends(requests))


@peak_tokens.wrong("the step instead of the tokens", "this says when the peak is, and the question is how high.")
def _(requests):
    return max((left for _, left in requests), key=lambda step: (held(requests, step), -step), default=0)


@peak_tokens.wrong(
    "one token too many for each",
    "wasteful: a request of (run, left) ends with run + left tokens. The last token of an answer is never cached.",
)
def _(requests):
    return peak_at_ends([(run + 1, left) for run, left in requests])


@peak_tokens.wrong(
    "never ends",
    "it was stopped before it answered. For example, the step of its loop never reaches the limit.",
    never_ends=True,
)
def _(requests):
    step = 0
    while step >= 0:
        step += 1


@peak_tokens.right("the published sort")
def _(requests):
    return bound(sorted(requests, key=lambda request: -request[1]))


@peak_tokens.right("counted at every step")
def _(requests):
    last = max((left for _, left in requests), default=-1)
    return max((held(requests, step) for step in range(last + 1)), default=0)


@peak_tokens.right("counted at completions")
def _(requests):
    return peak_at_ends(requests)


@peak_tokens.right("ascending, giving memory back")
def _(requests):
    alive, runs, most = len(requests), sum(run for run, _ in requests), 0
    for run, left in sorted(requests, key=lambda request: request[1]):
        most = max(most, runs + alive * left)
        alive, runs = alive - 1, runs - run
    return most


@peak_tokens.right("a calendar of ramps")
def _(requests):
    calendar = np.zeros(1 + max((left for _, left in requests), default=0), np.int64)
    for run, left in requests:
        calendar[: left + 1] += np.arange(run, run + left + 1)
    return calendar.max()


@peak_tokens.right("a heap of completions")
def _(requests):
    ends = [(left, run) for run, left in requests]
    heapq.heapify(ends)
    tokens, now, most = sum(run for run, _ in requests), 0, 0
    while ends:
        left, run = ends[0]
        tokens, now = tokens + len(ends) * (left - now), left
        most = max(most, tokens)
        heapq.heappop(ends)
        tokens -= run + left
    return most

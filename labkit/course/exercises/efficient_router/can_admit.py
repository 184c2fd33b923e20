"""`can_admit(running, candidate, capacity)`: whether one more request ever overflows the pool."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from labkit.course.exercise import Case, Exercise
from labkit.course.exercises.efficient_router.counting import peak_and_step
from labkit.course.exercises.efficient_router.mistaken_peaks import add_mistaken_peaks, bound, held, peak_at_ends
from labkit.course.exercises.efficient_router.questions import Question, Request, package, probe, questions_of
from labkit.course.exercises.efficient_router.sets import BY_HAND, random_sets, small_sets_in_every_order
from labkit.course.exercises.efficient_router.wording import UNSAFE, WASTEFUL, Reading, tokens


def _cases(seed: int, tier: str) -> list[Case]:
    return [
        package("every small set in every order, at its peak and one below", _small(), True),
        Case("nobody runs, a pool of no tokens, nothing needed", ([], (0, 0), 0)),
        *(
            Case(f"{name}, {where}", question)
            for name, requests in BY_HAND.items()
            for where, question in zip(("at the peak", "one token below"), _tight_pair(requests), strict=True)
        ),
        Case("the published example, enough for all in full", ([(5, 4), (4, 3), (5, 3), (3, 2)], (4, 2), 35)),
        Case("the published example, more than enough", ([(5, 4), (4, 3), (5, 3), (3, 2)], (4, 2), 100)),
        Case("the published example, enough for now", ([(5, 4), (4, 3), (5, 3), (3, 2)], (4, 2), 21)),
        package(
            "random sets, each at its peak and one below",
            (question for requests in random_sets(seed) for question in _tight_pair(requests)),
            False,
        ),
        package("random sets, with more room and with less", _loose(seed), False),
    ]


def _loose(seed: int) -> Iterator[Question]:
    """Capacities farther from the peak, which tell one mistake from another."""
    rng = np.random.default_rng([seed, 3])
    for requests in random_sets(seed)[::8]:
        *running, candidate = requests
        peak, _ = peak_and_step(requests)
        yield running, candidate, int(rng.integers(peak // 4, peak))
        yield running, candidate, int(rng.integers(peak, 2 * peak))


def _tight_pair(requests: Sequence[Request]) -> tuple[Question, Question]:
    """The last request is the candidate: a capacity of its peak, and one token less."""
    *running, candidate = requests
    peak, _ = peak_and_step(requests)
    return (running, candidate, peak), (running, candidate, peak - 1)


def _small() -> Iterator[Question]:
    for same in small_sets_in_every_order():
        for pair in zip(*map(_tight_pair, same), strict=True):  # first all at the peak, then all below
            yield from pair


def _same_set(question: Question) -> tuple[list[Request], int]:
    running, candidate, capacity = question
    return sorted([*running, candidate]), capacity


def _why(running: list[Request], candidate: Request, capacity: int) -> str:
    peak, step = peak_and_step([*running, candidate])
    return f"together they hold at most {tokens(peak)}, at step {step}"


def _way(question: Question, right: bool, answer: Any) -> str:
    if not isinstance(answer, bool):
        return "expected True or False"
    return (UNSAFE if answer else WASTEFUL) if answer != right else ""


def _note(cases: Sequence[Case], values: Sequence[Any]) -> str:
    return f"{sum(len(questions_of(case)) for case in cases):,} questions, each set at its peak and one token below."


_reading = Reading(
    call="can_admit",
    right=lambda running, candidate, capacity: peak_and_step([*running, candidate])[0] <= capacity,
    why=_why,
    way=_way,
    same_set=_same_set,
)

can_admit = Exercise(
    name="can_admit",
    signature="can_admit(running, candidate, capacity)",
    goal="Return whether the running requests and the candidate, which starts now, never hold more than `capacity`"
    " tokens together.",
    cases=_cases,
    judge_case=_reading.judge,
    probe=probe,
    hints=(
        "The candidate is one request more. Which of your functions knows how much they all need together?",
        "A pool that is exactly full is not overflowing. And the list `running` belongs to the caller.",
        "make a new list of the running requests and the candidate; return whether its peak is at most the capacity.",
    ),
    points=3,
    minutes=10,
    difficulty=1,
    num_lines=1,
    note=_note,
)


# --- wrong answers ----------------------------------------------------------------------------------------

add_mistaken_peaks(can_admit, lambda peak: lambda running, candidate, capacity: peak([*running, candidate]) <= capacity)


@can_admit.wrong("strictly less", "wasteful, by one token: a pool that is exactly full does not overflow. It is `<=`.")
def _(running, candidate, capacity):
    return peak_at_ends([*running, candidate]) < capacity


@can_admit.wrong(
    "ascending order, and strictly less",
    "wasteful, by two mistakes: the longest must come first, left descending; and a pool that is exactly full does not"
    " overflow, so it is `<=`.",
)
def _(running, candidate, capacity):
    return bound(sorted([*running, candidate], key=lambda request: request[1])) < capacity


@can_admit.wrong(
    "the order as given, and strictly less",
    "wasteful and order-dependent, by two mistakes: sort by left, descending, before the formula; and a pool that is"
    " exactly full does not overflow, so it is `<=`.",
)
def _(running, candidate, capacity):
    return bound([*running, candidate]) < capacity


@can_admit.wrong(
    "candidate left in the caller's list",
    "the answer is right, and the caller's list is one longer: the next question counts the candidate twice.",
)
def _(running, candidate, capacity):
    running.append(candidate)
    return peak_at_ends(running) <= capacity


@can_admit.wrong(
    "a refused candidate left in the caller's list",
    "taken back after a yes only: after a refusal the caller counts a request that does not run.",
)
def _(running, candidate, capacity):
    running.append(candidate)
    if peak_at_ends(running) > capacity:
        return False
    running.pop()
    return True


@can_admit.wrong("the caller's list sorted", "right, and the caller's list comes back in another order. Sort a copy.")
def _(running, candidate, capacity):
    running.sort(key=lambda request: -request[1])
    return peak_at_ends([*running, candidate]) <= capacity


@can_admit.wrong("candidate forgotten", "unsafe: it asks whether those who run fit, and they do already.")
def _(running, candidate, capacity):
    return peak_at_ends(running) <= capacity


@can_admit.wrong(
    "candidate behind the sorted list",
    "wasteful and order-dependent: those who run are sorted, and the candidate goes to the end, wherever it belongs.",
)
def _(running, candidate, capacity):
    return bound([*sorted(running, key=lambda request: -request[1]), candidate]) <= capacity


@can_admit.wrong(
    "two peaks added up",
    "wasteful and order-dependent: the candidate is at its largest when others have gone, or the other way round.",
)
def _(running, candidate, capacity):
    return peak_at_ends(running) + sum(candidate) <= capacity


@can_admit.wrong(
    "only at the candidate's end",
    "unsafe and order-dependent: while the candidate runs, the others may reach their peak before or after its end.",
)
def _(running, candidate, capacity):
    return held([*running, candidate], candidate[1]) <= capacity


@can_admit.wrong(
    "only at the ends of the others",
    "unsafe and order-dependent: the candidate has an end too, and the peak may be there.",
)
def _(running, candidate, capacity):
    return all(held([*running, candidate], end) <= capacity for _, end in running)


@can_admit.wrong(
    "only now and at the end of all",
    "unsafe: the peak is at some completion between the two.",
)
def _(running, candidate, capacity):
    together = [*running, candidate]
    return max(held(together, 0), held(together, max(left for _, left in together))) <= capacity


@can_admit.wrong(
    "only while the candidate runs",
    "order-dependent: enough in a pool where those who run already fit. Here `running` is any set, and the peak of all"
    " together counts, also after the candidate's end.",
)
def _(running, candidate, capacity):
    together = [*running, candidate]
    return all(held(together, end) <= capacity for _, end in together if end <= candidate[1])


@can_admit.wrong(
    "one token too many for the candidate",
    "wasteful: a candidate of (run, left) starts with run tokens, not run + 1. Count as the others are counted.",
)
def _(running, candidate, capacity):
    return peak_at_ends([*running, (candidate[0] + 1, candidate[1])]) <= capacity


@can_admit.wrong(
    "the candidate from the next step on",
    "unsafe: it starts now. Its tokens are held at this step already, and its whole ramp stands one step earlier.",
)
def _(running, candidate, capacity):
    later = [(run + 1, left - 1) for run, left in running if left >= 1]
    return max(peak_at_ends(running), peak_at_ends([*later, candidate])) <= capacity


@can_admit.wrong("free tokens instead of an answer", "the answer is True or False: -3 free tokens are true in Python.")
def _(running, candidate, capacity):
    return capacity - peak_at_ends([*running, candidate])


@can_admit.wrong("no answer where it is no", "a refusal is False; None says that nobody answered.")
def _(running, candidate, capacity):
    if peak_at_ends([*running, candidate]) <= capacity:
        return True


@can_admit.wrong(
    "never ends",
    "it was stopped before it answered. For example, the step of its loop never reaches the limit.",
    never_ends=True,
)
def _(running, candidate, capacity):
    step = 0
    while step >= 0:
        step += 1


# --- right answers ----------------------------------------------------------------------------------------


@can_admit.right("the published sort, with NumPy")
def _(running, candidate, capacity):
    order = np.array(sorted([*running, candidate], key=lambda request: -request[1]), np.int64)
    return (np.arange(1, len(order) + 1) * order[:, 1] + np.cumsum(order[:, 0])).max() <= capacity


@can_admit.right("counted at every step")
def _(running, candidate, capacity):
    together = [*running, candidate]
    last = max(left for _, left in together)
    return all(held(together, step) <= capacity for step in range(last + 1))


@can_admit.right("counted at completions")
def _(running, candidate, capacity):
    return peak_at_ends([*running, candidate]) <= capacity


@can_admit.right("ascending, giving memory back")
def _(running, candidate, capacity):
    together = [*running, candidate]
    free, alive = capacity - sum(run for run, _ in together), len(together)
    for run, left in sorted(together, key=lambda request: request[1]):
        if free < alive * left:
            return False
        free, alive = free + run, alive - 1
    return True


@can_admit.right("a calendar of ramps")
def _(running, candidate, capacity):
    together = [*running, candidate]
    calendar = np.zeros(1 + max(left for _, left in together), np.int64)
    for run, left in together:
        calendar[: left + 1] += np.arange(run, run + left + 1)
    return bool((calendar <= capacity).all())


@can_admit.right("what-if, with prefix and suffix maxima")
def _(running, candidate, capacity):
    order = sorted(running, key=lambda request: -request[1])
    runs = list(accumulate((run for run, _ in order), initial=0))
    needs = [k * left + runs[k] for k, (_, left) in enumerate(order, 1)]
    run, left = candidate
    before = bisect_right([-other for _, other in order], -left)
    after = [need + other + run for need, (_, other) in zip(needs[before:], order[before:], strict=True)]
    return max([*needs[:before], left * (before + 1) + runs[before] + run, *after]) <= capacity


@can_admit.right("how many have ended, and with what")
def _(running, candidate, capacity):
    runs, lefts = np.array([*running, candidate], np.int64).T
    num_steps = 2 + lefts.max()
    ended = np.bincount(lefts + 1, minlength=num_steps)
    gone = np.bincount(lefts + 1, weights=runs, minlength=num_steps)
    tokens = runs.sum() - np.cumsum(gone) + np.arange(num_steps) * (len(runs) - np.cumsum(ended))
    return tokens.max() <= capacity

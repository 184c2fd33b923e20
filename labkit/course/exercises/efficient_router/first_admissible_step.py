"""`first_admissible_step(running, candidate, capacity)`: how long a refused candidate has to wait."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from labkit.course.exercise import Case, Exercise
from labkit.course.exercises.efficient_router.counting import first_step, peak_and_step, still_running
from labkit.course.exercises.efficient_router.mistaken_peaks import bound, held, peak_at_ends
from labkit.course.exercises.efficient_router.questions import (
    Question,
    Request,
    package,
    probe,
    questions_of,
    random_requests,
    small_sets,
)
from labkit.course.exercises.efficient_router.wording import Reading, not_a_count, tokens

NUM_RANDOM_QUESTIONS = 120


def _cases(seed: int, tier: str) -> list[Case]:
    return [
        package("up to two small requests run, every small candidate", _small(), True),
        Case("nobody runs", ([], (5, 4), 9)),
        Case("nobody runs, and it can never fit", ([], (5, 4), 8)),
        Case("it fits now", ([(5, 4)], (4, 2), 15)),
        Case("it fits now, exactly", ([(5, 4), (4, 3), (5, 3), (3, 2)], (4, 2), 31)),
        Case("one token too many", ([(5, 4), (4, 3), (5, 3), (3, 2)], (4, 2), 30)),
        Case("before anybody has left", ([(1, 1), (1, 1)], (1, 1), 5)),
        Case("alone, after everybody", ([(5, 4)], (9, 0), 9)),
        Case("alone, after everybody who appends nothing", ([(3, 0), (4, 0)], (2, 5), 7)),
        Case("others end now", ([(3, 0), (4, 2)], (3, 1), 9)),
        Case("the others alone fill the pool", ([(6, 4)], (1, 5), 10)),
        Case("it can never fit, whoever runs", ([(5, 4), (4, 3)], (20, 11), 30)),
        Case("its prompt fits, and it does not", ([(5, 4)], (8, 3), 10)),
        Case("two identical requests run", ([(4, 3), (4, 3)], (4, 3), 19)),
        Case("fits, then not, then again", ([(1, 1), (1, 3)], (1, 1), 5)),
        Case("it fits later than one step after", ([(2, 30), (40, 6)], (9, 12), 58)),
        Case("numbers of a real pool", ([(14_050, 80), (1_020, 129), (2_735, 424)], (4_142, 601), 20_000)),
        package("random requests", _random(seed), False),
    ]


def _small() -> Iterator[Question]:
    """Capacities from one too small for the candidate alone, over those that make it wait, to one at which it fits."""
    sets: list[tuple[Request, ...]] = [(), *small_sets(max_requests=2, max_tokens=2, least_run=1)]
    for running, candidate in product(sets, [(run, left) for run in (1, 2) for left in range(3)]):
        alone, now, others = sum(candidate), peak_and_step([*running, candidate])[0], peak_and_step(running)[0]
        least = max(alone, others)
        capacities = {alone - 1, least, (least + now) // 2, now - 1, now}
        yield from ((list(running), candidate, capacity) for capacity in sorted(capacities) if capacity >= others)


def _random(seed: int) -> Iterator[Question]:
    rng = np.random.default_rng([seed, 2])
    for size in np.sort(rng.integers(1, 8, NUM_RANDOM_QUESTIONS)).tolist():
        most = int(rng.choice([10, 40, 120]))
        running, (candidate,) = random_requests(rng, size, most), random_requests(rng, 1, most)
        least = max(sum(candidate), peak_and_step(running)[0])
        now = peak_and_step([*running, candidate])[0]
        yield running, candidate, least
        yield running, candidate, int(rng.integers(least, now + 1))
        yield running, candidate, max(least, now - 1 - int(rng.integers(4)))


def _peak_at(running: Sequence[Request], candidate: Request, step: int) -> tuple[int, int]:
    """The peak if it starts at `step`, and when it is, counted from now."""
    peak, later = peak_and_step([*still_running(running, step), candidate])
    return peak, step + later


def _why(running: list[Request], candidate: Request, capacity: int) -> str:
    step = first_step(running, candidate, capacity)
    if step is None:
        return f"alone it needs {tokens(sum(candidate))}, so it is never admitted"
    if step == 0:
        return "it fits now"
    peak, at = _peak_at(running, candidate, step - 1)
    return f"a step before that they would hold {tokens(peak)}, at step {at}"


def _way(question: Question, right: int | None, answer: Any) -> str:
    if answer == right and isinstance(answer, bool) is False:
        return ""
    if answer is None:
        return "wasteful: there is a step at which it fits"
    if reason := not_a_count(answer):
        return f"{reason}, or None"
    if answer < 0:
        return "steps are counted from 0, which is now"
    running, candidate, capacity = question
    peak, at = _peak_at(running, candidate, answer)
    if peak > capacity:
        return f"unsafe: if it starts there, they hold {tokens(peak)} at step {at}"
    return "wasteful: it fits earlier"


def _note(cases: Sequence[Case], values: Sequence[Any]) -> str:
    return f"{sum(len(questions_of(case)) for case in cases):,} waits."


_reading = Reading(
    call="first_admissible_step",
    right=first_step,
    why=_why,
    way=_way,
    same_set=lambda question: question,
)

first_admissible_step = Exercise(
    name="first_admissible_step",
    signature="first_admissible_step(running, candidate, capacity)",
    goal="Return the first step at which the candidate can start, an int (0 is now); None if it does not even fit"
    " alone.",
    cases=_cases,
    judge_case=_reading.judge,
    probe=probe,
    hints=(
        "One step later, what has become of a running request `(run, left)`? And of the waiting candidate?",
        "At step s a running request is `(run + s, left - s)`, and it is gone once that left would be negative. The"
        " candidate stays as it is. Nothing says that the answer is a completion: try every step.",
        "if the candidate alone exceeds the capacity return None; for step 0, 1, 2, …: `alive` = the running requests"
        " as they are then, those with left - step of 0 or more; if the candidate can be admitted to them return step.",
    ),
    points=3,
    minutes=15,
    difficulty=2,
    num_lines=6,
    note=_note,
)


# --- wrong answers ----------------------------------------------------------------------------------------


@first_admissible_step.wrong(
    "only at completions",
    "late: the others stay where they are in time and the candidate starts lower with each step that it waits, so it"
    " may fit before anybody has left.",
)
def _(running, candidate, capacity):
    steps = sorted({0, *(left + 1 for _, left in running)})
    return next((step for step in steps if _fits(running, candidate, capacity, step)), None)


@first_admissible_step.wrong(
    "freed one step early",
    "unsafe: a request with left = 0 still holds its tokens at this step, and is gone at the next.",
)
def _(running, candidate, capacity):
    return _search(running, candidate, capacity, lambda step: [(r + step, l - step) for r, l in running if l > step])


@first_admissible_step.wrong(
    "freed one step late",
    "late: whoever has left = 0 now is gone at the next step.",
)
def _(running, candidate, capacity):
    def alive(step):
        return [(r + step, max(l - step, 0)) if l >= step else (r + l, 0) for r, l in running if l >= step - 1]

    return _search(running, candidate, capacity, alive)


@first_admissible_step.wrong(
    "the finished never dropped",
    "late: whoever has come to a left below 0 is gone, and here goes on being counted, with a left that no request has."
    " Keep those with left >= step only.",
)
def _(running, candidate, capacity):
    if sum(candidate) > capacity:
        return None
    step = 0
    while bound(_descending([*((r + step, l - step) for r, l in running), candidate])) > capacity:
        step += 1
    return step


@first_admissible_step.wrong(
    "one step early",
    "unsafe: the step before the first one at which it fits, except where it fits now. Is something counted before it"
    " is tested?",
)
def _(running, candidate, capacity):
    first = _first(running, candidate, capacity)
    return None if first is None else max(first - 1, 0)


@first_admissible_step.wrong(
    "the others aged before the first test",
    "unsafe: what it calls step 0 is step 1. Test the running requests as they are first, and let a step pass then.",
)
def _(running, candidate, capacity):
    return _search(
        running, candidate, capacity, lambda step: [(r + step + 1, l - step - 1) for r, l in running if l > step]
    )


@first_admissible_step.wrong(
    "the others do not grow while it waits",
    "unsafe: each step takes one from left and adds one to run. Here they only come nearer to their end.",
)
def _(running, candidate, capacity):
    return _search(running, candidate, capacity, lambda step: [(r, l - step) for r, l in running if l >= step])


@first_admissible_step.wrong(
    "the others never end",
    "they grow while the candidate waits and their left stays, so that their end moves away with each step.",
)
def _(running, candidate, capacity):
    return _search(running, candidate, capacity, lambda step: [(r + step, l) for r, l in running if l >= step])


@first_admissible_step.wrong(
    "the candidate ages while it waits",
    "a request that waits appends nothing: it starts with its own run and left, whenever it starts.",
)
def _(running, candidate, capacity):
    run, left = candidate
    if run + left > capacity:
        return None
    return next(
        step
        for step in range(_horizon(running) + 2)
        if _fits(running, (run + min(step, left), max(left - step, 0)), capacity, step)
    )


@first_admissible_step.wrong(
    "as many steps as tokens are missing",
    "late where somebody leaves in between: an excess of e needs at most e steps, and often fewer.",
)
def _(running, candidate, capacity):
    return None if sum(candidate) > capacity else max(0, peak_at_ends([*running, candidate]) - capacity)


@first_admissible_step.wrong(
    "jumps by the excess",
    "late: after e steps it fits at last, unless the step that was over the limit has passed before. Then it is"
    " earlier, so do not jump past the next completion.",
)
def _(running, candidate, capacity):
    if sum(candidate) > capacity:
        return None
    step = 0
    while not _fits(running, candidate, capacity, step):
        alive = [(r + step, l - step) for r, l in running if l >= step]
        step += peak_at_ends([*alive, candidate]) - capacity
    return step


@first_admissible_step.wrong(
    "the search by halves",
    "late: one step later may be worse, for the candidate then lives on into a step at which the others are larger. So"
    " there is nothing to halve.",
)
def _(running, candidate, capacity):
    if sum(candidate) > capacity:
        return None
    low, high = 0, _horizon(running) + 1
    while low < high:
        middle = (low + high) // 2
        if _fits(running, candidate, capacity, middle):
            high = middle
        else:
            low = middle + 1
    return low


@first_admissible_step.wrong("when everybody has gone", "wasteful: it waits for an empty pool.")
def _(running, candidate, capacity):
    if sum(candidate) > capacity:
        return None
    return 0 if _fits(running, candidate, capacity, 0) else _horizon(running) + 1


@first_admissible_step.wrong("None for not now", "a refusal now says nothing about the next step.")
def _(running, candidate, capacity):
    return 0 if _fits(running, candidate, capacity, 0) else None


@first_admissible_step.wrong(
    "gives up before the pool is empty", "at the step after the last completion nobody is left."
)
def _(running, candidate, capacity):
    steps = range(_horizon(running) + 1)
    return next((step for step in steps if _fits(running, candidate, capacity, step)), None)


@first_admissible_step.wrong(
    "strictly less", "late or never, for one token: a pool that is exactly full is not too full."
)
def _(running, candidate, capacity):
    return _first(running, candidate, capacity - 1)


@first_admissible_step.wrong(
    "its prompt fits", "unsafe: it asks about the tokens at the start, and not about its growth."
)
def _(running, candidate, capacity):
    if sum(candidate) > capacity:
        return None
    return next(step for step in range(_horizon(running) + 2) if held(running, step) + candidate[0] <= capacity)


@first_admissible_step.wrong(
    "an empty pool takes everybody",
    "unsafe: a candidate that does not fit alone is never admitted, and the answer is None.",
)
def _(running, candidate, capacity):
    first = _first(running, candidate, capacity)
    return _horizon(running) + 1 if first is None else first


@first_admissible_step.wrong("-1 for never", "never is None: -1 is a number, and somebody will add it to a step.")
def _(running, candidate, capacity):
    first = _first(running, candidate, capacity)
    return -1 if first is None else first


@first_admissible_step.wrong("counted from 1", "step 0 is now.")
def _(running, candidate, capacity):
    first = _first(running, candidate, capacity)
    return None if first is None else first + 1


@first_admissible_step.wrong("the caller's list shortened", "right, and `running` has lost those who ended meanwhile.")
def _(running, candidate, capacity):
    first = _first(running, candidate, capacity)
    running[:] = [request for request in running if request[1] >= (first or 0)]
    return first


@first_admissible_step.wrong(
    "never ends",
    "it was stopped before it answered. For example, a candidate that does not fit alone is tried at every step, for"
    " ever: ask that first.",
    never_ends=True,
)
def _(running, candidate, capacity):
    step = 0
    while not _fits(running, candidate, capacity, step):
        step += 1
    return step


def _fits(running, candidate, capacity, step):
    return peak_at_ends([*((r + step, l - step) for r, l in running if l >= step), candidate]) <= capacity


def _descending(requests):
    return sorted(requests, key=lambda request: -request[1])


def _horizon(running):
    return max((left for _, left in running), default=-1)


def _search(running, candidate, capacity, alive):
    """The first step at which it fits beside those whom `alive` says are there, up to long after the last."""
    if sum(candidate) > capacity:
        return None
    steps = range(2 * _horizon(running) + 4)
    return next((step for step in steps if peak_at_ends([*alive(step), candidate]) <= capacity), None)


def _first(running, candidate, capacity):
    return next((step for step in range(_horizon(running) + 2) if _fits(running, candidate, capacity, step)), None)


# --- right answers ----------------------------------------------------------------------------------------


@first_admissible_step.right("every step")
def _(running, candidate, capacity):
    if sum(candidate) > capacity:
        return None
    step = 0
    while not _fits(running, candidate, capacity, step):
        step += 1
    return step


@first_admissible_step.right("jumps as far as is safe")
def _(running, candidate, capacity):
    if sum(candidate) > capacity:
        return None
    step = 0
    while True:
        alive = [(r + step, l - step) for r, l in running if l >= step]
        excess = peak_at_ends([*alive, candidate]) - capacity
        if excess <= 0:
            return step
        step += min(excess, 1 + min(left for _, left in alive))


@first_admissible_step.right("a ramp slid along the calendar")
def _(running, candidate, capacity):
    run, left = candidate
    if run + left > capacity:
        return None
    calendar = np.zeros(_horizon(running) + left + 3, np.int64)
    for r, l in running:
        calendar[: l + 1] += np.arange(r, r + l + 1)
    ramp = np.arange(run, run + left + 1)
    # The whole calendar from the start on counts: what others hold after the candidate's end must fit too.
    return next(
        step
        for step in range(_horizon(running) + 2)
        if (calendar[step : step + left + 1] + ramp).max() <= capacity and calendar[step:].max() <= capacity
    )


@first_admissible_step.right("one step at a time, by itself")
def _(running, candidate, capacity):
    if _fits(running, candidate, capacity, 0):
        return np.int64(0)
    if not running:
        return None
    later, steps = running, 0
    while later and not _fits(later, candidate, capacity, 0):
        later, steps = [(r + 1, l - 1) for r, l in later if l], steps + 1
    return steps if _fits(later, candidate, capacity, 0) else None

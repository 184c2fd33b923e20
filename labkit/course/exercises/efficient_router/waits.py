"""Answers to `first_admissible_step`: wrong ones, each with the sentence that a learner reads, and right ones."""

import numpy as np

from labkit.course.banks import RightAnswers, WrongAnswers
from labkit.course.exercises.efficient_router.mistaken_peaks import bound, held, peak_at_ends

wrong, right = WrongAnswers(), RightAnswers()


@wrong(
    "only at completions",
    "late: the others stay where they are in time and the candidate starts lower with each step that it waits, so it"
    " may fit before anybody has left.",
)
def _(running, candidate, capacity):
    steps = sorted({0, *(left + 1 for _, left in running)})
    return next((step for step in steps if _fits(running, candidate, capacity, step)), None)


@wrong(
    "freed one step early",
    "unsafe: a request with left = 0 still holds its tokens at this step, and is gone at the next.",
)
def _(running, candidate, capacity):
    return _search(running, candidate, capacity, lambda step: [(r + step, l - step) for r, l in running if l > step])


@wrong(
    "freed one step late",
    "late: whoever has left = 0 now is gone at the next step.",
)
def _(running, candidate, capacity):
    def alive(step):
        return [(r + step, max(l - step, 0)) if l >= step else (r + l, 0) for r, l in running if l >= step - 1]

    return _search(running, candidate, capacity, alive)


@wrong(
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


@wrong(
    "one step early",
    "unsafe: the step before the first one at which it fits, except where it fits now. Is something counted before it"
    " is tested?",
)
def _(running, candidate, capacity):
    first = _first(running, candidate, capacity)
    return None if first is None else max(first - 1, 0)


@wrong(
    "the others aged before the first test",
    "unsafe: what it calls step 0 is step 1. Test the running requests as they are first, and let a step pass then.",
)
def _(running, candidate, capacity):
    return _search(
        running, candidate, capacity, lambda step: [(r + step + 1, l - step - 1) for r, l in running if l > step]
    )


@wrong(
    "the others do not grow while it waits",
    "unsafe: each step takes one from left and adds one to run. Here they only come nearer to their end.",
)
def _(running, candidate, capacity):
    return _search(running, candidate, capacity, lambda step: [(r, l - step) for r, l in running if l >= step])


@wrong(
    "the others never end",
    "they grow while the candidate waits and their left stays, so that their end moves away with each step.",
)
def _(running, candidate, capacity):
    return _search(running, candidate, capacity, lambda step: [(r + step, l) for r, l in running if l >= step])


@wrong(
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


@wrong(
    "as many steps as tokens are missing",
    "late where somebody leaves in between: an excess of e needs at most e steps, and often fewer.",
)
def _(running, candidate, capacity):
    return None if sum(candidate) > capacity else max(0, peak_at_ends([*running, candidate]) - capacity)


@wrong(
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


@wrong(
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


@wrong("when everybody has gone", "wasteful: it waits for an empty pool.")
def _(running, candidate, capacity):
    if sum(candidate) > capacity:
        return None
    return 0 if _fits(running, candidate, capacity, 0) else _horizon(running) + 1


@wrong("None for not now", "a refusal now says nothing about the next step.")
def _(running, candidate, capacity):
    return 0 if _fits(running, candidate, capacity, 0) else None


@wrong("gives up before the pool is empty", "at the step after the last completion nobody is left.")
def _(running, candidate, capacity):
    steps = range(_horizon(running) + 1)
    return next((step for step in steps if _fits(running, candidate, capacity, step)), None)


@wrong("strictly less", "late or never, for one token: a pool that is exactly full is not too full.")
def _(running, candidate, capacity):
    return _first(running, candidate, capacity - 1)


@wrong("its prompt fits", "unsafe: it asks about the tokens at the start, and not about its growth.")
def _(running, candidate, capacity):
    if sum(candidate) > capacity:
        return None
    return next(step for step in range(_horizon(running) + 2) if held(running, step) + candidate[0] <= capacity)


@wrong(
    "an empty pool takes everybody",
    "unsafe: a candidate that does not fit alone is never admitted, and the answer is None.",
)
def _(running, candidate, capacity):
    first = _first(running, candidate, capacity)
    return _horizon(running) + 1 if first is None else first


@wrong("-1 for never", "never is None: -1 is a number, and somebody will add it to a step.")
def _(running, candidate, capacity):
    first = _first(running, candidate, capacity)
    return -1 if first is None else first


@wrong("counted from 1", "step 0 is now.")
def _(running, candidate, capacity):
    first = _first(running, candidate, capacity)
    return None if first is None else first + 1


@wrong("the caller's list shortened", "right, and `running` has lost those who ended meanwhile.")
def _(running, candidate, capacity):
    first = _first(running, candidate, capacity)
    running[:] = [request for request in running if request[1] >= (first or 0)]
    return first


@wrong(
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


@right("every step")
def _(running, candidate, capacity):
    if sum(candidate) > capacity:
        return None
    step = 0
    while not _fits(running, candidate, capacity, step):
        step += 1
    return step


@right("jumps as far as is safe")
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


@right("a ramp slid along the calendar")
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


@right("one step at a time, by itself")
def _(running, candidate, capacity):
    if _fits(running, candidate, capacity, 0):
        return np.int64(0)
    if not running:
        return None
    later, steps = running, 0
    while later and not _fits(later, candidate, capacity, 0):
        later, steps = [(r + 1, l - 1) for r, l in later if l], steps + 1
    return steps if _fits(later, candidate, capacity, 0) else None

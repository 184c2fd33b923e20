"""The oracle of this lab: tokens counted at every step, from the definition. No theorem, no sort, no early exit."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from labkit.course.exercises.efficient_router.questions import Request


def held_tokens(requests: Sequence[Request]) -> NDArray[np.int64]:
    """Tokens held at step 0, 1, … up to the last one at which anybody holds any. Shape: (num_steps,)."""
    held = np.zeros(1 + max((left for _, left in requests), default=0), np.int64)
    for run, left in requests:
        held[: left + 1] += np.arange(run, run + left + 1)
    return held


def peak_and_step(requests: Sequence[Request]) -> tuple[int, int]:
    """The most tokens held at once, and the first step at which they are."""
    return _peak_and_step(tuple(sorted(requests)))


@cache
def _peak_and_step(requests: tuple[Request, ...]) -> tuple[int, int]:
    held = held_tokens(requests)
    return int(held.max()), int(held.argmax())


def num_admitted(running: Sequence[Request], waiting: Sequence[Request], capacity: int) -> int:
    """How many from the head fit together with everybody before them."""
    for number in range(len(waiting)):
        if peak_and_step([*running, *waiting[: number + 1]])[0] > capacity:
            return number
    return len(waiting)


def still_running(running: Sequence[Request], step: int) -> list[Request]:
    """The running requests as they are `step` steps later, without those that are gone."""
    return [(run + step, left - step) for run, left in running if left >= step]


def first_step(running: Sequence[Request], candidate: Request, capacity: int) -> int | None:
    """The first step at which the candidate fits, by trying each until everybody else is gone."""
    for step in range(2 + max((left for _, left in running), default=0)):
        if peak_and_step([*still_running(running, step), candidate])[0] <= capacity:
            return step
    return None

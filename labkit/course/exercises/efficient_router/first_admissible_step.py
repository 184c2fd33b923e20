"""`first_admissible_step(running, candidate, capacity)`: how long a refused candidate has to wait."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from labkit.course.exercise import Case, Exercise
from labkit.course.exercises.efficient_router.counting import first_step, peak_and_step, still_running
from labkit.course.exercises.efficient_router.questions import (
    Question,
    Request,
    package,
    probe,
    questions_of,
    random_requests,
    small_sets,
)
from labkit.course.exercises.efficient_router.waits import right, wrong
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
    wrong_answers=wrong,
    right_answers=right,
)

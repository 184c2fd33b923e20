"""Answers that fail after another one: a loop in the first helper costs all that is built on it."""

from labkit.grading.result import Result
from labkit.grading.source_names import used_names


def stands_on(result: Result, exercise: str) -> list[str]:
    """The learner's other answers that this one uses, directly, and that did not pass; empty if it passed itself.

    Whoever fixes those may find this one right.
    """
    if any(each.exercise == exercise and each.outcome == "pass" for each in result.marks):
        return []
    used = used_names(result.answers.get(exercise, ""))
    return [
        each.exercise
        for each in result.marks
        if each.exercise in used and each.exercise != exercise and each.outcome != "pass"
    ]

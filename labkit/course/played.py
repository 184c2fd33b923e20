"""Exercises whose answers are calls: a class is played by a script, or the answer is a script that is played.

What comes of a play has slot numbers in it, and every right allocator chooses its own. So two plays are alike, for
recognising a known mistake, when a reader would see the same: which rule broke, in which call, after which answers.
"""

import linecache
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from labkit.course.apart import Answer
from labkit.course.exercise import Case, Exercise, Wrong

PACKED = 64  # lists of at least so many slots travel as arrays
MAX_TEXT = 240  # characters of one message; a list of 40,000 slots is no explanation


@dataclass(eq=False, kw_only=True)
class PlayedExercise(Exercise):
    """An exercise that compares what a reader sees of a play, and not its slot numbers, to recognise a mistake.

    `seen`: (case, value) -> plain data without slot numbers.
    `names_no_mistake`: cases that show that an answer is wrong, and not which known mistake it is.
    """

    seen: Callable[[Case, Any], Any]
    names_no_mistake: Callable[[Case], bool] = lambda case: False

    def _recognise(self, cases: Sequence[Case], answers: Sequence[Answer], failing: Sequence[Case]) -> Wrong | None:
        telling = [
            (case, self._as_seen(case, answer))
            for case, answer in zip(cases, answers, strict=True)
            if not self.names_no_mistake(case)
        ]
        failing = [case for case in failing if not self.names_no_mistake(case)]
        if not failing:
            return None
        return super()._recognise([case for case, _ in telling], [answer for _, answer in telling], failing)

    def _own_answer(self, wrong: Wrong, case: Case) -> Answer:
        return self._as_seen(case, super()._own_answer(wrong, case))

    def _as_seen(self, case: Case, answer: Answer) -> Answer:
        return replace(answer, value=self.seen(case, answer.value)) if answer.outcome == "value" else answer


def said_by(error: BaseException, subject: object) -> str:
    """The exception in words, with the innermost line of the class that raised it."""
    files = {method.__code__.co_filename for method in vars(type(subject)).values() if hasattr(method, "__code__")}
    text = cut(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename in files:
            line = (frame.line or linecache.getline(frame.filename, frame.lineno or 0)).strip()
            return f"{text}\n            line {frame.lineno}: {line}"
    return text


def packed(item: Any) -> Any:
    """A long list of ints as an array, which travels faster; anything else as it is."""
    long = isinstance(item, list) and len(item) >= PACKED and set(map(type, item)) == {int}
    return np.array(item, np.int64) if long else item


def unpacked(item: Any) -> Any:
    """The list that `packed` was given."""
    return item.tolist() if isinstance(item, np.ndarray) else item


def cut(text: str) -> str:
    """The text, or its beginning and its end where it is too long to read."""
    if len(text) <= MAX_TEXT:
        return text
    return f"{text[: MAX_TEXT // 2]} … {text[-MAX_TEXT // 2 :]}"

"""Banks of answers that stand in files of their own, because an exercise's file would grow too long with them."""

from collections.abc import Callable
from typing import Any

from labkit.course.exercise import Right, Wrong


class WrongAnswers(list[Wrong]):
    """`wrong = WrongAnswers()`; then `@wrong("name", "sentence")` adds what it stands on."""

    def __call__(self, name: str, sentence: str, never_ends: bool = False) -> Callable[[Any], Any]:
        def add(candidate: Any) -> Any:
            self.append(Wrong(name, sentence, candidate, never_ends))
            return candidate

        return add


class RightAnswers(list[Right]):
    """`right = RightAnswers()`; then `@right("name")` adds what it stands on."""

    def __call__(self, name: str) -> Callable[[Any], Any]:
        def add(candidate: Any) -> Any:
            self.append(Right(name, candidate))
            return candidate

        return add

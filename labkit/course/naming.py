"""Naming what no known wrong answer does alone: two mistakes at once, one that shows in some cases only, one beside
choices that are the learner's own.

An answer whose mistake stands in the bank is recognised without this. Here the engine turns when nothing in the bank
answers alike on all failing cases.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

from labkit.course.apart import Answer

View = Callable[[Answer], Answer]


@dataclass(frozen=True)
class Mistake:
    """A wrong answer of the bank: its name, and the sentence that a learner reads."""

    name: str
    sentence: str

    def __str__(self) -> str:
        return f"*{self.name}*: {self.sentence}"


@dataclass(frozen=True)
class Second:
    """A mistake that often comes on top of another and then hides the other's name.

    Args:
        name: of the wrong answer that makes it alone.
        shows: whether a value has it.
        without: the value as far as it can be compared with answers that do not make it.
    """

    name: str
    shows: Callable[[Any], bool]
    without: Callable[[Any], Any]

    def shows_in(self, answer: Answer) -> bool:
        return answer.outcome == "value" and self.shows(answer.value)

    def view(self, answer: Answer) -> Answer:
        return replace(answer, value=self.without(answer.value)) if answer.outcome == "value" else answer


M = TypeVar("M", bound=Mistake)


class Told(NamedTuple):
    """A name for the record, and lines for the learner."""

    name: str
    text: str


def name_together(
    bank: Sequence[M],
    answers: Sequence[Answer],
    seconds: Sequence[Second],
    in_part: bool,
    alike: Callable[[M, int, View], bool],
) -> Told | None:
    """What can be said of the answers to the failing cases, the smallest case first; None where nothing can.

    `alike(mistake, number, view)`: whether a wrong answer answers that failing case as the learner's does, both seen
    through the view.
    """
    numbers = range(len(answers))
    by_name = {mistake.name: mistake for mistake in bank}
    showing = [second for second in seconds if any(map(second.shows_in, answers))]
    for second in showing:
        for first in bank:
            if all(alike(first, number, second.view) for number in numbers):
                return _both(first, by_name[second.name])
    for view, besides in [*((second.view, by_name[second.name]) for second in showing), (_as_it_is, None)]:
        counts = [(sum(alike(each, number, view) for number in numbers), each) for each in bank if alike(each, 0, view)]
        count, best = max(counts, key=lambda counted: counted[0], default=(0, None))
        if in_part and best and count > 1:
            return _in_part(best, count, len(answers), besides)
    if not showing:
        return None
    return Told(showing[0].name, f"whatever else is wrong, it behaves like {by_name[showing[0].name]}")


def name_by_numbers(bank: Sequence[Mistake], shown: Sequence[str | None]) -> Told | None:
    """The mistake that answers show by themselves: `shown` has its name for each failing case, the smallest first."""
    name = shown[0]
    if name is None:
        return None
    mistake, count = next(each for each in bank if each.name == name), shown.count(name)
    return (
        Told(name, f"this behaves like {mistake}")
        if count == len(shown)
        else _in_part(mistake, count, len(shown), None)
    )


def _as_it_is(answer: Answer) -> Answer:
    return answer


def _both(first: Mistake, second: Mistake) -> Told:
    if first.name == second.name:
        return Told(first.name, f"this behaves like {first}")
    return Told(first.name, f"this behaves like two mistakes at once, {first}\n  and {second}")


def _in_part(mistake: Mistake, count: int, of: int, besides: Mistake | None) -> Told:
    others = f"and besides like {besides}" if besides else "on the others something else is wrong too"
    return Told(mistake.name, f"on {count} of the {of} cases that fail this behaves like {mistake}\n  {others}")

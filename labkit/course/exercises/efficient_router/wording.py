"""What a learner reads of a wrong answer: the smallest failing question, what is right, and which way it is wrong.

Three ways: *unsafe* admits what overflows, *wasteful* refuses what fits, *order-dependent* answers differently when
the same requests come in another order.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from labkit.course.compare import Difference, describe_typed
from labkit.course.describe import describe
from labkit.course.exercise import Case
from labkit.course.exercises.efficient_router.questions import Question, call_text, questions_of

UNSAFE = "unsafe: a router would admit what overflows"
WASTEFUL = "wasteful: a router would refuse what fits"


@dataclass(frozen=True)
class Reading:
    """How the answers of one exercise are read.

    call: its name. right: the right answer to a question. why: the reason for it, in words. way: how another answer is
    wrong, or "" when it is not. same_set: equal for questions that differ in the order of their requests only.
    """

    call: str
    right: Callable[..., Any]
    why: Callable[..., str]
    way: Callable[[Question, Any, Any], str]
    same_set: Callable[[Question], Any]

    def judge(self, case: Case, value: Any) -> Difference | None:
        """The first question with a wrong answer; packages begin with their smallest."""
        questions = questions_of(case)
        if not isinstance(value, list) or len(value) != len(questions):
            return Difference(f"{len(questions):,} answers", describe_typed(value))
        for asked in _by_set(questions, value, self.same_set):
            for question, answer in asked:
                if way := self.way(question, self.right(*question), answer):
                    return self._difference(question, answer, way, asked, is_packed=len(questions) > 1)
        return None

    def _difference(
        self, question: Question, answer: Any, way: str, asked: Sequence[tuple[Question, Any]], is_packed: bool
    ) -> Difference:
        right = self.right(*question)
        came = describe(answer) if type(answer) is type(right) else describe_typed(answer)
        lines = [f"{came}: {way}"]
        if other := next((each for each in asked if _differs(each[1], answer)), None):
            lines.append(f"order-dependent: for {self._called(other[0])} it says {describe(other[1])}")
        expected = f"{describe(right)}: {self.why(*question)}"
        return Difference(expected, "\n            ".join(lines), call_text(question) if is_packed else "")

    def _called(self, question: Question) -> str:
        return f"{self.call}({', '.join(map(describe, question))})"


def _by_set(
    questions: Sequence[Question], answers: Sequence[Any], same_set: Callable[[Question], Any]
) -> Iterator[list[tuple[Question, Any]]]:
    together = zip(questions, answers, strict=True)
    return (list(group) for _, group in groupby(together, key=lambda pair: same_set(pair[0])))


def _differs(one: Any, other: Any) -> bool:
    return type(one) is not type(other) or one != other


def tokens(number: int) -> str:
    """`1 token`, `31 tokens`, `84,000 tokens`."""
    return "1 token" if number == 1 else f"{number:,} tokens"


def not_a_count(answer: Any) -> str:
    """Why an answer is no whole number, or ""."""
    if isinstance(answer, bool) or not isinstance(answer, int):
        return "expected a whole number, an int"
    return ""

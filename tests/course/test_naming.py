"""Two mistakes at once, a mistake in some cases only, and one that the numbers show: each is told by its name."""

from typing import Any

import pytest

from labkit.course.compare import compare_exactly
from labkit.course.exercise import Case, Exercise
from labkit.course.naming import Second


def twice_and_sign(**options: Any) -> Exercise:
    """Return [2 * n, n >= 0]; a known second mistake is a sign that is always True."""
    made = Exercise(
        name="twice",
        signature="twice(n)",
        goal="",
        cases=lambda seed, tier: [Case(str(n), (n,)) for n in (-1, 1, -2, 3)],
        judge_case=lambda case, value: compare_exactly([2 * case.args[0], case.args[0] >= 0], value),
        hints=("", "", ""),
        points=1,
        minutes=1,
        difficulty=1,
        num_lines=1,
        **options,
    )
    made.wrong("not doubled", "double it.")(lambda n: [n, n >= 0])
    made.wrong("squared", "a square is no double.")(lambda n: [n * n, n >= 0])
    made.wrong("always positive", "look at the sign.")(lambda n: [2 * n, True])
    return made


ALWAYS_POSITIVE = Second(
    "always positive",
    shows=lambda value: isinstance(value, list) and value[1:] == [True],
    without=lambda value: value[:1] if isinstance(value, list) else value,
)


@pytest.mark.parametrize(
    ("answer", "options", "named", "said"),
    [
        (lambda n: [n, True], {}, None, "came"),
        (
            lambda n: [n, True],
            {"seconds": (ALWAYS_POSITIVE,)},
            "not doubled",
            "this behaves like two mistakes at once, *not doubled*: double it.\n  and *always positive*: look at",
        ),
        (lambda n: [2 * n, True], {"seconds": (ALWAYS_POSITIVE,)}, "always positive", "this behaves like *always"),
        (lambda n: [7 + n, True], {"seconds": (ALWAYS_POSITIVE,)}, "always positive", "whatever else is wrong"),
        (lambda n: [n if n < 0 else 9, n >= 0], {}, None, "came"),
        (
            lambda n: [n if n < 0 else 9, n >= 0],
            {"names_in_part": True},
            "not doubled",
            "on 2 of the 4 cases that fail this behaves like *not doubled*: double it.\n  on the others something else",
        ),
        (
            lambda n: [n if n < 0 else 9, True],
            {"names_in_part": True, "seconds": (ALWAYS_POSITIVE,)},
            "not doubled",
            "on 2 of the 4 cases that fail this behaves like *not doubled*: double it.\n  and besides like *always",
        ),
        (lambda n: [n if n == -1 else 9, n >= 0], {"names_in_part": True}, None, "came"),  # once is chance
        (lambda n: None, {"names_in_part": True, "seconds": (ALWAYS_POSITIVE,)}, None, "came      None"),
    ],
)
def test_what_is_said_of_an_answer_that_no_wrong_one_explains(
    answer: Any, options: dict[str, Any], named: str | None, said: str
) -> None:
    verdict = twice_and_sign(**options).judge(answer)
    assert not verdict.passed
    assert verdict.findings[0].misconception == named
    assert said in str(verdict)


def test_numbers_that_show_a_mistake_name_it_whatever_was_chosen() -> None:
    def diagnosis(case: Case, value: Any) -> str | None:
        return "squared" if value[0] == case.args[0] ** 2 else None

    chooses = twice_and_sign(diagnosis=diagnosis)
    for answer, count in ((lambda n: [n * n, "chosen"], 4), (lambda n: [n * n if n < 3 else 0, "chosen"], 3)):
        verdict = chooses.judge(answer)
        assert verdict.findings[0].misconception == "squared"
        assert ("\n  this behaves like *squared*" in str(verdict)) == (count == 4)
        assert (f"on {count} of the 4 cases" in str(verdict)) == (count != 4)
    assert chooses.judge(lambda n: 1 / 0).findings[0].misconception is None  # it raised: there are no numbers

from typing import Any

import numpy as np
import pytest

from labkit.course import Case, Exercise, exercise, lab_spec
from labkit.course.apart import Answer
from labkit.course.compare import Difference, compare_arrays


def _double() -> Exercise:
    def cases(seed: int, tier: str) -> list[Case]:
        rng = np.random.default_rng(seed)
        return [Case("large", (rng.normal(size=(4, 4)),)), Case("small", (rng.normal(size=(1, 2)),))]

    def judge_case(case: Case, value: Any) -> Difference | None:
        return compare_arrays(case.args[0] + case.args[0], value)

    made = Exercise("double", "double(x)", "Return 2x.", cases, judge_case, ("?", "idea", "code"), 1, 1, 1, 1)
    made.wrong("square", "x squared is not x twice.")(lambda x: x * x)
    made.wrong("nothing done", "this returns x itself.")(lambda x: x)
    made.wrong("small ones only", "large arrays are left as they are.")(lambda x: 2 * x if x.size < 9 else x)
    return made


def test_a_right_answer_passes_with_one_line() -> None:
    verdict = _double().judge(lambda x: 2 * x, seed=3)
    assert verdict.passed
    assert verdict.findings == ()
    assert str(verdict) == "✓ double: right on all 2 cases (seed 3)."


def test_a_wrong_answer_reads_in_the_promised_order() -> None:
    verdict = _double().judge(lambda x: x**2, seed=3)
    text = str(verdict)
    assert not verdict.passed
    places = [text.index(word) for word in ("2 of 2 cases", "case ", "given", "expected", "came", "behaves like")]
    assert places == sorted(places)
    assert verdict.findings[0].case.name == "small"
    assert "first different at [0, 0]" in text
    assert "max difference" in text
    assert verdict.findings[0].misconception == "square"
    assert "x squared is not x twice." in text


def test_of_two_alike_mistakes_the_one_that_agrees_elsewhere_is_named() -> None:
    # On the failing (large) case both "nothing done" and "small ones only" answer alike.
    verdict = _double().judge(lambda x: 2 * x if x.size < 5 else +x)
    assert [finding.misconception for finding in verdict.findings] == ["small ones only"]


def test_a_wrong_dtype_on_top_does_not_hide_the_mistake() -> None:
    verdict = _double().judge(lambda x: (x * x).astype(np.float32))
    assert verdict.findings[0].misconception == "square"


def test_cases_that_were_not_reached_are_not_called_failed() -> None:
    def loop(x: Any) -> Any:
        while True:
            pass

    assert "1 of 2 cases fails (seed 0), and 1 could not be tried:" in str(_double().judge(loop, limit_s=0.3))


def test_an_unknown_mistake_is_shown_without_a_name() -> None:
    verdict = _double().judge(lambda x: 3 * x)
    assert verdict.findings[0].misconception is None
    assert "behaves like" not in str(verdict)


def test_the_wrong_shape_dtype_and_type_are_told_apart() -> None:
    made = _double()
    assert "another shape" in str(made.judge(lambda x: (2 * x).T))
    assert "another dtype" in str(made.judge(lambda x: (2 * x).astype(np.float32)))
    assert "not an array" in str(made.judge(lambda x: (2 * x).tolist()))


def test_the_stub_is_not_written_rather_than_wrong() -> None:
    def double(x: Any) -> Any:
        raise NotImplementedError("double: write this exercise, about 1 line")

    verdict = _double().judge(double)
    assert not verdict.passed
    assert str(verdict) == "○ double: not written yet: write this exercise, about 1 line"


def test_a_stub_without_words_is_told_once() -> None:
    def double(x: Any) -> Any:
        raise NotImplementedError

    assert str(_double().judge(double)) == "○ double: not written yet: a NotImplementedError stands in it"


def test_a_class_names_the_methods_that_are_not_written() -> None:
    class Stack:
        def push(self) -> Any:
            raise NotImplementedError("Stack: write this exercise, about 3 lines")

        def pop(self) -> Any:
            raise NotImplementedError("Stack: write this exercise, about 3 lines")

        def len(self) -> int:
            return 1

    made = Exercise(
        name="Stack",
        signature="Stack()",
        goal="",
        cases=lambda seed, tier: [Case(name, (name,), ("method",)) for name in ("push", "pop", "len")],
        judge_case=lambda case, value: None if value == 1 else Difference("1", str(value)),
        hints=("", "", ""),
        points=1,
        minutes=1,
        difficulty=1,
        num_lines=3,
        probe=lambda candidate, case: getattr(candidate(), case.name)(),
    )
    said = "○ Stack: not written yet: `push` and `pop`: write this exercise, about 3 lines (1 case is right already)"
    assert str(made.judge(Stack)) == said


def test_a_missing_answer_is_a_failed_case() -> None:
    made = _double()
    cases = made.make_cases(0)
    verdict = made.judge_answers(cases, [Answer("not-reached", error="an earlier case ended the run")] * 2, 0)
    assert not verdict.passed
    with pytest.raises(ValueError, match="2 cases need as many answers, 1 came"):
        made.judge_answers(cases, [Answer("value", 1.0)], 0)


def test_an_exercise_without_cases_is_an_error_not_a_pass() -> None:
    made = _double()
    made.cases = lambda seed, tier: []
    with pytest.raises(RuntimeError, match="tries nothing"):
        made.judge(lambda x: x)


def test_names_that_do_not_exist_are_answered_with_those_that_do() -> None:
    with pytest.raises(KeyError, match="the labs are: 00_start_here"):
        lab_spec("99_nothing")
    with pytest.raises(KeyError, match="it has: median"):
        exercise("00_start_here", "mean")


def test_the_same_seed_gives_the_same_cases() -> None:
    made = exercise("00_start_here", "median")
    assert made.make_cases(5) == made.make_cases(5)
    assert made.make_cases(5) != made.make_cases(6)


def test_a_known_mistake_is_asked_once_for_each_case_and_its_content() -> None:
    made, asked = _double(), []
    made.wrong_answers.clear()

    @made.wrong("tripled", "this is three times x.")
    def tripled(x: Any) -> Any:
        asked.append(x.tolist())
        return 3 * x

    first = made.judge(lambda x: 3 * x, seed=1)
    again = made.judge(lambda x: 3 * x, seed=1)
    assert str(again) == str(first)
    assert len(asked) == first.num_cases
    made.judge(lambda x: 3 * x, seed=2)  # cases of the same names, with other numbers
    assert len(asked) == 2 * first.num_cases


def test_a_forgotten_return_is_named() -> None:
    assert "None: is a return missing?" in str(_double().judge(lambda x: None))

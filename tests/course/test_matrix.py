"""The gate on every check: each wrong answer is rejected with its own sentence, each right one accepted, on every seed.

Guards against a check that passes on nothing: there must be exercises, at least 8 wrong answers and 3 right ones each.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from labkit.course.apart import Answer, ask_here
from labkit.course.exercise import Case, Exercise
from labkit.course.exercises import all_labs, lab_spec
from labkit.course.matrix import SEEDS, try_exercise

EXERCISES = [each for spec in all_labs() for each in spec.exercises if each.tier == "cpu"]
# Issues of the project ask for deeper banks where mistakes are many.
MORE_WRONG = {"can_admit": 20, "TokenAllocator": 20, "plan_key": 15, "state_bytes": 15, "comm_elements": 15,
              "zero_step": 15, "kd_loss": 15}  # fmt: skip
MORE_RIGHT = {"can_admit": 6, "TokenAllocator": 6, "kd_loss": 6}


def test_there_are_exercises() -> None:
    assert len(all_labs()) >= 2
    assert len(EXERCISES) >= len(all_labs())


def test_a_case_that_is_the_same_on_every_seed_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And judged on every seed: the verdicts are those of `Exercise.judge`, for half of its work or less."""
    exercise = lab_spec("05_token_attention").exercise("wasted_slots")
    num_asked: list[int] = []

    def counted(candidate: Any, probe: Any, cases: Sequence[Case], limit_s: float) -> list[Answer]:
        num_asked.append(len(cases))
        return ask_here(candidate, probe, cases, limit_s)

    monkeypatch.setattr("labkit.course.matrix.ask", counted)
    tried = try_exercise(exercise, SEEDS)
    num_random = sum(case.name.startswith("random") for case in exercise.make_cases(0))
    assert num_asked[:5] == [len(exercise.make_cases(0)), *[num_random] * 4]
    for row, wrong in zip(tried.rows[::4], exercise.wrong_answers[::4], strict=False):
        verdicts = [exercise.judge(wrong.candidate, seed) for seed in SEEDS]
        assert row.named == tuple(verdict.findings[0].misconception for verdict in verdicts)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda each: f"{each.lab}-{each.name}")
def test_kill_matrix(exercise: Exercise, record_property: Callable[[str, object], None]) -> None:
    tried = try_exercise(exercise)
    assert all(len(row.named) == len(SEEDS) for row in tried.rows)
    assert tried.names("survived") == []
    assert {row.name: row.named for row in tried.rows if row.misnamed} == {}
    assert tried.names("falsely_rejected") == []
    counts = tried.as_data()
    assert counts["wrong"] >= MORE_WRONG.get(exercise.name, 8)
    assert counts["right"] >= MORE_RIGHT.get(exercise.name, 3)
    assert len({row.name for row in tried.rows}) == len(tried.rows)
    record_property("tried: exercises", 1)
    record_property("tried: wrong answers", counts["wrong"])
    record_property("tried: right answers", counts["right"])


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda each: f"{each.lab}-{each.name}")
def test_each_sentence_reaches_the_learner(exercise: Exercise) -> None:
    wrong = exercise.wrong_answers[0]
    text = str(exercise.judge(wrong.candidate, seed=11, limit_s=1.0 if wrong.never_ends else None))
    assert wrong.sentence in text
    named = text.index(f"behaves like *{wrong.name}*")
    assert text.index("given") < text.index("expected") < text.index("came") < named

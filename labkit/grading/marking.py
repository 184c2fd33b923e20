"""From answers to a result: judged here, where nothing of the learner's was ever imported."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit import __version__
from labkit.course.answers import MAX_BYTES, NotPlainData, decode
from labkit.course.apart import Answer
from labkit.course.exercise import Case, Exercise, Verdict

PUBLIC_SEED = 0  # what `lab.check` uses: findings on these cases may be shown, a learner can replay them

# What a case's outcome is called in a result; a value that is wrong is simply "wrong".
OUTCOMES = {
    "value": "wrong",
    "raised": "exception",
    "not-written": "not-answered",
    "timeout": "timeout",
    "killed": "killed",
    "not-data": "wrong",
    "not-reached": "killed",
}


@dataclass(frozen=True)
class Mark:
    """One exercise of one submission."""

    exercise: str
    score: int
    max_score: int
    outcome: str
    feedback: str  # for the learner: no hidden input in it
    misconception: str | None = None

    def as_data(self) -> dict[str, Any]:
        """For the result's JSON."""
        return dict(vars(self))


def mark(exercise: Exercise, cases: dict[int, tuple[Case, ...]], answers: dict[int, list[Answer]], seed: int) -> Mark:
    """Judge the hidden cases for the score, and the public ones for what the learner reads."""
    hidden = exercise.judge_answers(cases[seed], answers[seed], seed)
    public = exercise.judge_answers(cases[PUBLIC_SEED], answers[PUBLIC_SEED], PUBLIC_SEED)
    misconception = next((v.findings[0].misconception for v in (public, hidden) if v.findings), None)
    return Mark(
        exercise.name,
        exercise.points if hidden.passed else 0,
        exercise.points,
        "pass" if hidden.passed else _outcome(cases[seed], answers[seed], hidden),
        _feedback(exercise, hidden, public),
        misconception if not hidden.passed else None,
    )


def read_answers(path: Path, num_cases: int) -> list[Answer]:
    """What a sandbox left for one exercise; anything that is not there or not an answer is a failed case."""
    try:
        if path.stat().st_size > MAX_BYTES + 2**20:
            raise NotPlainData("larger than an answer may be")
        fields = decode(path.read_bytes())
        answers = [_answer(each) for each in fields]
    except OSError:
        return [Answer("not-reached", error="the run ended before this exercise was answered")] * num_cases
    except (NotPlainData, TypeError, ValueError) as error:
        answers = [Answer("not-data", error=f"the answers could not be read: {error}")] * num_cases
    missing = num_cases - len(answers)
    return answers[:num_cases] + [Answer("not-reached", error="no answer for this case")] * missing


def _answer(fields: Any) -> Answer:
    """A strict reading: the fields of `Answer`, of their types, and an outcome that exists."""
    answer = Answer(**fields)
    texts = (answer.outcome, answer.error, answer.line, answer.printed)
    if not all(isinstance(text, str) for text in texts) or answer.outcome not in OUTCOMES:
        raise NotPlainData("a record that is not an answer")
    if not isinstance(answer.line_number, int) or not all(isinstance(name, str) for name in answer.changed):
        raise NotPlainData("a record that is not an answer")
    return answer


def _outcome(cases: Sequence[Case], answers: Sequence[Answer], verdict: Verdict) -> str:
    failed = {id(finding.case) for finding in verdict.findings}
    for case, answer in zip(cases, answers, strict=True):
        if id(case) in failed:
            if answer.outcome == "raised" and answer.error.startswith("MemoryError"):
                return "out of memory"
            return OUTCOMES[answer.outcome]
    return "wrong"


def _feedback(exercise: Exercise, hidden: Verdict, public: Verdict) -> str:
    if hidden.passed:
        return str(hidden)
    if not public.passed:
        return str(public)
    finding = hidden.findings[0]
    known = next((wrong for wrong in exercise.wrong_answers if wrong.name == finding.misconception), None)
    likeness = f"\n  this behaves like *{known.name}*: {known.sentence}" if known else ""
    return (
        f"✗ {exercise.name}: right on the cases of lab.check, wrong on {len(hidden.findings)} of {hidden.num_cases}"
        f" others; such as: {finding.case.name}{likeness}"
    )


def versions() -> dict[str, str]:
    """What a result was obtained with."""
    return {"labkit": __version__, "python": platform.python_version(), "platform": platform.platform()}

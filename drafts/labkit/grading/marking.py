"""From answers to marks: judged here, where nothing of the learner's was ever imported."""

import inspect
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Any

from labkit import __version__
from labkit.course.answers import NotPlainData, decode
from labkit.course.apart import Answer, ask_here
from labkit.course.exercise import Case, Exercise, Verdict
from labkit.course.lab_spec import LabSpec

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
# Everything that a mark or a result can be called, best first; the order of tables and bars.
ALL_OUTCOMES = (
    "pass",
    "partial",
    "wrong",
    "exception",
    "timeout",
    "out of memory",
    "killed",
    "not-answered",
    "malformed",
    "infrastructure",
)
OUT_OF_MEMORY = re.compile(r"^\w*MemoryError|can't allocate memory|bad_alloc")


@dataclass(frozen=True)
class Mark:
    """One exercise of one submission."""

    exercise: str
    score: int
    max_score: int
    outcome: str
    feedback: str  # for the learner: no hidden input in it
    misconception: str | None = None
    check: str = ""  # which version of the check judged it

    def as_data(self) -> dict[str, Any]:
        """For the result's JSON."""
        return dict(vars(self))


def mark(exercise: Exercise, cases: dict[int, tuple[Case, ...]], answers: dict[int, list[Answer]], seed: int) -> Mark:
    """Judge the hidden cases for the score, and the public ones for what the learner reads.

    A judge that raises on what came, and not on our own right answer, has met something that is no answer: "wrong".
    One that raises on ours too is a fault of ours: "infrastructure", for a person, and no points are lost.
    """
    try:
        hidden = exercise.judge_answers(cases[seed], answers[seed], seed)
        public = exercise.judge_answers(cases[PUBLIC_SEED], answers[PUBLIC_SEED], PUBLIC_SEED)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        if not _judge_works(exercise, cases[seed], seed):
            return not_marked(exercise, f"the judge of {exercise.name} failed: {why}")
        text = f"✗ {exercise.name}: what came cannot be compared with an answer ({why})."
        return Mark(exercise.name, 0, exercise.points, "wrong", text, None, check_version(exercise))
    misconception = next((v.findings[0].misconception for v in (public, hidden) if v.findings), None)
    return Mark(
        exercise.name,
        exercise.points if hidden.passed else 0,
        exercise.points,
        "pass" if hidden.passed else _outcome(cases[seed], answers[seed], hidden),
        _feedback(exercise, hidden, public),
        misconception if not hidden.passed else None,
        check_version(exercise),
    )


def _judge_works(exercise: Exercise, cases: tuple[Case, ...], seed: int) -> bool:
    try:
        ours = ask_here(exercise.right_answers[0].candidate, exercise.probe, cases, exercise.limit_s)
        return exercise.judge_answers(cases, ours, seed).passed
    except Exception:
        return False


def not_marked(exercise: Exercise, why: str) -> Mark:
    """A mark that is still owed: the grader could not give one."""
    text = f"? {exercise.name}: not graded yet, through no fault of yours. Your instructor has been told."
    return Mark(exercise.name, 0, exercise.points, "infrastructure", text, None, why)


@cache
def check_version(exercise: Exercise) -> str:
    """A short hash of the file that declares an exercise: cases, judge, points. Changes when the check does."""
    try:
        text = inspect.getsource(inspect.getmodule(exercise.judge_case))  # type: ignore[arg-type]
    except (OSError, TypeError):
        return ""
    return sha256(text.encode()).hexdigest()[:12]


def lab_version(spec: LabSpec) -> str:
    """The lab's number, and a hash of its checks: results of another check are never taken for this one's."""
    checks = "".join(check_version(each) for each in spec.exercises)
    return f"{spec.version}-{sha256(checks.encode()).hexdigest()[:12]}"


def read_answers(data: bytes | None, num_cases: int) -> list[Answer]:
    """What a sandbox sent for one exercise; anything that is not there or not an answer is a failed case."""
    if data is None:
        return [Answer("not-reached", error="the run ended before this exercise was answered")] * num_cases
    try:
        answers = [_answer(each) for each in decode(data)[:num_cases]]
    except (NotPlainData, TypeError, ValueError) as error:
        answers = [Answer("not-data", error=f"the answers could not be read: {error}")] * num_cases
    missing = num_cases - len(answers)
    return answers + [Answer("not-reached", error="no answer for this case")] * missing


def _answer(fields: Any) -> Answer:
    """A strict reading: the fields of `Answer`, of their types, and an outcome that exists."""
    answer = Answer(**fields)
    texts = (answer.outcome, answer.error, answer.line, answer.printed)
    if not all(isinstance(text, str) for text in texts) or answer.outcome not in OUTCOMES:
        raise NotPlainData("a record that is not an answer")
    if type(answer.line_number) is not int or not isinstance(answer.changed, tuple | list):
        raise NotPlainData("a record that is not an answer")
    if not all(isinstance(name, str) for name in answer.changed):
        raise NotPlainData("a record that is not an answer")
    return answer


def _outcome(cases: Sequence[Case], answers: Sequence[Answer], verdict: Verdict) -> str:
    failed = {id(finding.case) for finding in verdict.findings}
    for case, answer in zip(cases, answers, strict=True):
        if id(case) in failed:
            if answer.outcome == "raised" and OUT_OF_MEMORY.search(answer.error):
                return "out of memory"
            return OUTCOMES[answer.outcome]
    return "wrong"


def _feedback(exercise: Exercise, hidden: Verdict, public: Verdict) -> str:
    """The green line, or findings on the cases of `lab.check`; of a hidden case its mistake's name alone."""
    if hidden.passed:
        return str(public) if public.passed else f"✓ {exercise.name}: right on all cases."
    if not public.passed:
        return str(public)
    known = next((each for each in exercise.wrong_answers if each.name == hidden.findings[0].misconception), None)
    likeness = f"\n  this behaves like *{known.name}*: {known.sentence}" if known else ""
    return (
        f"✗ {exercise.name}: right on the cases of lab.check, wrong on {len(hidden.findings)} of {hidden.num_cases}"
        f" others, which are drawn afresh.{likeness}\n  Try labkit.open_lab(…, seed=…) with seeds of your own."
    )


def versions() -> dict[str, str]:
    """What a result was obtained with."""
    return {"labkit": __version__, "python": platform.python_version(), "platform": platform.platform()}

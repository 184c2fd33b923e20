"""From answers to marks: judged here, where nothing of the learner's was ever imported."""

import inspect
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from labkit import __version__
from labkit.course.answers import NotPlainData, decode
from labkit.course.apart import Answer, Stopped, ask_here, stopped_after
from labkit.course.exercise import Case, Exercise, Verdict
from labkit.course.lab_spec import LabSpec
from labkit.course.release import released_lab
from labkit.grading.given import imported_modules, is_labkit

JUDGE_S = 60.0  # for one exercise's answers; ours take well under a second
PUBLIC_SEED = 0  # of `lab.check`, where the notebook has none of its own: its cases may be shown and replayed

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


@dataclass(frozen=True)
class Asked:
    """The cases of a seed, and what was answered to them."""

    seed: int
    cases: tuple[Case, ...]
    answers: list[Answer]

    def verdict(self, exercise: Exercise) -> Verdict:
        return exercise.judge_answers(self.cases, self.answers, self.seed)


def mark(exercise: Exercise, secret: Asked, shown: Asked) -> Mark:
    """Judge the hidden cases for the score, and those of `lab.check` for what the learner reads.

    A judge that raises on what came, or takes very long over it, and not on our own right answer, has met something
    that is no answer: "wrong". One that fails on ours too is a fault of ours: "infrastructure", for a person.
    """
    try:
        with stopped_after(JUDGE_S):
            hidden, public = secret.verdict(exercise), shown.verdict(exercise)
    except (Exception, Stopped) as error:
        if not _judge_works(exercise, secret.cases, secret.seed):
            return not_marked(exercise, f"the judge of {exercise.name} failed: {type(error).__name__}: {error}")
        text = f"✗ {exercise.name}: what came cannot be compared with an answer ({type(error).__name__})."
        return Mark(exercise.name, 0, exercise.points, "wrong", text, None, check_version(exercise))
    misconception = next((v.findings[0].misconception for v in (public, hidden) if v.findings), None)
    return Mark(
        exercise.name,
        exercise.points if hidden.passed else 0,
        exercise.points,
        "pass" if hidden.passed else _outcome(secret.cases, secret.answers, hidden),
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
    """A short hash of what decides an exercise: the text of its own module, and of all of labkit that this imports."""
    modules = [inspect.getmodule(part) for part in (exercise.cases, exercise.judge_case, exercise.probe)]
    return _short_hash(*_texts_behind({module.__name__ for module in modules if module}))


def lab_version(spec: LabSpec) -> str:
    """The lab's number, and a hash of its checks and of the cells that answers find around them.

    Results of another check are never taken for this one's.
    """
    given = [cell.source for cell in released_lab(spec).cells if cell.cell_type == "code"]
    return f"{spec.version}-{_short_hash(*(check_version(each) for each in spec.exercises), *given)}"


def _short_hash(*texts: str) -> str:
    return sha256("\0".join(texts).encode(errors="replace")).hexdigest()[:12]


def _texts_behind(modules: set[str]) -> list[str]:
    """The source of modules of ours and of all that they import of ours, by name: the same list on every machine."""
    found: dict[str, str] = {}
    todo = list(modules)
    while todo:
        name = todo.pop()
        if name not in found and is_labkit(name) and (text_and_imports := _module(name)):
            found[name], imports = text_and_imports
            todo.extend(imports)
    return [found[name] for name in sorted(found)]


@cache
def _module(name: str) -> tuple[str, frozenset[str]] | None:
    """The source of a module and what it imports; None where a name is no module, as `labkit.gemm.im2col` is none."""
    try:
        spec = find_spec(name)
    except ModuleNotFoundError:
        return None
    if spec is None or not spec.origin:
        return None
    text = Path(spec.origin).read_text(encoding="utf-8")
    return text, frozenset(imported_modules(text))


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
    texts = (answer.outcome, answer.error, answer.line, answer.printed, answer.method, answer.asked)
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
        f"✗ {exercise.name}: right on the cases of lab.check, wrong on others, which are drawn afresh.{likeness}\n"
        "  Try labkit.open_lab(…, seed=…) with seeds of your own."
    )


def versions() -> dict[str, str]:
    """What a result was obtained with."""
    return {"labkit": __version__, "python": platform.python_version(), "platform": platform.platform()}

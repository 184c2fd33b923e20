"""The kill matrix: every wrong answer and every right one of an exercise against its check, seed by seed.

Most cases of a check are the same on every seed. A candidate is asked each of them once, and its answer is judged on
every seed: what decides a verdict is the case and the answer, and never the seed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from labkit.course.answers import decode, digest, encode
from labkit.course.apart import Answer, ask, can_fork
from labkit.course.exercise import Case, Exercise

SEEDS = (0, 1, 2, 3, 4)
UNASKED = ("timeout", "killed", "not-reached")  # what ended a run, or came after that: says nothing of the next run
NEVER_ENDS_LIMIT_S = 1.0  # long enough to be told from a slow answer, short enough to be tried on every seed


@dataclass(frozen=True)
class Row:
    """One candidate of our own on every seed: the misconception that was named, or "" where it passed."""

    name: str
    is_wrong: bool
    named: tuple[str, ...]  # per seed: "" passed, "?" rejected without a name, else the name
    first_case: str  # the case that the first seed's finding shows

    @property
    def survived(self) -> bool:
        """A wrong answer that passed on some seed."""
        return self.is_wrong and "" in self.named

    @property
    def misnamed(self) -> bool:
        """A wrong answer that was rejected on some seed, but not by its own name."""
        return self.is_wrong and any(name not in ("", self.name) for name in self.named)

    @property
    def falsely_rejected(self) -> bool:
        """A right answer that failed on some seed."""
        return not self.is_wrong and any(self.named)


@dataclass(frozen=True)
class ExerciseMatrix:
    """All rows of one exercise."""

    lab: str
    name: str
    rows: tuple[Row, ...]

    def names(self, which: str) -> list[str]:
        """The rows for which `which` (survived, misnamed, falsely_rejected) holds."""
        return [row.name for row in self.rows if getattr(row, which)]

    def as_data(self) -> dict[str, Any]:
        """One entry of `labkit matrix --json`."""
        num_wrong = sum(row.is_wrong for row in self.rows)
        return {
            "lab": self.lab,
            "name": self.name,
            "wrong": num_wrong,
            "right": len(self.rows) - num_wrong,
            "survivors": self.names("survived"),
            "misnamed": self.names("misnamed"),
            "falsely_rejected": self.names("falsely_rejected"),
        }


def try_exercise(exercise: Exercise, seeds: Iterable[int] = SEEDS) -> ExerciseMatrix:
    """Judge every wrong and every right answer of an exercise on every seed."""
    rounds = [_Round.of(exercise, seed) for seed in seeds]
    rows = [
        _try(exercise, each.name, True, each.candidate, rounds, NEVER_ENDS_LIMIT_S if each.never_ends else None)
        for each in exercise.wrong_answers
    ]
    rows += [_try(exercise, each.name, False, each.candidate, rounds, None) for each in exercise.right_answers]
    return ExerciseMatrix(exercise.lab, exercise.name, tuple(rows))


@dataclass(frozen=True)
class _Round:
    """The cases of one seed, and for each of them what it is known by."""

    seed: int
    cases: Sequence[Case]
    keys: Sequence[tuple[str, bytes]]

    @classmethod
    def of(cls, exercise: Exercise, seed: int) -> "_Round":
        cases = exercise.make_cases(seed, exercise.tier)
        return cls(seed, cases, [(case.name, digest(case.args)) for case in cases])


def _try(
    exercise: Exercise, name: str, is_wrong: bool, candidate: Any, rounds: Sequence[_Round], limit_s: float | None
) -> Row:
    named, first_case = [], ""
    known: dict[tuple[str, bytes], Answer] = {}
    for each in rounds:
        new = [at for at, key in enumerate(each.keys) if key not in known]
        cases = [each.cases[at] if can_fork() else _copy(each.cases[at]) for at in new]
        asked = ask(candidate, exercise.probe, cases, limit_s or exercise.limit_s) if cases else []
        answers = dict(zip((each.keys[at] for at in new), asked, strict=True))
        known.update((key, answer) for key, answer in answers.items() if answer.outcome not in UNASKED)
        together = {**known, **answers}
        verdict = exercise.judge_answers(each.cases, [together[key] for key in each.keys], each.seed)
        named.append("" if verdict.passed else verdict.findings[0].misconception or "?")
        if not verdict.passed and not first_case:
            first_case = verdict.findings[0].case.name
    return Row(name, is_wrong, tuple(named), first_case)


def _copy(case: Case) -> Case:
    """A candidate that runs in this process may change what it is given."""
    return replace(case, args=decode(encode(case.args)))

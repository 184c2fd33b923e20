"""The kill matrix: every wrong answer and every right one of an exercise against its check, seed by seed."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from labkit.course.exercise import Exercise

SEEDS = (0, 1, 2, 3, 4)
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
    seeds = tuple(seeds)
    rows = [
        _try(exercise, each.name, True, each.candidate, seeds, NEVER_ENDS_LIMIT_S if each.never_ends else None)
        for each in exercise.wrong_answers
    ]
    rows += [_try(exercise, each.name, False, each.candidate, seeds, None) for each in exercise.right_answers]
    return ExerciseMatrix(exercise.lab, exercise.name, tuple(rows))


def _try(
    exercise: Exercise,
    name: str,
    is_wrong: bool,
    candidate: Any,
    seeds: tuple[int, ...],
    limit_s: float | None,
) -> Row:
    named, first_case = [], ""
    for seed in seeds:
        verdict = exercise.judge(candidate, seed=seed, tier=exercise.tier, limit_s=limit_s)
        named.append("" if verdict.passed else verdict.findings[0].misconception or "?")
        if not verdict.passed and not first_case:
            first_case = verdict.findings[0].case.name
    return Row(name, is_wrong, tuple(named), first_case)

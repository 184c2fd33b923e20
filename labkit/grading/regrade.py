"""Grading again when a check changed: who moves, and why."""

from collections.abc import Sequence
from dataclasses import dataclass

from labkit.grading.gradebook import to_csv
from labkit.grading.marking import Mark
from labkit.grading.result import Result


@dataclass(frozen=True)
class Move:
    """One exercise of one submission whose points are not what they were."""

    submission: str
    exercise: str
    before: int | None  # None: there was no result
    after: int
    why: str


def moves(before: Sequence[Result], after: Sequence[Result]) -> list[Move]:
    """Every exercise whose points differ, by submission; what could not be graded this time moves nobody."""
    old = {each.submission: each for each in before}
    found = []
    for new in after:
        earlier = old.get(new.submission)
        old_marks = {each.exercise: each for each in earlier.marks} if earlier else {}
        for mark in new.marks:
            was = old_marks.get(mark.exercise)
            if mark.outcome == "infrastructure" or (was is not None and _points(was) == mark.score):
                continue
            why = _why(was, mark, earlier, new)
            found.append(Move(new.submission, mark.exercise, _points(was) if was else None, mark.score, why))
    return found


def _points(mark: Mark) -> int | None:
    return None if mark.outcome == "infrastructure" else mark.score


def _why(was: Mark | None, now: Mark, before: Result | None, after: Result) -> str:
    """What changed between the two results: the file, the check, the lab, the versions, or none of them."""
    if was is None or before is None:
        return "had no result"
    causes = []
    if before.provenance.get("source_sha256") != after.provenance.get("source_sha256"):
        causes.append("the file is another one")
    if was.outcome == "infrastructure":
        causes.append("it could not be graded before")
    elif was.check != now.check:
        causes.append(f"the check changed ({was.check or '?'} to {now.check or '?'})")
    if was.max_score != now.max_score:
        causes.append(f"the exercise is worth {now.max_score} points, and was worth {was.max_score}")
    if before.provenance.get("seed") != after.provenance.get("seed"):
        causes.append("other hidden cases were drawn")
    if before.provenance.get("versions") != after.provenance.get("versions"):
        causes.append("other versions of labkit, Python or the system")
    cause = " and ".join(causes) or "nothing changed: the answer does not do the same every time, or is near a limit"
    return f"{_called(was)}, now {_called(now)}: {cause}"


def _called(mark: Mark) -> str:
    return f"{mark.outcome} (behaves like “{mark.misconception}”)" if mark.misconception else mark.outcome


def moves_csv(found: Sequence[Move]) -> str:
    """The moves as a table."""
    head = ["submission", "exercise", "points before", "points after", "why"]
    rows = [[each.submission, each.exercise, each.before if each.before is not None else "", each.after, each.why]
            for each in found]  # fmt: skip
    return to_csv([head, *rows])

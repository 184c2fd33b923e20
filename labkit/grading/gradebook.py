"""A class's results as one table: CSV that a spreadsheet opens, with nothing in it that it would execute."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from labkit.course.lab_spec import LabSpec
from labkit.grading.page import plain
from labkit.grading.result import Result

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def safe_cell(value: object) -> str:
    """Text for a cell of a spreadsheet: what would be a formula gets a quote before it.

    >>> safe_cell("=1+1"), safe_cell("ann"), safe_cell(-2)
    ("'=1+1", 'ann', '-2')
    """
    if isinstance(value, int | float):
        return str(value)
    cleaned = plain(value).replace("\n", " ")
    return f"'{cleaned}" if cleaned.lstrip().startswith(FORMULA) else cleaned


def gradebook(spec: LabSpec, results: Iterable[Result]) -> str:
    """One row per submission: score, outcome, then points and outcome of each exercise.

    A submission that the grader could not grade has empty cells for its points: no score stands, not even 0.
    """
    names = [each.name for each in spec.exercises]
    head = ["submission", "score", "max_score", "outcome", *names, *(f"{name}: outcome" for name in names), "note"]
    return to_csv([head, *(_row(spec, each) for each in results)])


def _row(spec: LabSpec, result: Result) -> list[Any]:
    marks = {each.exercise: each for each in result.marks}
    ordered = [marks.get(each.name) for each in spec.exercises]
    points = [each.score if each and each.outcome != "infrastructure" else "" for each in ordered]
    outcomes = [each.outcome if each else "" for each in ordered]
    score = result.score if result.is_graded else ""
    return [result.submission, score, result.max_score, result.outcome, *points, *outcomes, "; ".join(result.notes)]


def to_csv(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV, every text made safe."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([safe_cell(cell) for cell in row] for row in rows)
    return buffer.getvalue()

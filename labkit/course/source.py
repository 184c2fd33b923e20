"""One source per lab: a percent-format file, and what each of its cells is.

An author writes no metadata. A cell is an *answer* when an answer region stands in it and it defines an
exercise's name; a *guess* when a region stands in it and it does not; a *check* when it calls `lab.check(NAME`.
Everything else (points, grade ids, cell ids, tags for nbval) follows from that.
"""

import ast
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

from labkit.course.lab_spec import LabSpec
from labkit.course.leaning import defined_names

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
CHECK = re.compile(r"^lab\.check\((\w+)", re.MULTILINE)
STABLE = re.compile(r"^lab\.(check|card)\(", re.MULTILINE)  # calls whose output is the same on every machine
KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
BUILD_VERSION = 1  # goes up when the same source must give other notebooks


class SourceError(ValueError):
    """A lab's source that cannot become a notebook; names the file, the cell and what to do."""


@dataclass(frozen=True)
class Region:
    """An answer region: lines [start, end) of a cell, markers included, at an indentation."""

    start: int
    end: int
    indent: str


def read_source(spec: LabSpec, path: Path) -> NotebookNode:
    """The solution notebook of a lab, not yet executed: cell ids, nbgrader's metadata and tags in place.

    Raises:
        SourceError: a region is not closed, an exercise has no answer or no check, or has two.
    """
    text = path.read_text(encoding="utf-8")
    notebook = jupytext.reads(text, fmt="py:percent")
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNELSPEC, "labkit": _provenance(spec, text)})
    notebook.nbformat_minor = 5
    ids = _CellIds()
    seen: list[str] = []
    for cell in notebook.cells:
        name = _describe_cell(cell, spec, path)
        seen.extend([name] if name else [])
        cell["id"] = ids.next(cell, name)
        cell.metadata.pop("lines_to_next_cell", None)
    _check_complete(spec, seen, path)
    return notebook


def source_hash(spec: LabSpec, text: str) -> str:
    """What a lab's notebooks are made from: its source and its declaration."""
    declared = [
        (each.name, each.signature, each.goal, each.points, each.minutes, each.difficulty, each.num_lines, each.tier)
        for each in spec.exercises
    ]
    return sha256(repr((BUILD_VERSION, spec.name, spec.version, declared, text)).encode()).hexdigest()


def regions(source: str) -> list[Region]:
    """The answer regions of a cell, in order.

    Raises:
        SourceError: a region is opened twice, or not closed.
    """
    found: list[Region] = []
    start: int | None = None
    lines = source.splitlines()
    for number, line in enumerate(lines):
        if line.strip().startswith(BEGIN):
            if start is not None:
                raise SourceError(f"a second {BEGIN} before {END}: regions do not nest")
            start = number
        elif line.strip().startswith(END):
            if start is None:
                raise SourceError(f"{END} without {BEGIN}")
            indent = lines[start][: len(lines[start]) - len(lines[start].lstrip())]
            found.append(Region(start, number + 1, indent))
            start = None
    if start is not None:
        raise SourceError(f"{BEGIN} without {END}")
    return found


def exercise_of(source: str, spec: LabSpec) -> str | None:
    """The exercise that a cell answers: the one whose name it defines inside which a region stands."""
    names = defined_names(_without_regions_errors(source))
    return next((each.name for each in spec.exercises if each.name in names), None)


def _without_regions_errors(source: str) -> str:
    try:
        ast.parse(source)
    except SyntaxError as error:
        raise SourceError(f"not Python: {error}") from error
    return source


def _provenance(spec: LabSpec, text: str) -> dict[str, object]:
    return {"lab": spec.name, "version": spec.version, "source_sha256": source_hash(spec, text)}


def _describe_cell(cell: NotebookNode, spec: LabSpec, path: Path) -> str:
    """Write the cell's metadata; return its grade id, or "" for a cell that is neither answer, guess nor check."""
    if cell.cell_type != "code":
        return ""
    try:
        has_region = bool(regions(cell.source))
        exercise = exercise_of(cell.source, spec) if has_region else None
    except SourceError as error:
        raise SourceError(f"{path.name}, the cell that starts {cell.source[:50]!r}: {error}") from error
    if STABLE.search(cell.source):
        cell.metadata["tags"] = [*cell.metadata.get("tags", []), "nbval-check-output"]
    check = CHECK.search(cell.source)
    if exercise:
        return _grade(cell, f"answer-{exercise}", solution=True)
    if has_region:
        return _grade(cell, "guess-" + "-".join(sorted(defined_names(cell.source))), solution=True)
    if check:
        points = spec.exercise(check.group(1)).points
        return _grade(cell, f"check-{check.group(1)}", grade=True, points=points)
    return ""


def _grade(
    cell: NotebookNode, grade_id: str, grade: bool = False, solution: bool = False, points: int | None = None
) -> str:
    """nbgrader's metadata, schema 3; nothing of ours may stand there."""
    nbgrader: dict[str, object] = {
        "grade": grade,
        "grade_id": grade_id,
        "locked": grade,
        "schema_version": 3,
        "solution": solution,
        "task": False,
    }
    if points is not None:
        nbgrader["points"] = points
    cell.metadata["nbgrader"] = nbgrader
    return grade_id


def _check_complete(spec: LabSpec, seen: list[str], path: Path) -> None:
    for each in spec.exercises:
        for grade_id in (f"answer-{each.name}", f"check-{each.name}"):
            if seen.count(grade_id) != 1:
                raise SourceError(
                    f"{path.name}: expected one cell {grade_id}, found {seen.count(grade_id)}. An answer's cell defines"
                    f" {each.name} with {BEGIN} inside; its check's cell calls lab.check({each.name})."
                )
    twice = {grade_id for grade_id in seen if seen.count(grade_id) > 1}
    if twice:
        raise SourceError(f"{path.name}: more than one cell for {', '.join(sorted(twice))}")


class _CellIds:
    """Ids that stay when text elsewhere changes: the grade id, else the heading above and a count."""

    def __init__(self) -> None:
        self.section = "top"
        self.counts: dict[str, int] = {}

    def next(self, cell: NotebookNode, grade_id: str) -> str:
        if cell.cell_type == "markdown":
            heading = re.search(r"^#{1,6} +(.+)$", cell.source, re.MULTILINE)
            if heading:
                self.section = re.sub(r"[^a-z0-9]+", "-", heading.group(1).lower()).strip("-")[:40]
        stem = re.sub(r"[^A-Za-z0-9_-]", "-", grade_id)[:60] or f"{self.section}-{cell.cell_type[0]}"
        self.counts[stem] = self.counts.get(stem, 0) + 1
        return stem if grade_id else f"{stem}{self.counts[stem]}"

"""From a learner's file to the notebook that is run: rebuild, never sanitise.

Of a submission only the source text of its answer cells is taken, found by grade id. Every other cell, all
metadata, tags and outputs come from the released lab. So whatever else stands in the file has no effect.
"""

import ast
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from labkit.course.lab_spec import LabSpec
from labkit.course.leaning import defined_names
from labkit.course.release import released_lab

MAX_FILE_BYTES = 50 * 2**20
MAX_ANSWER_CHARS = 200_000
ANSWER = "answer-"


class Malformed(ValueError):
    """A submission that cannot be graded; the message says what was expected and what came."""


@dataclass(frozen=True)
class Submission:
    """What is taken of a learner's file: the source of each answer cell, by exercise."""

    name: str
    answers: dict[str, str]
    notes: tuple[str, ...] = ()  # what a person should know: a cell that was there twice, a missing one


def read_submission(path: Path, spec: LabSpec, name: str | None = None) -> Submission:
    """The answers of a notebook file.

    Raises:
        Malformed: too large, not JSON, not a notebook, or without any cell of this lab.
    """
    cells = _cells(path)
    found: dict[str, list[str]] = {}
    for cell in cells:
        grade_id = _grade_id(cell)
        if grade_id.startswith(ANSWER) and cell.get("cell_type", "code") == "code":
            found.setdefault(grade_id.removeprefix(ANSWER), []).append(_source(cell))
    answers: dict[str, str] = {}
    notes: list[str] = []
    for exercise in (each.name for each in spec.exercises):
        texts = found.get(exercise, [])
        if not texts:
            notes.append(f"{exercise}: its answer cell is missing")
        else:
            answers[exercise] = _one_of(exercise, texts, notes)
    if not answers:
        other = next((grade_id for grade_id in map(_grade_id, cells) if grade_id), None)
        came = f"cells of another notebook (such as {other!r})" if other else "no cell with a grade id"
        raise Malformed(f"expected the answer cells of {spec.name}, and found {came}: is it the right file?")
    return Submission(name or path.stem, answers, tuple(notes))


def _cells(path: Path) -> list[dict[str, Any]]:
    num_bytes = path.stat().st_size
    if num_bytes > MAX_FILE_BYTES:
        raise Malformed(f"expected at most {MAX_FILE_BYTES:,} bytes, and {num_bytes:,} came: clear the outputs")
    try:
        notebook = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise Malformed(f"expected a notebook (JSON in UTF-8): {type(error).__name__}: {error}") from error
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise Malformed("expected a notebook of format 4 with a list of cells; save it again from JupyterLab")
    return [cell for cell in cells if isinstance(cell, dict)]


def _grade_id(cell: dict[str, Any]) -> str:
    """nbgrader's id, else the cell id that the release gave (some tools drop metadata, some drop ids)."""
    metadata = cell.get("metadata")
    nbgrader = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    grade_id = nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None
    chosen = grade_id if grade_id is not None else cell.get("id", "")
    return chosen if isinstance(chosen, str) else ""


def _source(cell: dict[str, Any]) -> str:
    source = cell.get("source", "")
    if isinstance(source, list):
        source = "".join(part for part in source if isinstance(part, str))
    source = source if isinstance(source, str) else ""
    if len(source) > MAX_ANSWER_CHARS:
        raise Malformed(f"expected an answer of at most {MAX_ANSWER_CHARS:,} characters, and {len(source):,} came")
    return source


def _one_of(exercise: str, texts: list[str], notes: list[str]) -> str:
    """A cell that was copied: the last one that defines the exercise, as a notebook run from the top has it."""
    if len(texts) > 1:
        notes.append(f"{exercise}: its answer cell stands {len(texts)} times; the last definition is graded")
    defining = [text for text in texts if exercise in defined_names(text)]
    return (defining or texts)[-1]


# --- rebuilding -------------------------------------------------------------------------------------------


def rebuild(spec: LabSpec, submission: Submission, exercises: tuple[str, ...] | None = None) -> NotebookNode:
    """The notebook to run: the release's parameters and what the answers need of it, and the answers.

    Cells that only show or measure something are left out: they would cost most of the time and decide nothing.
    With `exercises`, only those answers and the answers that they lean on.
    """
    released = released_lab(spec)
    wanted = set(exercises if exercises is not None else submission.answers)
    cells = [_with_answer(cell, submission) for cell in released.cells if cell.cell_type == "code"]
    keep = _needed(cells, wanted)
    released.cells = [cell for cell, kept in zip(cells, keep, strict=True) if kept]
    return released


def _with_answer(cell: NotebookNode, submission: Submission) -> NotebookNode:
    exercise = _exercise_of(cell)
    if exercise:
        cell.source = submission.answers.get(exercise, "")
    return cell


def _exercise_of(cell: NotebookNode) -> str:
    grade_id = str(cell.metadata.get("nbgrader", {}).get("grade_id", ""))
    return grade_id.removeprefix(ANSWER) if grade_id.startswith(ANSWER) else ""


def _needed(cells: list[NotebookNode], exercises: set[str]) -> list[bool]:
    """Which cells define a name that the wanted answers use, directly or through another cell."""
    uses, defines = [used_names(cell.source) for cell in cells], [defined_names(cell.source) for cell in cells]
    keep = [_exercise_of(cell) in exercises or "parameters" in cell.metadata.get("tags", ()) for cell in cells]
    names = {name for used, kept in zip(uses, keep, strict=True) if kept for name in used}
    changed = True
    while changed:
        changed = False
        for index, cell in enumerate(cells):
            check = str(cell.metadata.get("nbgrader", {}).get("grade_id", "")).startswith("check-")
            if not keep[index] and not check and defines[index] & names:
                keep[index] = changed = True
                names |= uses[index]
    return keep


def used_names(source: str) -> set[str]:
    """Every name that a cell reads, at any depth (all of its words, where it is not Python)."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return set(source.split())
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}

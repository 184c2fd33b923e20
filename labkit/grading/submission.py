"""From a learner's file to the notebook that is run: rebuild, never sanitise.

Of a submission only the source text of its answer cells is taken, found by grade id. Every other cell, all
metadata, tags and outputs come from the released lab. So whatever else stands in the file has no effect.
"""

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from nbformat import NotebookNode

from labkit.course.lab_spec import LabSpec
from labkit.course.release import released_lab
from labkit.grading.no_notebook import why_no_notebook
from labkit.grading.outside import misplaced, names_outside
from labkit.grading.own_seed import own_seed
from labkit.grading.source_names import names_defined, parse, used_names

MAX_FILE_BYTES = 50 * 2**20
MAX_ANSWER_CHARS = 200_000
ANSWER = "answer-"


class Malformed(ValueError):
    """A submission that cannot be graded; the message says what was expected and what came."""


class NotAFile(Malformed, OSError):
    """A link, a pipe or a folder, where a notebook should be."""


@dataclass(frozen=True)
class Submission:
    """What is taken of a learner's file: the source of each answer cell, by exercise."""

    name: str
    answers: dict[str, str]
    notes: tuple[str, ...] = ()  # what a person should know: a cell that was there twice, a missing one
    outside: frozenset[str] = frozenset()  # names that cells of the learner's own define; those are not graded
    seed: int | None = None  # the notebook's own, of its shown cases, where it has one


def read_submission(path: Path, spec: LabSpec, name: str | None = None) -> Submission:
    """The answers of a notebook file.

    Raises:
        Malformed: too large, not JSON, not a notebook, or without any cell of this lab.
    """
    notebook = _notebook(path)
    cells = [cell for cell in notebook["cells"] if isinstance(cell, dict)]
    code = [cell for cell in cells if cell.get("cell_type", "code") == "code"]
    found: dict[str, list[str]] = {}
    for cell in code:
        if (grade_id := _grade_id(cell)).startswith(ANSWER):
            found.setdefault(grade_id.removeprefix(ANSWER), []).append(_source(cell))
    others = [_text(cell) for cell in code if not _grade_id(cell).startswith(ANSWER)]
    outside = names_outside(others, spec)
    answers: dict[str, str] = {}
    notes = _version_note(notebook, spec)
    for exercise in (each.name for each in spec.exercises):
        texts = found.get(exercise, [])
        if not texts:
            notes.append(f"{exercise}: its answer cell is missing")
        else:
            answers[exercise] = _one_of(exercise, texts, notes)
    if not answers and not _is_of(spec, cells):
        raise Malformed(_of_another(spec, cells, outside))
    notes += misplaced(answers, outside, spec)
    return Submission(name or path.stem, answers, tuple(notes), outside, own_seed(code))


def _is_of(spec: LabSpec, cells: list[dict[str, Any]]) -> bool:
    """Whether any cell has an id that this lab gave, answer cell or not."""
    released = released_lab(spec).cells
    ours = {str(cell.get("id", "")) for cell in released} | set(map(_grade_id, released))
    return not (ours - {""}).isdisjoint(each for cell in cells for each in (_grade_id(cell), cell.get("id")) if each)


def _of_another(spec: LabSpec, cells: list[dict[str, Any]], outside: frozenset[str]) -> str:
    """What is said of a notebook in which nothing is known by its id: stripped by an editor, or another one."""
    expected = f"expected the answer cells of {spec.name}, and found "
    remedy = f"copy each answer into its cell of a fresh {spec.name}.ipynb and hand that in"
    if there := [each.name for each in spec.exercises if each.name in outside]:
        answers = ", ".join(f"`{name}`" for name in there)
        return f"{expected}{answers} in cells that lost their grade ids, as some editors drop them: {remedy}"
    other = next((grade_id for grade_id in map(_grade_id, cells) if grade_id), None)
    came = f"cells of another notebook (such as {other!r})" if other else "no cell with a grade id"
    return f"{expected}{came}: is it the right file? If it is, {remedy}"


def _notebook(path: Path) -> dict[str, Any]:
    with open_regular(path) as file:
        num_bytes = os.fstat(file.fileno()).st_size
        if num_bytes > MAX_FILE_BYTES:
            raise Malformed(f"expected at most {MAX_FILE_BYTES:,} bytes, and {num_bytes:,} came: clear the outputs")
        data = file.read()
    try:
        notebook = json.loads(data.decode("utf-8-sig"))
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise Malformed(why_no_notebook(data, error)) from error
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise Malformed("expected a notebook of format 4 with a list of cells; save it again from JupyterLab")
    return notebook


def open_regular(path: Path) -> BinaryIO:
    """A file, opened to be read, and nothing that only looks like one: a link could point at anybody's file.

    Raises:
        NotAFile: a link, a pipe, a folder or something else.
        OSError: not there, or not for us to read.
    """
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # a pipe must not make us wait
    except OSError as error:
        if path.is_symlink():
            raise NotAFile("expected a file, and found a link") from error
        raise
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise NotAFile("expected a file, and found a folder, a pipe or something else")
    return os.fdopen(number, "rb")


def _version_note(notebook: dict[str, Any], spec: LabSpec) -> list[str]:
    metadata = notebook.get("metadata")
    ours = metadata.get("labkit") if isinstance(metadata, dict) else None
    version = ours.get("version") if isinstance(ours, dict) else None
    if isinstance(version, int) and version != spec.version:
        return [f"handed in for version {version} of the lab; graded as version {spec.version}"]
    return []


def _grade_id(cell: dict[str, Any]) -> str:
    """nbgrader's id, else the cell id that the release gave (some tools drop metadata, some drop ids)."""
    metadata = cell.get("metadata")
    nbgrader = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    grade_id = nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None
    chosen = grade_id if grade_id is not None else cell.get("id", "")
    return chosen if isinstance(chosen, str) else ""


def _source(cell: dict[str, Any]) -> str:
    source = _text(cell)
    if len(source) > MAX_ANSWER_CHARS:
        raise Malformed(f"expected an answer of at most {MAX_ANSWER_CHARS:,} characters, and {len(source):,} came")
    return source


def _text(cell: dict[str, Any]) -> str:
    source = cell.get("source", "")
    if isinstance(source, list):
        source = "".join(part for part in source if isinstance(part, str))
    source = source if isinstance(source, str) else ""
    return source.encode("utf-8", "replace").decode()  # half of a surrogate pair is not text


def _one_of(exercise: str, texts: list[str], notes: list[str]) -> str:
    """Of a cell that was copied, the last definition, as a notebook run from the top has it; of a split one, all."""
    if len(texts) == 1:
        return texts[0]
    defining = [text for text in texts if exercise in names_defined(text)]
    joined = "\n".join(texts)
    if len(defining) < 2 and parse(joined).body:
        notes.append(f"{exercise}: its answer cell was split into {len(texts)}; the parts are graded together")
        return joined
    notes.append(f"{exercise}: its answer cell stands {len(texts)} times; the last definition is graded")
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
    uses, defines = [used_names(cell.source) for cell in cells], [names_defined(cell.source) for cell in cells]
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

"""From a solution to its starter: regions become stubs, outputs go, nbgrader's release fields come."""

import copy
import hashlib

from nbformat import NotebookNode

from labkit.course.lab_spec import LabSpec
from labkit.course.leaning import defined_names
from labkit.course.source import Region, exercise_of, regions


def make_starter(solution: NotebookNode, spec: LabSpec) -> NotebookNode:
    """The released lab of a solution notebook, executed or not; the solution is left as it is."""
    starter = copy.deepcopy(solution)
    for cell in starter.cells:
        if cell.cell_type == "code":
            cell.source = stub_out(cell.source, spec)
            cell.outputs, cell.execution_count = [], None
        _release(cell)
    return starter


def stub_out(source: str, spec: LabSpec) -> str:
    """A cell's source with every answer region replaced by its stub."""
    found = regions(source)
    if not found:
        return source
    exercise = exercise_of(source, spec)
    lines = source.splitlines()
    for region in reversed(found):  # from the end, so that line numbers stay
        stub = _stub(region, lines, spec, exercise)
        lines[region.start : region.end] = [f"{region.indent}{line}" for line in stub]
    return "\n".join(lines)


def _stub(region: Region, lines: list[str], spec: LabSpec, exercise: str | None) -> list[str]:
    if exercise is None:
        names = sorted(defined_names("\n".join(lines[region.start : region.end])))
        return [f"{name} = None  # write your number here, before you run the next cell" for name in names]
    if not region.indent:
        return ["# imports and helper functions of yours may stand here, in this cell"]
    num_lines = spec.exercise(exercise).num_lines
    expected = "about 1 line" if num_lines == 1 else f"about {num_lines} lines"
    return [f'raise NotImplementedError("{exercise}: write this exercise, {expected}")']


def _release(cell: NotebookNode) -> None:
    """What nbgrader's release step adds: protection of the cell, its type and its checksum."""
    nbgrader = cell.metadata.get("nbgrader")
    if not nbgrader:
        return
    cell.metadata["deletable"] = False
    if nbgrader["locked"]:
        cell.metadata["editable"] = False
    nbgrader["cell_type"] = cell.cell_type
    nbgrader["checksum"] = checksum(cell)


def checksum(cell: NotebookNode) -> str:
    """nbgrader's MD5 of a cell: source, type, flags, grade id, and points where it is graded.

    Source: nbgrader/utils.py, `compute_checksum`. MD5 marks changes here; it protects nothing.
    """
    nbgrader = cell.metadata["nbgrader"]
    locked = False if nbgrader["solution"] else nbgrader["grade"] or nbgrader["locked"]
    parts = [cell.source, cell.cell_type, nbgrader["grade"], nbgrader["solution"], locked, nbgrader["grade_id"]]
    if nbgrader["grade"]:
        parts.append(float(nbgrader["points"]))
    return hashlib.md5("".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()

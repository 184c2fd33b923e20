"""What a submission defines outside of its answer cells: never graded, but people should know.

A helper or a whole answer in a cell of the learner's own works in their notebook, and is not there when the answer
cells are taken. Nothing of it is run here; its text is only read.
"""

import builtins
import re
from collections.abc import Iterable, Mapping

from labkit.course.lab_spec import LabSpec
from labkit.course.release import released_lab, released_names
from labkit.grading.source_names import names_defined, parse, used_names

MAX_CELL_CHARS, MAX_CHARS = 100_000, 1_000_000  # that are looked at


def names_outside(sources: Iterable[str], spec: LabSpec) -> frozenset[str]:
    """The names that code cells of the learner's own define; what the released lab holds as it is does not count."""
    released = {cell.source.strip() for cell in released_lab(spec).cells}
    found: set[str] = set()
    num_chars = 0
    for source in sources:
        num_chars += len(source)
        if num_chars > MAX_CHARS:
            break
        if len(source) <= MAX_CELL_CHARS and source.strip() not in released:
            found |= names_defined(source)
    return frozenset(found)


def misplaced(answers: Mapping[str, str], outside: frozenset[str], spec: LabSpec) -> list[str]:
    """Notes on exercises that are answered in a cell that is not graded, and not in their own."""
    stubs = {cell.source.strip() for cell in released_lab(spec).cells}
    return [
        f"`{each.name}` is defined in a cell that is not graded; only the answer cell is"
        for each in spec.exercises
        if each.name in outside and _is_open(each.name, answers.get(each.name, ""), stubs)
    ]


def _is_open(exercise: str, answer: str, stubs: set[str]) -> bool:
    """Whether the answer cell holds no answer: it is missing, still the stub, or defines something else."""
    if answer.strip() in stubs or "raise NotImplementedError" in answer:
        return True
    if answer.strip() and not parse(answer).body:  # not Python, or with a line of IPython's: nothing to tell from
        return not re.search(rf"\b{exercise}\b", answer)
    return exercise not in names_defined(answer)


def leans_outside(exercise: str, answers: Mapping[str, str], outside: frozenset[str], spec: LabSpec) -> list[str]:
    """The names that an answer uses and that only cells of the learner's own define."""
    answer = answers.get(exercise, "")
    if not outside or not parse(answer).body:
        return []
    graded = {name for source in answers.values() for name in names_defined(source)}
    known = graded | released_names(spec) | set(dir(builtins)) | {each.name for each in spec.exercises}
    return sorted((used_names(answer) & outside) - known)


def note_on(exercise: str, names: Iterable[str]) -> str:
    """What is said of an answer that leans on names that are not graded."""
    listed = ", ".join(f"`{name}`" for name in names)
    return f"`{exercise}` uses {listed}, defined in a cell that is not graded: put it into the answer cell"

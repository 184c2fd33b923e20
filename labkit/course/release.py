"""The released lab, made from its source: what a grader rebuilds from, and what a learner's answers may lean on.

Not read from `labs/`: that folder is for working in, so what stands there is somebody's own.
"""

import copy
from functools import cache

from nbformat import NotebookNode

from labkit.course.exercises import lab_spec
from labkit.course.lab_spec import LabSpec
from labkit.course.leaning import defined_names
from labkit.course.paths import source_path


def released_lab(spec: LabSpec) -> NotebookNode:
    """The starter as it is released; a copy of the caller's own."""
    return copy.deepcopy(_released(spec.name))


def released_names(spec: LabSpec) -> set[str]:
    """The names that the released lab's cells bind, its answer cells included; empty where there is no source."""
    if not source_path(spec.name).exists():
        return set()
    cells = _released(spec.name).cells
    return {name for cell in cells if cell.cell_type == "code" for name in defined_names(cell.source)}


@cache
def _released(lab: str) -> NotebookNode:
    from labkit.course.source import read_source
    from labkit.course.starter import make_starter

    spec = lab_spec(lab)
    return make_starter(read_source(spec, source_path(lab)), spec)

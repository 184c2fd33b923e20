"""Grading a class: labkit, isolated, against a papermill process for each submission and against nbgrader."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from labkit.course.exercises import lab_spec
from labkit.course.lab_spec import LabSpec
from labkit.course.paths import ROOT, solution_path
from labkit.grading import made_up
from labkit.grading.crew import Setting, Task, grade_all
from labkit.grading.isolation import choose
from labkit.grading.nbgrader import NbgraderCourse
from labkit.grading.store import Store

LAB = "01_gemm_im2col"
CORES = 2
SEED = 7


@dataclass(frozen=True)
class Row:
    """What one way of grading took."""

    name: str
    num_submissions: int
    elapsed_s: float
    isolation: str

    @property
    def per_minute(self) -> float:
        """Submissions."""
        return 60 * self.num_submissions / self.elapsed_s


def run(quick: bool = False) -> list[Table]:
    """One table: submissions per minute on two cores, the same submissions for everybody."""
    spec = lab_spec(LAB)
    count = 4 if quick else 12
    notes = []
    with tempfile.TemporaryDirectory(prefix="labkit-bench-") as folder:
        files = [made_up.write(Path(folder), f"s{n}", _answered(spec, n)) for n in range(count)]
        checks = [made_up.write(Path(folder), f"c{n}", _checks_only(_answered(spec, n))) for n in range(count)]
        rows = [
            Row("papermill, a process each, the whole notebook", count, _papermill(files), "none"),
            Row("papermill, a process each, answers and checks only", count, _papermill(checks), "none"),
            *_labkit(files * (2 if quick else 5), Path(folder)),
        ]
        if NbgraderCourse.is_there():
            took_s = _nbgrader(spec, Path(folder), 2 if quick else count)
            rows.append(Row("nbgrader autograde, one call, whole notebooks", 2 if quick else count, took_s, "none"))
        else:
            notes.append("nbgrader: not measured, there is no .venv-nbgrader; the test of nbgrader's interop makes it.")
    return [_table(rows, notes)]


def _answered(spec: LabSpec, number: int) -> dict[str, Any]:
    answers = made_up.solutions(spec)
    first = next(iter(answers))
    return made_up.submission(spec, {**answers, first: f"{answers[first]}\n# handed in by number {number}"})


def _checks_only(notebook: dict[str, Any]) -> dict[str, Any]:
    """The least that a grader with a kernel has to run: setup, answers, checks."""

    def needed(cell: dict[str, Any]) -> bool:
        source = "".join(cell["source"])
        tags = cell["metadata"].get("tags", [])
        grade_id = cell["metadata"].get("nbgrader", {}).get("grade_id", "")
        is_setup = "parameters" in tags or "labkit.open_lab" in source or source.startswith("import numpy")
        return cell["cell_type"] == "code" and (is_setup or grade_id.startswith(("answer-", "check-")))

    return {**notebook, "cells": [cell for cell in notebook["cells"] if needed(cell)]}


# --- the ways ---------------------------------------------------------------------------------------------


def _papermill(files: Sequence[Path]) -> float:
    def one(path: Path) -> None:
        arguments = ["-m", "papermill", "--no-progress-bar", "-p", "QUICK", "True", str(path), f"{path}.out.ipynb"]
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True, cwd=ROOT)

    with ThreadPoolExecutor(CORES) as pool:
        return _seconds(lambda: list(pool.map(one, files)))


def _labkit(files: Sequence[Path], folder: Path) -> list[Row]:
    """The class from start to end, and what each further submission costs once the interpreters are warm."""
    wall = choose()
    store = Store(folder / "grades")
    store.prepare(len(files))
    tasks = [Task(f"{path.stem}-{number}", path) for number, path in enumerate(files)]
    start = time.perf_counter()
    came: list[float] = []
    for task, result in grade_all(Setting(LAB, SEED, wall.name), tasks, CORES):
        if result.outcome != "pass":
            raise RuntimeError(f"{task.name}: {result.outcome}, {result.notes}")
        store.put(task.name, result)
        came.append(time.perf_counter() - start)
    later = len(came) - CORES  # the first of each worker waited for its imports
    return [
        Row(f"labkit grade, a class of {len(files)}, start included", len(files), came[-1], wall.label),
        Row("labkit grade, each further submission", later, came[-1] - came[CORES - 1], wall.label),
    ]


def _nbgrader(spec: LabSpec, folder: Path, count: int) -> float:
    """One `nbgrader autograde` over the same submissions; its kernel is this Python, so that labkit is there."""
    course = NbgraderCourse(folder / "course")
    course.release(LAB, solution_path(LAB))
    for number in range(count):
        course.submit(LAB, f"s{number}", _answered(spec, number))
    return _seconds(lambda: course.autograde(LAB))


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _table(rows: Sequence[Row], notes: Sequence[str]) -> Table:
    base = rows[1].per_minute
    caption = "Ratios are to papermill on answers and checks only, the least that a grader with a kernel has to run."
    table = Table(title=f"Grading {LAB} on {CORES} cores", caption=" ".join([caption, *notes]))
    for name in ("way", "isolation", "submissions", "seconds", "per minute", "ratio"):
        table.add_column(name, justify="left" if name in ("way", "isolation") else "right")
    for row in rows:
        table.add_row(
            row.name,
            row.isolation,
            str(row.num_submissions),
            f"{row.elapsed_s:.2f}",
            f"{row.per_minute:.1f}",
            f"{row.per_minute / base:.2f}",
        )
    return table

"""Grading a class: labkit, isolated, against a papermill process for each submission and against nbgrader."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from labkit.course.exercises import lab_spec
from labkit.course.lab_spec import LabSpec
from labkit.course.paths import ROOT, solution_path
from labkit.grading import made_up, tree
from labkit.grading.crew import Setting, Task, grade_all
from labkit.grading.isolation import choose
from labkit.grading.nbgrader import NbgraderCourse
from labkit.grading.store import Store

LAB = "01_gemm_im2col"
CORES = 2
SEED = 7


@dataclass(frozen=True)
class Row:
    """What one way of grading took, in one round."""

    name: str
    num_submissions: int
    elapsed_s: float
    cpu_s: float  # all processes together
    isolation: str = "none"

    @property
    def per_minute(self) -> float:
        """Submissions."""
        return 60 * self.num_submissions / self.elapsed_s

    @property
    def cpu_s_each(self) -> float:
        """CPU seconds of one submission."""
        return self.cpu_s / self.num_submissions


def run(quick: bool = False) -> list[Table]:
    """One table: the same submissions for everybody, on two cores; medians of rounds in which each way had its turn."""
    spec = lab_spec(LAB)
    count, num_rounds = (2, 1) if quick else (4, 3)
    note = "nbgrader: not measured, there is no .venv-nbgrader; the test of nbgrader's interop makes it."
    with tempfile.TemporaryDirectory(prefix="labkit-bench-") as folder:
        files = [made_up.write(Path(folder), f"s{n}", _answered(spec, n)) for n in range(count)]
        checks = [made_up.write(Path(folder), f"c{n}", _checks_only(_answered(spec, n))) for n in range(count)]
        rounds = [_round(files, checks, Path(folder) / str(number)) for number in range(num_rounds)]
        if NbgraderCourse.is_there():
            rounds[0].append(_nbgrader(spec, Path(folder), count))
            note = "nbgrader had one turn."
    return [_table(rounds, note)]


def _round(files: Sequence[Path], checks: Sequence[Path], folder: Path) -> list[Row]:
    return [
        _papermill("papermill, a process each, the whole notebook", files),
        _papermill("papermill, a process each, answers and checks only", checks),
        *_labkit(list(files) * 4, folder),
    ]


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


def _papermill(name: str, files: Sequence[Path]) -> Row:
    def one(path: Path) -> None:
        arguments = ["-m", "papermill", "--no-progress-bar", "-p", "QUICK", "True", str(path), f"{path}.out.ipynb"]
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True, cwd=ROOT)

    with ThreadPoolExecutor(CORES) as pool:
        return _measured(name, len(files), lambda: list(pool.map(one, files)))


def _labkit(files: Sequence[Path], folder: Path) -> list[Row]:
    """The class from start to end, and what each further submission costs once the interpreters are warm."""
    wall = choose()
    store = Store(folder / "grades")
    store.prepare(len(files))
    tasks = [Task(f"{path.stem}-{number}", path) for number, path in enumerate(files)]
    start = time.perf_counter(), _cpu_s()
    came: list[tuple[float, float]] = []  # (seconds, CPU seconds) at each result
    for task, result in grade_all(Setting(LAB, SEED, wall.name), tasks, CORES):
        if result.outcome != "pass":
            raise RuntimeError(f"{task.name}: {result.outcome}, {result.notes}")
        store.put(task.name, result)
        came.append((time.perf_counter() - start[0], _cpu_s() - start[1]))
    warm = came[CORES - 1]  # the first of each worker waited for its imports
    further = [end - begin for begin, end in zip(warm, came[-1], strict=True)]
    return [
        Row(f"labkit grade, a class of {len(files)}, start included", len(files), *came[-1], wall.label),
        Row("labkit grade, each further submission", len(files) - CORES, further[0], further[1], wall.label),
    ]


def _nbgrader(spec: LabSpec, folder: Path, count: int) -> Row:
    """One `nbgrader autograde` over the same submissions; its kernel is this Python, so that labkit is there."""
    course = NbgraderCourse(folder / "course")
    course.release(LAB, solution_path(LAB))
    for number in range(count):
        course.submit(LAB, f"s{number}", _answered(spec, number))
    name = "nbgrader autograde, one call, whole notebooks"
    return _measured(name, count, lambda: course.autograde(LAB))


def _measured(name: str, count: int, call: Callable[[], object]) -> Row:
    start, before = time.perf_counter(), _cpu_s()
    call()
    return Row(name, count, time.perf_counter() - start, _cpu_s() - before)


def _cpu_s() -> float:
    """CPU seconds of this process, of its children that ended, and of everything below it that runs."""
    times = os.times()
    ours = times.user + times.system + times.children_user + times.children_system
    return ours + tree.usage(os.getpid(), 2**62).cpu_s


def _table(rounds: Sequence[Sequence[Row]], note: str) -> Table:
    caption = (
        f"Medians of {len(rounds)} rounds. “× whole” is submissions per minute against papermill on the whole notebook;"
        " “× checks” against papermill on answers and checks only, the least that a grader with a kernel has to run;"
        f" both within a round. {note}"
    )
    table = Table(title=f"Grading {LAB} on {CORES} cores", caption=caption)
    for name in ("way", "isolation", "submissions", "seconds", "per minute", "CPU s each", "× whole", "× checks"):
        table.add_column(name, justify="left" if name in ("way", "isolation") else "right")
    for index, row in enumerate(rounds[0]):
        turns = [(each[index], each) for each in rounds if index < len(each)]
        table.add_row(
            row.name,
            row.isolation,
            str(row.num_submissions),
            f"{median(one.elapsed_s for one, _ in turns):.2f}",
            f"{median(one.per_minute for one, _ in turns):.1f}",
            f"{median(one.cpu_s_each for one, _ in turns):.2f}",
            *(f"{median(one.per_minute / each[base].per_minute for one, each in turns):.2f}" for base in (0, 1)),
        )
    return table

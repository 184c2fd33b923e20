"""labkit's labs in nbgrader as they are: its student version has our student cells, its autograde takes our answers."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from labkit.course.exercises import PACKAGES, lab_spec
from labkit.course.paths import ROOT, solution_path, source_path
from labkit.course.release import released_lab
from labkit.grading.nbgrader import HOME, NbgraderCourse

NBGRADER = "nbgrader==0.9.6"
STUB = re.compile(
    r"^\s*(# YOUR CODE HERE|raise NotImplementedError\(.*\)|# imports and helper functions of yours.*"
    r"|\w+ = None  # write your number here.*)$"
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> NbgraderCourse:
    """A course with an nbgrader in an environment of its own, made once and kept."""
    with FileLock(f"{HOME}.lock"):
        if not NbgraderCourse.is_there():
            install()
    return NbgraderCourse(tmp_path_factory.mktemp("course"))


def install() -> None:
    subprocess.run([sys.executable, "-m", "venv", str(HOME)], check=True, capture_output=True)
    command = [str(HOME / "bin" / "python"), "-m", "pip", "install", "--quiet", NBGRADER]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=280)
    except subprocess.TimeoutExpired:
        pytest.skip("nbgrader could not be installed within 280 s")
    if run.returncode:
        pytest.skip(f"nbgrader could not be installed here: {run.stderr.strip().splitlines()[-1]}")


def student_cells(notebook: dict[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    """grade_id -> (source outside of the stubs, nbgrader's metadata without the checksum)."""
    found = {}
    for cell in notebook["cells"]:
        metadata = dict(cell["metadata"].get("nbgrader", {}))
        if metadata:
            lines = [line for line in "".join(cell["source"]).splitlines() if not STUB.match(line)]
            metadata.pop("checksum", None)
            if "points" in metadata:
                metadata["points"] = float(metadata["points"])
            found[metadata.pop("grade_id")] = ("\n".join(lines), metadata)
    return found


LABS = [lab for lab in PACKAGES if solution_path(lab).exists() and source_path(lab).exists()]


@pytest.mark.parametrize("lab", LABS)
def test_nbgraders_student_version_has_our_student_cells(lab: str, course: NbgraderCourse) -> None:
    theirs = student_cells(course.release(lab, solution_path(lab)))
    ours = student_cells(json.loads(json.dumps(released_lab(lab_spec(lab)))))
    assert len(ours) >= 2 * len(lab_spec(lab).exercises)  # an answer and a check each
    assert theirs == ours


def test_nbgraders_autograde_takes_our_solution_and_not_the_starter(course: NbgraderCourse) -> None:
    lab = "00_start_here"
    course.release(lab, solution_path(lab))
    course.submit(lab, "ann", json.loads(solution_path(lab).read_text()))
    course.submit(lab, "bob", json.loads(json.dumps(released_lab(lab_spec(lab)))))
    points = float(lab_spec(lab).points)
    assert course.autograde(lab) == {"ann": (points, points), "bob": (0.0, points)}


def test_labkit_never_imports_nbgrader() -> None:
    sources = list(Path(ROOT / "labkit").rglob("*.py"))
    assert not [path for path in sources if re.search(r"^\s*(import|from) nbgrader\b", path.read_text(), re.MULTILINE)]

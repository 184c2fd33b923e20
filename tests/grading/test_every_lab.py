"""Our own solution of every lab gets full marks behind the wall.

A sandbox that hides what a probe needs, or stops an export that takes its time, takes points from right answers; only
grading each lab shows it. Labs 02 and 04 once lost points so.
"""

from pathlib import Path

import pytest

from labkit.course.exercises import all_labs
from labkit.course.lab_spec import LabSpec
from labkit.grading import made_up
from labkit.grading.grade import Grader
from labkit.grading.isolation import NoIsolation, choose
from labkit.grading.limits import Limits
from labkit.grading.sandbox import Sandbox

IN_TEST_GRADE = ("00_start_here", "01_gemm_im2col")
LABS = [spec for spec in all_labs() if spec.name not in IN_TEST_GRADE]


def test_there_are_labs() -> None:
    assert len(LABS) >= 7


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("spec", LABS, ids=lambda spec: spec.name)
def test_the_solution_gets_full_marks(spec: LabSpec, tmp_path: Path) -> None:
    try:
        wall = choose()
    except NoIsolation as error:
        pytest.skip(str(error))
    with Sandbox(spec.name, wall, Limits()) as sandbox:
        submission = made_up.submission(spec, made_up.solutions(spec))
        result = Grader(spec, 7, sandbox).grade(made_up.write(tmp_path, "ours", submission))
    assert (result.score, result.outcome) == (spec.points, "pass"), result.marks

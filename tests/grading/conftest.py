"""Submissions for the tests of grading, and one warm grader per lab for all of them."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from labkit.course.exercises import lab_spec
from labkit.course.lab_spec import LabSpec
from labkit.grading import made_up
from labkit.grading.grade import Grader
from labkit.grading.isolation import NoIsolation, choose
from labkit.grading.limits import MIB, Limits
from labkit.grading.result import Result
from labkit.grading.sandbox import Sandbox

SEED = 7
TEST_LIMITS = Limits(wall_s=30.0, exercise_s=3.0, memory_bytes=1500 * MIB, num_processes=48)


def graders(lab: str) -> Iterator[Grader]:
    """A grader behind the strongest wall here; a test that needs one is skipped where there is none."""
    try:
        wall = choose()
    except NoIsolation as error:
        pytest.skip(str(error))
    with Sandbox(lab, wall, TEST_LIMITS) as sandbox:
        yield Grader(lab_spec(lab), SEED, sandbox)


@pytest.fixture(scope="session")
def start() -> LabSpec:
    return lab_spec("00_start_here")


@pytest.fixture(scope="session")
def gemm() -> LabSpec:
    return lab_spec("01_gemm_im2col")


@pytest.fixture(scope="session")
def start_grader() -> Iterator[Grader]:
    yield from graders("00_start_here")


@pytest.fixture(scope="session")
def gemm_grader() -> Iterator[Grader]:
    yield from graders("01_gemm_im2col")


@pytest.fixture
def grade_median(start_grader: Grader, tmp_path: Path) -> Callable[[str], Result]:
    """Grade one answer to the exercise `median` of lab 00."""

    def grade(source: str) -> Result:
        notebook = made_up.submission(start_grader.spec, {"median": source})
        return start_grader.grade(made_up.write(tmp_path, "somebody", notebook))

    return grade


@pytest.fixture
def grade_gemm(gemm_grader: Grader, tmp_path: Path) -> Callable[[Mapping[str, str]], Result]:
    """Grade our answers to lab 01, but for those given."""

    def grade(different: Mapping[str, str]) -> Result:
        answers = {**made_up.solutions(gemm_grader.spec), **different}
        return gemm_grader.grade(made_up.write(tmp_path, "somebody", made_up.submission(gemm_grader.spec, answers)))

    return grade

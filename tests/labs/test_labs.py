"""The labs themselves: built from their sources, solutions verified headlessly, starters failing at their first gap.

Guards against passing on nothing: each verification says how much it ran and compared, and none of it may be zero.
"""

from collections.abc import Callable

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from labkit.course.build import build_readme, stale_files
from labkit.course.execute import execute
from labkit.course.exercises import all_labs
from labkit.course.lab_spec import LabSpec
from labkit.course.paths import ROOT, solution_path, starter_path
from labkit.course.rules import check_solution, check_starter
from labkit.course.verify import PARAMETER_SETS, run_nbval, run_papermill

LABS = pytest.mark.parametrize("spec", all_labs(), ids=lambda spec: spec.name)


@LABS
def test_what_is_committed_is_what_the_source_gives(spec: LabSpec) -> None:
    assert list(map(str, stale_files(spec))) == []


def test_the_readmes_table_and_picture_are_those_of_the_labs() -> None:
    assert list(map(str, build_readme(check=True))) == []


@LABS
def test_committed_notebooks_obey_the_rules(spec: LabSpec) -> None:
    solution = nbformat.read(solution_path(spec.name), as_version=4)
    starter = nbformat.read(starter_path(spec.name), as_version=4)
    assert list(map(str, check_solution(solution))) == []
    assert list(map(str, check_starter(starter, solution))) == []


@LABS
def test_a_lab_is_short_enough_to_be_read(spec: LabSpec) -> None:
    notebook = nbformat.read(starter_path(spec.name), as_version=4)
    words = sum(len(cell.source.split()) for cell in notebook.cells if cell.cell_type == "markdown")
    assert 100 < words <= 2_600


@pytest.mark.notebook
@pytest.mark.timeout(900)
@LABS
def test_papermill_runs_the_solution_with_another_seed(spec: LabSpec) -> None:
    assert run_papermill(spec, PARAMETER_SETS[-1]) > 5  # `labkit verify` takes the other sets too


@pytest.mark.notebook
@pytest.mark.timeout(900)
@LABS
def test_nbval_finds_the_stable_outputs_again(spec: LabSpec, record_property: Callable[[str, object], None]) -> None:
    # A card and a check for each exercise, at least.
    assert run_nbval(spec) >= 2 * len(spec.exercises)
    record_property("tried: labs", 1)


@pytest.mark.notebook
@LABS
def test_the_starter_fails_at_its_first_gap_and_names_it(spec: LabSpec) -> None:
    starter = nbformat.read(starter_path(spec.name), as_version=4)
    with pytest.raises(CellExecutionError) as failed:
        execute(starter)
    first = spec.exercises[0].name
    assert failed.value.ename == "CheckFailed"
    assert f"{first}: not written yet" in failed.value.evalue
    assert f"lab.hint('{first}')" in failed.value.evalue


def test_every_source_has_its_declaration() -> None:
    """A lab that nobody registered would never be built, tested or graded."""
    assert sorted(path.stem for path in (ROOT / "solutions").glob("*.py")) == [spec.name for spec in all_labs()]
    assert sorted(path.stem for path in (ROOT / "labs").glob("*.ipynb")) == [spec.name for spec in all_labs()]

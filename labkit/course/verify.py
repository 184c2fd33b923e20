"""Verifying a solution headlessly: papermill on two parameter sets, nbval on stable outputs, rules on the result.

Neither runner is trusted alone. papermill calls a notebook that left early a success, nbval never sees some
failures and waits for ever on a dead kernel (labkit/course/rules.py lists the incidents), so each looks at the
run, a clock stands outside both, and the rules look at what came out.
"""

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import nbformat

from labkit.course.lab_spec import LabSpec
from labkit.course.paths import solution_path
from labkit.course.rules import check_executed

# nbval runs the notebook as it is committed, with its defaults in full; papermill tries other seeds, quickly.
PARAMETER_SETS: tuple[dict[str, object], ...] = ({"SEED": 1, "QUICK": True}, {"SEED": 2, "QUICK": True})
CELL_LIMIT_S = 300
NOTEBOOK_LIMIT_S = 900


class VerificationFailed(Exception):
    """A solution that does not run, or gives something else than it says."""


@dataclass(frozen=True)
class Verified:
    """What was tried on one solution: nothing here may be zero."""

    lab: str
    num_runs: int
    num_cells_run: int
    num_cells_compared: int

    def __str__(self) -> str:
        return (
            f"{self.lab}: {self.num_runs} papermill runs, {self.num_cells_run} code cells each,"
            f" {self.num_cells_compared} cells compared by nbval"
        )


def verify_lab(spec: LabSpec) -> Verified:
    """Run and compare the committed solution of a lab.

    Raises:
        VerificationFailed: the message is the runner's own.
    """
    counts = [run_papermill(spec, parameters) for parameters in PARAMETER_SETS]
    return Verified(spec.name, len(counts), min(counts), run_nbval(spec))


def run_papermill(spec: LabSpec, parameters: dict[str, object]) -> int:
    """Execute the solution with parameters; returns the number of code cells that ran."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    with tempfile.TemporaryDirectory(prefix="labkit-") as folder:
        output = Path(folder) / "executed.ipynb"
        try:
            papermill.execute_notebook(
                str(solution_path(spec.name)),
                str(output),
                parameters=parameters,
                cwd=folder,
                progress_bar=False,
                execution_timeout=CELL_LIMIT_S,
                log_output=False,
            )
        except PapermillExecutionError as error:
            raise VerificationFailed(f"{spec.name} with {parameters}: {error}") from error
        executed = nbformat.read(output, as_version=4)
    violations = check_executed(executed)
    if violations:
        raise VerificationFailed(f"{spec.name} with {parameters}:\n" + "\n".join(map(str, violations)))
    return sum(cell.cell_type == "code" for cell in executed.cells)


def run_nbval(spec: LabSpec) -> int:
    """Compare the stable outputs with a new run; returns how many cells were compared."""
    notebook = nbformat.read(solution_path(spec.name), as_version=4)
    compared = [cell for cell in notebook.cells if "nbval-check-output" in cell.metadata.get("tags", ())]
    if not compared:
        raise VerificationFailed(f"{spec.name}: no cell is compared; tag stable ones nbval-check-output")
    command = [sys.executable, "-m", "pytest", "--nbval-lax", f"--nbval-cell-timeout={CELL_LIMIT_S}", "-q"]
    command += ["-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir", "/", "-c", "/dev/null"]
    with tempfile.TemporaryDirectory(prefix="labkit-") as folder:
        copy = Path(folder) / solution_path(spec.name).name
        copy.write_bytes(solution_path(spec.name).read_bytes())
        try:
            done = subprocess.run(
                [*command, str(copy)], cwd=folder, capture_output=True, text=True, timeout=NOTEBOOK_LIMIT_S
            )
        except subprocess.TimeoutExpired as error:
            raise VerificationFailed(f"{spec.name}: nbval did not end within {NOTEBOOK_LIMIT_S} s") from error
    passed = re.search(r"(\d+) passed", done.stdout)
    if done.returncode or not passed or re.search(r"xfailed|failed", done.stdout):
        raise VerificationFailed(f"{spec.name}: nbval failed\n{done.stdout[-4000:]}{done.stderr[-1000:]}")
    return len(compared)

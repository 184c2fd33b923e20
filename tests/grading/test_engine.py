"""papermill's engine `labkit`: the same interface, without a kernel."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from papermill.exceptions import PapermillExecutionError

from labkit.grading.engine import CellTimeout, _new_shell, _run_cell


def execute(folder: Path, *sources: str, **options: Any) -> nbformat.NotebookNode:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "in.ipynb")
    settings = {"engine_name": "labkit", "kernel_name": "python3", "language": "python", "progress_bar": False}
    return papermill.execute_notebook(str(folder / "in.ipynb"), str(folder / "out.ipynb"), **settings | options)


def outputs(notebook: nbformat.NotebookNode, index: int) -> list[str]:
    return [output.output_type for output in notebook.cells[index].outputs]


def test_parameters_arrive(tmp_path: Path) -> None:
    executed = execute(tmp_path, "SEED = 0", "print(SEED)", parameters={"SEED": 7})
    assert executed.cells[-1].outputs[0].text == "7\n"


def test_text_values_and_pictures_are_kept(tmp_path: Path) -> None:
    show = "from IPython.display import display, HTML\nprint('a')\ndisplay(HTML('<b>b</b>'))\n3"
    executed = execute(tmp_path, "x = 1", show)
    assert set(outputs(executed, 1)) == {"stream", "display_data"}
    assert executed.cells[1].execution_count == 2


def test_stops_at_the_first_error_and_keeps_what_was_run(tmp_path: Path) -> None:
    with pytest.raises(PapermillExecutionError, match="ZeroDivisionError"):
        execute(tmp_path, "x = 1", "1 / 0", "print('later')")
    written = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    assert "later" not in str([cell.get("outputs") for cell in written.cells])


def test_goes_on_after_an_error_when_asked(tmp_path: Path) -> None:
    namespace: dict[str, Any] = {}
    with pytest.raises(PapermillExecutionError):
        execute(tmp_path, "x = 1", "1 / 0", "y = x + 1", keep_going=True, user_namespace=namespace)
    assert namespace["y"] == 2


def test_system_exit_in_a_cell_is_an_error_not_a_success(tmp_path: Path) -> None:
    namespace: dict[str, Any] = {}
    executed = execute(tmp_path, "x = 1", "import sys; sys.exit(0)", "y = 2", keep_going=True, user_namespace=namespace)
    assert "error" in outputs(executed, 1)
    assert namespace["y"] == 2


@pytest.mark.parametrize(
    "loop", ["while True: pass", "while True:\n    try:\n        while True: pass\n    except Exception: pass"]
)
def test_a_cell_that_never_ends_is_stopped(tmp_path: Path, loop: str) -> None:
    with pytest.raises(PapermillExecutionError, match="CellTimeout"):
        execute(tmp_path, "x = 1", loop, execution_timeout=0.3)


def test_without_a_shell_its_lines_say_that_they_do_nothing(tmp_path: Path) -> None:
    namespace: dict[str, Any] = {}
    made = tmp_path / "made"
    lines = f"!touch {made}\nfound = !ls /\n%pip install numpy\nx = 1"
    executed = execute(tmp_path, "SEED = 0", lines, with_shell=False, user_namespace=namespace)
    assert f"not run, as there is no shell and no network here: touch {made}" in executed.cells[1].outputs[-1].text
    assert (namespace["found"], namespace["x"]) == ([], 1)
    assert not made.exists()
    execute(tmp_path, "SEED = 0", f"!touch {made}")  # papermill's user has one
    assert made.exists()


def test_the_clock_does_not_strike_again_while_ipython_writes_up_the_first_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = []

    def slow(*arguments: Any) -> None:
        time.sleep(1.5)  # as on a busy machine; the clock strikes every second
        finished.append(True)

    shell = _new_shell({})
    monkeypatch.setattr(shell, "_showtraceback", slow)
    cell = nbformat.v4.new_code_cell("while True: pass")
    assert _run_cell(shell, cell, 0.2)
    assert cell.outputs[-1].ename == "CellTimeout"
    assert finished == [True]


@pytest.mark.parametrize("place", ["run_cell", "showtraceback"])
def test_a_timeout_while_ipython_is_busy_ends_the_cell_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """The clock strikes again every second: perhaps while IPython handles the first one, or waits for a program."""

    def busy(*arguments: Any, **options: Any) -> None:
        raise CellTimeout("again")

    namespace: dict[str, Any] = {}
    shell = _new_shell(namespace)
    monkeypatch.setattr(shell, place, busy)
    cell = nbformat.v4.new_code_cell("1 / 0")
    assert _run_cell(shell, cell, 5.0)
    assert cell.outputs[-1].ename == "CellTimeout"


@pytest.mark.slow
def test_papermills_own_command_runs_a_solution_with_another_seed(tmp_path: Path) -> None:
    from labkit.course.paths import ROOT, solution_path

    out = tmp_path / "out.ipynb"
    subprocess.run(
        [sys.executable, "-m", "papermill", "--engine", "labkit", "--no-progress-bar", "-p", "SEED", "7", "-p", "QUICK",
         "True", str(solution_path("00_start_here")), str(out)],
        check=True, cwd=ROOT, capture_output=True, timeout=120,
    )  # fmt: skip
    executed = nbformat.read(out, as_version=4)
    printed = "".join(output.get("text", "") for cell in executed.cells for output in cell.get("outputs", []))
    assert "(seed 7)" in printed
    assert not [
        output for cell in executed.cells for output in cell.get("outputs", []) if output.output_type == "error"
    ]

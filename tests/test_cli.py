"""The labkit command as its users meet it, and how light it is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from labkit.cli import COMMANDS, main

LIGHT = """
import sys, time
started = time.perf_counter()
import labkit
print(time.perf_counter() - started)
heavy = {"torch", "numpy", "matplotlib", "onnx", "IPython", "nbformat"} & set(sys.modules)
assert not heavy, heavy
"""


def _fastest(command: list[str], runs: int = 3) -> tuple[float, str]:
    """Seconds of the fastest of a few runs, timed inside the child where it prints them; and its output."""
    outputs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(runs)]
    return min(float(output.split()[0]) for output in outputs), outputs[-1]


def test_import_labkit_is_light() -> None:
    seconds, _ = _fastest([sys.executable, "-c", LIGHT])
    assert seconds < 0.15


def test_help_is_fast_and_imports_no_command() -> None:
    code = (
        "import sys, time, io, contextlib; started = time.perf_counter()\n"
        "from labkit.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): main(['--help'])\n"
        "print(time.perf_counter() - started)\n"
        "assert not {'torch', 'numpy', 'rich'} & set(sys.modules)\n"
        "assert not [name for name in sys.modules if name.startswith('labkit.commands.')]"
    )
    assert _fastest([sys.executable, "-c", code])[0] < 0.5


def test_every_command_exists_and_has_help() -> None:
    for name in COMMANDS:
        result = CliRunner().invoke(main, [name, "--help"])
        assert result.exit_code == 0, (name, result.output)
        assert "Usage" in result.output


@pytest.fixture
def answer(tmp_path: Path) -> Path:
    path = tmp_path / "answer.py"
    path.write_text("def median(samples_ms):\n    return sorted(samples_ms)[len(samples_ms) // 2]\n")
    return path


def test_check_a_wrong_answer(answer: Path) -> None:
    result = CliRunner().invoke(main, ["check", "00_start_here", "median", str(answer)])
    assert result.exit_code == 1
    assert "behaves like *upper middle*" in result.output


def test_check_as_json(answer: Path) -> None:
    result = CliRunner().invoke(main, ["check", "00_start_here", "median", str(answer), "--json", "--seed", "4"])
    data = json.loads(result.output)
    assert (data["passed"], data["seed"], data["exercise"]) == (False, 4, "median")
    assert data["findings"][0]["misconception"] == "upper middle"


def test_check_a_right_answer(answer: Path) -> None:
    answer.write_text("import statistics\n\nmedian = statistics.median\n")
    result = CliRunner().invoke(main, ["check", "00_start_here", "median", str(answer)])
    assert (result.exit_code, result.output) == (0, "✓ median: right on all 8 cases (seed 0).\n")


@pytest.mark.parametrize("text", ["def median(:", "raise SystemExit(0)", "import os; os._exit(0)", ""])
def test_check_a_broken_file(answer: Path, text: str) -> None:
    answer.write_text(text)
    result = CliRunner().invoke(main, ["check", "00_start_here", "median", str(answer)])
    assert result.exit_code == 1
    assert result.output.startswith("✗ median:")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", "00_start", "median"], "no lab '00_start'; the labs are: 00_start_here"),
        (["check", "00_start_here", "mean"], "has no exercise 'mean'; it has: median"),
        (["matrix", "07"], "no lab '07'"),
        (["build", "07"], "no lab '07'"),
        (["verify", "07"], "no lab '07'"),
    ],
)
def test_a_name_that_does_not_exist(answer: Path, arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(main, [*arguments, *([str(answer)] if arguments[0] == "check" else [])])
    assert result.exit_code == 2
    assert said in result.output


def test_matrix_as_json() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "labkit", "matrix", "00_start_here", "--json", "--seeds", "1"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    (row,) = json.loads(done.stdout)["exercises"]
    assert row["survivors"] == row["falsely_rejected"] == row["misnamed"] == []
    assert row["wrong"] >= 8
    assert row["right"] >= 3

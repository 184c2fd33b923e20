"""One submission from end to end: the right part of the points, whatever else stands in the file."""

import json
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner
from nbformat import NotebookNode

from labkit.cli import main
from labkit.course.exercises import lab_spec
from labkit.course.paths import solution_path
from labkit.course.release import released_lab, released_names

LAB = "01_gemm_im2col"
HALF = ("gemm_flops", "conv_output_size", "im2col")


def _grade(path: Path, lab: str, *options: str) -> list[dict[str, object]]:
    result = CliRunner().invoke(main, ["grade", str(path), "--lab", lab, "--json", *options])
    assert result.exit_code == 0, result.output
    graded: list[dict[str, object]] = json.loads(result.output)
    return graded


def _starter(lab: str, **answers: str) -> NotebookNode:
    notebook = released_lab(lab_spec(lab))
    for cell in notebook.cells:
        exercise = cell.id.removeprefix("answer-")
        if exercise in answers:
            cell.source = answers[exercise]
    return notebook


@pytest.mark.slow
def test_solution_half_and_starter(tmp_path: Path) -> None:
    solution = nbformat.read(solution_path(LAB), as_version=4)
    sources = {cell.id.removeprefix("answer-"): cell.source for cell in solution.cells}
    nbformat.write(solution, tmp_path / "full.ipynb")
    nbformat.write(_starter(LAB), tmp_path / "starter.ipynb")
    nbformat.write(_starter(LAB, **{name: sources[name] for name in HALF}), tmp_path / "half.ipynb")
    graded = {each["submission"]: each for each in _grade(tmp_path, LAB, "--seed", "5", "--out", str(tmp_path / "out"))}
    spec = lab_spec(LAB)
    half = sum(spec.exercise(name).points for name in HALF)
    assert {name: each["score"] for name, each in graded.items()} == {"full": spec.points, "half": half, "starter": 0}
    assert [graded[name]["outcome"] for name in ("full", "half", "starter")] == ["pass", "partial", "not-answered"]
    assert {each["max_score"] for each in graded.values()} == {spec.points}
    stored = json.loads((tmp_path / "out" / "half.result.json").read_text())
    assert stored["provenance"]["seed"] == 5
    nbformat.validate(nbformat.read(tmp_path / "out" / "half.feedback.ipynb", as_version=4))


@pytest.mark.parametrize(
    ("answer", "score", "outcome"),
    [
        ("import statistics, sys\nprint('noise', file=sys.stderr)\nmedian = statistics.median", 1, "pass"),
        ("import os\nos._exit(0)", 0, "killed"),
        ("raise SystemExit(0)", 0, "exception"),
        ("def median(:", 0, "exception"),
        ("def median(samples_ms):\n    return max(samples_ms)", 0, "wrong"),
        (
            "import labkit.course.exercise as e\ne.same_value = lambda *a: True\ndef median(s):\n    return 0.0",
            0,
            "wrong",
        ),
    ],
)
def test_one_answer(tmp_path: Path, answer: str, score: int, outcome: str) -> None:
    nbformat.write(_starter("00_start_here", median=answer), tmp_path / "one.ipynb")
    (graded,) = _grade(tmp_path / "one.ipynb", "00_start_here", "--timeout", "60")
    assert (graded["score"], graded["outcome"]) == (score, outcome)


@pytest.mark.parametrize("text", ["", '{"x', "[1]", '{"cells": 3}', '{"cells": []}'])
def test_a_file_that_is_no_submission(tmp_path: Path, text: str) -> None:
    (tmp_path / "one.ipynb").write_text(text)
    (graded,) = _grade(tmp_path / "one.ipynb", "00_start_here")
    assert (graded["score"], graded["outcome"]) == (0, "malformed")


def test_the_release_does_not_come_from_the_folder_that_people_work_in() -> None:
    spec = lab_spec("00_start_here")
    released_lab(spec).cells.clear()
    assert len(released_lab(spec).cells) > 10
    assert "perf_counter" in released_names(spec)

"""The command as other tools call it: a file or a folder in, a list of scores as JSON out."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from labkit.cli import main
from labkit.course.exercises import lab_spec
from labkit.course.release import released_lab, released_names
from labkit.grading import made_up
from labkit.grading.isolation import NoIsolation, choose

LAB = "00_start_here"
ANSWERS = {  # name -> (answer, score, outcome)
    "noisy": ("import statistics, sys\nprint('noise', file=sys.stderr)\nmedian = statistics.median", 1, "pass"),
    "leaves": ("import os\nos._exit(0)", 0, "killed"),
    "exits": ("raise SystemExit(0)", 0, "exception"),
    "no Python": ("def median(:", 0, "exception"),
    "wrong": ("def median(samples_ms):\n    return max(samples_ms)", 0, "wrong"),
    "turns off": (
        "import labkit.course.exercise as e\ne.same_value = lambda *a: True\ndef median(s):\n    return 0.0",
        0,
        "wrong",
    ),
}
NO_SUBMISSION = {"empty": "", "half": '{"x', "a list": "[1]", "no cells": '{"cells": 3}', "no answer": '{"cells": []}'}


@pytest.fixture(autouse=True)
def wall() -> None:
    try:
        choose()
    except NoIsolation as error:
        pytest.skip(str(error))


def _grade(path: Path, *options: str) -> list[dict[str, object]]:
    result = CliRunner().invoke(main, ["grade", str(path), "--lab", LAB, "--json", *options])
    assert result.exit_code == 0, result.output
    graded: list[dict[str, object]] = json.loads(result.stdout)
    return graded


def test_a_folder_gives_a_list_of_scores_whatever_lies_in_it(tmp_path: Path) -> None:
    spec = lab_spec(LAB)
    for name, (answer, _, _) in ANSWERS.items():
        made_up.write(tmp_path, name, made_up.submission(spec, {"median": answer}))
    for name, text in NO_SUBMISSION.items():
        (tmp_path / f"{name}.ipynb").write_text(text)
    graded = _grade(tmp_path, "--timeout", "60", "--jobs", "1")
    assert {frozenset(each) for each in graded} == {frozenset({"submission", "score", "max_score", "outcome"})}
    assert {each["submission"]: (each["score"], each["outcome"]) for each in graded} == {
        **{name: (score, outcome) for name, (_, score, outcome) in ANSWERS.items()},
        **dict.fromkeys(NO_SUBMISSION, (0, "malformed")),
    }
    assert {each["max_score"] for each in graded} == {spec.points}


def test_a_single_notebook_gives_a_list_of_one(tmp_path: Path) -> None:
    spec = lab_spec(LAB)
    path = made_up.write(tmp_path, "ann", made_up.submission(spec, made_up.solutions(spec)))
    assert _grade(path) == [{"submission": "ann", "score": 1, "max_score": 1, "outcome": "pass"}]


def test_the_release_does_not_come_from_the_folder_that_people_work_in() -> None:
    spec = lab_spec(LAB)
    released_lab(spec).cells.clear()
    assert len(released_lab(spec).cells) > 10
    assert "perf_counter" in released_names(spec)

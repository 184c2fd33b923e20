"""Who moves when a check changed, and why."""

import csv
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from labkit.cli import main
from labkit.course.lab_spec import LabSpec
from labkit.course.paths import ROOT
from labkit.grading import made_up, marking
from labkit.grading.marking import Mark, check_version
from labkit.grading.regrade import moves, moves_csv
from labkit.grading.result import Key, Result, infrastructure

KEY = Key("ab" * 32, "00_start_here", "1-x", "cpu", 7)


def result(spec: LabSpec, score: int, outcome: str, check: str = "a", misconception: str | None = None) -> Result:
    mark = Mark("median", score, 1, outcome, "", misconception, check)
    return replace(infrastructure("ann", spec, KEY, ""), marks=(mark,), score=score, outcome=outcome)


def test_says_that_the_check_changed(start: LabSpec) -> None:
    (move,) = moves([result(start, 1, "pass", "a")], [result(start, 0, "wrong", "b", "mean")])
    assert (move.submission, move.exercise, move.before, move.after) == ("ann", "median", 1, 0)
    assert move.why == "pass, now wrong (behaves like “mean”): the check changed (a to b)"


def test_says_when_nothing_changed(start: LabSpec) -> None:
    (move,) = moves([result(start, 1, "pass")], [result(start, 0, "timeout")])
    assert "nothing changed: the answer does not do the same every time" in move.why


def test_says_when_the_file_is_another_one(start: LabSpec) -> None:
    other = replace(result(start, 1, "pass"), provenance={**KEY.provenance("ann"), "source_sha256": "cd"})
    assert "the file is another one" in moves([result(start, 0, "wrong")], [other])[0].why


def test_the_same_points_for_another_reason_are_no_move(start: LabSpec) -> None:
    assert moves([result(start, 0, "wrong", "a")], [result(start, 0, "exception", "b")]) == []


def test_what_could_not_be_graded_moves_nobody(start: LabSpec) -> None:
    assert moves([result(start, 1, "pass")], [result(start, 0, "infrastructure")]) == []
    (move,) = moves([result(start, 0, "infrastructure")], [result(start, 0, "wrong")])
    assert (move.before, move.after) == (None, 0)


def test_the_table_is_safe_for_a_spreadsheet(start: LabSpec) -> None:
    old, new = result(start, 0, "wrong").named("=1+1"), result(start, 1, "pass").named("=1+1")
    assert "\n'=1+1," in moves_csv(moves([old], [new]))


# --- a check that really changes ---------------------------------------------------------------------------


def test_the_version_of_a_check_covers_what_it_imports(gemm: LabSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    exercise = gemm.exercise("blocked_gemm")  # its module imports `watched` beside it, and compare.py
    before = check_version.__wrapped__(exercise)
    read = marking._module

    for changed in ("labkit.course.exercises.gemm_im2col.watched", "labkit.course.compare"):

        def edited(name: str, changed: str = changed) -> tuple[str, frozenset[str]] | None:
            text, imports = read(name) or ("", frozenset())
            return (text + "# changed" * (name == changed), imports) if text else None

        monkeypatch.setattr(marking, "_module", edited)
        assert check_version.__wrapped__(exercise) != before, changed
    monkeypatch.setattr(marking, "_module", read)
    assert check_version.__wrapped__(exercise) == before


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_changed_check_moves_whom_it_concerns_and_says_why(start: LabSpec, tmp_path: Path) -> None:
    """A copy of labkit whose check of `median` takes the maximum, too: the class is regraded with it."""
    folder, out = tmp_path / "submissions", tmp_path / "grades"
    folder.mkdir()
    answers = {"ann": "statistics.median(samples_ms)", "bob": "max(samples_ms)", "cy": "min(samples_ms)"}
    for name, value in answers.items():
        source = f"import statistics\n\ndef median(samples_ms):\n    return {value}"
        made_up.write(folder, name, made_up.submission(start, {"median": source}))
    command = ["grade", str(folder), "--lab", start.name, "--out", str(out), "--seed", "3"]
    assert CliRunner().invoke(main, command).exit_code == 0
    copy = tmp_path / "copy"
    for part in ("labkit", "solutions"):
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__", "*.ipynb"))
    check = copy / "labkit/course/exercises/start_here/median.py"
    text = check.read_text()
    assert text.count("    return compare_number(") == 1
    lenient = "    if value == max(case.args[0]):\n        return None\n    return compare_number("
    check.write_text(text.replace("    return compare_number(", lenient))
    moved = json.loads(run_labkit(copy, "regrade", out, "--json"))
    assert [(each["submission"], each["before"], each["after"]) for each in moved] == [("bob", 0, 1)]
    assert "the check changed" in moved[0]["why"]
    with (out / "gradebook.csv").open() as file:
        assert {row["submission"]: row["score"] for row in csv.DictReader(file)} == {"ann": "1", "bob": "1", "cy": "0"}
    assert "bob,median,0,1" in (out / "regrade.csv").read_text()


def run_labkit(root: Path, *arguments: object) -> str:
    command = [sys.executable, "-m", "labkit", *map(str, arguments)]
    run = subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout

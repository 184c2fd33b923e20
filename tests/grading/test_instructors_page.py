"""Every command on the instructor's page works as it stands, in the order in which it stands there."""

import csv
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner

from labkit.cli import main
from labkit.course.exercises import lab_spec
from labkit.course.paths import ROOT
from labkit.grading import made_up
from labkit.grading.grade import Grader
from labkit.grading.isolation import NoIsolation, choose

PAGES = ("docs/instructor.md", "README.md")


def commands(page: str) -> list[list[str]]:
    """The lines of a page's `console` blocks."""
    blocks = re.findall(r"^```console\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like the repository, to run the commands in."""
    try:
        choose()
    except NoIsolation as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("instructor")
    for part in ("labs", "solutions"):
        (folder / part).mkdir()
        shutil.copy(ROOT / part / "00_start_here.ipynb", folder / part)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1200)  # a class with a fork bomb in it, on a machine that may be busy
def test_every_command_works_as_it_stands(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    found = [command for page in PAGES for command in commands(page)]
    subcommands = {command[1] for command in found if command[0] == "labkit"}
    assert subcommands >= {"grade-demo", "grade", "regrade", "export"}, "the page lost its commands"
    for program, *arguments in dict.fromkeys(map(tuple, found)):  # the README repeats two of them
        if program == "labkit":
            run = CliRunner().invoke(main, list(arguments))
            assert run.exit_code == 0, (arguments, run.output)
        else:
            assert program == "papermill"
            subprocess.run([sys.executable, "-m", program, *arguments], check=True, capture_output=True, timeout=120)
    class_ = place / "class"
    with (class_ / "grades.csv").open() as file:
        rows = {row["submission"]: row for row in csv.DictReader(file)}
    expected = dict.fromkeys(made_up.DEMO, "partial") | {"ada": "pass", "ivan": "pass", "gus": "not-answered"}
    assert {name: row["outcome"] for name, row in rows.items()} == {**expected, "jo": "malformed"}
    one_point_less = set(made_up.DEMO) - {"ada", "ivan", "gus", "cleo", "kai"}
    assert {rows[name]["score"] for name in one_point_less} == {"20"}, "a hostile answer costs itself alone"
    assert (class_ / "canvas.csv").read_bytes().count(b",20,") == len(one_point_less)
    assert len(list(class_.glob("gradescope/*/results.json"))) == len(rows)
    assert (class_ / "grades" / "regrade.csv").read_text().splitlines()[1:] == []


def test_a_notebook_with_a_seed_of_its_own_is_graded_like_any_other(start_grader: Grader, tmp_path: Path) -> None:
    """papermill adds a cell with the seed; answers to it are answers to the lab."""
    made_up.write(tmp_path, "lab", made_up.submission(start_grader.spec, made_up.solutions(start_grader.spec)))
    paths = [str(tmp_path / name) for name in ("lab.ipynb", "ann.ipynb")]
    subprocess.run(
        [sys.executable, "-m", "papermill", "--prepare-only", "-p", "SEED", "12", *paths],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    prepared = nbformat.read(tmp_path / "ann.ipynb", as_version=4)
    injected = [cell for cell in prepared.cells if "injected-parameters" in cell.metadata.get("tags", [])]
    assert [cell.source.splitlines()[-1] for cell in injected] == ["SEED = 12"]
    assert start_grader.grade(tmp_path / "ann.ipynb").outcome == "pass"
    spec = lab_spec("00_start_here").exercise("median")
    assert json.dumps(spec.make_cases(12)[-1].args) != json.dumps(spec.make_cases(0)[-1].args)

"""A released lab is updated under a learner's hands, by nbgitpuller itself, and nothing that they wrote is lost."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from labkit.course.paths import starter_path
from labkit.course.progress import Progress

pull = pytest.importorskip("nbgitpuller.pull", reason="nbgitpuller is missing: pip install labkit[hub]")

LAB = "00_start_here"
ANSWER = "def median(samples_ms):\n    # my own words\n    return sorted(samples_ms)[len(samples_ms) // 2]"


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=author", "-c", "user.email=author"]
    return subprocess.run(
        ["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True, timeout=60
    ).stdout


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """The course's repository with its first release."""
    folder = tmp_path / "released"
    (folder / "labs").mkdir(parents=True)
    (folder / "labs" / f"{LAB}.ipynb").write_bytes(starter_path(LAB).read_bytes())
    git(tmp_path, "init", "-q", "-b", "main", str(folder))
    release(folder, "first release")
    return folder


def release(folder: Path, message: str) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", message)


def follow_the_link(released: Path, home: Path) -> None:
    """What a click on the link does in the learner's server."""
    for _ in pull.GitPuller(str(released), str(home / "labkit"), branch="main").pull():
        pass


def lab_file(folder: Path) -> Path:
    return folder / "labs" / f"{LAB}.ipynb"


def work(home: Path) -> Path:
    """The learner answers, runs the check, and JupyterLab saves with outputs and counts."""
    path = lab_file(home / "labkit")
    notebook = nbformat.read(path, as_version=4)
    answer = stub_of(notebook)
    answer.source, answer.execution_count = ANSWER, 3
    check = next(cell for cell in notebook.cells if cell.source == "lab.check(median)")
    check.execution_count = 4
    check.outputs = [nbformat.v4.new_output("stream", text="✗ median: 3 of 8 cases fail\n")]
    notebook.cells.append(nbformat.v4.new_code_cell("print('a note of my own')"))
    nbformat.write(notebook, path)
    Progress(LAB, path.parent).tried("median", passed=False)
    return path


def stub_of(notebook: NotebookNode) -> NotebookNode:
    return next(cell for cell in notebook.cells if cell.source.startswith("def median"))


def reworded_text(folder: Path) -> None:
    path = lab_file(folder)
    text = path.read_text(encoding="utf-8")
    assert "Three habits, used in every lab" in text
    path.write_text(text.replace("Three habits, used in every lab", "Three good habits, used in every lab"))


def reworded_stub(folder: Path) -> None:
    path = lab_file(folder)
    text = path.read_text(encoding="utf-8")
    assert "The median of a list of timings" in text
    path.write_text(text.replace("The median of a list of timings", "The middle one of a list of timings"))


def another_lab(folder: Path) -> None:
    (folder / "labs/09_new.ipynb").write_bytes(lab_file(folder).read_bytes())


@pytest.mark.parametrize(
    ("change", "arrives"),
    [
        (reworded_text, "Three good habits"),
        (reworded_stub, None),  # the same lines: the learner's stand
        (another_lab, None),
    ],
)
def test_an_update_keeps_what_the_learner_wrote(
    change: Callable[[Path], None], arrives: str | None, released: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    follow_the_link(released, home)
    path = work(home)
    change(released)
    release(released, "second release")
    follow_the_link(released, home)

    json.loads(path.read_text(encoding="utf-8"))  # no marks of a conflict, no broken line
    merged = nbformat.read(path, as_version=4)
    nbformat.validate(merged)
    assert len({cell.id for cell in merged.cells}) == len(merged.cells)
    sources = [cell.source for cell in merged.cells]
    assert ANSWER in sources
    assert "print('a note of my own')" in sources
    answer = next(cell for cell in merged.cells if cell.source == ANSWER)
    released_stub = stub_of(nbformat.read(starter_path(LAB), as_version=4))
    assert answer.metadata == released_stub.metadata  # by which the grader finds it
    assert Progress(LAB, path.parent).record("median").num_tries == 1
    if arrives:
        assert arrives in "\n".join(sources)
    if change is another_lab:
        assert (path.parent / "09_new.ipynb").exists()


def test_an_update_of_a_lab_that_was_thrown_away_brings_it_back(released: Path, tmp_path: Path) -> None:
    """How a learner gets a lab as it was released: delete the file, follow the link again."""
    home = tmp_path / "home"
    home.mkdir()
    follow_the_link(released, home)
    path = work(home)
    path.unlink()
    follow_the_link(released, home)
    assert path.read_bytes() == starter_path(LAB).read_bytes()

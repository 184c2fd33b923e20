"""Every command that a reader is told to type is run here, or has its reason beside it why not.

A fenced block without a language holds commands when its first word is one, or sets a variable. A command that is not
in the table of reasons is run, so a new one cannot go untried.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.course.paths import ROOT

# Two pages have a test of their own that types their commands on a made-up class.
ELSEWHERE = {"instructor.md": "tests/grading/test_instructors_page.py", "grading_at_scale.md": "tests/grading"}
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
PROGRAMS = (
    "make",
    "labkit",
    "conda",
    "docker",
    "pip",
    "npm",
    "sudo",
    "source",
    "echo",
    "git",
    "python",
    "papermill",
    "./setup_environment.sh",
)

# Command, or the beginning of one that a `…` ends -> why it is not typed here, and what tries it instead.
NOT_RUN = {
    "make lab": "opens JupyterLab and stays: tests/test_install.py and tests/browser/test_first_start.py do",
    "make test": "is what runs this test",
    "make verify": "tests/labs runs the same on every solution",
    "make bench": "minutes: tests/test_bench_command.py runs it quickly",
    "make gpu": "tests/evidence runs its command, tests/test_architecture.py reads its marks",
    "make lab GPU=1": "needs a GPU; tests/test_extras.py tries what it installs",
    "labkit lab": "opens JupyterLab and stays: tests/test_install.py does",
    "labkit build 00_start_here": "writes into the clone; `labkit build --check` is run",
    "labkit verify 00_start_here": "tests/labs does this for every lab",
    "labkit gpu --rehearse attention": "tests/evidence rehearses every part",
    "labkit onnx view": "serves until Ctrl-C: tests/test_onnx_command.py asks it",
    "labkit route --trace": "a trace of the reader's own: tests/test_route_command.py reads several",
    "labkit grade-demo": "tests/grading/test_instructors_page.py types it",
    "labkit grade class/submissions": "tests/grading/test_instructors_page.py types it",
    "make grade-demo": "the same by make",
    "conda env create -f environment.yml": "conda's channels are out of reach; tests/test_extras.py reads the file",
    "conda activate labkit": "as above",
    "docker build": "no container engine here: deploy/try_image.py runs the same steps with buildah",
    "docker run": "as above",
    "sudo deploy/try_image.py": "minutes: LABKIT_TRY_IMAGE=1, tests/deploy/test_image.py",
    "./setup_environment.sh hub": "minutes, and the network: tests/test_extras.py tries what it installs",
    "npm install -g --prefix .venv configurable-http-proxy": "tests/browser/test_hub_in_browser.py installs it as well",
    "LABKIT_HUB_USERS=ana,bo": "tests/browser/test_hub_in_browser.py starts the same file",
}


def _blocks(text: str) -> list[str]:
    """What stands between fences that name no language, or a shell."""
    blocks: list[list[str]] = []
    language: str | None = None
    for line in text.splitlines():
        if line.strip().startswith("```"):
            language = line.strip().removeprefix("```") if language is None else None
            blocks.append([])
        elif language in ("", "bash", "sh", "console"):
            blocks[-1].append(line)
    return ["\n".join(block) for block in blocks if block]


def _commands() -> list[tuple[str, str]]:
    found = []
    for page in (each for each in PAGES if each.name not in ELSEWHERE):
        for block in _blocks(page.read_text(encoding="utf-8")):
            lines = [line.split("  #")[0].strip() for line in block.splitlines() if line.strip()]
            first = lines[0].split()[0] if lines else ""
            if first in PROGRAMS or re.match("[A-Z_]+=", first):
                found += [(page.name, line) for line in lines]
    return found


COMMANDS = _commands()
RUN = list(dict.fromkeys(command for _, command in COMMANDS if not any(map(command.startswith, NOT_RUN))))


def test_the_pages_have_commands() -> None:
    assert {page for page, _ in COMMANDS} >= {"README.md", "author.md", "deploy.md"}
    assert len(RUN) >= 5


def test_every_reason_belongs_to_a_command_that_is_there() -> None:
    assert [each for each in NOT_RUN if not any(command.startswith(each) for _, command in COMMANDS)] == []


def test_every_make_target_and_labkit_command_that_is_named_exists() -> None:
    from labkit.cli import COMMANDS as SUBCOMMANDS

    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):.*##", makefile, re.MULTILINE))
    for page, command in COMMANDS:
        words = shlex.split(command.replace("…", "x"))
        if words[0] == "make":
            assert words[1] in targets, f"{page}: {command}"
        if words[0] == "labkit":
            assert words[1] in SUBCOMMANDS, f"{page}: {command}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader types: answer.py of one command is the next one's."""
    return tmp_path_factory.mktemp("reader")


@pytest.mark.xdist_group("reader")  # in the order of the pages: a command may need what the one before has made
@pytest.mark.parametrize("command", RUN)
def test_a_command_does_what_the_page_says(command: str, folder: Path) -> None:
    (folder / "answer.py").write_text("import statistics\n\nmedian = statistics.median\n")
    # `labkit` as in the environment, also where it is not on the PATH.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    typed = command.replace("source .venv/bin/activate", "true")
    done = subprocess.run(
        ["bash", "-c", typed], cwd=folder, capture_output=True, text=True, timeout=240, env={**os.environ, "PATH": path}
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-1500:]}{done.stderr[-1500:]}"


def test_the_python_on_the_page_of_plans_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorrt_rtx", reason="the builder is not installed on this platform")
    from labkit.sample_models import SAMPLES

    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/plans.md").read_text(encoding="utf-8"), re.DOTALL)
    names = {"model": SAMPLES["residual"].build(), "example": SAMPLES["residual"].example()}
    exec(code, names)
    assert len(names["cache"].stored()) == 1


def test_links_between_the_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readme_is_one_page() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150

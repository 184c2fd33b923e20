"""The house rules that a reader relies on: data flows one way, and a file is a room with one purpose."""

import ast
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.course.paths import ROOT

PACKAGE = ROOT / "labkit"
# Rooms that stand on the domain modules; everything else under labkit/ is a domain module.
UPPER_ROOMS = {"course", "grading", "widgets", "commands", "benchmarks", "doctor"}
MAY_NOT_IMPORT = {
    "widgets": {"course", "grading", "commands", "benchmarks", "doctor", "evidence"},
    "course": {"grading", "commands", "benchmarks", "doctor"},
    "grading": {"commands", "benchmarks", "widgets", "doctor", "evidence"},
    "benchmarks": {"commands", "widgets", "doctor", "evidence"},
    "doctor": {"commands", "benchmarks", "grading", "widgets", "evidence"},
    "evidence": {"commands", "grading", "widgets", "doctor", "course", "benchmarks"},
}
# Each longer file has its reason beside it.
LONG_FILES: dict[str, str] = {
    "course/exercises/token_attention/allocator_wrong.py": "one bank of small wrong allocators, side by side",
    "course/exercises/tensorrt_build/key_banks.py": "one bank of small wrong keys and a few right ones, side by side",
}
MOST_LINES = 400

MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imported_rooms(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            parts = name.split(".")
            if parts[0] == "labkit" and len(parts) > 1:
                yield parts[1]


def test_there_are_modules() -> None:
    assert len(MODULES) > 30


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_data_flows_one_way(path: Path) -> None:
    room = _room(path)
    forbidden = MAY_NOT_IMPORT.get(
        room, set() if room in {*UPPER_ROOMS, "cli", "__main__", "__init__"} else UPPER_ROOMS
    )
    assert set(_imported_rooms(path)) & forbidden == set()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_is_a_room_with_one_purpose(path: Path) -> None:
    num_lines = len(path.read_text(encoding="utf-8").splitlines())
    assert num_lines <= MOST_LINES or str(path.relative_to(PACKAGE)) in LONG_FILES
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not tree.body or ast.get_docstring(tree), "a module says in its first line what it is for"


def test_every_dependency_says_why_it_is_there() -> None:
    text, _, _ = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[project.scripts]")
    assert text.count("  # ") > 20
    listed = [line for line in text.splitlines() if line.startswith('    "') and line.rstrip().endswith(",")]
    assert listed == []


def test_every_pin_is_exact() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert len(pins) > 50
    assert [pin for pin in pins if "==" not in pin] == []
    assert "torch==2.13.0" in pins


# Marks that pytest itself and pytest-timeout bring.
BUILT_IN_MARKS = {"parametrize", "skipif", "skip", "xfail", "usefixtures", "filterwarnings", "timeout"}


@pytest.mark.xdist_group("together")
def test_what_belongs_together_runs_on_one_worker(request: pytest.FixtureRequest) -> None:
    """pytest 9.2 made an end of xdist's groups without a word: two servers, two browsers, in each other's way."""
    assert "PYTEST_XDIST_WORKER" not in os.environ or request.node.nodeid.endswith("@together")


def test_every_mark_is_known_without_xdist() -> None:
    """`make gpu` runs in one process, without xdist; a mark that only xdist knew ended it before its first test."""
    options = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    known = {line.partition(":")[0] for line in options["markers"]} | BUILT_IN_MARKS
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py")]
    used = {mark for text in texts for mark in re.findall(r"\bpytest\.mark\.(\w+)", text)}
    assert {"gpu", "xdist_group"} <= used
    assert used - known == set()

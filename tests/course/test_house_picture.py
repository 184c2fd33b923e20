"""The picture of the house: every room of the package is in it, arrows say who imports whom, the text is valid SVG."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from labkit.course import house_picture
from labkit.course.house_picture import NOTES, PICTURE, ROWS, imports, rooms

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """`commands` imports `course`, which imports the module `gemm`; `doctor` stands alone."""
    sources = {
        "cli.py": "from labkit.commands import grade",
        "commands/grade.py": "import labkit.course.lab\nfrom labkit.gemm import im2col",
        "course/__init__.py": "from labkit.course.lab import open_lab",
        "course/lab.py": "def later():\n    from labkit import gemm\nfrom labkit.course import paths\nimport numpy",
        "doctor.py": "import sys",
        "gemm.py": "",
    }
    for name, source in sources.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source)
    return tmp_path


def test_imports_are_read_at_any_depth_and_only_those_of_another_room(package: Path) -> None:
    assert imports(package) == {("commands", "course"), ("commands", "gemm"), ("course", "gemm")}


def test_an_arrow_that_follows_from_others_is_left_out(package: Path) -> None:
    picture = ElementTree.fromstring(house_picture.house_picture(package))
    arrows = picture.findall(f"{SVG}line")
    assert len(arrows) == 2  # commands -> course -> the domain, and not commands -> the domain


def test_the_picture_is_valid_names_every_room_and_stays_inside_its_frame() -> None:
    picture = ElementTree.fromstring(house_picture.house_picture())
    width, height = map(float, picture.attrib["viewBox"].split()[2:])
    for box in picture.findall(f"{SVG}rect"):
        x, y = float(box.get("x", 0)), float(box.get("y", 0))
        assert x + float(box.attrib["width"]) <= width
        assert y + float(box.attrib["height"]) <= height
    words = set(re.findall(r"\w+", " ".join("".join(text.itertext()) for text in picture.findall(f"{SVG}text"))))
    assert rooms() <= words
    assert {"course", "distill", "kv_cache", "serving"} <= rooms()


def test_every_room_with_a_note_has_a_place() -> None:
    assert {room for row in ROWS for room in row if room} == set(NOTES)


def test_the_same_text_each_time_and_it_is_the_one_in_docs() -> None:
    assert house_picture.house_picture() == house_picture.house_picture() == PICTURE.read_text(encoding="utf-8")

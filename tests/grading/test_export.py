"""Exports: valid where a format is documented, and nothing of anybody else's touched."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from labkit.cli import main
from labkit.course.lab_spec import LabSpec
from labkit.grading.canvas import CanvasError, fill
from labkit.grading.export import gradescope, junit
from labkit.grading.feedback import feedback_page
from labkit.grading.gradebook import gradebook, safe_cell
from labkit.grading.marking import Mark
from labkit.grading.result import Key, Result, infrastructure
from labkit.grading.store import ClassRun, Store

KEY = Key("ab" * 32, "01_gemm_im2col", "1-x", "cpu", 7)
NASTY = "<script>alert(1)</script>\x1b[31m\x00\ud800 & ]]>"


@pytest.fixture
def results(gemm: LabSpec) -> list[Result]:
    marks = [Mark(each.name, 0, each.points, "wrong", NASTY, None, "c") for each in gemm.exercises]
    marks[0] = replace(marks[0], score=1, outcome="pass", feedback="✓ fine")
    partial = replace(infrastructure("ann", gemm, KEY, "note"), marks=tuple(marks), score=1, outcome="partial")
    return [partial, partial.named('=HYPERLINK("x")'), infrastructure("owed", gemm, KEY, "tried 3 times")]


# --- Gradescope: https://gradescope-autograders.readthedocs.io/en/latest/specs/ ------------------------------

VISIBILITY = {"hidden", "after_due_date", "after_published", "visible"}
FORMATS = {"text", "html", "simple_format", "md", "ansi"}
TOP = {"score": (int, float), "execution_time": (int, float), "output": str, "output_format": FORMATS,
       "test_output_format": FORMATS, "test_name_format": FORMATS, "visibility": VISIBILITY,
       "stdout_visibility": VISIBILITY, "extra_data": dict, "tests": list, "leaderboard": list}  # fmt: skip
TEST = {"score": (int, float), "max_score": (int, float), "status": {"passed", "failed"}, "name": str,
        "name_format": FORMATS, "number": str, "output": str, "output_format": FORMATS, "tags": list,
        "visibility": VISIBILITY, "extra_data": dict}  # fmt: skip


def check_fields(data: dict[str, object], documented: dict[str, object]) -> None:
    for name, value in data.items():
        wanted = documented[name]  # an unknown field is a KeyError
        assert value in wanted if isinstance(wanted, set) else isinstance(value, wanted), name  # type: ignore[arg-type]


def test_gradescope_follows_its_documented_format(gemm: LabSpec, results: list[Result]) -> None:
    data = json.loads(json.dumps(gradescope(gemm, results[0])))
    check_fields(data, TOP)
    for test in data["tests"]:
        check_fields(test, TEST)
    assert data["score"] == sum(test["score"] for test in data["tests"]) == 1
    assert [test["status"] for test in data["tests"]][:2] == ["passed", "failed"]


def test_gradescope_is_never_told_a_score_that_is_owed(gemm: LabSpec, results: list[Result]) -> None:
    with pytest.raises(ValueError, match="would give it 0"):
        gradescope(gemm, results[2])


def test_gradescope_is_not_told_the_seed_of_the_hidden_cases(gemm: LabSpec, results: list[Result]) -> None:
    seeded = replace(results[0], provenance=replace(KEY, seed=62_083_123).provenance("ann"))
    text = json.dumps(gradescope(gemm, seeded))
    assert KEY.source_sha256 in text
    assert "62083123" not in text
    assert '"seed"' not in text


def test_junit_is_xml_with_one_test_per_exercise(gemm: LabSpec, results: list[Result]) -> None:
    root = ElementTree.fromstring(junit(gemm, results))
    suites = {suite.get("name"): suite for suite in root}
    assert len(suites["ann"]) == len(gemm.exercises)
    assert suites["ann"].get("failures") == str(len(gemm.exercises) - 1)
    assert suites["owed"].get("errors") == str(len(gemm.exercises))
    assert "<script>" in str(suites["ann"][1][0].text)  # as text, not as an element


def test_a_page_shows_what_a_learner_wrote_as_text(gemm: LabSpec, results: list[Result]) -> None:
    nasty = replace(results[0], answers={"im2col": NASTY}, notes=(NASTY,)).named("<b>ann</b>")
    page = feedback_page(gemm, nasty)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert not set("\x00\x1b") & set(page)


def test_the_gradebook_holds_no_formula_and_no_owed_score(gemm: LabSpec, results: list[Result]) -> None:
    rows = list(csv.reader(io.StringIO(gradebook(gemm, results))))
    assert [row[0] for row in rows[1:]] == ["ann", '\'=HYPERLINK("x")', "owed"]
    assert rows[1][1:3] == ["1", "21"]
    assert rows[3][1] == ""


@given(st.text())
def test_no_text_becomes_a_formula(text: str) -> None:
    assert not safe_cell(text).lstrip().startswith(("=", "+", "-", "@"))


# --- Canvas -----------------------------------------------------------------------------------------------

EXPORT = (
    "\ufeffStudent,ID,SIS User ID,SIS Login ID,Section,Essay (11),Lab 01 (123),Current Score\r\n"
    "    Points Possible,,,,,10,21,(read only)\r\n"
    '"Adams, Ann",1,u1,ann,"A, ""east""",  7.50,,93.1\r\n'
    '"Brown, Bob",2,u2,bob,A,,4,\r\n'
    '"Cole, Cy",3,u3,cy,A,5,19,\r\n'
    '"Student, Test",,,test,A,,,\r\n'
).encode()


def test_canvas_fills_one_column_and_leaves_every_other_byte() -> None:
    filled = fill(EXPORT, "Lab 01 (123)", {"ann": 20, "u2": 17.5, "zoe": 3})
    expected = EXPORT.replace(b"  7.50,,93.1", b"  7.50,20,93.1").replace(b"A,,4,", b"A,,17.5,")
    assert filled.data == expected
    assert (filled.num_filled, filled.without_student) == (2, ("zoe",))


@pytest.mark.parametrize("column", ["Lab 01", "123", "Lab 01 (123)"])
def test_canvas_finds_the_column_by_header_title_or_number(column: str) -> None:
    assert fill(EXPORT, column, {"ann": 1}).num_filled == 1


def test_canvas_names_who_has_no_score_and_what_the_assignment_gives() -> None:
    filled = fill(EXPORT, "123", {"ann": 20})
    assert filled.without_score == ("Brown, Bob", "Cole, Cy")  # not the test student, nor Points Possible
    assert filled.points_possible == 21
    assert fill(EXPORT.replace(b"10,21,(read", b"10,,(read"), "123", {}).points_possible is None


def test_canvas_refuses_a_header_that_it_would_make_anew() -> None:
    with pytest.raises(CanvasError, match=r"no assignment 'Lab 02'.*There are: 'Essay \(11\)', 'Lab 01 \(123\)'"):
        fill(EXPORT, "Lab 02", {"ann": 1})


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"name,score\nann,1\n", "columns Student and Section"),
        (b"", "columns Student and Section"),
        ("é".encode("latin-1"), "UTF-8"),
        (EXPORT.replace(b"Essay (11)", b"Lab 01 (12)"), "more than one assignment"),
        (EXPORT + b'"open', "a quote is not closed"),
    ],
)
def test_canvas_refuses_what_is_not_its_export(data: bytes, reason: str) -> None:
    with pytest.raises(CanvasError, match=reason):
        fill(data, "Lab 01", {"ann": 1})


def test_canvas_refuses_a_name_that_means_two_students() -> None:
    with pytest.raises(CanvasError, match="two students are meant by 'ann'"):
        fill(EXPORT.replace(b"u2,bob", b"u2,ann"), "Lab 01", {"ann": 1})


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\x00"), max_size=12)


@given(st.lists(st.lists(CELLS, min_size=6, max_size=6), max_size=5), st.sampled_from(["\n", "\r\n"]))
def test_canvas_leaves_any_file_alone_where_nobody_is_meant(rows: list[list[str]], end: str) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator=end)
    writer.writerows([["Student", "ID", "SIS Login ID", "Section", "Lab 01 (1)", "Final Score"], *rows])
    data = buffer.getvalue().encode()
    assert fill(data, "Lab 01", {}).data == data


# --- the command ------------------------------------------------------------------------------------------


@pytest.fixture
def grades(tmp_path: Path, gemm: LabSpec, results: list[Result]) -> Path:
    there = Store(tmp_path / "grades")
    there.begin(ClassRun(gemm.name, "1-x", 7, "0", "x", 9.0, {"ann": "a"}))
    there.put("a", results[0])
    (tmp_path / "export.csv").write_bytes(EXPORT.replace(b"10,21,(read", b"10,100,(read"))
    (tmp_path / "file").write_text("mine")
    return there.out


@pytest.mark.parametrize(
    ("kind", "to", "reason"),
    [
        ("gradescope", "file", "a folder is expected"),
        ("csv", "grades", "Is a directory"),
        ("junit", "file/below.xml", "cannot be written to"),
        ("canvas", "grades", "Is a directory"),
    ],
)
def test_where_nothing_can_be_written_is_said(tmp_path: Path, grades: Path, kind: str, to: str, reason: str) -> None:
    canvas = ["--roster", str(tmp_path / "export.csv"), "--column", "123"] if kind == "canvas" else []
    command = ["export", str(grades), "--format", kind, "--to", str(tmp_path / to), *canvas]
    run = CliRunner().invoke(main, command)
    assert run.exit_code == 2, run.output
    assert reason in " ".join(run.output.split())
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("kind", ["csv", "junit"])
def test_says_what_it_wrote(tmp_path: Path, grades: Path, kind: str) -> None:
    run = CliRunner().invoke(main, ["export", str(grades), "--format", kind, "--to", str(tmp_path / "out")])
    assert run.output.split() == ["1", "submission", "written", "to", str(tmp_path / "out")]


def test_canvas_warns_of_other_points_and_names_who_is_missing(tmp_path: Path, grades: Path) -> None:
    command = ["--roster", str(tmp_path / "export.csv"), "--column", "123", "--to", str(tmp_path / "import.csv")]
    run = CliRunner().invoke(main, ["export", str(grades), "--format", "canvas", *command])
    assert run.exit_code == 0, run.output
    assert "Points Possible is 100 in Canvas, and 01_gemm_im2col gives 21" in run.output
    assert "no score for student Brown, Bob" in run.output


def test_the_command_writes_each_format(tmp_path: Path, gemm: LabSpec, results: list[Result]) -> None:
    there = Store(tmp_path / "grades")
    there.begin(ClassRun(gemm.name, "1-x", 7, "0", "x", 9.0, {"ann": "a", "owed": "b", "absent": "c"}))
    there.put("a", results[0])
    there.put("b", results[2])
    (tmp_path / "export.csv").write_bytes(EXPORT)

    def export(*arguments: object) -> str:
        run = CliRunner().invoke(main, ["export", str(tmp_path / "grades"), "--format", *map(str, arguments)])
        assert run.exit_code == 0, run.output
        return run.output

    assert "1 of 3 have no result yet" in export("csv")
    export("junit", "--to", tmp_path / "junit.xml")
    ElementTree.parse(tmp_path / "junit.xml")
    assert "owed could not be graded yet" in export("gradescope", "--to", tmp_path / "gradescope")
    assert [path.parent.name for path in tmp_path.glob("gradescope/*/results.json")] == ["ann"]
    export("canvas", "--roster", tmp_path / "export.csv", "--column", "123", "--to", tmp_path / "import.csv")
    assert b",  7.50,1,93.1" in (tmp_path / "import.csv").read_bytes()


def test_canvas_without_a_roster_says_what_is_needed(tmp_path: Path, gemm: LabSpec) -> None:
    Store(tmp_path).begin(ClassRun(gemm.name, "1-x", 7, "0", "x", 9.0))
    run = CliRunner().invoke(main, ["export", str(tmp_path), "--format", "canvas"])
    assert run.exit_code == 2
    assert "--roster export.csv" in run.output

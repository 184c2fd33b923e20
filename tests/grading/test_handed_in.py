"""Whose notebook is which, what is passed over, and what the command refuses before it writes anything."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from labkit.cli import main
from labkit.commands.grading_progress import progress, tell_passed_over
from labkit.course.lab_spec import LabSpec
from labkit.grading import made_up
from labkit.grading.file_names import file_names
from labkit.grading.handed_in import HandedIn, NoSubmission, look
from labkit.grading.result import Key, infrastructure

LAB = "00_start_here"


def hand_in(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        made_up.write(folder, name, {})


def test_a_notebook_each_or_a_folder_each(tmp_path: Path) -> None:
    hand_in(tmp_path, "ann", "bob")
    hand_in(tmp_path / "bob", LAB)
    hand_in(tmp_path / "cy", LAB)
    hand_in(tmp_path / ".cache", LAB)
    found = look(tmp_path, LAB)
    assert [name for name, _ in found.submissions] == ["ann", "bob", f"bob/{LAB}", "cy"]
    assert (found.notes, found.passed_over, found.is_doubtful) == ({}, (), False)


def test_a_browsers_second_download_is_taken_and_said(tmp_path: Path) -> None:
    hand_in(tmp_path / "ann", f"{LAB} (1)")
    found = look(tmp_path, LAB)
    assert [(name, path.name) for name, path in found.submissions] == [("ann", f"{LAB} (1).ipynb")]
    assert found.notes == {"ann": f"handed in as '{LAB} (1).ipynb', and taken for {LAB}.ipynb"}


def test_one_that_lies_beside_the_right_one_is_said(tmp_path: Path) -> None:
    hand_in(tmp_path / "ann", LAB, f"{LAB} (1)")
    found = look(tmp_path, LAB)
    assert found.submissions[0][1].name == f"{LAB}.ipynb"
    assert found.notes == {"ann": f"{LAB}.ipynb was graded; beside it lie {LAB} (1).ipynb"}


def test_nobodys_work_is_passed_over_in_silence(tmp_path: Path) -> None:
    hand_in(tmp_path / "ann", LAB)
    hand_in(tmp_path / "bob", f"{LAB} (1)", f"{LAB}-copy")
    hand_in(tmp_path / "dan", "01_gemm_im2col")
    (tmp_path / "cy.zip").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "ann")
    found = look(tmp_path, LAB)
    assert [name for name, _ in found.submissions] == ["ann"]
    assert found.passed_over == (
        f"bob/ (no {LAB}.ipynb in it, but 2 called almost so: {LAB} (1).ipynb, {LAB}-copy.ipynb)",
        "cy.zip (not a notebook)",
        f"dan/ (no {LAB}.ipynb in it)",
        f"link/ (no {LAB}.ipynb in it)",
    )
    assert found.is_doubtful


def test_asks_whether_it_is_the_right_lab(capsys: pytest.CaptureFixture[str]) -> None:
    tell_passed_over(HandedIn((("ann", Path("x")),), {}, ("bob/ (no)", "cy/ (no)"), 2), LAB)
    assert "is it the right --lab?" in capsys.readouterr().err
    tell_passed_over(HandedIn((("ann", Path("x")), ("dan", Path("x"))), {}, ("bob/ (no)",), 1), LAB)
    assert "is it the right --lab?" not in capsys.readouterr().err


def test_nothing_to_grade_is_said_with_what_lies_there(tmp_path: Path) -> None:
    with pytest.raises(NoSubmission, match=rf"expected NAME.ipynb or NAME/{LAB}.ipynb$"):
        look(tmp_path, LAB)
    hand_in(tmp_path / "ann", "other")
    with pytest.raises(NoSubmission, match=rf"1 folder has no {LAB}.ipynb: is it the right --lab\?"):
        look(tmp_path, LAB)


# --- the command, before it writes anything ---------------------------------------------------------------


def refused(*arguments: object) -> str:
    run = CliRunner().invoke(main, [*map(str, arguments)])
    assert run.exit_code == 2, run.output
    return " ".join(run.output.replace("│", " ").split())


def test_an_empty_folder_says_nothing_of_out(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    said = refused("grade", tmp_path / "empty", "--lab", LAB, "--out", tmp_path / "out")
    assert "no submission in" in said
    assert "--out" not in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("below", [".", "grades", "a/b"])
def test_results_never_lie_among_the_submissions(tmp_path: Path, below: str) -> None:
    hand_in(tmp_path, "ann")
    said = refused("grade", tmp_path, "--lab", LAB, "--out", tmp_path / below)
    assert "lies in the submissions" in said
    assert [each.name for each in tmp_path.iterdir()] == ["ann.ipynb"]


def test_usage_comes_before_what_was_passed_over(tmp_path: Path) -> None:
    hand_in(tmp_path, "ann")
    (tmp_path / "cy.zip").write_text("")
    assert "passed over" not in refused("grade", tmp_path, "--lab", LAB, "--resume")


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_regrading_what_was_never_graded_is_refused_and_leaves_nothing(tmp_path: Path, options: list[str]) -> None:
    assert "no grading run in" in refused("regrade", tmp_path, *options)
    assert not list(tmp_path.iterdir())


def test_in_a_pipe_whole_lines_tell_how_far_it_is(capsys: pytest.CaptureFixture[str], start: LabSpec) -> None:
    owed = infrastructure("ann", start, Key("", start.name, "", "cpu", 7), "why")
    with progress(40, "bubblewrap") as seen:
        for _ in range(40):
            seen(owed)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "grading 40; isolation: bubblewrap"
    assert lines[-1] == "graded 40 of 40: 40 infrastructure"
    assert len(lines) == 21


# --- names of files ---------------------------------------------------------------------------------------


def test_names_are_kept_in_any_script() -> None:
    names = ["ann", "Jörg Müller", "王小明", "अनिल", "a/b"]
    assert list(file_names(names).values()) == ["ann", "Jörg_Müller", "王小明", "अनिल", "a_b"]


NAMES = ["../../x", ".hidden", "a b", "=cmd", "A", "a" * 300, "é" * 300, "a/b", "-rf", "\ud800", "", "..", "\u202ex"]


@pytest.mark.parametrize("name", NAMES)
def test_a_submissions_name_makes_a_safe_file_name(name: str, tmp_path: Path) -> None:
    (safe,) = file_names([name]).values()
    assert "/" not in safe
    assert not safe.startswith((".", "-"))
    (tmp_path / f".{safe}.html.12345.tmp").write_text("")
    assert (tmp_path / f"{safe}.html").resolve().parent == tmp_path.resolve()


def test_no_two_submissions_share_a_file() -> None:
    alike = ["ann", "Ann", "a b", "a_b", "a/b", "a" * 300, "a" * 301, "e\u0301", "\u00e9", "", ".", ".."]
    alike += [each for each in file_names(alike).values() if each not in alike]  # who is called like a file of ours
    stems = [each.casefold() for each in file_names(alike).values()]
    assert len(set(stems)) == len(alike)

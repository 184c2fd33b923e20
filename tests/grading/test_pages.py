"""What people read of a class: for one learner, and for whoever teaches them."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from labkit.course.lab_spec import LabSpec
from labkit.grading import made_up
from labkit.grading.feedback import begin_there, feedback_page
from labkit.grading.follow_on import stands_on
from labkit.grading.marking import ALL_OUTCOMES, Mark
from labkit.grading.page import SIGNS, bar, legend
from labkit.grading.reaching import reaches_for, starts_programs, wants_network
from labkit.grading.report import report_markdown, report_page
from labkit.grading.result import Key, Result, infrastructure, overall
from labkit.grading.summary import summarise, to_discuss

KEY = Key("ab" * 32, "01_gemm_im2col", "1-x", "cpu", 7)


def result(spec: LabSpec, name: str, failed: dict[str, str], misconception: str | None = None) -> Result:
    """Our answers, with these outcomes in place of "pass"."""
    marks = tuple(
        Mark(each.name, 0, each.points, failed[each.name], "✗", misconception)
        if each.name in failed
        else Mark(each.name, each.points, each.points, "pass", "✓")
        for each in spec.exercises
    )
    one = replace(infrastructure(name, spec, KEY, ""), marks=marks, notes=(), answers=made_up.solutions(spec))
    return replace(one, outcome=overall(marks), score=sum(each.score for each in marks))


LOOP = {"conv_output_size": "timeout", "im2col": "timeout", "conv2d_gemm": "timeout", "col2im": "timeout"}


def test_what_fails_after_another_answer_is_told_apart(gemm: LabSpec) -> None:
    looping = result(gemm, "ann", LOOP)
    assert stands_on(looping, "conv_output_size") == []
    assert "conv_output_size" in stands_on(looping, "im2col")
    assert stands_on(result(gemm, "ann", {}), "im2col") == []
    text = report_markdown(gemm, [looping, result(gemm, "bob", {"im2col": "wrong"})])
    assert "| `conv_output_size` | 1 pass, 1 timeout | 50% |" in text
    assert "| `im2col` | 1 wrong, 1 timeout; 1 after another answer | 0% |" in text


def test_says_where_to_begin_in_good_grammar() -> None:
    assert begin_there(["a"]) == "It uses your answer to <code>a</code>, which is not right yet: begin there."
    assert "answers to <code>a</code>, <code>b</code> and <code>c</code>, which are not" in begin_there(list("abc"))


def class_of(spec: LabSpec, *failures: dict[str, str]) -> list[Result]:
    return [result(spec, f"student-{number}", failed) for number, failed in enumerate(failures)]


@pytest.mark.parametrize(
    ("failures", "hardest"),
    [
        ([{"im2col": "wrong"}] * 3 + [{"gemm_flops": "wrong"}], "im2col"),
        ([{"im2col": "wrong"}] * 3 + [{"gemm_flops": "wrong"}] * 2, None),
        ([{"im2col": "wrong"}] * 2, None),
        ([LOOP] * 4, "conv_output_size"),  # the others fail after it
        ([{}] * 4, None),
    ],
)
def test_the_hardest_is_named_only_where_it_clearly_is(
    gemm: LabSpec, failures: Sequence[dict[str, str]], hardest: str | None
) -> None:
    said = [each for each in to_discuss(summarise(gemm, class_of(gemm, *failures))) if "hardest" in each]
    assert [each.split()[3].strip(":") for each in said] == ([hardest] if hardest else [])


def test_names_with_links_stand_behind_every_number(gemm: LabSpec) -> None:
    known = gemm.exercise("gemm_flops").wrong_answers[0].name
    results = [
        result(gemm, "Jörg Müller", {"gemm_flops": "wrong"}, known),
        result(gemm, "<b>", {"im2col": "killed"}),
    ]
    page = report_page(gemm, results, ["bob/ (no 01_gemm_im2col.ipynb in it)"])
    link = '<a href="feedback/J%C3%B6rg_M%C3%BCller.html">Jörg Müller</a>'
    assert page.count(link) == len(gemm.exercises) + 3  # and: the class, the misconception, the same file
    assert "<b>" not in page
    assert "bob/ (no 01_gemm_im2col.ipynb in it)" in page
    assert "bob/" in report_markdown(gemm, results, ["bob/ (no 01_gemm_im2col.ipynb in it)"])


def test_an_outcome_is_told_by_more_than_its_colour() -> None:
    assert set(SIGNS) == set(ALL_OUTCOMES)
    assert len({sign for sign, _ in SIGNS.values()}) == len(SIGNS)
    assert 'title="2 killed">K</span>' in bar({"killed": 2})
    assert "K</span> killed" in legend(["killed"])


def test_a_malformed_file_is_told_once_and_without_hints(gemm: LabSpec) -> None:
    why = "this file is a web page, not a notebook: hand it in again"
    marks = tuple(Mark(each.name, 0, each.points, "malformed", f"✗ {each.name}: {why}") for each in gemm.exercises)
    malformed = replace(infrastructure("jo", gemm, KEY, why), marks=marks, outcome="malformed")
    page = feedback_page(gemm, malformed)
    assert page.count("web page") == 1
    assert "This file is a web page, not a notebook: hand it in again." in page
    assert "hint" not in page


# --- what answers reach for -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("import labkit.course.compare as c", "labkit.course.compare"),
        ("def f():\n    from labkit.grading import marking", "labkit.grading"),
        ("from labkit import course", "labkit.course"),
        ("__import__('labkit.course.exercise')", "labkit.course.exercise"),
        ("%time\nimport labkit.course", "labkit.course"),
        ("from labkit.gemm import tiles\nimport labkit.courses", ""),
        ("import numpy", ""),
    ],
)
def test_who_reaches_for_the_checks_can_be_told(source: str, named: str) -> None:
    assert reaches_for(source) == named


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("!pip install numpy\nx = 1", "!pip install numpy"),
        ("def f():\n    !ls", "!ls"),
        ("%pip install x", "%pip install x"),
        ("%%bash\nls", "%%bash"),
        ("%matplotlib inline\nx = 1", ""),
        ('"""\n!important\n"""', ""),
        ("x = 1 != 2", ""),
    ],
)
def test_lines_that_start_programs_can_be_told(source: str, line: str) -> None:
    assert starts_programs(source) == line


def test_a_missing_network_can_be_told() -> None:
    assert wants_network("URLError: <urlopen error [Errno -3] Temporary failure in name resolution>")
    assert not wants_network("ValueError: 3")

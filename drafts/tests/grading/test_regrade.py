"""Who moves when a check changed, and why."""

from dataclasses import replace

from labkit.course.lab_spec import LabSpec
from labkit.grading.marking import Mark
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

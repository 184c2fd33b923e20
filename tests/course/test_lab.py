import json
from pathlib import Path
from typing import Any

import pytest

import labkit
from labkit.course.lab import CheckFailed, Misuse
from labkit.course.leaning import defined_names, leaned_names


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    return labkit.open_lab("00_start_here")


def median(samples_ms: list[float]) -> float:
    ordered, n = sorted(samples_ms), len(samples_ms)
    return (ordered[(n - 1) // 2] + ordered[n // 2]) / 2


def test_a_green_check_is_one_line_and_nothing_on_stderr(lab: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert lab.check(median) is None  # nbgrader reads a number in a cell's result as points
    out, err = capsys.readouterr()
    assert out == "✓ median: right on all 8 cases (seed 0).\n"
    assert err == ""


def test_a_red_check_raises_the_verdict_without_a_traceback(lab: Any) -> None:
    with pytest.raises(CheckFailed, match="behaves like \\*slowest run\\*") as caught:
        lab.check(max, name="median")
    shown = caught.value._render_traceback_()
    assert max(map(len, shown)) <= 100  # JupyterLab breaks longer lines, inside of words
    assert " ".join(" ".join(shown).split()) == " ".join(str(caught.value).split())
    assert shown[-2:] == ["  Stuck? lab.hint('median')", "  Try it on this case: lab.case('median', 'two samples')"]


def test_hints_come_one_at_a_time_and_the_last_one_stays(lab: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(4):
        lab.hint("median")
    shown = [line for line in capsys.readouterr().out.splitlines() if line.startswith("**Hint")]
    assert [line[:13] for line in shown] == ["**Hint 1 of 3", "**Hint 2 of 3", "**Hint 3 of 3", "**Hint 3 of 3"]
    assert "a question" in shown[0]
    assert "pseudo-code" in shown[2]


def test_progress_outlives_the_kernel(lab: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CheckFailed):
        lab.check(max, name="median")
    lab.check(median)
    again = labkit.open_lab("00_start_here")
    capsys.readouterr()
    again.progress()
    assert "| `median` | ✓ solved | 2 | 0 | 1 |" in capsys.readouterr().out
    assert again.solved() == 1
    with pytest.raises(CheckFailed):
        again.check(max, name="median")
    assert again.solved() == 1  # what was solved once stays solved


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"median": {"unknown_field": 1}}', '{"median": 3}'])
def test_a_damaged_progress_file_is_no_error(lab: Any, tmp_path: Path, text: str) -> None:
    (tmp_path / ".labkit").mkdir()
    path = tmp_path / ".labkit" / "00_start_here.json"
    path.write_text(text)
    assert lab.solved() == 0
    lab.check(median)
    assert json.loads(path.read_text())["median"]["passed"] is True


def test_a_card_says_all_that_the_declaration_says(lab: Any, capsys: pytest.CaptureFixture[str]) -> None:
    lab.card("median")
    out = capsys.readouterr().out
    for part in ("`median`", "easy", "5 min", "1 point", "about 5 lines", "any machine", "median(samples_ms)"):
        assert part in out


def test_predict_then_reconcile(lab: Any, capsys: pytest.CaptureFixture[str]) -> None:
    lab.predict("the share", None, "%")
    lab.reconcile("the share", 60.0)
    out = capsys.readouterr().out
    assert "Put your number in place of None" in out
    assert "Measured: 60 % for the share." in out
    lab.predict("the share", 30, "%")
    lab.reconcile("the share", 60.0)
    assert "The measured is 2 times your prediction, 30 %." in capsys.readouterr().out
    lab.predict("the share", 61, "%")
    lab.reconcile("the share", 60.0)
    assert "within 10 %" in capsys.readouterr().out


def test_a_share_written_as_a_fraction_is_asked_about(lab: Any, capsys: pytest.CaptureFixture[str]) -> None:
    lab.predict("the share", 0.9, "%")
    assert "If you mean 0.9 of the whole, write 90: the unit is %." in capsys.readouterr().out
    for guess, unit in ((90, "%"), (0, "%"), (0.9, "times")):
        lab.predict("the share", guess, unit)
        assert "If you mean" not in capsys.readouterr().out


def test_a_name_that_is_no_exercise_is_answered_with_those_that_are(lab: Any) -> None:
    with pytest.raises(Misuse, match="it has: median") as caught:
        lab.check(len)
    assert caught.value._render_traceback_() == [str(caught.value)]  # one sentence, no traceback
    with pytest.raises(Misuse, match="takes the answer itself"):
        lab.check("median")
    with pytest.raises(Misuse, match="a prediction is a number, and 'twice' came"):
        lab.predict("the share", "twice")


def test_a_failing_case_can_be_tried(lab: Any) -> None:
    with pytest.raises(CheckFailed, match=r"lab\.case\('median', 'two samples'\)"):
        lab.check(max, name="median")
    assert median(*lab.case("median", "two samples")) == 2.5
    assert lab.case(median, "one sample") == ([7.5],)
    with pytest.raises(Misuse, match="has no case 'three'; it has: one sample"):
        lab.case("median", "three")


# --- leaning ----------------------------------------------------------------------------------------------

HISTORY = [
    "import numpy as np",  # released
    "import math\ndef helper(x): return x",  # the learner's own cell
    "def inside(x): return x\ndef answer(x): return inside(x)",  # the answer's cell
]


def _answer(source: str) -> Any:
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    return namespace["answer"]


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("def answer(x): return len(np.array(x))", []),
        ("def answer(x): return inside(x)", []),
        ("def answer(x): return helper(x)", ["helper"]),
        ("def answer(x):\n    def nested(): return math.pi\n    return nested()", ["math"]),
        (
            "class answer:\n    def method(self): return helper(1)\n    @property\n    def p(self): return math",
            ["helper", "math"],
        ),
    ],
)
def test_an_answer_that_leans_on_a_cell_of_the_learners_own(source: str, names: list[str]) -> None:
    assert leaned_names(_answer(source), [*HISTORY, source], {"np"}, ["answer"]) == names


def test_what_a_cell_defines() -> None:
    source = (
        "import a.b as c, d.e\nfrom f import g as h\nx, (y, *z) = 1, (2, 3)\nfor i in x: j = i\nwith q as r: pass\n"
    )
    source += "def function():\n    inside = 1\nclass Class:\n    attribute = 1\n"
    assert defined_names(source) == {"c", "d", "h", "x", "y", "z", "i", "j", "r", "function", "Class"}
    assert defined_names("def broken(:") == set()

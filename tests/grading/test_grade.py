"""One submission from end to end: the whole path, behind the wall."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from labkit.course.lab_spec import LabSpec
from labkit.grading import made_up
from labkit.grading.feedback import feedback_page
from labkit.grading.grade import Grader
from labkit.grading.result import Result

GradeMedian = Callable[[str], Result]
GradeGemm = Callable[[Mapping[str, str]], Result]

RIGHT = "def median(samples_ms):\n    import statistics\n    return statistics.median(samples_ms)"


def test_the_solution_gets_everything_and_the_starter_nothing(
    start: LabSpec, start_grader: Grader, tmp_path: Path
) -> None:
    full = start_grader.grade(made_up.write(tmp_path, "full", made_up.submission(start, made_up.solutions(start))))
    none = start_grader.grade(made_up.write(tmp_path, "none", made_up.submission(start, {})))
    assert (full.score, full.outcome) == (start.points, "pass")
    assert (none.score, none.outcome) == (0, "not-answered")


def test_lab_01_solution_starter_and_half(gemm: LabSpec, gemm_grader: Grader, tmp_path: Path) -> None:
    ours = made_up.solutions(gemm)
    half = {name: ours[name] for name in list(ours)[:4]}
    points = sum(gemm.exercise(name).points for name in half)
    expected = {"full": (ours, gemm.points, "pass"), "none": ({}, 0, "not-answered"), "half": (half, points, "partial")}
    for name, (answers, score, outcome) in expected.items():
        result = gemm_grader.grade(made_up.write(tmp_path, name, made_up.submission(gemm, answers)))
        assert (result.score, result.outcome, result.max_score) == (score, outcome, gemm.points), name


ODD_BUT_RIGHT = {
    "a lambda": "median = lambda samples_ms: float(sorted(samples_ms)[len(samples_ms) // 2] + "
    "sorted(samples_ms)[(len(samples_ms) - 1) // 2]) / 2",
    "an object that can be called": "class Median:\n    def __call__(self, x):\n        y = sorted(x)\n"
    "        return (y[len(y) // 2] + y[~(len(y) // 2)]) / 2\n\nmedian = Median()",
    "numpy, a numpy scalar": "import numpy as np\n\ndef median(samples_ms):\n    return np.median(samples_ms)",
    "torch, a tensor of no dimension": "import torch\n\ndef median(samples_ms):\n"
    "    return torch.quantile(torch.tensor(samples_ms, dtype=torch.float64), 0.5)",
    "helpers and imports in the same cell": "import heapq\n\ndef nth(x, n):\n"
    "    return heapq.nsmallest(n + 1, x)[n]\n\n"
    "def median(x):\n    n = len(x)\n    return (nth(x, n // 2) + nth(x, (n - 1) // 2)) / 2",
    "names of ours used otherwise": "lab = list\nSEED = None\n\ndef median(x):\n    x = lab(x)\n    x.sort()\n"
    "    return (x[len(x) // 2] + x[~(len(x) // 2)]) / 2",
    "noise on stderr and stdout": "import sys, warnings\nprint('loading …', file=sys.stderr)\n\ndef median(x):\n"
    "    warnings.warn('careful')\n    print('50 %|#####     |', file=sys.stderr)\n    print('working')\n"
    "    y = sorted(x)\n    return (y[len(y) // 2] + y[~(len(y) // 2)]) / 2",
    "a check in the same cell, and a magic": "%matplotlib inline\ndef median(x):\n    y = sorted(x)\n"
    "    return (y[len(y) // 2] + y[~(len(y) // 2)]) / 2\n\nlab.check(median)",
    "a decorator and a cache": "import functools\n\ndef listed(f):\n    @functools.wraps(f)\n    def g(x):\n"
    "        return f(tuple(x))\n    return g\n\n@listed\n@functools.lru_cache\ndef median(x):\n"
    "    y = sorted(x)\n    return (y[len(y) // 2] + y[~(len(y) // 2)]) / 2",
    "the answer, then an error": RIGHT + "\n\nmedian(3)",
}


@pytest.mark.parametrize("name", ODD_BUT_RIGHT)
def test_odd_but_right_code_gets_full_marks(grade_median: GradeMedian, name: str) -> None:
    result = grade_median(ODD_BUT_RIGHT[name])
    assert (result.score, result.outcome) == (1, "pass"), result.marks[0].feedback


OUTCOMES = {
    "wrong": "def median(samples_ms):\n    return sum(samples_ms) / len(samples_ms)",
    "exception": "def median(samples_ms):\n    return samples_ms[99]",
    "not-answered": "def median(samples_ms):\n    raise NotImplementedError('later')",
    "out of memory": "import numpy as np\n\ndef median(samples_ms):\n    return np.ones(2**36)",
    "killed": "import os\n\ndef median(samples_ms):\n    os._exit(0)",
}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_outcomes_are_named(grade_median: GradeMedian, outcome: str) -> None:
    result = grade_median(OUTCOMES[outcome])
    assert (result.score, result.outcome) == (0, outcome), result.marks[0].feedback


@pytest.mark.slow
def test_a_loop_costs_its_own_answer_and_no_other(grade_gemm: GradeGemm, gemm: LabSpec) -> None:
    result = grade_gemm({"gemm_flops": "def gemm_flops(m, n, k):\n    while True: pass"})
    assert result.score == gemm.points - gemm.exercise("gemm_flops").points
    assert {each.exercise: each.outcome for each in result.marks if each.outcome != "pass"} == {"gemm_flops": "timeout"}


def test_an_exit_costs_its_own_answer_and_no_other(grade_gemm: GradeGemm, gemm: LabSpec) -> None:
    result = grade_gemm({"gemm_flops": "import os\nos._exit(0)"})
    assert result.score == gemm.points - gemm.exercise("gemm_flops").points
    assert {each.exercise: each.outcome for each in result.marks if each.outcome != "pass"} == {"gemm_flops": "killed"}
    assert result.notes == ("was run one exercise at a time, since the whole run left before every answer was there",)


OWN_SEED = {"cell_type": "code", "source": "SEED = 12", "metadata": {"tags": ["injected-parameters"]}, "outputs": []}


def test_the_cases_that_a_learner_reads_of_are_those_of_their_own_seed(start_grader: Grader, tmp_path: Path) -> None:
    for answer, outcome in ((RIGHT, "pass"), ("def median(samples_ms):\n    return 0.0", "wrong")):
        notebook = made_up.submission(start_grader.spec, {"median": answer})
        notebook["cells"].insert(2, OWN_SEED)
        result = start_grader.grade(made_up.write(tmp_path, "ann", notebook))
        assert result.outcome == outcome
        assert "(seed 12)" in result.marks[0].feedback
        assert result.provenance["seed"] == 7  # of the hidden cases


def test_right_code_in_a_cell_that_is_not_graded_is_said(start_grader: Grader, tmp_path: Path) -> None:
    notebook = made_up.submission(start_grader.spec, {"median": "median = lambda x: middle(sorted(x))"})
    own = {"cell_type": "code", "source": "def middle(x):\n    return x[0]", "metadata": {}, "outputs": []}
    notebook["cells"].append(own)
    result = start_grader.grade(made_up.write(tmp_path, "ann", notebook))
    assert result.outcome == "exception"
    note = "`median` uses `middle`, defined in a cell that is not graded: put it into the answer cell"
    assert result.notes == (note,)


def test_a_line_for_the_shell_does_nothing_at_once(grade_median: GradeMedian) -> None:
    result = grade_median(f"!pip install numpy\n%pip install numpy\nfound = !ls /\n{RIGHT}")
    assert result.outcome == "pass"
    assert "answers run without a network and without a shell" in result.notes[0]


def test_of_a_syntax_error_the_line_is_shown(grade_median: GradeMedian) -> None:
    feedback = grade_median("import math\ndef median(x):\n    return math.sqrt x").marks[0].feedback
    assert "SyntaxError: invalid syntax\n" in feedback
    assert "line 3: return math.sqrt x" in feedback


def test_a_known_mistake_is_named(grade_median: GradeMedian) -> None:
    mark = grade_median(OUTCOMES["wrong"]).marks[0]
    assert mark.misconception == "mean"
    assert "this behaves like *mean*" in mark.feedback


def test_an_answer_that_fails_because_another_does_is_told_where_to_begin(grade_gemm: GradeGemm, gemm: LabSpec) -> None:
    signature = "def conv_output_size(size, kernel, stride=1, padding=0, dilation=1):\n"
    result = grade_gemm({"conv_output_size": signature + "    return size - kernel + 1"})
    assert {each.exercise: each.outcome for each in result.marks}["im2col"] != "pass"
    page = feedback_page(gemm, result)
    assert "It uses your answer to <code>conv_output_size</code>, which is not right yet" in page
    assert page.count("begin there") == sum(
        each.outcome != "pass" and each.exercise in ("im2col", "conv2d_gemm", "col2im") for each in result.marks
    )


def test_feedback_shows_no_hidden_input(grade_median: GradeMedian) -> None:
    """Right on the cases that lab.check has, wrong on others: the finding names no case and no number of them."""
    known = "[[7.5], [4.0, 1.0], [3.0, 9.0, 1.0]]"
    cheat = (
        "from labkit.course import exercise\n"
        f"def median(x):\n    if list(x) in {known} or len(x) < 5:\n        y = sorted(x)\n"
        "        return (y[len(y) // 2] + y[~(len(y) // 2)]) / 2\n    return SHOWN.get(tuple(x), 0.0)\n"
    )
    import numpy as np

    from labkit.course.exercises import lab_spec

    public = [case.args[0] for case in lab_spec("00_start_here").exercise("median").make_cases(0)]
    shown = {tuple(args): float(np.median(args)) for args in public}
    result = grade_median(cheat.replace("from labkit.course import exercise\n", f"SHOWN = {shown!r}\n"))
    assert result.outcome == "wrong"
    hidden = lab_spec("00_start_here").exercise("median").make_cases(7)[-1]
    assert "right on the cases of lab.check" in result.marks[0].feedback
    assert str(hidden.args[0][0]) not in result.marks[0].feedback
    assert hidden.name not in result.marks[0].feedback


def test_the_same_key_gives_the_same_result(grade_gemm: GradeGemm) -> None:
    noisy = {
        "gemm_flops": "import random\n\ndef gemm_flops(m, n, k):\n    return 2 * m * n * k + random.choice([0, 1])"
    }
    first, second = (grade_gemm(noisy).as_data() for _ in range(2))
    first.pop("run"), second.pop("run")
    assert first == second


def test_a_result_says_how_to_get_it_again(grade_median: GradeMedian) -> None:
    result = grade_median(RIGHT)
    assert result.provenance["replay"] == "labkit grade somebody.ipynb --lab 00_start_here --seed 7"
    assert len(result.provenance["source_sha256"]) == 64
    assert result.run["isolation"] in ("bubblewrap", "podman", "docker")
    assert Result.from_data(result.as_data()) == result

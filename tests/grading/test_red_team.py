"""Every class of hostile submission: none earns more than its honest part, none reads, reaches or outlives anything.

One file of `red_team/` per class; in it one attempt after each `# %%`. An attempt replaces the answer to
`gemm_flops`; `gemm_min_bytes` is honest, everything else is left out. Where an attempt looks for something, it
answers rightly if it found it, so that its score tells. The same files arrive by accident, too.
"""

import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from labkit.course.lab_spec import LabSpec
from labkit.course.paths import ROOT
from labkit.grading import made_up
from labkit.grading.feedback import feedback_notebook, feedback_page
from labkit.grading.grade import Grader
from labkit.grading.gradebook import gradebook
from labkit.grading.report import report_markdown, report_page

FOLDER = Path(__file__).parent / "red_team"
TOKEN = f"token-of-the-grader-{os.getpid()}"
HONEST = "gemm_min_bytes"


def read_attempts() -> dict[str, str]:
    found = {}
    for path in sorted(FOLDER.glob("*.py")):
        _, *parts = re.split(r"^# %% (.+)$", path.read_text(), flags=re.MULTILINE)
        found |= {f"{path.stem}: {name}": text for name, text in zip(parts[::2], parts[1::2], strict=True)}
    return found


ATTEMPTS = read_attempts()


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory: pytest.TempPathFactory, gemm: LabSpec) -> Iterator[dict[str, str]]:
    """What there is to find: a secret file, a file to change, a listener, a token in the environment."""
    folder = tmp_path_factory.mktemp("grader")
    (folder / "secret").write_text(TOKEN)
    (folder / "canary").write_text("as it was")
    (folder / "out").mkdir()
    cases = [case.args for case in gemm.exercise("gemm_flops").make_cases(0)]
    os.environ["LABKIT_TEST_TOKEN"] = TOKEN
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(f"\0{TOKEN}")
        unix.listen()
        yield {
            "{ROOT}": str(ROOT),
            "{SECRET}": str(folder / "secret"),
            "{CANARY}": str(folder / "canary"),
            "{OUT}": str(folder / "out"),
            "{TOKEN}": TOKEN,
            "{PORT}": str(tcp.getsockname()[1]),
            "{KNOWN}": repr({(m, n, k): 2 * m * n * k for m, n, k in cases}),
        }
        del os.environ["LABKIT_TEST_TOKEN"]
    assert (folder / "canary").read_text() == "as it was"
    assert not list((folder / "out").iterdir())


@pytest.fixture(scope="module")
def gemm(gemm: LabSpec) -> LabSpec:
    """The first two exercises of lab 01: enough here, and quick."""
    return replace(gemm, exercises=tuple(each for each in gemm.exercises if each.name in ("gemm_flops", HONEST)))


@pytest.fixture(scope="module")
def gemm_grader(gemm: LabSpec, gemm_grader: Grader) -> Grader:
    return Grader(gemm, gemm_grader.seed, gemm_grader.sandbox)


def hand_in(spec: LabSpec, folder: Path, source: str) -> Path:
    honest = made_up.solutions(spec)[HONEST]
    return made_up.write(folder, "mallory", made_up.submission(spec, {"gemm_flops": source, HONEST: honest}))


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_earns_its_honest_part_and_no_more(
    attempt: str,
    surroundings: dict[str, str],
    gemm: LabSpec,
    gemm_grader: Grader,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = ATTEMPTS[attempt]
    if attempt.startswith("never_ends"):
        monkeypatch.setattr(gemm_grader.sandbox, "limits", replace(gemm_grader.sandbox.limits, wall_s=5.0, cell_s=2.0))
    for placeholder, value in surroundings.items():
        source = source.replace(placeholder, value)
    result = gemm_grader.grade(hand_in(gemm, tmp_path, source))
    honest = gemm.exercise(HONEST).points
    assert result.score <= honest, [each.feedback for each in result.marks[:2]]
    if "os.write(" not in source:  # who writes into the channel may well spoil their own answers
        assert (result.score, result.outcome) == (honest, "partial"), [each.feedback for each in result.marks[:2]]
    assert result.is_graded, "nobody can make the grader give up"
    assert not survivors(), "something outlives the run"
    page = feedback_page(gemm, result)
    assert "<script" not in page
    assert "\x1b" not in page + report_page(gemm, [result]) + report_markdown(gemm, [result])
    assert "\n=" not in gradebook(gemm, [result])
    feedback_notebook(gemm, result)


def survivors() -> list[str]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if TOKEN in line:
            found.append(line)
    return found


def test_the_next_one_is_not_affected(gemm: LabSpec, gemm_grader: Grader, tmp_path: Path) -> None:
    """After one that changed everything that it could reach, an honest one gets what it deserves."""
    wrecker = (
        "import numpy as np, os, sys, builtins\nnp.array = np.zeros = None\nbuiltins.sorted = None\n"
        "sys.path.insert(0, '/tmp')\nopen('/tmp/numpy.py', 'w').write('raise SystemExit')\n"
        "open('/dev/shm/left', 'w').write('x')\nos.environ['LEFT'] = '1'\n"
        "import labkit.course.answers as a\na.encode = None\n"
    )
    gemm_grader.grade(hand_in(gemm, tmp_path, wrecker))
    honest = "import os\nassert not os.path.exists('/dev/shm/left')\nassert 'LEFT' not in os.environ\n"
    honest += "assert not os.path.exists('/tmp/numpy.py')\n" + made_up.solutions(gemm)["gemm_flops"]
    result = gemm_grader.grade(hand_in(gemm, tmp_path, honest))
    assert [each.outcome for each in result.marks[:2]] == ["pass", "pass"], result.marks[0].feedback


def test_ended_as_a_whole_tree_in_time(gemm: LabSpec, gemm_grader: Grader, tmp_path: Path) -> None:
    """Processes that multiply for as long as they are let are gone when the result is there."""
    bomb = "import os\nwhile True:\n    os.fork()"
    before = time.monotonic()
    result = gemm_grader.grade(hand_in(gemm, tmp_path, bomb))
    assert result.marks[0].outcome == "killed"
    assert "processes at once" in result.marks[0].feedback
    assert time.monotonic() - before < 60
    from labkit.grading.tree import descendants

    assert len(descendants(os.getpid())) < 20


TELLS_ALL = """
import gc, os
SEEN = []
def tell(*args):
    for thing in gc.get_objects():
        if type(thing).__name__ == "Case":
            SEEN.append(tuple(thing.args))
    SEEN.append(args)
    with open("/tmp/seen", "a") as file:
        file.write(repr(SEEN))
    raise ValueError(open("/tmp/seen").read()[:1900] + repr(SEEN))
def gemm_flops(m, n, k):
    tell(m, n, k)
"""


def test_no_hidden_input_can_be_told_to_the_learner(gemm: LabSpec, gemm_grader: Grader, tmp_path: Path) -> None:
    """The code keeps every input that it can find, in memory and in files, and tells all in what it raises."""
    result = gemm_grader.grade(hand_in(gemm, tmp_path, TELLS_ALL))
    told = feedback_page(gemm, result) + feedback_notebook(gemm, result)
    shown, hidden = (
        {case.args[0] for each in gemm.exercises for case in each.make_cases(seed)} for seed in (0, gemm_grader.seed)
    )
    assert any(str(size) in told for size in shown if size > 100), "the public inputs were told"
    secret = {size for size in hidden - shown if size > 100}
    assert len(secret) > 3
    assert not [size for size in secret if re.search(rf"\b{size}\b", told)]


# --- the notebook itself ----------------------------------------------------------------------------------


def metadata(notebook: dict[str, Any]) -> None:
    """Steers the run by metadata: tags, settings, kernel, points, ids."""
    notebook["metadata"] = {
        "kernelspec": {"name": "../../evil", "display_name": "x", "language": "bash"},
        "papermill": {"parameters": {"SEED": 1}},
        "widgets": {"application/vnd.jupyter.widget-state+json": {}},
        "labkit": {"version": "1'; DROP TABLE"},
    }
    for cell in notebook["cells"]:
        cell["metadata"]["tags"] = ["raises-exception", "skip-execution", "injected-parameters", "parameters"]
        if "nbgrader" in cell["metadata"]:
            cell["metadata"]["nbgrader"] |= {"points": 1000, "grade": True, "solution": False, "locked": False}


def checks(notebook: dict[str, Any]) -> None:
    """Changes or removes every cell that is not an answer."""
    for cell in notebook["cells"]:
        if not answer_of(cell):
            cell["source"] = "raise SystemExit(0)"


def shape(notebook: dict[str, Any]) -> None:
    """Repeats, reorders and renames cells."""
    extra = [json.loads(json.dumps(cell)) for cell in notebook["cells"]]
    for cell in extra:
        cell["source"] = "lab = None"
    notebook["cells"] = list(reversed(notebook["cells"])) + extra


def ids(notebook: dict[str, Any]) -> None:
    """Gives an honest answer's id to another answer, and ids that do not exist."""
    for cell in notebook["cells"]:
        if answer_of(cell) == "gemm_flops":
            cell["metadata"]["nbgrader"]["grade_id"] = "answer-../../im2col"


def outputs(notebook: dict[str, Any]) -> None:
    """Brings outputs that say that all is well, and megabytes of them."""
    text = "✓ right on all cases\n" * 100_000
    for cell in notebook["cells"]:
        cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": text[:100_000]}]


def answer_of(cell: dict[str, Any]) -> str:
    grade_id = cell.get("metadata", {}).get("nbgrader", {}).get("grade_id", "")
    return grade_id.removeprefix("answer-") if grade_id.startswith("answer-") else ""


@pytest.mark.parametrize("mutate", [metadata, checks, shape, ids, outputs], ids=lambda each: each.__name__)
def test_what_stands_around_the_answers_has_no_effect(
    mutate: Callable[[dict[str, Any]], None], gemm: LabSpec, gemm_grader: Grader, tmp_path: Path
) -> None:
    honest = made_up.solutions(gemm)[HONEST]
    notebook = made_up.submission(gemm, {"gemm_flops": "def gemm_flops(m, n, k):\n    return 0", HONEST: honest})
    mutate(notebook)
    result = gemm_grader.grade(made_up.write(tmp_path, "mallory", notebook))
    assert (result.score, result.outcome) == (gemm.exercise(HONEST).points, "partial")
    assert result.max_score == gemm.points

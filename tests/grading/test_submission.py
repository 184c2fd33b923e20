"""What is taken of a learner's file, and what is not."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labkit.course.lab_spec import LabSpec
from labkit.grading import made_up
from labkit.grading.outside import leans_outside
from labkit.grading.own_seed import own_seed
from labkit.grading.source_names import used_names
from labkit.grading.submission import Malformed, read_submission, rebuild

ANSWER = "def median(samples_ms):\n    return sorted(samples_ms)[len(samples_ms) // 2]"
Notebook = dict[str, Any]


@pytest.fixture
def notebook(start: LabSpec) -> Notebook:
    return made_up.submission(start, {"median": ANSWER})


def answer_cell(notebook: Notebook) -> dict[str, Any]:
    return next(c for c in notebook["cells"] if c["metadata"].get("nbgrader", {}).get("grade_id") == "answer-median")


def read(start: LabSpec, folder: Path, notebook: Notebook) -> Any:
    return read_submission(made_up.write(folder, "ann", notebook), start)


def test_takes_the_source_of_the_answer_cell(start: LabSpec, tmp_path: Path, notebook: Notebook) -> None:
    assert read(start, tmp_path, notebook).answers == {"median": ANSWER}


def test_a_cell_that_lost_its_metadata_is_found_by_its_id(start: LabSpec, tmp_path: Path, notebook: Notebook) -> None:
    answer_cell(notebook)["metadata"] = {}
    assert read(start, tmp_path, notebook).answers == {"median": ANSWER}


def test_of_a_copied_cell_the_last_definition_counts(start: LabSpec, tmp_path: Path, notebook: Notebook) -> None:
    notebook["cells"].append({**answer_cell(notebook), "source": "def median(x):\n    return 2"})
    submission = read(start, tmp_path, notebook)
    assert submission.answers == {"median": "def median(x):\n    return 2"}
    assert submission.notes == ("median: its answer cell stands 2 times; the last definition is graded",)


def test_the_parts_of_a_split_cell_are_put_together(start: LabSpec, tmp_path: Path, notebook: Notebook) -> None:
    cell = answer_cell(notebook)
    index = notebook["cells"].index(cell)
    notebook["cells"].insert(index, {**cell, "source": "def middle(x):\n    return x[len(x) // 2]"})
    cell["source"] = "def median(samples_ms):\n    return middle(sorted(samples_ms))"
    submission = read(start, tmp_path, notebook)
    assert "def middle" in submission.answers["median"]
    assert "def median" in submission.answers["median"]
    assert submission.notes == ("median: its answer cell was split into 2; the parts are graded together",)


def test_cells_of_the_learners_own_may_stand_anywhere(start: LabSpec, tmp_path: Path, notebook: Notebook) -> None:
    own = {"cell_type": "code", "source": "1/0", "metadata": {}, "outputs": [], "execution_count": None}
    notebook["cells"] = [own, *reversed(notebook["cells"]), own]
    assert read(start, tmp_path, notebook).answers == {"median": ANSWER}


def test_a_missing_answer_cell_is_said(gemm: LabSpec, tmp_path: Path) -> None:
    notebook = made_up.submission(gemm, {})
    notebook["cells"] = [c for c in notebook["cells"] if c.get("id") != "answer-im2col"]
    assert "im2col: its answer cell is missing" in read(gemm, tmp_path, notebook).notes


def test_an_older_version_is_said(start: LabSpec, tmp_path: Path, notebook: Notebook) -> None:
    notebook["metadata"]["labkit"] = {"version": 0}
    assert read(start, tmp_path, notebook).notes == ("handed in for version 0 of the lab; graded as version 1",)


MALFORMED: list[tuple[str, bytes, str]] = [
    ("empty", b"", "^this file is empty: hand it in again$"),
    ("half a file", b'{"cells": [', "^this file is cut off in the middle: hand it in again$"),
    ("a sign-in page", b"\n<!doctype html><html></html>", "^this file is a web page, not a notebook"),
    ("a PDF", b"%PDF-1.7", "^this file is a PDF, not a notebook"),
    ("an archive", b"PK\x03\x04", "^this file is an archive, not a notebook"),
    ("a program", b"import numpy\n", "^this file is not a notebook, only called like one"),
    ("utf-16", '{"cells": []}'.encode("utf-16"), "^this file is a text in UTF-16"),
    ("a conflict", b'{"cells": [\n<<<<<<< HEAD\n]}', "^this file holds git's conflict marks"),
    ("a comma too many", b'{"cells": [\n1,]}', "^this file was a notebook and is broken at line 2"),
    ("deep", b"[" * 200_000, "^this file is not a notebook"),
    ("endless number", b'{"cells": ' + b"9" * 10_000 + b"}", "^this file was a notebook and is broken, as if"),
    ("a list", b"[]", "format 4"),
    ("format 3", b'{"worksheets": [{"cells": []}], "nbformat": 3}', "format 4"),
    ("no cells", b'{"cells": [], "nbformat": 4}', "found no cell with a grade id"),
    ("odd cells", b'{"cells": [1, null, {"metadata": 3, "id": 4}], "nbformat": 4}', "found no cell with a grade id"),
]


@pytest.mark.parametrize(("content", "reason"), [each[1:] for each in MALFORMED], ids=[each[0] for each in MALFORMED])
def test_says_why_a_file_is_malformed(start: LabSpec, tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "ann.ipynb"
    path.write_bytes(content)
    with pytest.raises(Malformed, match=reason):
        read_submission(path, start)


def test_the_only_answer_cell_may_be_missing_too(start: LabSpec, tmp_path: Path, notebook: Notebook) -> None:
    notebook["cells"].remove(answer_cell(notebook))
    submission = read(start, tmp_path, notebook)
    assert submission.answers == {}
    assert submission.notes == ("median: its answer cell is missing",)


def test_a_notebook_that_lost_its_ids_says_the_remedy(start: LabSpec, tmp_path: Path, notebook: Notebook) -> None:
    for number, cell in enumerate(notebook["cells"]):
        cell["metadata"], cell["id"] = {}, f"new-{number}"
    with pytest.raises(
        Malformed, match=r"`median` in cells that lost their grade ids.* copy each answer into its cell"
    ):
        read(start, tmp_path, notebook)


def own_cell(source: str, tags: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"cell_type": "code", "source": source, "metadata": {"tags": list(tags)}, "outputs": []}


OUTSIDE = "`median` is defined in a cell that is not graded; only the answer cell is"


@pytest.mark.parametrize("answer", [None, "", "# moved below", "def middle(x):\n    return 1", "%time\nx = 1"])
def test_an_answer_in_a_cell_of_ones_own_is_said(
    start: LabSpec, tmp_path: Path, notebook: Notebook, answer: str | None
) -> None:
    stub = answer_cell(made_up.submission(start, {}))["source"]
    answer_cell(notebook)["source"] = stub if answer is None else answer
    notebook["cells"].append(own_cell(ANSWER))
    assert OUTSIDE in read(start, tmp_path, notebook).notes


@pytest.mark.parametrize("answer", [ANSWER, f"%matplotlib inline\n{ANSWER}"])
def test_a_second_attempt_in_a_cell_of_ones_own_is_no_matter(
    start: LabSpec, tmp_path: Path, notebook: Notebook, answer: str
) -> None:
    answer_cell(notebook)["source"] = answer
    notebook["cells"].append(own_cell("def median(x):\n    return 0"))
    assert read(start, tmp_path, notebook).notes == ()


def test_names_that_only_a_cell_of_ones_own_defines(start: LabSpec, tmp_path: Path, notebook: Notebook) -> None:
    source = "def median(x):\n    return middle(np.sort(x), lab, len(x), unknown)"
    answer_cell(notebook)["source"] = source
    notebook["cells"].insert(0, own_cell("import numpy as np\n\ndef middle(x):\n    return x"))
    submission = read(start, tmp_path, notebook)
    assert leans_outside("median", submission.answers, submission.outside, start) == ["middle"]
    inside = {"median": f"{source}\n\ndef middle(x):\n    return x"}
    assert leans_outside("median", inside, submission.outside, start) == []


@pytest.mark.parametrize(
    ("cells", "seed"),
    [
        ([own_cell("SEED = 12", ("injected-parameters",)), own_cell("SEED = 3", ("parameters",))], 12),
        ([own_cell("SEED = 3", ("parameters",))], 3),
        ([own_cell("SEED = 3")], None),
        ([own_cell("SEED = open('/etc/passwd')", ("parameters",))], None),
        ([own_cell("SEED = True", ("parameters",))], None),
        ([own_cell("SEED = -1", ("parameters",))], None),
        ([own_cell(f"SEED = {10**30}", ("parameters",))], None),
        ([own_cell("SEED = 2.0", ("parameters",))], None),
        ([{"metadata": {"tags": ["parameters"]}, "source": ["SEED = 1\n", "X = 2"]}], 1),
        ([{"metadata": 3, "source": "SEED = 1"}, {"source": 4, "metadata": {"tags": ["parameters"]}}], None),
    ],
)
def test_of_the_parameters_only_a_literal_seed_is_taken(cells: list[dict[str, Any]], seed: int | None) -> None:
    assert own_seed(cells) == seed


def test_another_labs_notebook_is_named(start: LabSpec, gemm: LabSpec, tmp_path: Path) -> None:
    with pytest.raises(Malformed, match="cells of another notebook"):
        read(gemm, tmp_path, made_up.submission(start, {}))


def too_large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(60 * 2**20)


def a_link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


@pytest.mark.parametrize(
    ("make", "reason"),
    [(too_large, "clear the outputs"), (a_link, "a link"), (os.mkfifo, "a pipe"), (Path.mkdir, "a folder")],
    ids=["too large", "link", "pipe", "folder"],
)
def test_takes_only_a_file_of_a_reasonable_size(
    start: LabSpec, tmp_path: Path, make: Callable[[Path], None], reason: str
) -> None:
    path = tmp_path / "ann.ipynb"
    make(path)
    with pytest.raises(Malformed, match=reason):
        read_submission(path, start)


@pytest.mark.parametrize(
    "source", ["x\x00y", "(" * 150_000, "-" * 100_000 + "1", "\ud800", "%magic\n!ls", "def median("]
)
def test_any_text_of_an_answer_can_be_rebuilt(start: LabSpec, tmp_path: Path, source: str) -> None:
    submission = read(start, tmp_path, made_up.submission(start, {"median": source}))
    rebuild(start, submission)


# --- rebuilding -------------------------------------------------------------------------------------------


def test_everything_but_the_answer_comes_from_the_release(start: LabSpec, tmp_path: Path, notebook: Notebook) -> None:
    for cell in notebook["cells"]:
        cell["metadata"]["tags"] = ["raises-exception", "parameters"]
        if cell is not answer_cell(notebook):
            cell["source"] = "raise SystemExit"
    notebook["metadata"] = {"kernelspec": {"name": "evil"}, "execution": {"allow_errors": True}}
    rebuilt = rebuild(start, read(start, tmp_path, notebook))
    text = json.dumps(rebuilt)
    assert ANSWER in [cell.source for cell in rebuilt.cells]
    assert "SystemExit" not in text
    assert "raises-exception" not in text
    assert rebuilt.metadata.kernelspec.name == "python3"


def test_cells_that_no_answer_needs_are_left_out(gemm: LabSpec, tmp_path: Path) -> None:
    everything = read(gemm, tmp_path, made_up.submission(gemm, made_up.solutions(gemm)))
    one = rebuild(gemm, everything, ("gemm_flops",))
    assert [cell.metadata.get("nbgrader", {}).get("grade_id") for cell in one.cells] == [None, "answer-gemm_flops"]
    leaning = rebuild(gemm, everything, ("conv2d_gemm",))
    assert "answer-im2col" in [cell.metadata.get("nbgrader", {}).get("grade_id") for cell in leaning.cells]


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("def f(x):\n    rows = g(x)\n    return rows + n", {"g", "n"}),
        ("class A(B):\n    def f(self):\n        return [h(i) for i in self.x]", {"B", "h"}),
        ("y = lambda x: x + z", {"z"}),
        ("def f():\n    global k\n    k = 1\n    return k", {"k"}),
    ],
)
def test_used_names_are_those_of_the_notebook_not_of_the_function(source: str, names: set[str]) -> None:
    assert names <= used_names(source)
    assert not used_names(source) & {"rows", "self", "i", "x"}

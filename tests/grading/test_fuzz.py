"""Malformed and mutated notebooks never crash the grader: they are read, or they are called malformed."""

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labkit.course.exercises import lab_spec
from labkit.grading import made_up
from labkit.grading.grade import Grader
from labkit.grading.submission import Malformed, read_submission, rebuild

SPEC = lab_spec("00_start_here")
FULL = made_up.submission(SPEC, made_up.solutions(SPEC))
TEXT = json.dumps(FULL)

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A notebook in which something happened to cells, to a field anywhere, or to the bytes."""
    notebook = json.loads(TEXT)
    cells = notebook["cells"]
    for _ in range(draw(st.integers(1, 4))):
        what = draw(st.sampled_from(["swap", "delete", "double", "field", "nested", "top", "source"]))
        index = draw(st.integers(0, len(cells) - 1)) if cells else None
        if index is None or what == "top":
            notebook[draw(st.sampled_from(["cells", "metadata", "nbformat", "nbformat_minor"]))] = draw(JSON_VALUES)
            break
        if what == "swap":
            cells.insert(0, cells.pop(index))
        elif what == "delete":
            del cells[index]
        elif what == "double":
            cells.append(json.loads(json.dumps(cells[index])))
        elif what == "field":
            key = draw(st.sampled_from(["cell_type", "id", "metadata", "source", "outputs"]))
            if isinstance(cells[index], dict):
                cells[index][key] = draw(JSON_VALUES)
        elif what == "nested" and isinstance(cells[index], dict):
            cells[index]["metadata"] = {"nbgrader": draw(JSON_VALUES), "tags": draw(JSON_VALUES)}
        elif isinstance(cells[index], dict):
            cells[index]["source"] = draw(st.text(max_size=200))
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"]))
    data = json.dumps(notebook, ensure_ascii=draw(st.booleans())).encode(encoding, "replace")
    end = draw(st.integers(0, len(data)))
    return data[:end] if draw(st.integers(0, 4)) == 0 else data


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=mutated() | st.binary(max_size=200))
def test_is_read_or_called_malformed(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "somebody.ipynb"
    path.write_bytes(data)
    submission, reason = None, ""
    try:
        submission = read_submission(path, SPEC)
    except Malformed as error:
        reason = str(error)
    if submission is None:
        assert reason.startswith(("expected", "this file"))
        assert "Error" not in reason
        return
    text = nbformat.writes(rebuild(SPEC, submission))
    text.encode("utf-8")
    nbformat.validate(nbformat.reads(text, as_version=4))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=mutated())
def test_always_gets_a_result(data: bytes, start_grader: Grader, tmp_path: Path) -> None:
    path = tmp_path / "somebody.ipynb"
    path.write_bytes(data)
    result = start_grader.grade(path)
    assert result.outcome in ("pass", "wrong", "exception", "not-answered", "malformed", "timeout", "killed")
    assert 0 <= result.score <= result.max_score


def megabytes_of_output(notebook: dict[str, Any]) -> None:
    for cell in notebook["cells"]:
        cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x" * 2_000_000}]


def unknown_format(notebook: dict[str, Any]) -> None:
    notebook["nbformat"], notebook["nbformat_minor"] = 99, "z"


def same_ids(notebook: dict[str, Any]) -> None:
    for cell in notebook["cells"]:
        cell["id"] = "same"


@pytest.mark.parametrize("mutate", [megabytes_of_output, unknown_format, same_ids], ids=lambda each: each.__name__)
def test_an_honest_answer_in_an_odd_file_counts(mutate: Any, start_grader: Grader, tmp_path: Path) -> None:
    notebook = json.loads(TEXT)
    mutate(notebook)
    assert start_grader.grade(made_up.write(tmp_path, "ann", notebook)).outcome == "pass"

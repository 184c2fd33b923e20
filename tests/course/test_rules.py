"""Each rule is shown firing, and a clean notebook passes them all: a rule that cannot fire guards nothing."""

from typing import Any

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from labkit.course import rules
from labkit.course.rules import Violation


def _graded(**changes: Any) -> dict[str, Any]:
    fields = {"schema_version": 3, "grade": True, "solution": False, "locked": True, "grade_id": "check-a", "points": 2}
    return {"nbgrader": {key: value for key, value in {**fields, **changes}.items() if value is not ...}}


def _solution() -> NotebookNode:
    cells = [
        new_markdown_cell("# Title\n\n## Part\n\nIt took `3 ms` in the code, and 5 ms (source: the paper).", id="m1"),
        new_code_cell(
            "def f(x):\n    ### BEGIN SOLUTION\n    return x + 41 + 1\n    ### END SOLUTION",
            id="c1",
            execution_count=1,
        ),
        new_code_cell("print(f(1))", id="c2", execution_count=2, outputs=[new_output("stream", text="43\n")]),
    ]
    return new_notebook(cells=cells)


def _starter() -> NotebookNode:
    starter = _solution()
    starter.cells[1].source = "def f(x):\n    raise NotImplementedError('f')"
    for cell in starter.cells[1:]:
        cell.outputs, cell.execution_count = [], None
    return starter


def test_clean_notebooks_pass() -> None:
    assert rules.check_solution(_solution()) == []
    assert rules.check_starter(_starter(), _solution()) == []


def _rules_of(violations: list[Violation]) -> set[str]:
    return {violation.rule for violation in violations}


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("!false", "no-shell"),
        ("files = !ls", "no-shell"),
        ("%no_such_magic", "no-magics"),
        ("%%bash\nls", "no-magics"),
        ("%matplotlib inline", None),
        ("text = '!false and %magic in a string'", None),
        ("def f(:", "python"),
    ],
)
def test_shell_and_magics(source: str, rule: str | None) -> None:
    notebook = new_notebook(cells=[new_code_cell(source, id="c1")])
    assert _rules_of(list(rules.no_shell_or_magics(notebook))) == ({rule} if rule else set())


def test_duplicate_and_missing_ids() -> None:
    notebook = _solution()
    notebook.cells[2]["id"] = "c1"
    assert "stands 2 times" in str(rules.check_source(notebook)[0])
    notebook = _solution()
    for index in (1, 2):
        notebook.cells[index].metadata.update(_graded())
    assert _rules_of(rules.check_source(notebook)) == {"unique-ids"}


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"schema_version": 2}, "schema_version is not 3"),
        ({"grade_id": "has.dot"}, "letters, digits"),
        ({"points": ...}, "needs points"),
        ({"points": -1}, "needs points"),
        ({"locked": ...}, "lacks locked"),
        ({"grade": "yes"}, "grade is 'yes'"),
        ({"labkit": 1}, "not a key of the schema"),
    ],
)
def test_nbgrader_metadata(changes: dict[str, Any], what: str) -> None:
    notebook = _solution()
    notebook.cells[2].metadata.update(_graded())
    assert rules.check_source(notebook) == []
    notebook.cells[2].metadata.update(_graded(**changes))
    assert what in "\n".join(map(str, rules.check_source(notebook)))


def test_a_graded_markdown_cell_is_a_written_answer() -> None:
    notebook = new_notebook(cells=[new_markdown_cell("text", id="m1", metadata=_graded())])
    assert "markdown" in str(next(iter(rules.valid_nbgrader(notebook))))


@pytest.mark.parametrize("text", ["# A\n\n### C", "## B first", "# A\n\n# A second title"])
def test_heading_levels(text: str) -> None:
    notebook = new_notebook(cells=[new_markdown_cell(text, id="m1")])
    assert _rules_of(list(rules.headings_without_jumps(notebook))) == {"headings"}


def test_a_comment_in_code_is_not_a_heading() -> None:
    notebook = new_notebook(cells=[new_markdown_cell("# A\n\n```python\n### a comment\n```\n\n## B", id="m1")])
    assert list(rules.headings_without_jumps(notebook)) == []


@pytest.mark.parametrize("text", ["It takes 3.5 ms.", "We saw 120 GFLOP/s.", "It is 7 times faster.", "about 20 GB/s"])
def test_measured_numbers_in_prose(text: str) -> None:
    notebook = new_notebook(cells=[new_markdown_cell(text, id="m1")])
    assert _rules_of(list(rules.no_measured_numbers(notebook))) == {"no-measured-numbers"}
    notebook.cells[0].source = text + " See [the paper](https://example.org)."
    assert list(rules.no_measured_numbers(notebook)) == []


def test_a_cell_that_did_not_run() -> None:
    notebook = _solution()
    notebook.cells[2].execution_count = None
    assert _rules_of(rules.check_executed(notebook)) == {"everything-ran"}


def test_errors_in_cells_and_in_widget_state() -> None:
    notebook = _solution()
    notebook.cells[2].outputs = [new_output("error", ename="ValueError", evalue="bad", traceback=[])]
    assert "ValueError: bad" in str(rules.check_executed(notebook)[0])
    notebook = _solution()
    state = {"m": {"state": {"outputs": [{"output_type": "error", "ename": "KeyError", "evalue": "x"}]}}}
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": state}}
    assert "widget m: KeyError: x" in str(rules.check_executed(notebook)[0])


def test_an_unknown_magic_shows_only_as_text() -> None:
    notebook = _solution()
    notebook.cells[2].outputs = [new_output("stream", name="stderr", text="UsageError: Line magic not found\n")]
    assert _rules_of(rules.check_executed(notebook)) == {"no-errors", "no-stderr"}


def test_stripped_outputs() -> None:
    notebook = _solution()
    notebook.cells[2].outputs = []
    notebook.cells[2].metadata["tags"] = ["nbval-check-output"]
    assert [v.what for v in rules.has_outputs(notebook)] == [
        "no cell has an output; was it stripped?",
        "is compared by nbval and has no output",
    ]


def test_outputs_in_a_starter() -> None:
    starter = _starter()
    starter.cells[2].execution_count = 2
    assert _rules_of(rules.check_starter(starter, _solution())) == {"no-outputs"}


def test_widget_state_in_a_committed_file() -> None:
    starter = _starter()
    starter.metadata["widgets"] = {}
    assert _rules_of(rules.check_starter(starter, _solution())) == {"no-widget-state"}


@pytest.mark.parametrize("source", ["def f(x):\n    return x + 41 + 1", "### BEGIN SOLUTION"])
def test_solution_text_in_a_starter(source: str) -> None:
    starter = _starter()
    starter.cells[2].source = source
    assert _rules_of(rules.check_starter(starter, _solution())) == {"no-solution-text"}

"""What a notebook may not contain. Each rule guards against something that a green run does not show.

The incidents behind them (nbval, papermill and nbgrader, measured): `!false` and an unknown `%magic` pass both
runners; an exception in a widget's callback passes papermill; a notebook with its outputs stripped passes a
strict nbval; `nbformat.validate` repairs duplicate ids instead of failing; GitHub refuses `metadata.widgets`
without state. A rule is a function from a notebook to violations; each has a test that shows it firing.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from nbformat import NotebookNode

from labkit.course.source import BEGIN, END, SourceError, regions

ALLOWED_MAGICS = {"matplotlib"}
SHORTEST_SOLUTION_LINE = 12  # shorter ones ("return x") may stand anywhere

# A number with a unit that only a measurement gives; prose cites a source for it, or lets a cell print it.
MEASURED = re.compile(
    r"\b\d[\d.,]*\s*(?:ns|µs|us|ms|milliseconds?|microseconds?|[GTM]?FLOP/s|[GMK]i?B/s|(?:it|requests|tokens|images)/s"
    r"|(?:x|×|times) (?:faster|slower|as fast))\b"
)
CITED = re.compile(r"\]\(http|arXiv|doi:|\bsource:", re.IGNORECASE)

NBGRADER_KEYS = {
    "schema_version": int,
    "grade": bool,
    "solution": bool,
    "locked": bool,
    "task": bool,
    "grade_id": str,
    "points": int | float,
    "checksum": str,
    "cell_type": str,
}


@dataclass(frozen=True)
class Violation:
    """One rule, broken in one cell (or in the notebook as a whole)."""

    rule: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"[{self.rule}] {self.where}: {self.what}"


def check_source(notebook: NotebookNode) -> list[Violation]:
    """The rules that need no outputs: for a source, a solution and a starter alike."""
    rules = (no_shell_or_magics, unique_ids, valid_nbgrader, headings_without_jumps, no_measured_numbers)
    return [violation for rule in rules for violation in rule(notebook)]


def check_executed(notebook: NotebookNode) -> list[Violation]:
    """The rules on what came out of a run, before widget state is dropped."""
    rules = (everything_ran, no_errors, no_stderr)
    return [violation for rule in rules for violation in rule(notebook)]


def check_solution(notebook: NotebookNode) -> list[Violation]:
    """The rules on a committed solution."""
    return [*check_source(notebook), *check_executed(notebook), *has_outputs(notebook), *no_widget_state(notebook)]


def check_starter(notebook: NotebookNode, solution: NotebookNode) -> list[Violation]:
    """The rules on a committed starter, given the solution that it must not show."""
    return [
        *check_source(notebook),
        *no_outputs(notebook),
        *no_widget_state(notebook),
        *no_solution_text(notebook, solution),
    ]


# --- sources ----------------------------------------------------------------------------------------------


def no_shell_or_magics(notebook: NotebookNode) -> Iterator[Violation]:
    """No `!command` (its failure passes every runner) and no magic beyond `ALLOWED_MAGICS`."""
    from IPython.core.inputtransformer2 import TransformerManager

    for cell in _code(notebook):
        try:
            tree = ast.parse(TransformerManager().transform_cell(cell.source))
        except SyntaxError as error:
            yield Violation("python", _where(cell), f"is not Python: {error}")
            continue
        for node in ast.walk(tree):
            called = node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
            if called in ("system", "getoutput"):
                yield Violation("no-shell", _where(cell), "runs a shell command; call a function that raises instead")
            if called in ("run_line_magic", "run_cell_magic"):
                magic = getattr(node.args[0], "value", "?")  # type: ignore[attr-defined]
                if magic not in ALLOWED_MAGICS:
                    yield Violation("no-magics", _where(cell), f"uses %{magic}; allowed: {sorted(ALLOWED_MAGICS)}")


def unique_ids(notebook: NotebookNode) -> Iterator[Violation]:
    """Cell ids and grade ids are unique: learners' work is found by them."""
    ids = Counter(cell.get("id", "") for cell in notebook.cells)
    grade_ids = Counter(cell.metadata.nbgrader.grade_id for cell in notebook.cells if "nbgrader" in cell.metadata)
    for kind, counts in (("id", ids), ("grade_id", grade_ids)):
        for name, count in counts.items():
            if count > 1 or not name:
                yield Violation("unique-ids", "notebook", f"{kind} {name!r} stands {count} times")


def valid_nbgrader(notebook: NotebookNode) -> Iterator[Violation]:
    """nbgrader's metadata follows its schema, version 3, so that nbgrader can import the lab."""
    for cell in notebook.cells:
        if "nbgrader" in cell.metadata:
            for what in _nbgrader_faults(cell.metadata.nbgrader, cell.cell_type):
                yield Violation("nbgrader", _where(cell), what)


def _nbgrader_faults(data: Any, cell_type: str) -> Iterator[str]:
    for key in ("schema_version", "grade", "solution", "locked", "grade_id"):
        if key not in data:
            yield f"lacks {key}"
    for key, value in data.items():
        kind = NBGRADER_KEYS.get(key)
        if kind is None:
            yield f"{key} is not a key of the schema"
        elif not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            yield f"{key} is {value!r}"
    if data.get("schema_version") != 3:
        yield "schema_version is not 3"
    if not re.fullmatch(r"[A-Za-z0-9_-]+", str(data.get("grade_id", ""))):
        yield f"grade_id {data.get('grade_id')!r}: letters, digits, _ and - only"
    if data.get("grade") and not ("points" in data and data["points"] >= 0):
        yield "a graded cell needs points >= 0"
    if cell_type != "code" and data.get("grade") != data.get("solution"):
        yield "a markdown cell is graded and solution, or neither"


def headings_without_jumps(notebook: NotebookNode) -> Iterator[Violation]:
    """Levels go down one at a time, from one level-1 title: screen readers walk by them."""
    level = 0
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            continue
        for marks, title in re.findall(r"^(#{1,6}) +(.+)$", _without_code(cell.source), re.MULTILINE):
            if len(marks) > level + 1 or (len(marks) == 1 and level):
                yield Violation("headings", _where(cell), f"{marks} {title!r} after level {level}")
            level = len(marks)


def no_measured_numbers(notebook: NotebookNode) -> Iterator[Violation]:
    """A measured number in prose is printed by a cell, or its paragraph cites a source."""
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            continue
        for paragraph in re.split(r"\n\s*\n", _without_code(cell.source)):
            found = MEASURED.search(paragraph)
            if found and not CITED.search(paragraph):
                yield Violation("no-measured-numbers", _where(cell), f"{found.group()!r}: print it, or cite a source")


# --- runs -------------------------------------------------------------------------------------------------


def everything_ran(notebook: NotebookNode) -> Iterator[Violation]:
    """Every code cell has a count: after `sys.exit(0)` the runners call the rest a success."""
    for cell in _code(notebook):
        if cell.source.strip() and cell.execution_count is None:
            yield Violation("everything-ran", _where(cell), "was not executed")


def no_errors(notebook: NotebookNode) -> Iterator[Violation]:
    """No error output in a cell or inside a widget's state, where runners do not look."""
    for cell in _code(notebook):
        for output in cell.outputs:
            if output.output_type == "error":
                yield Violation("no-errors", _where(cell), f"{output.ename}: {output.evalue}")
            if "UsageError" in str(output.get("text", "")):
                yield Violation("no-errors", _where(cell), output.text.strip())
    for name, model in _widget_models(notebook):
        for output in model.get("state", {}).get("outputs", ()):
            if output.get("output_type") == "error":
                yield Violation("no-errors", f"widget {name}", f"{output.get('ename')}: {output.get('evalue')}")


def no_stderr(notebook: NotebookNode) -> Iterator[Violation]:
    """Nothing on stderr: a learner reads a red box as a failure, and nbgrader gives 0 for it."""
    for cell in _code(notebook):
        for output in cell.outputs:
            if output.output_type == "stream" and output.name == "stderr":
                yield Violation("no-stderr", _where(cell), output.text.strip()[:200])


def has_outputs(notebook: NotebookNode) -> Iterator[Violation]:
    """A solution keeps its outputs, and each cell that is compared has one: else a comparison compares nothing."""
    if not any(cell.outputs for cell in _code(notebook)):
        yield Violation("has-outputs", "notebook", "no cell has an output; was it stripped?")
    for cell in _code(notebook):
        if "nbval-check-output" in cell.metadata.get("tags", ()) and not cell.outputs:
            yield Violation("has-outputs", _where(cell), "is compared by nbval and has no output")


# --- committed files --------------------------------------------------------------------------------------


def no_outputs(notebook: NotebookNode) -> Iterator[Violation]:
    """A starter has no outputs and no counts."""
    for cell in _code(notebook):
        if cell.outputs or cell.execution_count is not None:
            yield Violation("no-outputs", _where(cell), "has outputs or a count")


def no_widget_state(notebook: NotebookNode) -> Iterator[Violation]:
    """No `metadata.widgets`: GitHub refuses it without state, and nbconvert then prefers a blank widget."""
    if "widgets" in notebook.metadata:
        yield Violation("no-widget-state", "notebook", "has metadata.widgets")


def no_solution_text(notebook: NotebookNode, solution: NotebookNode) -> Iterator[Violation]:
    """No line of a solution's region stands in the starter, and no mark of one."""
    secret = set(_solution_lines(solution))
    given = {line.strip() for cell in _code(solution) for line in _outside_regions(cell.source)}
    for cell in _code(notebook):
        for line in cell.source.splitlines():
            if BEGIN in line or END in line:
                yield Violation("no-solution-text", _where(cell), f"the mark {line.strip()!r}")
            elif line.strip() in secret - given:
                yield Violation("no-solution-text", _where(cell), f"{line.strip()!r} is part of a solution")


def _solution_lines(solution: NotebookNode) -> Iterable[str]:
    for cell in _code(solution):
        lines = cell.source.splitlines()
        for region in regions(cell.source):
            inside = (line.strip() for line in lines[region.start + 1 : region.end - 1])
            yield from (line for line in inside if len(line) >= SHORTEST_SOLUTION_LINE)


def _outside_regions(source: str) -> list[str]:
    lines = source.splitlines()
    try:
        for region in reversed(regions(source)):
            del lines[region.start : region.end]
    except SourceError:
        return []
    return lines


# --- reading notebooks ------------------------------------------------------------------------------------


def _code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _where(cell: NotebookNode) -> str:
    first = cell.source.strip().splitlines()[0] if cell.source.strip() else ""
    return f"cell {cell.get('id', '?')} ({first[:40]})"


def _without_code(markdown: str) -> str:
    return re.sub(r"```.*?```|`[^`\n]*`", "", markdown, flags=re.DOTALL)


def _widget_models(notebook: NotebookNode) -> Iterator[tuple[str, Any]]:
    for view in notebook.metadata.get("widgets", {}).values():
        yield from view.get("state", {}).items()

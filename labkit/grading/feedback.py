"""What a learner gets back: one page, and the answers as they were graded as a notebook."""

import nbformat

from labkit.course.lab import RUNGS
from labkit.course.lab_spec import LabSpec
from labkit.grading.follow_on import stands_on
from labkit.grading.marking import Mark
from labkit.grading.page import outcome_class, page, plain, prose, table, text
from labkit.grading.result import Result
from labkit.grading.submission import Submission, rebuild

# For a learner: what an outcome means, and what to do about it.
MEANING = {
    "pass": "right on every case",
    "wrong": "an answer came, and it was not right",
    "exception": "the code raised an exception",
    "timeout": "it did not end in time: does a loop never end?",
    "out of memory": "it asked for more memory than a run may have",
    "killed": "the process ended before the answer was there",
    "not-answered": "the stub is still there, or the cell is missing",
    "malformed": "the file could not be read as this lab's notebook",
    "infrastructure": "the grader could not do its part: this costs you nothing, and a person will look",
}


def feedback_page(spec: LabSpec, result: Result) -> str:
    """The page of one submission: scores, findings on the cases of `lab.check`, hints; no hidden input."""
    score = f"{result.score} of {result.max_score} points" if result.is_graded else "not graded yet"
    summary = [
        [
            f"<code>{text(each.exercise)}</code>",
            _chip(each.outcome),
            f"{each.score} of {each.max_score}" if each.outcome != "infrastructure" else "–",
            text(MEANING.get(each.outcome, each.outcome)),
        ]
        for each in result.marks
    ]
    body = [
        f"<h1>{text(spec.title)}: feedback for {text(result.submission)}</h1>",
        f"<p><strong>{score}</strong> ({text(result.outcome)}).</p>",
        *(f"<p>{prose(_sentence(note))}</p>" for note in result.notes if result.is_graded),
    ]
    if result.outcome == "malformed":  # there is nothing to say of an exercise: the file is what to look at
        body.append(f"<p>{MEANING['malformed'].capitalize()}, so none of its exercises could be graded.</p>")
    else:
        body.append(table(("exercise", "outcome", "points", "meaning"), summary))
        for each in result.marks:
            body += _exercise(spec, result, each)
    body.append(f"<p><small>{text(_graded_with(result))}</small></p>")
    return page(f"{spec.title}: {result.submission}", body)


def _sentence(note: str) -> str:
    """A note that stands alone; one that begins with a name keeps it as it is written."""
    first = note.partition(" ")[0].strip(":")
    begun = note if "_" in first or first.startswith("`") else note[:1].upper() + note[1:]
    return begun if begun.endswith((".", "!", "?")) else f"{begun}."


def _exercise(spec: LabSpec, result: Result, each: Mark) -> list[str]:
    exercise = spec.exercise(each.exercise)
    parts = [f"<h2><code>{text(each.exercise)}</code> {_chip(each.outcome)}</h2>"]
    parts.append(f"<p>{prose(exercise.goal)}</p><pre>{text(each.feedback)}</pre>")
    if wrong := stands_on(result, each.exercise):
        parts.append(f"<p>{begin_there(wrong)}</p>")
    source = result.answers.get(each.exercise)
    if source is not None:
        parts.append(f"<details><summary>your answer, as it was graded</summary><pre>{text(source)}</pre></details>")
    if each.outcome not in ("pass", "infrastructure"):
        parts += [
            f"<details><summary>hint {number}: {rung}</summary><p>{prose(hint)}</p></details>"
            for number, (rung, hint) in enumerate(zip(RUNGS, exercise.hints, strict=True), start=1)
        ]
    return parts


def begin_there(names: list[str]) -> str:
    """Which other answers come first.

    >>> begin_there(["a", "b"])
    'It uses your answers to <code>a</code> and <code>b</code>, which are not right yet: begin there.'
    """
    *before, last = [f"<code>{text(name)}</code>" for name in names]
    listed = f"{', '.join(before)} and {last}" if before else last
    answers, are = ("answers", "are") if before else ("answer", "is")
    return f"It uses your {answers} to {listed}, which {are} not right yet: begin there."


def _chip(outcome: str) -> str:
    return f'<span class="chip {outcome_class(outcome)}">{text(outcome)}</span>'


def _graded_with(result: Result) -> str:
    source = result.provenance.get("source_sha256", "")
    labkit, version = result.provenance.get("labkit", "?"), result.provenance.get("lab_version", "")
    return f"Graded with labkit {labkit}, lab version {version}; your file's SHA-256 begins with {source[:12]}."


def feedback_notebook(spec: LabSpec, result: Result) -> str:
    """The answers as they were graded, each with its verdict below, as a notebook to read."""
    notebook = rebuild(spec, Submission(result.submission, result.answers))
    by_name = {each.exercise: each for each in result.marks}
    title = f"# {spec.title}: feedback\n\n{result.score} of {result.max_score} points ({result.outcome})."
    cells = [nbformat.v4.new_markdown_cell(title, id="feedback")]
    for cell in notebook.cells:
        exercise = str(cell.metadata.get("nbgrader", {}).get("grade_id", "")).removeprefix("answer-")
        if exercise in by_name:
            each = by_name[exercise]
            verdict = f"{each.score} of {each.max_score} points\n{plain(each.feedback)}\n"
            cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=verdict)]
        cells.append(cell)
    notebook.cells = cells
    return str(nbformat.writes(notebook))

"""One submission from end to end: read, rebuild, run apart, judge here, result."""

import json
import os
import secrets
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import nbformat

from labkit.course.answers import encode
from labkit.course.exercise import Case
from labkit.course.lab_spec import LabSpec
from labkit.grading.marking import PUBLIC_SEED, Mark, mark, read_answers, versions
from labkit.grading.sandbox import Ended, isolation, run_apart
from labkit.grading.submission import Malformed, Submission, read_submission, rebuild

Cases = dict[str, dict[int, tuple[Case, ...]]]  # exercise -> seed -> cases


@dataclass(frozen=True)
class Result:
    """What came of one submission, and how to get it again."""

    submission: str
    lab: str
    score: int
    max_score: int
    outcome: str
    marks: tuple[Mark, ...]
    notes: tuple[str, ...]
    provenance: dict[str, Any]

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "marks": [each.as_data() for each in self.marks]}


def new_seed() -> int:
    """A seed that nobody knows yet: the only secret of a grading run."""
    return secrets.randbelow(2**31)


def grade(path: Path, spec: LabSpec, seed: int, limit_s: float, name: str | None = None) -> tuple[Result, str]:
    """The result of one submission, and its feedback notebook as text ("" when nothing could be run)."""
    provenance = _provenance(path, spec, seed)
    try:
        submission = read_submission(path, spec, name)
    except Malformed as error:
        result = Result(name or path.stem, spec.name, 0, spec.points, "malformed", (), (str(error),), provenance)
        return result, ""
    cases: Cases = {
        each.name: {each_seed: each.make_cases(each_seed, each.tier) for each_seed in (seed, PUBLIC_SEED)}
        for each in spec.exercises
    }
    marks, notes = _run_and_mark(spec, submission, cases, seed, limit_s)
    score = sum(each.score for each in marks)
    outcome = _overall(marks)
    result = Result(
        submission.name, spec.name, score, spec.points, outcome, marks, submission.notes + notes, provenance
    )
    return result, feedback_notebook(spec, submission, result)


def _run_and_mark(
    spec: LabSpec, submission: Submission, cases: Cases, seed: int, limit_s: float
) -> tuple[tuple[Mark, ...], tuple[str, ...]]:
    """All answers in one run; if that run did not end well, each answer in a run of its own.

    One answer that exits, crashes or never ends would otherwise cost the others too.
    """
    names = [each.name for each in spec.exercises]
    marks, ended = _one_run(spec, submission, names, cases, seed, limit_s)
    if ended.well:
        return tuple(marks[name] for name in names), ()
    limit_each_s = max(10.0, limit_s / len(names))
    for name in names:
        marks[name] = _one_run(spec, submission, [name], cases, seed, limit_each_s)[0][name]
    why = f"did not end within {limit_s:g} s" if ended.out_of_time else f"left early, with status {ended.status}"
    return tuple(marks[name] for name in names), (f"run one exercise at a time, since the whole run {why}",)


def _one_run(
    spec: LabSpec, submission: Submission, names: Sequence[str], cases: Cases, seed: int, limit_s: float
) -> tuple[dict[str, Mark], Ended]:
    with tempfile.TemporaryDirectory(prefix="labkit-grade-") as work:
        folder = Path(work)
        _write_inputs(folder, spec, submission, names, cases, seed)
        ended = run_apart(["-m", "labkit.grading.replay", str(folder), spec.name, *names], folder, limit_s)
        marks = {}
        for name in names:
            hidden, public = cases[name][seed], cases[name][PUBLIC_SEED]
            answers = read_answers(folder / "answers" / f"{name}.npz", len(hidden) + len(public))
            split = {seed: answers[: len(hidden)], PUBLIC_SEED: answers[len(hidden) :]}
            if seed == PUBLIC_SEED:
                split[seed] = answers[: len(hidden)]
            marks[name] = _with_run_outcome(mark(spec.exercise(name), cases[name], split, seed), ended)
        all_there = all((folder / "answers" / f"{name}.npz").exists() for name in names)
        return marks, replace(ended, complete=all_there)


def _write_inputs(
    folder: Path, spec: LabSpec, submission: Submission, names: Sequence[str], cases: Cases, seed: int
) -> None:
    (folder / "cases").mkdir()
    (folder / "answers").mkdir()
    nbformat.write(rebuild(spec, submission, tuple(names)), folder / "rebuilt.ipynb")
    for name in names:
        inputs = [[each.name, each.args, each.names] for each in (*cases[name][seed], *cases[name][PUBLIC_SEED])]
        (folder / "cases" / f"{name}.npz").write_bytes(encode(inputs))


def _with_run_outcome(marked: Mark, ended: Ended) -> Mark:
    """An exercise that was not reached is called by what ended the run."""
    return replace(marked, outcome="timeout") if marked.outcome == "killed" and ended.out_of_time else marked


def _overall(marks: Sequence[Mark]) -> str:
    if all(each.outcome == "pass" for each in marks):
        return "pass"
    if any(each.outcome == "pass" for each in marks):
        return "partial"
    return Counter(each.outcome for each in marks).most_common(1)[0][0]


def _provenance(path: Path, spec: LabSpec, seed: int) -> dict[str, Any]:
    return {
        "source_sha256": sha256(path.read_bytes()).hexdigest(),
        "lab_version": spec.version,
        "tier": "cpu",
        "seed": seed,
        "isolation": isolation(),
        "versions": versions(),
        "replay": f"labkit grade {path.name} --lab {spec.name} --seed {seed}",
    }


# --- what is written --------------------------------------------------------------------------------------


def feedback_notebook(spec: LabSpec, submission: Submission, result: Result) -> str:
    """The answers as they were graded, each with its verdict below, as a notebook to read."""
    notebook = rebuild(spec, submission)
    by_name = {each.exercise: each for each in result.marks}
    title = f"# {spec.title}: feedback\n\n{result.score} of {result.max_score} points ({result.outcome})."
    cells = [nbformat.v4.new_markdown_cell(title + "".join(f"\n\n- {note}" for note in result.notes), id="feedback")]
    for cell in notebook.cells:
        exercise = str(cell.metadata.get("nbgrader", {}).get("grade_id", "")).removeprefix("answer-")
        if exercise in by_name:
            each = by_name[exercise]
            text = f"{each.score} of {each.max_score} points\n{each.feedback}\n"
            cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=text)]
        cells.append(cell)
    notebook.cells = cells
    return str(nbformat.writes(notebook))


def write_atomically(path: Path, text: str) -> None:
    """All of the text or none of it, also when the machine stops in between."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_result(out: Path, result: Result, notebook: str) -> None:
    """The result as JSON, and the feedback notebook beside it."""
    if notebook:
        write_atomically(out / f"{result.submission}.feedback.ipynb", notebook)
    write_atomically(
        out / f"{result.submission}.result.json", json.dumps(result.as_data(), indent=1, ensure_ascii=False)
    )

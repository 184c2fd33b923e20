"""Inside the sandbox: run the rebuilt notebook, put the cases to what it defined, write the answers as data.

`python -m labkit.grading.replay FOLDER` reads FOLDER/rebuilt.ipynb and FOLDER/cases/EXERCISE.npz (inputs, no
expected values, no seed) and writes FOLDER/executed.ipynb and FOLDER/answers/EXERCISE.npz. Whatever it writes
is the learner's word: the judge, in another process, believes none of it without recomputing.
"""

import contextlib
import sys
from pathlib import Path
from typing import Any

from labkit.course.answers import decode, encode
from labkit.course.apart import Answer, ask
from labkit.course.exercise import Case, Exercise
from labkit.course.exercises import lab_spec

CELL_LIMIT_S = 20.0


def replay(folder: Path, lab: str, exercises: list[str]) -> None:
    """Run the notebook and collect the answers of the exercises named."""
    namespace: dict[str, Any] = {}
    failures = _run_notebook(folder, namespace)
    for name in exercises:
        exercise = lab_spec(lab).exercise(name)
        cases = [Case(*fields) for fields in decode((folder / "cases" / f"{name}.npz").read_bytes())]
        answers = _answers(exercise, cases, namespace, failures.get(name, ""))
        (folder / "answers" / f"{name}.npz").write_bytes(encode([vars(answer) for answer in answers]))


def _run_notebook(folder: Path, namespace: dict[str, Any]) -> dict[str, str]:
    """Execute every cell; returns, for each answer cell that raised, what it raised."""
    import nbformat
    import papermill
    from papermill.exceptions import PapermillExecutionError

    executed = folder / "executed.ipynb"
    with contextlib.suppress(PapermillExecutionError):  # keep_going: the error stands in the executed notebook too
        papermill.execute_notebook(
            str(folder / "rebuilt.ipynb"),
            str(executed),
            parameters={"QUICK": True},
            engine_name="labkit",
            kernel_name="python3",
            language="python",
            progress_bar=False,
            keep_going=True,
            execution_timeout=CELL_LIMIT_S,
            user_namespace=namespace,
        )
    failures = {}
    for cell in nbformat.read(executed, as_version=4).cells:
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        for output in cell.get("outputs", ()):
            if output.output_type == "error":
                failures[str(grade_id).removeprefix("answer-")] = f"{output.ename}: {output.evalue}"
    return failures


def _answers(exercise: Exercise, cases: list[Case], namespace: dict[str, Any], failure: str) -> list[Answer]:
    if exercise.name not in namespace:
        return [_no_candidate(exercise.name, failure) for _ in cases]
    return ask(namespace[exercise.name], exercise.probe, cases, exercise.limit_s)


def _no_candidate(name: str, failure: str) -> Answer:
    if not failure:
        return Answer("not-written", error=f"no cell defines {name}")
    outcome = "timeout" if failure.startswith("CellTimeout") else "raised"
    return Answer(outcome, error=f"its cell raised {failure}")


if __name__ == "__main__":
    replay(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])

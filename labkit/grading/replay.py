"""Inside the sandbox: run the rebuilt notebook, put the cases to what it defined, send the answers as data.

A job holds inputs, no expected values and no seed. Whatever is sent back is the learner's word: the judge, in
another process, believes none of it without recomputing.

The inputs come in two parts. First those of `lab.check`, which everybody may see: what a learner will read in the
feedback comes from these answers. Only when all of them have left are the hidden inputs sent in, so that no text that
reaches the learner can hold one, whatever the code does.
"""

import contextlib
import json
import os
import random
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from labkit.course.answers import decode, encode
from labkit.course.apart import Answer, Apart, Probe
from labkit.course.exercise import Case
from labkit.course.exercises import lab_spec
from labkit.grading.limits import Limits

PLACE = re.compile(r" \(\S*, line (\d+)\)$")  # that IPython puts behind the message of a SyntaxError
MAX_LINE_CHARS = 200
REHEARSAL = "QUICK = False\nimport numpy as np\n\ndef rehearse(x):\n    return x + 1\n\nprint(rehearse(1))\nrehearse(2)"


@dataclass(frozen=True)
class Job:
    """What crosses into a sandbox: the rebuilt notebook, and for each exercise the inputs of its cases."""

    lab: str
    notebook: str
    inputs: dict[str, bytes]  # exercise -> encoded [[name, args, names], …] of the cases of lab.check
    given: tuple[str, ...]  # modules of labkit that the lab's own cells import
    limits: Limits

    def to_bytes(self) -> bytes:
        """As one frame: a line of JSON with the sizes, then the parts."""
        head = {
            "lab": self.lab,
            "given": self.given,
            "limits": self.limits.as_data(),
            "inputs": len(inputs := pack(self.inputs)),
        }
        return b"".join([json.dumps(head).encode(), b"\n", inputs, self.notebook.encode()])

    @classmethod
    def from_bytes(cls, data: bytes) -> "Job":
        """The job again."""
        line, _, rest = data.partition(b"\n")
        head = json.loads(line)
        inputs, notebook = rest[: head["inputs"]], rest[head["inputs"] :]
        return cls(head["lab"], notebook.decode(), unpack(inputs), tuple(head["given"]), Limits(**head["limits"]))


def pack(inputs: dict[str, bytes]) -> bytes:
    """The inputs of several exercises as one frame: a line of JSON with their sizes, then the parts."""
    sizes = {name: len(each) for name, each in inputs.items()}
    return b"".join([json.dumps(sizes).encode(), b"\n", *inputs.values()])


def unpack(data: bytes) -> dict[str, bytes]:
    """What `pack` was given.

    >>> unpack(pack({"a": b"1", "b": b"23"}))
    {'a': b'1', 'b': b'23'}
    """
    line, _, rest = data.partition(b"\n")
    inputs, start = {}, 0
    for name, size in json.loads(line).items():
        inputs[name] = rest[start : start + size]
        start += size
    return inputs


def run(job: Job, send: Callable[[bytes], None], receive: Callable[[], bytes]) -> None:
    """Run the notebook; send one frame for each exercise, in the order of the job, and once more for the hidden inputs.

    `receive` waits for those: the grader sends them when it has every answer to the others.
    """
    _same_random_numbers()
    namespace: dict[str, Any] = {}
    failures = _run_notebook(job.notebook, namespace, min(job.limits.cell_s, job.limits.wall_s / 2))
    apart: dict[str, Apart] = {}  # one process for each exercise, for its shown and its hidden cases
    too_late: set[str] = set()
    for hidden in (False, True):
        for name, inputs in (unpack(receive()) if hidden else job.inputs).items():
            exercise, cases = lab_spec(job.lab).exercise(name), read_cases(inputs)
            if name in too_late:  # it had its time
                answers = [Answer("timeout", error="no answer in time to the cases of lab.check")] * len(cases)
            elif name not in namespace:
                answers = [failures.get(name) or _no_candidate(name)] * len(cases)
            else:
                if name not in apart:
                    apart[name] = Apart(namespace[name], _repeatable(exercise.probe), read_cases)
                answers = apart[name].ask(cases, job.limits.of_exercise_s(exercise.limit_s), inputs)
            if any(answer.outcome == "timeout" for answer in answers):
                too_late.add(name)
            send(encode([vars(answer) for answer in answers]))
            if hidden and name in apart:
                apart[name].close()


def read_cases(inputs: bytes) -> list[Case]:
    """The cases of one exercise, from the bytes of a job."""
    return [Case(*fields) for fields in decode(inputs)]


def rehearse() -> None:
    """Run a small notebook, so that everything that is imported on first use has been."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(REHEARSAL, metadata={"tags": ["parameters"]})])
    _run_notebook(nbformat.writes(notebook), {}, None)


def _repeatable(probe: Probe) -> Probe:
    """The probe, with the same random numbers for every case; Python draws a new seed when it forks."""

    def seeded(candidate: Any, case: Any) -> Any:
        _same_random_numbers()
        return probe(candidate, case)

    return seeded


def _same_random_numbers() -> None:
    """The same submission gives the same result, also where it draws numbers without a seed of its own."""
    import numpy as np

    random.seed(0)
    np.random.seed(0)


def _run_notebook(text: str, namespace: dict[str, Any], cell_limit_s: float | None) -> dict[str, Answer]:
    """Execute every cell; returns, for each answer cell that raised, what it raised."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    with tempfile.TemporaryDirectory(dir=os.environ.get("HOME")) as folder:
        rebuilt, executed = Path(folder) / "rebuilt.ipynb", Path(folder) / "executed.ipynb"
        rebuilt.write_text(text, encoding="utf-8")
        with contextlib.suppress(PapermillExecutionError):  # keep_going: the error stands in what was executed too
            papermill.execute_notebook(
                str(rebuilt),
                str(executed),
                parameters={"QUICK": True},
                engine_name="labkit",
                kernel_name="python3",
                language="python",
                progress_bar=False,
                request_save_on_cell_execute=False,  # once, at the end
                keep_going=True,
                execution_timeout=cell_limit_s,
                user_namespace=namespace,
                with_shell=False,
            )
        return _failures(nbformat.read(executed, as_version=4))


def _failures(executed: nbformat.NotebookNode) -> dict[str, Answer]:
    failures = {}
    for cell in executed.cells:
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        for output in cell.get("outputs", ()):
            if output.output_type == "error":
                failures[str(grade_id).removeprefix("answer-")] = failed(cell.source, output.ename, output.evalue)
    return failures


def failed(source: str, kind: str, message: str) -> Answer:
    """What is answered for an exercise whose cell raised; of a mistake in the syntax, its line as it stands there.

    >>> failed("def f(:\\n    pass", "SyntaxError", "invalid syntax (123.py, line 1)").line
    'def f(:'
    """
    outcome = "timeout" if kind == "CellTimeout" else "raised"
    line, number = "", 0
    if kind in ("SyntaxError", "IndentationError", "TabError") and (place := PLACE.search(message)):
        message, number = message[: place.start()], int(place.group(1)[-6:])
        line = (["", *source.splitlines()][number : number + 1] or [""])[0].strip()[:MAX_LINE_CHARS]
    return Answer(outcome, error=f"its cell raised {kind}: {message}", line=line, line_number=number if line else 0)


def _no_candidate(name: str) -> Answer:
    return Answer("not-written", error=f"no cell defines {name}")

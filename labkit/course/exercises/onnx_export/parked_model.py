"""`ParkedModel(path)`: a model that gives its memory back between two uses, played by a script."""

import gc
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from labkit.course.compare import Difference
from labkit.course.exercise import Case, Exercise
from labkit.course.exercises.onnx_export.graphs import new_path
from labkit.course.exercises.onnx_export.machines import CPU, counted_sessions
from labkit.course.on_first_use import onnx, ort

REPLACED = 1000.0  # what the model adds that somebody writes to the same path


@dataclass(frozen=True)
class ParkedCase(Case):
    """What the model adds, and the steps of a script."""

    def for_learner(self) -> tuple[Any, ...]:
        """(path, script): a model to make a ParkedModel of, and what is then called."""
        shift, script = self.args
        path = new_path()
        path.write_bytes(_adding(shift))
        return path, script


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)
    shift = float(rng.integers(2, 9))

    def case(name: str, *script: str) -> Case:
        return ParkedCase(name, (shift, list(script)), ("model adds", "script"))

    between = ["run", "park"]
    drawn = [between[int(at)] for at in rng.integers(0, 2, size=7)]
    return [
        case("one run", "run"),
        case("two runs", "run", "run"),
        case("parked", "run", "park"),
        case("parked before any run", "park"),
        case("parked twice", "run", "park", "park"),
        case("run after it was parked", "run", "park", "run"),
        case("parked again and again", "run", "park", "run", "run", "park", "run"),
        case("the file is replaced while it is parked", "run", "park", "replace the file", "run"),
        case("the file is removed while it is parked", "run", "park", "remove the file", "run"),
        case("random", *drawn, "run", "park"),
    ]


def _probe(candidate: Callable[..., Any], case: Case) -> list[Any]:
    shift, script = case.args
    with tempfile.TemporaryDirectory(prefix="labkit-") as folder, counted_sessions() as made:
        path = Path(folder) / "model.onnx"
        path.write_bytes(_adding(shift))
        subject = candidate(str(path))
        return [_step(subject, step, at, path, made) for at, step in enumerate(script)]


def _step(subject: Any, step: str, at: int, path: Path, made: list[Any]) -> dict[str, Any]:
    """What one step gave, and how many sessions have been made and are alive after it."""
    answer = None
    if step == "run":
        answer = subject.run({"x": np.array([at, 0.5], np.float32)})
    elif step == "park":
        answer = subject.park()
    elif step == "replace the file":
        path.write_bytes(_adding(REPLACED))
    else:
        path.unlink()
    if step == "park" and _num_alive(made):
        gc.collect(1)  # what only a young cycle refers to; a full collection takes longer than all sessions here
    return {"answer": answer, "made": len(made), "alive": _num_alive(made)}


def _num_alive(made: list[Any]) -> int:
    return sum(reference() is not None for reference in made)


def _adding(shift: float) -> bytes:
    model = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["": 18]> g (float[n] x) => (float[n] y) { y = Add(x, s) }'
    )
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([shift], np.float32), "s"))
    content: bytes = model.SerializeToString()
    return content


def _judge(case: Case, value: Any) -> Difference | None:
    # The oracle counts: a session may be made at a run (or once before the first), and none is alive while parked.
    shift, script = case.args
    needed, awake = 0, False
    for at, (step, came) in enumerate(zip(script, value, strict=True)):
        where = f"step {at + 1}, {step},"
        if step == "run":
            needed, awake = needed + (not awake), True
            difference = _answer(np.array([at + shift, 0.5 + shift], np.float32), came["answer"], where)
            if difference:
                return difference
        elif step == "park":
            awake = False
            needed = max(needed, min(1, came["made"]))  # a session made by the constructor counts as the first
        most = max(needed, 1)
        if came["made"] > most:
            return Difference(f"at most {most} sessions made by now", f"{where} has seen {came['made']} made")
        if step == "park" and came["alive"]:
            return Difference("no session alive while it is parked", f"after {where} {came['alive']} is alive")
        if came["alive"] > 1:
            return Difference("one session at a time", f"after {where} {came['alive']} are alive")
    return None


def _answer(expected: np.ndarray, came: Any, where: str) -> Difference | None:
    wanted = f"a list of one array, {expected.tolist()}"
    if not isinstance(came, list) or len(came) != 1 or not isinstance(came[0], np.ndarray):
        return Difference(wanted, f"{where} gave {type(came).__name__}, not the list of outputs")
    if came[0].shape != expected.shape or not np.array_equal(came[0], expected):
        return Difference(wanted, f"{where} gave {came[0].tolist()}")
    return None


parked_model = Exercise(
    name="ParkedModel",
    signature="ParkedModel(path)",
    goal="A model on the CPU with `run(feeds)`, which returns the list of outputs, and `park()`, after which no session"
    " of it is alive; the next run makes one again, from the model as it was when `ParkedModel` was made.",
    cases=_cases,
    judge_case=_judge,
    hints=(
        "What keeps a session's memory? And what is the least that you need to make it again?",
        "A session is freed when nothing refers to it any more; no call moves it away. What it was made from is bytes:"
        " read them once and keep those.",
        "`__init__`: keep the file's bytes, `self.session = None`. `run`: if there is no session, make one from the"
        " bytes; return its run. `park`: `self.session = None`.",
    ),
    points=3,
    minutes=10,
    difficulty=2,
    num_lines=8,
    probe=_probe,
)
wrong, right = parked_model.wrong, parked_model.right


def _open(model):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model, options, providers=[CPU])


class _Kept:
    """Right, and what the wrong ones differ from."""

    def __init__(self, path):
        self.path = path
        self.content = Path(path).read_bytes()
        self.session = None

    def wake(self):
        if self.session is None:
            self.session = _open(self.content)
        return self.session

    def run(self, feeds):
        return self.wake().run(None, feeds)

    def park(self):
        self.session = None


@wrong("a flag instead of parking", "saying that it is parked frees nothing: the session has to go.")
class _Flag(_Kept):
    def park(self):
        self.parked = True


@wrong("moved to the CPU", "set_providers makes the session anew and keeps it: the memory is still taken.")
class _Moved(_Kept):
    def park(self):
        self.wake().set_providers([CPU])


@wrong("a session for each run", "making a session is the expensive part: keep it until park().")
class _EachRun(_Kept):
    def run(self, feeds):
        self.session = None
        return super().run(feeds)


@wrong("parked for ever", "the next run has to make the session again.")
class _ForEver(_Kept):
    def __init__(self, path):
        super().__init__(path)
        self.session = _open(self.content)

    def wake(self):
        return self.session


@wrong("a second reference", "a bound method holds its session too: drop everything that refers to it.")
class _Second(_Kept):
    def run(self, feeds):
        self.last = self.wake().run
        return self.last(None, feeds)


@wrong("the old sessions in a list", "a list of sessions keeps all of them alive.")
class _Past(_Kept):
    def __init__(self, path):
        super().__init__(path)
        self.past = []

    def park(self):
        self.past.append(self.session)
        super().park()


@wrong("the file read again", "the file may be another one by now, or gone: keep the bytes.")
class _ReadAgain(_Kept):
    def wake(self):
        if self.session is None:
            self.session = _open(self.path)
        return self.session


@wrong("parked twice is an error", "park() of what is parked has nothing to do: that is no error.")
class _Twice(_Kept):
    def park(self):
        del self.session

    def wake(self):
        if not hasattr(self, "session") or self.session is None:
            self.session = _open(self.content)
        return self.session


@wrong("the first output alone", "a model may have several outputs: return the list, as a session does.")
class _FirstOutput(_Kept):
    def run(self, feeds):
        return super().run(feeds)[0]


@wrong("made again at once", "park() that makes a new session gives nothing back.")
class _AtOnce(_Kept):
    def park(self):
        self.session = _open(self.content)


@right("made when it is needed")
class _Needed(_Kept):
    pass


@right("made at once, and when it is needed again")
class _Eager(_Kept):
    def __init__(self, path):
        super().__init__(path)
        self.wake()


@right("a cached property")
class _InAList:
    def __init__(self, path):
        with open(path, "rb") as file:
            self.content = file.read()
        self.sessions = []

    def run(self, feeds):
        if not self.sessions:
            self.sessions.append(_open(self.content))
        return self.sessions[0].run([output.name for output in self.sessions[0].get_outputs()], feeds)

    def park(self):
        self.sessions.clear()


@right("a copy of the file of its own")
class _OwnCopy:
    def __init__(self, path):
        self.file = tempfile.NamedTemporaryFile(suffix=".onnx")  # noqa: SIM115
        self.file.write(Path(path).read_bytes())
        self.file.flush()

    def run(self, feeds):
        if not hasattr(self, "session"):
            self.session = _open(self.file.name)
        return self.session.run(None, feeds)

    def park(self):
        self.__dict__.pop("session", None)

"""`open_session(path, prefer)`: the first provider that really starts, on machines that this one is not."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from labkit.course.compare import Difference
from labkit.course.exercise import Case, Exercise
from labkit.course.exercises.onnx_export.machines import CPU, played_machine
from labkit.course.on_first_use import ort

CUDA, TENSORRT, OPENVINO = (f"{name}ExecutionProvider" for name in ("CUDA", "Tensorrt", "OpenVINO"))
COREML, ROCM = (f"{name}ExecutionProvider" for name in ("CoreML", "MIGraphX"))


@dataclass(frozen=True)
class MachineCase(Case):
    """A file, what is preferred, and a machine: what is compiled in, and what starts."""

    def for_learner(self) -> tuple[Any, ...]:
        """(path, prefer, machine): `with machine as said:` is that machine; said is what ORT warns of."""
        path, prefer, compiled, starts = self.args
        return path, prefer, played_machine(compiled, starts)


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(name: str, prefer: list[str], compiled: list[str], starts: list[str]) -> Case:
        path = f"model{int(rng.integers(100))}.onnx"
        return MachineCase(name, (path, prefer, compiled, starts), ("path", "prefer", "compiled in", "starts"))

    everything = [TENSORRT, CUDA, OPENVINO, CPU]
    shuffled = [str(name) for name in rng.permutation([CUDA, OPENVINO, COREML, ROCM])]
    compiled = [*shuffled[1:], CPU]
    return [
        case("only the CPU", [CPU], [CPU], [CPU]),
        case("the CPU by itself", [], [CPU], [CPU]),
        case("CUDA wanted, a build without it", [CUDA, CPU], [CPU], [CPU]),
        case("CUDA wanted and there", [CUDA, CPU], [CUDA, CPU], [CUDA, CPU]),
        case("the CPU not named", [CUDA], [CUDA, CPU], [CUDA, CPU]),
        case("the CPU wanted, CUDA there", [CPU], everything, everything),
        case("nothing wanted, CUDA there", [], everything, everything),
        case("CUDA compiled in, no GPU", [CUDA, CPU], [TENSORRT, CUDA, CPU], [CPU]),
        case("TensorRT compiled in, only CUDA starts", [TENSORRT, CUDA, CPU], everything, [CUDA, CPU]),
        case("the third starts", [TENSORRT, CUDA, OPENVINO, CPU], everything, [OPENVINO, CPU]),
        case("the order of the build is another", [OPENVINO, CUDA], everything, everything),
        case("the first is in no build", [COREML, CUDA, CPU], everything, [CUDA, CPU]),
        case("random", shuffled, compiled, [*shuffled[2:], CPU]),
    ]


def _probe(candidate: Callable[..., Any], case: Case) -> dict[str, Any]:
    path, prefer, compiled, starts = case.args
    with played_machine(compiled, starts) as said:
        session = candidate(path, prefer)
        if not isinstance(session, ort.InferenceSession):
            return {"type": type(session).__name__}
        return {"path": str(session.played_path), "providers": session.get_providers(), "said": said}


def _judge(case: Case, value: Any) -> Difference | None:
    path, prefer, compiled, starts = case.args
    if "type" in value:
        return Difference("an onnxruntime.InferenceSession", value["type"])
    # Word by word from the goal: of those wanted, the first that is compiled in and starts; else the CPU.
    first = next((name for name in prefer if name in compiled and name in starts), CPU)
    came = value["providers"]
    if value["path"] != path:
        return Difference(f"a session of {path}", f"a session of {value['path'][:60]}")
    if came[0] != first:
        return Difference(f"a session that runs on {first}", f"one that runs on {came[0]}")
    unwanted = [name for name in came if name not in prefer and name != CPU]
    if unwanted:
        return Difference("no provider that was not asked for", f"a session that may use {unwanted[0]} too")
    if value["said"]:
        return Difference("nothing for ONNX Runtime to warn of", f"it warns: {value['said'][0]}")
    return None


open_session = Exercise(
    name="open_session",
    signature="open_session(path, prefer)",
    goal="Return an `ort.InferenceSession` on the first provider of `prefer` that really works on this machine, the CPU"
    " where none does, without a warning.",
    cases=_cases,
    judge_case=_judge,
    hints=(
        "`ort.get_available_providers()` on a laptop with `onnxruntime-gpu` installed names CUDA. Does that mean that"
        " CUDA works? How would you know?",
        "It lists what was compiled in. So it says what may be asked for without a warning, and not what will start."
        " ONNX Runtime goes through the list that you give and leaves out what does not start: give it all of them.",
        "`wanted = [each of prefer that is in ort.get_available_providers() and is not the CPU]`;"
        " `return ort.InferenceSession(path, providers=wanted + ['CPUExecutionProvider'])`.",
    ),
    points=2,
    minutes=10,
    difficulty=2,
    num_lines=3,
    probe=_probe,
)
wrong, right = open_session.wrong, open_session.right


@wrong("prefer as it is", "what is not compiled in is warned of: ask for what `get_available_providers` lists.")
def _(path, prefer):
    return ort.InferenceSession(path, providers=[*prefer, *([] if CPU in prefer else [CPU])])


@wrong("everything that is compiled in", "the caller chose: providers that nobody asked for are not to be used.")
def _(path, prefer):
    return ort.InferenceSession(path, providers=ort.get_available_providers())


@wrong(
    "the first that is compiled in", "compiled in is not started: if it does not start, the next one is never tried."
)
def _(path, prefer):
    first = next((name for name in prefer if name in ort.get_available_providers()), CPU)
    return ort.InferenceSession(path, providers=[first] if first == CPU else [first, CPU])


@wrong("the order of the build", "the caller's order decides, not that of `get_available_providers`.")
def _(path, prefer):
    wanted = [name for name in ort.get_available_providers() if name in prefer and name != CPU]
    return ort.InferenceSession(path, providers=[*wanted, CPU])


@wrong("the CPU first", "the list is in order of precedence: what stands behind the CPU is never used.")
def _(path, prefer):
    wanted = [name for name in prefer if name in ort.get_available_providers() and name != CPU]
    session = ort.InferenceSession(path, providers=[CPU, *wanted])
    return session


@wrong("always the CPU", "the caller's wishes are not looked at.")
def _(path, prefer):
    return ort.InferenceSession(path, providers=[CPU])


@wrong("the CPU twice", "prefer may name the CPU itself: a provider that stands twice is warned of.")
def _(path, prefer):
    return ort.InferenceSession(path, providers=[*(n for n in prefer if n in ort.get_available_providers()), CPU])


@wrong("the first name or nothing", "if the first one is not there, the second is wanted and not the CPU at once.")
def _(path, prefer):
    there = [name for name in prefer[:1] if name in ort.get_available_providers() and name != CPU]
    return ort.InferenceSession(path, providers=[*there, CPU])


@wrong("the last that is compiled in", "prefer begins with what is wanted most.")
def _(path, prefer):
    wanted = [name for name in reversed(prefer) if name in ort.get_available_providers() and name != CPU]
    return ort.InferenceSession(path, providers=[*wanted, CPU])


@wrong("the name of the provider", "the caller wants to run the model: return the session.")
def _(path, prefer):
    return next((name for name in prefer if name in ort.get_available_providers()), CPU)


@right("what is compiled in, then the CPU")
def _(path, prefer):
    wanted = [name for name in prefer if name in ort.get_available_providers() and name != CPU]
    return ort.InferenceSession(path, providers=[*wanted, CPU])


@right("one after the other, until one really runs")
def _(path, prefer):
    for name in prefer:
        if name != CPU and name in ort.get_available_providers():
            session = ort.InferenceSession(path, providers=[name, CPU])
            if session.get_providers()[0] == name:
                return session
        elif name == CPU:
            break
    return ort.InferenceSession(path, providers=[CPU])


@right("with options for each provider")
def _(path, prefer):
    available = set(ort.get_available_providers())
    wanted = [(name, {}) for name in dict.fromkeys([*prefer, CPU]) if name in available]
    return ort.InferenceSession(path, ort.SessionOptions(), providers=wanted)

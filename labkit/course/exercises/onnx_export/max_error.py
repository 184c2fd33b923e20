"""`max_error(model, path, inputs)`: how far a file is from the model that it should be."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from labkit.course.compare import Difference, describe_typed
from labkit.course.describe import describe
from labkit.course.exercise import Case, Exercise
from labkit.course.exercises.onnx_export.graphs import new_path
from labkit.course.on_first_use import onnx, ort, torch

CHANNELS = 6
ROUNDING = 1e-4  # float32 sums of a few numbers; the differences to be found are a thousand times this

# The model: {"y": x @ W, "z": x @ W + scale}, behind a dropout. How its graphs differ, as ONNX text.
GRAPHS: dict[str, str] = {
    "the same function": "y = MatMul(x, w) z = Add(y, scale)",
    "the same function, inputs in another order": "y = MatMul(x, w) z = Add(y, scale)",
    "y of one image is too low": "m = MatMul(x, w) y = Add(m, low) k = Identity(m) z = Add(k, scale)",
    "y of one image is too high": "m = MatMul(x, w) h = Neg(low) y = Add(m, h) z = Add(m, scale)",
    "z alone is wrong": "y = MatMul(x, w) t = Add(y, low) z = Add(t, scale)",
    "y is NaN in one place": "m = MatMul(x, w) y = Add(m, nan) z = Add(m, scale)",
    "y has one row, which would broadcast": "m = MatMul(x, w) y = Slice(m, zero, one, zero) z = Add(m, scale)",
    "scale is not read": "y = MatMul(x, w) z = Identity(y)",
}


@dataclass(frozen=True)
class ErrorCase(Case):
    """A mode of the model, the name of a graph, and inputs."""

    def for_learner(self) -> tuple[Any, ...]:
        """(model, path, inputs), as the answer is called with them; the file lies in a new folder."""
        return _arguments(self, new_path())


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(graph: str, batch: int = 3, training: bool = False) -> Case:
        x, scale = rng.normal(1.0, 2.0, (2, batch, CHANNELS)).astype(np.float32)
        name = graph + (", the model in training mode" if training else "")
        mode = "in training mode" if training else "in evaluation mode"
        return ErrorCase(name, (mode, graph, {"x": x, "scale": scale}), ("model", "file", "inputs"))

    return [
        case("the same function"),
        case("the same function", training=True),
        case("the same function, inputs in another order"),
        case("y of one image is too low"),
        case("y of one image is too high", batch=int(rng.integers(4, 9))),
        case("z alone is wrong"),
        case("y is NaN in one place"),
        case("y has one row, which would broadcast"),
        case("scale is not read"),
    ]


def _weights(batch: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    low, nan = np.zeros((2, batch, CHANNELS), np.float32)
    low[-1, 1], nan[0, 2] = -0.75, np.nan
    return {
        "w": rng.normal(size=(CHANNELS, CHANNELS)).astype(np.float32),
        "low": low,
        "nan": nan,
        "zero": np.array([0]),
        "one": np.array([1]),
    }


def make_graph(name: str, batch: int) -> Any:
    """The ONNX model of that name, valid for this batch."""
    inputs = [f"float[batch, {CHANNELS}] x", f"float[batch, {CHANNELS}] scale"]
    if "another order" in name:
        inputs.reverse()
    if "not read" in name:
        inputs.pop()
    outputs = f"float[n, {CHANNELS}] y, float[batch, {CHANNELS}] z"
    model = onnx.parser.parse_model(
        f'<ir_version: 9, opset_import: ["": 18]> g ({", ".join(inputs)}) => ({outputs}) {{ {GRAPHS[name]} }}'
    )
    used = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(array, key) for key, array in _weights(batch).items() if key in used
    )
    return model


def _make_model(batch: int, reads_scale: bool) -> Any:
    weight = torch.nn.Parameter(torch.tensor(_weights(batch)["w"]))  # its outputs carry a gradient, as a model's do

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.drop = weight, torch.nn.Dropout(0.5)

        def forward(self, x: Any, scale: Any) -> Any:
            y = self.drop(x) @ self.weight
            return y, y + scale if reads_scale else y

    return Model()


def _probe(candidate: Callable[..., Any], case: Case) -> dict[str, Any]:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory(prefix="labkit-") as folder:
        model, path, tensors = _arguments(case, Path(folder) / "model.onnx")
        try:
            error = candidate(model, path, tensors)
        except ValueError as raised:
            return {"raised": type(raised).__name__, "training": model.training}
    if isinstance(error, torch.Tensor | np.generic) or (isinstance(error, np.ndarray) and error.ndim == 0):
        error = error.item()
    return {"error": error, "training": model.training}


def _arguments(case: Case, path: Path) -> tuple[Any, Path, dict[str, Any]]:
    """(model, path, inputs) of a case; the file is written."""
    mode, graph, inputs = case.args
    batch = len(inputs["x"])
    path.write_bytes(make_graph(graph, batch).SerializeToString())
    model = _make_model(batch, reads_scale="not read" not in graph).train("training" in mode)
    return model, path, {name: torch.tensor(array) for name, array in inputs.items()}


def _judge(case: Case, value: Any) -> Difference | None:
    mode, graph, inputs = case.args
    expected = expected_error(graph, inputs)
    difference = _compare(expected, value)
    if difference is None and value["training"] != ("training" in mode):
        return Difference(f"the model left {mode}", f"the right answer, and the model {_mode(value['training'])}")
    return difference


def _compare(expected: float | None, value: Mapping[str, Any]) -> Difference | None:
    if expected is None:
        wanted = "a ValueError: the file's y has another shape than the model's"
        return None if "raised" in value else Difference(wanted, describe_typed(value["error"]))
    if "raised" in value:
        return Difference(describe(expected), f"a {value['raised']}")
    came = value["error"]
    if isinstance(came, bool) or not isinstance(came, int | float):
        return Difference(f"one number, {expected:.4g}", f"{describe_typed(came)}: not a number")
    if not np.isfinite(expected):
        return None if not np.isfinite(came) else Difference("inf or nan: y is NaN in one place", f"{came:.4g}")
    return None if abs(came - expected) <= ROUNDING else Difference(f"{expected:.4g}", f"{came:.4g}")


def expected_error(graph: str, inputs: Mapping[str, np.ndarray]) -> float | None:
    """From NumPy and ONNX's own reference evaluator; None where the shapes differ."""
    return _expected_error(graph, *(np.ascontiguousarray(inputs[name]).tobytes() for name in ("x", "scale")))


@lru_cache(maxsize=256)
def _expected_error(graph: str, x_bytes: bytes, scale_bytes: bytes) -> float | None:
    from onnx.reference import ReferenceEvaluator

    inputs = {"x": np.frombuffer(x_bytes, np.float32), "scale": np.frombuffer(scale_bytes, np.float32)}
    inputs = {name: array.reshape(-1, CHANNELS) for name, array in inputs.items()}
    x, scale = (inputs[name].astype(np.float64) for name in ("x", "scale"))
    y = x @ _weights(len(x))["w"].astype(np.float64)
    model = make_graph(graph, len(x))
    known = {each.name for each in model.graph.input}
    z = y + scale if "scale" in known else y
    outputs = ReferenceEvaluator(model).run(None, {name: inputs[name] for name in sorted(known)})
    if any(ours.shape != theirs.shape for ours, theirs in zip((y, z), outputs, strict=True)):
        return None
    gaps = np.array([np.abs(ours - theirs).max() for ours, theirs in zip((y, z), outputs, strict=True)])
    return float(gaps.max())


def _mode(training: bool) -> str:
    return "in training mode" if training else "in evaluation mode"


max_error = Exercise(
    name="max_error",
    signature="max_error(model, path, inputs)",
    goal="Return the largest absolute difference, over all outputs, between the model (in evaluation mode) and the ONNX"
    " file at path for these inputs, a float; raise ValueError where an output has another shape.",
    cases=_cases,
    judge_case=_judge,
    hints=(
        "Two answers to the same question, one from PyTorch, one from ONNX Runtime. What has to be equal before you may"
        " subtract them? What does NumPy do with shapes that are not?",
        "`model.eval()` for the call, and its mode given back; `torch.no_grad()`. A session takes {name: array} and"
        " refuses a name that it does not have. Compare shapes before you subtract. `max` of Python does not see NaN.",
        "`session = ort.InferenceSession(str(path), providers=['CPUExecutionProvider'])`; feed the inputs whose names"
        " are in `session.get_inputs()`; for each pair of outputs: other shape → ValueError; collect"
        " `np.abs(ours - theirs).max()`; return `float(np.max(collected))`.",
    ),
    points=3,
    minutes=20,
    difficulty=2,
    num_lines=14,
    names_in_part=True,
    probe=_probe,
    limit_s=30.0,
)
wrong, right = max_error.wrong, max_error.right


def _session(path):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _theirs(path, inputs):
    session = _session(path)
    known = {value.name for value in session.get_inputs()}
    return session.run(None, {name: tensor.numpy() for name, tensor in inputs.items() if name in known})


def _ours(model, inputs):
    training = model.training
    model.eval()
    with torch.no_grad():
        outputs = [output.numpy() for output in model(**inputs)]
    model.train(training)
    return outputs


def _pairs(model, path, inputs):
    pairs = list(zip(_ours(model, inputs), _theirs(path, inputs), strict=True))
    for ours, theirs in pairs:
        if ours.shape != theirs.shape:
            raise ValueError(f"{theirs.shape} instead of {ours.shape}")
    return pairs


@wrong("without absolute values", "where the file is too low the difference is negative: take its magnitude.")
def _(model, path, inputs):
    return float(np.max([(theirs - ours).max() for ours, theirs in _pairs(model, path, inputs)]))


@wrong("the first output alone", "a file may be right in one output and wrong in another: compare all of them.")
def _(model, path, inputs):
    ours, theirs = _pairs(model, path, inputs)[0]
    return float(np.abs(ours - theirs).max())


@wrong("the last output alone", "a file may be right in one output and wrong in another: compare all of them.")
def _(model, path, inputs):
    ours, theirs = _pairs(model, path, inputs)[-1]
    return float(np.abs(ours - theirs).max())


@wrong("mean error", "one wrong number in a thousand hardly moves a mean: the largest is asked for.")
def _(model, path, inputs):
    return float(np.max([np.abs(ours - theirs).mean() for ours, theirs in _pairs(model, path, inputs)]))


@wrong("sum over the outputs", "the largest over all outputs, not one largest added to the other.")
def _(model, path, inputs):
    return float(np.sum([np.abs(ours - theirs).max() for ours, theirs in _pairs(model, path, inputs)]) * 2)


@wrong("NaN passed over", "max() of Python, and nanmax, pass over NaN: a file that gives NaN would look right.")
def _(model, path, inputs):
    return max(0.0, *(float(np.nanmax(np.abs(ours - theirs))) for ours, theirs in _pairs(model, path, inputs)))


@wrong("shapes left to broadcasting", "NumPy subtracts one row from every row: compare the shapes first.")
def _(model, path, inputs):
    return float(
        np.max([np.abs(o - t).max() for o, t in zip(_ours(model, inputs), _theirs(path, inputs), strict=True)])
    )


@wrong(
    "evaluation mode forgotten", "in training mode dropout draws other numbers at each call: eval() before you compare."
)
def _(model, path, inputs):
    training = model.training
    with torch.no_grad():
        ours = [output.numpy() for output in model(**inputs)]
    model.train(training)
    pairs = list(zip(ours, _theirs(path, inputs), strict=True))
    if any(ours.shape != theirs.shape for ours, theirs in pairs):
        raise ValueError("another shape")
    return float(np.max([np.abs(ours - theirs).max() for ours, theirs in pairs]))


@wrong("model left in evaluation mode", "the caller's model has to be as it was: give its mode back.")
def _(model, path, inputs):
    pairs = _pairs(model, path, inputs)
    model.eval()
    return float(np.max([np.abs(ours - theirs).max() for ours, theirs in pairs]))


@wrong("inputs by their place", "the file has its inputs in an order of its own: feed them by name.")
def _(model, path, inputs):
    session = _session(path)
    fed = {value.name: tensor.numpy() for value, tensor in zip(session.get_inputs(), inputs.values(), strict=False)}
    pairs = list(zip(_ours(model, inputs), session.run(None, fed), strict=True))
    if any(ours.shape != theirs.shape for ours, theirs in pairs):
        raise ValueError("another shape")
    return float(np.max([np.abs(ours - theirs).max() for ours, theirs in pairs]))


@wrong("every input fed", "an input that the model never read is not in the graph, and feeding it is refused.")
def _(model, path, inputs):
    theirs = _session(path).run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
    pairs = list(zip(_ours(model, inputs), theirs, strict=True))
    if any(ours.shape != theirs.shape for ours, theirs in pairs):
        raise ValueError("another shape")
    return float(np.max([np.abs(ours - theirs).max() for ours, theirs in pairs]))


@wrong("whether they are close", "a yes or no hides how far: return the number and let the caller judge.")
def _(model, path, inputs):
    return all(np.allclose(ours, theirs, atol=1e-3) for ours, theirs in _pairs(model, path, inputs))


@wrong("relative error", "the absolute difference was asked for; relative to what would be another question.")
def _(model, path, inputs):
    return float(np.max([np.abs((ours - theirs) / ours).max() for ours, theirs in _pairs(model, path, inputs)]))


@right("pairs of arrays")
def _(model, path, inputs):
    return float(np.max([np.abs(ours - theirs).max() for ours, theirs in _pairs(model, path, inputs)]))


@right("one long vector, in float64")
def _(model, path, inputs):
    pairs = _pairs(model, path, inputs)
    ours, theirs = (np.concatenate([np.ravel(pair[at]).astype(np.float64) for pair in pairs]) for at in (0, 1))
    return np.linalg.norm(ours - theirs, ord=np.inf)


@right("in torch")
def _(model, path, inputs):
    worst = torch.tensor(0.0)
    for ours, theirs in _pairs(model, path, inputs):
        worst = torch.maximum(worst, (torch.tensor(ours) - torch.tensor(theirs)).abs().max())
    return worst


@right("labkit's, output by output")
def _(model, path, inputs):
    from labkit.onnx_export import max_error as labkits

    return labkits(model, path, inputs)

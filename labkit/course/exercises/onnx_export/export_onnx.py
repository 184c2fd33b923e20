"""`export_onnx(model, example, path, dynamic=None)`: a file that is the model, under readable names."""

import functools
import inspect
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from labkit.course.answers import encode
from labkit.course.apart import Answer
from labkit.course.compare import Difference
from labkit.course.exercise import Case, Wrong
from labkit.course.exercises.onnx_export.graphs import new_path, read_graph, run_graph
from labkit.course.on_first_use import torch
from labkit.course.played import PlayedExercise

CLOSE = 1e-4  # relative to the largest output: float32 sums of some dozen numbers
LIMIT_S = 120.0  # the exporter loads for several seconds the first time, and takes one for each model


@dataclass(frozen=True)
class ExportCase(Case):
    """A model by its name, an example, and inputs that the file is tried on."""

    def for_learner(self) -> tuple[Any, ...]:
        """(model, example, path, dynamic), as the answer is called with them; the path is in a new folder."""
        name, example, dynamic, _tried = self.args
        return make_model(name), as_example(example), new_path(), dynamic


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)
    batch, tokens, other = (int(n) for n in rng.choice(np.arange(2, 8), size=3, replace=False))

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(0.5, 1.0, shape).astype(np.float32)

    names = ("model", "example", "dynamic", "tried")
    return [
        ExportCase(
            "static",
            ("scores, in evaluation mode", [draw(batch, 6)], None, [[draw(batch, 6)]]),
            names,
        ),
        ExportCase(
            "a dynamic batch, a model in training mode",
            (
                "scores, in training mode",
                [draw(batch, 6)],
                {"x": {0: "batch"}},
                [[draw(n, 6)] for n in (batch, other, 17)],
            ),
            names,
        ),
        ExportCase(
            "two inputs, three dynamic dimensions",
            (
                "weighted, in evaluation mode",
                [draw(batch, tokens, 6), draw(batch, tokens)],
                {"tokens": {0: "batch", 1: "num_tokens"}, "weights": {0: "batch", 1: "num_tokens"}},
                [[draw(b, t, 6), draw(b, t)] for b, t in ((batch, tokens), (other, tokens), (batch, other), (9, 21))],
            ),
            names,
        ),
    ]  # fmt: skip


def make_model(name: str) -> Any:
    """The model of that name, the same each time: weights from a fixed seed, statistics that are not 0 and 1."""
    kind, _, mode = name.partition(", ")
    generator = torch.Generator().manual_seed(0)

    class Scores(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.norm, self.drop = torch.nn.Linear(6, 3), torch.nn.BatchNorm1d(3), torch.nn.Dropout(0.5)

        def forward(self, x: Any) -> Any:
            return self.drop(self.norm(self.linear(x)))

    class Weighted(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(6, 3)

        def forward(self, tokens: Any, weights: Any) -> Any:
            return (self.linear(tokens) * weights.unsqueeze(-1)).sum(1)

    model: Any = {"scores": Scores, "weighted": Weighted}[kind]()
    with torch.no_grad():
        for tensor in [*model.parameters(), *(each for each in model.buffers() if each.is_floating_point())]:
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return model.train("training" in mode)


def _probe(candidate: Callable[..., Any], case: Case) -> dict[str, Any]:
    from labkit.onnx_export.operator_tables import kept_tables

    name, example, dynamic, _tried = case.args
    model = make_model(name)
    before = _state(model)
    asked = {each: dict(dims) for each, dims in dynamic.items()} if dynamic else None
    with tempfile.TemporaryDirectory(prefix="labkit-") as folder, kept_tables():
        path = Path(folder) / "model.onnx"
        candidate(model, as_example(example), path, asked)
        files = {file.name: file.read_bytes() for file in Path(folder).iterdir() if file.is_file()}
    after = _state(model)
    return {
        "file": files.pop("model.onnx", None),
        "others": sorted(files),
        "training": model.training,
        "modes": [module.training for module in model.modules()],
        "weights changed": [key for key in before if not torch.equal(before[key], after[key])],
    }


def as_example(arrays: Sequence[np.ndarray]) -> Any:
    """One tensor, or a tuple of several."""
    tensors = tuple(torch.tensor(array) for array in arrays)
    return tensors[0] if len(tensors) == 1 else tensors


def _state(model: Any) -> dict[str, Any]:
    return {key: tensor.clone() for key, tensor in model.state_dict().items()}


def _judge(case: Case, value: Any) -> Difference | None:
    name, example, dynamic, tried = case.args
    if value["file"] is None:
        there = f"the folder holds {value['others']}" if value["others"] else "the folder is empty"
        return Difference("a file at path", f"there is none; {there}")
    try:
        model = read_graph(value["file"])
    except ValueError as error:
        return Difference("an ONNX model that stands alone in one file", str(error))
    if value["others"]:
        return Difference("one file", f"also {value['others']} beside it")
    reference = make_model(name).eval().double()
    wanted, came = _wanted_sizes(reference, example, dynamic), _sizes(model)
    if list(came) != list(wanted):
        return Difference(f"inputs named as in forward: {list(wanted)}", f"inputs {list(came)}")
    if came != wanted:
        return Difference(f"input sizes {wanted}", f"{came}")
    for arrays, run in zip(tried, _runs(case, value["file"]), strict=True):
        difference = _compare(reference, arrays, run)
        if difference:
            return difference
    if value["weights changed"]:
        return Difference("the model as it was", f"its {value['weights changed'][0]} has changed")
    if len(set(value["modes"])) != 1 or value["training"] != ("training" in name):
        mode = "training" if value["training"] else "evaluation"
        return Difference("the model in the mode in which it came", f"a model left in {mode} mode")
    return None


def _wanted_sizes(model: Any, example: Sequence[np.ndarray], dynamic: Mapping[str, Any] | None) -> dict[str, list[Any]]:
    names = list(inspect.signature(model.forward).parameters)
    return {
        name: [(dynamic or {}).get(name, {}).get(dim, size) for dim, size in enumerate(array.shape)]
        for name, array in zip(names, example, strict=True)
    }


def _sizes(model: Any) -> dict[str, list[Any]]:
    return {
        value.name: [
            dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None
            for dim in value.type.tensor_type.shape.dim
        ]
        for value in model.graph.input
    }


def _runs(case: Case, content: bytes) -> list[Any]:
    model = make_model(case.args[0])
    names = list(inspect.signature(model.forward).parameters)
    return run_graph(content, [dict(zip(names, arrays, strict=True)) for arrays in case.args[3]])


def _compare(reference: Any, arrays: Sequence[np.ndarray], run: Any) -> Difference | None:
    with torch.no_grad():
        expected = reference(*(torch.tensor(array).double() for array in arrays)).numpy()
    at = " and ".join(str(array.shape) for array in arrays)
    if isinstance(run, str):
        return Difference(f"an output {expected.shape} for {at}", run)
    if len(run) != 1 or run[0].shape != expected.shape:
        return Difference(f"one output {expected.shape} for {at}", f"{[array.shape for array in run]}")
    off = float(np.abs(run[0] - expected).max() / np.abs(expected).max())
    if off <= CLOSE:
        return None
    return Difference(f"what the model gives in evaluation mode for {at}", f"off by {off:.2g} of the largest output")


def _seen(case: Case, value: Any) -> Any:
    """What tells one mistake from another: the file, its names and sizes, and which inputs come out right."""
    seen = {key: value[key] for key in ("others", "training", "weights changed")}
    try:
        if value["file"] is None:
            return seen | {"file": None}
        model = read_graph(value["file"])
    except ValueError as error:
        return seen | {"file": str(error)}
    reference = make_model(case.args[0]).eval().double()
    sizes = {name: list(map(str, dims)) for name, dims in _sizes(model).items()}
    runs = zip(case.args[3], _runs(case, value["file"]), strict=True)
    return seen | {"sizes": sizes, "right": [_compare(reference, arrays, run) is None for arrays, run in runs]}


@dataclass(eq=False, kw_only=True)
class ExportExercise(PlayedExercise):
    """Its own wrong answers are exported once for each case, since each takes a tenth of a second."""

    _own: dict[tuple[str, bytes], Answer] = field(default_factory=dict, init=False, repr=False)

    def judge(self, candidate: Any, seed: int = 0, tier: str = "cpu", limit_s: float | None = None) -> Any:
        """As every exercise, with the exporter loaded once here and not in each process that answers."""
        _load_exporter()
        return super().judge(candidate, seed, tier, limit_s)

    def _own_answer(self, wrong: Wrong, case: Case) -> Answer:
        key = wrong.name, encode([case.name, *case.args])
        if key not in self._own:
            self._own[key] = super()._own_answer(wrong, case)
        return self._own[key]


@functools.cache
def _load_exporter() -> None:
    """One small export, so that what the exporter imports and builds at its first is there."""
    from labkit.onnx_export import export_onnx as labkits

    with tempfile.TemporaryDirectory(prefix="labkit-") as folder:
        labkits(torch.nn.Identity(), torch.ones(2, 3), Path(folder) / "model.onnx")


export_onnx = ExportExercise(
    name="export_onnx",
    signature="export_onnx(model, example, path, dynamic=None)",
    goal="Write the model, as it is in evaluation mode, to one ONNX file at path: inputs named as in `forward`, the"
    " dimensions in `dynamic`, {input: {dim: name}}, free under those names, all others fixed; the model stays as is.",
    cases=_cases,
    judge_case=_judge,
    hints=(
        "Two people go on: one runs the file, the other goes on training the model. Which mode does each need,"
        " and which line of yours sees to it? Which names would a reader of the file look for?",
        "Names come from `inspect.signature(model.forward).parameters`. The exporter takes `dynamic_shapes`, a dict"
        " with an entry for every input, None where all is fixed. By default it puts the weights into a second file:"
        " `external_data=False`.",
        "make a tuple of the example; `names = list(parameters)[:len(example)]`; remember `model.training`, then"
        " `model.eval()`; `torch.onnx.export(model, example, str(path), input_names=names, dynamic_shapes={name:"
        " dynamic.get(name) …} if dynamic else None, external_data=False, verbose=False)`; `model.train(was)`.",
    ),
    points=4,
    minutes=20,
    difficulty=2,
    num_lines=12,
    names_in_part=True,
    probe=_probe,
    seen=_seen,
    limit_s=LIMIT_S,
)

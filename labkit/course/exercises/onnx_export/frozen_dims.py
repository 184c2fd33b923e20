"""`frozen_dims(model, dynamic)`: read in the file itself which dimensions are fixed that were asked to be free."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from labkit.course.compare import Difference, compare_exactly
from labkit.course.exercise import Case, Exercise
from labkit.course.on_first_use import onnx

# {input: its sizes}: an int is a fixed size, a string a symbolic one, None says nothing.
Sizes = dict[str, list[int | str | None]]


@dataclass(frozen=True)
class SizesCase(Case):
    """The sizes that a graph says, and what was asked for."""

    def for_learner(self) -> tuple[Any, ...]:
        """(model, dynamic), as the answer is called with them."""
        sizes, dynamic = self.args
        return make_model(sizes), dynamic


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)
    a, b, c, d = (int(n) for n in rng.choice(np.arange(2, 100), size=4, replace=False))
    batch = {0: "batch"}
    return [
        SizesCase("free as asked", ({"x": ["batch", 3]}, {"x": batch})),
        SizesCase("frozen", ({"x": [a, 3]}, {"x": batch})),
        SizesCase("frozen at 1", ({"x": [1, 3]}, {"x": batch})),
        SizesCase("frozen at 0, an empty example", ({"x": [0, 3]}, {"x": batch})),
        SizesCase("free under another name", ({"x": ["s0", 3]}, {"x": batch})),
        SizesCase("free with no name at all", ({"x": [None, 3]}, {"x": batch})),
        SizesCase("nothing was asked for", ({"x": [a, b]}, {})),
        SizesCase(
            "one of two frozen", ({"image": ["batch", 3, a, "width"]}, {"image": {0: "batch", 2: "h", 3: "width"}})
        ),
        SizesCase(
            "the inputs in another order",
            ({"x": [a, b], "mask": [c, d]}, {"mask": {1: "tokens"}, "x": {0: "batch"}}),
        ),
        SizesCase("an input that the graph does not have", ({"x": [a, b]}, {"mask": batch, "x": {1: "tokens"}})),
        SizesCase("a weight that is listed as an input too", ({"w": [a, b], "x": ["batch", b]}, {"x": batch})),
        SizesCase("only the asked ones count", ({"x": ["batch", a, b], "y": [c, d]}, {"x": {0: "batch", 2: "width"}})),
        SizesCase(
            "random",
            (
                {name: [_any_size(rng) for _ in range(4)] for name in "xyz"},
                {name: {int(dim): f"{name}{dim}" for dim in rng.permutation(4)[:3]} for name in "zx"},
            ),
        ),
    ]


def _any_size(rng: np.random.Generator) -> int | str | None:
    size: list[int | str | None] = [int(rng.integers(2, 100)), "n", None]
    return size[int(rng.integers(0, 3))]


def _probe(candidate: Callable[..., Any], case: Case) -> Any:
    sizes, dynamic = case.args
    model = make_model(sizes)
    before = model.SerializeToString(deterministic=True)
    found = candidate(model, {name: dict(dims) for name, dims in dynamic.items()})
    if model.SerializeToString(deterministic=True) != before:
        return "the model was changed"
    return found


def make_model(sizes: Sizes) -> Any:
    """A model with these inputs; "w" is also an initializer, and the output is as large as no input."""
    helper, tensor_type = onnx.helper, onnx.TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info(name, tensor_type, shape) for name, shape in sizes.items()]
    output = helper.make_tensor_value_info("y", tensor_type, [777, 888, 999, 555])
    nodes = [helper.make_node("Identity", [next(iter(sizes))], ["y"])]
    weight: Any = sizes.get("w")
    weights = [onnx.numpy_helper.from_array(np.zeros(weight, np.float32), "w")] if weight else []
    return helper.make_model(helper.make_graph(nodes, "graph", inputs, [output], weights))


def _judge(case: Case, value: Any) -> Difference | None:
    # The oracle reads the case, from which the model was made, and no protobuf.
    sizes, dynamic = case.args
    expected: dict[str, dict[int, int]] = {}
    for name, dims in dynamic.items():
        for dim in dims:
            size = sizes[name][dim] if name in sizes else None
            if isinstance(size, int):
                expected.setdefault(name, {})[dim] = size
    return compare_exactly(expected, value)


frozen_dims = Exercise(
    name="frozen_dims",
    signature="frozen_dims(model, dynamic)",
    goal="Return {input: {dim: its size}} for every dimension that `dynamic` asks for and that has a fixed size in the"
    " graph of this ModelProto; {} when all are free.",
    cases=_cases,
    judge_case=_judge,
    hints=(
        "A dimension in a graph says one of three things. Print `model.graph.input[0].type.tensor_type.shape.dim` of a"
        " static and of a dynamic export: what are they?",
        "A fixed size stands in `dim_value`, a symbolic one in `dim_param`, and where neither stands nobody knows the"
        " size. Protobuf gives 0 for a `dim_value` that is not there; `HasField` knows whether it is.",
        "`shapes = {value.name: value.type.tensor_type.shape.dim for value in model.graph.input}`; for each asked name"
        " that is in shapes: `{dim: size}` of those whose `HasField('dim_value')`; keep it if it is not empty.",
    ),
    points=2,
    minutes=15,
    difficulty=2,
    num_lines=7,
    probe=_probe,
)
wrong, right = frozen_dims.wrong, frozen_dims.right


def _shapes(model):
    return {value.name: value.type.tensor_type.shape.dim for value in model.graph.input}


def _frozen(model, dynamic, is_frozen=lambda dim: dim.HasField("dim_value"), size=lambda dim: dim.dim_value):
    shapes = _shapes(model)
    found = {
        name: {at: size(shapes[name][at]) for at in dims if is_frozen(shapes[name][at])}
        for name, dims in dynamic.items()
        if name in shapes
    }
    return {name: dims for name, dims in found.items() if dims}


@wrong("every fixed size", "sizes that nobody asked to be free may be fixed: look at those in `dynamic` alone.")
def _(model, dynamic):
    found = {
        name: {at: dim.dim_value for at, dim in enumerate(dims) if dim.HasField("dim_value")}
        for name, dims in _shapes(model).items()
    }
    return {name: dims for name, dims in found.items() if dims}


@wrong("no name means frozen", "a dimension with neither value nor name is free: nobody knows its size.")
def _(model, dynamic):
    return _frozen(model, dynamic, lambda dim: not dim.dim_param)


@wrong("another name means frozen", "a dimension under another name is free all the same.")
def _(model, dynamic):
    shapes, found = _shapes(model), {}
    for name, dims in dynamic.items():
        for at, asked in dims.items():
            if name in shapes and shapes[name][at].dim_param != asked:
                found.setdefault(name, {})[at] = shapes[name][at].dim_value
    return found


@wrong("0 is not frozen", "a `dim_value` of 0 can stand there, from an empty example: ask HasField, not the number.")
def _(model, dynamic):
    return _frozen(model, dynamic, lambda dim: dim.dim_value > 0)


@wrong("1 is not frozen", "a batch of 1 that is fixed refuses a batch of 2.")
def _(model, dynamic):
    return _frozen(model, dynamic, lambda dim: dim.HasField("dim_value") and dim.dim_value != 1)


@wrong("inputs with nothing frozen", "where nothing is frozen there is nothing to report: leave the input out.")
def _(model, dynamic):
    shapes = _shapes(model)
    return {
        name: {at: shapes[name][at].dim_value for at in dims if shapes[name][at].HasField("dim_value")}
        for name, dims in dynamic.items()
        if name in shapes
    }


@wrong("inputs by their place", "the graph's inputs have an order of their own: find them by name.")
def _(model, dynamic):
    found = {}
    for value, (name, dims) in zip(model.graph.input, dynamic.items(), strict=False):
        sizes = value.type.tensor_type.shape.dim
        inside = {at: sizes[at].dim_value for at in dims if sizes[at].HasField("dim_value")}
        if inside:
            found[name] = inside
    return found


@wrong("every input has to be there", "an input that the model never read is not in the graph: leave it out.")
def _(model, dynamic):
    shapes = _shapes(model)
    found = {name: {at: shapes[name][at].dim_value for at in dims if shapes[name][at].HasField("dim_value")}
             for name, dims in dynamic.items()}  # fmt: skip
    return {name: dims for name, dims in found.items() if dims}


@wrong("the output's shape", "the sizes of the output follow from the inputs': look at model.graph.input.")
def _(model, dynamic):
    sizes = model.graph.output[0].type.tensor_type.shape.dim
    return {name: {at: sizes[at].dim_value for at in dims} for name, dims in dynamic.items() if dims}


@wrong("the asked name instead of the size", "the size is what the graph says; the name is what was asked for.")
def _(model, dynamic):
    shapes = _shapes(model)
    found = {
        name: {at: asked for at, asked in dims.items() if shapes[name][at].HasField("dim_value")}
        for name, dims in dynamic.items()
        if name in shapes
    }
    return {name: dims for name, dims in found.items() if dims}


@wrong("only the first dimension", "any dimension may have been asked for, not only the batch.")
def _(model, dynamic):
    return _frozen(model, {name: {0: dims[0]} for name, dims in dynamic.items() if 0 in dims})


@wrong("names only", "the sizes belong to the report: a frozen 1 and a frozen 64 are mended differently.")
def _(model, dynamic):
    return {name: list(dims) for name, dims in _frozen(model, dynamic).items()}


@right("a dict of shapes")
def _(model, dynamic):
    return _frozen(model, dynamic)


@right("loops, and WhichOneof")
def _(model, dynamic):
    found = {}
    for value in model.graph.input:
        for at, dim in enumerate(value.type.tensor_type.shape.dim):
            if at in dynamic.get(value.name, {}) and dim.WhichOneof("value") == "dim_value":
                found.setdefault(value.name, {})[at] = dim.dim_value
    return found


@right("through ONNX's own text form")
def _(model, dynamic):
    from google.protobuf.json_format import MessageToDict

    graph = MessageToDict(model.graph)
    found = {}
    for value in graph["input"]:
        dims = value["type"]["tensorType"]["shape"].get("dim", [])
        fixed = {at: int(dims[at]["dimValue"]) for at in dynamic.get(value["name"], ()) if "dimValue" in dims[at]}
        found |= {value["name"]: fixed} if fixed else {}
    return found

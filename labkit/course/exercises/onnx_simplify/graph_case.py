"""Cases that are models: bytes for the probe, a listing for the learner, and which nodes have to stay."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from labkit.course.exercise import Case
from labkit.onnx_simplify import graph_text, num_nodes

OPSET = 20
MAX_LINES = 24  # of a listing in a verdict
_MARGIN = " " * 12  # where a verdict's text begins


@dataclass(frozen=True)
class GraphCase(Case):
    """A model as its bytes.

    keeps: nodes by type that have to be left. may: as many more of a type that an answer may leave, not being asked
    for them. why: the reason, for the learner, where something has to stay that looks superfluous.
    """

    keeps: Mapping[str, int] = field(default_factory=dict)
    may: Mapping[str, int] = field(default_factory=dict)
    why: str = ""

    @property
    def model(self) -> onnx.ModelProto:
        return onnx.load_model_from_string(self.args[0])

    def given(self) -> str:
        return "a model" + listing(self.model)

    def for_learner(self) -> tuple[Any, ...]:
        return (self.model,)

    def weight(self) -> int:
        return num_nodes(self.model)


def parse(text: str, opset: int = OPSET) -> onnx.ModelProto:
    """A model from the textual form of ONNX: `(float[2] x) => (float[2] y) { y = Relu(x) }`."""
    return onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["": {opset}, "com.microsoft": 1]> g {text}')


def graph_case(
    name: str,
    model: onnx.ModelProto | str,
    keeps: Mapping[str, int],
    may: Mapping[str, int] | None = None,
    why: str = "",
) -> GraphCase:
    """A case from a model or its textual form."""
    model = parse(model) if isinstance(model, str) else model
    return GraphCase(name, (model.SerializeToString(deterministic=True),), (), keeps, may or {}, why)


def with_weights(model: onnx.ModelProto, **arrays: np.ndarray) -> onnx.ModelProto:
    """The model with these arrays as initializers of its main graph; the model itself changes."""
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    return model


def outside(model: onnx.ModelProto, *names: str) -> onnx.ModelProto:
    """The model with these initializers in another file, which is not there; the model itself changes."""
    for tensor in model.graph.initializer:
        if tensor.name in names:
            tensor.ClearField("raw_data")
            tensor.ClearField("float_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value="weights.bin")
    return model


def listing(model: onnx.ModelProto) -> str:
    """The model's lines, each at the margin of a verdict."""
    return "".join(f"\n{_MARGIN}{line}" for line in graph_text(model, MAX_LINES).splitlines())

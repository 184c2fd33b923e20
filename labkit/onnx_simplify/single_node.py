"""Running one node alone, by the reference implementation that comes with the ONNX standard."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from labkit.onnx_file import subgraphs
from labkit.onnx_simplify.counting import is_standard
from labkit.onnx_simplify.editing import Constants, array_of
from labkit.onnx_simplify.inference import SMALL_ELEMENTS, sizes_of

# Another value every time they run: what they give is never known beforehand.
RANDOM_OPS = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)


def run_node(
    node: onnx.NodeProto, values: Mapping[str, np.ndarray], model: onnx.ModelProto
) -> dict[str, np.ndarray] | None:
    """What one node gives for these inputs, as {output name: array}; None where that cannot be told here.

    values: arrays by name, of the node's inputs at least. model: whose operator versions count. It cannot be told
    for an operator outside the standard or without a reference implementation, for inputs that the operator does not
    take, for a node that holds graphs, and for outputs that are no tensors.

    >>> text = '<ir_version: 9, opset_import: ["": 20]> g () => (float[2] y) { y = Add(a, b) }'
    >>> model = onnx.parser.parse_model(text)
    >>> run_node(model.graph.node[0], {"a": np.array([1., 2.]), "b": np.array([3.])}, model)
    {'y': array([4., 5.])}
    """
    if not is_standard(node) or any(True for _ in subgraphs(node)):
        return None
    known = {name: numpy_helper.from_array(np.asarray(values[name]), name) for name in node.input if name}
    alone = model_of(node, known, list(model.opset_import))
    outputs = inferred_outputs(alone)
    results = None if outputs is None else evaluate(alone, known, outputs)
    return None if results is None else {name: array_of(tensor) for name, tensor in results.items()}


def model_of(node: onnx.NodeProto, known: Constants, opsets: list[onnx.OperatorSetIdProto]) -> onnx.ModelProto:
    """A model of this one node, its inputs declared with type and shape, the small ones with their values."""
    inputs = [
        onnx.helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims)) for name, tensor in known.items()
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    small = [tensor for tensor in known.values() if math.prod(tensor.dims) <= SMALL_ELEMENTS]
    graph = onnx.helper.make_graph([node], "one node", inputs, outputs, initializer=small)
    return onnx.helper.make_model(graph, opset_imports=opsets)


def inferred_outputs(alone: onnx.ModelProto) -> list[onnx.ValueInfoProto] | None:
    """Type and shape of the outputs, from the inputs' shapes and the small inputs' values; None if they do not fit."""
    try:
        return list(onnx.shape_inference.infer_shapes(alone).graph.output)
    except Exception:  # inputs that the operator cannot take: the runtime will say so better
        return None


def evaluate(alone: onnx.ModelProto, known: Constants, outputs: list[onnx.ValueInfoProto]) -> Constants | None:
    """The node's outputs by the standard's reference implementation; None where it cannot say.

    Type and shape must be what inference expects: an implementation that gets those wrong is not believed.
    """
    try:
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(alone).run(None, {name: array_of(tensor) for name, tensor in known.items()})
        tensors = [
            numpy_helper.from_array(np.asarray(result), value.name)
            for result, value in zip(results, outputs, strict=True)
            if isinstance(result, np.ndarray | np.generic)  # not a sequence: no initializer can hold that
        ]
    except Exception:  # an operator or a type without a reference implementation
        return None
    if len(tensors) < len(outputs) or not all(map(_fits, tensors, outputs)):
        return None
    return {tensor.name: tensor for tensor in tensors}


def _fits(tensor: onnx.TensorProto, value: onnx.ValueInfoProto) -> bool:
    sizes = sizes_of(value)
    same_rank = sizes is None or len(sizes) == len(tensor.dims)
    return (
        tensor.data_type == value.type.tensor_type.elem_type
        and same_rank
        and all(size in (None, dim) for size, dim in zip(sizes or (), tensor.dims, strict=False))
    )

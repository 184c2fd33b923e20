"""What can be known of a graph's values without running it: sizes and element types."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import onnx

from labkit.onnx_simplify.editing import Scope

SMALL_ELEMENTS = 1024  # a tensor with more is a weight, which decides no shape: inference need not see its values

# ONNX follows the values of every vector, in case it is a shape: one of 30 million elements cost 18 GB and a minute.
_VECTOR = 65_536


@dataclass
class Inferred:
    """What inference knows about the main graph's values: sizes (None is one that may change) and element types."""

    sizes: dict[str, tuple[int | None, ...]] = field(default_factory=dict)
    types: dict[str, int] = field(default_factory=dict)


def infer(model: onnx.ModelProto) -> Inferred:
    """Sizes and types of the values in the main graph, as far as inference finds them.

    What the file itself notes about inner values is not believed: exporters have left wrong sizes there.
    """
    skeleton = _without_weights(model)
    del skeleton.graph.value_info[:]
    known = Inferred()
    try:
        graph = onnx.shape_inference.infer_shapes(skeleton, data_prop=_longest_vector(skeleton) <= _VECTOR).graph
    except Exception:  # a graph that inference cannot follow: nothing is known
        return known
    for value in [*graph.value_info, *graph.input]:
        sizes = sizes_of(value)
        if sizes is not None:
            known.sizes[value.name] = sizes
        if value.type.tensor_type.elem_type:
            known.types[value.name] = value.type.tensor_type.elem_type
    return known


def _longest_vector(skeleton: onnx.ModelProto) -> int:
    """The largest size of a one-dimensional input."""
    shapes = (sizes_of(value) or () for value in skeleton.graph.input)
    return max((sizes[0] or 0 for sizes in shapes if len(sizes) == 1), default=0)


def sizes_of(value: onnx.ValueInfoProto) -> tuple[int | None, ...] | None:
    """A value's sizes, None for each that may change; None for a value without a shape."""
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
        return None
    return tuple(int(dim.dim_value) if dim.HasField("dim_value") else None for dim in tensor.shape.dim)


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which large and overridable initializers are plain inputs: shape inference works beyond 2 GB then."""
    skeleton = onnx.ModelProto()
    skeleton.ir_version = model.ir_version
    skeleton.opset_import.extend(model.opset_import)
    skeleton.functions.extend(model.functions)
    graph = skeleton.graph
    graph.name = model.graph.name
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    for dim in (dim for value in graph.input for dim in value.type.tensor_type.shape.dim):
        if dim.dim_value <= 0:  # old converters wrote 0 or -1 for a size that may change
            dim.ClearField("value")
    graph.output.extend(model.graph.output)
    listed = {value.name for value in graph.input}
    fixed = Scope.of(model).constants
    for tensor in model.graph.initializer:
        if tensor.name in fixed and math.prod(tensor.dims) <= SMALL_ELEMENTS:
            graph.initializer.add().CopyFrom(tensor)
        elif tensor.name not in listed:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    return skeleton

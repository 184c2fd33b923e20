"""Nodes that read less than they are given: of a value only its type, or only its sizes.

CastLike(constant, x) waits for x and looks at nothing but its type; Shape(x) looks at nothing but its sizes. Where
types and sizes are known before the model runs, so is what these nodes do, whatever the values are.
"""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import numpy_helper

from labkit.onnx_simplify.counting import is_standard
from labkit.onnx_simplify.editing import attribute, copy_of, tidy
from labkit.onnx_simplify.inference import Inferred, infer


def resolve_types_and_sizes(model: onnx.ModelProto) -> onnx.ModelProto:
    """A new model in which CastLike to a known type is a Cast, and Shape or Size of fixed sizes is a Constant.

    Only the main graph is looked at; names stay, so nothing else changes. fold_constants can then go on from there.
    """
    result = copy_of(model)
    inferred = infer(result)
    for node in result.graph.node:
        known = _resolved(node, inferred)
        if known is not None:
            node.CopyFrom(known)
    return tidy(result)


def cast_of(node: onnx.NodeProto, inferred: Inferred) -> onnx.NodeProto | None:
    """The Cast that a CastLike is, when the type of its second input is known; None for every other node."""
    if node.op_type != "CastLike" or not is_standard(node) or node.input[1] not in inferred.types:
        return None
    to = inferred.types[node.input[1]]
    return onnx.helper.make_node("Cast", [node.input[0]], list(node.output), name=node.name, to=to)


def sizes_given(node: onnx.NodeProto, inferred: Inferred) -> np.ndarray | None:
    """What a Shape or Size gives, when all the sizes that it asks for are fixed; None for every other node."""
    if node.op_type not in ("Shape", "Size") or not is_standard(node):
        return None
    sizes = inferred.sizes.get(node.input[0])
    if sizes is None:
        return None
    if node.op_type == "Shape":  # start and end, since opset 15
        sizes = sizes[attribute(node, "start", 0) : attribute(node, "end", len(sizes))]
    known = [size for size in sizes if size is not None]
    if len(known) < len(sizes):
        return None
    return np.array(known if node.op_type == "Shape" else math.prod(known), dtype=np.int64)


def _resolved(node: onnx.NodeProto, inferred: Inferred) -> onnx.NodeProto | None:
    sizes = sizes_given(node, inferred)
    if sizes is None:
        return cast_of(node, inferred)
    value = numpy_helper.from_array(sizes)
    return onnx.helper.make_node("Constant", [], list(node.output), name=node.name, value=value)

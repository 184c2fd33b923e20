"""Computing before the model runs whatever does not depend on its inputs."""

from __future__ import annotations

import math

import onnx
from onnx import numpy_helper

from labkit.onnx_file import subgraphs
from labkit.onnx_simplify.counting import is_standard
from labkit.onnx_simplify.editing import (
    Constants,
    Scope,
    constant_tensor,
    copy_of,
    count_reads,
    delete_nodes,
    tidy,
)
from labkit.onnx_simplify.inference import Inferred, infer, sizes_of
from labkit.onnx_simplify.resolving import cast_of, sizes_given
from labkit.onnx_simplify.single_node import RANDOM_OPS, evaluate, inferred_outputs, model_of

# Their sizes depend on values, which inference does not follow, but are bounded by those of their inputs.
_NEVER_LARGER = {"Compress", "NonMaxSuppression", "NonZero", "Unique"}

_GROWTH_BYTES = 1 << 20


def fold_constants(model: onnx.ModelProto, *, max_growth_bytes: int = _GROWTH_BYTES) -> onnx.ModelProto:
    """A new model in which every node whose inputs are known is replaced by its value, an initializer.

    Known are fixed initializers, Constant nodes, what was folded before, Shape and Size of a value whose sizes are
    fixed, and CastLike of a known value to a value whose type is known. Constant nodes become initializers too. A
    folded value that is an output of the model stays a node (a Constant), because an output must be some node's own.

    Left alone: Identity (see drop_identities), random operators, operators outside the ONNX standard, nodes with
    graphs inside (their insides are folded), and a value that is more than max_growth_bytes larger than what it is
    computed from (a file need not hold ten million zeros).
    """
    result = copy_of(model)
    _fold(Scope.of(result), infer(result), list(result.opset_import), max_growth_bytes)
    return tidy(result)


def _fold(scope: Scope, inferred: Inferred, opsets: list[onnx.OperatorSetIdProto], max_growth_bytes: int) -> None:
    outputs = scope.outputs
    reads = count_reads(scope.graph)
    replaced: list[int] = []
    kept_constants: list[onnx.NodeProto] = []
    for position, node in enumerate(scope.graph.node):
        if node.op_type == "Constant" and node.output[0] in outputs:
            continue
        if node.op_type == "Identity" and is_standard(node) and node.input[0] in scope.constants:
            # What reads it can be folded; a copy of its own would only repeat the weight. See drop_identities.
            scope.constants[node.output[0]] = _named(scope.constants[node.input[0]], node.output[0])
            continue
        values = _values(node, scope.constants, inferred, opsets, max_growth_bytes)
        if values is None:
            continue
        replaced.append(position)
        for name, tensor in values.items():
            if name in outputs:
                kept_constants.append(onnx.helper.make_node("Constant", [], [name], name=node.name, value=tensor))
                scope.constants[name] = tensor
            elif reads[name]:
                scope.add_constant(tensor)
    delete_nodes(scope.graph, replaced)
    for constant in kept_constants:  # first: a node stands before those that read it
        scope.graph.node.insert(0, constant)
    for inner in scope.inner():
        _fold(inner, inferred, opsets, max_growth_bytes)


def _named(tensor: onnx.TensorProto, name: str) -> onnx.TensorProto:
    same = onnx.TensorProto()
    same.CopyFrom(tensor)
    same.name = name
    return same


def _values(
    node: onnx.NodeProto,
    constants: Constants,
    inferred: Inferred,
    opsets: list[onnx.OperatorSetIdProto],
    max_growth_bytes: int,
) -> Constants | None:
    """What a node's outputs are, by name, when that is known before the model runs; else None."""
    if not is_standard(node) or node.op_type in RANDOM_OPS or any(True for _ in subgraphs(node)):
        return None
    if node.op_type == "Constant":
        tensor = constant_tensor(node)
        return None if tensor is None else {tensor.name: tensor}
    if node.op_type in ("Shape", "Size") and node.input[0] not in constants:
        sizes = sizes_given(node, inferred)
        return None if sizes is None else {node.output[0]: numpy_helper.from_array(sizes, node.output[0])}
    node = cast_of(node, inferred) or node
    names = [name for name in node.input if name]
    if not names or any(name not in constants for name in names):
        return None
    known = {name: constants[name] for name in names}
    alone = model_of(node, known, opsets)
    outputs = inferred_outputs(alone)
    if outputs is None or _growth_bytes(node, known, outputs) > max_growth_bytes:
        return None
    return evaluate(alone, known, outputs)


def _growth_bytes(node: onnx.NodeProto, known: Constants, outputs: list[onnx.ValueInfoProto]) -> float:
    """How many bytes more the outputs have than the inputs, before anything is computed; infinite if unknown.

    ConstantOfShape, Expand, Tile and Range can ask for more than the machine has.
    """
    sizes = [sizes_of(value) for value in outputs]
    if node.op_type in _NEVER_LARGER and any(size is None or None in size for size in sizes):
        return 0
    before = sum(_num_bytes(tensor.data_type, tuple(tensor.dims)) for tensor in known.values())
    after = sum(_num_bytes(value.type.tensor_type.elem_type, size) for value, size in zip(outputs, sizes, strict=True))
    return after - before


def _num_bytes(data_type: int, sizes: tuple[int | None, ...] | None) -> float:
    if sizes is None or None in sizes:
        return math.inf
    itemsize = onnx.helper.tensor_dtype_to_np_dtype(data_type).itemsize if data_type else 8
    return math.prod(size for size in sizes if size is not None) * itemsize

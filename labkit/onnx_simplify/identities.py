"""Nodes that hand their input on unchanged: take them out, and join what they held apart."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from labkit.onnx_simplify.counting import is_standard
from labkit.onnx_simplify.editing import (
    Scope,
    array_of,
    attribute,
    copy_of,
    count_reads,
    delete_nodes,
    rename,
    tidy,
)
from labkit.onnx_simplify.inference import Inferred, infer


def drop_identities(model: onnx.ModelProto) -> onnx.ModelProto:
    """A new model without the nodes that change nothing: whoever read their output reads their input.

    Such are Identity, Dropout outside training, Cast to the type that is there, Transpose into the order that is
    there, and Concat, Sum, Max, Min and Mean of a single input.

    The names of the model's inputs and outputs stay. An output that is the identity of a node's value takes that
    node over; the identity of an input, of a weight or of another output stays, because an output must be some
    node's own.
    """
    result = copy_of(model)
    _drop(Scope.of(result), infer(result))
    return tidy(result)


def _drop(scope: Scope, inferred: Inferred) -> None:
    graph, outputs = scope.graph, scope.outputs
    produced = {name for node in graph.node for name in node.output}
    reads = count_reads(graph)
    names: dict[str, str] = {}  # what a value is called from now on
    dropped = []
    for position, node in enumerate(graph.node):
        if not _changes_nothing(node, scope, inferred, reads):
            continue
        source, target = _resolve(node.input[0], names), node.output[0]
        if target not in outputs:
            names[target] = source
        elif source in produced and source not in outputs:
            names[source] = target  # the node that makes the value gives it the output's name
        else:
            continue
        dropped.append(position)
    delete_nodes(graph, dropped)
    rename(graph, {name: _resolve(name, names) for name in names})
    for inner in scope.inner():
        _drop(inner, inferred)


def _resolve(name: str, names: dict[str, str]) -> str:
    while name in names:
        name = names[name]
    return name


def _changes_nothing(node: onnx.NodeProto, scope: Scope, inferred: Inferred, reads: Mapping[str, int]) -> bool:
    if not is_standard(node):
        return False
    match node.op_type:
        case "Identity":
            return True
        case "Dropout":
            mask_is_read = any(reads.get(name) for name in node.output[1:] if name)
            return not mask_is_read and not _drops_something(node, scope)
        case "Cast":
            return attribute(node, "to") == inferred.types.get(node.input[0])
        case "CastLike":
            wanted = inferred.types.get(node.input[1])
            return wanted is not None and wanted == inferred.types.get(node.input[0])
        case "Transpose":
            order = attribute(node, "perm")
            return order is not None and list(order) == sorted(order)
        case "Concat" | "Sum" | "Max" | "Min" | "Mean":
            return len(node.input) == 1
    return False


def _drops_something(node: onnx.NodeProto, scope: Scope) -> bool:
    if scope.opset < 7:
        return not attribute(node, "is_test")
    if len(node.input) < 3 or not node.input[2]:  # training_mode, since opset 12, false by default
        return False
    mode = scope.constants.get(node.input[2])
    return mode is None or bool(array_of(mode))

"""How a model that came is read: its contract, whether it is a graph at all, its numbers, and what is left in it."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from labkit.course.compare import Difference
from labkit.course.exercises.onnx_simplify.graph_case import GraphCase, listing
from labkit.course.exercises.onnx_simplify.running import differ

MAX_BYTES = 2**20  # the largest model given has some kB


def judge_model(case: Any, value: Any) -> Difference | None:
    """Why the model that came is not what the case asks for; nothing when it is."""
    assert isinstance(case, GraphCase)
    model = model_in(value)
    if not isinstance(model, onnx.ModelProto):
        return Difference("a model (onnx.ModelProto)", model)
    if value.get("changed"):
        return Difference("the model given left as it was", "it was changed: work on copy_of(model)")
    if value.get("same"):
        return Difference("a new model", "the model given itself: whoever changes one changes both")
    if wrong := next(_broken(case.model, model), ""):
        return Difference("a whole graph with the same inputs and outputs", wrong + listing(model))
    if said := differ(case.args[0], value["model"]):
        return Difference("the same numbers as the model given", said + listing(model))
    return _structure(case, model)


def model_in(value: Any) -> onnx.ModelProto | str:
    """The model in what a probe handed back, or why there is none."""
    data = value.get("model") if isinstance(value, dict) else None
    if not isinstance(data, bytes):
        return f"a value of type {value.get('type')}" if isinstance(value, dict) else "something else"
    if len(data) > MAX_BYTES:
        return f"a model of {len(data):,} bytes; the one given has a few thousand"
    try:
        return onnx.load_model_from_string(data)
    except DecodeError:
        return "bytes that are no model"


def count_by_type(model: onnx.ModelProto) -> Counter[str]:
    """Nodes by type, written down from the standard: the nodes of a graph, and of every graph in their attributes."""
    counts: Counter[str] = Counter()
    pending = [model.graph]
    for graph in pending:  # grows while it is walked
        for node in graph.node:
            foreign = f"{node.domain}::" if node.domain not in ("", "ai.onnx") else ""
            counts[foreign + node.op_type] += 1
            pending.extend(inner for attribute in node.attribute for inner in (attribute.g, *attribute.graphs))
    return counts


def said_counts(counts: Any) -> str:
    """`Add 2, Exp 1`, or "none"."""
    return ", ".join(f"{op} {number}" for op, number in sorted(counts.items()) if number) or "none"


def _broken(given: onnx.ModelProto, came: onnx.ModelProto) -> Iterator[str]:
    """What is wrong with the model as a graph, whatever it computes."""
    for what in ("input", "output"):
        ours, theirs = ([each.name for each in getattr(model.graph, what)] for model in (given, came))
        if ours != theirs:
            yield f"the {what}s are {theirs}, and were {ours}"
        if list(getattr(given.graph, what)) != list(getattr(came.graph, what)):
            yield f"an {what} has another type or shape"
    if list(given.opset_import) != list(came.opset_import):
        yield "the operator versions (opset_import) are others"
    yield from _undefined(came.graph, set())
    try:
        onnx.checker.check_model(_without_outside(came))
    except Exception as error:  # of the checker's C++ code
        yield f"onnx.checker refuses it: {str(error).strip().splitlines()[0]}"


def _undefined(graph: onnx.GraphProto, around: set[str]) -> Iterator[str]:
    """Names that are read and that nothing makes before, names made twice, outputs that nothing makes."""
    made = [value.name for value in graph.input]
    made += [tensor.name for tensor in graph.initializer if tensor.name not in made]
    initializers = [tensor.name for tensor in graph.initializer]
    yield from _twice(initializers, "two weights are called")
    known = around | set(made)
    for node in graph.node:
        for name in node.input:
            if name and name not in known:
                yield f"{node.op_type} reads {name!r}, which nothing makes before it"
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _undefined(inner, known)
        made += [name for name in node.output if name]
        known.update(node.output)
    yield from _twice(made, "two values are called")
    for value in graph.output:
        if value.name not in made:
            yield f"the output {value.name!r} is made by no node"


def _twice(names: Iterable[str], said: str) -> Iterator[str]:
    for name, times in Counter(names).items():
        if times > 1:
            yield f"{said} {name!r}"


def _without_outside(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which weights in another file are inputs: the checker wants to see the file."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in [each for each in copy.graph.initializer if each.data_location == onnx.TensorProto.EXTERNAL]:
        copy.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
        copy.graph.initializer.remove(tensor)
    return copy


def _structure(case: GraphCase, model: onnx.ModelProto) -> Difference | None:
    counts, why = count_by_type(model), f": {case.why}" if case.why else ""
    expected = f"nodes left: {said_counts(case.keeps)}{why}"
    if case.may:
        expected += f" (and at most {said_counts(case.may)})"
    for op in sorted({*counts, *case.keeps}):
        least, most = case.keeps.get(op, 0), case.keeps.get(op, 0) + case.may.get(op, 0)
        if not least <= counts[op] <= most:
            return Difference(expected, f"nodes left: {said_counts(counts)}{listing(model)}")
    if unread := sorted(_unread_weights(model.graph)):
        return Difference(
            "no weight that nobody reads", f"{', '.join(unread)}: nobody reads that any more{listing(model)}"
        )
    return None


def _unread_weights(graph: onnx.GraphProto) -> set[str]:
    listed = {value.name for value in graph.input}
    own = {tensor.name for tensor in graph.initializer} - listed
    return own - _names_read(graph)


def _names_read(graph: onnx.GraphProto) -> set[str]:
    names = {value.name for value in graph.output}
    for node in graph.node:
        names.update(node.input)
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                names |= _names_read(inner)
    return names

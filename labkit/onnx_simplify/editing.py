"""What every pass needs to know about names in a graph: who reads a value, what is constant, what may go.

A graph inside a node (If, Loop, Scan) reads the values of the graphs around it by name. The standard forbids it to
give one of those names a second meaning, so a name means one thing in a graph and everything inside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from labkit.onnx_file import graphs, is_external, subgraphs
from labkit.onnx_simplify.counting import STANDARD, is_standard

Constants = dict[str, onnx.TensorProto]

_FIRST_IR_WITH_FIXED_INITIALIZERS = 4  # before, every initializer had to be listed as a graph input too


def copy_of(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the model that shares nothing with it."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    return result


def defined_names(graph: onnx.GraphProto) -> set[str]:
    """The names that a graph itself gives a value: inputs, initializers, outputs of its nodes."""
    names = {value.name for value in graph.input}
    names |= {tensor.name for tensor in graph.initializer}
    names |= {sparse.values.name for sparse in graph.sparse_initializer}
    names |= {name for node in graph.node for name in node.output if name}
    return names


def count_reads(graph: onnx.GraphProto) -> Counter[str]:
    """How often each value is read in a graph and inside it; being an output of the graph counts as a read."""
    reads = Counter(value.name for value in graph.output)
    for node in graph.node:
        reads.update(name for name in node.input if name)
        for inner in subgraphs(node):
            captured = count_reads(inner)
            for name in defined_names(inner):
                captured.pop(name, None)
            reads.update(captured)
    return reads


def rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Gives values another name wherever they are written or read, in a graph and inside it.

    The graph's own inputs and outputs keep their names: those are its contract with whoever runs it.
    """
    if not names:
        return
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for inner in subgraphs(node):
            local = defined_names(inner)
            outside = {old: new for old, new in names.items() if old not in local}
            rename(inner, outside)
            for value in inner.output:
                value.name = outside.get(value.name, value.name)


@dataclass
class Scope:
    """A graph as a pass meets it: itself, the model's versions, and the constants that its nodes can read.

    constants: every value known before the model runs, by name: fixed initializers, Constant nodes, and those of the
    graphs around this one.
    """

    graph: onnx.GraphProto
    ir_version: int
    opset: int
    constants: Constants

    @classmethod
    def of(cls, model: onnx.ModelProto) -> Scope:
        """The scope of the main graph."""
        opset = max((known.version for known in model.opset_import if known.domain in STANDARD), default=1)
        return cls(model.graph, model.ir_version, opset, _constants(model.graph, model.ir_version))

    def inner(self) -> Iterator[Scope]:
        """The scopes of the graphs inside this graph's nodes."""
        for node in self.graph.node:
            for graph in subgraphs(node):
                local = defined_names(graph)
                known = {name: tensor for name, tensor in self.constants.items() if name not in local}
                known |= _constants(graph, self.ir_version)
                yield Scope(graph, self.ir_version, self.opset, known)

    @property
    def outputs(self) -> set[str]:
        return {value.name for value in self.graph.output}

    def add_constant(self, tensor: onnx.TensorProto) -> None:
        """Adds an initializer to the graph; before IR version 4 it has to be listed as an input too."""
        self.graph.initializer.add().CopyFrom(tensor)
        self.constants[tensor.name] = tensor
        if self.ir_version < _FIRST_IR_WITH_FIXED_INITIALIZERS:
            listed = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            self.graph.input.append(listed)


def overridable(graph: onnx.GraphProto, ir_version: int) -> set[str]:
    """Names that a caller may give another value: inputs, and so also initializers listed as inputs (defaults).

    Before IR version 4 every initializer is listed as an input, and none of them can be overridden.
    """
    inputs = {value.name for value in graph.input}
    if ir_version < _FIRST_IR_WITH_FIXED_INITIALIZERS:
        inputs -= {tensor.name for tensor in graph.initializer}
    return inputs


def _constants(graph: onnx.GraphProto, ir_version: int) -> Constants:
    open_names = overridable(graph, ir_version)
    known = {
        tensor.name: tensor for tensor in graph.initializer if tensor.name not in open_names and not is_external(tensor)
    }
    for node in graph.node:
        tensor = constant_tensor(node)
        if tensor is not None:
            known[tensor.name] = tensor
    return known


def constant_tensor(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """The tensor of a Constant node; None for any other node, a sparse constant, or one in an external file."""
    if node.op_type != "Constant" or not is_standard(node) or len(node.attribute) != 1:
        return None
    attribute = node.attribute[0]
    name = node.output[0]
    if attribute.name == "value":
        if is_external(attribute.t):
            return None
        tensor = onnx.TensorProto()
        tensor.CopyFrom(attribute.t)
        tensor.name = name
        return tensor
    dtypes = {"value_int": np.int64, "value_ints": np.int64, "value_float": np.float32, "value_floats": np.float32}
    if attribute.name in dtypes:
        value = onnx.helper.get_attribute_value(attribute)
        return numpy_helper.from_array(np.array(value, dtype=dtypes[attribute.name]), name)
    return None


def add_weight(graph: onnx.GraphProto, name: str, array: np.ndarray) -> None:
    """Adds an array to a graph as an initializer, which nodes then read by this name."""
    graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))


def graphs_with_weights(model: onnx.ModelProto) -> Iterator[tuple[onnx.GraphProto, dict[str, np.ndarray]]]:
    """The main graph and every graph inside a node, each with the weights that its nodes can read, by name.

    Weights are fixed before the model runs: initializers and Constant nodes, also those of the graphs around. Not
    among them: what a caller may override, and what lies in another file and was not read in.
    """
    pending = [Scope.of(model)]
    while pending:
        scope = pending.pop()
        yield scope.graph, {name: array_of(tensor) for name, tensor in scope.constants.items()}
        pending.extend(scope.inner())


def array_of(tensor: onnx.TensorProto) -> np.ndarray:
    """A tensor's values. Shape: its dims."""
    return np.asarray(numpy_helper.to_array(tensor))


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """The value of a node's attribute, or the default where it has none of that name."""
    for candidate in node.attribute:
        if candidate.name == name:
            return onnx.helper.get_attribute_value(candidate)
    return default


def fresh_name(wanted: str, taken: set[str]) -> str:
    """`wanted`, with a number behind it when it is taken; the answer is then taken too."""
    name, number = wanted, 1
    while name in taken:
        name, number = f"{wanted}_{number}", number + 1
    taken.add(name)
    return name


def all_names(model: onnx.ModelProto) -> set[str]:
    """Every name of a value in a model."""
    names: set[str] = set()
    for graph in graphs(model):
        names |= defined_names(graph) | {value.name for value in graph.output}
    return names


def delete_nodes(graph: onnx.GraphProto, positions: Iterable[int]) -> None:
    """Removes the nodes at these positions."""
    for position in sorted(set(positions), reverse=True):
        del graph.node[position]


def tidy(model: onnx.ModelProto) -> onnx.ModelProto:
    """Removes initializers that nobody reads, and notes about values that are gone. Changes the model given."""
    for graph in graphs(model):
        _drop_unread_initializers(graph, model.ir_version)
        defined = defined_names(graph)
        for notes, name_of in (
            (graph.value_info, lambda note: note.name),
            (graph.quantization_annotation, lambda note: note.tensor_name),
        ):
            for position in range(len(notes) - 1, -1, -1):
                if name_of(notes[position]) not in defined:
                    del notes[position]
    return model


def _drop_unread_initializers(graph: onnx.GraphProto, ir_version: int) -> None:
    reads = count_reads(graph)
    unread = {tensor.name for tensor in graph.initializer if not reads[tensor.name]} - overridable(graph, ir_version)
    for position in range(len(graph.initializer) - 1, -1, -1):
        if graph.initializer[position].name in unread:
            del graph.initializer[position]
    for position in range(len(graph.input) - 1, -1, -1):  # before IR version 4 they stand here as well
        if graph.input[position].name in unread:
            del graph.input[position]

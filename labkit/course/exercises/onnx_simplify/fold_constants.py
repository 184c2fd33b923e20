"""`fold_constants(model)`: what does not depend on the inputs is computed once, before the model runs."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from labkit import onnx_simplify
from labkit.course.exercise import Case
from labkit.course.exercises.onnx_simplify.graph_case import graph_case, outside, parse, with_weights
from labkit.course.exercises.onnx_simplify.graph_exercise import (
    GraphExercise,
    GraphPass,
    add_mistakes_of_any_pass,
    nodes_saved,
)
from labkit.course.exercises.onnx_simplify.probe import probe_pass
from labkit.course.exercises.onnx_simplify.random_models import random_sums
from labkit.course.exercises.onnx_simplify.reading import judge_model
from labkit.onnx_simplify import (
    RANDOM_OPS,
    add_weight,
    array_of,
    copy_of,
    count_reads,
    delete_nodes,
    is_external,
    run_node,
    subgraphs,
    tidy,
)

W = "float[2] w = {1.0, 2.0}"


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)
    x, y = "(float[n, 2] x)", "(float[n, 2] y)"
    return [
        graph_case("nothing to do", f"{x} => {y} {{ a = Relu(x) y = Exp(a) }}", {"Relu": 1, "Exp": 1}),
        graph_case("a Constant node", f"{x} => {y} {{ k = Constant<value_float = 2.0>() y = Mul(x, k) }}", {"Mul": 1}),
        graph_case("the sum of two weights", f"{x} => {y} <{W}, float v = {{0.5}}> {{ s = Add(w, v) y = Mul(x, s) }}",
                   {"Mul": 1}),
        graph_case("one input known, one not", f"{x} => {y} <{W}> {{ s = Add(x, w) y = Exp(s) }}",
                   {"Add": 1, "Exp": 1}),
        graph_case("a chain", f"{x} => {y} <{W}> {{ k = Constant<value_float = 2.0>() s = Add(w, k) t = Exp(s)"
                   " u = Neg(t) y = Mul(x, u) }", {"Mul": 1}),
        graph_case("three in a row among others", f"{x} => {y} <{W}> {{ a = Exp(w) b = Neg(w) c = Sub(a, b)"
                   " d = Relu(x) y = Mul(d, c) }", {"Relu": 1, "Mul": 1}),
        graph_case("a weight that others read too", f"{x} => {y} <{W}> {{ s = Exp(w) a = Mul(x, s) y = Add(a, w) }}",
                   {"Mul": 1, "Add": 1}),
        graph_case("an optional input left out", f"{x} => {y} <{W}, float hi = {{1.5}}> {{ s = Clip(w, , hi)"
                   " a = Mul(x, s) y = Clip(a, , hi) }", {"Mul": 1, "Clip": 1}),
        graph_case("several outputs", f"{x} => {y} <float[4] v = {{1.0, 2.0, 3.0, 4.0}}> {{"
                   " a, b = Split<axis = 0, num_outputs = 2>(v) c = Mul(x, b) y = Add(c, a) }", {"Mul": 1, "Add": 1}),
        graph_case("several outputs, one unread", f"{x} => {y} <float[4] v = {{1.0, 2.0, 3.0, 4.0}}> {{"
                   " a, b = Split<axis = 0, num_outputs = 2>(v) y = Mul(x, b) }", {"Mul": 1}),
        graph_case("whole numbers, for a shape", f"{x} => (float[n, 1, 2] y) <int64[1] a = {{-1}}, int64[2] b ="
                   " {1, 2}> { s = Concat<axis = 0>(a, b) y = Reshape(x, s) }", {"Reshape": 1}),
        graph_case("the shape of a weight", f"{x} => {y} <{W}> {{ s = Shape(w) k = Constant<value_float = 2.0>()"
                   " z = Expand(k, s) y = Mul(x, z) }", {"Mul": 1}),
        graph_case("a scalar that stays one", f"{x} => (float[n] y) {{ i = Constant<value_int = 2>()"
                   " j = Constant<value_int = 1>() k = Sub(i, j) y = Gather<axis = 1>(x, k) }", {"Gather": 1}),
        graph_case("double precision", _doubles(), {"Mul": 1}),
        graph_case("operators of an older version", _older(), {"Mul": 1}),
        graph_case("an identity of a weight", f"{x} => {y} <{W}> {{ i = Identity(w) e = Exp(i) y = Mul(x, e) }}",
                   {"Mul": 1}, {"Identity": 1}),
        graph_case("an output that is known", f"{x} => (float[2] y, float[n, 2] z) <{W}> {{ y = Exp(w)"
                   " z = Add(x, y) }", {"Add": 1}, {"Exp": 1, "Constant": 1}),
        graph_case("an output that is known and read on", f"{x} => (float[2] y, float[n, 2] z) <{W}> {{ y = Exp(w)"
                   " t = Neg(y) z = Add(x, t) }", {"Add": 1}, {"Exp": 1, "Constant": 1}),
        graph_case("a weight that a caller may override", f"(float[n, 2] x, {W}) => {y} <float[2] v = {{3.0, 4.0}}>"
                   " { s = Exp(w) t = Exp(v) a = Mul(x, s) y = Add(a, t) }", {"Exp": 1, "Mul": 1, "Add": 1},
                   why="w is an input with a default, so Exp(w) is not known"),
        graph_case("a weight in another file", outside(parse(f"{x} => {y} <{W}, float[2] v = {{3.0, 4.0}}> {{"
                   " s = Exp(w) t = Exp(v) a = Mul(x, s) y = Add(a, t) }"), "w"), {"Exp": 1, "Mul": 1, "Add": 1},
                   why="the values of w were not read in, so Exp(w) is not known"),
        graph_case("a random draw", f"{x} => {y} <{W}> {{ r = RandomUniformLike(w) c = Ceil(r) y = Mul(x, c) }}",
                   {"RandomUniformLike": 1, "Ceil": 1, "Mul": 1}, why="it is drawn anew at each run"),
        graph_case("an operator from outside the standard",
                   f"{x} => {y} <{W}> {{ s = com.microsoft.Gelu(w) t = Exp(w) a = Mul(x, s) y = Mul(a, t) }}",
                   {"com.microsoft::Gelu": 1, "Mul": 2}),
        graph_case("inside the branches", f"""(bool c, float[n, 2] x) => {y} <{W}> {{
            y = If(c) <then_branch = t () => (float[n, 2] p) {{ q = Exp(w) p = Add(x, q) }},
                       else_branch = e () => (float[n, 2] r) {{ k = Constant<value_float = 3.0>() r = Mul(x, k) }}>
        }}""", {"If": 1, "Add": 1, "Mul": 1}),
        graph_case("folded around, read inside", f"""(bool c, float[n, 2] x) => {y} <{W}> {{
            s = Exp(w)
            y = If(c) <then_branch = t () => (float[n, 2] p) {{ q = Neg(s) p = Add(x, q) }},
                       else_branch = e () => (float[n, 2] r) {{ r = Mul(x, s) }}>
        }}""", {"If": 1, "Add": 1, "Mul": 1}),
        *(graph_case(f"random, number {at}", *random_sums(rng)) for at in (1, 2, 3)),
    ]  # fmt: skip


def _doubles() -> onnx.ModelProto:
    model = parse("(double[n, 2] x) => (double[n, 2] y) { s = Exp(w) y = Mul(x, s) }")
    return with_weights(model, w=np.array([0.1, 0.2]))


def _older() -> onnx.ModelProto:
    """Up to opset 12 the axes of ReduceSum are an attribute, and from 13 on an input: without one, all axes."""
    sums = "ReduceSum<axes = [0], keepdims = 0>(w)"
    model = parse(f"(float[n, 2] x) => (float[n, 2] y) {{ s = {sums} y = Mul(x, s) }}", opset=11)
    return with_weights(model, w=np.array([[3.0, 4.0], [0.5, 1.0]], np.float32))


fold_constants = GraphExercise(
    name="fold_constants",
    signature="fold_constants(model)",
    goal="Return a new model in which every node whose inputs are all known before the model runs has become a weight.",
    cases=_cases,
    judge_case=judge_model,
    probe=probe_pass,
    hints=(
        "Which values are known before anybody runs the model? Which initializer is not among them? And once a node is"
        " computed, what is known then?",
        "Walk over the nodes in their order, with a dict of what is known. A node all of whose inputs stand in it can"
        " be computed, and its outputs are known then too. A graph inside a node knows what the graph around it knows.",
        "`fold(graph, known): known |= initializers that are neither inputs nor external`; `for each node: fold each of"
        " its subgraphs; skip it if it has some, is random, or reads something unknown; values = run_node(node, known,"
        " model); skip it if None; known |= values; if no value is an output of the graph: add each as a weight and"
        " note the node's position`; delete those positions. At the end: tidy.",
    ),
    points=5,
    minutes=30,
    difficulty=3,
    num_lines=20,
    names_in_part=True,
    note=nodes_saved,
)


wrong, right = fold_constants.wrong, fold_constants.right


class Fold(GraphPass):
    """A right answer, step by step."""

    def change(self, model: onnx.ModelProto) -> None:
        self.graph(model.graph, {}, model)

    def graph(self, graph: onnx.GraphProto, known: Mapping[str, Any], model: onnx.ModelProto) -> None:
        known = {**known, **self.weights(graph)}
        outputs = {value.name for value in graph.output}
        gone = []
        for position, node in enumerate(graph.node):
            self.inside(node, known, model)
            values = self.values(node, known, model) if self.is_known(node, known) else None
            if values is None:
                continue
            self.learn(known, values)
            if outputs.isdisjoint(values):
                gone.append(position)
                for name, array in self.written(values).items():
                    add_weight(graph, name, array)
        self.delete(graph, gone)

    def weights(self, graph: onnx.GraphProto) -> dict[str, Any]:
        inputs = {value.name for value in graph.input}
        fixed = (each for each in graph.initializer if each.name not in inputs and not is_external(each))
        return {tensor.name: array_of(tensor) for tensor in fixed}

    def inside(self, node: onnx.NodeProto, known: Mapping[str, Any], model: onnx.ModelProto) -> None:
        for inner in subgraphs(node):
            self.graph(inner, known, model)

    def is_known(self, node: onnx.NodeProto, known: Mapping[str, Any]) -> bool:
        return node.op_type not in RANDOM_OPS and all(name in known for name in node.input if name)

    def values(self, node: onnx.NodeProto, known: Mapping[str, Any], model: onnx.ModelProto) -> dict[str, Any] | None:
        return run_node(node, known, model)

    def learn(self, known: dict[str, Any], values: dict[str, Any]) -> None:
        known.update(values)

    def written(self, values: dict[str, Any]) -> dict[str, Any]:
        return values


@wrong("graphs inside left alone", "branches and loop bodies have nodes to fold too.")
class GraphsInsideLeftAlone(Fold):
    def inside(self, node, known, model):
        pass


@wrong("nothing known from around", "a branch reads weights of the graph around it: what is known there is known here.")
class NothingKnownFromAround(Fold):
    def inside(self, node, known, model):
        super().inside(node, {}, model)


@wrong(
    "a default taken for a weight",
    "an initializer that is an input too is a default: a caller may give another value, and what was folded is wrong.",
)
class ADefaultTakenForAWeight(Fold):
    def weights(self, graph):
        return {tensor.name: array_of(tensor) for tensor in graph.initializer if not is_external(tensor)}


@wrong("external weights read", "a weight in another file has no values here: `is_external(tensor)` says so.")
class ExternalWeightsRead(Fold):
    def weights(self, graph):
        inputs = {value.name for value in graph.input}
        return {tensor.name: array_of(tensor) for tensor in graph.initializer if tensor.name not in inputs}


@wrong("random draws folded", "a random operator gives another value at each run; folded, it gives the same for ever.")
class RandomDrawsFolded(Fold):
    def is_known(self, node, known):
        return all(name in known for name in node.input if name)


@wrong("only the first of a chain", "what was computed is known from then on, to the nodes behind it.")
class OnlyTheFirstOfAChain(Fold):
    def learn(self, known, values):
        pass


@wrong("Constant nodes left", "a Constant has no inputs, so all of them are known: its value becomes a weight too.")
class ConstantNodesLeft(Fold):
    def is_known(self, node, known):
        return node.op_type != "Constant" and super().is_known(node, known)


@wrong("Constant nodes only", "a node that reads only weights is as constant as a Constant.")
class ConstantNodesOnly(Fold):
    def is_known(self, node, known):
        return node.op_type == "Constant"


@wrong("a left-out input taken for an unknown one", "an optional input that is not given has the name '': skip it.")
class ALeftOutInputTakenForAnUnknownOne(Fold):
    def is_known(self, node, known):
        return node.op_type not in RANDOM_OPS and all(name in known for name in node.input)


@wrong("first output only", "a node may make several values, and each may be read.")
class FirstOutputOnly(Fold):
    def written(self, values):
        return dict(list(values.items())[:1])


@wrong("everything float32", "a weight keeps the type of the value: a shape is int64, a double stays a double.")
class EverythingFloat(Fold):
    def written(self, values):
        return {name: array.astype(np.float32) for name, array in values.items()}


@wrong("scalars made vectors", "a scalar has shape (), not (1,): Gather with a scalar takes an axis away.")
class ScalarsMadeVectors(Fold):
    def written(self, values):
        return {name: np.atleast_1d(array) for name, array in values.items()}


@wrong("every second one skipped", "positions move when a node is deleted: delete from the end, or all at once.")
class EverySecondOneSkipped(Fold):
    def delete(self, graph, gone):
        delete_nodes(graph, gone[::2])
        left = {name for node in graph.node for name in node.output}
        for tensor in [each for each in graph.initializer if each.name in left]:
            graph.initializer.remove(tensor)


@wrong("the nodes stay", "the value stands in the graph twice now, as a weight and as the output of its node.")
class TheNodesStay(Fold):
    def delete(self, graph, gone):
        pass


@wrong("weights that others read taken out", "a weight goes when nobody reads it any more, not when one reader went.")
class WeightsThatOthersReadTakenOut(Fold):
    def delete(self, graph, gone):
        read = {name for position in gone for name in graph.node[position].input}
        delete_nodes(graph, gone)
        for tensor in [each for each in graph.initializer if each.name in read]:
            graph.initializer.remove(tensor)


@wrong("known outputs lost", "an output has to be there after its node went: leave that node, or write its value down.")
class KnownOutputsLost(Fold):
    def finish(self, model):
        outputs = {value.name for value in model.graph.output}
        known = self.weights(model.graph)
        gone = [
            at for at, node in enumerate(model.graph.node) if outputs & set(node.output) and self.is_known(node, known)
        ]
        delete_nodes(model.graph, gone)
        return tidy(model)


add_mistakes_of_any_pass(fold_constants, Fold)


@right("node by node, in their order")
class NodeByNodeInTheirOrder(Fold):
    pass


@right("again and again, from the end, until nothing more is known")
def _(model):
    result = copy_of(model)
    known_outputs: dict[str, np.ndarray] = {}
    before = None
    while before != (before := (result.SerializeToString(), len(known_outputs))):
        for graph, weights in onnx_simplify.graphs_with_weights(result):
            _fold_backwards(graph, {**weights, **known_outputs}, known_outputs, result)
    return tidy(result)


def _fold_backwards(graph, weights, known_outputs, model):
    reads, outputs = count_reads(graph), {value.name for value in graph.output}
    for position in range(len(graph.node) - 1, -1, -1):
        node = graph.node[position]
        if node.op_type in RANDOM_OPS or not weights.keys() >= {name for name in node.input if name}:
            continue
        values = run_node(node, weights, model) or {}
        if outputs & values.keys():
            known_outputs |= values
        elif values:
            del graph.node[position]
            for name in values.keys() & +reads:
                add_weight(graph, name, values[name])


@right("all that is known in one evaluation of a graph")
def _(model):
    result = copy_of(model)
    for number in range(len(list(onnx_simplify.graphs_with_weights(result)))):
        graph, weights = list(onnx_simplify.graphs_with_weights(result))[number]
        known, todo = set(weights), []
        for node in graph.node:
            plain = node.domain == "" and node.op_type not in RANDOM_OPS and not list(subgraphs(node))
            if plain and known.issuperset(name for name in node.input if name):
                todo.append(node)
                known.update(node.output)
        _fold_together(graph, todo, weights, result)
    return tidy(result)


def _fold_together(graph, todo, weights, model):
    computed = [node for node in todo if node.output[0] not in weights]
    wanted = [name for node in computed for name in node.output]
    part = onnx.helper.make_graph(computed, "known", _untyped(weights), _untyped(wanted))
    whole = onnx.helper.make_model(part, opset_imports=list(model.opset_import))
    arrays = weights | dict(zip(wanted, ReferenceEvaluator(whole).run(None, weights), strict=True))
    for node in todo:
        if not {value.name for value in graph.output} & set(node.output):
            graph.node.remove(node)
            for name in node.output:
                add_weight(graph, name, np.asarray(arrays[name]))


def _untyped(names):
    return [onnx.ValueInfoProto(name=name) for name in names]


@right("labkit's own")
def _(model):
    return onnx_simplify.fold_constants(model)

"""`count_ops(model)`: nodes by operator type, those inside If, Loop and Scan included."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

from labkit import onnx_simplify
from labkit.course.compare import Difference
from labkit.course.exercise import Case
from labkit.course.exercises.onnx_simplify.graph_case import graph_case
from labkit.course.exercises.onnx_simplify.graph_exercise import GraphExercise
from labkit.course.exercises.onnx_simplify.probe import probe_count
from labkit.course.exercises.onnx_simplify.random_models import random_nest
from labkit.course.exercises.onnx_simplify.reading import count_by_type, said_counts

BRANCHES = """(bool c, float[2] x) => (float[2] y) {
    a = Relu(x)
    y = If(c) <then_branch = t () => (float[2] p) { q = Relu(a) r = Exp(q) p = Relu(r) },
               else_branch = e () => (float[2] s) { u = Exp(a) s = Neg(u) }>
}"""
NESTED = """(bool c, float[2] x) => (float[2] y) {
    y = If(c) <then_branch = t () => (float[2] p) {
                   p = If(c) <then_branch = tt () => (float[2] q) { q = Exp(x) },
                              else_branch = te () => (float[2] r) { k = Constant<value_float = 2.0>() r = Mul(x, k) }>
               },
               else_branch = e () => (float[2] s) { s = Neg(x) }>
}"""
LOOP = """(int64 n, bool c, float[2] x) => (float[2] y) {
    y = Loop(n, c, x) <body = b (int64 i, bool ci, float[2] v) => (bool co, float[2] w)
        { co = Identity(ci) w = Add(v, v) }>
}"""


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)
    models = {
        "one node": "(float[2] x) => (float[2] y) { y = Relu(x) }",
        "one type twice": "(float[2] x) => (float[2] y) { a = Relu(x) b = Relu(a) y = Exp(b) }",
        "a weight and a Constant node": "(float[2] x) => (float[2] y) <float[2] w = {1.0, 2.0}>"
        " { k = Constant<value_float = 2.0>() a = Mul(x, k) y = Mul(a, w) }",
        "an operator from outside the standard": "(float[2] x) => (float[2] y)"
        " { a = com.microsoft.Gelu(x) b = com.microsoft.Gelu(a) y = Gelu(b) }",
        "the standard's domain written out": "(float[2] x) => (float[2] y) { a = ai.onnx.Relu(x) y = Relu(a) }",
        "two branches": BRANCHES,
        "a loop": LOOP,
        "a branch in a branch": NESTED,
    }
    cases: list[Case] = [graph_case(name, text, {}) for name, text in models.items()]
    return [*cases, *(graph_case(f"random, {at} deep", random_nest(rng, at), {}) for at in (1, 2, 3))]


def _judge(case: Any, value: Any) -> Difference | None:
    expected = count_by_type(case.model)
    if value["changed"]:
        return Difference("the model left as it was", "it was changed")
    came = value["value"]
    wanted = f"{{{', '.join(f'{op!r}: {number}' for op, number in sorted(expected.items()))}}}"
    if not isinstance(came, dict):
        return Difference(wanted, f"{came!r} ({type(came).__name__}): not a dict"[:300])
    if not all(isinstance(op, str) and _whole(number) for op, number in came.items()):
        return Difference(wanted, f"{came!r}: a dict from types, as strings, to whole numbers"[:300])
    if {op: int(number) for op, number in came.items() if number} != dict(expected):
        return Difference(wanted, f"{{{', '.join(f'{op!r}: {number}' for op, number in sorted(came.items()))}}}")
    return None


def _whole(number: Any) -> bool:
    return isinstance(number, int | np.integer) and not isinstance(number, bool)


def _note(cases: Sequence[Any], values: Sequence[Any]) -> str:
    return f"The largest: {said_counts(max((count_by_type(case.model) for case in cases), key=Counter.total))}."


count_ops = GraphExercise(
    name="count_ops",
    signature="count_ops(model)",
    goal="Return how many nodes of each operator type a model has, as a dict, those inside If, Loop and Scan included.",
    cases=_cases,
    judge_case=_judge,
    probe=probe_count,
    hints=(
        "A node that holds graphs keeps them in its attributes, as it keeps a stride. How deep can that go?",
        "Write a function that counts one graph and calls itself for every graph inside a node. `subgraphs(node)` gives"
        " these, none for most nodes; `op_name(node)` is the type, with its domain where that is not the standard's.",
        "`counts = Counter()`; `visit(graph): for each node: counts[op_name(node)] += 1; visit each of"
        " subgraphs(node)`; `visit(model.graph)`; return `dict(counts)`.",
    ),
    points=2,
    minutes=10,
    difficulty=1,
    num_lines=8,
    names_in_part=True,
)

wrong, right = count_ops.wrong, count_ops.right


def _graphs(graph: onnx.GraphProto, most: int = 99) -> list[onnx.GraphProto]:
    """The graph and those inside it, `most` levels down."""
    found = [graph]
    if most:
        for node in graph.node:
            for inner in onnx_simplify.subgraphs(node):
                found += _graphs(inner, most - 1)
    return found


def _count(graphs: list[onnx.GraphProto], name: Any = onnx_simplify.op_name) -> dict[str, int]:
    return dict(Counter(name(node) for graph in graphs for node in graph.node))


@wrong("main graph only", "a node may hold graphs of its own: If holds two, Loop and Scan one each.")
def _(model):
    return _count([model.graph])


@wrong("one level down", "a branch may hold an If again: the count has to call itself.")
def _(model):
    return _count(_graphs(model.graph, most=1))


@wrong("first branch only", "an If holds two graphs; this takes one graph of each node.")
def _(model):
    def visit(graph):
        counts = Counter(map(onnx_simplify.op_name, graph.node))
        for node in graph.node:
            for inner in list(onnx_simplify.subgraphs(node))[:1]:
                counts += visit(inner)
        return counts

    return dict(visit(model.graph))


@wrong("the larger of the branches", "only one branch runs, and both are in the model, which is counted.")
def _(model):
    def visit(graph):
        counts = Counter(map(onnx_simplify.op_name, graph.node))
        for node in graph.node:
            most = Counter()
            for inner in onnx_simplify.subgraphs(node):
                most |= visit(inner)
            counts += most
        return counts

    return dict(visit(model.graph))


@wrong("holders left out", "an If is a node too, beside those that it holds.")
def _(model):
    counts: Counter[str] = Counter()
    for graph in _graphs(model.graph):
        counts.update(onnx_simplify.op_name(node) for node in graph.node if not list(onnx_simplify.subgraphs(node)))
    return dict(counts)


@wrong("present or not", "it says which types there are, not how many nodes of each.")
def _(model):
    return dict.fromkeys(_count(_graphs(model.graph)), 1)


@wrong("weights counted as Constants", "an initializer is no node; a Constant is one, whatever it holds.")
def _(model):
    graphs = _graphs(model.graph)
    counts = Counter(_count(graphs))
    counts["Constant"] += sum(len(graph.initializer) for graph in graphs)
    return dict(counts)


@wrong("Constants left out", "a Constant node computes nothing, and is a node of the graph.")
def _(model):
    counts = _count(_graphs(model.graph))
    counts.pop("Constant", None)
    return counts


@wrong("domain left out", "an operator from outside may be called like one of the standard: op_name tells.")
def _(model):
    return _count(_graphs(model.graph), lambda node: node.op_type)


@wrong("domain always", "the standard's own domain has two spellings, '' and 'ai.onnx', and is not written.")
def _(model):
    return _count(_graphs(model.graph), lambda node: f"{node.domain}::{node.op_type}" if node.domain else node.op_type)


@wrong("all in one number", "the total hides what changed: count by type.")
def _(model):
    return sum(len(graph.node) for graph in _graphs(model.graph))


@wrong("outputs counted", "a node counts once, however many values it makes; its names are not its type.")
def _(model):
    return dict(Counter(name for graph in _graphs(model.graph) for node in graph.node for name in node.output))


@right("a counter that calls itself")
def _(model):
    counts: Counter[str] = Counter()

    def visit(graph):
        for node in graph.node:
            counts[onnx_simplify.op_name(node)] += 1
            for inner in onnx_simplify.subgraphs(node):
                visit(inner)

    visit(model.graph)
    return dict(counts)


@right("a list of graphs to do")
def _(model):
    counts: dict[str, int] = defaultdict(int)
    todo = [model.graph]
    while todo:
        for node in todo.pop().node:
            foreign = node.domain not in ("", "ai.onnx")
            counts[node.domain + "::" + node.op_type if foreign else node.op_type] += 1
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    todo.append(attribute.g)
                todo.extend(attribute.graphs)
    return dict(counts)


@right("numpy's unique")
def _(model):
    names = [onnx_simplify.op_name(node) for graph in onnx_simplify.graphs(model) for node in graph.node]
    return dict(zip(*(part.tolist() for part in np.unique(names, return_counts=True)), strict=True))


@right("labkit's own")
def _(model):
    return onnx_simplify.count_ops(model)

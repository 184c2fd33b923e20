"""`drop_identities(model)`: Identity nodes go, and every name that a caller knows stays."""

from typing import Any

import numpy as np
import onnx

from labkit import onnx_simplify
from labkit.course.exercise import Case
from labkit.course.exercises.onnx_simplify.graph_case import graph_case
from labkit.course.exercises.onnx_simplify.graph_exercise import GraphExercise, nodes_saved
from labkit.course.exercises.onnx_simplify.probe import probe_pass
from labkit.course.exercises.onnx_simplify.random_models import random_chain
from labkit.course.exercises.onnx_simplify.reading import judge_model
from labkit.onnx_simplify import copy_of, delete_nodes, rename, tidy

OWN = "an output is a value of its own"


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)
    out = "float[n, 2]"
    x = f"({out} x)"
    random = [random_chain(rng) for _ in range(3)]
    return [
        graph_case("nothing to do", f"{x} => ({out} y) {{ a = Relu(x) y = Exp(a) }}", {"Relu": 1, "Exp": 1}),
        graph_case("between two nodes", f"{x} => ({out} y) {{ a = Relu(x) b = Identity(a) y = Exp(b) }}",
                   {"Relu": 1, "Exp": 1}),
        graph_case("of the input", f"{x} => ({out} y) {{ a = Identity(x) y = Exp(a) }}", {"Exp": 1}),
        graph_case("read at two places of a node", f"{x} => ({out} y) {{ a = Exp(x) b = Identity(a) y = Sub(a, b) }}",
                   {"Exp": 1, "Sub": 1}),
        graph_case("read by two nodes", f"{x} => ({out} y, {out} z) {{ a = Exp(x) b = Identity(a) y = Neg(b)"
                   " z = Relu(b) }", {"Exp": 1, "Neg": 1, "Relu": 1}),
        graph_case("two in a row", f"{x} => ({out} y) {{ a = Exp(x) b = Identity(a) c = Identity(b) y = Neg(c) }}",
                   {"Exp": 1, "Neg": 1}),
        graph_case("four in a row", f"{x} => ({out} y) {{ a = Exp(x) b = Identity(a) c = Identity(b) d = Identity(c)"
                   " e = Identity(d) f = Neg(e) y = Sub(f, b) }", {"Exp": 1, "Neg": 1, "Sub": 1}),
        graph_case("of a weight", f"{x} => ({out} y) <float[2] w = {{1.0, 2.0}}> {{ a = Identity(w) y = Mul(x, a) }}",
                   {"Mul": 1}),
        graph_case("an output", f"{x} => ({out} y) {{ a = Exp(x) y = Identity(a) }}", {"Exp": 1},
                   why="the node that makes the value gives it the output's name"),
        graph_case("an output whose value is read too", f"{x} => ({out} y, {out} z) {{ a = Exp(x) b = Neg(a)"
                   " y = Identity(a) z = Relu(b) }", {"Exp": 1, "Neg": 1, "Relu": 1}),
        graph_case("an output at the end of two in a row", f"{x} => ({out} y, {out} z) {{ a = Exp(x) b = Identity(a)"
                   " z = Neg(b) y = Identity(b) }", {"Exp": 1, "Neg": 1}),
        graph_case("an output that is read on", f"{x} => ({out} y, {out} z) {{ a = Exp(x) y = Identity(a)"
                   " z = Neg(y) }", {"Exp": 1, "Neg": 1}),
        graph_case("two outputs of one value", f"{x} => ({out} y, {out} z) {{ a = Exp(x) y = Identity(a)"
                   " z = Identity(a) }", {"Exp": 1, "Identity": 1}, why=OWN),
        graph_case("an output of an output", f"{x} => ({out} a, {out} y) {{ a = Exp(x) y = Identity(a) }}",
                   {"Exp": 1, "Identity": 1}, why=OWN),
        graph_case("an output of the input", f"{x} => ({out} y, {out} z) {{ y = Identity(x) z = Exp(x) }}",
                   {"Identity": 1, "Exp": 1}, why="the names of inputs and outputs belong to the caller"),
        graph_case("an input that is an output too", f"{x} => ({out} x, {out} y) {{ a = Identity(x) y = Exp(a) }}",
                   {"Exp": 1}),
        graph_case("an output of a weight", f"{x} => (float[2] y, {out} z) <float[2] w = {{1.0, 2.0}}>"
                   " { y = Identity(w) z = Mul(x, w) }", {"Mul": 1}, {"Identity": 1}),
        graph_case("an output of several of one node", f"(float[n, 4] x) => ({out} y, {out} z) {{"
                   " a, b = Split<axis = 1, num_outputs = 2>(x) y = Identity(b) z = Exp(a) }", {"Split": 1, "Exp": 1}),
        graph_case("a weight in another file", _outside_case(), {"Mul": 1, "Exp": 1}),
        graph_case("inside the branches", f"""(bool c, {out} x) => ({out} y) {{
            y = If(c) <then_branch = t () => ({out} p) {{ q = Exp(x) r = Identity(q) p = Neg(r) }},
                       else_branch = e () => ({out} s) {{ u = Neg(x) s = Identity(u) }}>
        }}""", {"If": 1, "Exp": 1, "Neg": 2}),
        graph_case("a value from around, read inside", f"""(bool c, {out} x) => ({out} y) {{
            a = Exp(x) b = Identity(a)
            y = If(c) <then_branch = t () => ({out} p) {{ p = Neg(b) }},
                       else_branch = e () => ({out} s) {{ s = Add(b, x) }}>
        }}""", {"Exp": 1, "If": 1, "Neg": 1, "Add": 1}),
        graph_case("an output whose value is read inside", f"""(bool c, {out} x) => ({out} y, {out} z) {{
            a = Exp(x)
            z = If(c) <then_branch = t () => ({out} p) {{ p = Neg(a) }},
                       else_branch = e () => ({out} s) {{ s = Relu(a) }}>
            y = Identity(a)
        }}""", {"Exp": 1, "If": 1, "Neg": 1, "Relu": 1}),
        graph_case("a branch that hands on a value from around", f"""(bool c, {out} x) => ({out} y) {{
            a = Exp(x)
            y = If(c) <then_branch = t () => ({out} p) {{ p = Identity(a) }},
                       else_branch = e () => ({out} s) {{ s = Neg(a) }}>
        }}""", {"Exp": 1, "If": 1, "Identity": 1, "Neg": 1}, why="a branch's output is made in the branch"),
        *(graph_case(f"random, number {at}", *each) for at, each in enumerate(random, start=1)),
    ]  # fmt: skip


def _outside_case() -> onnx.ModelProto:
    from labkit.course.exercises.onnx_simplify.graph_case import outside, parse

    text = "(float[n, 2] x) => (float[n, 2] y) <float[2] w = {1.0, 2.0}> { a = Identity(w) b = Mul(x, a) y = Exp(b) }"
    return outside(parse(text), "w")


drop_identities = GraphExercise(
    name="drop_identities",
    signature="drop_identities(model)",
    goal="Return a new model without its Identity nodes: whoever read their output reads their input. The names of"
    " inputs and outputs stay.",
    cases=_cases,
    judge_case=judge_model,
    probe=probe_pass,
    hints=(
        "b = Identity(a) means that two names stand for one value. Which of the two may go? When may neither?",
        "If b is no output of its graph, every reader of b can read a. If b is an output, it must keep its name: then"
        " the node that makes a can make b instead. That needs such a node in the same graph, and an a that is not"
        " itself an output.",
        "`for each graph: outputs, made = the names of its outputs, of what its nodes make`;"
        " `for each Identity: if target not in outputs: rename {target: source}; elif source in made and source not in"
        " outputs: rename {source: target}, made.add(target); else: leave it`; delete those that are done; tidy.",
    ),
    points=4,
    minutes=25,
    difficulty=2,
    num_lines=16,
    names_in_part=True,
    note=nodes_saved,
)

wrong, right = drop_identities.wrong, drop_identities.right


def _names(values: Any) -> set[str]:
    return {value.name for value in values}


def _drop(
    model: Any,
    graphs: Any = onnx_simplify.graphs,
    may: Any = lambda source, target, outputs, made: True,
    takes_over: Any = lambda source, outputs, made: source in made and source not in outputs,
    renames: Any = rename,
    is_one: Any = lambda node: node.op_type == "Identity",
) -> onnx.ModelProto:
    """A right answer, each step of which can be made wrong."""
    result = copy_of(model)
    for graph in graphs(result):
        outputs, made = _names(graph.output), {name for node in graph.node for name in node.output}
        gone = []
        for position, node in enumerate(graph.node):
            if not is_one(node) or not may(node.input[0], node.output[0], outputs, made):
                continue
            source, target = node.input[0], node.output[0]
            if target not in outputs:
                renames(graph, {target: source})
            elif takes_over(source, outputs, made):
                renames(graph, {source: target})
                made.add(target)
            else:
                continue
            gone.append(position)
        delete_nodes(graph, gone)
    return tidy(result)


def _rename_here(graph: Any, names: Any, first_only: bool = False) -> None:
    """As rename, and not inside the nodes."""
    for node in graph.node:
        inputs = [names.get(name, name) for name in node.input]
        node.input[:] = [*inputs[:1], *node.input[1:]] if first_only else inputs
        node.output[:] = [names.get(name, name) for name in node.output]


@wrong("main graph only", "branches and loop bodies are graphs too: graphs(model) gives all of them.")
def _(model):
    return _drop(model, graphs=lambda result: [result.graph])


@wrong("readers inside not renamed", "a branch reads values of the graph around it by name: rename looks inside too.")
def _(model):
    return _drop(model, renames=_rename_here)


@wrong("first input only", "a node may read the value at any of its inputs, and at several.")
def _(model):
    return _drop(model, renames=lambda graph, names: _rename_here(graph, names, first_only=True))


@wrong("outputs left", "an Identity that makes an output goes too: the node before it can make the output by its name.")
def _(model):
    return _drop(model, may=lambda source, target, outputs, made: target not in outputs)


@wrong("outputs renamed", "the names of inputs and outputs are the model's contract with whoever runs it.")
def _(model):
    result = copy_of(model)
    for graph in onnx_simplify.graphs(result):
        gone = []
        for position, node in enumerate(graph.node):
            if node.op_type == "Identity":
                names = {node.output[0]: node.input[0]}
                rename(graph, names)
                for value in graph.output:
                    value.name = names.get(value.name, value.name)
                gone.append(position)
        delete_nodes(graph, gone)
    return tidy(result)


@wrong("an output lost", "whoever makes an output has to go on making it, under its name.")
def _(model):
    return _drop(model, takes_over=lambda source, outputs, made: True, renames=_rename_unless_output)


def _rename_unless_output(graph: Any, names: Any) -> None:
    (old, new) = next(iter(names.items()))
    rename(graph, {new: old} if new in _names(graph.output) else names)


@wrong(
    "an input given the output's name",
    "y = Identity(x) of the model's own input: x cannot be called y, nor y x. Such an Identity stays.",
)
def _(model):
    return _drop(model, takes_over=lambda source, outputs, made: source not in outputs)


@wrong("an output taken from an output", "one value cannot have the names of two outputs: one Identity has to stay.")
def _(model):
    return _drop(model, takes_over=lambda source, outputs, made: source in made)


@wrong(
    "every second one skipped",
    "removing from a list while a loop walks over it skips the next element: collect positions, then delete.",
)
def _(model):
    result = copy_of(model)
    for graph in onnx_simplify.graphs(result):
        outputs, made = _names(graph.output), {name for node in graph.node for name in node.output}
        for node in graph.node:
            if node.op_type == "Identity":
                source, target = node.input[0], node.output[0]
                if target not in outputs:
                    rename(graph, {target: source})
                elif source in made and source not in outputs:
                    rename(graph, {source: target})
                    made.add(target)
                else:
                    continue
                graph.node.remove(node)
    return tidy(result)


@wrong("one step of a row", "in a row of identities the input of the second is the output of the first: go to the end.")
def _(model):
    result = copy_of(model)
    for graph in onnx_simplify.graphs(result):
        outputs, made = _names(graph.output), {name for node in graph.node for name in node.output}
        names, gone = {}, []
        for position, node in enumerate(graph.node):
            if node.op_type == "Identity":
                source, target = node.input[0], node.output[0]
                if target not in outputs:
                    names[target] = source
                elif source in made and source not in outputs:
                    names[source] = target
                    made.add(target)
                else:
                    continue
                gone.append(position)
        delete_nodes(graph, gone)
        rename(graph, names)
    return tidy(result)


@wrong("those of weights left", "an Identity of a weight hands on the weight: its readers can read the weight itself.")
def _(model):
    def reads_no_weight(source, target, outputs, made):
        return source not in _names(model.graph.initializer)

    return _drop(model, may=reads_no_weight)


@wrong("those of inputs left", "an Identity of the model's input goes: its readers can read the input.")
def _(model):
    inputs = _names(model.graph.input)
    return _drop(model, may=lambda source, target, outputs, made: source not in inputs)


@wrong("every node of one input", "Exp has one input and changes it. Only Identity hands its input on as it is.")
def _(model):
    return _drop(model, is_one=lambda node: len(node.input) == 1 and node.op_type != "If")


@wrong("readers forgotten", "the nodes that read the Identity's output now read a name that nobody makes.")
def _(model):
    return _drop(model, renames=lambda graph, names: None)


@wrong("the model given is changed", "the caller keeps the model: work on copy_of(model).")
def _(model):
    model.CopyFrom(_drop(model))
    return model


@right("renamed at once")
def _(model):
    return _drop(model)


@right("readers and makers by hand")
def _(model):
    result = copy_of(model)
    for graph in onnx_simplify.graphs(result):
        outputs = _names(graph.output)
        position = 0
        while position < len(graph.node):
            node = graph.node[position]
            made_by = {name: each for each in graph.node for name in each.output}
            if node.op_type == "Identity" and node.output[0] not in outputs:
                rename(graph, {node.output[0]: node.input[0]})
                del graph.node[position]
            elif node.op_type == "Identity" and node.input[0] in made_by and node.input[0] not in outputs:
                source, target = node.input[0], node.output[0]
                del graph.node[position]
                rename(graph, {source: target})
            else:
                position += 1
    return result


@right("outputs first, then the rest")
def _(model):
    def outputs_only(source, target, outputs, made):
        return target in outputs

    return _drop(_drop(model, may=outputs_only))


@right("labkit's own")
def _(model):
    return onnx_simplify.drop_identities(model)

"""Exercises whose answers are models: run together, and compared as a reader sees them to recognise a mistake.

Two right answers call their new weights by different names and serialize to different bytes. So two models are alike
when the same nodes do the same with the same inputs: names aside, weights by their values.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import onnx
from onnx import numpy_helper

from labkit.course.apart import Answer
from labkit.course.exercise import Case, Exercise, Verdict, Wrong
from labkit.course.exercises.onnx_simplify.graph_case import GraphCase
from labkit.course.exercises.onnx_simplify.reading import count_by_type, model_in
from labkit.course.exercises.onnx_simplify.running import prepare
from labkit.onnx_simplify import copy_of, delete_nodes, tidy


@dataclass(eq=False, kw_only=True)
class GraphExercise(Exercise):
    """An exercise whose answers are handed back by `probe_pass`."""

    _own: dict[tuple[str, bytes], Answer] = field(default_factory=dict)  # what known mistakes say to which model

    def wrong(self, name: str, sentence: str, never_ends: bool = False) -> Callable[[Any], Any]:
        """As every exercise's; a class stands for a pass of which one step is wrong."""
        add = super().wrong(name, sentence, never_ends)
        return lambda made: add(_answer(made))

    def right(self, name: str) -> Callable[[Any], Any]:
        """As every exercise's; a class stands for a pass that takes a step another way."""
        add = super().right(name)
        return lambda made: add(_answer(made))

    def judge_answers(self, cases: Sequence[Case], answers: Sequence[Answer], seed: int) -> Verdict:
        prepare(
            (case.args[0], answer.value["model"])
            for case, answer in zip(cases, answers, strict=False)
            if answer.outcome == "value" and isinstance(model_in(answer.value), onnx.ModelProto)
        )
        return super().judge_answers(cases, answers, seed)

    def _recognise(self, cases: Sequence[Case], answers: Sequence[Answer], failing: Sequence[Case]) -> Wrong | None:
        return super()._recognise(cases, [_as_seen(answer) for answer in answers], failing)

    def _as_seen(self, case: Case, answer: Answer) -> Answer:
        return _as_seen(answer)

    def _own_answer(self, wrong: Wrong, case: Case) -> Answer:
        key = wrong.name, case.args[0]
        if key not in self._own:
            self._own[key] = _as_seen(super()._own_answer(wrong, case))
        return self._own[key]


class GraphPass:
    """A right answer, each step of which can be made wrong: a copy is changed, then what nobody reads is taken out."""

    def __call__(self, model: onnx.ModelProto) -> onnx.ModelProto:
        result = copy_of(model)
        self.change(result)
        return self.finish(result)

    def change(self, model: onnx.ModelProto) -> None:
        raise NotImplementedError

    def delete(self, graph: onnx.GraphProto, gone: list[int]) -> None:
        delete_nodes(graph, gone)

    def finish(self, model: onnx.ModelProto) -> onnx.ModelProto:
        return tidy(model)


def add_mistakes_of_any_pass(exercise: GraphExercise, right: type[GraphPass]) -> None:
    """Two mistakes that every pass invites."""

    @exercise.wrong(
        "old weights left", "what nobody reads any more only makes the file larger: tidy(model) takes it out."
    )
    class OldWeightsLeft(right):  # type: ignore[valid-type,misc]
        def finish(self, model: onnx.ModelProto) -> onnx.ModelProto:
            return model

    @exercise.wrong("the model given is changed", "the caller keeps the model: work on copy_of(model).")
    class TheModelGivenIsChanged(right):  # type: ignore[valid-type,misc]
        def __call__(self, model: onnx.ModelProto) -> onnx.ModelProto:
            model.CopyFrom(super().__call__(model))
            return model


def _answer(made: Any) -> Any:
    return made() if isinstance(made, type) else made


def nodes_saved(cases: Sequence[Case], values: Sequence[Any]) -> str:
    """The green line's count: nodes of all models given, and of all that came."""
    given = sum(count_by_type(case.model).total() for case in cases if isinstance(case, GraphCase))
    models = [model for value in values if isinstance(model := model_in(value), onnx.ModelProto)]
    came = sum(count_by_type(model).total() for model in models)
    return f"{given} nodes in all became {came}."


def _as_seen(answer: Answer) -> Answer:
    if answer.outcome != "value" or not isinstance(answer.value, dict):
        return answer
    model = model_in(answer.value)
    if isinstance(model, onnx.ModelProto):
        return replace(answer, value={**answer.value, "model": _seen(model.graph, {})})
    return answer


def _seen(graph: onnx.GraphProto, around: dict[str, Any]) -> list[Any]:
    """The graph as nested lists: each input of a node is who made it, or a weight's values, or an input's name."""
    what = dict(around)
    what |= {tensor.name: _weight(tensor) for tensor in graph.initializer}
    what |= {value.name: f"input {value.name}" for value in graph.input}
    nodes: list[Any] = []
    for at, node in enumerate(graph.node):
        inner = [_seen(each, what) for attribute in node.attribute for each in (attribute.g, *attribute.graphs)]
        plain = [str(each) for each in node.attribute if not (each.HasField("g") or len(each.graphs))]
        inputs = [what.get(name, f"nothing called {name}") for name in node.input]
        nodes.append([node.op_type, sorted(plain), inputs, inner])
        depth = f"{len(around)}.{at}"
        what |= {name: f"output {number} of node {depth}" for number, name in enumerate(node.output) if name}
    outputs = [[value.name, what.get(value.name, "nothing")] for value in graph.output]
    read = {name for node in graph.node for name in node.input}
    num_unread = sum(tensor.name not in read for tensor in graph.initializer)
    return [nodes, outputs, [value.name for value in graph.input], num_unread]


def _weight(tensor: onnx.TensorProto) -> Any:
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return f"outside {list(tensor.dims)}"
    array = numpy_helper.to_array(tensor)
    return array if array.dtype.kind in "biuf" else str(array.dtype)

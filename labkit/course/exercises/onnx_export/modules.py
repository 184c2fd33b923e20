"""Exercises whose answer is a module: exported by tracing from one example, then tried at shapes it never saw.

Tracing (`dynamo=False`) is the strict exporter here: whatever becomes a Python number or a Python branch is frozen in
its graph. It also takes a hundredth of a second where the current one takes a second.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from labkit.course.answers import encode
from labkit.course.apart import Answer
from labkit.course.compare import Difference, compare_arrays
from labkit.course.exercise import Case, Wrong
from labkit.course.exercises.onnx_export.graphs import read_graph, run_graph
from labkit.course.on_first_use import torch
from labkit.course.played import PlayedExercise

ROUNDING = 2e-5  # relative to the largest output: float32 sums of some dozen numbers, in another order


@dataclass(eq=False, kw_only=True)
class ModuleExercise(PlayedExercise):
    """A module (B, T, C) -> …, judged by `oracle` (an array -> the expected one, in float64) before and after export.

    Its cases have an example and a list of inputs; both are judged, so a mended module is still the same function.
    """

    oracle: Callable[[np.ndarray], np.ndarray]
    seen: Callable[[Case, Any], Any] = field(init=False)
    judge_case: Callable[[Case, Any], Difference | None] = field(init=False)
    _own: dict[tuple[str, bytes], Answer] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.seen, self.judge_case, self.probe = _outputs, self._judge, probe_module

    def judge(self, candidate: Any, seed: int = 0, tier: str = "cpu", limit_s: float | None = None) -> Any:
        """As every exercise, with torch loaded once here and not in each process that answers."""
        torch.nn  # noqa: B018
        return super().judge(candidate, seed, tier, limit_s)

    def _own_answer(self, wrong: Wrong, case: Case) -> Answer:
        key = wrong.name, encode([case.name, *case.args])
        if key not in self._own:
            self._own[key] = super()._own_answer(wrong, case)
        return self._own[key]

    def _judge(self, case: Case, value: Any) -> Difference | None:
        example, inputs = case.args
        for x, eager in zip(inputs, value["eager"], strict=True):
            difference = self._compare(x, eager)
            if difference:
                return _at("the module itself, before any export,", x, difference)
        try:
            read_graph(value["graph"])
        except ValueError as error:
            return Difference("an ONNX model", str(error))
        runs = _run(case, value)
        wrong = [(x, difference) for x, run in zip(inputs, runs, strict=True) if (difference := self._compare(x, run))]
        if not wrong:
            return None
        right = len(inputs) - len(wrong)
        x, difference = wrong[0]
        where = f"the graph, exported from an example of {example.shape} and right for {right} of {len(inputs)} inputs,"
        return _at(where, x, difference)

    def _compare(self, x: np.ndarray, came: Any) -> Difference | None:
        expected = self.oracle(x.astype(np.float64)).astype(np.float32)
        if isinstance(came, str):
            return Difference(f"float32 {expected.shape}", came)
        if isinstance(came, list):
            if len(came) != 1:
                return Difference("one output", f"{len(came)} outputs")
            came = came[0]
        return compare_arrays(expected, came, relative=ROUNDING, absolute=ROUNDING)


def probe_module(candidate: Any, case: Case) -> dict[str, Any]:
    """Make the module, call it on every input, export it from the example, and give back the file's bytes."""
    from labkit.onnx_export import export_onnx

    example, inputs = case.args
    torch.manual_seed(0)
    model = candidate().eval()
    with torch.no_grad():
        eager = [model(torch.tensor(x)) for x in inputs]
    with tempfile.TemporaryDirectory(prefix="labkit-") as folder:
        path = Path(folder) / "model.onnx"
        named = _first_input(model)
        dynamic = {named: {0: "batch", 1: "num_tokens"}}
        export_onnx(model, torch.tensor(example), path, dynamic, exporter="torchscript")
        return {"eager": eager, "graph": path.read_bytes()}


def _first_input(model: Any) -> str:
    from inspect import signature

    return next(iter(signature(model.forward).parameters))


def _run(case: Case, value: Any) -> list[Any]:
    _example, inputs = case.args
    model = read_graph(value["graph"])
    name = model.graph.input[0].name if model.graph.input else ""
    return run_graph(value["graph"], [{name: x} for x in inputs])


def _outputs(case: Case, value: Any) -> Any:
    """What a reader sees of an answer: numbers before and after export; a refusal is a refusal."""
    try:
        runs = _run(case, value)
    except ValueError as error:
        return str(error)
    return {"eager": value["eager"], "graph": ["refused" if isinstance(run, str) else run for run in runs]}


def _at(where: str, x: np.ndarray, difference: Difference) -> Difference:
    return Difference(difference.expected, f"{where} at {x.shape}: {difference.came}")


@dataclass(frozen=True)
class TokenCase(Case):
    """An example to export from, and inputs that the module and its graph are tried on."""

    def for_learner(self) -> tuple[Any, ...]:
        """(example, inputs) as tensors: call the module on each, and its export too."""
        example, inputs = self.args
        return torch.tensor(example), [torch.tensor(x) for x in inputs]


def token_cases(
    seed: int, examples: Sequence[tuple[int, int, int]], lengths: Sequence[int], spread: float = 1.0
) -> list[Case]:
    """One case for each example's shape (B, T, C), with inputs at other batches and at all of these lengths."""
    rng = np.random.default_rng(seed)

    def draw(batch: int, tokens: int, channels: int) -> np.ndarray:
        # Eighths are readable; a mean beside 0, since zeros hide errors.
        drawn = np.round(rng.normal(0.5, spread, (batch, tokens, channels)) * 8) / 8
        return drawn.astype(np.float32)

    return [
        TokenCase(
            f"exported at {batch} x {tokens}",
            (
                draw(batch, tokens, channels),
                [draw(int(rng.integers(1, 5)), length, channels) for length in (tokens, *lengths)],
            ),
            ("example", "inputs"),
        )
        for batch, tokens, channels in examples
    ]


def module(forward: Callable[[Any], Any]) -> Callable[[], Any]:
    """A bank's answer: a maker of modules with this forward, so that torch is loaded when one is made."""

    def make() -> Any:
        class Answer(torch.nn.Module):
            def forward(self, x: Any) -> Any:
                return forward(x)

        return Answer()

    return make


def keeping_module(forward: Callable[[Any, Any], Any]) -> Callable[[], Any]:
    """As `module`, for a forward that also takes the module, to keep something in it; `kept` begins as None."""

    def make() -> Any:
        class Answer(torch.nn.Module):
            kept: Any = None

            def forward(self, x: Any) -> Any:
                return forward(self, x)

        return Answer()

    return make

"""What each simplifier did to one model: nodes by type, bytes, whether it is the same function, and the time."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.onnx_export import compare_outputs, open_session, random_inputs
from labkit.onnx_file import files_bytes, load_model
from labkit.onnx_simplify.counting import count_ops, short_name
from labkit.onnx_simplify.tools import TOOLS, ToolError

if TYPE_CHECKING:
    from rich.table import Table

ORIGINAL = "original"
_ROUNDS = 51  # of timing: a busy machine disturbs most of them


@dataclass(frozen=True)
class Outcome:
    """What one tool made of the model.

    ops: nodes by type. num_bytes: on disk, external weights included. max_abs, max_rel: outputs against the
    original's on random inputs, the latter relative to their largest magnitude; where: the place of the largest.
    tool_ms: what simplifying took, without importing the tool. run_ms, optimized_run_ms: the fastest run in ONNX
    Runtime on one thread, as the graph stands and after ONNX Runtime's own optimizations, where asked for. error: why
    there is no such model or no comparison, in a sentence.
    """

    tool: str
    ops: Mapping[str, int] = field(default_factory=dict)
    num_bytes: int = 0
    max_abs: float | None = None
    max_rel: float | None = None
    where: str = ""
    tool_ms: float | None = None
    run_ms: float | None = None
    optimized_run_ms: float | None = None
    error: str = ""

    @property
    def num_nodes(self) -> int:
        return sum(self.ops.values())


@dataclass(frozen=True)
class SimplifyReport:
    """The model as it is, then what each tool made of it."""

    model: str
    outcomes: tuple[Outcome, ...]

    @property
    def original(self) -> Outcome:
        return self.outcomes[0]

    def changed_ops(self) -> list[str]:
        """Operator types whose number differs between the outcomes, the most changed first."""
        made = [outcome for outcome in self.outcomes if outcome.ops]
        counts = {op: [outcome.ops.get(op, 0) for outcome in made] for outcome in made for op in outcome.ops}
        changed = {op: max(numbers) - min(numbers) for op, numbers in counts.items() if len(set(numbers)) > 1}
        return sorted(changed, key=lambda op: (-changed[op], op))

    def to_json(self) -> str:
        """The report as JSON: {"model": name, "outcomes": [{"tool": …, "ops": {type: number}, …}]}."""
        return json.dumps(asdict(self), indent=2)

    def tables(self) -> list[Table]:
        """Two tables for a terminal or a notebook: a row for each tool, and nodes by type where a tool changed any."""
        return [self._tools_table(), *([self._ops_table()] if self.changed_ops() else [])]

    def __str__(self) -> str:
        rows = (f"{outcome.tool} {outcome.num_nodes if outcome.ops else 'failed'}" for outcome in self.outcomes)
        return f"Nodes of {self.model}: {', '.join(rows)}."

    def _tools_table(self) -> Table:
        timed = any(outcome.run_ms is not None for outcome in self.outcomes)
        table = _table(
            f"{self.model}: what each tool made of it",
            "tool",
            ["nodes", "kB", "max abs", "max rel", "tool ms", *(["run ms", "opt. ms"] if timed else [])],
        )
        for outcome in self.outcomes:
            cells = [
                str(outcome.num_nodes) if outcome.ops else "",
                f"{outcome.num_bytes / 1000:,.1f}" if outcome.ops else "",
                _said(outcome.max_abs, ".1e"),
                _said(outcome.max_rel, ".1e"),
                _said(outcome.tool_ms, ",.0f"),
                *([_said(outcome.run_ms, ",.3f"), _said(outcome.optimized_run_ms, ",.3f")] if timed else []),
            ]
            table.add_row(outcome.tool, *cells)
        notes = [f"{outcome.tool}: {outcome.error}" for outcome in self.outcomes if outcome.error]
        if timed:
            notes.append(
                f"run ms: the graph as it stands, the fastest of {_ROUNDS} on one thread; opt. ms: the same after ONNX"
                " Runtime's own optimizations"
            )
        if not self.changed_ops():
            notes.append("No tool changed the number of nodes of any type.")
        table.caption = "\n".join(notes) or None
        return table

    def _ops_table(self) -> Table:
        made = [outcome for outcome in self.outcomes if outcome.ops]
        table = _table("Nodes by type, the most changed first", "type", [])
        table.columns[0].no_wrap = False  # "FusedConv (microsoft)" may take two lines, the numbers may not
        table.columns[0].overflow = "ellipsis"
        table.padding, table.show_edge = 0, False  # a column for each tool fits 80 characters
        for outcome in made:
            table.add_column(outcome.tool.replace(" ", "\n"), justify="right", no_wrap=True)
        for op in self.changed_ops():
            table.add_row(short_name(op), *(str(outcome.ops.get(op, "·")) for outcome in made))
        table.caption = "Types that no tool touched are left out."
        return table


def _table(title: str, first: str, columns: Sequence[str]) -> Table:
    """A table of numbers that also fits 80 characters: heads are broken, between words."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, caption_justify="left", title_justify="left")
    table.add_column(first, no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", overflow="fold")
    return table


def simplify_report(
    path: str | Path,
    *,
    tools: Sequence[str] | None = None,
    inputs: Mapping[str, np.ndarray] | None = None,
    dims: Mapping[str, int] | None = None,
    seed: int = 0,
    timed: bool = False,
    keep_in: str | Path | None = None,
    on_tool: Callable[[str], None] = lambda name: None,
) -> SimplifyReport:
    """Runs each tool on an ONNX file and tells what came out.

    tools: names out of TOOLS, all by default. inputs: arrays to compare outputs on, else random ones with the
    symbolic dimensions that `dims` gives ({"batch": 4}). timed: also time runs. keep_in: a folder that keeps each
    tool's model, as "onnxsim.onnx". on_tool: called with the name of each tool before it runs.

    Raises OnnxFileError for a file that is no model, and ValueError for an unknown tool. A tool that fails, and a
    model that ONNX Runtime cannot run, are told in the outcome.
    """
    path = Path(path)
    chosen = list(TOOLS) if tools is None else list(tools)
    for name in chosen:
        if name not in TOOLS:
            raise ValueError(f"no tool {name!r}; there is {', '.join(TOOLS)}")
    model = load_model(path, weights=False)
    feeds = dict(inputs) if inputs is not None else random_inputs(model, dims=dims, seed=seed)
    with tempfile.TemporaryDirectory(prefix="labkit-simplify-") as scratch:
        folder = Path(keep_in or scratch)
        folder.mkdir(parents=True, exist_ok=True)
        original = _compared(Outcome(ORIGINAL), path, path, feeds)
        outcomes = [original]
        for name in chosen:
            on_tool(name)
            outcomes.append(_outcome(name, path, folder, feeds))
        if timed:
            outcomes = _timed(outcomes, path, folder, feeds)
    return SimplifyReport(path.name, tuple(outcomes))


def _outcome(name: str, path: Path, folder: Path, feeds: Mapping[str, np.ndarray]) -> Outcome:
    target = _target(name, folder)
    TOOLS[name].load()
    started = perf_counter()
    try:
        TOOLS[name].run(path, target)
    except ToolError as error:
        return Outcome(name, error=str(error))
    elapsed_ms = 1000 * (perf_counter() - started)
    return _compared(Outcome(name, tool_ms=elapsed_ms), path, target, feeds)


def _compared(outcome: Outcome, path: Path, target: Path, feeds: Mapping[str, np.ndarray]) -> Outcome:
    known: dict[str, Any] = {"ops": count_ops(load_model(target, weights=False)), "num_bytes": files_bytes(target)}
    try:
        names, expected = _run(path, feeds)
        _names, got = _run(target, feeds)
        found, known["where"] = compare_outputs(names, expected, got)
        known |= {"max_abs": found.max_abs, "max_rel": found.max_rel}
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        known["error"] = f"not compared: {(str(error).strip().splitlines() or [''])[0][:200]}"
    return replace(outcome, **known)


def _run(path: Path, feeds: Mapping[str, np.ndarray]) -> tuple[list[str], list[np.ndarray]]:
    session = open_session(path, "cpu", level="none")
    wanted = {value.name for value in session.get_inputs()}
    outputs = session.run(None, {name: array for name, array in feeds.items() if name in wanted})
    return [value.name for value in session.get_outputs()], outputs


def _timed(outcomes: list[Outcome], path: Path, folder: Path, feeds: Mapping[str, np.ndarray]) -> list[Outcome]:
    """The outcomes with their run times, taken in turns: a machine that slows down slows all of them."""
    from labkit.measure import compare

    calls: dict[str, Callable[[], object]] = {}
    for outcome in outcomes:
        if outcome.max_abs is None:
            continue
        target = path if outcome.tool == ORIGINAL else _target(outcome.tool, folder)
        for level in ("none", "all"):
            session = open_session(target, "cpu", level=level, num_threads=1)
            calls[f"{outcome.tool}/{level}"] = partial(session.run, None, dict(feeds))
    if not calls:
        return outcomes
    # The fastest, not the median: a run takes a fraction of a millisecond, and on a busy machine half are disturbed.
    fastest = {name: timing.min_ms for name, timing in compare(calls, repeats=_ROUNDS).timings.items()}
    return [
        replace(
            outcome,
            run_ms=fastest.get(f"{outcome.tool}/none"),
            optimized_run_ms=fastest.get(f"{outcome.tool}/all"),
        )
        for outcome in outcomes
    ]


def _target(name: str, folder: Path) -> Path:
    return folder / f"{name.replace(' ', '-')}.onnx"


def _said(number: float | None, how: str) -> str:
    return "" if number is None else format(number, how)

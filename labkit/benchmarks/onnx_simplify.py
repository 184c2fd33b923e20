"""What simplifying a model costs and buys: each tool, the runs of what it leaves, and ONNX Runtime's own levels."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from rich.table import Table

from labkit.measure import compare
from labkit.onnx_export import export_onnx, open_session
from labkit.onnx_export.session import LEVELS
from labkit.onnx_simplify import Outcome, SimplifyReport, simplify_report
from labkit.sample_models import SAMPLES

# A size for each dimension that is left free: large enough for a run to take longer than starting it.
SIZES = {"batch": 8, "num_tokens": 64, "height": 64, "width": 64}
MODELS = ("residual", "transformer", "detector")


def run(quick: bool = False) -> Iterator[Table]:
    """Tables of ratios for the samples as the exporter leaves them with its own optimizer off: most is left to do."""
    models = MODELS[:1] if quick else MODELS
    tools = ("labkit", "onnxslim", "ort basic") if quick else None
    with tempfile.TemporaryDirectory(prefix="labkit-bench-") as folder:
        paths = {name: _write(name, Path(folder)) for name in models}
        for name, path in paths.items():
            yield tool_table(_report(name, path, tools))
        yield session_table(paths, repeats=3 if quick else 11)


def tool_table(report: SimplifyReport) -> Table:
    """Each tool on one model: what it costs, and the runs of what it leaves, fastest of many, one thread."""
    original = report.original
    table = Table(title=f"{report.model} as exported, not optimized: {original.num_nodes} nodes{_run_of(original)}")
    table.caption = (
        "simplifying takes as long as so many runs of the original; a run: its time over the original's, as the graph "
        "stands, and after ONNX Runtime has optimized both"
    )
    table.add_column("tool")
    for column in ("nodes left", "simplifying, runs", "a run, ratio", "the same, optimized"):
        table.add_column(column, justify="right")
    for outcome in report.outcomes:
        table.add_row(outcome.tool, *([outcome.error] if outcome.error else _cells(outcome, original)))
    return table


def session_table(paths: dict[str, Path], repeats: int) -> Table:
    """Opening a session at each level, over opening it with no optimization."""
    table = Table(
        title="Opening a session in ONNX Runtime, by optimization level",
        caption=f"the fastest of {repeats} on one thread, and in brackets its ratio to level none",
    )
    table.add_column("model")
    for level in LEVELS:
        table.add_column(level, justify="right")
    for name, path in paths.items():
        calls = {level: partial(open_session, path, "cpu", level=level, num_threads=1) for level in LEVELS}
        fastest = {level: timing.min_ms for level, timing in compare(calls, repeats=repeats).timings.items()}
        table.add_row(name, *(f"{ms:.1f} ms ({ms / fastest['none']:.2f})" for ms in fastest.values()))
    return table


def _run_of(original: Outcome) -> str:
    return "" if original.run_ms is None else f", a run of {original.run_ms:.2f} ms"


def _write(name: str, folder: Path) -> Path:
    sample, path = SAMPLES[name], folder / f"{name}.onnx"
    export_onnx(sample.build(), sample.example(), path, sample.dynamic, optimize=False)
    return path


def _report(name: str, path: Path, tools: tuple[str, ...] | None) -> SimplifyReport:
    free = {dim for dims in SAMPLES[name].dynamic.values() for dim in dims.values()}
    return simplify_report(path, tools=tools, dims={dim: SIZES[dim] for dim in free}, timed=True)


def _cells(outcome: Outcome, original: Outcome) -> list[str]:
    assert outcome.run_ms
    assert outcome.optimized_run_ms
    assert original.run_ms
    assert original.optimized_run_ms
    return [
        f"{outcome.num_nodes / original.num_nodes:.0%}",
        "" if outcome.tool_ms is None else f"{outcome.tool_ms / original.run_ms:,.0f}",
        f"{outcome.run_ms / original.run_ms:.2f}",
        f"{outcome.optimized_run_ms / original.optimized_run_ms:.2f}",
    ]

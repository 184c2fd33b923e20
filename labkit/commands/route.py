"""`labkit route`: serve a trace with one simulated replica, and say how long its requests waited."""

from __future__ import annotations

import json
import os
import runpy
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labkit.router import POLICIES, AdmissionPolicy, Request, RequestError, make_policy
from labkit.router._arguments import whole
from labkit.serving import (
    COMPILED_FROM,
    MAX_CAPACITY,
    WORKLOADS,
    SimulationResult,
    Slo,
    Trace,
    TraceError,
    goodput_per_s,
    latency_s,
    load_compiled,
    makespan_s,
    mean_use,
    read_trace,
    simulate,
    summary,
    synthetic_trace,
    throughput_per_s,
    tpot_s,
    ttft_s,
    waiting_s,
)

if TYPE_CHECKING:
    from rich.table import Table

_BAR_AFTER_S = 0.5  # an ordinary trace is done before a bar would be seen, and drawing one costs time

# name in the JSON -> (title in the table, seconds per request or per token)
_DISTRIBUTIONS: dict[str, tuple[str, Callable[[SimulationResult], Any]]] = {
    "waiting_s": ("waiting in the queue", waiting_s),
    "ttft_s": ("arrival to first token (TTFT)", ttft_s),
    "tpot_s": ("per further token (TPOT)", tpot_s),
    "latency_s": ("arrival to last token", latency_s),
}

_POLICY_HELP = "; ".join(f"{name}: {meaning}" for name, (meaning, _) in POLICIES.items())


@click.command()
@click.option(
    "--trace",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A CSV file with TIMESTAMP, ContextTokens, GeneratedTokens, as the Azure traces have.",
)
@click.option("--synthetic", type=click.Choice(sorted(WORKLOADS)), help="No file: draw one with these statistics.")
@click.option("--capacity", type=int, required=True, help="Tokens that the pool holds.")
@click.option(
    "--policy",
    default="peak",
    show_default=True,
    metavar="NAME|FILE.py",
    help=f"Who may start. {_POLICY_HELP}. Or a file that defines can_admit(running, candidate, capacity).",
)
@click.option("--declared", type=int, help="Believe every output to have this many tokens, not the true number.")
@click.option("--requests", type=int, help="Only the first of the file, or how many to draw (default 5000).")
@click.option("--rate", type=float, help="Arrivals per second, with --synthetic.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of --synthetic, and of the policy's own draws.")
@click.option("--at-once", is_flag=True, help="All requests wait at the beginning.")
@click.option("--sort", is_flag=True, help="Put a file that is out of order into the order of its times.")
@click.option("--slo-ttft", type=float, help="Goodput counts requests with the first token within so many seconds …")
@click.option("--slo-tpot", type=float, help="… and so many seconds per further token.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else there.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw pool, queue and waiting: FILE.png")
def route(
    file: Path | None, synthetic: str | None, capacity: int, policy: str, declared: int | None, requests: int | None,
    rate: float | None, seed: int, at_once: bool, sort: bool, slo_ttft: float | None, slo_tpot: float | None,
    as_json: bool, plot: Path | None,
) -> None:  # fmt: skip
    """Simulate one replica that serves a trace (--trace FILE or --synthetic NAME) and print what it was like.

    The exit code is 2 where an option cannot be meant, and 1 where a file or the function in it is wrong.
    """
    if (file is None) == (synthetic is None):
        raise click.UsageError("give one trace: --trace FILE, or --synthetic conv (or code) where there is no file.")
    if file and rate is not None:
        raise click.UsageError("--rate belongs to --synthetic; a file says itself when requests arrive.")
    if requests is not None and requests < 1:
        raise click.UsageError(f"--requests is {requests}; it must be 1 or more.")
    if plot:
        _look_at(plot)
    with _refused_as(click.UsageError):  # what the options say
        whole(capacity, "capacity", at_least=1, at_most=MAX_CAPACITY)
        slo = _objective(slo_ttft, slo_tpot)
        rule = _policy(policy, declared, seed)
        drawn = None if file else _draw(synthetic or "", requests, seed, rate)
    with _refused_as(click.ClickException):  # what stands in files, and what comes of it
        trace = drawn or _read(file, sort, requests)  # type: ignore[arg-type]  # one of the two is there
        run = _timed_run(trace.all_at_once() if at_once else trace, capacity, rule)
    report = _report(run, slo)
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False, allow_nan=False))
    else:
        _print(run.result, report)
    if plot:
        _plot(run.result, plot)


@contextmanager
def _refused_as(kind: type[click.ClickException]) -> Iterator[None]:
    """One sentence: exit code 2 for bad options (click.UsageError), 1 for everything else."""
    try:
        yield
    except (TraceError, RequestError, OSError) as error:
        raise kind(str(error)) from error


def _look_at(plot: Path) -> None:
    """Before anything is simulated: whether the picture can be written there at all."""
    if plot.suffix.lower() != ".png":
        raise click.UsageError(f"--plot writes a PNG; call the file {plot.with_suffix('.png').name}.")
    if not plot.parent.is_dir():
        raise click.UsageError(f"--plot {plot}: there is no folder {plot.parent}; make it first.")
    if not os.access(plot if plot.exists() else plot.parent, os.W_OK):
        raise click.UsageError(f"--plot {plot}: this cannot be written to.")


@dataclass(frozen=True)
class _Run:
    result: SimulationResult
    wall_s: float


def _objective(ttft: float | None, tpot: float | None) -> Slo | None:
    given = {name: value for name, value in (("ttft_s", ttft), ("tpot_s", tpot)) if value is not None}
    return Slo(**given) if given else None


def _read(file: Path, sort: bool, requests: int | None) -> Trace:
    trace = read_trace(file, sort=sort)
    return trace if requests is None else trace.first(requests)


def _draw(workload: str, requests: int | None, seed: int, rate: float | None) -> Trace:
    return synthetic_trace(workload, 5000 if requests is None else requests, seed, rate_per_s=rate)


def _policy(policy: str, declared: int | None, seed: int) -> AdmissionPolicy:
    """By name, or the can_admit of a learner's file, which is executed."""
    if not policy.endswith(".py"):
        return make_policy(policy, declared=declared, seed=seed)
    if not Path(policy).is_file():
        raise click.UsageError(f"--policy {policy}: there is no such file.")
    with _blamed_on(policy):
        can_admit = runpy.run_path(policy).get("can_admit")
    if not callable(can_admit):
        raise click.ClickException(f"{policy} defines no can_admit(running, candidate, capacity).")

    @wraps(can_admit)
    def blamed(running: list[Request], candidate: Request, capacity: int) -> bool:
        with _blamed_on(policy):
            answer: bool = can_admit(running, candidate, capacity)
        return answer

    rule = make_policy(blamed, declared=declared)
    rule.name = f"can_admit of {Path(policy).name}"
    return rule


@contextmanager
def _blamed_on(file: str) -> Iterator[None]:
    """An exception of a learner's file becomes one sentence with its line; the traceback is mostly ours."""
    try:
        yield
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
        place = f"{file}, line {line}" if line else file
        raise click.ClickException(f"{place}: {type(error).__name__}: {error}") from error


def _timed_run(trace: Trace, capacity: int, policy: AdmissionPolicy) -> _Run:
    if trace.num_requests >= COMPILED_FROM:
        with _loading():
            load_compiled()  # before the clock: what is said of requests per second is of the simulation
    with _progress(trace.num_requests) as progress:
        start = time.perf_counter()
        result = simulate(trace, capacity, policy, progress=progress)
        return _Run(result, time.perf_counter() - start)


def _loading() -> AbstractContextManager[object]:
    """A sign of life on a terminal: where setting up did not compile the loop, this takes some seconds, once."""
    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console

    return Console(stderr=True).status("loading the compiled simulator …")


@contextmanager
def _progress(num_requests: int) -> Iterator[Callable[[int], None] | None]:
    """A bar on stderr, which appears only on a terminal and when the simulation is long."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, auto_refresh=False) as bar:
        task = bar.add_task("requests served", total=num_requests, visible=False)
        drawn = time.monotonic() + _BAR_AFTER_S - 0.1

        def advance(num_done: int) -> None:
            nonlocal drawn
            if time.monotonic() - drawn >= 0.1:
                bar.update(task, completed=num_done, visible=True, refresh=True)
                drawn = time.monotonic()

        yield advance


def _report(run: _Run, slo: Slo | None) -> dict[str, Any]:
    """The JSON object; the table is made from it."""
    result = run.result
    report: dict[str, Any] = {
        "trace": result.trace.name,
        "credit": result.trace.credit,
        "policy": result.policy,
        "lengths": result.lengths,
        "capacity": result.capacity,
        "requests": result.num_requests,
        "refused": result.num_refused,
        "wall_s": run.wall_s,
        "requests_per_s": result.num_requests / run.wall_s,
        "makespan_s": makespan_s(result),
        "max_tokens_used": result.max_tokens_used,
        "mean_use": mean_use(result),
        "decode_steps": result.num_decode_steps,
        "output_tokens_per_s": throughput_per_s(result),
        "evictions": int(result.num_evictions.sum()),
        "recomputed_tokens": result.num_recomputed_tokens,
        "goodput_per_s": goodput_per_s(result, slo) if slo else None,
    }
    return report | {name: summary(values(result)) for name, (_, values) in _DISTRIBUTIONS.items()}


def _print(result: SimulationResult, report: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console() if sys.stdout.isatty() else Console(width=110)
    console.print(_counts_table(report))
    console.print(_seconds_table(report))
    if result.num_refused:
        console.print(
            f"{result.num_refused:,} refused: even alone they exceed the pool, or this policy refuses an empty one."
        )
    if result.trace.credit:
        console.print(f"Trace: {result.trace.credit}", style="dim")


def _counts_table(report: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table(title=f"{report['trace']} on a pool of {report['capacity']:,} tokens", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    goodput = report["goodput_per_s"]
    rows = {
        "policy": report["policy"],
        "lengths": report["lengths"],
        "requests": f"{report['requests']:,}",
        "of these refused": f"{report['refused']:,}",
        "first arrival to last token": f"{report['makespan_s']:,.3f} s",
        "most tokens in use": f"{report['max_tokens_used']:,}",
        "pool in use, mean over time": f"{report['mean_use']:.1%}",
        "decode steps": f"{report['decode_steps']:,}",
        "output tokens per second": f"{report['output_tokens_per_s']:,.1f}",
        "evictions": f"{report['evictions']:,}",
        "tokens computed again": f"{report['recomputed_tokens']:,}",
        "good requests per second": "no objective given" if goodput is None else f"{goodput:,.3f}",
        "simulated in": f"{report['wall_s']:,.3f} s, {report['requests_per_s']:,.0f} requests/s",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _seconds_table(report: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table(title="Seconds of a request")
    table.add_column()
    columns = ("mean", "p50", "p90", "p99", "max")
    for column in columns:
        table.add_column(column, justify="right")
    for name, (title, _) in _DISTRIBUTIONS.items():
        cells = (report[name][column] for column in columns)
        table.add_row(title, *("-" if cell is None else f"{cell:,.3f}" for cell in cells))
    return table


def _plot(result: SimulationResult, path: Path) -> None:
    from labkit.commands.route_figure import hour_figure
    from labkit.widgets.still import figure_png

    try:
        path.write_bytes(figure_png(hour_figure(result)))
    except OSError as error:
        raise click.ClickException(f"--plot {path}: {error.strerror}.") from error
    click.echo(f"plot: {path}", err=True)

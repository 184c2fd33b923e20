"""What a router's question costs, and what a simulated hour does: against the published form and step by step."""

from __future__ import annotations

import runpy
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

import labkit
from labkit.measure import Comparison, compare
from labkit.router import OccupancyCalendar, Request, WhatIf, admit_from, can_admit, peak_tokens
from labkit.serving import load_compiled, simulate, sweep, synthetic_trace

REPEATS = 5
QUEUE_LEN = 64
AN_HOUR = 19_366  # requests: as many as the Azure conversation trace of 2023 has
STEP_REFERENCE = Path(labkit.__file__).parent.parent / "tests" / "step_reference.py"


def run(quick: bool = False) -> list[Table]:
    """Tables of medians and ratios; `quick` takes fewer running requests and shorter traces."""
    sizes = [10, 100, 1000] if quick else [10, 100, 1000, 10_000]
    return [question_table(sizes), round_table(sizes), simulator_table(300 if quick else 2000), sweep_table(quick)]


def published_test(running: list[Request], candidate: Request, capacity: int) -> bool:
    """The shape in which LightLLM published the test: a list, a sort, two arrays, a running sum, a maximum."""
    together = [*running, candidate]
    together.sort(key=lambda request: -request[1])
    runs = np.array([run for run, _ in together])
    lefts = np.array([left for _, left in together])
    need = lefts * np.arange(1, len(together) + 1) + np.cumsum(runs)
    return bool(need.max() <= capacity)


def question_table(sizes: list[int]) -> Table:
    """One question about one candidate, against the number of running requests."""
    columns = {}
    for size in sizes:
        running, queue, capacity = _load(size)
        candidate = queue[0]
        what_if, calendar = WhatIf(running), _calendar(running)
        columns[f"{size:,} running"] = _compare(
            {
                "published form": partial(published_test, running, candidate, capacity),
                "can_admit": partial(can_admit, running, candidate, capacity),
                "WhatIf(running)": partial(WhatIf, running),
                "WhatIf.peak_with": partial(what_if.peak_with, *candidate),
                "OccupancyCalendar.peak_with": partial(calendar.peak_with, 0, *candidate),
            }
        )
    return _table("One admission test, µs (ratio to the published form); a WhatIf is built once a round", columns)


def round_table(sizes: list[int]) -> Table:
    """A queue of 64, admitted from the head up to the first refusal, which comes after about two thirds."""
    columns = {}
    for size in sizes:
        running, queue, capacity = _load(size)
        calendar = _calendar(running)
        columns[f"{size:,} running"] = _compare(
            {
                "published form": partial(_published_round, running, queue, capacity),
                "admit_from": partial(admit_from, running, queue, capacity),
                "OccupancyCalendar": partial(_calendar_round, calendar, queue, capacity),
            }
        )
    return _table(f"A round: {QUEUE_LEN} wait, about two thirds are admitted, µs (ratio)", columns)


def simulator_table(num_requests: int) -> Table:
    """The same requests served by each; all give the same times to the nanosecond."""
    trace = synthetic_trace("conv", num_requests)
    calls: dict[str, Callable[[], Any]] = {
        "event-driven": lambda: simulate(trace, 40_000, compiled=False),
        "event-driven, compiled": lambda: simulate(trace, 40_000, compiled=True),
        "event-driven, published form asked at each step": lambda: simulate(trace, 40_000, published_test),
    }
    table = Table(title=f"Synthetic conversation trace, {num_requests:,} requests, pool of 40,000 tokens")
    for column in ("simulator", "ms", "ratio", "requests/s"):
        table.add_column(column, justify="left" if column == "simulator" else "right")
    if STEP_REFERENCE.is_file():
        by_steps = runpy.run_path(str(STEP_REFERENCE))["simulate_by_steps"]
        calls["step by step, published form"] = lambda: by_steps(trace, 40_000, published_test)
    else:
        table.caption = "the step-by-step reference stands in tests/, which an installed labkit does not have"
    compared = compare(calls, repeats=3, warmup=1)
    for name, ratio in compared.ratios.items():
        median_ms = compared[name].median_ms
        table.add_row(name, f"{median_ms:,.1f}", _times(ratio), f"{num_requests / median_ms * 1000:,.0f}")
    return table


def sweep_table(quick: bool) -> Table:
    """Capacities times seeds, on every core this process may use."""
    num_capacities, num_seeds, num_requests = (8, 2, 300) if quick else (64, 8, AN_HOUR)
    capacities = [20_000 + 2_000 * i for i in range(num_capacities)]
    load_compiled()
    start = time.perf_counter()
    rows = sweep(capacities, range(num_seeds), num_requests=num_requests)
    wall_s = time.perf_counter() - start
    table = Table(title=f"A sweep: {num_capacities} capacities x {num_seeds} seeds, {num_requests:,} requests each")
    for column in ("simulations", "wall s", "requests/s, all cores"):
        table.add_column(column, justify="right")
    table.add_row(f"{len(rows):,}", f"{wall_s:.1f}", f"{len(rows) * num_requests / wall_s:,.0f}")
    return table


def _load(num_running: int) -> tuple[list[Request], list[Request], int]:
    """Running requests, a queue, and a capacity at which the queue's first two thirds are admitted."""
    rng = np.random.default_rng(num_running)
    draw = partial(_requests, rng)
    running, queue = draw(num_running), draw(QUEUE_LEN)
    return running, queue, peak_tokens(running + queue[: 2 * QUEUE_LEN // 3])


def _requests(rng: np.random.Generator, count: int) -> list[Request]:
    runs, lefts = rng.integers(50, 4001, count).tolist(), rng.integers(0, 2049, count).tolist()
    return list(zip(runs, lefts, strict=True))


def _calendar(running: list[Request]) -> OccupancyCalendar:
    calendar = OccupancyCalendar()
    for request in running:
        calendar.add(0, *request)
    return calendar


def _published_round(running: list[Request], queue: list[Request], capacity: int) -> int:
    inside = list(running)
    for candidate in queue:
        if not published_test(inside, candidate, capacity):
            break
        inside.append(candidate)
    return len(inside) - len(running)


def _calendar_round(calendar: OccupancyCalendar, queue: list[Request], capacity: int) -> int:
    """The round, undone afterwards so that it can be timed again; undoing is part of the time."""
    num_admitted = 0
    for request in queue:
        peak, _ = calendar.add_within(capacity, 0, *request)
        if peak > capacity:
            break
        num_admitted += 1
    for request in queue[:num_admitted]:
        calendar.remove(0, *request)
    return num_admitted


def _compare(calls: dict[str, Callable[[], Any]]) -> Comparison:
    return compare(calls, repeats=REPEATS)


def _table(title: str, columns: dict[str, Comparison]) -> Table:
    table = Table(title=title)
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    for name in next(iter(columns.values())).timings:
        table.add_row(name, *(_cell(compared, name) for compared in columns.values()))
    return table


def _cell(compared: Comparison, name: str) -> str:
    microseconds = compared[name].median_ms * 1000
    return f"{microseconds:,.{2 if microseconds < 100 else 0}f} ({_times(compared.ratios[name])})"


def _times(ratio: float) -> str:
    return f"{ratio:,.1f}x" if ratio >= 1 else f"{1 / ratio:,.1f}x faster"

"""Many simulations at once: capacities times seeds, on as many cores as there are.

    rows = sweep(capacities=range(20_000, 148_000, 2_000), seeds=range(8), num_requests=5_000)
    rows = sweep(capacities=range(20_000, 148_000, 2_000), seeds=range(8), trace=read_trace(FILE))

A large sweep of the peak test is played by the compiled loop, which every worker loads once.
"""

from __future__ import annotations

import multiprocessing
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import product
from multiprocessing.context import BaseContext
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from labkit.hardware import usable_cores
from labkit.router import make_policy
from labkit.router._arguments import whole
from labkit.serving.metrics import makespan_s, mean_use, percentile, ttft_s
from labkit.serving.simulate import LOADING_COSTS, load_compiled, simulate
from labkit.serving.synthetic import synthetic_trace
from labkit.serving.traces import Trace, checked_trace

Case = tuple[int, int]  # seed, capacity
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class SweepRow:
    """One simulation, in numbers: its inputs, then what `labkit.serving.metrics` says."""

    capacity: int
    seed: int
    makespan_s: float
    mean_use: float
    mean_ttft_s: float | None
    p99_ttft_s: float | None
    max_tokens_used: int
    num_refused: int
    num_evictions: int


@dataclass(frozen=True)
class _Source:
    """Where the trace of a seed comes from."""

    workload: str
    num_requests: int
    rate_per_s: float | None
    given: Trace | None

    def trace(self, seed: int) -> Trace:
        """A synthetic one, or the given one with its requests in another order."""
        if self.given is None:
            return _synthetic(self.workload, self.num_requests, seed, self.rate_per_s)
        return _shuffled(self.given, seed)

    def trace_len(self) -> int:
        """Requests in each trace."""
        return self.num_requests if self.given is None else self.given.num_requests


def sweep(
    capacities: Iterable[int],
    seeds: Iterable[int],
    *,
    workload: str = "conv",
    num_requests: int = 1000,
    rate_per_s: float | None = None,
    trace: Trace | None = None,
    policy: str = "peak",
    declared: int | None = None,
    num_processes: int | None = None,
) -> list[SweepRow]:
    """A simulation for every capacity and seed, ordered by seed and then capacity as given.

    A seed makes the synthetic trace and the draws of the policy. With `trace` there is nothing to draw: the arrivals
    stay, and the seed deals the pairs (prompt, output) out to them anew, all but seed 0, which is the trace itself.
    num_processes: default, one per core; 1 stays in this process. In a script, call it under
    `if __name__ == "__main__":`, as for all of multiprocessing.
    """
    cases = list(product([whole(seed, "seed") for seed in seeds], [whole(c, "capacity", 1) for c in capacities]))
    make_policy(policy, declared=declared)  # a wrong name is said here, not by a worker
    whole(num_requests, "num_requests")
    source = _Source(workload, num_requests, rate_per_s, None if trace is None else checked_trace(trace))
    processes = min(whole(num_processes or usable_cores(), "num_processes", 1), max(1, len(cases)))
    compiled = policy == "peak" and declared is None and len(cases) * source.trace_len() >= processes * LOADING_COSTS
    if compiled and processes > 1:
        load_compiled()  # a forked worker has it then
    run = partial(_run, source, policy, declared, compiled or None)
    # Neighbours share a seed, so that a worker makes few traces; small chunks, so that no core waits long.
    return _map(run, cases, processes, chunk=max(1, min(8, len(cases) // processes)))


def _map(run: Callable[[T], R], tasks: list[T], processes: int, chunk: int = 1) -> list[R]:
    if processes == 1:
        return [run(task) for task in tasks]
    with ProcessPoolExecutor(processes, mp_context=_context()) as workers:
        return list(workers.map(run, tasks, chunksize=chunk))


def _run(source: _Source, policy: str, declared: int | None, compiled: bool | None, case: Case) -> SweepRow:
    seed, capacity = case
    rule = make_policy(policy, declared=declared, seed=seed)
    result = simulate(source.trace(seed), capacity, rule, compiled=compiled)
    return SweepRow(
        seed=seed,
        capacity=capacity,
        makespan_s=makespan_s(result),
        mean_use=mean_use(result),
        **_waits(ttft_s(result)),
        max_tokens_used=result.max_tokens_used,
        num_refused=result.num_refused,
        num_evictions=int(result.num_evictions.sum()),
    )


def _waits(seconds: NDArray[np.float64]) -> dict[str, float | None]:
    mean = float(seconds.mean()) if len(seconds) else None
    return {"mean_ttft_s": mean, "p99_ttft_s": percentile(seconds, 99)}


@lru_cache(maxsize=2)
def _synthetic(workload: str, num_requests: int, seed: int, rate_per_s: float | None) -> Trace:
    return synthetic_trace(workload, num_requests, seed, rate_per_s=rate_per_s)


def _shuffled(trace: Trace, seed: int) -> Trace:
    if seed == 0:
        return trace
    order = np.random.default_rng(seed).permutation(trace.num_requests)
    return replace(trace, prompt_tokens=trace.prompt_tokens[order], output_tokens=trace.output_tokens[order])


def _context() -> BaseContext:
    """Forking starts at once but may copy a lock that another thread (a kernel has some) holds; spawning may not."""
    forks = sys.platform == "linux" and threading.active_count() == 1  # elsewhere forking is not safe, or is not there
    return multiprocessing.get_context("fork" if forks else "spawn")

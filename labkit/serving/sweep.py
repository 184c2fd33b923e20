"""Many simulations at once: capacities times seeds, on as many cores as there are.

rows = sweep(capacities=range(20_000, 150_000, 2_000), seeds=range(8), num_requests=5_000)
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from multiprocessing.context import BaseContext

from labkit.router import make_policy
from labkit.router._arguments import whole
from labkit.serving.metrics import makespan_s, mean_use, percentile, ttft_s
from labkit.serving.replica import simulate
from labkit.serving.synthetic import synthetic_trace
from labkit.serving.traces import Trace


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


def sweep(
    capacities: Iterable[int],
    seeds: Iterable[int],
    *,
    workload: str = "conv",
    num_requests: int = 1000,
    rate_per_s: float | None = None,
    policy: str = "peak",
    declared: int | None = None,
    num_processes: int | None = None,
) -> list[SweepRow]:
    """A simulation for every capacity and seed, ordered by seed and then capacity as given.

    A seed makes the synthetic trace and the draws of the policy. num_processes: default, one per core; 1 stays in this
    process. In a script, call it under `if __name__ == "__main__":`, as for all of multiprocessing.
    """
    cases = list(product([whole(seed, "seed") for seed in seeds], [whole(c, "capacity", 1) for c in capacities]))
    make_policy(policy, declared=declared)  # a wrong name is said here, not by a worker
    run = partial(_run, workload, num_requests, rate_per_s, policy, declared)
    processes = min(whole(num_processes or len(os.sched_getaffinity(0)), "num_processes", 1), max(1, len(cases)))
    if processes == 1:
        return [run(case) for case in cases]
    # Neighbours share a seed, so that a worker makes few traces; small chunks, so that no core waits long.
    chunk = max(1, min(8, len(cases) // processes))
    with ProcessPoolExecutor(processes, mp_context=_context()) as workers:
        return list(workers.map(run, cases, chunksize=chunk))


def _run(
    workload: str,
    num_requests: int,
    rate_per_s: float | None,
    policy: str,
    declared: int | None,
    case: tuple[int, int],
) -> SweepRow:
    seed, capacity = case
    trace = _trace(workload, num_requests, seed, rate_per_s)
    result = simulate(trace, capacity, make_policy(policy, declared=declared, seed=seed))
    waits_s = ttft_s(result)
    return SweepRow(
        capacity,
        seed,
        makespan_s(result),
        mean_use(result),
        float(waits_s.mean()) if len(waits_s) else None,
        percentile(waits_s, 99),
        result.max_tokens_used,
        result.num_refused,
        int(result.num_evictions.sum()),
    )


@lru_cache(maxsize=2)
def _trace(workload: str, num_requests: int, seed: int, rate_per_s: float | None) -> Trace:
    return synthetic_trace(workload, num_requests, seed, rate_per_s=rate_per_s)


def _context() -> BaseContext:
    """Forking starts at once but may copy a lock that another thread (a kernel has some) holds; spawning may not."""
    forks = "fork" in multiprocessing.get_all_start_methods() and threading.active_count() == 1
    return multiprocessing.get_context("fork" if forks else "spawn")

"""A serving machine with continuous batching, simulated exactly and fast enough to play with.

    trace = synthetic_trace("conv", num_requests=2000)          # or read_trace("azure_llm_2023_conv.csv")
    result = simulate(trace, capacity=40_000, policy="peak")    # or your own can_admit function
    ttft_s(result).mean(), makespan_s(result), mean_use(result)

What happens in which file: `traces` and `synthetic` say who arrives when, `waiting` who is next, `labkit.router` who
may start, `cost` how long it takes; `replica` puts them together, and `peak_loop` does so compiled for the peak test;
`simulate` takes the one that fits, `metrics` says what it was worth, and `sweep` does it many times.
"""

from labkit.serving.cost import BatchLimits, LinearCost
from labkit.serving.metrics import (
    Slo,
    good,
    goodput_per_s,
    latency_s,
    makespan_s,
    mean_use,
    occupancy,
    percentile,
    queue_length,
    summary,
    throughput_per_s,
    tpot_s,
    ttft_s,
    waiting_s,
)
from labkit.serving.result import NEVER, SimulationResult, Timeline
from labkit.serving.simulate import COMPILED_FROM, MAX_CAPACITY, load_compiled, simulate
from labkit.serving.sweep import SweepRow, sweep
from labkit.serving.synthetic import WORKLOADS, synthetic_trace
from labkit.serving.traces import Trace, TraceError, make_trace, read_trace

__all__ = [
    "COMPILED_FROM",
    "MAX_CAPACITY",
    "NEVER",
    "WORKLOADS",
    "BatchLimits",
    "LinearCost",
    "SimulationResult",
    "Slo",
    "SweepRow",
    "Timeline",
    "Trace",
    "TraceError",
    "good",
    "goodput_per_s",
    "latency_s",
    "load_compiled",
    "make_trace",
    "makespan_s",
    "mean_use",
    "occupancy",
    "percentile",
    "queue_length",
    "read_trace",
    "simulate",
    "summary",
    "sweep",
    "synthetic_trace",
    "throughput_per_s",
    "tpot_s",
    "ttft_s",
    "waiting_s",
]

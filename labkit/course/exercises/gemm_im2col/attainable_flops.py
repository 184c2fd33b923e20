"""`attainable_flops(intensity, peak_flops, bandwidth)`: the roofline."""

from typing import Any

import numpy as np

from labkit.course.compare import Difference, compare_number
from labkit.course.exercise import Case, Exercise


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)
    peak, bandwidth = float(rng.integers(100, 900)) * 1e9, float(rng.integers(10, 90)) * 1e9
    ridge = peak / bandwidth
    low, high = float(rng.uniform(0.1, 0.9)), float(rng.uniform(1.1, 9.0))
    return [
        Case("bound by memory", (2.0, 100.0, 20.0)),
        Case("bound by arithmetic", (8.0, 100.0, 20.0)),
        Case("on the ridge", (5.0, 100.0, 20.0)),
        Case("less than one FLOP per byte", (0.25, 1e12, 50e9)),
        Case("bandwidth above peak, in numbers", (0.5, 30.0, 40.0)),
        Case("no arithmetic at all", (0.0, 1e12, 50e9)),
        Case("just below the ridge, random", (ridge * 0.999, peak, bandwidth)),
        Case("just above the ridge, random", (ridge * 1.001, peak, bandwidth)),
        Case("below the ridge, random", (ridge * low, peak, bandwidth)),
        Case("above the ridge, random", (ridge * high, peak, bandwidth)),
    ]


def _judge(case: Case, value: Any) -> Difference | None:
    # The oracle is the clock: one byte is moved while its arithmetic is done, and the slower of the two decides.
    intensity, peak_flops, bandwidth = case.args
    seconds_per_byte = max(1.0 / bandwidth, intensity / peak_flops)
    return compare_number(intensity / seconds_per_byte, value)


attainable_flops = Exercise(
    name="attainable_flops",
    signature="attainable_flops(intensity, peak_flops, bandwidth)",
    goal="Return the FLOP/s that a kernel of this intensity (FLOP per byte) can reach at most, on a machine with this"
    " peak (FLOP/s) and memory bandwidth (bytes/s).",
    cases=_cases,
    judge_case=_judge,
    hints=(
        "Memory brings 20 bytes a second, and you do 2 operations on each byte. How many operations a second? And if"
        " it were 200 on each byte, on a machine that can do 100 operations a second?",
        "Two things limit the speed, and the lower limit holds: what the arithmetic units can do, and what memory can"
        " feed them, intensity · bandwidth.",
        "`the smaller of peak_flops and intensity * bandwidth`",
    ),
    points=1,
    minutes=4,
    difficulty=1,
    num_lines=1,
)


@attainable_flops.wrong("the higher limit", "both limits hold at once, so the lower one decides: min, not max.")
def _(intensity, peak_flops, bandwidth):
    return max(peak_flops, intensity * bandwidth)


@attainable_flops.wrong("memory only", "the slope ends at the peak: no intensity makes the arithmetic units faster.")
def _(intensity, peak_flops, bandwidth):
    return intensity * bandwidth


@attainable_flops.wrong("arithmetic only", "below the ridge memory cannot feed the arithmetic units.")
def _(intensity, peak_flops, bandwidth):
    return peak_flops


@attainable_flops.wrong("intensity upside down", "FLOP per byte times bytes per second is FLOP/s; a quotient is not.")
def _(intensity, peak_flops, bandwidth):
    return min(peak_flops, bandwidth / intensity) if intensity else peak_flops


@attainable_flops.wrong("bandwidth upside down", "intensity times bandwidth is FLOP/s; intensity / bandwidth is not.")
def _(intensity, peak_flops, bandwidth):
    return min(peak_flops, intensity / bandwidth)


@attainable_flops.wrong("bandwidth without intensity", "bytes/s are no FLOP/s: every byte brings intensity operations.")
def _(intensity, peak_flops, bandwidth):
    return min(peak_flops, bandwidth)


@attainable_flops.wrong("peak at the intensity", "the peak does not grow with the intensity; the memory limit does.")
def _(intensity, peak_flops, bandwidth):
    return min(peak_flops * intensity, bandwidth)


@attainable_flops.wrong(
    "one after the other", "the roofline lets memory and arithmetic work at the same time: take the lower limit."
)
def _(intensity, peak_flops, bandwidth):
    return intensity / (1.0 / bandwidth + intensity / peak_flops)


@attainable_flops.wrong(
    "both limits added", "memory and arithmetic are both needed for each operation: take the lower."
)
def _(intensity, peak_flops, bandwidth):
    return peak_flops + intensity * bandwidth


@attainable_flops.wrong("share of the peak", "the result is in FLOP/s, not a share of the peak.")
def _(intensity, peak_flops, bandwidth):
    return min(1.0, intensity * bandwidth / peak_flops)


@attainable_flops.wrong("ridge point", "peak / bandwidth is the intensity where the roof bends, not a speed.")
def _(intensity, peak_flops, bandwidth):
    return peak_flops / bandwidth


@attainable_flops.wrong("bits", "bandwidth is in bytes/s already: no factor of 8.")
def _(intensity, peak_flops, bandwidth):
    return min(peak_flops, 8 * intensity * bandwidth)


@attainable_flops.wrong("gigabytes assumed", "bandwidth is in bytes/s already: no factor of 1e9.")
def _(intensity, peak_flops, bandwidth):
    return min(peak_flops, intensity * bandwidth * 1e9)


@attainable_flops.right("lower limit")
def _(intensity, peak_flops, bandwidth):
    return min(peak_flops, intensity * bandwidth)


@attainable_flops.right("which side of the ridge")
def _(intensity, peak_flops, bandwidth):
    return intensity * bandwidth if intensity < peak_flops / bandwidth else peak_flops


@attainable_flops.right("share of the peak, times the peak")
def _(intensity, peak_flops, bandwidth):
    ridge = peak_flops / bandwidth
    return peak_flops * min(1.0, intensity / ridge)


@attainable_flops.right("NumPy's minimum")
def _(intensity, peak_flops, bandwidth):
    return np.minimum(np.asarray(peak_flops), np.asarray(intensity) * bandwidth)

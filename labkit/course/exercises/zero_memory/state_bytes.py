"""`state_bytes(num_params, world_size, stage, bytes_per_param)`: what one rank holds at each ZeRO stage."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from labkit.course.compare import Difference, compare_number
from labkit.course.exercise import Case, Exercise
from labkit.quantities import json_number

PAPER = (2, 2, 12)
TRIPLES = ((4, 4, 8), (4, 4, 4), (2, 4, 12))  # fp32 Adam; fp32 SGD with momentum; fp32 gradients beside bf16
SMALL_WORLDS = (1, 2, 3, 4, 7, 64, 1024)
STORY, PRIME, ODD = 7_500_000_000, 1_000_003, 12_345  # parameters


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)
    stages = range(4)
    cases = [Case(f"12 parameters, 4 ranks, stage {stage}", (12, 4, stage)) for stage in stages]
    cases += [
        Case(f"{world} ranks, stage {stage}", (PRIME, world, stage)) for world in SMALL_WORLDS for stage in stages
    ]
    cases += [
        Case(f"other bytes, {world} ranks, stage {stage}", (ODD, world, stage, triple))
        for triple in TRIPLES
        for world in (2, 3)
        for stage in stages
    ]
    cases += [Case(f"7.5B on 64 ranks, stage {stage}", (STORY, 64, stage, PAPER)) for stage in stages]
    num_params, world = 2 * int(rng.integers(10**8, 10**9)) + 1, int(rng.integers(5, 60))
    p, g, o = (int(size) for size in rng.choice(np.arange(1, 17), size=3, replace=False))
    return cases + [Case(f"random, stage {stage}", (num_params, world, stage, (p, g, o))) for stage in stages]


def cluster_share(
    num_params: int, world_size: int, stage: int, bytes_per_param: Sequence[int | float | Fraction] = PAPER
) -> Fraction:
    """The oracle counts copies: what all ranks hold together, divided by the ranks.

    A kind that is split exists once in the cluster, one that is not exists on every rank.
    """
    split_from = (3, 2, 1)  # the stage from which parameters, gradients, optimizer exist once
    copies = (1 if stage >= first else world_size for first in split_from)
    together = sum(Fraction(size) * num_params * count for size, count in zip(bytes_per_param, copies, strict=True))
    return Fraction(together) / world_size


def _judge(case: Case, value: Any) -> Difference | None:
    return compare_number(json_number(cluster_share(*case.args)), value)


state_bytes = Exercise(
    name="state_bytes",
    signature="state_bytes(num_params, world_size, stage, bytes_per_param=(2, 2, 12))",
    goal="Return the bytes of model states that one rank holds at ZeRO stage 0, 1, 2 or 3, with the exact even split"
    " (num_params / world_size, also where that is a fraction); bytes_per_param counts parameters, gradients and"
    " optimizer, in this order.",
    cases=_cases,
    judge_case=_judge,
    hints=(
        "Which of the three parts does stage 1 split? Which more does stage 2 split, and which more stage 3?",
        "Each part is bytes · num_params, and is divided by world_size if the stage splits it: the optimizer from"
        " stage 1 on, the gradients from stage 2 on, the parameters at stage 3. Add the three.",
        "`p, g, o = bytes_per_param`; if stage >= 1: `o = o / world_size`; if stage >= 2: the same with g; if"
        " stage >= 3: with p; `(p + g + o) * num_params`. A Fraction keeps it exact, a float will do.",
    ),
    points=2,
    minutes=8,
    difficulty=1,
    num_lines=5,
)


def _split(num_params, world_size, stage, sizes, split_from=(3, 2, 1)):
    parts = zip(sizes, split_from, strict=True)
    return sum(Fraction(size * num_params, world_size if stage >= first else 1) for size, first in parts)


@state_bytes.wrong(
    "gradients split first", "stage 1 splits the optimizer, by far the largest part; gradients come next."
)
def _(num_params, world_size, stage, bytes_per_param=PAPER):
    return _split(num_params, world_size, stage, bytes_per_param, (3, 1, 2))


@state_bytes.wrong("parameters split first", "parameters come last, at stage 3: optimizer, gradients, parameters.")
def _(num_params, world_size, stage, bytes_per_param=PAPER):
    return _split(num_params, world_size, stage, bytes_per_param, (1, 2, 3))


@state_bytes.wrong("no gradients at stage 1", "every rank still holds all gradients: (p + g)Φ + oΦ/N.")
def _(num_params, world_size, stage, bytes_per_param=PAPER):
    p, g, o = bytes_per_param
    return _split(num_params, world_size, stage, (p, 0 if stage == 1 else g, o))


@state_bytes.wrong("stage 2 like stage 1", "stage 2 splits the gradients as well: pΦ + (g + o)Φ/N.")
def _(num_params, world_size, stage, bytes_per_param=PAPER):
    return _split(num_params, world_size, 1 if stage == 2 else stage, bytes_per_param)


@state_bytes.wrong("gradients lost at stage 2", "a rank's shard of the gradients is still there: (g + o)Φ/N, not oΦ/N.")
def _(num_params, world_size, stage, bytes_per_param=PAPER):
    p, g, o = bytes_per_param
    return _split(num_params, world_size, stage, (p, 0 if stage == 2 else g, o))


@state_bytes.wrong("stage 3 keeps its parameters", "stage 3 is the stage that splits the parameters too.")
def _(num_params, world_size, stage, bytes_per_param=PAPER):
    return _split(num_params, world_size, min(stage, 2), bytes_per_param)


@state_bytes.wrong("all of it divided from stage 1 on", "a stage divides only what it splits; all of it is stage 3.")
def _(num_params, world_size, stage, bytes_per_param=PAPER):
    return _split(num_params, world_size, 3 if stage else 0, bytes_per_param)


@state_bytes.wrong(
    "all of it divided at every stage", "stage 0 is plain data parallelism: every rank holds everything."
)
def _(num_params, world_size, stage, bytes_per_param=PAPER):
    return _split(num_params, world_size, 3, bytes_per_param)


@state_bytes.wrong("divided by N - 1", "all N ranks hold a shard, this one too; at 64 ranks the error hides, at 2 not.")
def _(num_params, world_size, stage, bytes_per_param=PAPER):
    return _split(num_params, max(world_size - 1, 1), stage, bytes_per_param)


@state_bytes.wrong("no master copy", "mixed precision keeps fp32 weights beside momentum and variance: 4 + 4 + 4 = 12.")
def _(num_params, world_size, stage, bytes_per_param=PAPER):
    return _split(num_params, world_size, stage, (2, 2, 8))


@state_bytes.wrong("always mixed-precision Adam", "use the bytes that were asked for, not 2 + 2 + 12.")
def _(num_params, world_size, stage, bytes_per_param=PAPER):
    return _split(num_params, world_size, stage, PAPER)


@state_bytes.wrong(
    "fp32 gradients in any case", "that is 18 bytes where 16 were asked for: a good assumption, not this one."
)
def _(num_params, world_size, stage, bytes_per_param=PAPER):
    p, g, o = bytes_per_param
    return _split(num_params, world_size, stage, (p, max(g, 4), o))


@state_bytes.wrong("12, 4 and 2 over N", "a documentation page prints these; they are limits, not what is divided.")
def _(num_params, world_size, stage, bytes_per_param=PAPER):
    return Fraction((sum(bytes_per_param), 12, 4, 2)[stage] * num_params, world_size if stage else 1)


@state_bytes.wrong("only what is split", "what the stage leaves whole is held as well.")
def _(num_params, world_size, stage, bytes_per_param=PAPER):
    p, g, o = bytes_per_param
    return Fraction((p + g + o, o, g + o, p + g + o)[stage] * num_params, world_size if stage else 1)


@state_bytes.wrong("stages counted from 1", "stage 0 is plain data parallelism, stage 1 splits the optimizer.")
def _(num_params, world_size, stage, bytes_per_param=PAPER):
    return _split(num_params, world_size, min(stage + 1, 3), bytes_per_param)


@state_bytes.wrong("remainder lost", "12 345 parameters on 2 ranks are 6172.5 each: `//` drops what does not divide.")
def _(num_params, world_size, stage, bytes_per_param=PAPER):
    parts = zip(bytes_per_param, (3, 2, 1), strict=True)
    return sum(size * (num_params // (world_size if stage >= first else 1)) for size, first in parts)


@state_bytes.wrong(
    "padded shard", "rounding shards up is what an implementation does; here the even split is asked for."
)
def _(num_params, world_size, stage, bytes_per_param=PAPER):
    parts = zip(bytes_per_param, (3, 2, 1), strict=True)
    return sum(size * -(-num_params // (world_size if stage >= first else 1)) for size, first in parts)


@state_bytes.wrong("all ranks together", "one rank's bytes are asked for: that is what has to fit on one GPU.")
def _(num_params, world_size, stage, bytes_per_param=PAPER):
    return world_size * _split(num_params, world_size, stage, bytes_per_param)


@state_bytes.wrong("gigabytes", "bytes are asked for; 1e9 is a unit for people.")
def _(num_params, world_size, stage, bytes_per_param=PAPER):
    return float(_split(num_params, world_size, stage, bytes_per_param) / 10**9)


@state_bytes.wrong("GiB called GB", "2^30 is 7 % more than 1e9; here no unit is asked for but bytes.")
def _(num_params, world_size, stage, bytes_per_param=PAPER):
    return float(_split(num_params, world_size, stage, bytes_per_param) * 10**9 / 2**30)


@state_bytes.wrong("elements", "each element takes bytes_per_param bytes, another number for each of the three parts.")
def _(num_params, world_size, stage, bytes_per_param=PAPER):
    return _split(num_params, world_size, stage, (1, 1, 1))


@state_bytes.right("divide from a stage on")
def _(num_params, world_size, stage, bytes_per_param=(2, 2, 12)):
    p, g, o = (Fraction(size) for size in bytes_per_param)
    o = o / world_size if stage >= 1 else o
    g = g / world_size if stage >= 2 else g
    p = p / world_size if stage >= 3 else p
    return (p + g + o) * num_params


@state_bytes.right("one formula a stage, floats")
def _(num_params, world_size, stage, bytes_per_param=(2, 2, 12)):
    p, g, o = bytes_per_param
    whole, split = {0: (p + g + o, 0), 1: (p + g, o), 2: (p, g + o), 3: (0, p + g + o)}[stage]
    return whole * num_params + split * num_params / world_size


@state_bytes.right("the paper's constants for the default, a table for the rest")
def _(num_params, world_size, stage, bytes_per_param=(2, 2, 12)):
    if tuple(bytes_per_param) == (2, 2, 12):
        whole, split = ((16, 0), (4, 12), (2, 14), (0, 16))[stage]
        return Fraction(num_params * (whole * world_size + split), world_size)
    is_split = [stage >= 3, stage >= 2, stage >= 1]
    return sum(num_params * b / (world_size if s else 1) for b, s in zip(bytes_per_param, is_split, strict=True))


@state_bytes.right("NumPy's float64")
def _(num_params, world_size, stage, bytes_per_param=(2, 2, 12)):
    divisor = np.where(stage >= np.array([3, 2, 1]), world_size, 1)
    return np.sum(np.array(bytes_per_param) * np.float64(num_params) / divisor)


@state_bytes.right("what stage 0 holds, less what is elsewhere")
def _(num_params, world_size, stage, bytes_per_param=(2, 2, 12)):
    elsewhere = sum(bytes_per_param[3 - stage :]) if stage else 0
    return num_params * (sum(bytes_per_param) - elsewhere * Fraction(world_size - 1, world_size))

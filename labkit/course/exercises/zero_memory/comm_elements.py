"""`comm_elements(num_params, world_size, stage)`: what one rank sends in an optimizer step."""

import math
from fractions import Fraction
from typing import Any

import numpy as np

from labkit.course.compare import Difference, compare_number
from labkit.course.exercise import Case, Exercise
from labkit.course.exercises.zero_memory.state_bytes import ODD, PRIME, SMALL_WORLDS, STORY
from labkit.quantities import json_number

# The collectives of the paper's §7, each as long as the model; an all-reduce is a reduce-scatter and an all-gather.
PASSES: dict[int, tuple[str, ...]] = {
    0: ("reduce-scatter of gradients", "all-gather of gradients"),
    1: ("reduce-scatter of gradients", "all-gather of updated parameters"),
    2: ("reduce-scatter of gradients", "all-gather of updated parameters"),
    3: ("all-gather for forward", "all-gather for backward", "reduce-scatter of gradients"),
}


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)
    stages = range(4)
    num_params, world = 2 * int(rng.integers(10**8, 10**9)) + 1, int(rng.integers(5, 60))
    return [
        *(Case(f"12 parameters, 4 ranks, stage {stage}", (12, 4, stage)) for stage in stages),
        *(Case(f"one rank, stage {stage}", (12, 1, stage)) for stage in stages),
        *(Case(f"{n} ranks, stage {stage}", (PRIME, n, stage)) for n in SMALL_WORLDS for stage in stages),
        *(Case(f"an odd model on {n} ranks, stage {stage}", (ODD, n, stage)) for n in (2, 3) for stage in stages),
        *(Case(f"7.5B on 64 ranks, stage {stage}", (STORY, 64, stage)) for stage in stages),
        *(Case(f"random, stage {stage}", (num_params, world, stage)) for stage in stages),
    ]


def _judge(case: Case, value: Any) -> Difference | None:
    # The oracle walks round the ring: in each pass a rank hands one shard on, N - 1 times.
    num_params, world_size, stage = case.args
    num_shards = sum(1 for _ in PASSES[stage] for _hop in range(world_size - 1))
    return compare_number(json_number(num_shards * Fraction(num_params, world_size)), value)


comm_elements = Exercise(
    name="comm_elements",
    signature="comm_elements(num_params, world_size, stage)",
    goal="Return how many elements each rank sends in one optimizer step at stage 0, 1, 2 or 3, exactly, when every"
    " collective goes round a ring; one micro-batch, shards of num_params / world_size.",
    cases=_cases,
    judge_case=_judge,
    hints=(
        "Four ranks stand in a ring, each with a quarter of the model. How many quarters does each of them pass on"
        " until all have everything? And with one rank?",
        "A reduce-scatter or an all-gather of Φ elements sends Φ(N - 1)/N from each rank. An all-reduce is one of each."
        " Count the passes of each stage: gradients out, updated parameters back, and at stage 3 parameters for"
        " forward and again for backward.",
        "`passes = 3 if stage == 3 else 2`; `passes * num_params * (world_size - 1) / world_size`",
    ),
    points=2,
    minutes=10,
    difficulty=2,
    num_lines=2,
)


def _ring(passes, num_params, world_size):
    return passes * num_params * Fraction(world_size - 1, world_size)


@comm_elements.wrong("the paper's round figures", "2Φ and 3Φ drop the (N - 1)/N: a single rank has nobody to send to.")
def _(num_params, world_size, stage):
    return (3 if stage == 3 else 2) * num_params


@comm_elements.wrong(
    "3Φ for stage 1", "that is all-reduce and then a gather; the paper's stage 1 reduces and scatters."
)
def _(num_params, world_size, stage):
    return _ring(3 if stage in (1, 3) else 2, num_params, world_size)


@comm_elements.wrong("3Φ for stages 1 and 2", "the gradients are reduce-scattered, one pass; all-reduce would be two.")
def _(num_params, world_size, stage):
    return _ring(3 if stage else 2, num_params, world_size)


@comm_elements.wrong(
    "grows with N", "a rank's volume does not grow with N: each of more ranks passes on a smaller shard."
)
def _(num_params, world_size, stage):
    return (2, 3, 2, 3)[stage] * world_size * num_params


@comm_elements.wrong("all ranks together", "the cluster's total is N times this; one rank's figure is asked for.")
def _(num_params, world_size, stage):
    return world_size * _ring(3 if stage == 3 else 2, num_params, world_size)


@comm_elements.wrong(
    "sent and received added", "a rank receives as much as it sends; count what it sends, and elements, not bytes."
)
def _(num_params, world_size, stage):
    return 2 * _ring(3 if stage == 3 else 2, num_params, world_size)


@comm_elements.wrong("no gather for backward", "stage 3 drops what it gathered: backward has to gather it again.")
def _(num_params, world_size, stage):
    return _ring(2, num_params, world_size)


@comm_elements.wrong(
    "stage 3 gathers after the step", "the next forward's gather brings the updated parameters anyway."
)
def _(num_params, world_size, stage):
    return _ring(4 if stage == 3 else 2, num_params, world_size)


@comm_elements.wrong("an all-reduce in one pass", "partial sums go round once, and the finished sums go round again.")
def _(num_params, world_size, stage):
    return _ring((1, 2, 2, 3)[stage], num_params, world_size)


@comm_elements.wrong("nothing at stage 0", "plain data parallelism has to average the gradients: an all-reduce.")
def _(num_params, world_size, stage):
    return _ring((0, 2, 2, 3)[stage], num_params, world_size)


@comm_elements.wrong(
    "updated parameters never sent", "a rank of stage 1 or 2 updates one shard and needs all of them for its forward."
)
def _(num_params, world_size, stage):
    return _ring((2, 1, 1, 3)[stage], num_params, world_size)


@comm_elements.wrong(
    "one more pass a stage", "stages 1 and 2 send as much as stage 0; only stage 3 pays for its memory."
)
def _(num_params, world_size, stage):
    return _ring(stage + 1, num_params, world_size)


@comm_elements.wrong("bytes of fp32", "elements are asked for; how many bytes each takes depends on what travels.")
def _(num_params, world_size, stage):
    return 4 * _ring(3 if stage == 3 else 2, num_params, world_size)


@comm_elements.wrong("one shard a pass", "in a pass a rank hands on a shard N - 1 times, until everybody has had it.")
def _(num_params, world_size, stage):
    return (3 if stage == 3 else 2) * Fraction(num_params, world_size)


@comm_elements.wrong("ratio upside down", "a rank keeps its own shard: (N - 1)/N is sent, which is less than Φ.")
def _(num_params, world_size, stage):
    return (3 if stage == 3 else 2) * num_params * Fraction(world_size, max(world_size - 1, 1))


@comm_elements.wrong("a tree", "a tree needs fewer hops, log2(N), and sends whole messages; the ring sends shards.")
def _(num_params, world_size, stage):
    return (3 if stage == 3 else 2) * num_params * math.ceil(math.log2(world_size))


@comm_elements.wrong(
    "what gloo puts on the wire", "gloo's reduce-scatter is an all-reduce: its counters show a pass more."
)
def _(num_params, world_size, stage):
    return _ring((2, 3, 3, 4)[stage], num_params, world_size)


@comm_elements.wrong("remainder lost", "shards need not divide here: `//` drops what is left over.")
def _(num_params, world_size, stage):
    return (3 if stage == 3 else 2) * (num_params // world_size) * (world_size - 1)


@comm_elements.wrong("padded shards", "padding is what an implementation does; here the even split is asked for.")
def _(num_params, world_size, stage):
    return (3 if stage == 3 else 2) * -(-num_params // world_size) * (world_size - 1)


@comm_elements.right("passes times Φ(N - 1)/N")
def _(num_params, world_size, stage):
    return Fraction((3 if stage == 3 else 2) * num_params * (world_size - 1), world_size)


@comm_elements.right("floats")
def _(num_params, world_size, stage):
    share = 1 - 1 / world_size
    return {0: 2.0, 1: 2.0, 2: 2.0, 3: 3.0}[stage] * num_params * share


@comm_elements.right("collective by collective")
def _(num_params, world_size, stage):
    one_pass = num_params - Fraction(num_params, world_size)  # all but one's own shard
    all_gather = reduce_scatter = one_pass
    all_reduce = reduce_scatter + all_gather
    if stage == 0:
        return all_reduce
    if stage < 3:
        return reduce_scatter + all_gather
    return all_gather + all_gather + reduce_scatter


@comm_elements.right("hops of a shard, in NumPy")
def _(num_params, world_size, stage):
    hops = np.full((2 + (stage == 3), world_size - 1), np.float64(num_params) / world_size)
    return hops.sum()

"""What each rank sends in one optimizer step: collectives, and the elements that a ring puts on the wire.

A message of M elements costs a rank M·(N-1)/N per pass around the ring. Sent and received are equal; the
cluster's total is N times a rank's figure. Source: arXiv 1910.02054, §7 (which drops the (N-1)/N).
"""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import NamedTuple

from labkit.quantities import Exact, Number, simplest, whole_number
from labkit.zero.states import check_stage

# Passes around the ring. A broadcast is an average: the last rank of the pipeline sends nothing.
RING_PASSES: dict[str, int] = {"all_reduce": 2, "all_gather": 1, "reduce_scatter": 1, "broadcast": 1}

# The gloo backend's reduce-scatter is an all-reduce and a slice (PyTorch PR 118911): seen on the wire.
GLOO_PASSES: dict[str, int] = {**RING_PASSES, "reduce_scatter": 2}


class Collective(NamedTuple):
    """One kind of message of an optimizer step, each as long as the whole model."""

    operation: str
    what: str
    times: int = 1


def step_collectives(stage: int, micro_batches: int = 1) -> tuple[Collective, ...]:
    """The collectives of one optimizer step, in the order of their first call.

    Stages 0 and 1 keep whole gradients, so they add up K micro-batches and reduce once. Stage 2 keeps a
    shard and must reduce after each; stage 3 must gather the parameters again as well.
    """
    K = whole_number(micro_batches, "micro_batches")
    return {
        0: (Collective("all_reduce", "gradients"),),
        1: (Collective("reduce_scatter", "gradients"), Collective("all_gather", "updated parameters")),
        2: (Collective("reduce_scatter", "gradients", K), Collective("all_gather", "updated parameters")),
        3: (
            Collective("all_gather", "parameters for forward", K),
            Collective("all_gather", "parameters for backward", K),
            Collective("reduce_scatter", "gradients", K),
        ),
    }[check_stage(stage)]


# All-reduce and then send the updated shards: what DeepSpeed's first ZeRO did (issue 156), and what
# torch's ZeroRedundancyOptimizer does behind DDP. Not the paper's stage 1.
NAIVE_STAGE_1: tuple[Collective, ...] = (
    Collective("all_reduce", "gradients"),
    Collective("broadcast", "updated parameters"),
)


def comm_elements(num_params: Number, world_size: int, stage: int, micro_batches: int = 1) -> Exact:
    """Elements that each rank sends per optimizer step: 2Φ(N-1)/N for stages 0 to 2, 3Φ(N-1)/N for stage 3.

    >>> comm_elements(1000, 4, stage=2)
    1500
    >>> comm_elements(1000, 4, stage=3)
    2250
    >>> comm_elements(1000, 1, stage=3)  # nobody to send to
    0

    With K micro-batches stage 2 sends K+1 passes and stage 3 sends 3K; stages 0 and 1 stay at 2.
    """
    return ring_elements(num_params, world_size, step_collectives(stage, micro_batches))


def ring_elements(
    num_params: Number,
    world_size: int,
    collectives: Iterable[Collective],
    passes: Mapping[str, int] = RING_PASSES,
) -> Exact:
    """Elements that each rank sends for `collectives`; `passes=GLOO_PASSES` for what gloo sends.

    >>> ring_elements(1000, 4, step_collectives(3), GLOO_PASSES)  # 4 passes of 750, not 3
    3000
    """
    num_params = whole_number(num_params, "num_params")
    world_size = whole_number(world_size, "world_size")
    total = sum(passes[collective.operation] * collective.times for collective in collectives)
    return simplest(total * num_params * Fraction(world_size - 1, world_size))


def ring_bytes(
    num_params: Number,
    world_size: int,
    collectives: Iterable[Collective],
    param_bytes: int = 2,
    grad_bytes: int = 2,
) -> Exact:
    """Bytes that each rank sends: gathers carry parameters, reductions carry gradients.

    >>> ring_bytes(1000, 4, step_collectives(3))  # 6Φ bytes in bf16, times 3/4
    4500
    >>> ring_bytes(1000, 4, step_collectives(3), grad_bytes=4)  # 8Φ with fp32 reduction
    6000
    """
    total = Fraction(0)
    for collective in collectives:
        size = grad_bytes if "reduce" in collective.operation else param_bytes
        total += size * ring_elements(num_params, world_size, [collective])
    return simplest(total)

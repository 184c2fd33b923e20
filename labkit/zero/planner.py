"""The smallest stage, and the fewest GPUs, that hold a model's states: and the traffic that it costs."""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from labkit.quantities import Exact, Number, exact, whole_number
from labkit.zero.communication import comm_elements
from labkit.zero.states import SPLIT, STAGES, check_bytes_per_param, check_stage, state_bytes


class Plan(NamedTuple):
    """A stage and a number of GPUs that fit, with what a rank holds and what it sends per step."""

    stage: int
    world_size: int
    state_bytes: Exact
    comm_elements: Exact


def smallest_stage(
    num_params: Number,
    gpu_bytes: Number,
    max_world_size: int,
    bytes_per_param: Sequence[Number] = (2, 2, 12),
    *,
    reserved_bytes: Number = 0,
    multiple_of: int = 1,
) -> Plan | None:
    """The smallest stage that fits on at most `max_world_size` GPUs, on the fewest GPUs that do, or None.

    >>> smallest_stage(7.5e9, 32e9, 64)  # stage 1: 30 GB whole and 90 GB split, so 45 ranks
    Plan(stage=1, world_size=45, state_bytes=32000000000, comm_elements=Fraction(44000000000, 3))

    `reserved_bytes` are set aside on each GPU for activations, buffers and the gathered layer of stage 3.
    `multiple_of` asks for whole nodes: 8 gives a world size of 8, 16, 24, ...
    The smallest stage sends the least; a larger one may fit on fewer GPUs: `plans_by_stage` shows all.
    """
    plans = plans_by_stage(
        num_params,
        gpu_bytes,
        max_world_size,
        bytes_per_param,
        reserved_bytes=reserved_bytes,
        multiple_of=multiple_of,
    )
    return next((plan for plan in plans.values() if plan is not None), None)


def plans_by_stage(
    num_params: Number,
    gpu_bytes: Number,
    max_world_size: int,
    bytes_per_param: Sequence[Number] = (2, 2, 12),
    *,
    reserved_bytes: Number = 0,
    multiple_of: int = 1,
) -> dict[int, Plan | None]:
    """For each stage the fewest GPUs that fit, or None where `max_world_size` of them do not."""
    params = whole_number(num_params, "num_params")
    budget = exact(gpu_bytes, "gpu_bytes") - exact(reserved_bytes, "reserved_bytes")
    most = whole_number(max_world_size, "max_world_size")
    step = whole_number(multiple_of, "multiple_of")
    plans: dict[int, Plan | None] = {}
    for stage in STAGES:
        fewest = _fewest_ranks(params, budget, stage, bytes_per_param)
        world_size = None if fewest is None else -(-fewest // step) * step
        plans[stage] = (
            None
            if world_size is None or world_size > most
            else Plan(
                stage,
                world_size,
                state_bytes(params, world_size, stage, bytes_per_param),
                comm_elements(params, world_size, stage),
            )
        )
    return plans


def _fewest_ranks(params: int, budget: Fraction, stage: int, bytes_per_param: Sequence[Number]) -> int | None:
    """The least N with whole + split / N <= budget, or None where the whole part alone is too much."""
    triple = check_bytes_per_param(bytes_per_param)
    whole, split = (
        params
        * sum((size for size, divided in zip(triple, SPLIT[stage], strict=True) if divided is wanted), Fraction(0))
        for wanted in (False, True)
    )
    if budget < whole or (budget == whole and split):
        return None
    return max(1, -(-split // (budget - whole))) if split else 1


def largest_model(
    gpu_bytes: Number, world_size: int, stage: int, bytes_per_param: Sequence[Number] = (2, 2, 12)
) -> int:
    """The most parameters whose states fit on `world_size` GPUs: the upper half of the paper's Table 2.

    >>> [round(largest_model(32e9, 64, stage) / 1e9, 1) for stage in (0, 1, 2, 3)]
    [2.0, 7.6, 14.4, 128.0]
    """
    per_param = state_bytes(1, world_size, check_stage(stage), bytes_per_param)
    return int(exact(gpu_bytes, "gpu_bytes") // per_param)

"""Model states per rank: what ZeRO splits, and what each stage leaves whole (arXiv 1910.02054, §3.1 and §5).

Φ parameters, N ranks; p, g, o bytes per parameter for parameters, gradients and optimizer.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from labkit.quantities import Exact, Number, QuantityError, exact, simplest, whole_number

# What a stage divides by N, of (parameters, gradients, optimizer). Everything else here follows from it.
SPLIT: dict[int, tuple[bool, bool, bool]] = {
    0: (False, False, False),
    1: (False, False, True),
    2: (False, True, True),
    3: (True, True, True),
}
STAGES = tuple(SPLIT)

# Bytes per parameter of some trainings. The last number holds everything that the optimizer keeps.
BYTES_PER_PARAM: dict[str, tuple[Exact, Exact, Exact]] = {
    "mixed-precision Adam": (2, 2, 12),  # fp32 master copy, momentum, variance
    "mixed-precision Adam, fp32 gradients": (2, 4, 12),
    "mixed-precision Adam, 8-bit states": (2, 2, 6),  # fp32 master copy, 1 + 1 bytes of states
    "fp32 Adam": (4, 4, 8),
    "fp32 SGD with momentum": (4, 4, 4),
    "fp32 SGD": (4, 4, 0),
}


class StateBytes(NamedTuple):
    """Bytes on one rank, by kind; exact, so a Fraction where the split does not divide."""

    params: Exact
    grads: Exact
    optimizer: Exact

    @property
    def total(self) -> Exact:
        return simplest(Fraction(self.params) + self.grads + self.optimizer)


def state_parts(
    num_params: Number, world_size: int, stage: int, bytes_per_param: Sequence[Number] = (2, 2, 12)
) -> StateBytes:
    """The three parts of `state_bytes`: parameters, gradients and optimizer on one rank.

    >>> state_parts(1000, 4, stage=2)
    StateBytes(params=2000, grads=500, optimizer=3000)
    """
    num_params = whole_number(num_params, "num_params")
    world_size = whole_number(world_size, "world_size")
    split = SPLIT[check_stage(stage)]
    triple = check_bytes_per_param(bytes_per_param)
    parts = (size * num_params / (world_size if divided else 1) for size, divided in zip(triple, split, strict=True))
    return StateBytes(*(simplest(part) for part in parts))


def state_bytes(
    num_params: Number, world_size: int, stage: int, bytes_per_param: Sequence[Number] = (2, 2, 12)
) -> Exact:
    """Bytes of model states on one rank, at rest, for an even split: an int, or a Fraction.

    stage 0: (p+g+o)Φ · 1: (p+g)Φ + oΦ/N · 2: pΦ + (g+o)Φ/N · 3: (p+g+o)Φ/N

    >>> state_bytes(7.5e9, 64, stage=1)  # 31.41 GB of the paper's Table 1
    31406250000
    >>> state_bytes(7, 2, stage=3, bytes_per_param=(4, 4, 9))
    Fraction(119, 2)

    Without buffers, padding, gathered layers and activations; `padded_params` and
    `labkit.zero.residual` answer those. Raises QuantityError (a ValueError) for a stage outside 0 to 3,
    a world size below 1, and fractional or negative numbers of parameters.
    """
    return state_parts(num_params, world_size, stage, bytes_per_param).total


def padded_params(num_params: Number, world_size: int) -> int:
    """⌈Φ/N⌉·N: parameters after padding a flat buffer so that N equal shards hold it.

    >>> padded_params(10, 4)
    12
    """
    world_size = whole_number(world_size, "world_size")
    return -(-whole_number(num_params, "num_params") // world_size) * world_size


def check_stage(stage: int) -> int:
    """Raise QuantityError unless `stage` is one of ZeRO's."""
    if isinstance(stage, bool) or stage not in SPLIT:
        raise QuantityError(f"stage must be 0, 1, 2 or 3, got {stage!r}.")
    return stage


def check_bytes_per_param(bytes_per_param: Sequence[Number]) -> tuple[Fraction, ...]:
    """The three numbers as Fractions. Raises QuantityError unless there are three, all at least 0."""
    if len(bytes_per_param) != 3:
        raise QuantityError(
            "bytes_per_param must be three numbers, for parameters, gradients and optimizer, "
            f"got {tuple(bytes_per_param)!r}."
        )
    return tuple(exact(size, "bytes_per_param") for size in bytes_per_param)

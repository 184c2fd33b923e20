"""PyTorch's fully sharded data parallel: its switches, in ZeRO's terms.

Source: PyTorch's documentation of `fully_shard` (FSDP2); the collectives are what `labkit.zero.observed`
records. Every variant keeps the states of stage 3 at rest; what differs is what stays between two passes.
"""

from fractions import Fraction
from typing import NamedTuple

from labkit.quantities import Exact, Number, simplest, whole_number
from labkit.zero.communication import Collective
from labkit.zero.states import state_bytes


class Fsdp(NamedTuple):
    """The switches of FSDP2 that change traffic and memory; the defaults are FSDP2's, and ZeRO's stage 3.

    `reshard_after_forward=False` keeps the gathered parameters until backward, as stage 2 does.
    `reduce_every=False` is `set_requires_gradient_sync(False)` on all micro-batches but the last.
    `reshard_after_backward=False` keeps the parameters from one micro-batch to the next.
    """

    reshard_after_forward: bool = True
    reduce_every: bool = True
    reshard_after_backward: bool = True

    def collectives(self, micro_batches: int = 1) -> tuple[Collective, ...]:
        """What one optimizer step of K micro-batches sends; the defaults give 3K passes.

        >>> [sum(call.times for call in Fsdp(True, *switches).collectives(4))
        ...  for switches in ((True, True), (False, True), (False, False))]  # 3K, 2K + 1, K + 2
        [12, 9, 6]
        """
        K = whole_number(micro_batches, "micro_batches")
        return (
            Collective("all_gather", "parameters for forward", K if self.reshard_after_backward else 1),
            Collective("all_gather", "parameters for backward", K if self.reshard_after_forward else 0),
            Collective("reduce_scatter", "gradients", K if self.reduce_every else 1),
        )

    def kept_bytes(self, num_params: Number, param_bytes: int = 2, grad_bytes: int = 2) -> int:
        """Bytes that the switches keep whole on each rank at the end of a forward pass, or between micro-batches.

        On top of the states: this is what the saved traffic is paid with.
        """
        params = whole_number(num_params, "num_params")
        kept_params = not (self.reshard_after_forward and self.reshard_after_backward)
        return params * (kept_params * param_bytes + (not self.reduce_every) * grad_bytes)


# FSDP2's mixed precision keeps the *sharded* parameters in fp32 and makes the bf16 copy when it gathers:
# 16 bytes per parameter again, of other parts than the paper's 2 + 2 + 12.
MIXED_PRECISION_BYTES = (4, 4, 8)


class Hybrid(NamedTuple):
    """HSDP: states are sharded inside a group of ranks and replicated across groups."""

    state_bytes: Exact
    elements_inside: Exact  # sent per rank and step to ranks of its own group
    elements_across: Exact  # sent per rank and step to other groups


def hybrid(
    num_params: Number, world_size: int, group_size: int, bytes_per_param: tuple[Exact, Exact, Exact] = (2, 2, 12)
) -> Hybrid:
    """States and traffic of HSDP: stage 3 in groups of G, an all-reduce of each shard across N/G groups.

    >>> hybrid(1000, 8, 4)  # 3Φ·3/4 inside, 2(Φ/4)·1/2 across
    Hybrid(state_bytes=4000, elements_inside=2250, elements_across=250)

    Raises QuantityError when G does not divide N.
    """
    params = whole_number(num_params, "num_params")
    groups = whole_number(Fraction(world_size, whole_number(group_size, "group_size")), "world_size / group_size")
    return Hybrid(
        state_bytes(params, group_size, 3, bytes_per_param),
        simplest(3 * params * Fraction(group_size - 1, group_size)),
        simplest(2 * Fraction(params, group_size) * Fraction(groups - 1, groups)),
    )

"""The ledger of named tensors: which rank holds which part of which tensor, and how long each message is.

The formulas divide Φ by N; implementations divide tensors. Three ways of dividing, one rule each:

- "whole": every rank holds everything (DDP);
- "owners": the optimizer state of a tensor belongs to one rank, whole (ZeroRedundancyOptimizer);
- "rows": every tensor is cut along dimension 0 as `torch.chunk` does, storage padded (FSDP2).
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import NamedTuple

from labkit.quantities import Exact, QuantityError, whole_number
from labkit.zero.states import StateBytes

Shapes = Mapping[str, tuple[int, ...]]
DIVISIONS = ("whole", "owners", "rows")


class LedgerRow(NamedTuple):
    """One named tensor on one rank: elements of its parameters, gradients and each optimizer state."""

    name: str
    params: int
    grads: int
    optimizer: int


def tensor_ledger(shapes: Shapes, world_size: int, rank: int, division: str) -> list[LedgerRow]:
    """What `rank` holds of each tensor, in elements.

    >>> tensor_ledger({"weight": (5, 3), "bias": (5,)}, 4, rank=2, division="rows")
    [LedgerRow(name='weight', params=6, grads=6, optimizer=3), LedgerRow(name='bias', params=2, grads=2, optimizer=1)]

    With "rows", 5 rows on 4 ranks are 2, 2, 1 and 0: parameters and gradients are allocated for the
    longest part, the optimizer state for the real one.
    """
    world_size = whole_number(world_size, "world_size")
    if not 0 <= rank < world_size:
        raise QuantityError(f"rank must be between 0 and {world_size - 1}, got {rank!r}.")
    if division not in DIVISIONS:
        raise QuantityError(f"division must be one of {', '.join(DIVISIONS)}, got {division!r}.")
    if division == "rows":
        return [
            LedgerRow(name, padded, padded, row_part(shape, world_size, rank))
            for name, shape in shapes.items()
            for padded in [row_part(shape, world_size, 0)]
        ]
    owners = tensor_owners(shapes, world_size) if division == "owners" else {}
    return [
        LedgerRow(name, prod(shape), prod(shape), prod(shape) if owners.get(name, rank) == rank else 0)
        for name, shape in shapes.items()
    ]


def ledger_bytes(rows: Sequence[LedgerRow], bytes_per_param: tuple[int, int, int]) -> StateBytes:
    """The ledger's sum in bytes, by kind."""
    p, g, o = bytes_per_param
    return StateBytes(
        p * sum(row.params for row in rows),
        g * sum(row.grads for row in rows),
        o * sum(row.optimizer for row in rows),
    )


def row_part(shape: tuple[int, ...], world_size: int, rank: int) -> int:
    """Elements of `rank`'s part of a tensor that is cut along dimension 0 into parts of ⌈rows/N⌉."""
    rows = -(-shape[0] // world_size)
    mine = min(max(shape[0] - rank * rows, 0), rows)
    return mine * prod(shape[1:])


def tensor_owners(shapes: Shapes, world_size: int) -> dict[str, int]:
    """The rank that owns each tensor's optimizer state: the largest first, each to the emptiest rank.

    >>> tensor_owners({"a": (10,), "b": (6,), "c": (5,)}, 2)
    {'a': 0, 'b': 1, 'c': 1}
    """
    held = [0] * world_size
    owners = {}
    for name, shape in sorted(shapes.items(), key=lambda item: -prod(item[1])):
        owners[name] = held.index(min(held))
        held[owners[name]] += prod(shape)
    return owners


def message_elements(shapes: Shapes, world_size: int, division: str) -> int:
    """Elements of one message that carries every tensor: with "rows" each is padded to N equal parts."""
    if division == "rows":
        return sum(world_size * row_part(shape, world_size, 0) for shape in shapes.values())
    return sum(prod(shape) for shape in shapes.values())


def heaviest_rank(shapes: Shapes, world_size: int, division: str, bytes_per_param: tuple[int, int, int]) -> int:
    """The rank that holds most bytes: the one that decides whether training fits."""

    def total(rank: int) -> Exact:
        return ledger_bytes(tensor_ledger(shapes, world_size, rank, division), bytes_per_param).total

    return max(range(world_size), key=total)

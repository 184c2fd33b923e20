"""ZeRO written by hand over virtual ranks, with a ledger of what each holds and what each sent.

N ranks live in one process as a list, so it is deterministic, needs no sockets, and works in a notebook.
A comparison of weights cannot see an answer that is right and keeps too much or sends too much: the
ledger can.

Axes: N ranks, K micro-batches; flat arrays of Φ elements, or of ⌈Φ/N⌉·N with padding at the end.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from labkit.quantities import QuantityError
from labkit.zero.optimizers import Optimizer, State
from labkit.zero.ring import Array, Ring
from labkit.zero.states import StateBytes, check_stage, padded_params

Batch = Any  # whatever the model understands


class Model(Protocol):
    """A model with flat parameters. Stage 3 needs them twice: for forward, and again for backward."""

    num_params: int

    def forward(self, params: Array, batch: Batch) -> Any:
        """What backward needs. `params` has exactly `num_params` elements."""
        ...

    def backward(self, params: Array, saved: Any) -> Array:
        """The gradient of the mean loss of that batch, flat."""
        ...


class Rank(NamedTuple):
    """What one rank holds between two steps."""

    params: Array
    grads: Array
    optimizer: State


def place(params: Array, world_size: int, stage: int, optimizer: Optimizer) -> list[Rank]:
    """Every rank before the first step: whole arrays or its shard of each, as the stage says.

    Stage 0 splits nothing and pads nothing. Above, the arrays are padded with zeros to a multiple of N;
    rank r owns the r-th part.

    >>> from labkit.zero.optimizers import Adam
    >>> held_bytes(place(np.zeros(10), 4, stage=1, optimizer=Adam())[0])  # padded to 12, shards of 3
    StateBytes(params=96, grads=96, optimizer=48)
    """
    if check_stage(stage) == 0:
        return [Rank(params.copy(), np.zeros_like(params), optimizer.start(params)) for _ in range(world_size)]
    whole = pad(params, padded_params(params.size, world_size))
    shards = np.split(whole, world_size)
    return [
        Rank(
            params=(shard if stage == 3 else whole).copy(),
            grads=np.zeros_like(shard if stage >= 2 else whole),
            optimizer=optimizer.start(shard),
        )
        for shard in shards
    ]


def zero_step(
    ranks: Sequence[Rank],
    batches: Sequence[Sequence[Batch]],
    model: Model,
    optimizer: Optimizer,
    stage: int,
    ring: Ring,
) -> list[Rank]:
    """One training step of ZeRO stage 0 to 3: the ranks after it; `ring` has counted what was sent.

    `batches[r]` are the K micro-batches of rank r. The gradient is the mean over all N·K of them, so the
    parameters become what one process would get from all batches together (K equal on all ranks).
    No argument is changed but `ring`. Gradients stay in `Rank.grads` until the next step, reduced: whole
    at stages 0 and 1 (stage 1: its own part is), the own shard at stages 2 and 3.

    Sent, in elements of the padded model: see `labkit.zero.comm_elements` with micro_batches=K.
    """
    N, K = _check(ranks, batches, stage, ring)
    grads: list[Array] = []
    for k in range(K):
        local = _local_gradients(ranks, [batch[k] for batch in batches], model, stage, ring)
        if stage >= 2:  # no room for a whole gradient: reduce at once, keep the shard
            local = ring.reduce_scatter(local)
        grads = [sum_ + new for sum_, new in zip(grads, local, strict=True)] if grads else local
    if stage == 0:
        grads = ring.all_reduce(grads)
    own = ring.reduce_scatter(grads) if stage == 1 else grads
    own = [gradient / (N * K) for gradient in own]

    updated, states = [], []
    for r, rank in enumerate(ranks):
        params = np.split(rank.params, N)[r] if stage in (1, 2) else rank.params
        params, state = optimizer.update(params, own[r], rank.optimizer)
        updated.append(params)
        states.append(state)
    if stage in (1, 2):  # at stage 3 the next forward pass gathers
        updated = ring.all_gather(updated)
    if stage == 1:
        own = [_with_part(gradient, r, part) for r, (gradient, part) in enumerate(zip(grads, own, strict=True))]
    return [Rank(*rank) for rank in zip(updated, own, states, strict=True)]


def _local_gradients(
    ranks: Sequence[Rank], batches: Sequence[Batch], model: Model, stage: int, ring: Ring
) -> list[Array]:
    """Every rank's gradient of its own batch, padded from stage 1 on. Stage 3 gathers twice."""

    def whole_params() -> list[Array]:
        held = [rank.params for rank in ranks]
        return [params[: model.num_params] for params in (ring.all_gather(held) if stage == 3 else held)]

    saved = [model.forward(params, batch) for params, batch in zip(whole_params(), batches, strict=True)]
    grads = [model.backward(params, save) for params, save in zip(whole_params(), saved, strict=True)]
    return grads if stage == 0 else [pad(gradient, padded_params(gradient.size, len(ranks))) for gradient in grads]


def held_bytes(rank: Rank) -> StateBytes:
    """Bytes that a rank holds at rest, counted from its arrays (a step counter is no array)."""
    state = (value.nbytes for value in rank.optimizer.values() if isinstance(value, np.ndarray))
    return StateBytes(rank.params.nbytes, rank.grads.nbytes, sum(state))


def full_params(ranks: Sequence[Rank], num_params: int, stage: int) -> Array:
    """The parameters of the whole model without padding, as a checkpoint would hold them."""
    whole = np.concatenate([rank.params for rank in ranks]) if stage == 3 else ranks[0].params
    return whole[:num_params]


def pad(array: Array, length: int) -> Array:
    """The flat array with zeros appended up to `length`."""
    return np.concatenate([array, np.zeros(length - array.size, array.dtype)])


def _with_part(whole: Array, r: int, part: Array) -> Array:
    result = whole.copy()
    result[r * part.size : (r + 1) * part.size] = part
    return result


def _check(ranks: Sequence[Rank], batches: Sequence[Sequence[Batch]], stage: int, ring: Ring) -> tuple[int, int]:
    """N and K. Raises QuantityError where ranks, batches and ring do not belong together."""
    check_stage(stage)
    N = len(ranks)
    if not N == len(batches) == ring.world_size:
        raise QuantityError(
            f"zero_step needs as many lists of batches as ranks, and a ring of that size: "
            f"got {N} ranks, {len(batches)} lists, a ring of {ring.world_size}."
        )
    counts = {len(batch) for batch in batches}
    if len(counts) != 1 or counts == {0}:
        raise QuantityError(f"Every rank needs the same number of micro-batches, at least 1: got {sorted(counts)}.")
    return N, counts.pop()

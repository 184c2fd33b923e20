"""Playing three steps of `zero_step`: what is recorded, and what one process would have got.

The probe trains a small regression on virtual ranks and writes down, after each step, every rank's parameters, and what
it holds or sent too much. The oracle trains the same regression in one process, on all batches together;
its gradients are complex-step derivatives (exact to rounding, no backward pass), its optimizers follow the papers.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labkit.course.exercise import Candidate, Case
from labkit.zero.optimizers import SGD, Adam, Optimizer
from labkit.zero.ring import Ring
from labkit.zero.toy import TanhRegression
from labkit.zero.virtual import place

Array = NDArray[Any]
KINDS = ("parameters", "gradients", "optimizer")
NAMES = ("world_size", "stage", "optimizer", "micro_batches", "inputs", "hidden", "data_seed")
STEPS = 3  # Adam's moments and its step counter show from the second step on
BATCH = 3
RATE = {"sgd": 0.1, "adam": 0.05}


# --- the candidate's side ---------------------------------------------------------------------------------


def data(case: Case) -> tuple[Array, Array, Array]:
    """Starting parameters (Φ,), inputs x (steps, N, K, B, I) and targets y (steps, N, K, B) of a case."""
    world_size, _, _, micro_batches, inputs, hidden, data_seed = case.args
    rng = np.random.default_rng(data_seed)
    params = rng.normal(0, 0.5, inputs * hidden + hidden)
    x = rng.normal(size=(STEPS, world_size, micro_batches, BATCH, inputs))
    return params, x, rng.normal(size=x.shape[:-1])


def play(candidate: Candidate, case: Case) -> dict[str, Any]:
    """The probe. What a reader sees of a step, and no more, so that two ways of the same mistake look alike.

    params (steps, holders, Φ): every rank's, without padding; at stage 3 one row, the shards end to end. over (steps,
    N, 3): bytes held above what the stage allows, by kind. sent (steps): bytes of all ranks below or above what the
    stage needs. changed (steps): whether an argument was written into.
    """
    world_size, stage, optimizer_name, micro_batches, inputs, hidden, _ = case.args
    params, x, y = data(case)
    model = TanhRegression(inputs, hidden)
    optimizer: Optimizer = SGD(RATE["sgd"]) if optimizer_name == "sgd" else Adam(RATE["adam"])
    ranks = place(params, world_size, stage, optimizer)
    trained, over, sent, changed = [], [], [], []
    for x_step, y_step in zip(x, y, strict=True):
        batches = [[(x_step[r, k], y_step[r, k]) for k in range(micro_batches)] for r in range(world_size)]
        ring, before = Ring(world_size), _numbers(ranks)
        after = candidate(ranks, batches, model, optimizer, stage, ring)
        changed.append(any(not np.array_equal(a, b) for a, b in zip(before, _numbers(ranks), strict=True)))
        ranks = _checked(after, world_size)
        trained.append(_whole_params(ranks, stage, model.num_params))
        over.append([np.maximum(_held(rank) - np.array(most_held(case)), 0) for rank in ranks])
        sent.append(_outside(sum(ring.sent_bytes), *sent_range(case)))
    return {"params": np.array(trained), "over": np.array(over), "sent": sent, "changed": changed}


def _whole_params(ranks: Any, stage: int, size: int) -> list[Array]:
    held = [rank[0].ravel() for rank in ranks]
    held = [np.concatenate(held)] if stage == 3 else held
    for params in held:
        if params.size < size:
            owner = "all ranks together hold" if stage == 3 else "a rank holds"
            raise ValueError(f"after a step of stage {stage} {owner} {params.size} of the {size} parameters")
    return [params[:size].copy() for params in held]


def _outside(value: int, least: int, most: int) -> int:
    """How far below `least` (negative) or above `most`; 0 in between."""
    return min(value - least, 0) + max(value - most, 0)


def _checked(ranks: Any, world_size: int) -> Any:
    count = len(ranks) if isinstance(ranks, list | tuple) else f"a {type(ranks).__name__}"
    if count != world_size:
        raise TypeError(f"zero_step returns a list of {world_size} Ranks, one for each rank; got {count}")
    for rank in ranks:
        if not isinstance(rank, tuple) or len(rank) != 3:
            raise TypeError(f"a Rank has params, grads and optimizer; got {type(rank).__name__}")
        params, grads, state = rank
        if not isinstance(params, np.ndarray) or not isinstance(grads, np.ndarray) or not isinstance(state, dict):
            kinds = ", ".join(type(part).__name__ for part in rank)
            raise TypeError(f"a Rank holds two arrays and the optimizer's dict; got {kinds}")
    return ranks


def _arrays(rank: Any) -> list[Array]:
    params, grads, state = rank
    return [params, grads, *(value for value in state.values() if isinstance(value, np.ndarray))]


def _numbers(ranks: Any) -> list[Array]:
    return [array.copy() for rank in ranks for array in _arrays(rank)]


def _held(rank: Any) -> Array:
    params, grads, *states = _arrays(rank)
    return np.array([params.nbytes, grads.nbytes, sum(array.nbytes for array in states)])


# --- the oracle's side ------------------------------------------------------------------------------------


@lru_cache(maxsize=64)  # the cases of a seed; each is asked for once for every candidate
def train_in_one_process(case: Case) -> tuple[Array, ...]:
    """The parameters after each step, when one process sees all batches at once."""
    _, _, optimizer_name, _, inputs, hidden, _ = case.args
    params, x, y = data(case)
    optimizer = _sgd if optimizer_name == "sgd" else _adam
    gradients: list[Array] = []
    trained = []
    for x_step, y_step in zip(x, y, strict=True):
        gradients.append(_gradient(params, x_step.reshape(-1, inputs), y_step.reshape(-1), hidden))
        params = optimizer(params, gradients)
        trained.append(params)
    return tuple(trained)


def _loss(params: Array, x: Array, y: Array, hidden: int) -> Any:
    weights = params[: x.shape[1] * hidden].reshape(x.shape[1], hidden)
    return np.mean((np.tanh(x @ weights) @ params[x.shape[1] * hidden :] - y) ** 2)


def _gradient(params: Array, x: Array, y: Array, hidden: int) -> Array:
    """Im loss(p + iε) / ε in each direction: no difference is taken, so ε may be tiny."""
    step = 1e-30
    moved = params.astype(np.complex128) + 1j * step * np.eye(params.size)
    return np.array([_loss(each, x, y, hidden).imag / step for each in moved])


def _sgd(params: Array, gradients: Sequence[Array]) -> Array:
    moved: Array = params - RATE["sgd"] * gradients[-1]
    return moved


def _adam(params: Array, gradients: Sequence[Array]) -> Array:
    """Kingma and Ba, algorithm 1; the moments as the weighted sums that they are."""
    age = np.arange(len(gradients))[::-1, None]  # the newest has age 0
    first = (0.9**age * 0.1 * gradients).sum(0) / (1 - 0.9 ** len(gradients))
    second = (0.999**age * 0.001 * np.square(gradients)).sum(0) / (1 - 0.999 ** len(gradients))
    moved: Array = params - RATE["adam"] * first / (np.sqrt(second) + 1e-8)
    return moved


# --- what may be held and sent ----------------------------------------------------------------------------


def padded(num_params: int, world_size: int) -> int:
    """Φ rounded up to a multiple of N."""
    return -(-num_params // world_size) * world_size


def num_params(case: Case) -> int:
    """Φ of a case: I·H + H."""
    inputs, hidden = case.args[4:6]
    return int((inputs + 1) * hidden)


def most_held(case: Case) -> list[int]:
    """Bytes of each kind that a rank may hold between steps, with padding at the end of the model."""
    world_size, stage, optimizer_name, *_ = case.args
    whole = 8 * padded(num_params(case), world_size)
    shard = whole // world_size
    states = 0 if optimizer_name == "sgd" else 2
    return [shard if stage == 3 else whole, shard if stage >= 2 else whole, states * (shard if stage else whole)]


def passes(case: Case) -> int:
    """How often a model's worth of elements goes round the ring in a step."""
    _, stage, _, micro_batches, *_ = case.args
    return {0: 2, 1: 2, 2: micro_batches + 1, 3: 3 * micro_batches}[stage]


def sent_range(case: Case) -> tuple[int, int]:
    """Bytes that all ranks together send in a step: without padding, and with it."""
    world_size, size = case.args[0], num_params(case)
    least, most = (8 * passes(case) * each * (world_size - 1) for each in (size, padded(size, world_size)))
    return least, most

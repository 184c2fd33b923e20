"""ZeRO over virtual ranks: equal to one process (torch's optimizers), and exactly as frugal as the formulas.

A comparison of weights needs SGD *and* Adam, N = 2 *and* N = 3 with a Φ that does not divide, and at
least 3 steps; it still sees no answer that keeps or sends too much, which is what the ledgers are for.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.quantities import QuantityError
from labkit.zero import (
    SGD,
    Adam,
    MasterCopy,
    Rank,
    Ring,
    TanhRegression,
    comm_elements,
    full_params,
    held_bytes,
    make_batches,
    padded_params,
    place,
    state_parts,
    zero_step,
)

MODEL = TanhRegression(inputs=3, hidden=5)  # 20 parameters: 3 and 7 ranks do not divide them
OPTIMIZERS = {
    "sgd": (SGD(0.1), lambda p: torch.optim.SGD(p, 0.1), (8, 8, 0)),
    "momentum": (SGD(0.1, 0.9), lambda p: torch.optim.SGD(p, 0.1, 0.9), (8, 8, 8)),
    "adam": (Adam(0.01), lambda p: torch.optim.Adam(p, 0.01), (8, 8, 16)),
}
STEPS = 5


def train(optimizer, stage, world_size, micro_batches=1, step=zero_step):
    """The ranks after five steps, and the ring's books of the last one."""
    ranks = place(MODEL.start(), world_size, stage, optimizer)
    for number in range(STEPS):
        ring = Ring(world_size)
        batches = make_batches(MODEL, world_size, micro_batches, seed=number)
        ranks = step(ranks, batches, MODEL, optimizer, stage, ring)
    return ranks, ring


def train_in_one_process(make_optimizer, world_size, micro_batches=1):
    """The same training by torch: autograd, torch's optimizer, all batches together."""
    params = torch.tensor(MODEL.start(), requires_grad=True)
    optimizer = make_optimizer([params])
    for number in range(STEPS):
        batches = make_batches(MODEL, world_size, micro_batches, seed=number)
        x, y = (torch.tensor(np.concatenate([batch[i] for of_rank in batches for batch in of_rank])) for i in (0, 1))
        W, v = params[:15].view(3, 5), params[15:]
        optimizer.zero_grad()
        (torch.tanh(x @ W) @ v - y).square().mean().backward()
        optimizer.step()
    return params.detach().numpy()


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
@pytest.mark.parametrize(("world_size", "micro_batches"), [(1, 1), (2, 1), (3, 1), (4, 2), (7, 3), (64, 1)])
def test_equal_to_one_process_and_exactly_as_frugal(name, stage, world_size, micro_batches):
    optimizer, in_torch, bytes_per_param = OPTIMIZERS[name]
    ranks, ring = train(optimizer, stage, world_size, micro_batches)
    expected = train_in_one_process(in_torch, world_size, micro_batches)
    for rank in ranks if stage < 3 else ranks[:1]:
        held = ranks if stage == 3 else [rank]
        assert np.allclose(full_params(held, MODEL.num_params, stage), expected, rtol=0, atol=1e-12)

    padded = padded_params(MODEL.num_params, world_size) if stage else MODEL.num_params
    for rank in ranks:
        assert held_bytes(rank) == state_parts(padded, world_size, stage, bytes_per_param)
    sent = 8 * comm_elements(padded, world_size, stage, micro_batches)
    assert sum(ring.sent_bytes) == world_size * sent
    if stage:  # an all-reduce of a length that does not divide has chunks of two lengths
        assert set(ring.sent_bytes) == {sent}


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(1, 13), st.integers(0, 3))
def test_collectives_equal_numpys_sums(world_size, length, seed):
    rng = np.random.default_rng(seed)
    arrays = [rng.integers(-9, 9, length).astype(float) for _ in range(world_size)]
    before = [array.copy() for array in arrays]
    ring = Ring(world_size)
    total = np.sum(arrays, axis=0)
    assert all((each == total).all() for each in ring.all_reduce(arrays))
    whole = np.concatenate(arrays)
    assert all((each == whole).all() for each in ring.all_gather(arrays))
    assert all((each == arrays[0]).all() for each in ring.broadcast(arrays[0], world_size - 1))
    padded = [np.resize(array, world_size * length) for array in arrays]
    scattered = Ring(world_size).reduce_scatter(padded)
    assert (np.concatenate(scattered) == np.sum(padded, axis=0)).all()
    assert all((now == then).all() for now, then in zip(arrays, before, strict=True))


def test_a_ring_sends_what_theory_says():
    arrays = [np.ones(12) for _ in range(4)]
    for call, elements in (
        (lambda ring: ring.all_reduce(arrays), 18),
        (lambda ring: ring.reduce_scatter(arrays), 9),
        (lambda ring: ring.all_gather([array[:3] for array in arrays]), 9),
    ):
        ring = Ring(4)
        call(ring)
        assert ring.sent_bytes == [8 * elements] * 4
        assert ring.calls[0][1] == 12
    ring = Ring(4)
    ring.broadcast(arrays[0], 1)
    assert sum(ring.sent_bytes) == 3 * 96
    assert ring.sent_bytes[0] == 0  # the last one after 1, 2, 3


def test_mixed_precision_holds_the_papers_bytes():
    optimizer = MasterCopy(Adam())
    params = MODEL.start().astype(np.float16)
    for stage in (0, 1, 2, 3):
        for rank in place(params, 4, stage, optimizer):
            assert held_bytes(rank) == state_parts(20, 4, stage, (2, 2, 12))
    rank = Rank(params, params, optimizer.start(params))
    updated, state = optimizer.update(rank.params, np.full(20, 1e-3, np.float16), rank.optimizer)
    assert updated.dtype == np.float16
    assert state["master"].dtype == np.float32
    assert (updated == state["master"].astype(np.float16)).all()


def test_gradients_stay_reduced_where_the_stage_keeps_them():
    _, ring = train(SGD(), 0, 3)
    assert [name for name, _ in ring.calls] == ["all_reduce"]
    batches = make_batches(MODEL, 3)
    start = place(MODEL.start(), 3, 0, SGD())
    mean = np.mean([MODEL.backward(MODEL.start(), MODEL.forward(MODEL.start(), b[0])) for b in batches], axis=0)
    assert np.allclose(zero_step(start, batches, MODEL, SGD(), 0, Ring(3))[0].grads, mean)
    for stage in (2, 3):
        after = zero_step(place(MODEL.start(), 3, stage, SGD()), batches, MODEL, SGD(), stage, Ring(3))
        assert np.allclose(np.concatenate([rank.grads for rank in after])[:20], mean)


def test_no_argument_is_changed():
    for stage in (0, 1, 2, 3):
        ranks = place(MODEL.start(), 3, stage, Adam())
        before = [[rank.params.copy(), rank.grads.copy(), rank.optimizer["momentum"].copy()] for rank in ranks]
        zero_step(ranks, make_batches(MODEL, 3), MODEL, Adam(), stage, Ring(3))
        for rank, (params, grads, momentum) in zip(ranks, before, strict=True):
            assert (rank.params == params).all()
            assert (rank.grads == grads).all()
            assert (rank.optimizer["momentum"] == momentum).all()
            assert rank.optimizer["step"] == 0


def without_reduction(monkeypatch):
    monkeypatch.setattr(
        Ring, "_reduce", lambda self, arrays: [np.array_split(a, len(arrays))[r] for r, a in enumerate(arrays)]
    )


def shard_0_for_all(monkeypatch):
    gather = Ring._gather
    monkeypatch.setattr(Ring, "_gather", lambda self, shards: gather(self, [shards[0]] * len(shards)))


def wrong_rank_order(monkeypatch):
    gather = Ring._gather
    monkeypatch.setattr(Ring, "_gather", lambda self, shards: gather(self, shards[::-1]))


def stuck_step_counter(monkeypatch):
    update = Adam.update

    def stuck(self, params, grads, state):
        params, state = update(self, params, grads, state)
        return params, {**state, "step": 0}

    monkeypatch.setattr(Adam, "update", stuck)


def sum_for_mean(monkeypatch):
    backward = TanhRegression.backward
    monkeypatch.setattr(TanhRegression, "backward", lambda self, p, saved: 3 * backward(self, p, saved))


def error_after_training(name, stage, world_size):
    optimizer, in_torch, _ = OPTIMIZERS[name]
    ranks, _ = train(optimizer, stage, world_size)
    expected = train_in_one_process(in_torch, world_size)
    return np.abs(full_params(ranks, 20, stage) - expected).max()


@pytest.mark.parametrize(
    ("break_it", "seen_by"),
    [
        (without_reduction, ("sgd", "adam")),
        (shard_0_for_all, ("sgd", "adam")),
        (wrong_rank_order, ("sgd", "adam")),
        (stuck_step_counter, ("adam",)),
        (sum_for_mean, ("sgd",)),
    ],
)
def test_what_a_comparison_of_weights_sees(monkeypatch, break_it, seen_by):
    """Adam hides a sum for a mean: its steps do not depend on the gradient's scale. SGD has no step counter."""
    break_it(monkeypatch)
    for name in ("sgd", "adam"):
        for world_size in (2, 3):
            error = error_after_training(name, 2, world_size)
            assert (error > 1e-4) == (name in seen_by), (name, world_size, error)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: zero_step(place(MODEL.start(), 2, 0, SGD()), make_batches(MODEL, 3), MODEL, SGD(), 0, Ring(2)),
            "zero_step needs as many lists of batches as ranks, and a ring of that size: got 2 ranks, 3 lists",
        ),
        (
            lambda: zero_step(place(MODEL.start(), 2, 0, SGD()), [[], []], MODEL, SGD(), 0, Ring(2)),
            "Every rank needs the same number of micro-batches, at least 1: got [0].",
        ),
        (lambda: place(MODEL.start(), 2, 4, SGD()), "stage must be 0, 1, 2 or 3, got 4."),
        (
            lambda: Ring(2).reduce_scatter([np.zeros(3), np.zeros(3)]),
            "reduce_scatter gives 2 ranks equal parts, and 3 elements do not divide: pad to a multiple of 2.",
        ),
        (
            lambda: Ring(2).all_gather([np.zeros(3), np.zeros(2)]),
            "all_gather needs 2 flat arrays of one length, one for each rank, got 2 of the shapes [(2,), (3,)].",
        ),
        (lambda: Ring(0), "world_size must be a whole number of at least 1, got 0."),
    ],
)
def test_bad_input_is_one_sentence(call, sentence):
    with pytest.raises(QuantityError) as caught:
        call()
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


def test_padding_must_be_cut_off():
    with pytest.raises(ValueError, match="The model has 20 parameters, got 21: was padding cut off"):
        MODEL.forward(np.zeros(21), make_batches(MODEL, 1)[0][0])

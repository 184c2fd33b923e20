"""The timeline is what a step did: counted by its own ring, in its own order; the paper's volumes are the oracle."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.widgets.zero_timeline import MODEL, choose_log, lay_out, watch, zero_timeline
from labkit.zero import Rank, comm_elements, zero_step

PASSES = {0: 2, 1: 2, 2: 2, 3: 3}  # arXiv 1910.02054, §7


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 3), st.integers(1, 6), st.integers(1, 4))
def test_what_is_sent_is_the_papers_volume(stage: int, ranks: int, micro_batches: int) -> None:
    log, _ = watch(zero_step, stage, ranks, micro_batches)
    passes = {2: micro_batches + 1, 3: 3 * micro_batches}.get(stage, 2)
    assert log.sent == passes * MODEL.num_params * Fraction(ranks - 1, ranks)
    computed = [event for event in log.events if event.what in ("forward", "backward")]
    assert sorted((e.what, e.rank, e.micro_batch) for e in computed) == sorted(
        (what, rank, k) for what in ("forward", "backward") for rank in range(ranks) for k in range(micro_batches)
    )
    assert sorted(event.rank for event in log.events if event.what == "update") == list(range(ranks))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 3), st.integers(1, 6), st.integers(1, 4))
def test_no_box_lies_on_another(stage: int, ranks: int, micro_batches: int) -> None:
    boxes = lay_out(watch(zero_step, stage, ranks, micro_batches)[0], ranks)
    for rank in range(ranks):
        lane = sorted((box.start, box.width) for box in boxes if box.event.rank in (None, rank))
        for (start, width), (following, _) in pairwise(lane):
            assert start + width <= following + 1e-9


def test_messages_hold_all_ranks_up() -> None:
    boxes = lay_out(watch(zero_step, 3, 4, 1)[0], 4)
    kinds = [box.event.what for box in sorted(boxes, key=lambda box: box.start)]
    assert kinds == [
        "all_gather",
        *["forward"] * 4,
        "all_gather",
        *["backward"] * 4,
        "reduce_scatter",
        *["update"] * 4,
    ]


def test_the_sentence_counts() -> None:
    made = zero_timeline(zero_step, comm_elements)
    assert made.sentence.splitlines() == [
        "Stage 3, 4 ranks, 1 micro-batch: 2 all-gathers of parameters, 1 reduce-scatter of gradients. Each rank sends"
        " 135 elements, 2.25 times the 60 of the model.",
        "For one micro-batch, your comm_elements says 135.",
    ]
    made.set(stage=2, ranks=3, micro_batches=4)
    assert "4 reduce-scatters of gradients, 1 all-gather of parameters" in made.sentence
    made.set(stage=0, ranks=1, micro_batches=1)
    assert "Stage 0, 1 rank, 1 micro-batch" in made.sentence
    assert "sends 0 elements" in made.sentence


def gathers_by_broadcast(ranks, batches, model, optimizer, stage, ring):
    """Stage 1 with broadcasts, as ZeroRedundancyOptimizer does; other stages as labkit."""
    if stage != 1:
        return zero_step(ranks, batches, model, optimizer, stage, ring)
    N, K = len(ranks), len(batches[0])

    def gradient(params, batch):
        return model.backward(params, model.forward(params, batch))

    sums = [sum(gradient(rank.params, b) for b in batches[r]) for r, rank in enumerate(ranks)]
    own = [each / (N * K) for each in ring.reduce_scatter(sums)]
    parts = [np.split(rank.params, N)[r] for r, rank in enumerate(ranks)]
    updated = [optimizer.update(parts[r], own[r], rank.optimizer) for r, rank in enumerate(ranks)]
    copies = [ring.broadcast(part, r) for r, (part, _) in enumerate(updated)]
    whole = [np.concatenate([copies[owner][r] for owner in range(N)]) for r in range(N)]
    return [Rank(whole[r], own[r], state) for r, (_, state) in enumerate(updated)]


def test_the_step_that_is_drawn_is_the_learners() -> None:
    drawn = choose_log(gathers_by_broadcast, 1, 3, 1)
    assert drawn.not_yours == ""
    assert drawn.log.messages == {"reduce_scatter": 1, "broadcast": 3}
    made = zero_timeline(gathers_by_broadcast)
    made.set(stage=1, ranks=3)
    assert "3 broadcasts of parameters" in made.sentence


def unfinished(*_: object) -> None:
    raise NotImplementedError("zero_step: write this exercise")


def sums(ranks, batches, model, optimizer, stage, ring):
    after = zero_step(ranks, batches, model, optimizer, stage, ring)
    return [rank._replace(params=rank.params + 1e-3) for rank in after]


def hoards(ranks, batches, model, optimizer, stage, ring):
    after = zero_step(ranks, batches, model, optimizer, stage, ring)
    return [rank._replace(grads=np.tile(rank.grads, 9)) for rank in after]


def chatters(ranks, batches, model, optimizer, stage, ring):
    ring.all_gather([np.zeros(60)] * len(ranks))
    return zero_step(ranks, batches, model, optimizer, stage, ring)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (unfinished, "your zero_step is not written yet"),
        (sums, "after your zero_step the ranks hold something else"),
        (hoards, "after your zero_step the ranks hold something else"),
        (chatters, "your zero_step sends 315 elements from each rank"),
        (lambda *_: 1 / 0, "your zero_step raises ZeroDivisionError: division by zero"),
        (lambda *_: None, "your zero_step raises TypeError"),
    ],
)
def test_a_step_that_does_not_pass_is_not_drawn(wrong: object, said: str) -> None:
    made = zero_timeline(wrong)  # type: ignore[arg-type]
    assert made.error is None
    assert f"Drawn with labkit's zero_step: {said}" in made.sentence
    assert "Each rank sends 135 elements" in made.sentence


@pytest.mark.parametrize("wrong", [lambda *_: 7, lambda *_: None, unfinished])
def test_a_comm_elements_that_is_not_right_is_not_quoted(wrong: object) -> None:
    made = zero_timeline(zero_step, wrong)  # type: ignore[arg-type]
    assert "For one micro-batch, comm_elements says 135." in made.sentence


def test_the_papers_passes_for_one_micro_batch() -> None:
    made = zero_timeline(zero_step, comm_elements)
    for stage, passes in PASSES.items():
        made.set(stage=stage, ranks=2)
        assert f"your comm_elements says {passes * 30}." in made.sentence
        assert f"Each rank sends {passes * 30} elements" in made.sentence

"""What PyTorch's own implementations hold and send, against formula and ledger; and no process left behind."""

import json
import math
import time
from dataclasses import asdict, replace
from fractions import Fraction

import psutil
import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st

from labkit.quantities import QuantityError
from labkit.transformer import TransformerShape, find_shape
from labkit.zero import GLOO_PASSES, comm_elements, state_bytes, working_set_bytes
from labkit.zero.ledger import row_part
from labkit.zero.observed import (
    MODES,
    SMALL,
    Observation,
    RankError,
    compare,
    heaviest,
    observe,
    parameter_shapes,
    run_ranks,
)
from labkit.zero.observed.fake import fake_ranks, observe_fake, observe_fake_peak

ONE_LAYER = replace(SMALL, layers=1)
ODD = TransformerShape("odd", 1, 33, 3, 70, 51, positions=16)  # no number of rows is even, but for 70
FAKE_MODES = [name for name, mode in MODES.items() if mode.fsdp]
TIME_LIMIT_S = 100  # of an observation that takes ten seconds on an idle machine


def by_question(comparisons):
    return {row.question: row for row in comparisons}


@pytest.mark.slow
def test_real_processes_that_share_evenly():
    """Two gloo processes: every mode holds and sends what the formulas say, to the byte."""
    told: list[float] = []
    seen = observe(list(MODES), world_size=2, timeout_s=TIME_LIMIT_S, progress=told.append)
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0, 1)
    assert len(set(told)) > 2  # the ranks said how far they were
    assert list(seen) == list(MODES)
    for name, by_rank in seen.items():
        assert [each.rank for each in by_rank] == [0, 1]
        for observation in by_rank:
            rows = by_question(compare(observation))
            uneven = {"optimizer, bytes"} if name == "zero-redundancy-optimizer" else set()
            for question, row in rows.items():
                assert row.observed == row.ledger, (name, row)
                assert row.agree or question in uneven, (name, row)
                assert "unexplained" not in row.because
    first = {name: by_rank[0] for name, by_rank in seen.items()}
    params = SMALL.num_params
    assert first["fsdp2"].states.total == state_bytes(params, 2, 3, (4, 4, 8))
    assert first["ddp"].messages == {"all_reduce": params}
    assert first["fsdp2"].messages == {"all_gather": 2 * params, "reduce_scatter": params}
    assert first["zero-redundancy-optimizer"].messages == {"all_reduce": params, "broadcast": params}
    # Stage 1 behind all-reduce costs 3 passes; the paper's costs 2.
    assert first["zero-redundancy-optimizer"].sent_elements() == Fraction(3, 2) * comm_elements(params, 2, 1)
    # Elements are the same in bf16, bytes are not; and gloo's wire carries 4 passes for stage 3.
    assert first["fsdp2-bf16"].sent_elements() == first["fsdp2"].sent_elements()
    assert first["fsdp2-bf16"].sent_bytes() == Fraction(2, 3) * first["fsdp2"].sent_bytes()
    assert first["fsdp2"].sent_elements(GLOO_PASSES) == 2 * params


@pytest.mark.slow
def test_real_processes_that_do_not_share_evenly():
    """Three processes, odd sizes, two micro-batches: the ledger explains every difference from the formula."""
    modes = ["zero-redundancy-optimizer", "fsdp2", "fsdp2-accumulate"]
    seen = observe(modes, world_size=3, shape=ODD, micro_batches=2, timeout_s=TIME_LIMIT_S)
    for by_rank in seen.values():
        for observation in by_rank:
            assert all(row.observed == row.ledger for row in compare(observation, ODD))
    rows = by_question(compare(heaviest(seen["fsdp2"]), ODD))
    assert rows["optimizer, bytes"].observed > rows["optimizer, bytes"].formula
    assert "rows that 3 ranks cannot share evenly" in rows["sent, elements"].because
    rows = by_question(compare(heaviest(seen["zero-redundancy-optimizer"]), ODD))
    assert "belongs to one rank, whole" in rows["optimizer, bytes"].because
    owned = sum(each.states.optimizer for each in seen["zero-redundancy-optimizer"])
    assert owned == 8 * ODD.num_params


@pytest.mark.parametrize(("mode", "rank"), [*((mode, 0) for mode in FAKE_MODES), ("fsdp2", 63)])
def test_64_ranks_in_one_process(mode, rank):
    assert all(row.agree for row in compare(observe_fake(mode, 64, ONE_LAYER, rank), ONE_LAYER))


def test_micro_batches_cost_what_the_switches_say():
    """N = 4, K = 4: 12, 9 and 6 passes; keeping parameters until backward: 8."""
    passes = {
        mode: observe_fake(mode, 4, ONE_LAYER, micro_batches=4).sent_elements()
        / (ONE_LAYER.num_params * Fraction(3, 4))
        for mode in ("fsdp2", "fsdp2-accumulate", "fsdp2-hold", "fsdp2-keep")
    }
    assert passes == {"fsdp2": 12, "fsdp2-accumulate": 9, "fsdp2-hold": 6, "fsdp2-keep": 8}


@pytest.mark.parametrize(("world_size", "rank"), [(7, 0), (7, 6), (64, 0), (64, 40)])
def test_odd_sizes_on_any_rank(world_size, rank):
    """Some ranks own nothing, and hold padding all the same."""
    seen = observe_fake("fsdp2", world_size, ODD, rank)
    rows = by_question(compare(seen, ODD))
    assert all(row.observed == row.ledger for row in rows.values())
    assert not rows["params, bytes"].agree
    if rank == 40:
        empty = sum(row_part(shape, 64, 40) == 0 for shape in parameter_shapes(ODD).values())
        assert f"this rank owns nothing of {empty}" in rows["params, bytes"].because
        assert seen.states.optimizer < seen.states.params


def test_a_large_model_on_1024_ranks():
    """Layers as wide as LLaMA-7B's: the formula, and the ledger's explanation, with no memory at all."""
    shape = replace(find_shape("llama-7b"), layers=1)
    seen = observe_fake("fsdp2", 1024, shape)
    rows = by_question(compare(seen, shape))
    for row in rows.values():
        assert row.observed == row.ledger
        assert row.observed == pytest.approx(float(row.formula), rel=0.03)


def test_the_peak_is_not_the_states():
    """From 4 to 64 ranks states fall 16 times; the peak does not get below the largest unit, gathered."""
    largest = max(
        sum(math.prod(shape) for name, shape in parameter_shapes(SMALL).items() if name.startswith(f"blocks.{layer}."))
        for layer in range(SMALL.layers)
    )
    peaks = {}
    for world_size in (4, 64):
        peak = observe_fake_peak("fsdp2-bf16", world_size, SMALL)
        states = state_bytes(SMALL.num_params, world_size, 3, (4, 4, 8))
        peaks[world_size] = peak["total"]
        assert peak["total"] == sum(num_bytes for kind, num_bytes in peak.items() if kind != "total")
        assert peak["total"] - peak["opt"] > working_set_bytes(largest, 2, 4)
        assert peak["total"] > states
    assert peaks[4] < 4 * peaks[64]


def test_a_fake_group_leaves_no_trace():
    with fake_ranks(8, rank=3):
        assert (dist.get_world_size(), dist.get_rank()) == (8, 3)
        with pytest.raises(RuntimeError, match="already belongs to a process group"), fake_ranks(4):
            pass
    assert not dist.is_initialized()
    with pytest.raises(ZeroDivisionError), fake_ranks(8):
        raise ZeroDivisionError
    assert not dist.is_initialized()


@given(st.lists(st.tuples(st.sampled_from(sorted(GLOO_PASSES)), st.integers(0, 99), st.sampled_from((2, 4)))))
def test_an_observation_survives_json(calls):
    seen = replace(observed_by_hand(), calls=tuple(calls))
    assert Observation.from_plain(json.loads(json.dumps(asdict(seen)))) == seen
    assert sum(seen.messages.values()) == sum(elements for _, elements, _ in calls)


def observed_by_hand():
    plain = {"mode": "fsdp2", "rank": 0, "world_size": 4, "micro_batches": 1, "states": [1, 2, 3], "calls": []}
    return Observation.from_plain(plain)


def test_a_difference_that_the_ledger_does_not_know_is_called_unexplained():
    rows = compare(observed_by_hand())
    assert all(row.because.startswith("unexplained") for row in rows)


def test_a_rank_that_dies_is_named_and_ends_the_others():
    before = set(psutil.Process().children(recursive=True))  # a browser of other tests, say
    start = time.monotonic()
    with pytest.raises(RankError, match=r"^Rank 1 of 2 was killed by SIGKILL; all ranks were ended\."):
        run_ranks("zero_workers:die", 2, {"victim": 1}, timeout_s=TIME_LIMIT_S)
    assert time.monotonic() - start < TIME_LIMIT_S / 2  # nobody waited for the time limit
    assert set(psutil.Process().children(recursive=True)) <= before


@pytest.mark.slow
def test_a_rank_that_hangs_is_ended_with_its_children(tmp_path):
    before = set(psutil.Process().children(recursive=True))
    pid_file = tmp_path / "pid"
    with pytest.raises(RankError, match=r"(?s)^After 12 s 1 of 1 ranks were still running .*in hang"):
        run_ranks("zero_workers:hang", 1, {"pid_file": str(pid_file)}, timeout_s=12)
    assert set(psutil.Process().children(recursive=True)) <= before
    child = int(pid_file.read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_a_worker_that_does_not_exist_is_said_so():
    with pytest.raises(RankError, match=r"(?s)exit code 1.*No module named 'no_such_module'"):
        run_ranks("no_such_module:work", 1, timeout_s=TIME_LIMIT_S)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: observe_fake("ddp", 4, SMALL), "ddp needs real processes"),
        (lambda: observe_fake("fsdp", 4, SMALL), "There is no mode called 'fsdp'; there are ddp, zero-redundancy"),
        (lambda: observe_fake("fsdp2", 4, SMALL, rank=4), "rank must be between 0 and 3, got 4."),
        (lambda: observe_fake("fsdp2", 0, SMALL), "world_size must be a whole number of at least 1, got 0."),
        (lambda: run_ranks("zero_workers:die", 0), "world_size must be a whole number of at least 1, got 0."),
        (lambda: observe(["fsdp3"], 2), "There is no mode called 'fsdp3'"),
    ],
)
def test_bad_input_is_one_sentence(call, sentence):
    with pytest.raises(QuantityError) as caught:
        call()
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


def test_every_mode_says_what_it_is():
    for name, mode in MODES.items():
        assert mode.name == name
        assert mode.note
    assert torch.distributed.is_available()

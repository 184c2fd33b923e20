"""`zero_step(ranks, batches, model, optimizer, stage, ring)`: ZeRO by hand over virtual ranks, ledger and all."""

from typing import Any

import numpy as np

from labkit.course.compare import Difference
from labkit.course.exercise import Case, Exercise
from labkit.course.exercises.zero_memory.zero_play import (
    KINDS,
    NAMES,
    most_held,
    passes,
    play,
    sent_range,
    train_in_one_process,
)

TOLERANCE = 1e-9  # of the parameters: a sum in place of a mean moves Adam's by 1e-6 and less


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)
    few, odd, more = (1, 4), (2, 3), (3, 5)  # (inputs, hidden): 8, 9 and 20 parameters

    def case(name: str, world_size: int, stage: int, optimizer: str, micro: int, sizes: tuple[int, int]) -> Case:
        args = (world_size, stage, optimizer, micro, *sizes, int(rng.integers(10**6)))
        return Case(f"{name}, stage {stage}, {optimizer}", args, NAMES)

    return [
        *(case("two ranks", 2, stage, "sgd", 1, few) for stage in (1, 2, 3)),
        *(case("three ranks, 8 parameters", 3, stage, "adam", 1, few) for stage in (1, 2, 3)),
        *(case("two micro-batches", 2, stage, "sgd", 2, odd) for stage in (1, 2, 3)),
        case("plain data parallelism", 3, 0, "adam", 2, few),
        case("one rank alone", 1, 3, "adam", 1, few),
        *(case("random", int(rng.integers(3, 6)), stage, "adam", 3, more) for stage in (1, 2, 3)),
    ]


# --- judging: first the numbers, then the ledger ----------------------------------------------------------


def _judge(case: Case, value: Any) -> Difference | None:
    return _judge_params(case, value) or _judge_changed(value) or _judge_held(case, value) or _judge_sent(case, value)


def _judge_params(case: Case, value: Any) -> Difference | None:
    for number, expected in enumerate(train_in_one_process(case), 1):
        for rank, came in enumerate(value["params"][number - 1]):
            gaps = np.abs(came - expected)
            if np.all(gaps <= TOLERANCE):
                continue
            first = int(np.flatnonzero(~(gaps <= TOLERANCE))[0])
            owner = "all ranks' shards, end to end" if case.args[1] == 3 else f"rank {rank}"
            return Difference(
                f"parameter {first} = {expected[first]:.9g} after step {number}, as in one process with all batches",
                f"{owner}: {came[first]:.9g}; of {gaps.size} parameters the furthest is {np.max(gaps):.2g} away",
            )
    return None


def _judge_changed(value: Any) -> Difference | None:
    if not any(value["changed"]):
        return None
    number = value["changed"].index(True) + 1
    return Difference("the ranks that it was given left as they were", f"step {number} wrote into their arrays")


def _judge_held(case: Case, value: Any) -> Difference | None:
    most = most_held(case)
    for step, rank, kind in np.argwhere(value["over"]):
        held = most[kind] + value["over"][step, rank, kind]
        return Difference(
            f"the right parameters, and on each rank at most {most[kind]} bytes of {KINDS[kind]} after a step",
            f"the right parameters, but rank {rank} holds {held} bytes of {KINDS[kind]} after step {step + 1}",
        )
    return None


def _judge_sent(case: Case, value: Any) -> Difference | None:
    (least, most), ranks = sent_range(case), case.args[0]
    for number, off in enumerate(value["sent"], 1):
        if off:
            came = (least if off < 0 else most) + off
            return Difference(
                f"the right parameters, and {passes(case)} times round the ring: {most / ranks:g} bytes from each rank",
                f"the right parameters, but {came / ranks:g} bytes sent by each rank in step {number}",
            )
    return None


def _note(cases: Any, values: Any) -> str:
    times = sum(passes(case) * len(value["sent"]) for case, value in zip(cases, values, strict=True))
    return f"Your messages went round the ring {times} times, and not once too often."


zero_step = Exercise(
    name="zero_step",
    signature="zero_step(ranks, batches, model, optimizer, stage, ring)",
    goal="Do one training step of ZeRO stage 0 to 3 over virtual ranks: return the list of Ranks after it, with the"
    " parameters that one process would get from all batches together, no rank holding more than its stage allows, and"
    " nothing sent that the stage does not need.",
    cases=_cases,
    judge_case=_judge,
    probe=play,
    note=_note,
    hints=(
        "Write down for stage 1 what rank 1 holds, what it computes, and what it still lacks after it has updated its"
        " part of the parameters. Who has it?",
        "Gradients: pad each to a multiple of N, reduce-scatter (stage 1 once, after the last micro-batch; stages 2 and"
        " 3 after each, and add the shards), divide by N·K. Update: the own part of the parameters, with the own shard"
        " of gradients and of the optimizer's state. Stages 1 and 2 then all-gather the parts. Stage 3 gathers"
        " parameters twice for each micro-batch, before forward and again before backward, and cuts the padding off.",
        "for k in range(K): `params = ring.all_gather(shards) if stage == 3 else what the ranks hold`, cut to"
        " num_params; `saved = forward`; at stage 3 gather again; `local = pad(backward, padded)`; from stage 2 on"
        " `local = ring.reduce_scatter(local)`; add to the sums. Then stage 0: all_reduce the sums; stage 1:"
        " reduce_scatter them. Divide by N*K. For each rank r: `own = np.split(rank.params, N)[r]` at stages 1 and 2,"
        " else rank.params; `optimizer.update(own, gradient, rank.optimizer)`. Stages 1 and 2: all_gather.",
    ),
    points=6,
    minutes=40,
    difficulty=3,
    num_lines=24,
)

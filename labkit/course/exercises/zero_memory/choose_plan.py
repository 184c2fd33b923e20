"""`choose_plan(…)`: a stage and a number of GPUs that can be defended, whatever is dear to whoever chooses."""

from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from labkit.course.compare import Difference, compare_number
from labkit.course.describe import describe
from labkit.course.exercise import Case, Exercise
from labkit.course.exercises.zero_memory.state_bytes import cluster_share
from labkit.quantities import json_number


class Plan(NamedTuple):
    """A way to train: what each GPU holds, reserved bytes included, and sends in a step of K micro-batches."""

    stage: int
    world_size: int
    used: Fraction
    sent: Fraction

    def beats(self, other: "Plan") -> bool:
        """Not worse in GPUs and in traffic, and better in one of them."""
        not_worse = self.world_size <= other.world_size and self.sent <= other.sent
        return not_worse and (self.world_size < other.world_size or self.sent < other.sent)


def _cases(seed: int, tier: str) -> list[Case]:
    # 48 parameters need 768 bytes whole; stage 1 needs 336 on 4 GPUs and 264 on 8, stage 2 264 and 180, stage 3 192
    # and 96.
    listed: list[tuple[str, tuple[int, ...]]] = [
        ("whatever you like fits, one micro-batch", (48, 778, 4, 2, 10, 1)),
        ("whatever you like fits, three micro-batches", (48, 778, 4, 2, 10, 3)),
        ("stage 1 on one node", (48, 346, 4, 2, 10, 4)),
        ("one GPU is enough", (48, 768, 1, 5, 0, 2)),
        ("stage 1 on two nodes or stage 2 on one, one micro-batch", (48, 274, 4, 2, 10, 1)),
        ("stage 1 on two nodes or stage 2 on one, four micro-batches", (48, 274, 4, 2, 10, 4)),
        ("a byte less", (48, 273, 4, 2, 10, 4)),
        ("stage 2 on two nodes or stage 3 on one", (48, 202, 4, 2, 10, 2)),
        ("only stage 3 on all nodes", (48, 106, 4, 2, 10, 2)),
        ("nothing fits", (48, 105, 4, 2, 10, 2)),
        ("no room but what is reserved", (48, 10, 4, 2, 10, 2)),
        ("uneven shards", (50, 300, 3, 4, 7, 2)),
        ("7.5B on GPUs of 32 GB", (7_500_000_000, 32 * 10**9, 8, 12, 4 * 10**9, 4)),
    ]
    return [*(Case(name, args) for name, args in listed), *_random_pair(seed)]


def _random_pair(seed: int) -> list[Case]:
    """A tight pair: nodes that stage 1 fills to the last byte, and the same with a byte less."""
    rng = np.random.default_rng(seed)
    node, nodes, micro_batches = int(rng.integers(2, 9)), int(rng.integers(3, 8)), int(rng.integers(3, 7))
    num_params, reserved = node * nodes * int(rng.integers(10**6, 10**7)), int(rng.integers(10**6, 10**7))
    room = reserved + int(cluster_share(num_params, node * nodes, 1))
    return [
        Case("random, stage 1 fits exactly", (num_params, room, node, nodes, reserved, micro_batches)),
        Case("random, a byte too small", (num_params, room - 1, node, nodes, reserved, micro_batches)),
    ]


def passes(stage: int, micro_batches: int) -> int:
    """Times round the ring (arXiv 1910.02054, §7): from stage 2 on gradients are reduced after each micro-batch."""
    return {0: 2, 1: 2, 2: micro_batches + 1, 3: 3 * micro_batches}[stage]


def fitting_plans(
    num_params: int, gpu_bytes: int, gpus_per_node: int, num_nodes: int, reserved_bytes: int, micro_batches: int
) -> list[Plan]:
    """The oracle tries every stage on every number of nodes."""
    plans = [
        Plan(
            stage,
            world,
            cluster_share(num_params, world, stage) + reserved_bytes,
            passes(stage, micro_batches) * num_params * Fraction(world - 1, world),
        )
        for stage in range(4)
        for world in range(gpus_per_node, gpus_per_node * num_nodes + 1, gpus_per_node)
    ]
    return [plan for plan in plans if plan.used <= gpu_bytes]


def _judge(case: Case, value: Any) -> Difference | None:
    plans = fitting_plans(*case.args)
    if value is None or not plans:
        wanted = "a plan: there are some that fit" if plans else "None: nothing fits"
        return None if value is None and not plans else Difference(wanted, describe(value))
    if not isinstance(value, tuple | list) or len(value) != len(Plan._fields):
        return Difference("a tuple (stage, world_size, used_bytes, sent_elements)", describe(value))
    chosen = next((plan for plan in plans if plan[:2] == tuple(value[:2])), None)
    if chosen is None:
        return Difference("a stage and whole nodes of which there are enough, and memory that fits", describe(value))
    on = f"stage {chosen.stage} on {chosen.world_size} GPUs"
    for part, came in (("used", value[2]), ("sent", value[3])):
        number: int | float = json_number(getattr(chosen, part))
        if compare_number(number, came):
            name = {"used": "used_bytes", "sent": "sent_elements"}[part]
            return Difference(f"{name} {describe(number)} for {on}", f"{describe(value)}: {name} {describe(came)}")
    better = next((plan for plan in plans if plan.beats(chosen)), None)
    if better is None:
        return None
    said = f"stage {better.stage} on {better.world_size} GPUs, each sends {describe(json_number(better.sent))} elements"
    return Difference("a plan that no other beats in GPUs and traffic", f"{describe(value)}, which is beaten by {said}")


def _diagnose(case: Case, value: Any) -> str | None:
    """The mistake that a plan's own numbers show, whatever was dear to whoever chose it."""
    num_params, _, _, _, reserved_bytes, K = case.args
    try:
        stage, world = (int(each) for each in value[:2])
        used, sent = (Fraction(each) for each in value[2:])
        round_trip = num_params * Fraction(world - 1, world)
        right_used = cluster_share(num_params, world, stage) + reserved_bytes
        right_sent = passes(stage, K) * round_trip
    except (TypeError, ValueError, KeyError, ZeroDivisionError, OverflowError):
        return None
    mistaken: dict[str, tuple[Fraction, Fraction]] = {
        "micro-batches forgotten": (right_used, passes(stage, 1) * round_trip),
        "stage 1 reduced for every micro-batch": (right_used, (K + 1 if stage == 1 else 0) * round_trip),
        "stage 3 gathered once for the step": (right_used, (K + 2 if stage == 3 else 0) * round_trip),
        "reserved bytes not in the plan": (right_used - reserved_bytes, right_sent),
        "all ranks together": (right_used, right_sent * world),
        "bytes sent": (right_used, right_sent * 2),
    }
    if _close(used, right_used) and _close(sent, right_sent):
        return None  # its numbers are right; it is the choice that is not
    return next((name for name, (u, s) in mistaken.items() if _close(used, u) and _close(sent, s)), None)


def _close(came: Fraction, wanted: Fraction) -> bool:
    return abs(came - wanted) <= Fraction(1, 10**9) * abs(wanted)


choose_plan = Exercise(
    name="choose_plan",
    signature="choose_plan(num_params, gpu_bytes, gpus_per_node, num_nodes, reserved_bytes, micro_batches)",
    goal="Return a plan (stage, world_size, used_bytes, sent_elements) on whole nodes that fits and that you can"
    " defend: no other plan that fits takes no more GPUs and sends no more, and less of one of them; None where"
    " nothing fits. used_bytes are a GPU's states in mixed precision (2, 2, 12) with reserved_bytes;"
    " sent_elements are a rank's in one step of micro_batches.",
    cases=_cases,
    judge_case=_judge,
    diagnosis=_diagnose,
    hints=(
        "Two plans fit. One takes fewer GPUs, the other sends less. Can a third be worse than one of them in both?",
        "List every plan that fits, with its four numbers: each stage on 1, 2, … nodes. Then decide what is dear to"
        " you, GPUs or traffic, and let the other break ties.",
        "passes = (2, 2, K + 1, 3 * K)[stage]; `used = state_bytes(num_params, gpus, stage) + reserved_bytes`; `sent ="
        " passes * num_params * Fraction(gpus - 1, gpus)`; keep the plan if `used <= gpu_bytes`. At the end"
        " `min(plans, key=lambda plan: (plan[1], plan[3]), default=None)`, or the two the other way round.",
    ),
    points=2,
    minutes=12,
    difficulty=2,
    num_lines=8,
)
wrong, right = choose_plan.wrong, choose_plan.right

# --- wrong ones: the least traffic, then the fewest GPUs, with one thing spoiled --------------------------


def _held(num_params, world, stage):
    parts = zip((2, 2, 12), (3, 2, 1), strict=True)
    return sum(Fraction(size * num_params, world if stage >= first else 1) for size, first in parts)


def _rounds(stage, micro_batches):
    return (2, 2, micro_batches + 1, 3 * micro_batches)[stage]


def _plans(num_params, room, worlds, micro_batches, *, held=_held, rounds=_rounds, stages=range(4)):
    listed = [
        (
            stage,
            world,
            held(num_params, world, stage),
            rounds(stage, micro_batches) * num_params * (1 - Fraction(1, world)),
        )
        for stage in stages
        for world in worlds
    ]
    return [plan for plan in listed if plan[2] <= room]


def _nodes(gpus_per_node, num_nodes):
    return range(gpus_per_node, gpus_per_node * num_nodes + 1, gpus_per_node)


def _cheapest(plans, reserved_bytes, key=lambda plan: (plan[3], plan[1])):
    plan = min(plans, key=key, default=None)
    return plan and (plan[0], plan[1], plan[2] + reserved_bytes, plan[3])


@wrong("micro-batches forgotten", "stage 2 reduces after every micro-batch, and stage 3 gathers twice for each too.")
def _(num_params, gpu_bytes, gpus_per_node, num_nodes, reserved_bytes, micro_batches):
    worlds = _nodes(gpus_per_node, num_nodes)
    return _cheapest(_plans(num_params, gpu_bytes - reserved_bytes, worlds, 1), reserved_bytes)


@wrong("stage 1 reduced for every micro-batch", "stage 1 has room for whole gradients: it adds up, and reduces once.")
def _(num_params, gpu_bytes, gpus_per_node, num_nodes, reserved_bytes, micro_batches):
    def rounds(stage, K):
        return (2, K + 1, K + 1, 3 * K)[stage]

    worlds = _nodes(gpus_per_node, num_nodes)
    return _cheapest(
        _plans(num_params, gpu_bytes - reserved_bytes, worlds, micro_batches, rounds=rounds), reserved_bytes
    )


@wrong("stage 3 gathered once for the step", "stage 3 drops what it gathered: 2K gathers and K reductions.")
def _(num_params, gpu_bytes, gpus_per_node, num_nodes, reserved_bytes, micro_batches):
    def rounds(stage, K):
        return (2, 2, K + 1, K + 2)[stage]

    worlds = _nodes(gpus_per_node, num_nodes)
    return _cheapest(
        _plans(num_params, gpu_bytes - reserved_bytes, worlds, micro_batches, rounds=rounds), reserved_bytes
    )


@wrong("every GPU there is", "more GPUs hold less each and send no less: a plan on fewer nodes beats it.")
def _(num_params, gpu_bytes, gpus_per_node, num_nodes, reserved_bytes, micro_batches):
    worlds = [gpus_per_node * num_nodes]
    return _cheapest(_plans(num_params, gpu_bytes - reserved_bytes, worlds, micro_batches), reserved_bytes)


@wrong("stage 3 in any case", "it fits soonest and sends most: where a smaller stage fits on as many GPUs, take that.")
def _(num_params, gpu_bytes, gpus_per_node, num_nodes, reserved_bytes, micro_batches):
    worlds = _nodes(gpus_per_node, num_nodes)
    return _cheapest(_plans(num_params, gpu_bytes - reserved_bytes, worlds, micro_batches, stages=[3]), reserved_bytes)


@wrong(
    "the smallest stage in any case",
    "with one micro-batch stage 2 makes as many passes as stage 1, and on fewer GPUs each pass is shorter.",
)
def _(num_params, gpu_bytes, gpus_per_node, num_nodes, reserved_bytes, micro_batches):
    plans = _plans(num_params, gpu_bytes - reserved_bytes, _nodes(gpus_per_node, num_nodes), micro_batches)
    return _cheapest(plans, reserved_bytes, lambda plan: plan[:2])


@wrong("reserved bytes not in the plan", "used_bytes is what the GPU has to hold: states and what is reserved.")
def _(num_params, gpu_bytes, gpus_per_node, num_nodes, reserved_bytes, micro_batches):
    worlds = _nodes(gpus_per_node, num_nodes)
    return _cheapest(_plans(num_params, gpu_bytes - reserved_bytes, worlds, micro_batches), 0)


@wrong("no room for what is reserved", "states and reserved bytes have to fit together.")
def _(num_params, gpu_bytes, gpus_per_node, num_nodes, reserved_bytes, micro_batches):
    worlds = _nodes(gpus_per_node, num_nodes)
    return _cheapest(_plans(num_params, gpu_bytes, worlds, micro_batches), reserved_bytes)


@wrong("parts of nodes", "GPUs come in nodes: world sizes are multiples of gpus_per_node.")
def _(num_params, gpu_bytes, gpus_per_node, num_nodes, reserved_bytes, micro_batches):
    worlds = range(1, gpus_per_node * num_nodes + 1)
    return _cheapest(_plans(num_params, gpu_bytes - reserved_bytes, worlds, micro_batches), reserved_bytes)


@wrong("exact fit refused", "what fills the GPU to the last byte fits: <=, not <.")
def _(num_params, gpu_bytes, gpus_per_node, num_nodes, reserved_bytes, micro_batches):
    room = gpu_bytes - reserved_bytes - Fraction(1, 10**6)
    return _cheapest(_plans(num_params, room, _nodes(gpus_per_node, num_nodes), micro_batches), reserved_bytes)


@wrong("a plan that does not fit", "None says that nothing fits; the largest cluster at stage 3 is no plan then.")
def _(num_params, gpu_bytes, gpus_per_node, num_nodes, reserved_bytes, micro_batches):
    worlds = _nodes(gpus_per_node, num_nodes)
    plans = _plans(num_params, gpu_bytes - reserved_bytes, worlds, micro_batches)
    every = _plans(num_params, float("inf"), worlds, micro_batches)
    return _cheapest(plans or every[-1:], reserved_bytes)


@wrong("all ranks together", "a rank's traffic is asked for: that is what its link has to carry.")
def _(num_params, gpu_bytes, gpus_per_node, num_nodes, reserved_bytes, micro_batches):
    plans = _plans(num_params, gpu_bytes - reserved_bytes, _nodes(gpus_per_node, num_nodes), micro_batches)
    plan = _cheapest(plans, reserved_bytes)
    return plan and (*plan[:3], plan[3] * plan[1])


@wrong("bytes sent", "elements are asked for; how many bytes one takes depends on what travels.")
def _(num_params, gpu_bytes, gpus_per_node, num_nodes, reserved_bytes, micro_batches):
    plans = _plans(num_params, gpu_bytes - reserved_bytes, _nodes(gpus_per_node, num_nodes), micro_batches)
    plan = _cheapest(plans, reserved_bytes)
    return plan and (*plan[:3], plan[3] * 2)


# --- right ones: what is dear differs ---------------------------------------------------------------------


@right("the least traffic")
def _(num_params, gpu_bytes, gpus_per_node, num_nodes, reserved_bytes, micro_batches):
    plans = _plans(num_params, gpu_bytes - reserved_bytes, _nodes(gpus_per_node, num_nodes), micro_batches)
    return _cheapest(plans, reserved_bytes)


@right("the fewest GPUs")
def _(num_params, gpu_bytes, gpus_per_node, num_nodes, reserved_bytes, micro_batches):
    plans = _plans(num_params, gpu_bytes - reserved_bytes, _nodes(gpus_per_node, num_nodes), micro_batches)
    return _cheapest(plans, reserved_bytes, lambda plan: (plan[1], plan[3]))


@right("a price for both, in floats")
def _(num_params, gpu_bytes, gpus_per_node, num_nodes, reserved_bytes, micro_batches):
    best = None
    for gpus in _nodes(gpus_per_node, num_nodes):
        for stage, (whole, split) in enumerate(((16, 0), (4, 12), (2, 14), (0, 16))):
            used = whole * num_params + split * num_params / gpus + reserved_bytes
            sent = _rounds(stage, micro_batches) * (num_params - num_params / gpus)
            cost = gpus + sent / num_params
            if used <= gpu_bytes and (best is None or cost < best[0]):
                best = cost, [stage, gpus, used, sent]
    return best and best[1]


@right("whatever nothing beats, the last of them")
def _(num_params, gpu_bytes, gpus_per_node, num_nodes, reserved_bytes, micro_batches):
    plans = fitting_plans(num_params, gpu_bytes, gpus_per_node, num_nodes, reserved_bytes, micro_batches)
    good = [plan for plan in plans if not any(other.beats(plan) for other in plans)]
    return tuple(good[-1]) if good else None

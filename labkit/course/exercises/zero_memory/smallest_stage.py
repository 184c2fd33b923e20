"""`smallest_stage(num_params, gpu_bytes, max_world_size, …)`: the plan that fits and sends the least."""

import math
from fractions import Fraction
from typing import Any

import numpy as np

from labkit.course.compare import Difference, compare_number
from labkit.course.describe import describe
from labkit.course.exercise import Case, Exercise
from labkit.course.exercises.zero_memory.comm_elements import PASSES
from labkit.course.exercises.zero_memory.options import call_with_options
from labkit.course.exercises.zero_memory.state_bytes import PAPER, cluster_share
from labkit.quantities import json_number

PARTS = ("stage", "world_size", "state_bytes", "comm_elements")
Plan = tuple[int, int, int | float, int | float]


def _cases(seed: int, tier: str) -> list[Case]:
    names = ("num_params", "gpu_bytes", "max_world_size", "bytes_per_param", "options")
    nodes = {"multiple_of": 8}
    listed: list[tuple[str, tuple[Any, ...]]] = [
        ("one GPU holds it", (12, 192, 4, PAPER, {})),
        ("one byte less than one GPU needs", (12, 191, 4, PAPER, {})),
        ("stage 1 on all four, exactly", (12, 84, 4, PAPER, {})),
        ("one byte less than stage 1 needs", (12, 83, 4, PAPER, {})),
        ("the whole part of stage 1 fills the GPU", (12, 48, 40, PAPER, {})),
        ("only stage 3 fits", (12, 24, 40, PAPER, {})),
        ("one GPU too few", (12, 24, 7, PAPER, {})),
        ("fp32 Adam", (12, 132, 8, (4, 4, 8), {})),
        ("room for activations", (12, 184, 8, PAPER, {"reserved_bytes": 100})),
        ("no room but for activations", (12, 184, 8, PAPER, {"reserved_bytes": 184})),
        ("whole nodes", (12, 84, 24, PAPER, nodes)),
        ("a whole node more than there is", (12, 60, 15, PAPER, nodes)),
        ("7.5B on GPUs of 32 GB", (7_500_000_000, 32 * 10**9, 64, PAPER, {})),
        ("128B on GPUs of 32 GB", (128 * 10**9, 32 * 10**9, 1024, PAPER, nodes)),
    ]
    return [*(Case(name, args, names) for name, args in listed), *_random_pair(seed, names)]


def _random_pair(seed: int, names: tuple[str, ...]) -> list[Case]:
    """A tight pair: a GPU that stage 2 on `world` ranks fills to the last byte, and one with a byte less."""
    rng = np.random.default_rng(seed)
    world = 4 * int(rng.integers(2, 12))
    num_params, reserved = world * int(rng.integers(10**7, 10**8)), int(rng.integers(10**8, 10**9))
    gpu_bytes = reserved + int(cluster_share(num_params, world, 2))
    options = {"reserved_bytes": reserved, "multiple_of": 4}
    return [
        Case("random, stage 2 fits exactly", (num_params, gpu_bytes, world, PAPER, options), names),
        Case("random, a byte too small", (num_params, gpu_bytes - 1, world, PAPER, options), names),
    ]


def best_plan(
    num_params: int,
    gpu_bytes: int,
    max_world_size: int,
    bytes_per_param: Any = PAPER,
    reserved_bytes: int = 0,
    multiple_of: int = 1,
) -> Plan | None:
    """The oracle tries every world size of every stage, the smallest first."""
    for stage in range(4):
        for world in range(multiple_of, max_world_size + 1, multiple_of):
            held = cluster_share(num_params, world, stage, bytes_per_param)
            if held + reserved_bytes <= gpu_bytes:
                sent = len(PASSES[stage]) * num_params * Fraction(world - 1, world)
                return stage, world, json_number(held), json_number(sent)
    return None


def _judge(case: Case, value: Any) -> Difference | None:
    *sizes, options = case.args
    expected = best_plan(*sizes, **options)
    if expected is None or value is None:
        return None if expected is value else Difference(_said(expected), _said(value))
    if not isinstance(value, tuple | list) or len(value) != len(PARTS):
        return Difference(_said(expected), f"{describe(value)}: not a tuple of {len(PARTS)}")
    for name, wanted, came in zip(PARTS, expected, value, strict=True):
        if compare_number(wanted, came):
            return Difference(_said(expected), f"{_said(value)}: another {name}")
    return None


def _said(plan: Any) -> str:
    return "None: nothing fits" if plan is None else describe(plan)


smallest_stage = Exercise(
    name="smallest_stage",
    signature="smallest_stage(num_params, gpu_bytes, max_world_size, bytes_per_param=(2, 2, 12), *, reserved_bytes=0,"
    " multiple_of=1)",
    goal="Return (stage, world_size, state_bytes, comm_elements) of the smallest stage that fits on at most"
    " max_world_size GPUs, on the fewest GPUs on which that stage fits, or None where nothing fits. Each GPU sets"
    " reserved_bytes aside; world sizes are multiples of multiple_of (whole nodes).",
    cases=_cases,
    judge_case=_judge,
    probe=call_with_options,
    hints=(
        "A smaller stage sends less or the same. So which of two plans do you want: the smaller stage, or fewer GPUs?",
        "Two loops: stages from 0 up, and inside them world sizes from multiple_of up. The first plan that fits is the"
        " answer. Your state_bytes and comm_elements do the rest.",
        "for stage in range(4): for world in range(multiple_of, max_world_size + 1, multiple_of): `held = state_bytes"
        "(num_params, world, stage, bytes_per_param)`; if `held + reserved_bytes <= gpu_bytes`, return the tuple."
        " After the loops: None.",
    ),
    points=3,
    minutes=12,
    difficulty=2,
    num_lines=7,
)


def _held(num_params, world, stage, sizes):
    return sum(Fraction(b * num_params, world if stage >= s else 1) for b, s in zip(sizes, (3, 2, 1), strict=True))


def _sent(num_params, world, stage):
    return (3 if stage == 3 else 2) * num_params * Fraction(world - 1, world)


def _plan(num_params, world, stage, sizes):
    return stage, world, _held(num_params, world, stage, sizes), _sent(num_params, world, stage)


def _search(num_params, worlds, sizes, room, stages=range(4)):
    fitting = ((s, w) for s in stages for w in worlds if _held(num_params, w, s, sizes) <= room)
    stage, world = next(fitting, (None, None))
    return None if stage is None else _plan(num_params, world, stage, sizes)


@smallest_stage.wrong(
    "most memory saved", "stage 3 fits soonest, and sends half as much again: the smallest that fits."
)
def _(num_params, gpu_bytes, max_world_size, bytes_per_param=PAPER, *, reserved_bytes=0, multiple_of=1):
    worlds = range(multiple_of, max_world_size + 1, multiple_of)
    return _search(num_params, worlds, bytes_per_param, gpu_bytes - reserved_bytes, (3, 2, 1, 0))


@smallest_stage.wrong(
    "fewest GPUs of any stage", "fewer GPUs with a larger stage is another plan; the stage decides first."
)
def _(num_params, gpu_bytes, max_world_size, bytes_per_param=PAPER, *, reserved_bytes=0, multiple_of=1):
    for world in range(multiple_of, max_world_size + 1, multiple_of):
        plan = _search(num_params, [world], bytes_per_param, gpu_bytes - reserved_bytes)
        if plan:
            return plan
    return None


@smallest_stage.wrong("all GPUs taken", "fewer GPUs may do: look for the smallest world size on which the stage fits.")
def _(num_params, gpu_bytes, max_world_size, bytes_per_param=PAPER, *, reserved_bytes=0, multiple_of=1):
    worlds = range(max_world_size // multiple_of * multiple_of, 0, -multiple_of)
    return _search(num_params, list(worlds)[:1], bytes_per_param, gpu_bytes - reserved_bytes)


@smallest_stage.wrong("exact fit refused", "what fills the GPU to the last byte fits: <=, not <.")
def _(num_params, gpu_bytes, max_world_size, bytes_per_param=PAPER, *, reserved_bytes=0, multiple_of=1):
    worlds = range(multiple_of, max_world_size + 1, multiple_of)
    return _search(num_params, worlds, bytes_per_param, gpu_bytes - reserved_bytes - Fraction(1, 10**6))


@smallest_stage.wrong("reserved bytes ignored", "activations and buffers need their room beside the states.")
def _(num_params, gpu_bytes, max_world_size, bytes_per_param=PAPER, *, reserved_bytes=0, multiple_of=1):
    return _search(num_params, range(multiple_of, max_world_size + 1, multiple_of), bytes_per_param, gpu_bytes)


@smallest_stage.wrong("reserved bytes divided", "every GPU sets reserved_bytes aside: ZeRO divides no activations.")
def _(num_params, gpu_bytes, max_world_size, bytes_per_param=PAPER, *, reserved_bytes=0, multiple_of=1):
    for stage in range(4):
        for world in range(multiple_of, max_world_size + 1, multiple_of):
            if _held(num_params, world, stage, bytes_per_param) + Fraction(reserved_bytes, world) <= gpu_bytes:
                return _plan(num_params, world, stage, bytes_per_param)
    return None


@smallest_stage.wrong("parts of nodes", "GPUs come in nodes here: world sizes are multiples of multiple_of.")
def _(num_params, gpu_bytes, max_world_size, bytes_per_param=PAPER, *, reserved_bytes=0, multiple_of=1):
    return _search(num_params, range(1, max_world_size + 1), bytes_per_param, gpu_bytes - reserved_bytes)


@smallest_stage.wrong("powers of two only", "any multiple of multiple_of will do; 45 GPUs are fewer than 64.")
def _(num_params, gpu_bytes, max_world_size, bytes_per_param=PAPER, *, reserved_bytes=0, multiple_of=1):
    worlds = [multiple_of * 2**power for power in range(30) if multiple_of * 2**power <= max_world_size]
    return _search(num_params, worlds, bytes_per_param, gpu_bytes - reserved_bytes)


@smallest_stage.wrong("16 bytes in any case", "use the bytes per parameter that were asked for.")
def _(num_params, gpu_bytes, max_world_size, bytes_per_param=PAPER, *, reserved_bytes=0, multiple_of=1):
    worlds = range(multiple_of, max_world_size + 1, multiple_of)
    return _search(num_params, worlds, PAPER, gpu_bytes - reserved_bytes)


@smallest_stage.wrong(
    "memory of all GPUs together", "what is not split stands on every GPU: one rank's bytes have to fit on one GPU."
)
def _(num_params, gpu_bytes, max_world_size, bytes_per_param=PAPER, *, reserved_bytes=0, multiple_of=1):
    room = gpu_bytes - reserved_bytes
    for world in range(multiple_of, max_world_size + 1, multiple_of):
        if sum(bytes_per_param) * num_params <= world * room:
            stage = next((s for s in range(4) if _held(num_params, world, s, bytes_per_param) <= room), 0)
            return _plan(num_params, world, min(stage, 1), bytes_per_param)
    return None


@smallest_stage.wrong("stage 0 never tried", "a model that fits on one GPU needs no ZeRO.")
def _(num_params, gpu_bytes, max_world_size, bytes_per_param=PAPER, *, reserved_bytes=0, multiple_of=1):
    worlds = range(multiple_of, max_world_size + 1, multiple_of)
    return _search(num_params, worlds, bytes_per_param, gpu_bytes - reserved_bytes, (1, 2, 3))


@smallest_stage.wrong("last world size missed", "max_world_size GPUs may be used: range ends one before its end.")
def _(num_params, gpu_bytes, max_world_size, bytes_per_param=PAPER, *, reserved_bytes=0, multiple_of=1):
    worlds = range(multiple_of, max_world_size, multiple_of)
    return _search(num_params, worlds, bytes_per_param, gpu_bytes - reserved_bytes)


@smallest_stage.wrong("rounded up past what there is", "a whole node more is of no use where there is none.")
def _(num_params, gpu_bytes, max_world_size, bytes_per_param=PAPER, *, reserved_bytes=0, multiple_of=1):
    plan = _search(num_params, range(1, max_world_size + 1), bytes_per_param, gpu_bytes - reserved_bytes)
    return plan and _plan(num_params, math.ceil(plan[1] / multiple_of) * multiple_of, plan[0], bytes_per_param)


@smallest_stage.wrong("stage and world size only", "a plan says what it holds and what it sends, too: four numbers.")
def _(num_params, gpu_bytes, max_world_size, bytes_per_param=PAPER, *, reserved_bytes=0, multiple_of=1):
    worlds = range(multiple_of, max_world_size + 1, multiple_of)
    plan = _search(num_params, worlds, bytes_per_param, gpu_bytes - reserved_bytes)
    return plan and plan[:2]


@smallest_stage.right("every stage, every world size")
def _(num_params, gpu_bytes, max_world_size, bytes_per_param=PAPER, *, reserved_bytes=0, multiple_of=1):
    worlds = range(multiple_of, max_world_size + 1, multiple_of)
    return _search(num_params, worlds, bytes_per_param, gpu_bytes - reserved_bytes)


@smallest_stage.right("solved for the world size")
def _(num_params, gpu_bytes, max_world_size, bytes_per_param=PAPER, *, reserved_bytes=0, multiple_of=1):
    p, g, o = bytes_per_param
    for stage, (whole, split) in enumerate(((p + g + o, 0), (p + g, o), (p, g + o), (0, p + g + o))):
        room = gpu_bytes - reserved_bytes - whole * num_params
        if room < 0 or (room == 0 and split):
            continue
        world = math.ceil(Fraction(split * num_params, room)) if split else 1
        world = max(1, math.ceil(world / multiple_of)) * multiple_of
        if world <= max_world_size:
            return _plan(num_params, world, stage, bytes_per_param)
    return None


@smallest_stage.right("bisection")
def _(num_params, gpu_bytes, max_world_size, bytes_per_param=PAPER, *, reserved_bytes=0, multiple_of=1):
    room = gpu_bytes - reserved_bytes
    for stage in range(4):
        low, high = 0, max_world_size // multiple_of
        while low < high:  # held bytes fall as ranks are added
            middle = (low + high) // 2
            fits = _held(num_params, (middle + 1) * multiple_of, stage, bytes_per_param) <= room
            low, high = (low, middle) if fits else (middle + 1, high)
        if low < max_world_size // multiple_of:
            return list(_plan(num_params, (low + 1) * multiple_of, stage, bytes_per_param))
    return None

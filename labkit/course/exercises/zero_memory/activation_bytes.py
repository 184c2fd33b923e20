"""`activation_bytes(seq, batch, hidden, heads, layers, …)`: what waits for the backward pass."""

from fractions import Fraction
from typing import Any

import numpy as np

from labkit.course.compare import Difference, compare_number
from labkit.course.exercise import Case, Exercise
from labkit.course.exercises.zero_memory.options import call_with_options
from labkit.quantities import json_number

# What one layer saves (arXiv 2205.05198, §4.1, Figure 2): (what, elements, bytes each, split by tensor parallelism).
# Elements are in sbh, or in a·s²·b for the attention matrices; dropout masks take one byte.
SAVED: tuple[tuple[str, int, int, bool], ...] = (
    ("input of LayerNorm 1", 1, 2, False),
    ("input of query, key and value", 1, 2, False),
    ("query", 1, 2, True),
    ("key", 1, 2, True),
    ("value", 1, 2, True),
    ("input of the output projection", 1, 2, True),
    ("attention dropout mask", 1, 1, False),
    ("input of LayerNorm 2", 1, 2, False),
    ("input of the MLP", 1, 2, False),
    ("input of GELU", 4, 2, True),
    ("input of the second matrix", 4, 2, True),
    ("MLP dropout mask", 1, 1, False),
)
MATRICES: tuple[tuple[str, int], ...] = (("softmax output", 2), ("softmax dropout mask", 1), ("dropout output", 2))


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)
    names = ("seq", "batch", "hidden", "heads", "layers", "options")
    sizes = (6, 2, 8, 4, 1)
    options: list[dict[str, Any]] = [
        {},
        {"recompute": "selective"},
        {"recompute": "full"},
        {"tensor_parallel": 2},
        {"tensor_parallel": 4, "sequence_parallel": True},
        {"tensor_parallel": 2, "recompute": "selective"},
        {"tensor_parallel": 2, "recompute": "full"},
        {"tensor_parallel": 2, "sequence_parallel": True, "recompute": "full"},
        {"tensor_parallel": 3, "sequence_parallel": True, "recompute": "selective"},
    ]
    head_dim, heads = (int(size) for size in rng.integers((8, 3), (33, 13)))
    seq, batch, layers = (int(size) for size in rng.integers((40, 3, 3), (200, 9, 20)))
    large = (seq, batch, head_dim * heads, heads, layers)
    return [
        *(Case(_said(each), (*sizes, each), names) for each in options),
        Case("three layers", (6, 2, 8, 4, 3, {}), names),
        Case("LLaMA-7B's sizes", (2048, 1, 4096, 32, 32, {}), names),
        *(Case(f"random, {_said(each)}", (*large, each), names) for each in options[::2]),
    ]


def _said(options: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options.items()) or "nothing split or recomputed"


def saved_bytes(
    seq: int,
    batch: int,
    hidden: int,
    heads: int,
    layers: int = 1,
    tensor_parallel: int = 1,
    sequence_parallel: bool = False,
    recompute: str = "none",
) -> Fraction:
    """The oracle adds up the paper's list of tensors, one by one."""

    def share(is_split: bool) -> Fraction:
        return Fraction(1, tensor_parallel if is_split or sequence_parallel else 1)

    wide, matrix = seq * batch * hidden, heads * seq * seq * batch
    if recompute == "full":
        return layers * 2 * wide * share(False)
    layer = sum((count * wide * size * share(is_split) for _, count, size, is_split in SAVED), Fraction(0))
    if recompute == "none":
        layer += sum((matrix * size * share(True) for _, size in MATRICES), Fraction(0))
    elif recompute != "selective":
        raise ValueError(f"recompute is none, selective or full, not {recompute!r}")
    return layers * layer


def _judge(case: Case, value: Any) -> Difference | None:
    *sizes, options = case.args
    return compare_number(json_number(saved_bytes(*sizes, **options)), value)


activation_bytes = Exercise(
    name="activation_bytes",
    signature="activation_bytes(seq, batch, hidden, heads, layers=1, *, tensor_parallel=1, sequence_parallel=False,"
    ' recompute="none")',
    goal="Return the bytes of activations that one rank keeps for backward: sbh(34 + 5as/h) for each layer. With t"
    " tensor-parallel ranks 10 of the 34 stay whole and everything else is divided by t; sequence parallelism divides"
    ' the 10 as well. recompute="selective" drops the attention matrices (5as/h); "full" keeps only the layer\'s input,'
    " 2sbh, whole on each rank unless sequence parallelism divides it.",
    cases=_cases,
    judge_case=_judge,
    probe=call_with_options,
    hints=(
        "34 and 5 are bytes already. Which part of the formula grows with the square of seq?",
        "Split the 34 into 10, which tensor parallelism leaves whole, and 24, which it divides like the matrices."
        " Sequence parallelism divides the 10 as well.",
        "`t = tensor_parallel`; `whole = t if sequence_parallel else 1`; full: `layers * 2*s*b*h / whole`; otherwise"
        " `matrices = 5*a*s/h`, or 0 if selective; `layers * s*b*h * (10/whole + (24 + matrices)/t)`.",
    ),
    points=2,
    minutes=10,
    difficulty=2,
    num_lines=6,
)


def _formula(s, b, h, a, layers, t, sp, recompute, *, whole=10, split=24, matrices=5, full=2):
    kept = t if sp else 1
    if recompute == "full":
        return Fraction(layers * full * s * b * h, kept)
    inside = Fraction(whole * h, kept) + Fraction(split * h, t)
    return layers * s * b * (inside + Fraction(0 if recompute == "selective" else matrices * a * s, t))


def _options(tensor_parallel=1, sequence_parallel=False, recompute="none"):
    return tensor_parallel, sequence_parallel, recompute


@activation_bytes.wrong("doubled for fp16", "34 and 5 count bytes already: most terms are 2 because fp16 takes 2.")
def _(seq, batch, hidden, heads, layers=1, **options):
    return 2 * _formula(seq, batch, hidden, heads, layers, *_options(**options))


@activation_bytes.wrong(
    "attention matrices forgotten", "without recompute they are there, often the largest part: 5as²b."
)
def _(seq, batch, hidden, heads, layers=1, **options):
    return _formula(seq, batch, hidden, heads, layers, *_options(**options), matrices=0)


@activation_bytes.wrong(
    "full recompute like selective", "full recompute keeps the layer's input and nothing else, 2sbh."
)
def _(seq, batch, hidden, heads, layers=1, **options):
    t, sp, recompute = _options(**options)
    return _formula(seq, batch, hidden, heads, layers, t, sp, "none" if recompute == "none" else "selective")


@activation_bytes.wrong("selective recompute like full", "selective recompute drops the attention matrices only.")
def _(seq, batch, hidden, heads, layers=1, **options):
    t, sp, recompute = _options(**options)
    return _formula(seq, batch, hidden, heads, layers, t, sp, "none" if recompute == "none" else "full")


@activation_bytes.wrong("recompute ignored", "recomputed activations are not kept.")
def _(seq, batch, hidden, heads, layers=1, **options):
    t, sp, _recompute = _options(**options)
    return _formula(seq, batch, hidden, heads, layers, t, sp, "none")


@activation_bytes.wrong("everything divided by t", "without sequence parallelism, 10sbh stay whole on every rank.")
def _(seq, batch, hidden, heads, layers=1, **options):
    t, _sp, recompute = _options(**options)
    return _formula(seq, batch, hidden, heads, layers, t, True, recompute)


@activation_bytes.wrong("nothing divided by t", "tensor-parallel ranks share 24sbh and the attention matrices.")
def _(seq, batch, hidden, heads, layers=1, **options):
    return _formula(seq, batch, hidden, heads, layers, 1, False, _options(**options)[2])


@activation_bytes.wrong("sequence parallelism ignored", "with it the 10sbh are divided as well.")
def _(seq, batch, hidden, heads, layers=1, **options):
    t, _sp, recompute = _options(**options)
    return _formula(seq, batch, hidden, heads, layers, t, False, recompute)


@activation_bytes.wrong("attention matrices whole", "heads are divided among t ranks, and the matrices with them.")
def _(seq, batch, hidden, heads, layers=1, **options):
    t, sp, recompute = _options(**options)
    kept = _formula(seq, batch, hidden, heads, layers, t, sp, "full" if recompute == "full" else "selective")
    return kept + (layers * 5 * heads * seq**2 * batch if recompute == "none" else 0)


@activation_bytes.wrong("one matrix for all heads", "every head has s x s weights of its own: 5as²b.")
def _(seq, batch, hidden, heads, layers=1, **options):
    return _formula(seq, batch, hidden, 1, layers, *_options(**options))


@activation_bytes.wrong("one layer only", "every layer keeps its own.")
def _(seq, batch, hidden, heads, layers=1, **options):
    return _formula(seq, batch, hidden, heads, 1, *_options(**options))


@activation_bytes.wrong("nothing left by full recompute", "recomputing starts from the layer's input: 2sbh stay.")
def _(seq, batch, hidden, heads, layers=1, **options):
    return _formula(seq, batch, hidden, heads, layers, *_options(**options), full=0)


@activation_bytes.wrong(
    "input of a recomputed layer divided", "tensor parallelism alone leaves the layer's input whole."
)
def _(seq, batch, hidden, heads, layers=1, **options):
    t, sp, recompute = _options(**options)
    return _formula(seq, batch, hidden, heads, layers, t, sp or recompute == "full", recompute)


@activation_bytes.wrong(
    "input of a recomputed layer never divided",
    "full recompute keeps 2sbh, and sequence parallelism divides them like everything else: 2sbh/t.",
)
def _(seq, batch, hidden, heads, layers=1, **options):
    t, sp, recompute = _options(**options)
    return _formula(seq, batch, hidden, heads, layers, t, sp and recompute != "full", recompute)


@activation_bytes.wrong("one recomputed layer", "full recompute keeps the input of every layer: layers · 2sbh.")
def _(seq, batch, hidden, heads, layers=1, **options):
    t, sp, recompute = _options(**options)
    return _formula(seq, batch, hidden, heads, 1 if recompute == "full" else layers, t, sp, recompute)


@activation_bytes.wrong(
    "elements of a recomputed layer's input", "bytes are asked for: an fp16 element takes 2, so 2sbh."
)
def _(seq, batch, hidden, heads, layers=1, **options):
    return _formula(seq, batch, hidden, heads, layers, *_options(**options), full=1)


@activation_bytes.wrong("no dropout", "the formula counts dropout masks and outputs: 34 and 5, not 32 and 2.")
def _(seq, batch, hidden, heads, layers=1, **options):
    return _formula(seq, batch, hidden, heads, layers, *_options(**options), whole=8, matrices=2)


@activation_bytes.wrong("12 elements a token", "ZeRO's footnote 3 says about 12·h·b·s·L elements: a lower bound.")
def _(seq, batch, hidden, heads, layers=1, **options):
    return 24 * seq * batch * hidden * layers


@activation_bytes.right("formula")
def _(seq, batch, hidden, heads, layers=1, *, tensor_parallel=1, sequence_parallel=False, recompute="none"):
    t, whole = tensor_parallel, tensor_parallel if sequence_parallel else 1
    sbh = seq * batch * hidden
    if recompute == "full":
        return layers * 2 * sbh / whole
    matrices = 0 if recompute == "selective" else 5 * heads * seq / hidden
    return layers * sbh * (10 / whole + (24 + matrices) / t)


@activation_bytes.right("attention, MLP, LayerNorm")
def _(seq, batch, hidden, heads, layers=1, *, tensor_parallel=1, sequence_parallel=False, recompute="none"):
    sbh, as2b, t = seq * batch * hidden, heads * seq**2 * batch, Fraction(tensor_parallel)
    rest = t if sequence_parallel else 1
    attention = 3 * sbh / rest + 8 * sbh / t + (5 * as2b / t if recompute == "none" else 0)
    mlp = 3 * sbh / rest + 16 * sbh / t
    norms = 4 * sbh / rest
    return layers * (2 * sbh / rest if recompute == "full" else attention + mlp + norms)


@activation_bytes.right("a table of recompute")
def _(seq, batch, hidden, heads, layers=1, *, tensor_parallel=1, sequence_parallel=False, recompute="none"):
    # whole and split, in bytes per token
    whole, split = {
        "none": (10 * hidden, 24 * hidden + 5 * heads * seq),
        "selective": (10 * hidden, 24 * hidden),
        "full": (2 * hidden, 0),
    }[recompute]
    whole = Fraction(whole, tensor_parallel) if sequence_parallel else whole
    return layers * seq * batch * (whole + Fraction(split, tensor_parallel))

"""`transformer_params(layers, hidden, vocab, ffn, …)`: Φ, to the last bias."""

import math
from typing import Any

import numpy as np

from labkit.course.compare import Difference, compare_count
from labkit.course.exercise import Case, Exercise
from labkit.course.exercises.zero_memory.options import call_with_options

LLAMA: dict[str, Any] = {"gated": True, "biases": False, "tied": False}


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)
    names = ("layers", "hidden", "vocab", "ffn", "options")
    plain = {"biases": False}
    listed: list[tuple[str, tuple[Any, ...]]] = [
        ("one layer, no biases", (1, 4, 10, 8, plain)),
        ("one layer", (1, 4, 10, 8, {})),
        ("three layers, another MLP width", (3, 4, 10, 12, plain)),
        ("an output head of its own", (1, 4, 10, 8, {**plain, "tied": False})),
        ("learned positions", (1, 4, 10, 8, {**plain, "positions": 6})),
        ("a gated MLP", (1, 4, 10, 8, {**plain, "gated": True})),
        ("a gated MLP with biases", (1, 4, 10, 8, {"gated": True})),
        ("two query heads to a key head", (1, 8, 10, 16, {**plain, "heads": 4, "kv_heads": 2})),
        ("grouped heads with biases", (2, 8, 10, 16, {"heads": 4, "kv_heads": 1})),
        ("heads, not grouped", (2, 8, 10, 16, {"heads": 4})),
        ("GPT-2 small", (12, 768, 50257, 3072, {"heads": 12, "positions": 1024})),
        ("LLaMA-7B", (32, 4096, 32000, 11008, {"heads": 32, **LLAMA})),
    ]
    cases = [Case(name, args, names) for name, args in listed]
    return cases + [Case("random", _random(rng, gated), names) for gated in (False, True)]


def _random(rng: np.random.Generator, gated: bool) -> tuple[Any, ...]:
    kv_heads, group, head_dim = (int(size) for size in rng.integers((2, 2, 4), (5, 5, 17)))
    layers, vocab, ffn, positions = (int(size) for size in rng.integers((2, 100, 50, 10), (9, 999, 500, 90)))
    options = {"heads": kv_heads * group, "kv_heads": kv_heads, "positions": positions, "gated": gated}
    return layers, kv_heads * group * head_dim, vocab, ffn, {**options, "biases": not gated, "tied": not gated}


def tensor_shapes(
    hidden: int,
    vocab: int,
    ffn: int,
    heads: int = 1,
    kv_heads: int | None = None,
    positions: int = 0,
    gated: bool = False,
    biases: bool = True,
    tied: bool = True,
) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """The oracle names every tensor: the shapes of one layer's, and of those outside the layers."""
    kv_width = hidden // heads * (heads if kv_heads is None else kv_heads)
    linear = [(hidden, hidden), (kv_width, hidden), (kv_width, hidden), (hidden, hidden)]  # query, key, value, output
    linear += [(ffn, hidden)] * (2 if gated else 1) + [(hidden, ffn)]
    norm: list[tuple[int, ...]] = [(hidden,)] * (2 if biases else 1)
    layer = [*norm, *norm, *linear, *([(rows,) for rows, _ in linear] if biases else [])]
    outside = [(vocab, hidden), (positions, hidden), *norm, *([] if tied else [(vocab, hidden)])]
    return layer, outside


def num_params(layers: int, hidden: int, vocab: int, ffn: int, **options: Any) -> int:
    """All tensors' entries."""
    layer, outside = tensor_shapes(hidden, vocab, ffn, **options)
    return layers * sum(map(math.prod, layer)) + sum(map(math.prod, outside))


def _judge(case: Case, value: Any) -> Difference | None:
    *sizes, options = case.args
    return compare_count(num_params(*sizes, **options), value)


transformer_params = Exercise(
    name="transformer_params",
    signature="transformer_params(layers, hidden, vocab, ffn, *, heads=1, kv_heads=None, positions=0, gated=False,"
    " biases=True, tied=True)",
    goal="Return the exact number of parameters of a decoder. A layer has two norms, query, key, value and output"
    " matrices, and an MLP of two matrices (three if gated); outside are the embedding, `positions` rows of learned"
    " positions, a last norm, and an output head unless it is tied to the embedding. Biases stand in every linear"
    " layer but the head, and in every norm.",
    cases=_cases,
    judge_case=_judge,
    probe=call_with_options,
    hints=(
        "Write down the shape of every tensor of one layer, for hidden = 4 and ffn = 8. Which of them become narrower"
        " when four query heads share one key head?",
        "Query and output are h·h. Key and value are h·kv, with kv = h · kv_heads / heads (kv_heads=None means as many"
        " as heads). The MLP is 2·h·f, or 3·h·f if gated. A bias is as long as its layer's output.",
        "`matrices = 2*h*h + 2*h*kv + (3 if gated else 2)*h*f`; `layer = matrices + 2*h`;"
        " `outside = V*h * (1 if tied else 2) + positions*h + h`; with biases, per layer: h + 2*kv + h for attention,"
        " (2 if gated else 1)*f + h for the MLP, 2*h for the norms; and h outside.",
    ),
    points=2,
    minutes=12,
    difficulty=2,
    num_lines=9,
)


def _count(
    layers, hidden, vocab, ffn, *, heads=1, kv_heads=None, positions=0, gated=False, biases=True, tied=True, **spoilt
):
    kv = hidden // heads * (kv_heads or heads)
    wide = 3 if gated else 2
    layer = 2 * hidden * hidden + 2 * hidden * kv + wide * hidden * ffn + spoilt.get("norms", 2) * hidden
    bias = 2 * hidden + 2 * kv + (wide - 1) * ffn + hidden
    outside = (1 if tied else 2) * vocab * hidden + positions * hidden + spoilt.get("last_norm", 1) * hidden
    if biases:
        layer += bias + spoilt.get("norm_biases", 2) * hidden
        outside += spoilt.get("last_norm", 1) * hidden + spoilt.get("head_bias", 0) * vocab
    return layers * layer + outside


@transformer_params.wrong("12·L·h² and the embedding", "that is a rule of thumb: no norms, no biases, an MLP of 4h.")
def _(layers, hidden, vocab, ffn, **options):
    return 12 * layers * hidden**2 + vocab * hidden


@transformer_params.wrong("an MLP of 4h in any case", "the MLP is ffn wide; a published widget ignores that.")
def _(layers, hidden, vocab, ffn, **options):
    return _count(layers, hidden, vocab, 4 * hidden, **options)


@transformer_params.wrong("no gate", "SwiGLU has a third matrix, as large as the other two.")
def _(layers, hidden, vocab, ffn, **options):
    return _count(layers, hidden, vocab, ffn, **{**options, "gated": False})


@transformer_params.wrong(
    "keys for every query head", "grouped heads share keys and values: those matrices are narrower."
)
def _(layers, hidden, vocab, ffn, **options):
    return _count(layers, hidden, vocab, ffn, **{**options, "kv_heads": None})


@transformer_params.wrong("no biases", "with biases=True every linear layer but the head has one, and every norm.")
def _(layers, hidden, vocab, ffn, **options):
    return _count(layers, hidden, vocab, ffn, **{**options, "biases": False})


@transformer_params.wrong("biases in any case", "with biases=False there are none, not in the norms either.")
def _(layers, hidden, vocab, ffn, **options):
    return _count(layers, hidden, vocab, ffn, **{**options, "biases": True})


@transformer_params.wrong("a tied head counted again", "a weight that is used twice is held once.")
def _(layers, hidden, vocab, ffn, **options):
    return _count(layers, hidden, vocab, ffn, **{**options, "tied": False})


@transformer_params.wrong("head forgotten", "with tied=False the output head is a second matrix of vocab x hidden.")
def _(layers, hidden, vocab, ffn, **options):
    return _count(layers, hidden, vocab, ffn, **{**options, "tied": True})


@transformer_params.wrong("positions forgotten", "a learned position table has `positions` rows of hidden.")
def _(layers, hidden, vocab, ffn, **options):
    return _count(layers, hidden, vocab, ffn, **{**options, "positions": 0})


@transformer_params.wrong(
    "norms forgotten", "each layer has two norms with hidden weights each, and one stands at the end."
)
def _(layers, hidden, vocab, ffn, **options):
    return _count(layers, hidden, vocab, ffn, norms=0, norm_biases=0, last_norm=0, **options)


@transformer_params.wrong("last norm forgotten", "behind the last layer stands one more norm.")
def _(layers, hidden, vocab, ffn, **options):
    return _count(layers, hidden, vocab, ffn, last_norm=0, **options)


@transformer_params.wrong("one norm a layer", "a layer has two norms: one before attention, one before the MLP.")
def _(layers, hidden, vocab, ffn, **options):
    return _count(layers, hidden, vocab, ffn, norms=1, norm_biases=1, **options)


@transformer_params.wrong("norms without biases", "a LayerNorm has a bias beside its weight.")
def _(layers, hidden, vocab, ffn, **options):
    whole = _count(layers, hidden, vocab, ffn, norm_biases=0, **options)
    return whole - (hidden if options.get("biases", True) else 0)


@transformer_params.wrong("a bias in the head", "the output head has no bias.")
def _(layers, hidden, vocab, ffn, **options):
    return _count(layers, hidden, vocab, ffn, head_bias=1, **options)


@transformer_params.wrong("one layer only", "every layer has weights of its own.")
def _(layers, hidden, vocab, ffn, **options):
    return _count(1, hidden, vocab, ffn, **options)


@transformer_params.right("added up")
def _(layers, hidden, vocab, ffn, **options):
    return _count(layers, hidden, vocab, ffn, **options)


@transformer_params.right("weights and biases of each linear layer")
def _(layers, hidden, vocab, ffn, *, heads=1, kv_heads=None, positions=0, gated=False, biases=True, tied=True):
    def linear(inputs, outputs):
        return (inputs + biases) * outputs

    kv = hidden * (heads if kv_heads is None else kv_heads) // heads
    norm = hidden * (1 + biases)
    mlp = linear(hidden, ffn) * (1 + gated) + linear(ffn, hidden)
    layer = 2 * linear(hidden, hidden) + 2 * linear(hidden, kv) + mlp + 2 * norm
    return layers * layer + norm + (vocab * (2 - tied) + positions) * hidden


@transformer_params.right("arrays without memory")
def _(layers, hidden, vocab, ffn, *, heads=1, kv_heads=None, positions=0, gated=False, biases=True, tied=True):
    def size(*shape):
        return np.broadcast_to(np.int8(0), shape).size

    kv = hidden // heads * (kv_heads or heads)
    outputs = [(hidden, hidden), (hidden, kv), (hidden, kv), (hidden, hidden), (ffn, hidden), (hidden, ffn)]
    outputs += [(hidden, ffn)] if gated else []
    norms = size(2 * layers + 1, 1 + biases, hidden)
    total = sum(size(layers, a, b) + biases * size(layers, b) for a, b in outputs) + norms
    return total + size(1 if tied else 2, vocab, hidden) + size(positions, hidden)

"""Calculators to be tested: for each question right ones and broken ones, all of them by keyword arguments.

The broken ones have one defect each. Those marked "published" are modelled on calculators that people use; each defect
was found in the code named beside it. None of them raises, and most are right on many inputs: a test needs the others.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

Calculator = Callable[..., Any]


class Broken(NamedTuple):
    """A calculator with a defect, and where such a defect was published ("" where it was made up here)."""

    calculator: Calculator
    published: str = ""


# --- state_bytes(num_params, world_size, stage, bytes_per_param) -------------------------------------------


def _states(num_params, world_size, stage, bytes_per_param=(2, 2, 12)):
    p, g, o = bytes_per_param
    whole, split = ((p + g + o, 0), (p + g, o), (p, g + o), (0, p + g + o))[stage]
    return Fraction(num_params * (whole * world_size + split), world_size)


def _states_in_floats(num_params, world_size, stage, bytes_per_param=(2, 2, 12)):
    p, g, o = bytes_per_param
    p, g, o = (
        p / (world_size if stage > 2 else 1),
        g / (world_size if stage > 1 else 1),
        o / (world_size if stage else 1),
    )
    return num_params * p + num_params * g + num_params * o


def _maximum_of_the_parts(num_params, world_size, stage, bytes_per_param=(2, 2, 12)):
    p, g, o = bytes_per_param
    alone = ((p, 0, 0), (0, g, 0), (0, 0, o))
    return max(_states(num_params, world_size, stage, part) for part in alone)


def _gib_for_gb(num_params, world_size, stage, bytes_per_param=(2, 2, 12)):
    return float(_states(num_params, world_size, stage, bytes_per_param)) / 2**30 * 1e9


def _fp32_gradients(num_params, world_size, stage, bytes_per_param=(2, 2, 12)):
    p, g, o = bytes_per_param
    return _states(num_params, world_size, stage, (p, max(g, 4), o))


def _stage_1_like_stage_2(num_params, world_size, stage, bytes_per_param=(2, 2, 12)):
    return _states(num_params, world_size, 2 if stage == 1 else stage, bytes_per_param)


def _default_bytes(num_params, world_size, stage, bytes_per_param=(2, 2, 12)):
    return _states(num_params, world_size, stage)


# --- transformer_params(layers, hidden, vocab, ffn, heads, kv_heads, gated), no biases, a head of its own --


def _params(layers, hidden, vocab, ffn, heads=1, kv_heads=1, gated=True):
    kv = hidden * (heads if kv_heads is None else kv_heads) // heads
    return layers * (2 * hidden * (hidden + kv) + (3 if gated else 2) * hidden * ffn + 2 * hidden) + (
        2 * vocab * hidden + hidden
    )


def _params_in_floats(layers, hidden, vocab, ffn, heads=1, kv_heads=1, gated=True):
    attention = 2.0 * hidden**2 * (1 + (heads if kv_heads is None else kv_heads) / heads)
    mlp = (2.0 + gated) * hidden * ffn
    return layers * (attention + mlp) + hidden * (2 * vocab + 2 * layers + 1)


def _mlp_of_four_h(layers, hidden, vocab, ffn, heads=1, kv_heads=1, gated=True):
    return _params(layers, hidden, vocab, 4 * hidden, heads, kv_heads, gated=False)


def _key_heads_ignored(layers, hidden, vocab, ffn, heads=1, kv_heads=1, gated=True):
    return _params(layers, hidden, vocab, ffn, heads, heads, gated)


def _always_gated(layers, hidden, vocab, ffn, heads=1, kv_heads=1, gated=True):
    return _params(layers, hidden, vocab, ffn, heads, kv_heads, gated=True)


# --- activation_bytes(seq, batch, hidden, heads, layers, tensor_parallel, sequence_parallel, recompute) ----


def _kept(seq, batch, hidden, heads, layers=1, tensor_parallel=1, sequence_parallel=False, recompute="none"):
    whole, split = {
        "none": (10 * hidden, 24 * hidden + 5 * heads * seq),
        "selective": (10 * hidden, 24 * hidden),
        "full": (2 * hidden, 0),
    }[recompute]
    share = Fraction(whole, tensor_parallel if sequence_parallel else 1) + Fraction(split, tensor_parallel)
    return layers * seq * batch * share


def _kept_in_floats(seq, batch, hidden, heads, layers=1, tensor_parallel=1, sequence_parallel=False, recompute="none"):
    return float(_kept(seq, batch, hidden, heads, layers, tensor_parallel, sequence_parallel, recompute))


def _no_matrices(seq, batch, hidden, heads, layers=1, tensor_parallel=1, sequence_parallel=False, recompute="none"):
    recompute = "selective" if recompute == "none" else recompute
    return _kept(seq, batch, hidden, heads, layers, tensor_parallel, sequence_parallel, recompute)


def _full_is_selective(
    seq, batch, hidden, heads, layers=1, tensor_parallel=1, sequence_parallel=False, recompute="none"
):
    recompute = "selective" if recompute == "full" else recompute
    return _kept(seq, batch, hidden, heads, layers, tensor_parallel, sequence_parallel, recompute)


def _matrices_whole_with_sequence_parallel(
    seq, batch, hidden, heads, layers=1, tensor_parallel=1, sequence_parallel=False, recompute="none"
):
    kept = _kept(seq, batch, hidden, heads, layers, tensor_parallel, sequence_parallel, recompute)
    if recompute != "none" or not sequence_parallel:
        return kept
    matrices = 5 * layers * heads * seq * seq * batch
    return kept + matrices - Fraction(matrices, tensor_parallel)


def _doubled(seq, batch, hidden, heads, layers=1, tensor_parallel=1, sequence_parallel=False, recompute="none"):
    kept = _kept(seq, batch, hidden, heads, layers, tensor_parallel, sequence_parallel, recompute)
    return 2 * kept if recompute == "none" else kept


# --- kv_cache_bytes(seq, batch, layers, kv_heads, head_dim, bytes_per_element) -----------------------------


def _cache(seq, batch, layers, kv_heads, head_dim, bytes_per_element=2):
    return 2 * seq * batch * layers * kv_heads * head_dim * bytes_per_element


def _cache_in_floats(seq, batch, layers, kv_heads, head_dim, bytes_per_element=2):
    return 2.0 * seq * batch * (layers * kv_heads * head_dim) * bytes_per_element


def _keys_only(seq, batch, layers, kv_heads, head_dim, bytes_per_element=2):
    return seq * batch * layers * kv_heads * head_dim * bytes_per_element


def _one_sequence(seq, batch, layers, kv_heads, head_dim, bytes_per_element=2):
    return _cache(seq, 1, layers, kv_heads, head_dim, bytes_per_element)


def _two_bytes(seq, batch, layers, kv_heads, head_dim, bytes_per_element=2):
    return _cache(seq, batch, layers, kv_heads, head_dim)


def all_right() -> dict[str, dict[str, Calculator]]:
    """For each question the calculators that answer it rightly, by name."""
    return {
        "state_bytes": {"right, in Fractions": _states, "right, in floats": _states_in_floats},
        "transformer_params": {"right, in whole numbers": _params, "right, in floats": _params_in_floats},
        "activation_bytes": {"right, in Fractions": _kept, "right, in floats": _kept_in_floats},
        "kv_cache_bytes": {"right, in whole numbers": _cache, "right, in floats": _cache_in_floats},
    }


def all_broken() -> dict[str, dict[str, Broken]]:
    """For each question the broken ones, by the name of their defect; the first is the one that a learner is shown."""
    return {
        "state_bytes": {
            "GiB called GB": Broken(_gib_for_gb, "DeepSpeed's estimators (runtime/zero)"),
            "the largest part, not the sum": Broken(_maximum_of_the_parts, "accelerate 1.15, estimate-memory"),
            "fp32 gradients in any case": Broken(_fp32_gradients),
            "stage 1 answered as stage 2": Broken(_stage_1_like_stage_2),
            "2 + 2 + 12 in any case": Broken(_default_bytes),
        },
        "transformer_params": {
            "an MLP of 4h in any case": Broken(_mlp_of_four_h, "the ultra-scale playbook's early memory widget"),
            "grouped heads ignored": Broken(_key_heads_ignored, "the same widget"),
            "always a gated MLP": Broken(_always_gated),
        },
        "activation_bytes": {
            "full recompute like selective": Broken(
                _full_is_selective, "EleutherAI's cookbook, calc_transformer_mem.py"
            ),
            "no attention matrices": Broken(_no_matrices, "Megatron-LM, theoretical_memory_usage.py"),
            "matrices whole with sequence parallelism": Broken(
                _matrices_whole_with_sequence_parallel, "the ultra-scale playbook's early memory widget"
            ),
            "doubled for fp16": Broken(_doubled),
        },
        "kv_cache_bytes": {
            "keys without values": Broken(_keys_only, "EleutherAI's cookbook, calc_transformer_mem.py"),
            "one sequence": Broken(_one_sequence),
            "2 bytes in any case": Broken(_two_bytes),
        },
    }


def find_calculator(question: str, name: str) -> Calculator:
    """The calculator of that name, right or broken."""
    right = all_right()[question]
    return right[name] if name in right else all_broken()[question][name].calculator


# Four broken calculators, one for each question: those that the lab gives to look at.
SHOWN: dict[str, Calculator] = {
    question: next(iter(broken.values())).calculator for question, broken in all_broken().items()
}

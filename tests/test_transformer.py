"""Formulas against instantiated models, torch's own counters, and the published sizes of released weights."""

import doctest
import subprocess
import sys
from fractions import Fraction
from importlib import import_module

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.transformer import (
    PRESETS,
    QuantityError,
    TransformerShape,
    activation_bytes,
    find_shape,
    kv_cache_bytes,
    saved_outside_layers,
    saved_tensors,
    transformer_flops,
    transformer_params,
)
from labkit.transformer.measured import (
    measured_activation_bytes,
    measured_flops,
    measured_layer_bytes,
    measured_params,
)
from labkit.transformer.models import build_model

# Parameters of the released weights, as their model cards and checkpoints say.
RELEASED = {
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "tinyllama-1.1b": 1_100_048_384,
    "llama-7b": 6_738_415_616,
    "llama-13b": 13_015_864_320,
    "llama-30b": 32_528_943_616,
    "llama-65b": 65_285_660_672,
    "llama-70b": 68_976_648_192,
    "llama3-8b": 8_030_261_248,
    "llama3-70b": 70_553_706_496,
    "llama3-405b": 405_853_388_800,
}


@st.composite
def shapes(draw):
    """Small shapes of both kinds, with grouped keys and odd widths."""
    kv_heads, group, head_dim = draw(st.integers(1, 3)), draw(st.integers(1, 3)), 2 * draw(st.integers(1, 4))
    heads = kv_heads * group
    flags = {name: draw(st.booleans()) for name in ("gated", "biases", "tied")}
    return TransformerShape(
        "drawn",
        layers=draw(st.integers(1, 3)),
        hidden=heads * head_dim,
        heads=heads,
        ffn=draw(st.integers(1, 40)),
        vocab=draw(st.integers(2, 50)),
        kv_heads=kv_heads,
        positions=draw(st.sampled_from((0, 16))),
        **flags,
    )


def total(saved):
    return sum(tensor.num_bytes for tensor in saved)


@pytest.mark.parametrize("module", ["shape", "parameters", "flops", "activations", "kv_cache"])
def test_examples_in_docstrings(module):
    result = doctest.testmod(import_module(f"labkit.transformer.{module}"))
    assert result.failed == 0
    assert result.attempted or module == "shape"


@pytest.mark.parametrize("name", RELEASED)
def test_parameters_equal_released_weights_and_the_instantiated_model(name):
    assert find_shape(name).num_params == RELEASED[name] == measured_params(PRESETS[name])


@settings(max_examples=30, deadline=None)
@given(shapes())
def test_parameters_equal_any_instantiated_model(shape):
    assert shape.num_params == measured_params(shape)


@settings(max_examples=10, deadline=None)
@given(shapes(), st.integers(1, 9), st.integers(1, 3))
def test_flops_equal_torchs_counter(shape, seq, batch):
    assert shape.flops(seq, batch) == measured_flops(shape, seq, batch)
    assert shape.flops(seq, batch, training=True) == measured_flops(shape, seq, batch, training=True)


def test_flops_of_llama_7b():
    llama = find_shape("llama-7b")
    assert llama.flops(2048) == measured_flops(llama, 2048) == 29_261_612_187_648
    six_per_parameter = 6 * llama.num_params * 2048
    assert llama.flops(2048, training=True) / six_per_parameter == pytest.approx(1.060, abs=5e-4)
    full = llama.flops(2048, training=True, recompute="full")
    head = 2 * llama.vocab * llama.hidden * 2048
    assert full == 4 * llama.flops(2048) - head  # 8 per parameter and token instead of 6


@settings(max_examples=16, deadline=None)
@given(
    shapes(),
    st.integers(1, 9),
    st.integers(1, 3),
    st.booleans(),
    st.sampled_from(("none", "selective", "full")),
    st.sampled_from((torch.bfloat16, torch.float32)),
)
def test_saved_tensors_equal_autograds(shape, seq, batch, dropout, recompute, dtype):
    size = dtype.itemsize
    layer = saved_tensors(
        shape, seq, batch, dropout=dropout, recompute=recompute, bytes_per_element=size, mask_bytes=size
    )
    options = {"dropout": 0.1 if dropout else 0.0, "recompute": recompute, "dtype": dtype}
    assert total(layer) == measured_layer_bytes(shape, seq, batch, **options)
    outside = saved_outside_layers(shape, seq, batch, bytes_per_element=size)
    measured = measured_activation_bytes(shape, seq, batch, **options)
    assert shape.layers * total(layer) + total(outside) == measured


@pytest.mark.parametrize("kv_heads", [8, 2])
def test_flash_attention_on_the_cpu_keeps_no_matrices(kv_heads):
    shape = TransformerShape("small", 2, 128, 8, 512, 100, kv_heads=kv_heads, positions=64)
    layer = saved_tensors(shape, 64, 2, flash=True, bytes_per_element=4)
    measured = measured_layer_bytes(shape, 64, 2, flash=True, device="cpu", dtype=torch.float32)
    assert total(layer) == measured


def test_the_published_formula_is_the_sum_of_the_list():
    """arXiv 2205.05198 counts masks of one byte and no statistics: without those two the list is the formula."""
    shape = TransformerShape("paper", 3, 4096, 32, 4 * 4096, 50000, positions=2048)
    for split in ({}, {"tensor_parallel": 8}, {"tensor_parallel": 8, "sequence_parallel": True}):
        for how in ({}, {"recompute": "selective"}, {"recompute": "full"}, {"flash": True}):
            listed = [
                tensor
                for tensor in saved_tensors(shape, 2048, 2, dropout=True, **split, **how)
                if "statistics" not in tensor.name
            ]
            formula = activation_bytes(2048, 2, 4096, 32, layers=3, **split, **how)
            assert 3 * total(listed) == formula, (split, how)


def test_the_published_coefficients():
    sbh, s, a, h = 2048 * 4096, 2048, 32, 4096
    assert activation_bytes(s, 1, h, a) == sbh * (34 + Fraction(5 * a * s, h))
    assert activation_bytes(s, 1, h, a, tensor_parallel=8) == sbh * (13 + Fraction(5 * a * s, 8 * h))
    sequence = activation_bytes(s, 1, h, a, tensor_parallel=8, sequence_parallel=True)
    assert sequence == activation_bytes(s, 1, h, a) / 8
    assert activation_bytes(s, 1, h, a, recompute="selective") == 34 * sbh
    assert activation_bytes(s, 1, h, a, recompute="full") == 2 * sbh
    assert activation_bytes(1, 1, 1, 1, tensor_parallel=7) == 10 + Fraction(29, 7)


def test_measured_multiples_do_not_depend_on_size():
    """64 and 132 times sbh where as/h is 16, the statistics of two norms apart, whatever the size."""
    for seq, hidden, heads in ((2048, 4096, 32), (1024, 1024, 16)):
        shape = TransformerShape("gpt", 1, hidden, heads, 4 * hidden, 100, positions=4096)
        statistics = 2 * 2 * 4 * seq
        assert measured_layer_bytes(shape, seq) - statistics == 64 * seq * hidden
        assert measured_layer_bytes(shape, seq, dropout=0.1) - statistics == 132 * seq * hidden


def test_kv_cache_is_what_the_model_would_keep():
    shape = find_shape("llama-70b")
    assert shape.kv_cache_bytes(1) == 320 * 1024
    assert find_shape("llama-7b").kv_cache_bytes(2048) == 2**30
    assert find_shape("llama-13b").kv_cache_bytes(1) == 800 * 1024
    attention = build_model(TransformerShape("s", 1, 64, 8, 64, 10, kv_heads=2)).blocks[0].attention
    x = torch.zeros((3, 5, 64), dtype=torch.bfloat16, device="meta")
    kept = attention.key(x).nbytes + attention.value(x).nbytes
    assert kept == kv_cache_bytes(5, 3, layers=1, kv_heads=2, head_dim=8)


def test_the_model_is_a_language_model():
    """Its loss at the start is that of guessing, and no token sees its future."""
    torch.manual_seed(0)
    for biases in (True, False):
        shape = TransformerShape("tiny", 2, 32, 4, 64, 50, 2, 16 * biases, not biases, biases, biases)
        model = build_model(shape, "cpu", torch.float64)
        tokens = torch.randint(50, (2, 8))
        changed = tokens.clone()
        changed[:, 5] = (changed[:, 5] + 1) % 50
        difference = (model(tokens) - model(changed)).abs().amax(dim=(0, 2))
        assert (difference[:5] < 1e-12).all()
        assert (difference[5:] > 1e-6).all()
        for options in ({"flash": True}, {"recompute": "full"}, {"recompute": "selective"}):
            other = build_model(shape, "cpu", torch.float64, **options)
            other.load_state_dict(model.state_dict())
            assert torch.allclose(model(tokens), other(tokens), atol=1e-12), options


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: find_shape("llama7b"), "There is no configuration called 'llama7b'; did you mean llama-7b"),
        (lambda: transformer_params(0, 8, 8, 8), "layers must be a whole number of at least 1, got 0."),
        (lambda: transformer_params(1, 8, 8, 8, heads=3), "heads must divide hidden: 8 is not a multiple of 3."),
        (
            lambda: transformer_params(1, 8, 8, 8, heads=4, kv_heads=3),
            "kv_heads must divide heads: 4 is not a multiple of 3.",
        ),
        (lambda: TransformerShape("x", 1, 9, 3, 8, 8), "Rotary positions turn pairs of channels: a head of 3 has no"),
        (lambda: find_shape("gpt2").flops(1025), "gpt2 has positions for 1024 tokens, got seq = 1025."),
        (lambda: activation_bytes(8, 1, 8, 2, recompute="some"), "recompute must be one of none, selective, full"),
        (lambda: activation_bytes(0.5, 1, 8, 2), "seq must be a whole number of at least 1, got 0.5."),
        (lambda: transformer_flops(8, True, 1, 8, 8, 8), "batch must be a whole number of at least 1, got True."),
        (lambda: kv_cache_bytes(8, 1, 1, 1, -2), "head_dim must be a whole number of at least 1, got -2."),
    ],
)
def test_bad_input_is_one_sentence(call, sentence):
    with pytest.raises(QuantityError) as caught:
        call()
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


def test_formulas_import_no_torch():
    code = "import sys, labkit.transformer; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""`labkit transformer`: what it prints, and what it refuses in one sentence."""

import json

import pytest
from click.testing import CliRunner

from labkit.cli import main
from labkit.transformer import PRESETS, activation_bytes, find_shape
from labkit.transformer.measured import measured_activation_bytes


def run(*arguments):
    return CliRunner().invoke(main, ["transformer", *map(str, arguments)])


def test_json_equals_formulas_and_the_instantiated_model():
    result = run("--config", "llama-7b", "--seq", 512, "--batch", 2, "--json")
    assert result.exit_code == 0
    data = json.loads(result.stdout)
    shape = find_shape("llama-7b")
    assert data["num_params"] == 6_738_415_616
    assert data["forward_flops"] * 3 == data["training_flops"] == shape.flops(512, 2, training=True)
    assert data["activation_bytes"] == activation_bytes(512, 2, 4096, 32, 32)
    saved = data["saved_bytes_in_layers"] + data["saved_bytes_outside"]
    assert saved == measured_activation_bytes(shape, 512, 2)
    assert data["kv_cache_bytes"] == 2 * 512 * data["kv_cache_bytes_per_token"] == 2**29


def test_options_change_what_they_say():
    def saved(*options):
        result = run("--config", "gpt2", "--json", *options)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    plain, dropout = saved(), saved("--dropout")
    selective, flash, full = saved("--recompute", "selective"), saved("--flash"), saved("--recompute", "full")
    split = saved("--tensor-parallel", 4, "--sequence-parallel")
    name = "saved_bytes_per_layer"
    assert dropout[name] > plain[name] > flash[name] > selective[name] > full[name]
    assert split[name] * 4 == plain[name]
    assert split["activation_bytes"] * 4 == plain["activation_bytes"]
    assert full["training_flops"] > selective["training_flops"] > plain["training_flops"]


def test_the_table_and_the_list():
    result = run("--config", "llama-70b")
    assert result.exit_code == 0
    for word in ("68,976,648,192", "GB", "GiB", "SwiGLU of 28672", "MLP gated product", "2205.05198"):
        assert word in " ".join(result.stdout.split())
    assert "1 sequence of 2,048 tokens" in result.stdout
    tiny = run("--config", "gpt2", "--seq", 1).stdout
    assert "1 sequence of 1 token" in tiny
    assert " 0.00 " not in tiny  # a kilobyte is not nothing
    listed = run().stdout
    assert all(name in listed for name in PRESETS)
    assert json.loads(run("--json").stdout)["gpt2"] == 124_439_808


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--config", "lama-7b"), "There is no configuration called 'lama-7b'; did you mean llama-7b"),
        (("--config", "gpt2", "--seq", 2048), "gpt2 has positions for 1024 tokens, got seq = 2048."),
        (("--config", "gpt2", "--seq", 0), "--seq must be a whole number of at least 1, got 0."),
        (("--config", "gpt2", "--batch", "1.5"), "--batch must be a whole number of at least 1, got 1.5."),
        (
            ("--config", "llama-7b", "--tensor-parallel", 3),
            "tensor_parallel = 3 ranks cannot share 32 heads of llama-7b evenly.",
        ),
        (
            ("--config", "llama-70b", "--tensor-parallel", 16),
            "tensor_parallel = 16 ranks cannot share 8 key heads of llama-70b evenly.",
        ),
        (
            ("--config", "gpt2", "--tensor-parallel", 4, "--sequence-parallel", "--seq", 30),
            "tensor_parallel = 4 ranks cannot share 30 tokens (sequence parallelism) of gpt2 evenly.",
        ),
    ],
)
def test_bad_input_is_one_sentence(arguments, sentence):
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"Error: {sentence}")
    assert result.stderr.count("\n") == 1

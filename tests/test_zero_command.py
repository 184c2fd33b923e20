"""`labkit zero` and `labkit observe`: what they print, and what they refuse in one sentence."""

import json
import re

import pytest
from click.testing import CliRunner

from labkit.cli import main
from labkit.zero import ASSUMPTIONS, ask, comm_elements, observed, state_bytes
from labkit.zero.observed import SMALL, Observation


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def as_json(*arguments):
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize("params", ["7.5e9", "128e9", "1e12", "1000003"])
@pytest.mark.parametrize("world_size", [1, 3, 64, 1024])
def test_json_has_the_formulas_numbers(params, world_size):
    data = as_json("zero", "--params", params, "--world", world_size)
    assert list(data) == ["stage0", "stage1", "stage2", "stage3"]
    for stage in (0, 1, 2, 3):
        answer = data[f"stage{stage}"]
        assert set(answer) == {"state_bytes", "comm_elements"}
        assert answer["state_bytes"] == pytest.approx(float(state_bytes(float(params), world_size, stage)), rel=1e-12)
        assert answer["comm_elements"] == pytest.approx(
            float(comm_elements(float(params), world_size, stage)), rel=1e-12
        )


def test_json_of_other_assumptions_and_micro_batches():
    data = as_json("zero", "--params", "7.5e9", "--world", 64, "--assume", "megatron", "--micro-batches", 4)
    assert data["stage1"] == {"state_bytes": 46406250000, "comm_elements": 14765625000}
    assert data["stage3"]["comm_elements"] == 12 * 7.5e9 * 63 / 64
    detail = as_json("zero", "--params", 1000, "--world", 4, "--assume", "eleutherai", "--stage-detail")
    assert (
        detail["stage3"]["params_bytes"] + detail["stage3"]["grads_bytes"] + detail["stage3"]["optimizer_bytes"] == 4500
    )
    assert detail["stage3"]["buffer_bytes"] == 3 * 10**9
    assert detail["stage2"]["offered"] is True
    every = as_json("zero", "--params", 1000, "--world", 4, "--assume", "all")
    assert set(every) == set(ASSUMPTIONS)
    assert every["deepspeed"]["stage2"]["state_bytes"] == ask("deepspeed", 1000, 4, 2).state_bytes
    assert list(as_json("zero", "--params", 1000, "--world", 4, "--stage", 2)) == ["stage2"]


def test_the_planner_counts_as_the_source_does_and_micro_batches_too():
    data = as_json("zero", "--params", "7.5e9", "--world", 64, "--gpu-bytes", "32e9", "--micro-batches", 4)
    assert data["stage0"]["fewest_gpus"] is None
    assert data["stage1"]["fewest_gpus"]["world_size"] == 45
    plan = data["stage3"]["fewest_gpus"]
    assert plan == {
        "world_size": 4,
        "state_bytes": state_bytes(7.5e9, 4, 3),
        "comm_elements": comm_elements(7.5e9, 4, 3, micro_batches=4),
    }
    deepspeed = as_json("zero", "--params", "7.5e9", "--world", 64, "--gpu-bytes", "32e9", "--assume", "deepspeed")
    assert deepspeed["stage3"]["fewest_gpus"]["state_bytes"] == ask("deepspeed", 7.5e9, 5, 3).state_bytes
    every = run("zero", "--params", "7.5e9", "--world", 64, "--gpu-bytes", "32e9", "--assume", "all").stdout
    assert "1 on 45" in every
    assert "2 on 8" in every  # DeepSpeed's estimator knows no stage 1
    assert "none" in every


def test_the_table_names_its_units_and_what_is_counted():
    result = run("zero", "--params", "7.5e9", "--world", 64, "--gpu-bytes", "32e9", "--stage-detail")
    assert result.exit_code == 0
    for word in ("GB", "GiB", "31.41", "29.25", "reduce-scatter", "arXiv", "1910.02054", "per rank", "45"):
        assert word in result.stdout
    assert "1e9 bytes" in " ".join(result.stdout.split())
    other = run("zero", "--params", "7.5e9", "--world", 64, "--assume", "megatron").stdout
    assert "46.41" in other
    assert "2 *" in other
    assert "not a stage that this source answers for" in other
    every = run("zero", "--params", "7.5e9", "--world", 64, "--assume", "all", "--gpu-bytes", "32e9").stdout
    rows = [line.split() for line in every.splitlines()]
    assert all(any(row[:1] == [name] for row in rows) for name in ASSUMPTIONS)  # whole names, in 80 columns
    assert "5 parameters, 1 rank" in " ".join(run("zero", "--params", 5, "--world", 1).stdout.split())
    assert "1 ranks" not in run("zero", "--params", 5, "--world", 1).stdout


def test_the_bytes_in_a_row_are_those_that_its_figures_are_made_of():
    """DeepSpeed counts 20 at stage 2 and 18 at stage 3; on one rank nothing is divided."""
    text = run("zero", "--params", "1e9", "--world", 1, "--assume", "deepspeed").stdout
    rows = re.findall(r"^ +(\d) +(?:\* +)?\w+ +(\d+)\+(\d+)\+(\d+) +([\d.]+)", text, re.MULTILINE)
    shown = {stage: (sum(map(int, sizes)), float(gigabytes)) for stage, *sizes, gigabytes in rows}
    assert shown == {"0": (20, 20.0), "1": (20, 20.0), "2": (20, 20.0), "3": (18, 18.0)}
    every = run("zero", "--params", "1e9", "--world", 1, "--assume", "all").stdout.splitlines()
    (at,) = [number for number, line in enumerate(every) if line.strip().startswith("deepspeed ")]
    assert "2+6+12" in every[at]
    assert "2+4+12" in every[at + 1]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--params", "7.5", "--world", 2), "--params must be a whole number of at least 1, got 7.5."),
        (("--params", "1e999999999", "--world", 2), "--params must be at most 1e30, got 1e999999999."),
        (("--params", "-7", "--world", 2), "--params must be a whole number of at least 1, got -7."),
        (("--params", "many", "--world", 2), "--params must be a whole number of at least 1, like 64 or 7.5e9"),
        (("--params", "7e9", "--world", 0), "--world must be a whole number of at least 1, got 0."),
        (("--params", "7e9", "--world", "2.5"), "--world must be a whole number of at least 1, got 2.5."),
        (("--params", "7e9", "--world", 2, "--stage", 5), "stage must be 0, 1, 2 or 3, got 5."),
        (("--params", "7e9", "--world", 2, "--micro-batches", 0), "--micro-batches must be a whole number"),
        (
            ("--params", "7e9", "--world", 2, "--largest-layer", 9),
            "--largest-layer changes nothing here: only deepspeed adds that layer, and only at stage 3.",
        ),
        (
            ("--params", "7e9", "--world", 2, "--largest-layer", 9, "--assume", "deepspeed", "--stage", 2),
            "--largest-layer changes nothing here",
        ),
        (("--params", "7e9", "--world", 2, "--assume", "me"), "There is no assumption called 'me'; there are paper"),
    ],
)
def test_bad_input_is_one_sentence(arguments, sentence):
    result = run("zero", *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"Error: {sentence}")
    assert result.stderr.count("\n") == 1


def test_observe_on_a_fake_group():
    result = run("observe", "--fake", "--world", 64, "--mode", "fsdp2", "--json")
    rows = json.loads(result.stdout)["fsdp2"]
    assert all(row["formula"] == row["ledger"] == row["observed"] for row in rows.values())
    table = run("observe", "--fake", "--world", 3, "--mode", "fsdp2").stdout
    assert "cannot share evenly" in " ".join(table.split())
    assert "Formula: Φ divided by N." in table


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--mode", "fsdp3"), "There is no mode called 'fsdp3'"),
        (("--config", "gpt2"), "--config and --rank need --fake"),
        (("--fake", "--world", 2, "--rank", 2), "rank must be between 0 and 1, got 2."),
        (("--fake", "--mode", "ddp"), "ddp needs real processes"),
        (("--fake", "--config", "gpt5"), "There is no configuration called 'gpt5'"),
    ],
)
def test_observe_refuses_in_one_sentence(arguments, sentence):
    result = run("observe", *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert f"Error: {sentence}" in result.stderr


def test_observe_shows_the_heaviest_of_the_ranks_that_were_watched(monkeypatch):
    """What real processes hold and send is seen in test_zero_observed.py; here two ranks are made up."""
    asked = []

    def observe(modes, world_size, shape, micro_batches, timeout_s):
        asked.append((modes, world_size, shape, micro_batches, timeout_s))
        ranks = [{"mode": "ddp", "rank": r, "world_size": 2, "micro_batches": 3, "calls": []} for r in (0, 1)]
        return {"ddp": [Observation.from_plain({**rank, "states": [1, 2, 3 + rank["rank"]]}) for rank in ranks]}

    monkeypatch.setattr(observed, "observe", observe)
    arguments = ("observe", "--world", 2, "--mode", "ddp", "--micro-batches", 3, "--timeout", 100, "--json")
    rows = json.loads(run(*arguments).stdout)["ddp"]
    assert asked == [(("ddp",), 2, SMALL, 3, 100)]
    assert rows["optimizer, bytes"]["observed"] == 4
    assert rows["sent, elements"]["observed"] == 0

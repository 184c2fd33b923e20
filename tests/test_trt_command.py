"""`labkit trt`: plans from a shell, JSON for programs, one sentence for what goes wrong."""

import errno
import json
import os
import shlex
from hashlib import sha256

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

import labkit.tensorrt as lt
from labkit.commands.trt import trt

BOUNDS = "x=1x3x8x8,4x3x8x8,16x3x8x8"
PROFILE = {"x": ((1, 3, 8, 8), (4, 3, 8, 8), (16, 3, 8, 8))}


@pytest.fixture
def net(tmp_path):
    weight = np.random.default_rng(0).normal(size=(8, 3, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["c"], "conv"), helper.make_node("Relu", ["c"], ["y"], "relu")],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 8, 6, 6])],
        [numpy_helper.from_array(weight, "w")],
    )
    path = tmp_path / "net.onnx"
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def run(*arguments):
    return CliRunner().invoke(trt, [str(each) for each in arguments])


def report(*arguments):
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_plan_is_written_beside_the_model(net):
    result = run("build", net, "--profile", BOUNDS)
    assert result.exit_code == 0, result.output
    assert net.with_suffix(".plan").read_bytes() == lt.build_plan(net, PROFILE)
    assert f"plan      {net.with_suffix('.plan')}\n" in result.stdout


def test_the_json_says_what_was_built(net, tmp_path):
    out = tmp_path / "other.plan"
    told = report("build", net, "--profile", BOUNDS, "--target", "SM86", "--workspace", "64MiB", "--output", out)
    options = {"targets": "SM86", "workspace_bytes": 64 << 20}
    assert out.read_bytes() == lt.build_plan(net, PROFILE, **options)
    assert told["plan"] == str(out)
    assert told["plan_bytes"] == out.stat().st_size
    assert told["plan_sha256"] == sha256(out.read_bytes()).hexdigest()
    assert told["key"] == lt.plan_key(net, PROFILE, **options)
    assert told["cache"] is None
    assert told["tensorrt"] == str(lt.flavour())


def test_the_cache_is_asked_and_says_why(net, tmp_path):
    folder = tmp_path / "plans"
    first = report("build", net, "--profile", BOUNDS, "--cache", folder)
    second = report("build", net, "--profile", BOUNDS, "--cache", folder)
    third = report("build", net, "--profile", "x=1x3x8x8,8x3x8x8,16x3x8x8", "--cache", folder)
    assert [each["hit"] for each in (first, second, third)] == [False, True, False]
    assert third["reason"] == "miss: profile changed: opt 4→8 (dimension 0 of 'x')"
    assert first["plan"] is None
    assert not net.with_suffix(".plan").exists()


def test_fp16_and_int8_are_other_plans(net, tmp_path):
    data = tmp_path / "data.npz"
    samples = np.random.default_rng(0).normal(size=(6, 3, 8, 8)).astype(np.float32)
    np.savez(data, x=samples)
    half = report("build", net, "--profile", BOUNDS, "--fp16")
    whole = report("build", net, "--profile", BOUNDS, "--int8", "--calibration", data)
    batches = [{"x": samples[:4]}, {"x": samples[4:]}]  # of the size that the plan is tuned for
    assert half["key"] == lt.plan_key(net, PROFILE, precision="fp16")
    assert whole["key"] == lt.plan_key(net, PROFILE, precision="int8", calibration=batches)


def test_the_advice_for_a_missing_profile_can_be_copied(net):
    advice = json.loads(run("build", net, "--json").stdout)["advice"][-1]
    flags = shlex.split(advice.partition("in a shell ")[2].partition(";")[0])
    assert report("build", net, *flags)["plan_bytes"] > 0


def test_one_shape_stands_for_all_three(net):
    assert report("build", net, "--profile", "x=4x3x8x8")["key"] == lt.plan_key(net, {"x": [(4, 3, 8, 8)] * 3})


@pytest.mark.parametrize(
    ("arguments", "reason", "advice"),
    [
        ((), "no optimization profile has been defined", "--profile x=1x3x8x8,8x3x8x8,64x3x8x8; choose the free sizes"),
        (("--profile", "x=9x3x8x8,4x3x8x8,16x3x8x8"), "MIN<=OPT<=MAX", "min <= opt <= max"),
        (("--profile", BOUNDS, "--target", "SM90"), "does not know the target SM90", ""),
        (("--profile", BOUNDS, "--int8"), "int8 needs data", ""),
    ],
)
def test_a_refusal_is_told_with_advice_and_exit_code_1(net, arguments, reason, advice):
    result = run("build", net, *arguments)
    assert result.exit_code == 1
    assert reason in result.stderr
    assert advice in result.stderr
    assert result.stdout == ""
    told = run("build", net, *arguments, "--json")
    assert told.exit_code == 1
    assert reason in json.loads(told.stdout)["reasons"][0]
    assert not net.with_suffix(".plan").exists()


@pytest.mark.parametrize("content", [None, b"", b"not a model"])
def test_what_is_no_model_is_one_sentence(tmp_path, content):
    path = tmp_path / "bad.onnx"
    if content is not None:
        path.write_bytes(content)
    result = run("build", path)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert sorted(each.name for each in tmp_path.iterdir()) == (["bad.onnx"] if content is not None else [])


def test_a_truncated_model_and_an_unknown_operator_are_told_and_leave_nothing(net, tmp_path):
    half = tmp_path / "half.onnx"
    half.write_bytes(net.read_bytes()[:-300])
    strange = tmp_path / "strange.onnx"
    text = '<ir_version: 9, opset_import: ["": 18]> g (float[2] x) => (float[2] y) { y = Foo(x) }'
    onnx.save_model(onnx.parser.parse_model(text), strange)
    before = sorted(tmp_path.iterdir())
    for path, said in (
        (half, "half.onnx begins like an ONNX model but breaks off or is damaged"),
        (strange, "TensorRT has no importer for operator Foo"),
    ):
        result = run("build", path)
        assert result.exit_code == 1
        assert said in result.stderr.splitlines()[0]
        assert result.stdout == ""
        result = run("build", path, "--cache", tmp_path / "plans")
        assert result.exit_code == 1
        assert [each for each in (tmp_path / "plans").rglob("*.plan*") if each.is_file()] == []
    assert sorted(each for each in tmp_path.iterdir() if each.name != "plans") == before


def test_an_open_cache_folder_is_refused(net, tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    result = run("build", net, "--profile", BOUNDS, "--cache", tmp_path / "open")
    assert result.exit_code == 1
    assert "plans are code: chmod go-w" in result.stderr


def test_an_output_in_no_folder_is_one_sentence_before_anything_is_built(net, tmp_path, monkeypatch):
    monkeypatch.setattr("labkit.commands.trt._served", lambda *arguments: pytest.fail("it was built"))
    path = tmp_path / "no" / "such" / "net.plan"
    result = run("build", net, "--profile", BOUNDS, "--output", path)
    assert result.exit_code == 1
    assert result.stderr == f"no plan was built: there is no folder {path.parent} to write net.plan into\n"


def test_an_output_that_cannot_be_written_is_one_sentence(net, tmp_path, monkeypatch):
    def full(path, *parts):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("labkit.tensorrt.entry.write_atomically", full)
    path = tmp_path / "net.plan"
    result = run("build", net, "--profile", BOUNDS, "--output", path)
    assert result.exit_code == 1
    assert result.stderr == f"the plan was built but could not be written to {path}: No space left on device\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--fp16", "--int8"), "--fp16 or --int8, not both"),
        (("--profile", "x"), "expected INPUT=MIN,OPT,MAX"),
        (("--profile", "x=1x3,2x3"), "expected INPUT=MIN,OPT,MAX"),
        (("--profile", "x=1xtwo"), "a size must be a whole number"),
        (("--profile", BOUNDS, "--profile", BOUNDS), "--profile is given twice for x"),
        (("--workspace", "much"), "--workspace is a number of bytes, like 536870912 or 512MiB"),
        (("--cache-limit", "2GB"), "--cache-limit is for --cache"),
        (("--cache", "plans", "--cache-limit", "0"), "--cache-limit is at least 1 byte"),
        (("--cache", "plans", "--cache-limit", "lots"), "--cache-limit is a number of bytes"),
    ],
)
def test_wrong_use_is_explained(net, arguments, message):
    result = run("build", net, *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())


def test_a_calibration_file_that_is_none_is_explained(net, tmp_path):
    (tmp_path / "data.npz").write_bytes(b"no zip")
    result = run("build", net, "--profile", BOUNDS, "--int8", "--calibration", tmp_path / "data.npz")
    assert result.exit_code == 2
    assert "is not an .npz file" in result.stderr


@pytest.mark.parametrize(
    ("shape", "batch"), [((6, 1, 8, 8), "4x1x8x8"), ((6, 3, 8), "4x3x8"), ((6, 3, 8, 8, 1), "4x3x8x8x1")]
)
def test_calibration_data_of_another_shape_is_one_sentence(net, tmp_path, shape, batch):
    np.savez(tmp_path / "data.npz", x=np.ones(shape, np.float32))
    result = run("build", net, "--profile", BOUNDS, "--int8", "--calibration", tmp_path / "data.npz")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert f"calibration batch 0 of 'x' is {batch}, the model takes ?x3x8x8" in result.stderr


def test_the_least_recently_used_plan_goes_when_the_cache_is_full(net, tmp_path):
    folder = tmp_path / "plans"
    first = report("build", net, "--profile", "x=1x3x8x8", "--cache", folder)
    for batch in (2, 3):
        limit = ("--cache-limit", str(int(2.5 * first["plan_bytes"])))
        report("build", net, "--profile", f"x={batch}x3x8x8", "--cache", folder, *limit)
    hits = [report("build", net, "--profile", f"x={batch}x3x8x8", "--cache", folder)["hit"] for batch in (3, 2, 1)]
    assert hits == [True, True, False]


def test_a_plan_that_went_nowhere_is_no_success(net, tmp_path):
    """A cache may be full while the build itself succeeds: with no --output nothing would be left of it."""
    full = ("--cache", tmp_path / "plans", "--cache-limit", "1KB")
    result = run("build", net, "--profile", BOUNDS, *full)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "the plan was built but could not be kept: it has" in result.stderr
    told = report("build", net, "--profile", BOUNDS, *full, "--output", tmp_path / "net.plan")
    assert "the cache may hold 1,000" in told["not_kept"]
    assert (tmp_path / "net.plan").stat().st_size == told["plan_bytes"]


@pytest.mark.parametrize(
    ("text", "num_bytes"), [("512", 512), ("1KB", 1000), ("1KiB", 1024), ("2gib", 2 << 30), ("3 MB", 3 * 10**6)]
)
def test_units_say_what_they_are(net, text, num_bytes):
    told = shlex.split(run("command", net, "--workspace", text).stdout)
    assert told == lt.trtexec_command(net, net.with_suffix(".plan"), workspace_bytes=num_bytes)


def test_the_command_is_printed_and_nothing_else_happens(net):
    result = run("command", net, "--profile", BOUNDS, "--fp16", "--target", "SM86")
    told = shlex.split(result.stdout)
    plan = net.with_suffix(".plan")
    assert told == lt.trtexec_command(net, plan, PROFILE, precision="fp16", targets="SM86")
    assert "convert_precision" in result.stderr
    assert not plan.exists()


def test_labkit_lists_it():
    from labkit.cli import main

    assert "trt " in CliRunner().invoke(main, ["--help"]).output
    assert "build" in CliRunner().invoke(main, ["trt", "--help"]).output

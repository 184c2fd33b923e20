"""The command line that builds the same plan, with the flags of today only."""

import pytest

import labkit.tensorrt as lt

# Flags that trtexec had once and has no more (or ignores), as most tutorials still write them.
GONE = {
    "explicitBatch",
    "workspace",
    "best",
    "fp16",
    "int8",
    "batch",
    "deploy",
    "model",
    "uff",
    "maxBatch",
    "buildOnly",
}
PROFILE = {"x": ((1, 3), (8, 3), (64, 3))}


def flags(command):
    return {argument.removeprefix("--").split("=")[0] for argument in command[1:]}


def test_a_whole_command():
    assert lt.trtexec_command("net.onnx", "net.plan", PROFILE, workspace_bytes=1 << 30) == [
        "trtexec",
        "--onnx=net.onnx",
        "--saveEngine=net.plan",
        "--skipInference",
        "--minShapes=x:1x3",
        "--optShapes=x:8x3",
        "--maxShapes=x:64x3",
        "--memPoolSize=workspace:1024",
    ]


@pytest.mark.parametrize(
    "options",
    [{}, {"precision": "fp16"}, {"precision": "int8"}, {"targets": "SM86"}, {"workspace_bytes": 5}],
)
def test_no_flag_of_the_past(options):
    assert not flags(lt.trtexec_command("net.onnx", "net.plan", PROFILE, **options)) & GONE


def test_precision_is_another_graph():
    command = lt.trtexec_command("dir/net.onnx", "net.plan", precision="fp16")
    assert command[1] == "--onnx=dir/net.fp16.onnx" == f"--onnx={lt.converted_path('dir/net.onnx', 'fp16')}"


def test_targets_are_for_the_rtx_tool():
    command = lt.trtexec_command("net.onnx", "net.plan", PROFILE, targets=("SM120", "8.6"))
    assert command[0] == "tensorrt_rtx"
    assert command[-1] == "--computeCapabilities=86,120"


def test_workspace_that_is_no_multiple_of_a_mib_is_in_bytes():
    assert lt.trtexec_command("net.onnx", "net.plan", workspace_bytes=1000)[-1] == "--memPoolSize=workspace:1000B"


def test_several_inputs_and_awkward_names():
    profile = {"z": ((1,), (2,), (3,)), "in:0": ((1, 2), (1, 2), (1, 2)), "scalar": ((), (), ())}
    command = lt.trtexec_command("net.onnx", "net.plan", profile)
    assert "--minShapes='in:0':1x2,scalar:scalar,z:1" in command
    assert "--maxShapes='in:0':1x2,scalar:scalar,z:3" in command


def test_a_static_model_has_no_shapes():
    assert flags(lt.trtexec_command("net.onnx", "net.plan")) == {"onnx", "saveEngine", "skipInference"}


def test_nonsense_is_refused():
    with pytest.raises(lt.BuildError, match="there is no option 'fp16'"):
        lt.trtexec_command("net.onnx", "net.plan", fp16=True)

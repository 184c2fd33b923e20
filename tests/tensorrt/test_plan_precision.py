"""Precision is in the graph: it changes the plan's size, keeps the border float32, and costs little accuracy."""

import logging
from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import labkit.tensorrt as lt

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def border():
    """x and y as inputs and outputs of a graph, of one shape."""
    return [[helper.make_tensor_value_info(name, FLOAT, ["N", 3, 8, 8])] for name in ("x", "y")]


@pytest.fixture(scope="module")
def samples():
    return np.random.default_rng(1).normal(size=(64, 3, 8, 8)).astype(np.float32)


def outputs(path, x):
    """What the graph says, node by node: optimized, ONNX Runtime's int8 kernels overflow on CPUs without VNNI."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


def ops(path):
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def test_plans_shrink_with_the_precision_of_their_weights(make_net, profile, samples):
    path = make_net(channels=(3, 64, 128, 128))
    num_bytes = {
        "fp32": len(lt.build_plan(path, profile)),
        "fp16": len(lt.build_plan(path, profile, precision="fp16")),
        "int8": len(lt.build_plan(path, profile, precision="int8", calibration={"x": samples})),
    }
    weights_bytes = 4 * (3 * 64 + 64 * 128 + 128 * 128) * 9
    assert num_bytes["fp32"] - num_bytes["fp16"] == pytest.approx(weights_bytes / 2, rel=0.1)
    assert num_bytes["int8"] < num_bytes["fp32"]


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_converted_plans_are_deterministic_too(net, profile, samples, precision):
    options = {"precision": precision, "calibration": {"x": samples} if precision == "int8" else None}
    assert lt.build_plan(net, profile, **options) == lt.build_plan(net, profile, **options)


def test_other_calibration_data_gives_another_plan(net, profile, samples):
    first, second = (
        lt.build_plan(net, profile, precision="int8", calibration={"x": data}) for data in (samples, 2 * samples)
    )
    assert first != second


def test_fp16_keeps_the_border_and_is_close(net, tmp_path, samples):
    half = lt.convert_precision(net, tmp_path / "half.onnx", "fp16")
    graph = onnx.load(half).graph
    assert [each.type.tensor_type.elem_type for each in (*graph.input, *graph.output)] == [FLOAT, FLOAT]
    assert {each.data_type for each in graph.initializer if each.dims} == {HALF}
    exact, rough = outputs(net, samples), outputs(half, samples)
    # 2^-11 is the rounding of one fp16 number; a few of them add up along the layers.
    assert 0 < np.abs(rough - exact).max() < 10 * 2**-11 * np.abs(exact).max()


def test_int8_is_written_as_tensorrt_reads_it(net, tmp_path, samples):
    quantized = lt.convert_precision(net, tmp_path / "int8.onnx", "int8", {"x": samples})
    graph = onnx.load(quantized).graph
    arrays = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    pairs = [node for node in graph.node if node.op_type.endswith("uantizeLinear")]
    assert all(not arrays[node.input[2]].any() for node in pairs)  # no zero point but 0
    assert {arrays[name].dtype for name in arrays if name.startswith("b")} == {np.dtype(np.float32)}  # biases
    assert any(arrays[node.input[1]].ndim for node in pairs)  # a scale per output channel of a weight
    followers = {name: node.op_type for node in graph.node for name in node.input}
    assert all(followers[node.output[0]] == "Relu" for node in graph.node if node.op_type == "Conv")  # fusable
    exact, rough = outputs(net, samples), outputs(quantized, samples)
    assert 0 < np.abs(rough - exact).max() < 0.05 * np.abs(exact).max()  # half a step of 1/127, over three layers


def test_the_graph_of_a_precision_builds_to_the_plan_of_that_precision(net, tmp_path, profile, samples):
    for precision, data in (("fp16", None), ("int8", {"x": samples})):
        path = lt.convert_precision(net, tmp_path / "graph.onnx", precision, data)
        assert lt.build_plan(path, profile) == lt.build_plan(net, profile, precision=precision, calibration=data)


def test_a_graph_with_qdq_nodes_needs_no_calibration_and_takes_none(net, tmp_path, profile, samples):
    path = lt.convert_precision(net, tmp_path / "int8.onnx", "int8", {"x": samples})
    assert lt.build_plan(path, profile, precision="int8") == lt.build_plan(path, profile)
    with pytest.raises(lt.BuildError, match="carries Q/DQ nodes already"):
        lt.build_plan(path, profile, precision="int8", calibration={"x": samples})


def test_batchnorm_is_folded_before_it_is_too_late(make_graph, tmp_path, samples):
    rng = np.random.default_rng(0)
    arrays = {
        "w": rng.normal(size=(4, 3, 3, 3)),
        "s": np.full(4, 2.0),
        "b": np.ones(4),
        "m": np.ones(4),
        "v": np.ones(4),
    }
    weights = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("BatchNormalization", ["c", "s", "b", "m", "v"], ["y"], "bn"),
    ]
    x = helper.make_tensor_value_info("x", FLOAT, ["N", 3, 8, 8])
    y = helper.make_tensor_value_info("y", FLOAT, ["N", 4, 6, 6])
    path = make_graph(nodes, [x], [y], weights)
    quantized = lt.convert_precision(path, tmp_path / "int8.onnx", "int8", {"x": samples})
    assert ops(quantized)["BatchNormalization"] == 0
    assert ops(quantized)["Conv"] == 1


def shape_arithmetic(make_graph):
    """Two ranges with one computed start, a stored shape, and a weight: what ONNX Runtime's converters stumble over."""
    arrays = {"zero": 0.0, "one": 1.0, "seven": 7.0, "to": np.array([-1, 8], np.int64), "w": np.ones((8, 8))}
    weights = [
        numpy_helper.from_array(np.asarray(value, None if name == "to" else np.float32), name)
        for name, value in arrays.items()
    ]
    nodes = [
        helper.make_node("Mul", ["zero", "one"], ["start"], "start"),
        helper.make_node("Range", ["start", "seven", "one"], ["once"], "range_once"),
        helper.make_node("Range", ["start", "seven", "one"], ["again"], "range_again"),
        helper.make_node("Add", ["once", "again"], ["grid"], "grid"),
        helper.make_node("ReduceSum", ["grid"], ["offset"], "offset", keepdims=0),
        helper.make_node("Reshape", ["x", "to"], ["rows"], "rows"),
        helper.make_node("MatMul", ["rows", "w"], ["product"], "matmul"),
        helper.make_node("Add", ["product", "offset"], ["y"], "add"),
    ]
    x = helper.make_tensor_value_info("x", FLOAT, ["N", 3, 8, 8])
    y = helper.make_tensor_value_info("y", FLOAT, ["M", 8])
    return make_graph(nodes, [x], [y], weights)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_shape_arithmetic_survives_conversion(make_graph, tmp_path, profile, samples, precision):
    path = shape_arithmetic(make_graph)
    data = {"x": samples} if precision == "int8" else None
    other = lt.convert_precision(path, tmp_path / "other.onnx", precision, data)
    onnx.checker.check_model(onnx.load(path))
    names = [name for node in onnx.load(other).graph.node for name in node.output]
    assert len(names) == len(set(names))
    exact, rough = outputs(path, samples), outputs(other, samples)
    assert np.abs(rough - exact).max() < 0.02 * np.abs(exact).max()
    assert lt.build_plan(other, profile)


def test_external_weights_are_converted_too(make_net, profile, samples):
    inside, outside = make_net("inside.onnx"), make_net("outside.onnx", external="w.bin")
    for options in ({"precision": "fp16"}, {"precision": "int8", "calibration": {"x": samples}}):
        assert lt.build_plan(outside, profile, **options) == lt.build_plan(inside, profile, **options)


def test_the_model_and_the_callers_logging_are_left_alone(make_net, tmp_path, samples, capfd):
    path = make_net()
    content, root = path.read_bytes(), logging.getLogger()
    before = root.level, root.handlers[:]
    lt.convert_precision(path, tmp_path / "int8.onnx", "int8", {"x": samples})
    assert path.read_bytes() == content
    assert (root.level, root.handlers) == before
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"input": [1.0]}, r"calibration batch 0 holds \['input'\], the inputs of the model are \['x'\]"),
        ([{"x": np.full((1, 3, 8, 8), np.nan)}], "calibration batch 0 of 'x' holds NaN or infinity"),
        ([{"x": "words"}], "calibration batch 0 does not fit the inputs"),
        ([{"x": np.ones((4, 1, 8, 8))}], r"calibration batch 0 of 'x' is 4x1x8x8, the model takes \?x3x8x8"),
        ([{"x": np.ones((0, 3, 8, 8))}], r"calibration batch 0 of 'x' is 0x3x8x8, the model takes \?x3x8x8"),
    ],
)
def test_calibration_data_that_does_not_fit_is_refused(net, profile, data, message):
    with pytest.raises(lt.BuildError, match=message):
        lt.build_plan(net, profile, precision="int8", calibration=data)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_graph_that_cannot_be_converted_is_told(make_graph, tmp_path, precision, monkeypatch):
    def give_up(*arguments):
        raise RuntimeError("this is beyond me\nand here is where")

    monkeypatch.setattr(f"labkit.tensorrt.precision._{precision}", give_up)
    path = make_graph([helper.make_node("Relu", ["x"], ["y"])], *border())
    with pytest.raises(lt.BuildError, match=f"it cannot be converted to {precision}: this is beyond me") as raised:
        lt.convert_precision(path, tmp_path / "out.onnx", precision)
    assert "and here is where" not in str(raised.value)


def test_an_operator_that_onnx_runtime_lacks_cannot_be_calibrated(make_graph, samples):
    strange = helper.make_node("Foo", ["x"], ["y"], "strange", domain="my.ops")
    path = make_graph([strange], *border())
    profile = {"x": [(1, 3, 8, 8)] * 3}
    with pytest.raises(lt.BuildError, match=r"it cannot be converted to int8: .*Foo"):
        lt.build_plan(path, profile, precision="int8", calibration={"x": samples})

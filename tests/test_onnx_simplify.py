"""labkit.onnx_simplify: the same function with fewer nodes. The oracles are ONNX Runtime and ONNX's own checker."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from labkit.onnx_export import random_inputs
from labkit.onnx_file import OnnxFileError, graphs, load_model, save_model
from labkit.onnx_simplify import (
    TOOLS,
    Outcome,
    SimplifyReport,
    add_weight,
    count_ops,
    drop_dead_nodes,
    drop_identities,
    fold_constants,
    fuse_conv_bn,
    graph_diff,
    graph_text,
    graphs_with_weights,
    num_nodes,
    resolve_types_and_sizes,
    run_node,
    simplify,
    simplify_report,
)
from labkit.onnx_simplify import tools as tools_module

Pass = Callable[[onnx.ModelProto], onnx.ModelProto]
PASSES: list[Pass] = [fold_constants, drop_identities, fuse_conv_bn, drop_dead_nodes, simplify]


def parse(text: str, opset: int = 20, ir_version: int = 9) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: {ir_version}, opset_import: ["": {opset}]> {text}')


def run(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def apply(
    simplifier: Pass, model: onnx.ModelProto, feeds: dict[str, np.ndarray] | None = None, tolerance: float = 1e-6
) -> onnx.ModelProto:
    """The simplified model, after everything that must hold for every pass and every model.

    tolerance: relative to an output's largest value; NumPy and ONNX Runtime disagree in the last place of Exp.
    """
    untouched = model.SerializeToString(deterministic=True)
    result = simplifier(model)
    assert model.SerializeToString(deterministic=True) == untouched
    assert [value.name for value in result.graph.input] == [value.name for value in model.graph.input]
    assert list(result.graph.output) == list(model.graph.output)
    if result.SerializeToString(deterministic=True) == untouched:
        return result  # the same bytes compute the same
    onnx.checker.check_model(result, full_check=True)
    feeds = random_inputs(model, seed=1) if feeds is None else feeds
    for ours, theirs in zip(run(model, feeds), run(result, feeds), strict=True):
        assert ours.dtype == theirs.dtype
        scale = np.abs(ours).max(initial=0) if ours.dtype.kind == "f" else 0
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=tolerance * scale)
    return result


def ops(model: onnx.ModelProto) -> dict[str, int]:
    return count_ops(model)


# --- counting ---------------------------------------------------------------------------------------------------


def test_ops_are_counted_commonest_first_and_inside_subgraphs() -> None:
    model = parse("""g (bool c, float[2] x) => (float[2] y) {
        a = Relu(x)
        y = If(c) <then_branch = t () => (float[2] p) { q = Relu(a) p = Relu(q) },
                   else_branch = e () => (float[2] r) { r = Exp(a) }>
    }""")
    assert list(ops(model).items()) == [("Relu", 3), ("Exp", 1), ("If", 1)]
    assert num_nodes(model) == 5


def test_operators_of_other_domains_carry_it() -> None:
    model = onnx.parser.parse_model("""<ir_version: 9, opset_import: ["": 20, "com.microsoft": 1]>
        g (float[2] x) => (float[2] y) { a = ai.onnx.Relu(x) y = com.microsoft.Gelu(a) }""")
    assert ops(model) == {"Relu": 1, "com.microsoft::Gelu": 1}


# --- identities -------------------------------------------------------------------------------------------------


def test_a_chain_of_identities_goes() -> None:
    model = parse(
        "g (float[2] x) => (float[2] y) { a = Identity(x) b = Identity(a) c = Relu(b) d = Identity(c) y = Exp(d) }"
    )
    assert ops(apply(drop_identities, model)) == {"Relu": 1, "Exp": 1}


def test_an_output_that_is_an_identity_takes_the_node_over() -> None:
    model = parse("g (float[2] x) => (float[2] y, float[2] z) { a = Relu(x) y = Identity(a) z = Exp(a) }")
    result = apply(drop_identities, model)
    assert ops(result) == {"Relu": 1, "Exp": 1}
    assert result.graph.node[0].output[0] == "y"
    assert result.graph.node[1].input[0] == "y"


def test_two_outputs_of_one_value_stay_two() -> None:
    model = parse("g (float[2] x) => (float[2] y, float[2] z) { a = Relu(x) y = Identity(a) z = Identity(a) }")
    assert ops(apply(drop_identities, model)) == {"Relu": 1, "Identity": 1}


@pytest.mark.parametrize(
    "text",
    [
        "g (float[2] x) => (float[2] y) { y = Identity(x) }",
        "g (float[2] x) => (float[2] y, float[2] z) <float[2] w = {1.0, 2.0}> { y = Identity(w) z = Relu(x) }",
        "g (float[2] x) => (float[2] a, float[2] y) { a = Relu(x) y = Identity(a) }",
    ],
    ids=["of an input", "of a weight", "of another output"],
)
def test_an_output_stays_some_nodes_own(text: str) -> None:
    assert ops(apply(drop_identities, parse(text)))["Identity"] == 1


def test_an_input_that_is_also_an_output() -> None:
    model = parse("g (float[2] x) => (float[2] x, float[2] y) { a = Identity(x) y = Relu(a) }")
    assert ops(drop_identities(model)) == {"Relu": 1}
    assert run(drop_identities(model), {"x": np.ones(2, np.float32)})[1].tolist() == [1, 1]


def test_identities_around_and_inside_subgraphs() -> None:
    model = parse("""g (bool c, float[2] x) => (float[2] y) {
        a = Relu(x)
        b = Identity(a)
        y = If(c) <then_branch = t () => (float[2] p) { q = Identity(b) r = Exp(q) p = Identity(r) },
                   else_branch = e () => (float[2] s) { s = Identity(b) }>
    }""")
    for condition in (True, False):
        result = apply(drop_identities, model, {"c": np.array(condition), "x": np.ones(2, np.float32)})
    assert ops(result) == {"Relu": 1, "If": 1, "Exp": 1, "Identity": 1}  # the value of an outer graph as an output


def test_an_outer_value_that_takes_the_outputs_name_is_renamed_in_subgraphs_too() -> None:
    model = parse("""g (bool c, float[2] x) => (float[2] y, float[2] z) {
        a = Relu(x)
        z = If(c) <then_branch = t () => (float[2] p) { p = Exp(a) }, else_branch = e () => (float[2] r) { r = Neg(a) }>
        y = Identity(a)
    }""")
    result = apply(drop_identities, model, {"c": np.array(True), "x": np.ones(2, np.float32)})
    assert "Identity" not in ops(result)


def test_a_loop_keeps_its_condition_and_its_function() -> None:
    model = parse("""g (int64 n, float[2] x) => (float[2] y) {
        c = Constant<value = bool {1}>()
        y = Loop(n, c, x) <body = b (int64 i, bool cin, float[2] v) => (bool cout, float[2] w)
            { cout = Identity(cin) u = Identity(v) w = Add(u, u) }>
    }""")
    result = apply(drop_identities, model, {"n": np.array(3), "x": np.ones(2, np.float32)})
    assert ops(result) == {"Add": 1, "Constant": 1, "Identity": 1, "Loop": 1}


DROPOUT = """g (float[2] x) => (float[2] y) <float r = {{0.5}}, bool off = {{0}}, bool on = {{1}}> {{
    a = Dropout({})
    y = Relu(a)
}}"""


@pytest.mark.parametrize(("inputs", "stays"), [("x", False), ("x, r", False), ("x, r, off", False), ("x, r, on", True)])
def test_dropout_goes_unless_it_trains(inputs: str, stays: bool) -> None:
    assert ("Dropout" in ops(drop_identities(parse(DROPOUT.format(inputs))))) is stays


def test_dropout_whose_mask_is_read_stays() -> None:
    model = parse("g (float[2] x) => (float[2] y, bool[2] m) { a, m = Dropout(x) y = Relu(a) }")
    assert ops(apply(drop_identities, model))["Dropout"] == 1


def test_dropout_before_opset_7_trains_unless_it_says_otherwise() -> None:
    text = "g (float[2] x) => (float[2] y) {{ a = Dropout{}(x) y = Relu(a) }}"
    assert "Dropout" in ops(drop_identities(parse(text.format(""), opset=6)))
    assert "Dropout" not in ops(drop_identities(parse(text.format("<is_test = 1>"), opset=6)))


def test_other_nodes_that_change_nothing_go_and_their_likes_stay() -> None:
    model = parse("""g (float[2,2] x, int64[2] n) => (float[2,2] y, float[2,2] z) {
        a = Cast<to = 1>(x)
        b = Transpose<perm = [0, 1]>(a)
        c = Concat<axis = 0>(b)
        d = CastLike(c, x)
        y = Relu(d)
        e = Cast<to = 1>(n)
        f = Transpose<perm = [1, 0]>(x)
        z = Add(e, f)
    }""")
    assert ops(apply(drop_identities, model)) == {"Add": 1, "Cast": 1, "Relu": 1, "Transpose": 1}


# --- constants --------------------------------------------------------------------------------------------------


def test_constants_are_computed_through() -> None:
    model = parse("""g (float[n] x) => (float[n] y) <float[2] w = {1.0, 2.0}> {
        one = Constant<value_float = 1.0>()
        s = Add(w, one)
        t = ReduceSum<keepdims = 0>(s)
        y = Mul(x, t)
    }""")
    result = apply(fold_constants, model)
    assert ops(result) == {"Mul": 1}
    assert [tensor.name for tensor in result.graph.initializer] == ["t"]  # what nobody reads any more is gone


def test_an_initializer_that_a_caller_may_override_is_no_constant() -> None:
    model = parse("g (float[2] x, float[2] w = {1.0, 2.0}) => (float[2] y) { s = Exp(w) y = Mul(x, s) }")
    assert "w" in {value.name for value in model.graph.input}
    result = fold_constants(model)
    assert ops(result)["Exp"] == 1
    feeds = {"x": np.ones(2, np.float32), "w": np.zeros(2, np.float32)}
    assert run(result, feeds)[0].tolist() == [1, 1]


def test_before_ir_version_4_initializers_are_inputs_and_constant() -> None:
    model = parse(
        "g (float[2] x) => (float[2] y) <float[2] w = {1.0, 2.0}> { s = Exp(w) y = Mul(x, s) }", 9, ir_version=3
    )
    model.graph.input.append(onnx.helper.make_tensor_value_info("w", 1, [2]))
    result = fold_constants(model)
    onnx.checker.check_model(result)
    assert ops(result) == {"Mul": 1}
    assert [value.name for value in result.graph.input] == ["x", "s"]
    assert np.allclose(run(result, {"x": np.ones(2, np.float32)})[0], np.exp([1, 2]))


def test_an_output_that_is_constant_stays_a_node() -> None:
    model = parse("""g (float[2] x) => (float[2] y, float[2] z) <float[2] w = {1.0, 2.0}> {
        y = Exp(w)
        z = Add(x, y)
    }""")
    result = apply(fold_constants, model)
    assert ops(result) == {"Add": 1, "Constant": 1}


def test_a_constant_that_is_an_output_is_left_and_known() -> None:
    model = parse("""g (float[2] x) => (float[2] y, float[2] z) {
        y = Constant<value_floats = [1.0, 2.0]>()
        e = Exp(y)
        z = Add(x, e)
    }""")
    assert ops(apply(fold_constants, model)) == {"Add": 1, "Constant": 1}


def test_sizes_that_are_fixed_are_constants_and_others_are_not() -> None:
    model = parse("""g (float[b, 3, 4] x) => (int64[1] batch, int64[2] rest, int64 all, float[b, 3, 4] y) {
        batch = Shape<start = 0, end = 1>(x)
        s = Shape<start = -2>(x)
        rest = Add(s, s)
        r = Relu(x)
        all = Size(r)
        y = Identity(r)
    }""")
    result = apply(fold_constants, model)
    assert ops(result) == {"Constant": 1, "Identity": 1, "Relu": 1, "Shape": 1, "Size": 1}


def test_wrong_notes_in_the_file_about_inner_sizes_are_not_believed() -> None:
    model = parse("g (float[b, 3] x) => (int64[2] y) <float[7, 7] r> { r = Relu(x) y = Shape(r) }")
    assert [value.name for value in model.graph.value_info] == ["r"]
    feeds = {"x": np.ones((2, 3), np.float32)}
    result = fold_constants(model)
    assert ops(result)["Shape"] == 1
    del result.graph.value_info[:]
    assert run(result, feeds)[0].tolist() == [2, 3]


def test_cast_like_reads_only_the_type() -> None:
    model = parse("g (float16[b] x) => (float16[b] y) <float w = {2.0}> { s = CastLike(w, x) y = Mul(x, s) }")
    assert ops(apply(fold_constants, model)) == {"Mul": 1}


@pytest.mark.parametrize(
    "random", ["RandomNormalLike(w)", "RandomUniformLike(w)", "Bernoulli(w)", "RandomNormal<shape = [2]>()"]
)
def test_random_values_are_drawn_at_run_time(random: str) -> None:
    model = parse(f"g (float[2] x) => (float[2] y) <float[2] w = {{0.5, 0.5}}> {{ s = {random} y = Mul(x, s) }}")
    assert num_nodes(fold_constants(model)) == 2


def test_a_value_much_larger_than_its_inputs_is_left_to_the_runtime() -> None:
    text = "g (float[1] x) => (float[a, b] y) <int64[2] s = {{{n}, 1000}}> {{ z = ConstantOfShape(s) y = Add(x, z) }}"
    assert "ConstantOfShape" in ops(fold_constants(parse(text.format(n=10**9))))  # 4 TB, and found without computing
    assert "ConstantOfShape" in ops(fold_constants(parse(text.format(n=1000))))
    assert "ConstantOfShape" not in ops(fold_constants(parse(text.format(n=1000)), max_growth_bytes=1 << 30))
    assert "ConstantOfShape" not in ops(fold_constants(parse(text.format(n=2))))


def test_the_identity_of_a_weight_is_not_copied_but_what_reads_it_is_folded() -> None:
    model = parse("""g (float[2] x) => (float[2] y, float[2] z) <float[2] w = {1.0, 2.0}> {
        i = Identity(w)
        e = Exp(i)
        y = Mul(x, e)
        z = Mul(x, i)
    }""")
    result = apply(fold_constants, model)
    assert ops(result) == {"Mul": 2, "Identity": 1}
    assert {tensor.name for tensor in result.graph.initializer} == {"w", "e"}


def test_a_node_that_cannot_be_computed_stays_for_the_runtime_to_complain() -> None:
    model = parse("""g (float[2] x) => (float[2] y) <float[2] a = {1.0, 2.0}, float[3] b = {1.0, 2.0, 3.0}> {
        c = Add(a, b)
        z = Relu(c)
        y = Mul(x, x)
    }""")
    assert ops(fold_constants(model))["Add"] == 1


def test_constants_inside_subgraphs_are_folded_there() -> None:
    model = parse("""g (bool c, float[2] x) => (float[2] y) <float[2] w = {1.0, 2.0}> {
        y = If(c) <then_branch = t () => (float[2] p) { q = Exp(w) p = Add(x, q) },
                   else_branch = e () => (float[2] r) { k = Constant<value_float = 3.0>() r = Mul(x, k) }>
    }""")
    for condition in (True, False):
        result = apply(fold_constants, model, {"c": np.array(condition), "x": np.ones(2, np.float32)})
    assert ops(result) == {"Add": 1, "If": 1, "Mul": 1}
    assert [graph.name for graph in graphs(result) if graph.initializer] == ["e", "t"]


def test_several_outputs_and_empty_arrays() -> None:
    model = parse(
        """g (float[4] x) => (float[4] y) <float[6] w = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0}, int64[3] parts = {2, 0, 4}> {
        a, b, c = Split<axis = 0>(w, parts)
        d = Concat<axis = 0>(b, c)
        y = Add(x, d)
    }""",
        opset=13,
    )
    assert ops(apply(fold_constants, model)) == {"Add": 1}


# --- convolution and batch normalization ------------------------------------------------------------------------


def conv_bn(kind: str, group: int, rank: int, bias: bool, wide: int = 1) -> onnx.ModelProto:
    """x -> Conv or ConvTranspose -> BatchNormalization -> Relu, random weights, 4 * wide channels in, 6 * wide out."""
    rng = np.random.default_rng(0)
    num_in, num_out = 4 * wide, 6 * wide
    shape = (num_out, num_in // group) if kind == "Conv" else (num_in, num_out // group)
    weights = {"w": rng.standard_normal((*shape, *[3] * rank))}
    weights |= {"bias": rng.standard_normal(num_out)} if bias else {}
    weights |= {"gamma": rng.standard_normal(num_out), "beta": rng.standard_normal(num_out)}
    weights |= {"mean": rng.standard_normal(num_out), "var": rng.uniform(0.1, 3, num_out)}
    sizes = ", ".join(["5"] * rank)
    model = parse(f"""g (float[b, {num_in}, {sizes}] x) => (float[{", ".join("bcdef"[: rank + 2])}] y) {{
        c = {kind}<group = {group}, pads = [{", ".join(["1"] * 2 * rank)}]>(x, w{", bias" if bias else ""})
        n = BatchNormalization<epsilon = 0.01>(c, gamma, beta, mean, var)
        y = Relu(n)
    }}""")
    for name, array in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
    return model


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose"])
def test_fused_is_the_same_function(kind: str, group: int, rank: int, bias: bool) -> None:
    result = apply(fuse_conv_bn, conv_bn(kind, group, rank, bias))
    assert ops(result) == {kind: 1, "Relu": 1}
    assert len(result.graph.initializer) == 2


def test_weights_shared_with_another_convolution_are_not_changed() -> None:
    model = conv_bn("Conv", 1, 2, bias=True)
    model.graph.node.append(onnx.helper.make_node("Conv", ["x", "w", "bias"], ["z"], pads=[1, 1, 1, 1]))
    model.graph.output.append(onnx.helper.make_tensor_value_info("z", 1, ["b", "c", "d", "e"]))
    result = apply(fuse_conv_bn, model)
    assert ops(result) == {"Conv": 2, "Relu": 1}
    assert {"w", "bias"} < {tensor.name for tensor in result.graph.initializer}


def test_two_convolutions_with_one_weight_and_two_normalizations() -> None:
    model = conv_bn("Conv", 1, 2, bias=False)
    model.graph.node.extend(
        [
            onnx.helper.make_node("Conv", ["x", "w"], ["c2"], pads=[1, 1, 1, 1]),
            onnx.helper.make_node("BatchNormalization", ["c2", "beta", "gamma", "mean", "var"], ["z"]),
        ]
    )
    model.graph.output.append(onnx.helper.make_tensor_value_info("z", 1, ["b", "c", "d", "e"]))
    assert ops(apply(fuse_conv_bn, model)) == {"Conv": 2, "Relu": 1}


def test_two_normalizations_in_a_row_both_go_in() -> None:
    model = conv_bn("Conv", 1, 2, bias=True)
    model.graph.node[2].CopyFrom(
        onnx.helper.make_node("BatchNormalization", ["n", "beta", "gamma", "mean", "var"], ["y"])
    )
    assert ops(apply(fuse_conv_bn, model)) == {"Conv": 1}


def reads_twice(model: onnx.ModelProto) -> None:
    model.graph.node.append(onnx.helper.make_node("Neg", ["c"], ["z"]))
    model.graph.output.append(onnx.helper.make_tensor_value_info("z", 1, ["b", "c", "d", "e"]))


def makes_it_an_output(model: onnx.ModelProto) -> None:
    model.graph.output.append(onnx.helper.make_tensor_value_info("c", 1, ["b", "c", "d", "e"]))


def lets_a_caller_override_the_weight(model: onnx.ModelProto) -> None:
    model.graph.input.append(onnx.helper.make_tensor_value_info("w", 1, [6, 4, 3, 3]))


def trains(model: onnx.ModelProto) -> None:
    model.graph.node[1].attribute.append(onnx.helper.make_attribute("training_mode", 1))
    model.graph.node[1].output.extend(["mean_now", "var_now"])


def leaves_the_weight_in_a_file(model: onnx.ModelProto) -> None:
    weight = model.graph.initializer[0]
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="elsewhere")
    weight.ClearField("raw_data")


def has_a_negative_variance(model: onnx.ModelProto) -> None:
    var = next(tensor for tensor in model.graph.initializer if tensor.name == "var")
    var.CopyFrom(numpy_helper.from_array(np.full(6, -1, np.float32), "var"))


@pytest.mark.parametrize(
    "change",
    [
        reads_twice,
        makes_it_an_output,
        lets_a_caller_override_the_weight,
        trains,
        leaves_the_weight_in_a_file,
        has_a_negative_variance,
    ],
)
def test_a_pair_that_must_not_be_fused_is_left_as_it_is(change: Callable[[onnx.ModelProto], None]) -> None:
    model = conv_bn("Conv", 1, 2, bias=True)
    change(model)
    assert fuse_conv_bn(model) == model


def test_fp16_weights_that_would_overflow_are_left() -> None:
    model = conv_bn("Conv", 1, 2, bias=False)
    for at, tensor in enumerate(model.graph.initializer):
        array = numpy_helper.to_array(tensor).astype(np.float16)
        model.graph.initializer[at].CopyFrom(numpy_helper.from_array(array, tensor.name))
    assert ops(fuse_conv_bn(model)) == {"Conv": 1, "Relu": 1}
    var = model.graph.initializer[-1]
    var.CopyFrom(numpy_helper.from_array(np.full(6, 6e-8, np.float16), "var"))
    model.graph.node[1].attribute[0].f = 0.0
    gamma = next(tensor for tensor in model.graph.initializer if tensor.name == "gamma")
    gamma.CopyFrom(numpy_helper.from_array(np.full(6, 1000, np.float16), "gamma"))
    assert ops(fuse_conv_bn(model))["BatchNormalization"] == 1


def test_weights_in_constant_nodes_and_pairs_in_subgraphs_with_outer_weights() -> None:
    flat = conv_bn("Conv", 2, 2, bias=True)
    inner = onnx.GraphProto(name="then")
    inner.node.extend(flat.graph.node)
    inner.output.extend(flat.graph.output)
    other = onnx.helper.make_graph(
        [onnx.helper.make_node("Abs", ["x"], ["z"])], "else", [], [onnx.ValueInfoProto(name="z")]
    )
    nodes = [
        onnx.helper.make_node("Constant", [], ["w"], value=flat.graph.initializer[0]),
        onnx.helper.make_node("If", ["cond"], ["out"], then_branch=inner, else_branch=other),
    ]
    condition = onnx.helper.make_tensor_value_info("cond", onnx.TensorProto.BOOL, [])
    out = onnx.helper.make_tensor_value_info("out", 1, ["b", "c", "d", "e"])
    graph = onnx.helper.make_graph(nodes, "g", [condition, *flat.graph.input], [out], list(flat.graph.initializer)[1:])
    model = onnx.helper.make_model(graph, opset_imports=list(flat.opset_import), ir_version=9)
    feeds = {"cond": np.array(True), **random_inputs(flat)}
    result = apply(fuse_conv_bn, model, feeds)
    assert "BatchNormalization" not in ops(result)


# --- all passes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("simplifier", PASSES)
def test_external_weights_are_followed_when_loaded_and_left_alone_when_not(simplifier: Pass, tmp_path: Path) -> None:
    model = conv_bn("ConvTranspose", 2, 2, bias=True, wide=2)
    path = tmp_path / "net.onnx"
    assert len(save_model(model, path, one_file_bytes=100)) == 2
    assert simplifier(load_model(path)) == simplifier(model)
    outside = load_model(path, weights=False)
    assert simplifier(outside) == outside  # the weight of the only pair is not there


@pytest.mark.parametrize("simplifier", PASSES)
def test_an_empty_graph_and_a_graph_without_work(simplifier: Pass) -> None:
    for text in ("g (float[2] x) => (float[2] x) { }", "g (float[2] x) => (float[2] y) { y = Relu(x) }"):
        model = parse(text)
        assert simplifier(model) == model


@st.composite
def graphs_with_work(draw: st.DrawFn) -> onnx.ModelProto:
    """A random graph of elementwise nodes, identities and constants; any of its values may be outputs."""
    lines, names, constants = [], ["x", "w"], 0
    for at in range(draw(st.integers(1, 12))):
        op = draw(st.sampled_from(["Identity", "Identity", "Neg", "Abs", "Add", "Mul", "Constant"]))
        name = f"v{at}"
        if op == "Constant":
            constants += 1
            lines.append(f"{name} = Constant<value_floats = [{constants}.0, 2.0]>()")
        else:
            arity = 2 if op in ("Add", "Mul") else 1
            inputs = [draw(st.sampled_from(names)) for _ in range(arity)]
            lines.append(f"{name} = {op}({', '.join(inputs)})")
        names.append(name)
    outputs = draw(st.lists(st.sampled_from(names[2:]), min_size=1, max_size=4, unique=True))
    declared = ", ".join(f"float[2] {name}" for name in outputs)
    return parse(f"g (float[2] x) => ({declared}) <float[2] w = {{0.5, -1.5}}> {{ {' '.join(lines)} }}")


@settings(max_examples=150, deadline=None)
@given(model=graphs_with_work())
def test_no_graph_changes_its_function(model: onnx.ModelProto) -> None:
    for simplifier in PASSES[:4]:
        apply(simplifier, model)
    result = apply(simplify, model)
    outputs = {value.name for value in result.graph.output}
    made = {name for node in result.graph.node if node.op_type != "Constant" for name in node.output}
    for node in result.graph.node:
        assert any(name in node.input for name in ("x", *made)) or outputs & set(node.output)
        if node.op_type == "Identity":  # only those that an output needs: of an input, a weight, another output
            assert node.output[0] in outputs
            assert node.input[0] not in made - outputs
    assert num_nodes(simplify(result)) == num_nodes(result)


# --- what became of the nodes -----------------------------------------------------------------------------------


def test_diff_tells_folded_fused_removed_changed_and_added() -> None:
    model = conv_bn("Conv", 1, 2, bias=True)
    model.graph.node[2].CopyFrom(onnx.helper.make_node("Identity", ["n"], ["i"]))
    model.graph.node.append(onnx.helper.make_node("Exp", ["gamma"], ["e"]))
    model.graph.node.append(onnx.helper.make_node("ReduceSum", ["e"], ["s"], keepdims=0))
    model.graph.node.append(onnx.helper.make_node("Mul", ["i", "s"], ["y"]))
    diff = graph_diff(model, simplify(model))
    assert diff.before == ("kept", "fused", "removed", "folded", "folded", "kept")
    assert diff.after == ("changed", "kept")
    assert diff.ops("fused") == {"BatchNormalization": 1}
    assert str(diff) == (
        "6 nodes before, 2 after: 2 folded into constants (Exp 1, ReduceSum 1); 1 fused into other nodes "
        "(BatchNormalization 1); 1 removed (Identity 1); 1 changed (Conv 1)."
    )


def test_diff_of_a_rewrite_and_of_nothing() -> None:
    before = parse("g (float[2,2] x, float[2,2] w, float[2] b) => (float[2,2] y) { m = MatMul(x, w) y = Add(m, b) }")
    after = parse("g (float[2,2] x, float[2,2] w, float[2] b) => (float[2,2] y) { y = Gemm(x, w, b) }")
    diff = graph_diff(before, after)
    assert (diff.before, diff.after) == (("fused", "fused"), ("added",))
    assert str(graph_diff(before, before)) == "2 nodes before, 2 after: nothing changed."


def test_diff_says_folded_of_a_chain_whose_value_went_into_a_new_weight() -> None:
    """The zero bias that an exporter makes, in the type of the data: fusing writes what becomes of it elsewhere."""
    before = parse(
        "g (float[b,2,4] x) => (float[b,2,3] y) <float zero = {0.0}, int64[1] size = {2}, float[2,2,2] w> {"
        " k = CastLike(zero, x) bias = Expand(k, size) i = Identity(w) y = Conv(x, i, bias) }"
    )
    after = parse("g (float[b,2,4] x) => (float[b,2,3] y) <float[2,2,2] v, float[2] u> { y = Conv(x, v, u) }")
    assert graph_diff(before, after).before == ("folded", "folded", "removed", "kept")
    sizes = "g (float[b,2] x, float[2,b] z) => (float[b,2] y) { s = Shape(x) y = Reshape(z, s) }"
    without = parse("g (float[b,2] x, float[2,b] z) => (float[b,2] y) { y = Transpose(z) }")
    assert graph_diff(parse(sizes), without).before[0] != "folded"  # free sizes are not known beforehand


def test_diff_pairs_nodes_whose_values_were_renamed() -> None:
    before = parse("g (float[2] x) => (float[2] y) { a = Relu(x) b = Identity(a) y = Relu(b) }")
    after = parse("g (float[2] x) => (float[2] y) { k = Relu(x) y = Relu(k) }")
    assert graph_diff(before, after).before == ("kept", "removed", "kept")


# --- the report -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in which every tool finds something, its weights in another file."""
    model = conv_bn("Conv", 1, 2, bias=True, wide=2)
    model.graph.node[2].CopyFrom(onnx.helper.make_node("Identity", ["n"], ["i"]))
    model.graph.node.append(onnx.helper.make_node("Exp", ["gamma"], ["e"]))
    model.graph.node.append(onnx.helper.make_node("ReduceSum", ["e"], ["s"], keepdims=0))
    model.graph.node.append(onnx.helper.make_node("Mul", ["i", "s"], ["y"]))
    path = tmp_path_factory.mktemp("report") / "work.onnx"
    assert len(save_model(model, path, one_file_bytes=100)) == 2
    return path


def test_every_tool_makes_a_smaller_equal_model(
    with_work: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    report = simplify_report(with_work, dims={"b": 3}, keep_in=tmp_path)
    assert [outcome.tool for outcome in report.outcomes] == ["original", *TOOLS]
    assert report.original.num_nodes == 6
    for outcome in report.outcomes:
        assert not outcome.error
        assert outcome.num_nodes <= (6 if outcome.tool == "original" else 5)
        assert outcome.max_rel is not None
        assert outcome.max_rel < 1e-5
        assert outcome.num_bytes > 0
    assert ops(load_model(tmp_path / "labkit.onnx")) == {"Conv": 1, "Mul": 1}
    assert capfd.readouterr() == ("", "")  # --json has standard output for itself, and notebooks a clean cell


def test_report_as_data_and_as_tables(with_work: Path) -> None:
    from rich.console import Console

    report = simplify_report(with_work, tools=["labkit"], timed=True)
    assert str(report) == "Nodes of work.onnx: original 6, labkit 2."
    data = json.loads(report.to_json())
    assert data["outcomes"][1]["ops"] == {"Conv": 1, "Mul": 1}
    assert data["outcomes"][1]["run_ms"] > 0
    assert report.changed_ops() == ["BatchNormalization", "Exp", "Identity", "ReduceSum"]
    console = Console(width=80, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115
    for table in report.tables():
        console.print(table)
    text = console.export_text()
    assert "BatchNormalization" in text  # no name is cut off in 80 characters
    assert "opt. ms" in text
    assert "the fastest of 51 on one thread" in " ".join(text.split())


def test_a_column_for_each_tool_fits_80_characters_with_their_names_and_the_numbers_whole() -> None:
    from rich.console import Console

    ops = {"BatchNormalization": 345, "com.microsoft::SkipLayerNormalization": 1}
    rest = [Outcome(tool, {"BatchNormalization": 345 - at}) for at, tool in enumerate(TOOLS, 1)]
    report = SimplifyReport("net.onnx", (Outcome("original", ops), *rest))
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(report.tables()[1])
    words = console.export_text().split()
    for tool in ("original", *TOOLS):
        assert set(tool.split()) <= set(words)
    assert {"BatchNormalization", "(microsoft)", *(str(345 - at) for at in range(8))} <= set(words)


def test_the_time_of_a_tool_is_without_importing_it(
    with_work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow_to_import.py").write_text("import time; time.sleep(1)")
    monkeypatch.syspath_prepend(tmp_path)

    def write(source: Path, target: Path) -> None:
        import_module("slow_to_import")
        target.write_bytes(load_model(source).SerializeToString())

    monkeypatch.setitem(TOOLS, "slow", tools_module.Tool("slow", "", write, module="slow_to_import"))
    outcome = simplify_report(with_work, tools=["slow"]).outcomes[1]
    assert outcome.error == ""
    assert outcome.tool_ms is not None
    assert outcome.tool_ms < 500


def test_a_tool_that_is_not_installed_says_so(with_work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxslim", None)
    (outcome,) = simplify_report(with_work, tools=["onnxslim"]).outcomes[1:]
    assert outcome.error.startswith("onnxslim gives up: ModuleNotFoundError: import of onnxslim halted")


def test_where_no_tool_changes_anything_there_is_no_empty_table() -> None:
    alike = [Outcome(tool, {"Relu": 2}) for tool in ("original", "labkit")]
    (table,) = SimplifyReport("net.onnx", tuple(alike)).tables()
    assert "No tool changed the number of nodes of any type." in str(table.caption)
    assert len(SimplifyReport("net.onnx", (alike[0], Outcome("labkit", {"Relu": 1}))).tables()) == 2


def test_a_tool_that_fails_is_told_and_the_others_go_on(with_work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(source: Path, target: Path) -> None:
        raise MemoryError("no more\nof it")

    def forget(source: Path, target: Path) -> None:
        pass

    monkeypatch.setitem(TOOLS, "onnxsim", tools_module.Tool("onnxsim", "", explode))
    monkeypatch.setitem(TOOLS, "onnxslim", tools_module.Tool("onnxslim", "", forget))
    report = simplify_report(with_work, tools=["onnxsim", "onnxslim", "labkit"])
    assert [outcome.error for outcome in report.outcomes] == [
        "",
        "onnxsim gives up: MemoryError: no more",
        "onnxslim wrote no model and said nothing",
        "",
    ]
    assert str(report) == "Nodes of work.onnx: original 6, onnxsim failed, onnxslim failed, labkit 2."


def test_a_wrong_tool_is_found_out(with_work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(source: Path, target: Path) -> None:
        model = load_model(source)
        model.graph.node[-1].op_type = "Add"
        save_model(model, target)

    monkeypatch.setitem(TOOLS, "onnxsim", tools_module.Tool("onnxsim", "", wrong))
    outcome = simplify_report(with_work, tools=["onnxsim"]).outcomes[1]
    assert outcome.max_rel is not None
    assert outcome.max_rel > 0.1
    assert outcome.where.startswith("y[")


def test_a_tool_that_would_take_more_memory_than_there_is_is_not_started(
    with_work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools_module, "files_bytes", lambda path: 10**15)
    outcome = simplify_report(with_work, tools=["onnxslim"]).outcomes[1]
    assert outcome.error.startswith("onnxslim would take about 8000000 GB of memory here, and ")


def test_a_model_too_large_for_one_file_is_simplified_around_its_weights(
    with_work: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As beyond 2 GB: the weights are never in memory, and what needs their values is left alone."""
    monkeypatch.setattr(tools_module, "ONE_FILE_BYTES", 100)
    report = simplify_report(with_work, tools=["labkit", "exporter", "ort basic"], keep_in=tmp_path)
    assert [outcome.error for outcome in report.outcomes] == [""] * 4
    assert ops(load_model(tmp_path / "labkit.onnx"))["BatchNormalization"] == 1
    assert "Identity" not in ops(load_model(tmp_path / "labkit.onnx"))


def test_a_very_long_vector_is_not_taken_for_a_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX's data propagation follows every element of a vector: 30 million of them took 18 GB and a minute."""
    asked = []
    infer_shapes = onnx.shape_inference.infer_shapes

    def watched(model: onnx.ModelProto, **options: bool) -> onnx.ModelProto:
        asked.append(options.get("data_prop", False))
        return infer_shapes(model, **options)

    monkeypatch.setattr(onnx.shape_inference, "infer_shapes", watched)
    for length in (100, 100_000):
        model = parse("g (float[n] x) => (float[n] y) { y = Add(x, w) }")
        model.graph.initializer.append(numpy_helper.from_array(np.ones(length, np.float32), "w"))
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = length
        assert fold_constants(model) == model
    assert asked == [True, False]


def test_a_model_that_the_runtime_cannot_run_is_still_counted(tmp_path: Path) -> None:
    path = tmp_path / "odd.onnx"
    save_model(
        onnx.parser.parse_model("""<ir_version: 9, opset_import: ["": 20, "my.own": 1]>
        g (float[2] x) => (float[2] y) { a = Identity(x) y = my.own.Secret(a) }"""),
        path,
    )
    report = simplify_report(path, tools=["labkit"])
    assert report.outcomes[1].ops == {"my.own::Secret": 1}
    assert report.outcomes[1].error.startswith("not compared: ONNX Runtime refuses")


def test_bad_arguments_are_one_sentence(with_work: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^no tool 'magic'; there is labkit, exporter, onnxsim"):
        simplify_report(with_work, tools=["magic"])
    with pytest.raises(ValueError, match=r"^the model has no symbolic dimension 'batch'; it has b$"):
        simplify_report(with_work, dims={"batch": 2})
    with pytest.raises(OnnxFileError, match="there is no file"):
        simplify_report(tmp_path / "no.onnx")


# --- what passes are written with -------------------------------------------------------------------------------


def test_a_graph_reads_as_lines_with_what_nodes_hold_indented() -> None:
    model = parse("""g (bool c, float[n, 2] x, float[2] v = {1.0, 2.0}) => (float[n, 2] y) <float[3, 3] w> {
        y = If(c) <then_branch = t () => (float[n, 2] p) { p = Clip(x, , v) },
                   else_branch = e () => (float[n, 2] r) { k = Constant<value_float = 2.5>() r = Mul(x, k) }>
    }""")
    model.graph.initializer.append(numpy_helper.from_array(np.ones((3, 3), np.float32), "w"))
    assert graph_text(model).splitlines() == [
        "(bool c, float[n, 2] x, float[2] v) -> (float[n, 2] y)",
        "  weight v: float[2] = [1, 2] (a caller may override it)",
        "  weight w: float[3, 3]",
        "  y = If(c) holding:",
        "    then_branch () -> (p)",
        "      p = Clip(x, _, v)",
        "    else_branch () -> (r)",
        "      k = Constant[value_float=2.5]()",
        "      r = Mul(x, k)",
    ]
    assert graph_text(model, max_lines=4).splitlines()[2] == "  … 5 more lines"


def test_one_node_runs_alone_in_the_models_own_operator_version() -> None:
    old = parse("g (float[2,2] x) => (float[2] y) { y = ReduceSum<axes = [0], keepdims = 0>(x) }", opset=11)
    values = {"x": np.array([[1, 2], [3, 4]], np.float32)}
    assert run_node(old.graph.node[0], values, old)["y"].tolist() == [4, 6]
    for text in ("y = my.own.Secret(x)", "y = Add(x, z)"):
        model = onnx.parser.parse_model(
            f'<ir_version: 9, opset_import: ["": 20, "my.own": 1]> g (float[2] x) => (float[2] y) {{ {text} }}'
        )
        wrong = {"x": np.ones(2, np.float32), "z": np.ones(3, np.float32)}
        assert run_node(model.graph.node[0], wrong, model) is None


def test_a_scalar_weight_stays_a_scalar() -> None:
    model = parse("g (float[2] x) => (float y) { y = Gather(x, i) }")
    add_weight(model.graph, "i", np.int64(1))
    assert list(model.graph.initializer[0].dims) == []


def test_what_reads_only_types_or_sizes_is_resolved_where_these_are_known() -> None:
    model = parse("""g (float[b, 3] x) => (float[b, 3] y, int64[1] n, int64[1] m) <int64 one = {1}> {
        k = CastLike(one, x) y = Mul(x, k) n = Shape<start = 1>(x) m = Shape<end = 1>(x)
    }""")
    result = apply(resolve_types_and_sizes, model)
    assert ops(result) == {"Cast": 1, "Constant": 1, "Mul": 1, "Shape": 1}


def test_weights_are_seen_from_inside_and_defaults_are_none() -> None:
    model = parse("""g (bool c, float[2] x, float[2] v = {1.0, 2.0}) => (float[2] y) <float[2] w = {3.0, 4.0}> {
        y = If(c) <then_branch = t () => (float[2] p) { p = Add(x, w) },
                   else_branch = e () => (float[2] r) { r = Neg(x) }>
    }""")
    assert next(sorted(weights) for _graph, weights in graphs_with_weights(model)) == ["w"]
    assert all("w" in weights and "v" not in weights for _graph, weights in graphs_with_weights(model))

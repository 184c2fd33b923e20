"""Plans are built with no GPU, byte for byte the same, and a refusal says why and what to try."""

import os
import threading
from hashlib import sha256

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import labkit.tensorrt as lt

trt = pytest.importorskip("tensorrt_rtx", reason="the builder is not installed on this platform")


def info(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def refusal(path, profile, **options):
    with pytest.raises(lt.BuildError) as caught:
        lt.build_plan(path, profile, **options)
    return caught.value


def test_the_same_request_gives_the_same_bytes(net, profile):
    plan = lt.build_plan(net, profile)
    assert plan[1:4] == b"trt"  # "vtrt" from TensorRT-RTX, "ftrt" from TensorRT
    assert lt.build_plan(net, profile) == plan


def test_a_path_may_be_a_string_or_a_path(net, profile):
    assert lt.build_plan(str(net), profile) == lt.build_plan(net, profile)


def test_every_option_reaches_the_builder(net, profile):
    wider = {"x": (*profile["x"][:2], (32, 3, 8, 8))}
    tuned = {"x": (profile["x"][0], (8, 3, 8, 8), profile["x"][2])}
    plans = {
        "plain": lt.build_plan(net, profile),
        "max": lt.build_plan(net, wider),
        "opt": lt.build_plan(net, tuned),
        "SM86": lt.build_plan(net, profile, targets="SM86"),
        "SM89": lt.build_plan(net, profile, targets=["SM89"]),
        "both": lt.build_plan(net, profile, targets=("SM89", "8.6")),
        "workspace": lt.build_plan(net, profile, workspace_bytes=1 << 30),
        "fp16": lt.build_plan(net, profile, precision="fp16"),
    }
    digests = {name: sha256(plan).hexdigest() for name, plan in plans.items()}
    assert len(set(digests.values())) == len(digests), digests


def test_the_order_of_targets_changes_nothing(net, profile):
    assert lt.build_plan(net, profile, targets=("SM89", "SM86")) == lt.build_plan(
        net, profile, targets=("sm_86", "8.9")
    )


def test_a_static_input_may_be_stated_or_left_out(make_net):
    path = make_net(batch=4)
    assert lt.build_plan(path, {"x": [(4, 3, 8, 8)] * 3}) == lt.build_plan(path)


def test_external_weights_are_found_wherever_one_stands(make_net, profile, tmp_path, monkeypatch):
    inside, outside = make_net("inside.onnx"), make_net("outside.onnx", external="weights.bin")
    monkeypatch.chdir("/")
    assert lt.build_plan(outside, profile) == lt.build_plan(inside, profile)
    monkeypatch.chdir(tmp_path)
    assert lt.build_plan("outside.onnx", profile) == lt.build_plan(inside, profile)


def test_a_shape_that_is_an_input_takes_values_for_bounds(make_graph):
    nodes = [helper.make_node("Reshape", ["x", "to"], ["y"], "reshape")]
    path = make_graph(nodes, [info("x", ["N", 4]), info("to", [2], TensorProto.INT64)], [info("y", None)])
    bounds = {"x": ((1, 4), (2, 4), (4, 4)), "to": ((2, 2), (4, 2), (8, 2))}
    other = {**bounds, "to": ((2, 2), (2, 4), (4, 4))}
    assert lt.build_plan(path, bounds) != lt.build_plan(path, other)


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bounds", "reason", "advice"),
    [
        (None, "no optimization profile has been defined", "for every dynamic input"),
        (((5, 3, 8, 8), (4, 3, 8, 8), (16, 3, 8, 8)), "MIN<=OPT<=MAX", "min <= opt <= max holds in every dimension"),
        (((1, 3, 8, 8), (17, 3, 8, 8), (16, 3, 8, 8)), "MIN<=OPT<=MAX", "min <= opt <= max"),
        (((1, 4, 8, 8), (4, 4, 8, 8), (16, 4, 8, 8)), "At dimension axis 1", "that dimension is fixed in the graph"),
        (((1, 3, 8), (4, 3, 8), (16, 3, 8)), "has 4 dimensions but profile 0 has 3", "as many sizes"),
    ],
)
def test_impossible_profiles_are_refused_in_the_builders_words(net, bounds, reason, advice):
    error = refusal(net, bounds and {"x": bounds})
    assert reason in str(error)
    assert advice in str(error)
    assert str(error).startswith("No plan from net.onnx: ")
    assert "cudaError" not in str(error)  # a machine without a driver adds it to every error
    assert "/_src/" not in str(error)


@pytest.mark.parametrize(
    ("largest", "reason"),
    [
        ((2**63, 3, 8, 8), "a size is at most 9,223,372,036,854,775,807 in TensorRT, got 9,223,372,036,854,775,808."),
        ((2**31, 3, 8, 8), "profile of 'x': Shape provided for max is inconsistent with other shapes."),
        ((1,) * 9, "a shape has at most 8 sizes in TensorRT, got 9."),
    ],
)
def test_a_shape_that_the_bindings_cannot_hold_is_refused_in_a_sentence(net, largest, reason):
    assert reason in str(refusal(net, {"x": ((1, 3, 8, 8), (4, 3, 8, 8), largest)}))


def test_what_the_builder_would_ignore_is_refused_before(net, profile):
    error = refusal(net, {**profile, "input": profile["x"]})
    assert str(error) == "No plan from net.onnx: the profile names 'input', but the inputs of the model are 'x'."


@pytest.mark.parametrize(
    "shapes", [(1, 2, 3), ((1, 3), (2, 3)), "abc", None, ((1.5, 3), (2, 3), (3, 3)), ((-1, 3),) * 3]
)
def test_a_profile_that_makes_no_sense_is_refused(net, shapes):
    assert str(refusal(net, {"x": shapes})).startswith("No plan with this profile of 'x': ")


def test_a_static_input_with_another_shape_is_refused(make_net):
    error = refusal(make_net(batch=4), {"x": ((1, 3, 8, 8), (4, 3, 8, 8), (8, 3, 8, 8))})
    assert "static dimensions that don't match" in str(error)
    assert "leave it out of the profile" in str(error)


def test_a_target_that_cannot_do_it_says_which_operation(net, profile):
    error = refusal(net, profile, targets="SM75")
    assert error.reasons == ("Cannot compile operation 'matmul' for Turing (SM75): FP32 GEMM is not supported.",)
    assert "leave SM75 out of targets, or build that plan with precision='fp16'" in error.advice[0]
    assert lt.build_plan(net, profile, targets="SM75", precision="fp16")  # so the advice is right
    assert "Error Code 1" in error.log[0]  # the raw line is kept, for a search


def test_a_refused_build_leaves_nothing_in_the_next_plan(net, profile):
    """TensorRT-RTX 1.7.1 writes what a refusal for SM75 left behind into the next plan of the process."""
    plan = lt.build_plan(net, profile)
    refusal(net, profile, targets="SM75")
    assert lt.build_plan(net, profile) == plan


def test_too_little_workspace_says_so(net, profile):
    assert "raise workspace_bytes" in str(refusal(net, profile, workspace_bytes=1))


@pytest.mark.parametrize("domain", ["", "my.ops"])
def test_an_unknown_operator_is_named_with_its_node(make_graph, domain):
    path = make_graph(
        [helper.make_node("Foo", ["x"], ["y"], "strange", domain=domain)], [info("x", [2])], [info("y", [2])]
    )
    assert "no importer for operator Foo, which node 'strange' (Foo) uses" in str(refusal(path, None))


def test_a_node_with_no_name_is_named_by_its_number(make_graph):
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Foo", ["r"], ["y"])]
    path = make_graph(nodes, [info("x", [2])], [info("y", [2])])
    assert "operator Foo, which node number 1 (Foo) uses" in str(refusal(path, None))


def test_an_operator_whose_plugin_is_not_shipped_is_named(make_graph):
    found = helper.make_tensor_value_info("y", TensorProto.INT64, [1, None])
    path = make_graph([helper.make_node("NonZero", ["x"], ["y"], "nonzero")], [info("x", [2])], [found])
    assert "no importer for operator NonZero, which node 'nonzero' (NonZero) uses" in str(refusal(path, None))


def test_text_is_no_input_for_tensorrt(make_graph):
    words = [helper.make_tensor_value_info(name, TensorProto.STRING, [2]) for name in ("x", "y")]
    path = make_graph([helper.make_node("Identity", ["x"], ["y"])], words[:1], words[1:])
    assert "TensorRT computes with numbers only" in str(refusal(path, None))


def test_an_operator_of_onnx_that_tensorrt_lacks_is_named(make_graph):
    path = make_graph([helper.make_node("Det", ["x"], ["y"], "det")], [info("x", [2, 3, 3])], [info("y", [2])])
    error = refusal(path, None)
    assert "no importer for operator Det" in str(error)
    assert "plugin" in str(error)


def test_a_graph_that_does_not_fit_together_names_the_node(make_graph):
    weight = numpy_helper.from_array(np.zeros((1, 4), np.float32), "w")
    path = make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"], "add")], [info("x", [2, 3])], [info("y", [2, 3])], [weight]
    )
    assert "node 'add' (Add): broadcast dimensions must be conformable." in str(refusal(path, None))


def test_a_shape_baked_into_the_graph_is_explained(make_graph):
    weight = numpy_helper.from_array(np.array([4, 2], np.int64), "to")
    nodes = [helper.make_node("Reshape", ["x", "to"], ["y"], "reshape")]
    path = make_graph(nodes, [info("x", ["N", 4])], [info("y", [4, 2])], [weight])
    error = refusal(path, {"x": ((1, 4), (3, 4), (4, 4))})
    assert "reshape would change volume 12 to 8." in str(error)
    assert "a shape is baked into the graph" in str(error)


def test_a_plan_that_does_not_serve_its_whole_profile_is_warned_of(make_graph):
    """TensorRT builds a plan as soon as opt works, and says of min and max only in its log that they do not."""
    weight = numpy_helper.from_array(np.array([4, 2], np.int64), "to")
    nodes = [helper.make_node("Reshape", ["x", "to"], ["y"], "reshape")]
    path = make_graph(nodes, [info("x", ["N", 4])], [info("y", [4, 2])], [weight])
    with pytest.warns(lt.BuildWarning) as warned:
        lt.build_plan(path, {"x": ((1, 4), (2, 4), (4, 4))})
    low, high = sorted(str(each.message) for each in warned)[::-1]
    assert low.startswith("the plan does not serve the min shapes of its profile: IShuffleLayer reshape")
    assert high.startswith("the plan does not serve the max shapes of its profile: IShuffleLayer reshape")
    assert high.endswith("reshape would change volume 16 to 8.")


@pytest.mark.parametrize("content", [b"", b"not a model", b"PK\x03\x04 a zip", b"\x80\x04 a pickle"])
def test_what_is_no_model_is_said_in_one_line(tmp_path, profile, content):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    assert len(str(refusal(path, profile)).splitlines()) == 1


def test_a_missing_model_is_said_in_one_line(tmp_path, profile):
    assert "there is no file" in str(refusal(tmp_path / "no.onnx", profile))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_model_is_refused(make_net, profile, share):
    path = make_net()
    os.truncate(path, int(path.stat().st_size * share))
    assert str(refusal(path, profile)).startswith("No plan from net.onnx: ")


def test_missing_and_truncated_external_weights_are_refused(make_net, profile, tmp_path):
    path = make_net(external="w.bin")
    os.truncate(tmp_path / "w.bin", 10)
    assert "w.bin" in str(refusal(path, profile))
    (tmp_path / "w.bin").unlink()
    assert "w.bin" in str(refusal(path, profile))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fp16": True}, "there is no option 'fp16': write precision='fp16'."),
        ({"max_workspace_size": 1}, "there is no option 'max_workspace_size': write workspace_bytes."),
        ({"nonsense": 1}, "there is no option 'nonsense': there are precision, targets, workspace_bytes, calibration."),
        ({"precision": "best"}, "precision is one of fp32, fp16, int8, got 'best'."),
        ({"targets": "ampere"}, "a target is a compute capability like SM86 (or 8.6), got 'ampere'."),
        ({"targets": ("SM86", "SM90")}, "does not know the target SM90; it knows SM75, SM80, SM86"),
        ({"workspace_bytes": 0}, "workspace_bytes must be a whole number of at least 1, got 0."),
        ({"calibration": [{"x": [1]}]}, "calibration is for precision='int8', not for 'fp32'."),
        ({"precision": "int8"}, "int8 needs data to take its ranges from"),
        ({"precision": "int8", "calibration": iter([])}, "make a list of it"),
    ],
)
def test_options_that_make_no_sense_are_refused(net, profile, options, message):
    assert message in str(refusal(net, profile, **options))


def test_reasons_arrive_while_another_builder_is_alive(net, profile):
    """TensorRT logs to the logger of the first builder in a process and ignores the later ones."""
    other = trt.Builder(trt.Logger(trt.Logger.INTERNAL_ERROR))
    assert "FP32 GEMM" in str(refusal(net, profile, targets="SM75"))
    assert "MIN<=OPT<=MAX" in str(refusal(net, {"x": ((9, 3, 8, 8), (4, 3, 8, 8), (16, 3, 8, 8))}))
    del other


def test_threads_may_build_at_once(net, profile):
    wanted = lt.build_plan(net, profile)
    plans, errors = [], []

    def build():
        plans.append(lt.build_plan(net, profile))

    def fail():
        errors.append(str(refusal(net, profile, targets="SM75")))

    threads = [threading.Thread(target=work) for work in (build, fail, build, fail)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert plans == [wanted, wanted]
    assert len(errors) == 2
    assert all("FP32 GEMM" in error for error in errors)


def test_a_model_that_changes_while_it_is_built_gives_no_plan(make_net, profile):
    path = make_net()

    def write(_):
        path.write_bytes(onnx.load(path).SerializeToString() + b"")
        make_net(seed=1)

    with pytest.raises(lt.BuildError, match="was written to while its plan was being built"):
        lt.build_plan(path, profile, on_progress=write)


def test_the_advice_is_for_phrases_of_reasons():
    for phrase, advice in lt.ADVICE:
        error = lt.BuildError("from net.onnx", [f"… {phrase} …"])
        assert advice in error.advice
        assert str(error).endswith(f"Try: {error.advice[-1]}")


def test_noise_alone_is_kept_as_the_reason():
    error = lt.BuildError("from net.onnx", lt.errors.readable_reasons(["Cuda Runtime (cudaError 35: no driver)"]))
    assert "cudaError 35" in str(error)

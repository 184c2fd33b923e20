"""The key changes with everything that a plan depends on, and with nothing else.

The first half is the adversary of lab 04: each change would be served a stale plan if the key missed it. The second
half is its counterpart: a key that changes when nothing did would build forever.
"""

import os
import shutil
from dataclasses import replace
from fractions import Fraction

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import labkit.tensorrt as lt
from labkit.tensorrt.request import PlanRequest

SHAPES = {"x": ((1, 3, 8, 8), (4, 3, 8, 8), (16, 3, 8, 8))}
DATA = np.arange(2 * 3 * 8 * 8, dtype=np.float32).reshape(2, 3, 8, 8)


def same_times(path, like):
    os.utime(path, ns=(like.st_atime_ns, like.st_mtime_ns))


def other_flavour(monkeypatch, **changes):
    changed = replace(lt.flavour(), **changes)
    monkeypatch.setattr("labkit.tensorrt.request.flavour", lambda: changed)


# --- must change ----------------------------------------------------------------------------------------------------


def test_other_weights_in_a_file_of_the_same_name_size_and_time(make_net):
    path = make_net(seed=0)
    before, status = lt.plan_key(path, SHAPES), path.stat()
    make_net(seed=1)
    same_times(path, status)
    assert path.stat().st_size == status.st_size
    assert path.stat().st_mtime_ns == status.st_mtime_ns
    assert lt.plan_key(path, SHAPES) != before


def test_one_bit_of_one_weight(make_net):
    path = make_net()
    before = lt.plan_key(path, SHAPES)
    model = onnx.load(path)
    raw = bytearray(model.graph.initializer[0].raw_data)
    raw[0] ^= 1
    model.graph.initializer[0].raw_data = bytes(raw)
    onnx.save_model(model, path)
    assert lt.plan_key(path, SHAPES) != before


@pytest.mark.parametrize("position", [0, 100, -1])
def test_one_byte_of_an_external_weight_file(make_net, tmp_path, position):
    path = make_net(external="w.bin")
    before, status = lt.plan_key(path, SHAPES), (tmp_path / "w.bin").stat()
    content = bytearray((tmp_path / "w.bin").read_bytes())
    content[position] ^= 1
    (tmp_path / "w.bin").write_bytes(content)
    same_times(tmp_path / "w.bin", status)
    assert lt.plan_key(path, SHAPES) != before


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("axis", [0, 2])
def test_every_size_of_every_shape(net, which, axis):
    shapes = [list(shape) for shape in SHAPES["x"]]
    shapes[which][axis] += 1
    assert lt.plan_key(net, {"x": shapes}) != lt.plan_key(net, SHAPES)


def test_which_input_a_shape_belongs_to(make_graph):
    from onnx import TensorProto, helper

    x, z, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"]) for name in "xzy")
    path = make_graph([helper.make_node("Add", ["x", "z"], ["y"])], [x, z], [y])
    a, b = ((1,), (2,), (3,)), ((1,), (2,), (4,))
    assert lt.plan_key(path, {"x": a, "z": b}) != lt.plan_key(path, {"x": b, "z": a})


@pytest.mark.parametrize(
    "options",
    [
        {"precision": "fp16"},
        {"precision": "int8", "calibration": [{"x": DATA}]},
        {"targets": ("SM86",)},
        {"targets": ("SM86", "SM89")},
        {"workspace_bytes": 1 << 20},
        {"workspace_bytes": (1 << 20) + 1},
    ],
)
def test_every_option(net, options):
    assert lt.plan_key(net, SHAPES, **options) != lt.plan_key(net, SHAPES)


def test_calibration_data_its_order_and_its_batches(net):
    def key(*batches):
        return lt.plan_key(net, SHAPES, precision="int8", calibration=[{"x": batch} for batch in batches])

    other = DATA.copy()
    other[0, 0, 0, 0] += 1
    keys = [key(DATA), key(other), key(DATA, other), key(other, DATA), key(DATA[:1], DATA[1:])]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "tensorrt"},
        {"version": "1.7.2"},
        {"device": {"name": "A", "capability": "SM86", "num_processors": 82, "memory_bytes": 24 << 30}},
    ],
)
def test_flavour_version_and_gpu(net, monkeypatch, change):
    before = lt.plan_key(net, SHAPES)
    other_flavour(monkeypatch, **change)
    assert lt.plan_key(net, SHAPES) != before


def test_two_gpus(net, monkeypatch):
    keys = []
    for capability in ("SM86", "SM89"):
        other_flavour(monkeypatch, name="tensorrt", device={"name": "A", "capability": capability})
        keys.append(lt.plan_key(net, SHAPES))
    assert keys[0] != keys[1]


def test_the_way_labkit_builds(net, monkeypatch):
    before = lt.plan_key(net, SHAPES)
    monkeypatch.setattr("labkit.tensorrt.request.BUILD_FORMAT", 10**6)
    assert lt.plan_key(net, SHAPES) != before


def test_the_version_of_what_rewrites_the_graph_where_it_is_rewritten(net, monkeypatch):
    plain, half = lt.plan_key(net, SHAPES), lt.plan_key(net, SHAPES, precision="fp16")
    monkeypatch.setattr("labkit.tensorrt.request.version", lambda name: "0.0")
    assert lt.plan_key(net, SHAPES) == plain
    assert lt.plan_key(net, SHAPES, precision="fp16") != half


# --- must not change ------------------------------------------------------------------------------------------------


def test_a_key_is_a_file_name(net):
    key = lt.plan_key(net, SHAPES)
    assert len(key) == 64
    assert set(key) <= set("0123456789abcdef")


def test_name_folder_and_time_of_the_model(net, tmp_path):
    copy = tmp_path / "another name.onnx"
    shutil.copy(net, copy)
    os.utime(copy, (0, 0))
    assert lt.plan_key(copy, SHAPES) == lt.plan_key(net, SHAPES)
    assert lt.plan_key(str(copy), SHAPES) == lt.plan_key(net, SHAPES)


def test_time_of_an_external_weight_file_and_bytes_that_nobody_refers_to(make_net, tmp_path):
    path = make_net(external="w.bin")
    before = lt.plan_key(path, SHAPES)
    os.utime(tmp_path / "w.bin", (0, 0))
    with (tmp_path / "w.bin").open("ab") as file:
        file.write(b"of another model that shares the file")
    assert lt.plan_key(path, SHAPES) == before


@pytest.mark.parametrize(
    "options",
    [
        {"precision": "fp32"},
        {"targets": ()},
        {"targets": []},
        {"targets": None},
        {"workspace_bytes": None},
        {"calibration": None},
        {"calibration": ()},
        {"precision": "fp32", "targets": (), "workspace_bytes": None, "calibration": []},
    ],
)
def test_a_default_that_is_written_out(net, options):
    assert lt.plan_key(net, SHAPES, **options) == lt.plan_key(net, SHAPES)


@pytest.mark.parametrize("targets", [("SM89", "SM86"), ["SM86", "SM89", "SM86"], ("sm_86", "8.9"), ("86", "89")])
def test_order_and_spelling_of_targets(net, targets):
    assert lt.plan_key(net, SHAPES, targets=targets) == lt.plan_key(net, SHAPES, targets=("SM86", "SM89"))


@pytest.mark.parametrize("number", [1 << 20, np.int64(1 << 20), float(1 << 20), Fraction(1 << 20)])
def test_the_type_of_a_number(net, number):
    assert lt.plan_key(net, SHAPES, workspace_bytes=number) == lt.plan_key(net, SHAPES, workspace_bytes=1 << 20)


def test_a_static_input_that_is_stated(make_net):
    path = make_net(batch=4)
    assert lt.plan_key(path, {"x": [(4, 3, 8, 8)] * 3}) == lt.plan_key(path) == lt.plan_key(path, {})


@pytest.mark.parametrize(
    "same",
    [
        [{"x": DATA}],
        ({"x": DATA},),
        {"x": DATA},
        [{"x": DATA.astype(np.float64)}],
        [{"x": np.asfortranarray(DATA)}],
        [{"x": DATA.tolist()}],
    ],
)
def test_containers_and_dtypes_of_calibration_data(net, same):
    keys = {lt.plan_key(net, SHAPES, precision="int8", calibration=data) for data in ([{"x": DATA}], same)}
    assert len(keys) == 1


def test_another_process_has_the_same_key(net):
    import subprocess
    import sys

    code = f"import labkit.tensorrt as lt; print(lt.plan_key({str(net)!r}, {SHAPES!r}))"
    environment = {**os.environ, "PYTHONHASHSEED": "123"}
    out = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == lt.plan_key(net, SHAPES)


# --- both, for any profile ------------------------------------------------------------------------------------------

NAMES = ("a", "b", "c")
numbers = st.integers(1, 64)
shape_triples = st.tuples(*[st.tuples(numbers, numbers)] * 3)
profiles = st.fixed_dictionaries(dict.fromkeys(NAMES, shape_triples))


@pytest.fixture(scope="module")
def three_inputs(tmp_path_factory):
    from onnx import TensorProto, helper

    a, b, c, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", "M"]) for name in (*NAMES, "y"))
    graph = helper.make_graph([helper.make_node("Sum", list(NAMES), ["y"])], "sum", [a, b, c], [y])
    path = tmp_path_factory.mktemp("sum") / "sum.onnx"
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
    return path


@settings(deadline=None, max_examples=40)
@given(profile=profiles, order=st.permutations(NAMES), number=st.sampled_from([int, np.int64, np.int32, float]))
def test_the_spelling_of_a_profile_says_nothing(three_inputs, profile, order, number):
    spelled = {name: [[number(size) for size in shape] for shape in profile[name]] for name in order}
    assert lt.plan_key(three_inputs, spelled) == lt.plan_key(three_inputs, profile)


@settings(deadline=None, max_examples=40)
@given(one=profiles, other=profiles)
def test_profiles_have_one_key_if_they_are_equal(three_inputs, one, other):
    assert (lt.plan_key(three_inputs, one) == lt.plan_key(three_inputs, other)) == (one == other)


@settings(deadline=None, max_examples=40)
@given(one=profiles, other=profiles)
def test_a_difference_is_told_if_there_is_one(three_inputs, one, other):
    first, second = (PlanRequest.of(three_inputs, each).ingredients for each in (one, other))
    assert bool(lt.difference(first, second)) == (one != other)
    assert lt.difference(first, first) == ()

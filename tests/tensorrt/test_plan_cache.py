"""Plans are kept, never served stale, and a miss says why."""

import os
import stat
import sys
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import labkit.tensorrt as lt
from labkit.tensorrt.build import Built

DATA = [{"x": np.ones((2, 3, 8, 8), np.float32)}]


@pytest.fixture
def cache(tmp_path):
    return lt.PlanCache(tmp_path / "plans")


def bounds(low, opt, high):
    return {"x": ((low, 3, 8, 8), (opt, 3, 8, 8), (high, 3, 8, 8))}


def entry(cache, net, profile, **options):
    return cache.folder / f"{lt.plan_key(net, profile, **options)}.plan"


def names(cache):
    return sorted(path.name for path in cache.folder.iterdir() if path.name != "locks")


# --- hits -----------------------------------------------------------------------------------------------------------


def test_the_second_time_is_a_hit_with_the_same_bytes(cache, net, profile):
    first = cache.serve(net, profile)
    second = cache.serve(net, profile)
    assert (first.hit, second.hit) == (False, True)
    assert first.plan == second.plan == lt.build_plan(net, profile)
    assert second.reason == "hit"
    assert first.key == second.key == lt.plan_key(net, profile)


def test_get_or_build_returns_the_plan(cache, net, profile, fake_build):
    assert cache.get_or_build(net, profile) == cache.get_or_build(net, profile)
    assert len(fake_build) == 1


def test_another_cache_object_and_another_spelling_hit_too(cache, net, profile, fake_build):
    cache.get_or_build(net, profile, targets=("SM86", "SM89"))
    again = lt.PlanCache(str(cache.folder))
    spelled = {"x": [list(map(np.int64, shape)) for shape in profile["x"]]}
    assert again.serve(str(net), spelled, targets=["8.9", "sm_86"], precision="fp32").hit
    assert len(fake_build) == 1


def test_progress_is_passed_on_when_something_is_built(cache, net, profile):
    moments = []
    cache.get_or_build(net, profile, on_progress=moments.append)
    assert moments[-1].fraction == 1
    assert cache.get_or_build(net, profile, on_progress=lambda moment: pytest.fail("nothing is built on a hit"))


def test_a_refusal_is_raised_and_not_kept(cache, net, profile):
    for _ in range(2):
        with pytest.raises(lt.BuildError, match="FP32 GEMM"):
            cache.get_or_build(net, profile, targets="SM75")
    assert names(cache) == []


def test_a_plan_that_does_not_serve_its_profile_warns_again_from_the_cache(cache, make_graph):
    weight = numpy_helper.from_array(np.array([4, 2], np.int64), "to")
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", ["N", 4]), ("y", [4, 2]))
    )
    path = make_graph([helper.make_node("Reshape", ["x", "to"], ["y"], "reshape")], [x], [y], [weight])
    for _ in range(2):
        with pytest.warns(lt.BuildWarning) as warned:
            cache.get_or_build(path, {"x": ((1, 4), (2, 4), (4, 4))})
        assert sorted(str(each.message).split(" shapes of")[0] for each in warned) == [
            "the plan does not serve the max",
            "the plan does not serve the min",
        ]
        assert {each.filename for each in warned} == {__file__}


# --- misses say why -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "options", "reason"),
    [
        (bounds(1, 16, 16), {}, "profile changed: opt 4→16 (dimension 0 of 'x')"),
        (bounds(2, 4, 16), {}, "profile changed: min 1→2 (dimension 0 of 'x')"),
        ({"x": ((1, 3, 4, 4), (4, 3, 8, 8), (16, 3, 8, 8))}, {}, "profile changed: min 1x3x8x8→1x3x4x4 of 'x'"),
        ({}, {}, "profile changed: 'x' is no longer in it"),
        (bounds(1, 4, 16), {"precision": "fp16"}, "precision changed: fp32→fp16"),
        (bounds(1, 4, 16), {"precision": "int8", "calibration": DATA}, "precision changed: fp32→int8"),
        (bounds(1, 4, 16), {"targets": "8.6"}, "targets changed: any→SM86"),
        (bounds(1, 4, 16), {"workspace_bytes": 64}, "workspace_bytes changed: default→64"),
    ],
)
def test_a_miss_says_what_changed(cache, net, fake_build, profile, options, reason):
    cache.get_or_build(net, bounds(1, 4, 16))
    assert cache.explain(net, profile, **options) == f"miss: {reason}"
    assert cache.serve(net, profile, **options).reason == f"miss: {reason}"
    assert cache.explain(net, profile, **options) == "hit"


def test_several_changes_are_all_named(cache, net, fake_build):
    cache.get_or_build(net, bounds(1, 4, 16))
    assert cache.explain(net, bounds(1, 8, 32), targets="SM86") == (
        "miss: profile changed: opt 4→8 (dimension 0 of 'x'); profile changed: max 16→32 (dimension 0 of 'x'); "
        "targets changed: any→SM86"
    )


def test_the_nearest_stored_plan_is_compared_with(cache, net, fake_build):
    cache.get_or_build(net, bounds(1, 4, 16))
    cache.get_or_build(net, bounds(2, 8, 32), targets="SM86")
    assert cache.explain(net, bounds(2, 8, 32), targets="SM89") == "miss: targets changed: SM86→SM89"
    assert cache.explain(net, bounds(1, 2, 16)) == "miss: profile changed: opt 4→2 (dimension 0 of 'x')"


def test_an_empty_cache_and_another_model_are_said(cache, make_net, profile, fake_build):
    assert cache.explain(make_net("a.onnx"), profile) == "miss: no plan is stored here yet"
    cache.get_or_build(make_net("a.onnx"), profile)
    other = make_net("b.onnx", seed=1)
    assert cache.explain(other, profile) == "miss: first plan of this model here (plans stored of other models: 1)"


def test_a_changed_model_is_said(cache, make_net, profile, fake_build):
    cache.get_or_build(make_net(seed=0), profile)
    assert cache.explain(make_net(seed=1), profile) == "miss: model changed: other bytes in the .onnx file"


def test_a_changed_weight_file_is_named(cache, make_net, profile, tmp_path, fake_build):
    path = make_net(external="w.bin")
    cache.get_or_build(path, profile)
    content = bytearray((tmp_path / "w.bin").read_bytes())
    content[7] ^= 1
    (tmp_path / "w.bin").write_bytes(content)
    assert cache.explain(path, profile) == "miss: weights changed: other bytes in w.bin"


def test_other_calibration_data_is_said(cache, net, profile, fake_build):
    cache.get_or_build(net, profile, precision="int8", calibration=DATA)
    other = [{"x": DATA[0]["x"] * 2}]
    assert cache.explain(net, profile, precision="int8", calibration=other) == "miss: calibration changed: other data"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": "9.9"}, "TensorRT changed: tensorrt_rtx {version}→tensorrt_rtx 9.9"),
        ({"device": {"name": "RTX", "capability": "SM86"}}, "GPU changed: any→RTX, SM86"),
    ],
)
def test_another_tensorrt_or_gpu_is_said(cache, net, profile, monkeypatch, fake_build, change, reason):
    cache.get_or_build(net, profile)
    here = lt.flavour()
    monkeypatch.setattr("labkit.tensorrt.request.flavour", lambda: replace(here, **change))
    assert cache.explain(net, profile) == f"miss: {reason.format(version=here.version)}"


def test_a_plan_of_an_older_labkit_is_said(cache, net, profile, monkeypatch, fake_build):
    cache.get_or_build(net, profile)
    monkeypatch.setattr("labkit.tensorrt.request.BUILD_FORMAT", 99)
    assert cache.explain(net, profile).startswith("miss: labkit's way of building changed: ")


# --- damage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [0, 1, 11, 15, 30, -1, -1000])
def test_a_truncated_entry_is_a_miss_and_is_mended(cache, net, profile, fake_build, left):
    plan = cache.get_or_build(net, profile)
    path = entry(cache, net, profile)
    os.truncate(path, left if left >= 0 else max(path.stat().st_size + left, 40))
    served = cache.serve(net, profile)
    assert served.plan == plan
    assert served.reason.startswith("miss: the stored plan is damaged: ")
    assert cache.serve(net, profile).hit


def test_a_longer_entry_is_a_miss(cache, net, profile, fake_build):
    cache.get_or_build(net, profile)
    with entry(cache, net, profile).open("ab") as file:
        file.write(b"more")
    assert (
        cache.explain(net, profile) == "miss: the stored plan is damaged: 644 bytes of plan are there, 640 were stored"
    )


def test_a_foreign_file_is_a_miss(cache, net, profile, fake_build):
    entry(cache, net, profile).write_bytes(b"somebody else's file, which happens to have this name")
    assert cache.explain(net, profile) == "miss: the stored plan is foreign: it does not begin like a stored plan"
    assert cache.serve(net, profile).not_kept is None
    assert cache.explain(net, profile) == "hit"


def test_a_plan_under_another_key_is_a_miss(cache, net, profile, fake_build):
    cache.get_or_build(net, profile)
    entry(cache, net, profile).rename(entry(cache, net, profile, precision="fp16"))
    assert cache.explain(net, profile, precision="fp16") == (
        "miss: the stored plan is foreign: it holds the plan of another request"
    )


def test_a_folder_in_the_place_of_an_entry_costs_the_cache_but_not_the_plan(cache, net, profile, fake_build):
    entry(cache, net, profile).mkdir()
    served = cache.serve(net, profile)
    assert served.plan
    assert served.reason == "miss: the stored plan is foreign: it is not a file"
    assert "Is a directory" in served.not_kept or "not a file" in served.not_kept


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_one_changed_byte_never_serves_another_plan(cache, net, profile, fake_build, where, flip):
    plan = cache.get_or_build(net, profile)
    path = entry(cache, net, profile)
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= flip
    path.write_bytes(content)
    assert cache.get_or_build(net, profile) == plan


def test_files_of_others_are_left_alone(cache, net, profile, fake_build):
    for name in ("notes.txt", "abc.plan", ".other.tmp"):
        (cache.folder / name).write_bytes(b"x" * 10**4)
    small = lt.PlanCache(cache.folder, max_bytes=3000)
    for opt in range(2, 10):
        small.get_or_build(net, bounds(1, opt, 16))
    assert {"notes.txt", "abc.plan", ".other.tmp"} <= set(names(cache))


# --- the limit ------------------------------------------------------------------------------------------------------


def test_the_limit_is_kept_and_the_least_recently_used_go_first(cache, net, fake_build):
    size = cache.folder / f"{cache.serve(net, bounds(1, 1, 16)).key}.plan"
    small = lt.PlanCache(cache.folder, max_bytes=int(3.5 * size.stat().st_size))
    for opt in (2, 3):
        small.get_or_build(net, bounds(1, opt, 16))
    small.get_or_build(net, bounds(1, 1, 16))  # used: now 2 is the oldest
    small.get_or_build(net, bounds(1, 4, 16))
    assert [small.explain(net, bounds(1, opt, 16))[:4] for opt in (1, 2, 3, 4)] == ["hit", "miss", "hit", "hit"]


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=st.lists(st.integers(1, 6), max_size=25), room=st.integers(1, 5))
def test_it_holds_what_a_textbook_cache_would_hold(tmp_path_factory, net, monkeypatch, asked, room):
    """Against an OrderedDict: plans of unequal sizes, in any order, under any limit."""
    num_bytes = {opt: 10_000 * opt for opt in range(1, 7)}
    monkeypatch.setattr(
        "labkit.tensorrt.cache.build", lambda request, _: Built(b"p" * num_bytes[request.profile["x"][1][0]])
    )
    cache = lt.PlanCache(tmp_path_factory.mktemp("lru"), max_bytes=room * 12_000)
    oracle, header = OrderedDict(), 1000
    for opt in asked:
        cache.serve(net, bounds(1, opt, 6))
        if opt in oracle:
            oracle.move_to_end(opt)
        elif num_bytes[opt] + header <= cache.max_bytes:
            while (
                oracle and sum(num_bytes[each] + header for each in oracle) + num_bytes[opt] + header > cache.max_bytes
            ):
                oracle.popitem(last=False)
            oracle[opt] = True
    held = [each.header.ingredients["profile"]["x"]["opt"][0] for each in cache.stored()]
    assert held == list(oracle)
    assert sum(each.num_bytes for each in cache.stored()) <= cache.max_bytes


def test_a_plan_larger_than_the_limit_is_served_and_said(tmp_path, net, profile, fake_build):
    cache = lt.PlanCache(tmp_path / "plans", max_bytes=100)
    with pytest.warns(lt.CacheWarning, match=r"built but not kept: it has [\d,]+ bytes, the cache may hold 100"):
        assert cache.get_or_build(net, profile)
    assert names(cache) == []


def test_a_limit_is_a_positive_number(tmp_path):
    with pytest.raises(ValueError, match="at least 1, got 0"):
        lt.PlanCache(tmp_path / "plans", max_bytes=0)


# --- who may write here ---------------------------------------------------------------------------------------------

posix = pytest.mark.skipif(not hasattr(os, "getuid"), reason="rights of this kind are POSIX")


@posix
def test_a_new_folder_is_for_its_owner_alone(tmp_path):
    cache = lt.PlanCache(tmp_path / "new" / "plans")
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700


@posix
@pytest.mark.parametrize(("mode", "who"), [(0o777, "everybody"), (0o1777, "everybody"), (0o770, "its group")])
def test_a_folder_that_others_can_write_to_is_refused(tmp_path, mode, who):
    folder = tmp_path / "plans"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(lt.CacheError, match=f"can be written to by {who}.*plans are code: chmod go-w"):
        lt.PlanCache(folder)


@posix
def test_rights_are_looked_at_again_before_each_use(cache, net, profile, fake_build):
    cache.get_or_build(net, profile)
    cache.folder.chmod(0o777)
    with pytest.raises(lt.CacheError, match="everybody"):
        cache.get_or_build(net, profile)


@posix
def test_a_folder_that_others_could_replace_is_refused(tmp_path):
    (tmp_path / "open" / "plans").mkdir(parents=True, mode=0o700)
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(lt.CacheError, match="could put another folder in the place of"):
        lt.PlanCache(tmp_path / "open" / "plans")
    (tmp_path / "open").chmod(0o1777)  # sticky, like /tmp
    lt.PlanCache(tmp_path / "open" / "plans")


@pytest.mark.skipif(sys.platform == "win32" or os.getuid() != 0, reason="giving a folder away needs root")
def test_a_folder_of_another_user_is_refused(tmp_path):
    folder = tmp_path / "plans"
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    with pytest.raises(lt.CacheError, match="belongs to another user"):
        lt.PlanCache(folder)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "plans").write_text("")
    with pytest.raises(lt.CacheError, match=r"plans cannot be kept in .*: File exists"):
        lt.PlanCache(tmp_path / "plans")


def test_a_folder_that_is_gone_says_so(cache, net, profile):
    cache.folder.rmdir()
    with pytest.raises(lt.CacheError, match="no longer there"):
        cache.get_or_build(net, profile)

"""Lab 04's checks: labkit's own functions through them, the builder as an oracle, and what a learner reads.

That every known wrong answer is rejected by its name, and every right one accepted, is the kill matrix's work.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import labkit
import labkit.tensorrt as lt
from labkit.course.exercise import Case, Exercise
from labkit.course.exercises.tensorrt_build import LAB
from labkit.course.exercises.tensorrt_build.cache_play import DAMAGES, REQUESTS, stand_in_key, stand_in_plan
from labkit.course.exercises.tensorrt_build.key_requests import probe as ask_twice
from labkit.course.exercises.tensorrt_build.trtexec_command import OLD_FLAGS
from labkit.tensorrt.flavours import flavour

NAMES = {"profile_problems": 8, "trtexec_command": 8, "plan_key": 15, "PlanCache": 8}  # -> least wrong answers


def exercise(name: str) -> Exercise:
    return LAB.exercise(name)


def read(name: str, candidate: Any, seed: int = 0) -> str:
    verdict = exercise(name).judge(candidate, seed=seed)
    assert not verdict.passed
    return str(verdict)


# --- the lab as a whole -----------------------------------------------------------------------------------


def test_the_lab_has_the_names_of_the_design() -> None:
    assert tuple(each.name for each in LAB.exercises) == tuple(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_there_are_enough_wrong_and_right_answers(name: str) -> None:
    wrong, right = exercise(name).wrong_answers, exercise(name).right_answers
    assert len({each.name for each in wrong}) == len(wrong) >= NAMES[name]
    assert len({each.name for each in right}) == len(right) >= 3


@pytest.mark.parametrize("name", NAMES)
def test_a_stub_is_not_written_yet(name: str) -> None:
    def stub(*args: object, **options: object) -> None:
        raise NotImplementedError(f"write {name}")

    assert str(exercise(name).judge(stub)) == f"○ {name}: not written yet: write {name}"


@pytest.mark.parametrize("seed", [0, 7, 31])
@pytest.mark.parametrize("name", ["plan_key", "trtexec_command"])
def test_labkits_own_function_passes(name: str, seed: int) -> None:
    verdict = exercise(name).judge(getattr(lt, name), seed=seed)
    assert verdict.passed, str(verdict)


# --- profiles: the builder is the oracle --------------------------------------------------------------------


def builder_takes(inputs: dict[str, Any], profile: dict[str, Any]) -> bool:
    """Whether TensorRT builds a network of these inputs with this profile."""
    trt = pytest.importorskip("tensorrt_rtx", reason="the builder is not installed on this platform")
    builder = trt.Builder(trt.Logger(trt.Logger.INTERNAL_ERROR))
    network = builder.create_network(0)
    for name, shape in inputs.items():
        sizes = tuple(-1 if size is None else size for size in shape)
        relu = network.add_activation(network.add_input(name, trt.float32, sizes), trt.ActivationType.RELU)
        network.mark_output(relu.get_output(0))
    config = builder.create_builder_config()
    bounds = builder.create_optimization_profile()
    for name, shapes in profile.items():
        try:
            bounds.set_shape(name, *shapes)
        except (RuntimeError, ValueError):
            return False
    if profile and config.add_optimization_profile(bounds) < 0:
        return False
    return builder.build_serialized_network(network, config) is not None


def test_the_builder_refuses_what_the_check_calls_a_problem() -> None:
    right = exercise("profile_problems").right_answers[0].candidate
    num_refused = 0
    for case in exercise("profile_problems").make_cases(0):
        inputs, profile = case.args
        assert exercise("profile_problems").judge_case(case, right(inputs, profile)) is None
        problems = {name for name, problem in right(inputs, profile).items() if problem != "unknown"}
        known = {name: shapes for name, shapes in profile.items() if name in inputs}  # TensorRT ignores the others
        assert builder_takes(inputs, known) == (not problems), f"{case.name}: {problems}"
        num_refused += bool(problems)
    assert 8 <= num_refused < len(exercise("profile_problems").make_cases(0))


def test_tuples_compare_like_words() -> None:
    def profile_problems(inputs, profile):
        problems = {}
        for name in inputs.keys() | profile.keys():
            if name not in inputs:
                problems[name] = "unknown"
            elif name not in profile:
                problems |= {name: "missing"} if None in inputs[name] else {}
            elif any(len(shape) != len(inputs[name]) for shape in profile[name]):
                problems[name] = "rank"
            elif any(
                b not in (a, *[b][: a is None]) for s in profile[name] for a, b in zip(inputs[name], s, strict=True)
            ):
                problems[name] = "fixed"
            elif list(profile[name]) != sorted(profile[name]):
                problems[name] = "order"
        return problems

    text = read("profile_problems", profile_problems)
    assert "another order in another dimension" in text
    assert "*whole tuples compared*: tuples compare like words" in text


# --- trtexec ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flag", ["--fp16", "--explicitBatch", "--best", "--buildOnly", "--workspace=1024", "--batch=8"]
)
def test_an_old_flag_is_refused_by_its_name(flag: str) -> None:
    text = read("trtexec_command", lambda *args, **options: [*lt.trtexec_command(*args, **options), flag])
    assert f"{flag}: gone. Write {OLD_FLAGS[flag.partition('=')[0]]}" in text


def test_every_old_flag_of_the_table_is_known() -> None:
    in_table = {word.partition("=")[0] for call in lt.OLD_CALLS if "trtexec" in call.old
                for word in call.old.split() if word.startswith("--")}  # fmt: skip
    assert in_table
    assert in_table <= OLD_FLAGS.keys()


def test_a_flag_that_nobody_knows_is_refused() -> None:
    text = read("trtexec_command", lambda *args, **options: [*lt.trtexec_command(*args, **options), "--fast"])
    assert "'--fast': no such flag" in text


def test_a_number_of_mib_and_of_bytes_are_both_right() -> None:
    judge = exercise("trtexec_command").judge_case
    case = Case("", ("n.onnx", "n.plan", {}, {"workspace_bytes": 2**30}))
    for pool in ("1024", "1024M", "1G", "1048576K", "1073741824B"):
        command = [
            "trtexec",
            "--onnx=n.onnx",
            "--saveEngine=n.plan",
            "--skipInference",
            f"--memPoolSize=workspace:{pool}",
        ]
        assert judge(case, command) is None, pool
    assert judge(case, [*command[:-1], "--memPoolSize=workspace:1025"]) is not None


def test_one_of_several_mistakes_is_named() -> None:
    def trtexec_command(onnx_path, plan_path, profile, **options):
        kept = {name: value for name, value in options.items() if name != "targets"}
        whole = (kept.get("workspace_bytes") or 0) // 2**20
        command = lt.trtexec_command(onnx_path, plan_path, profile, **{**kept, "workspace_bytes": None})
        return [*command, f"--memPoolSize=workspace:{whole}"] if kept.get("workspace_bytes") else command

    text = read("trtexec_command", trtexec_command)
    assert "this behaves like *rounded to whole MiB*" in text
    assert "on the others something else is wrong too" in text


# --- the key ------------------------------------------------------------------------------------------------


def test_the_stand_in_for_tensorrt_is_taken_away_again() -> None:
    before = flavour()
    seen = []

    def plan_key(onnx_path: str, profile: Any, **options: Any) -> str:
        seen.append((flavour().name, flavour().version, str(flavour().device)))
        return "key"

    for case in exercise("plan_key").make_cases(0):
        ask_twice(plan_key, case)
    assert len(set(seen)) == 5  # one, another version, another flavour; full, another GPU
    assert flavour() == before


def test_every_change_is_one_change() -> None:
    num_changes = 0
    for case in exercise("plan_key").make_cases(3):
        profile, options, rest, changes = case.args
        request = {"profile": profile, "options": options, **rest}
        for name, change in changes.items():
            assert name.startswith(("other ", "same ")), name
            changed = {part for part in change if repr(change[part]) != repr(request.get(part))}
            assert len(changed) <= 1 or changed == {"files", "onnx"}, name
            num_changes += 1
    assert num_changes >= 40


def test_size_and_time_stay_when_weights_change() -> None:
    """The adversary's first move: what `ls` shows is the same before and after."""
    seen: list[tuple[int, int]] = []

    def plan_key(onnx_path: str, profile: Any, **options: Any) -> str:
        status = os.stat(onnx_path)
        seen.append((status.st_size, status.st_mtime_ns))
        return hashlib.sha256(Path(onnx_path).read_bytes()).hexdigest()

    case = next(case for case in exercise("plan_key").make_cases(0) if case.name == "the model is one file")
    changes = case.args[-1]
    value = ask_twice(plan_key, case)
    for name in ("other weights in a file of the same name, size and time", "other bit in one weight"):
        assert seen[1 + list(changes).index(name)] == seen[0]
        assert value["same"][name] is False


def test_a_learner_can_ask_for_the_keys_of_a_case() -> None:
    lab = labkit.open_lab("04_tensorrt_build")
    for case in exercise("plan_key").make_cases(0):
        (requests,) = lab.case("plan_key", case.name)
        keys = {name: lt.plan_key(path, profile, **options) for name, (path, profile, options) in requests.items()}
        before = keys.pop("as it is")
        assert all((key == before) == name.startswith("same ") for name, key in keys.items()), case.name
        told = {name for name, change in case.args[-1].items() if "builder" not in change}
        assert keys.keys() == told


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (lambda *args, **options: 7, "something of type int"),
        (lambda *args, **options: "", "an empty str"),
        (lambda *args, **options: "plans/a.plan", "with some that a file name should not have"),
        (lambda *args, **options: "a" * 129, "a str of 129 characters"),
    ],
)
def test_a_key_is_the_name_of_a_file(key: Callable[..., Any], said: str) -> None:
    text = read("plan_key", key)
    assert "can be the name of a file" in text
    assert said in text


def test_a_learners_forgotten_device_is_named() -> None:
    def plan_key(onnx_path: str, profile: Any, **options: Any) -> str:
        before = flavour()
        bare = lt.Flavour(before.name, before.version, None, before.trt)
        real, lt.request.flavour = lt.request.flavour, lambda: bare  # type: ignore[attr-defined]
        try:
            return lt.plan_key(onnx_path, profile, **options)
        finally:
            lt.request.flavour = real  # type: ignore[attr-defined]

    assert "*GPU forgotten*: full TensorRT builds for the GPU that it finds" in read("plan_key", plan_key)


# --- the cache ------------------------------------------------------------------------------------------------


def test_the_stand_ins_tell_requests_apart() -> None:
    calls = [(path, profile, options) for path, profile, options in REQUESTS.values()]
    assert len({stand_in_key(path, profile, **options) for path, profile, options in calls}) == len(calls)
    assert len({stand_in_plan(path, profile, **options) for path, profile, options in calls}) == len(calls)


def test_every_damage_does_damage() -> None:
    content = np.random.default_rng(0).bytes(100)
    damaged = {how: damage(content) for how, damage in DAMAGES.items()}
    assert len({*damaged.values(), content}) == len(DAMAGES) + 1


def test_labkits_own_cache_passes_apart_from_its_seat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its entries are sealed, atomic and mended; the builder and the key are put in its hands from outside."""
    from labkit.tensorrt import entry

    class Own:
        def __init__(self, folder, build, key):
            self.folder, self.build, self.key = Path(folder), build, key

        def get_or_build(self, onnx_path, profile, **options):
            ingredients = {"key": self.key(onnx_path, profile, **options)}
            path = self.folder / f"{entry.digest(ingredients)}.plan"
            try:
                return entry.read_plan(path)[1]
            except (FileNotFoundError, entry.Damaged):
                plan = self.build(onnx_path, profile, **options)
                entry.write_atomically(path, entry.pack(ingredients, plan, "net"), plan)
                return plan

    verdict = exercise("PlanCache").judge(Own)
    assert verdict.passed, str(verdict)


class Learners:
    """A cache as a learner may write it first."""

    def __init__(self, folder, build, key):
        self.folder, self.build, self.key = folder, build, key

    def get_or_build(self, onnx_path, profile, **options):
        path = os.path.join(self.folder, self.key(onnx_path, profile, **options) + ".plan")
        if os.path.exists(path):
            return Path(path).read_bytes()
        plan = self.build(onnx_path, profile, **options)
        Path(path).write_bytes(plan)
        return plan


def test_writing_in_place_is_seen_without_a_crash() -> None:
    text = read("PlanCache", Learners)
    assert "expected  written under another name, then renamed" in text
    assert "in call 1, get('a'): written under its final name: a crash leaves half a plan" in text


def test_a_file_by_another_road_is_seen_too() -> None:
    class ByDescriptor(Learners):
        def get_or_build(self, onnx_path, profile, **options):
            path = os.path.join(self.folder, self.key(onnx_path, profile, **options))
            plan = self.build(onnx_path, profile, **options)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.write(handle, plan)
            os.fsync(handle)
            os.close(handle)
            return plan

    assert "written under its final name" in read("PlanCache", ByDescriptor)


def test_a_lock_file_is_nobodys_business() -> None:
    right = exercise("PlanCache").right_answers[0].candidate

    class Locking(right):  # type: ignore[valid-type,misc]
        def get_or_build(self, onnx_path, profile, **options):
            (Path(self.folder) / "plans.lock").write_text("held")
            return super().get_or_build(onnx_path, profile, **options)

    verdict = exercise("PlanCache").judge(Locking)
    assert verdict.passed, str(verdict)

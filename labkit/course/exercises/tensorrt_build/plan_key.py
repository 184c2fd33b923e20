"""`plan_key(onnx_path, profile, **options)`: the name of a plan in a cache, changed one thing at a time."""

from typing import Any

import numpy as np

from labkit.course.compare import Difference
from labkit.course.exercise import Case, Exercise
from labkit.course.exercises.tensorrt_build.key_models import changed_at, model_bytes, weights
from labkit.course.exercises.tensorrt_build.key_requests import MTIME_NS, KeyCase, probe

# The first word of a change's name says what must hold.
OTHER, SAME = "other", "same"

Request = dict[str, Any]
Changes = dict[str, Request]

RTX = {"name": "tensorrt_rtx", "version": "1.7.1", "device": None}
GPU = {"name": "card", "capability": "SM86", "num_processors": 82, "memory_bytes": 24 * 10**9}
FULL = {"name": "tensorrt", "version": "11.0.0", "device": GPU}


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)
    return [*_builder_cases(rng), *_profile_cases(rng), *_option_cases(rng), *_model_cases(rng)]


def _case(name: str, rng: np.random.Generator, changes: Changes, **request: Any) -> Case:
    """A request in which only what is said differs from the usual one."""
    profile, options = request.pop("profile", _profile(rng)), request.pop("options", {})
    rest = {"files": {"net.onnx": model_bytes(weights(rng))}, "onnx": "net.onnx", "builder": RTX, **request}
    return KeyCase(name, (profile, options, rest, changes), ("profile", "options"))


def _profile(rng: np.random.Generator) -> dict[str, Any]:
    low, opt, high = sorted(int(n) for n in rng.choice(np.arange(1, 90), size=3, replace=False))
    return {"a": ((low, 40), (opt, 40), (high, 40)), "b": ((1, 40), (2, 40), (3, 40))}


def _model_cases(rng: np.random.Generator) -> list[Case]:
    matrices = weights(rng)
    in_one = model_bytes(matrices)
    position = int(rng.integers(len(in_one) // 4, len(in_one) // 2))  # all but a little of it is weights
    spread = {"first": "first.bin", "second": "second.bin"}
    first, second = (matrices[name].tobytes() for name in spread)
    outside = {"net.onnx": model_bytes(matrices, spread), "first.bin": first, "second.bin": second}
    return [
        _case("the model is one file", rng, {
            f"{SAME} request again": {},
            f"{SAME} request in another process": {"process": 1},
            f"{OTHER} weights in a file of the same name, size and time": {
                "files": {"net.onnx": model_bytes(weights(rng))},
            },
            f"{OTHER} bit in one weight": {"files": {"net.onnx": changed_at(in_one, position)}},
            f"{SAME} model, a later time": {"mtime_ns": MTIME_NS + int(rng.integers(1, 10**6)) * 10**9},
            f"{SAME} model in another folder": {"folder": "moved"},
            f"{SAME} model under another name": {"files": {"copy.onnx": in_one}, "onnx": "copy.onnx"},
            f"{SAME} model by a pathlib.Path": {"as": "Path"},
            f"{SAME} model by a relative path": {"as": "relative"},
        }, files={"net.onnx": in_one}),
        _case("the weights lie in two files beside the model", rng, {
            f"{OTHER} first byte in the first weight file": {
                "files": {**outside, "first.bin": changed_at(first, 2)},
            },
            f"{OTHER} last byte in the first weight file": {
                "files": {**outside, "first.bin": changed_at(first, -3)},
            },
            f"{OTHER} byte in the second weight file": {"files": {**outside, "second.bin": changed_at(second, 2)}},
            f"{OTHER} order: the two weight files changed places": {
                "files": {**outside, "first.bin": second, "second.bin": first},
            },
            f"{SAME} files, a later time": {"mtime_ns": MTIME_NS + 10**9},
            f"{SAME} files, and one beside them that the model does not name": {"neighbours": {"third.bin": second}},
        }, files=outside),
    ]  # fmt: skip


def _profile_cases(rng: np.random.Generator) -> list[Case]:
    profile = _profile(rng)
    a, b = profile["a"], profile["b"]
    (low, width), (opt, _), (high, _) = a
    # Sizes of one digit and of two: written one after the other they are the same digits.
    digits, same_digits = ((1, 12), (8, 12), (64, 12)), ((11, 2), (81, 2), (641, 2))
    return [
        _case("a profile of two inputs", rng, {
            f"{OTHER} min": {"profile": {"a": ((low + 1, width), a[1], a[2]), "b": b}},
            f"{OTHER} opt": {"profile": {"a": (a[0], (opt + 1, width), a[2]), "b": b}},
            f"{OTHER} max": {"profile": {"a": (a[0], a[1], (high + 1, width)), "b": b}},
            f"{OTHER} opt in the second dimension": {
                "profile": {"a": (a[0], (opt, width + 1), (high, width)), "b": b},
            },
            f"{OTHER} order: the shapes of two inputs changed places": {"profile": {"a": b, "b": a}},
            f"{SAME} profile, inputs in another order": {"profile": {"b": b, "a": a}},
            f"{SAME} profile, lists instead of tuples": {
                "profile": {name: [list(shape) for shape in shapes] for name, shapes in profile.items()},
            },
            f"{SAME} profile, NumPy's integers": {
                "profile": {
                    name: tuple(tuple(map(np.int64, shape)) for shape in shapes) for name, shapes in profile.items()
                },
            },
        }, profile=profile),
        _case("a profile of one input", rng, {
            f"{OTHER} input bounded": {"profile": {"b": digits}},
            f"{OTHER} sizes with the same digits": {"profile": {"a": same_digits}},
        }, profile={"a": digits}),
    ]  # fmt: skip


def _option_cases(rng: np.random.Generator) -> list[Case]:
    num_bytes = int(rng.integers(1, 4096)) * 2**20
    data, rows = (rng.normal(size=(n, 40)).astype(np.float32) for n in (60, 3))
    other = data.copy()
    other[30, 20] += 1.0

    def int8(*arrays: np.ndarray) -> Request:
        return {"precision": "int8", "calibration": [dict(zip("ab", arrays, strict=True))]}

    return [
        _case("no options", rng, {
            f"{OTHER} precision than the default": {"options": {"precision": "fp16"}},
            f"{SAME} precision, the default written out": {"options": {"precision": "fp32"}},
            f"{SAME} options, all defaults written out": {
                "options": {"precision": "fp32", "targets": (), "workspace_bytes": None, "calibration": None},
            },
        }),
        _case("two options", rng, {
            f"{OTHER} precision": {"options": {"precision": "int8", "workspace_bytes": num_bytes}},
            f"{OTHER} workspace": {"options": {"precision": "fp16", "workspace_bytes": 2 * num_bytes}},
            f"{OTHER} workspace by one byte": {"options": {"precision": "fp16", "workspace_bytes": num_bytes + 1}},
            f"{OTHER} workspace: none": {"options": {"precision": "fp16"}},
            f"{SAME} options in another order": {"options": {"workspace_bytes": num_bytes, "precision": "fp16"}},
            f"{SAME} workspace as NumPy's integer": {
                "options": {"precision": "fp16", "workspace_bytes": np.int64(num_bytes)},
            },
        }, options={"precision": "fp16", "workspace_bytes": num_bytes}),
        _case("targets", rng, {
            f"{OTHER} targets: one less": {"options": {"targets": ("SM86",)}},
            f"{OTHER} targets: another first": {"options": {"targets": ("SM80", "SM89")}},
            f"{OTHER} targets: none": {"options": {}},
            f"{SAME} targets in another order": {"options": {"targets": ("SM89", "SM86")}},
            f"{SAME} targets in a list": {"options": {"targets": ["SM86", "SM89"]}},
        }, options={"targets": ("SM86", "SM89")}),
        _case("calibration data", rng, {
            f"{OTHER} number in the middle of it": {"options": int8(other, rows)},
            f"{OTHER} data altogether": {"options": int8(-data, -rows)},
            f"{SAME} data, in another array": {
                "options": {"precision": "int8", "calibration": [{"b": rows.copy(), "a": data.copy()}]},
            },
        }, options=int8(data, rows)),
    ]  # fmt: skip


def _builder_cases(rng: np.random.Generator) -> list[Case]:
    return [
        _case("TensorRT-RTX is installed", rng, {
            f"{OTHER} version of TensorRT": {"builder": {**RTX, "version": "1.7.2"}},
            f"{OTHER} flavour of TensorRT": {"builder": {**RTX, "name": "tensorrt"}},
        }),
        _case("full TensorRT is installed", rng, {
            f"{OTHER} GPU": {"builder": {**FULL, "device": {**GPU, "capability": "SM89", "num_processors": 128}}},
            f"{SAME} GPU": {},
        }, builder=FULL),
    ]  # fmt: skip


def _judge(case: Case, value: Any) -> Difference | None:
    # What must hold was decided with the change, and no answer is asked: a key is only ever compared with itself.
    if value["fault"]:
        return Difference("a str that can be the name of a file: letters, digits, - and _, at most 128", value["fault"])
    wrong = [name for name, same in value["same"].items() if same == name.startswith(OTHER)]
    if not wrong:
        return None
    more = f" (and {len(wrong) - 1} more like it)" if len(wrong) > 1 else ""
    if wrong[0].startswith(OTHER):
        return Difference(f"another key for: {wrong[0]}{more}", "the same key: the old plan would be served, stale")
    return Difference(f"the same key for: {wrong[0]}{more}", "another key: the same plan would be built and kept twice")


def _note(cases: Any, values: Any) -> str:
    changes = [name for case in cases for name in case.args[-1]]
    num_other = sum(name.startswith(OTHER) for name in changes)
    return f"{num_other} changes seen; {len(changes) - num_other} times nothing had changed."


plan_key = Exercise(
    name="plan_key",
    signature="plan_key(onnx_path, profile, **options)",
    goal="Return the name of a plan in a cache: another one whenever the plan could be another, the same one whenever"
    " nothing that the plan depends on has changed.",
    cases=_cases,
    judge_case=_judge,
    probe=probe,
    note=_note,
    hints=(
        "Somebody trains once more and saves under the same name. Which of path, size, time and bytes tells you?",
        "Bring everything into one form first: ints, lists, sorted names, sorted targets, defaults filled in. Then"
        " write that form as JSON with sorted keys and hash it. Weights and calibration data enter as digests of their"
        " bytes. The file's name and time stay out.",
        "`parts = {'model': [sha256(file bytes) for file in model_files(path)], 'profile': {name: [[int(n) for n in"
        " shape] for shape in shapes]}, 'precision': …, 'targets': sorted(…), 'workspace': …, 'calibration': …,"
        " 'builder': [name, version, device]}`; return the sha256 of `json.dumps(parts, sort_keys=True)`.",
    ),
    points=6,
    minutes=35,
    difficulty=3,
    num_lines=22,
)

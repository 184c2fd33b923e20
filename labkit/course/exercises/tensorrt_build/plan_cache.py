"""`PlanCache(folder, build, key)`: plans on disk, built once, never half written, never believed unchecked."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from labkit.course.compare import Difference
from labkit.course.exercise import Case, Exercise
from labkit.course.exercises.tensorrt_build.cache_play import DAMAGES, REQUESTS, probe

Script = list[tuple[Any, ...]]


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)
    small: list[tuple[str, Script]] = [
        ("asked once", [("get", "a")]),
        ("asked twice", [("get", "a"), ("get", "a")]),
        ("asked again by another process", [("get", "a"), ("new",), ("get", "a")]),
        ("another opt", [("get", "a"), ("get", "b"), ("get", "a"), ("get", "b")]),
        ("another precision", [("get", "a"), ("get", "c"), ("new",), ("get", "a"), ("get", "c")]),
        ("another model", [("get", "c"), ("get", "d"), ("new",), ("get", "d"), ("get", "c")]),
        *((f"a stored plan: {how}", [
            ("get", "a"), ("damage", "a", how), ("new",), ("get", "a"), ("new",), ("get", "a"),
        ]) for how in DAMAGES),
        ("a stored plan lies under another one's name", [
            ("get", "a"), ("get", "b"), ("swap", "a", "b"), ("new",), ("get", "b"), ("get", "a"),
        ]),
        ("the build fails", [("broken", "a")]),
        ("the build fails, then works", [("broken", "a"), ("get", "a"), ("new",), ("get", "a")]),
    ]  # fmt: skip
    cases = [Case(name, (script,), ("script",)) for name, script in small]
    return [*cases, Case("random", (_random_script(rng),), ("script",))]


def _random_script(rng: np.random.Generator) -> Script:
    script: Script = []
    for _ in range(10):
        name = str(rng.choice(list(REQUESTS)))
        kind = rng.random()
        if kind < 0.2:
            script.append(("new",))
        elif kind < 0.4:
            script += [("damage", name, str(rng.choice(list(DAMAGES)))), ("new",)]
        else:
            script.append(("get", name))
    return [*script, ("new",), *(("get", name) for name in REQUESTS)]


# --- judging: what must be there is counted, plan by plan -----------------------------------------------------


def _judge(case: Case, value: list[dict[str, Any]]) -> Difference | None:
    stored: set[str] = set()
    for number, (call, seen) in enumerate(zip(case.args[0], value, strict=True), 1):
        operation, *names = call
        expected = came = ""
        if operation == "damage":
            stored.discard(names[0])
        elif operation == "swap":
            stored.difference_update(names[1:])
        elif operation == "broken":
            expected, came = _after_failure(seen)
        elif operation == "get":
            expected, came = _after_get(seen, names[0] in stored)
            stored.add(names[0])
        if expected:
            return Difference(expected, f"in call {number}, {operation}({', '.join(map(repr, names))}): {came}")
    return None


def _after_get(seen: dict[str, Any], is_stored: bool) -> tuple[str, str]:
    """(expected, came), empty when all is right."""
    if seen["error"]:
        return "a plan: what cannot be read is a miss, never an error", f"{seen['error']} was raised"
    if seen["answer"] != "the plan":
        return "the plan that the builder returns for this request", seen["answer"]
    if seen["builds"] != (0 if is_stored else 1):
        state = "the plan lies in the folder: no build" if is_stored else "no whole plan lies in the folder: one build"
        return state, f"{seen['builds']} builds"
    if seen["in_place"]:
        return "written under another name, then renamed", "written under its final name: a crash leaves half a plan"
    if seen["from_elsewhere"]:
        return (
            "a temporary file in the same folder",
            "moved from another folder: across disks that is a copy",
        )
    if seen["unsynced"]:
        return "os.fsync before the rename", "renamed first: after a power cut the name is there without its bytes"
    return "", ""


def _after_failure(seen: dict[str, Any]) -> tuple[str, str]:
    if seen["error"] != "BuildFailed":
        return "the builder's own BuildFailed", seen["error"] or f"an answer: {seen['answer']}"
    if seen["builds"] != 1:
        return "one build", f"{seen['builds']} builds"
    if seen["left"]:
        return "nothing left in the folder after a failed build", f"{seen['left']} files"
    return "", ""


def _note(cases: Sequence[Case], values: Sequence[Any]) -> str:
    observations = [seen for value in values for seen in value if seen]
    return f"{len(observations)} requests, {sum(seen['builds'] for seen in observations)} builds."


plan_cache = Exercise(
    name="PlanCache",
    signature="PlanCache(folder, build, key)",
    goal="Write the class with `get_or_build(onnx_path, profile, **options)`: the plan from the folder, or else built"
    " once and kept. No crash leaves half a plan, and a file that is damaged or not yours is a miss.",
    cases=_cases,
    judge_case=_judge,
    probe=probe,
    note=_note,
    hints=(
        "The file has the right name and the right length. Who says that these are the bytes that were stored, and for"
        " this key?",
        "Store a first line with the key and the checksum of the plan, then the plan. Reading returns the plan only"
        " when both fit, and None in all other cases. Writing goes to a temporary name in the same folder.",
        "read: content = file bytes (None on OSError); head, _, plan = content.partition(b'\\n'); plan if head =="
        " seal(key, plan) else None, with seal = sha256 of key and plan. write: open temporary, write head + b'\\n' +"
        " plan, flush, os.fsync(file.fileno()), os.replace(temporary, final).",
    ),
    points=5,
    minutes=30,
    difficulty=3,
    num_lines=24,
)

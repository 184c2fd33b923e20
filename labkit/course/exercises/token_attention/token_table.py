"""`TokenTable(max_requests, max_len, allocator)`: one row per request, column i holds the slot of its token i."""

from typing import Any

import numpy as np

from labkit.course.exercise import Case
from labkit.course.exercises.token_attention.table_play import judge, note, probe, seen
from labkit.course.exercises.token_attention.table_right import right
from labkit.course.exercises.token_attention.table_wrong import wrong
from labkit.course.played import PlayedExercise

NAMES = ("max_requests", "max_len", "size", "script")


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)
    small: list[tuple[str, tuple[int, int, int], list[tuple[Any, ...]]]] = [
        ("one request", (2, 8, 6), [("start", "a", 3)]),
        ("one more token", (2, 8, 6), [("start", "a", 3), ("append", "a")]),
        ("two more tokens", (2, 8, 6), [("start", "a", 2), ("append", "a"), ("append", "a")]),
        ("two requests, step by step", (2, 8, 12), [("start", "a", 2), ("start", "b", 3), *[("append", "b", "a")] * 3]),
        ("a prompt that takes all slots", (2, 8, 4), [("start", "a", 4)]),
        ("a prompt of one slot too many", (2, 8, 4), [("start", "a", 5), ("start", "b", 4)]),
        ("a second prompt of one slot too many", (2, 8, 6), [("start", "a", 3), ("start", "b", 4), ("start", "c", 3)]),
        ("a prompt in the slots that others left", (2, 8, 12), [("elsewhere", 6), ("start", "a", 6)]),
        ("no row is left", (1, 8, 9), [("start", "a", 2), ("start", "b", 2), ("finish", "a"), ("start", "c", 2)]),
        ("the last slot", (2, 8, 4), [("start", "a", 3), ("append", "a")]),
        ("the last slots of a batch", (2, 8, 5), [("start", "a", 2), ("start", "b", 1), ("append", "a", "b")]),
        ("a batch of one slot too many", (2, 8, 4), [("start", "a", 2), ("start", "b", 1), ("append", "a", "b")]),
        ("a full pool", (2, 8, 2), [("start", "a", 2), ("append", "a"), ("finish", "a"), ("start", "b", 2)]),
        ("a step for nobody", (2, 8, 4), [("start", "a", 2), ("append",)]),
        ("finished", (2, 8, 6), [("start", "a", 3), ("append", "a"), ("finish", "a")]),
        ("finished, and its row used again", (1, 8, 6), [
            ("start", "a", 4), ("append", "a"), ("finish", "a"), ("start", "b", 2), ("append", "b"), ("finish", "b"),
        ]),
        ("finished in another order", (3, 8, 9), [
            ("start", "a", 2), ("start", "b", 3), ("start", "c", 1), ("finish", "b"), ("append", "a", "c"),
            ("start", "d", 3), ("finish", "a"), ("append", "d", "c"),
        ]),
        ("finished twice", (2, 8, 6), [("start", "a", 2), ("start", "b", 1), ("finish", "a"), ("finish", "a")]),
        ("finished twice, and its slots are somebody else's", (2, 8, 4), [
            ("start", "a", 3), ("finish", "a"), ("elsewhere", 4), ("finish", "a"),
        ]),
        ("a step for a request that has finished", (2, 8, 6), [
            ("start", "a", 2), ("start", "b", 1), ("finish", "a"), ("append", "b", "a"),
        ]),
    ]  # fmt: skip
    cases = [(name, (*sizes, script)) for name, sizes, script in small]
    cases += [(f"random requests, {size} slots", _random_case(rng, size)) for size in (12, 30, 60)]
    cases.append(("thousands of tokens", (4, 8_000, 9_000, _long_script())))
    return [Case(name, args, NAMES) for name, args in cases]


def _random_case(rng: np.random.Generator, size: int) -> tuple[Any, ...]:
    max_requests = int(rng.integers(2, 5))
    script: list[tuple[Any, ...]] = []
    lengths: dict[str, int] = {}  # of those that run: whether a call is served depends on counts alone
    for number in range(40):
        kind, num_free = rng.random(), size - sum(lengths.values())
        if kind < 0.35 or not lengths:
            prompt_len = int(rng.integers(1, size // 2))
            script.append(("start", f"r{number}", prompt_len))
            if len(lengths) < max_requests and prompt_len <= num_free:
                lengths[f"r{number}"] = prompt_len
        elif kind < 0.8:
            batch = [str(name) for name in rng.permutation(list(lengths))]
            script.append(("append", *batch))
            if len(batch) <= num_free:
                lengths.update({name: lengths[name] + 1 for name in batch})
        else:
            name = str(rng.choice(list(lengths)))
            script.append(("finish", name))
            del lengths[name]
    return max_requests, size + 1, size, script


def _long_script() -> list[tuple[Any, ...]]:
    return [
        ("start", "a", 3_000),
        ("start", "b", 5_000),
        ("append", "a", "b"),
        ("finish", "a"),
        ("start", "c", 3_999),
        ("append", "b"),
    ]


token_table = PlayedExercise(
    name="TokenTable",
    signature="TokenTable(max_requests, max_len, allocator)",
    goal="Write the class that remembers where each token lies: `start(prompt_len)`, `append(rows)`, `finish(row)` and"
    " `slots(row)`. A call is done as a whole or changes nothing.",
    cases=_cases,
    judge_case=judge,
    hints=(
        "When a step needs three slots and two are free: at which moment do you know, and what has changed by then?",
        "Ask the allocator once for the whole step, before you write anything. A row needs two things: its slots and"
        " its length. And a mark that it is free: a row that is finished must not know its old slots any more.",
        "start: None without a free row; slots = alloc(prompt_len), None if that is None; write the row."
        " append: slots = alloc(len(rows)), False if None; row r gets its slot in column length[r], and length[r] += 1."
        " finish: free(slots(row)), then clear the row and mark it free.",
    ),
    points=4,
    minutes=25,
    difficulty=2,
    num_lines=28,
    probe=probe,
    note=note,
    seen=seen,
    wrong_answers=wrong,
    right_answers=right,
    names_no_mistake=lambda case: case.args[2] > 1_000,  # takes too long to be played for each known mistake
)

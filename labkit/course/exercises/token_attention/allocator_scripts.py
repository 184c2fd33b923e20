"""The scripts that an allocator is played by, in the language of `labkit.kv_cache.play`.

Nobody may rely on where slots lie. A script that needs to know it takes the whole pool first: then every slot is held,
and freeing some by number leaves exactly those free.
"""

from typing import Any

import numpy as np

from labkit.course.exercise import Case

LARGE = 1_000  # a pool of so many slots shows that an answer holds at the size of the real thing

Call = tuple[Any, ...]
Script = list[Call]


def all_cases(seed: int, tier: str) -> list[Case]:
    """Small ones of one idea each, tight pairs, large pools, then random ones."""
    rng = np.random.default_rng(seed)
    named = [*_alloc(), *_free(), *_bad_free(), *_contiguous(), *_aliasing(), *_large()]
    named += [(f"random calls, {size} slots", size, _random_script(rng, size, 50)) for size in (7, 16, 40)]
    named += [("random calls, 400 slots", 400, _random_script(rng, 400, 40))]
    return [Case(name, (size, script), ("size", "script")) for name, size, script in named]


def names_no_mistake(case: Case) -> bool:
    """Large pools take too long to be played for each known mistake; random calls depend on where slots lie."""
    size, _ = case.args
    return bool(size >= LARGE) or case.name.startswith("random")


def _alloc() -> list[tuple[str, int, Script]]:
    return [
        ("one slot", 1, [("alloc", "a", 1)]),
        ("all of the pool", 3, [("alloc", "a", 3)]),
        ("one more than the pool has", 3, [("alloc", "a", 4), ("alloc", "b", 3)]),
        ("one more than is free", 4, [("alloc", "a", 2), ("alloc", "b", 3), ("alloc", "c", 2)]),
        ("nothing", 2, [("alloc", "a", 0), ("alloc", "b", 2)]),
        ("nothing, of a full pool", 2, [("alloc", "a", 2), ("alloc", "b", 0)]),
    ]


def _free() -> list[tuple[str, int, Script]]:
    return [
        ("given back", 3, [("alloc", "a", 2), ("free", "a")]),
        ("given back and taken again", 3, [("alloc", "a", 3), ("free", "a"), ("alloc", "b", 3)]),
        ("the older one given back", 4, [("alloc", "a", 2), ("alloc", "b", 2), ("free", "a"), ("alloc", "c", 2)]),
        (
            "one free for several allocs",
            4,
            [("alloc", "a", 2), ("alloc", "b", 1), ("alloc", "a", 1), ("free", "a"), ("alloc", "c", 3)],
        ),
        ("given back in part", 5, [("alloc", "a", 5), ("free", [1, 3]), ("alloc", "b", 2), ("alloc", "c", 1)]),
        ("no slots given back", 3, [("alloc", "a", 2), ("free", []), ("alloc", "b", 1)]),
        ("given back in any order", 4, [("alloc", "a", 4), ("free", [2, 0, 3]), ("alloc", "b", 3)]),
    ]


def _bad_free() -> list[tuple[str, int, Script]]:
    full: Call = ("alloc", "a", 4)
    return [
        ("given back twice", 4, [("alloc", "a", 2), ("free", "a"), ("free", "a")]),
        ("never given out", 2, [("free", [1])]),
        ("a slot twice in one free", 4, [full, ("free", [2, 2]), ("free", [0, 1, 2, 3])]),
        ("a negative slot", 4, [full, ("free", [-1])]),
        ("a slot past the end", 4, [full, ("free", [4])]),
        ("a bad slot after good ones", 4, [full, ("free", [0]), ("free", [3, 2, 0]), ("free", [1, 2, 3])]),
        ("a slot past the end after good ones", 4, [full, ("free", [1, 2, 4]), ("free", "a")]),
        ("a free slot after held ones", 4, [full, ("free", [3]), ("free", [0, 1, 2, 3]), ("free", [0, 1, 2])]),
        ("more slots than are held", 4, [full, ("free", [0, 1, 2]), ("free", [3, 3]), ("free", [3])]),
    ]


def _contiguous() -> list[tuple[str, int, Script]]:
    full: Call = ("alloc", "a", 8)

    def gaps(*free: int) -> Script:
        return [full, ("free", list(free))]

    return [
        ("a run of the whole pool", 3, [("alloc_contiguous", "a", 3)]),
        ("a run longer than the pool", 3, [("alloc_contiguous", "a", 4), ("alloc_contiguous", "b", 3)]),
        ("a run of nothing", 2, [("alloc_contiguous", "a", 0), ("alloc", "b", 2), ("alloc_contiguous", "c", 0)]),
        ("a run of one", 8, [*gaps(5), ("alloc_contiguous", "b", 1)]),
        ("a run at the end of the pool", 8, [*gaps(6, 7), ("alloc_contiguous", "b", 2)]),
        ("a run at the beginning", 8, [*gaps(0, 1), ("alloc_contiguous", "b", 2)]),
        ("first and last slot", 8, [*gaps(0, 7), ("alloc_contiguous", "b", 2), ("alloc", "c", 2)]),
        ("every second slot", 8, [*gaps(0, 2, 4, 6), ("alloc_contiguous", "b", 2), ("alloc", "c", 4)]),
        ("the second gap is long enough", 8, [*gaps(0, 2, 3, 4, 6), ("alloc_contiguous", "b", 3)]),
        ("one slot too long for every gap", 8, [*gaps(0, 2, 3, 4, 6), ("alloc_contiguous", "b", 4)]),
        ("a gap made by two frees", 8, [*gaps(4), ("free", [3]), ("alloc_contiguous", "b", 2)]),
        ("a run out of a longer gap", 8, [*gaps(1, 2, 3, 4, 6), ("alloc_contiguous", "b", 3), ("alloc", "c", 2)]),
        ("no run, but other slots", 8, [*gaps(1, 3, 5), ("alloc_contiguous", "b", 3), ("alloc", "c", 3)]),
        ("a run given back", 4, [("alloc_contiguous", "a", 3), ("free", "a"), ("alloc_contiguous", "b", 4)]),
    ]


def _aliasing() -> list[tuple[str, int, Script]]:
    many: Script = [call for at in range(12) for call in (("alloc", f"b{at}", 1), ("free", f"b{at}"))]
    return [
        (
            "what somebody holds, while others come and go",
            6,
            [("alloc", "a", 2), ("alloc", "b", 2), ("free", "a"), ("alloc", "c", 3), ("free", "b")],
        ),
        ("an answer that outlives many others", 3, [("alloc", "a", 1), *many, ("alloc", "c", 1)]),
    ]


def _large() -> list[tuple[str, int, Script]]:
    return [
        (
            "more slots than int8 counts",
            400,
            [("alloc_contiguous", "a", 140), ("alloc", "b", 150), ("free", "a"), ("alloc", "c", 250)],
        ),
        (
            "a pool of 40,000",
            40_000,
            [
                ("alloc_contiguous", "a", 39_000),
                ("alloc", "b", 900),
                ("alloc", "c", 101),
                ("alloc_contiguous", "d", 100),
            ],
        ),
    ]


def _random_script(rng: np.random.Generator, size: int, num_calls: int) -> Script:
    """Calls as traffic makes them, with bad frees among them; a holder's name is used once."""
    script: Script = []
    holders: list[str] = []
    gone: list[str] = []
    for number in range(num_calls):
        kind, name = rng.random(), f"r{number}"
        if kind < 0.45 or not holders:
            n = int(rng.integers(0, max(size // 3, 2)))
            script.append(("alloc_contiguous" if kind < 0.2 else "alloc", name, n))
            holders.append(name)
        elif kind < 0.85:
            gone.append(holders.pop(int(rng.integers(len(holders)))))
            script.append(("free", gone[-1]))
        elif kind < 0.92 and gone:
            script.append(("free", gone[int(rng.integers(len(gone)))]))
        else:
            script.append(("free", [int(slot) for slot in rng.integers(-1, size + 1, size=2)]))
    return script

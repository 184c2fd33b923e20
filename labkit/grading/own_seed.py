"""The seed that a notebook has of its own, as papermill writes it: one integer, and nothing else is believed."""

import ast
from collections.abc import Iterable, Mapping
from typing import Any

from labkit.grading.source_names import parse

MAX_SEED = 2**31 - 1
MAX_CHARS = 10_000  # of a cell of parameters
TAGS = ("parameters", "injected-parameters")  # papermill's; what was injected counts, as it runs later


def own_seed(cells: Iterable[Mapping[str, Any]]) -> int | None:
    """The literal integer that the cells of parameters give `SEED`; None where there is none, or not a usable one."""
    found: dict[str, int] = {}
    for cell in cells:
        metadata = cell.get("metadata")
        tags = metadata.get("tags") if isinstance(metadata, Mapping) else None
        source = cell.get("source", "")
        source = "".join(map(str, source)) if isinstance(source, list) else source
        if not isinstance(tags, list) or not isinstance(source, str) or len(source) > MAX_CHARS:
            continue
        for tag in TAGS:
            if tag in tags and (seed := _seed_in(source)) is not None:
                found[tag] = seed
    return found.get(TAGS[1], found.get(TAGS[0]))


def _seed_in(source: str) -> int | None:
    value = None
    for node in parse(source).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "SEED" for t in node.targets):
            value = node.value
    try:
        seed = ast.literal_eval(value) if value is not None else None
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None
    return seed if type(seed) is int and 0 <= seed <= MAX_SEED else None

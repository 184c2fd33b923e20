"""Values as a learner reads them: small ones in full, large ones by shape, dtype and a few entries."""

import re
import textwrap
from typing import Any

import numpy as np

FULL_ARRAY = 16  # arrays up to this many entries are shown whole
FULL_ITEMS = 12  # lists up to this many items are shown whole


def describe(value: Any, full: int = FULL_ITEMS) -> str:
    """One line for any plain value.

    >>> describe(np.arange(6.0).reshape(2, 3))
    'float64 (2, 3) [[0, 1, 2], [3, 4, 5]]'
    >>> describe(np.zeros((8, 8), np.float32))
    'float32 (8, 8)'
    >>> describe([(5, 4), (4, 3)])
    '[(5, 4), (4, 3)]'
    """
    if isinstance(value, np.ndarray):
        head = f"{value.dtype} {value.shape}"
        return f"{head} {_entries(value)}" if value.size <= FULL_ARRAY else head
    if isinstance(value, np.generic):
        return f"{value.dtype} {value.item()!r}"
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if isinstance(value, str):
        return repr(value if len(value) <= 200 else value[:200] + "…")
    if isinstance(value, tuple | list):
        return _sequence(value, full)
    if isinstance(value, dict):
        inside = ", ".join(f"{describe(k)}: {describe(v)}" for k, v in list(value.items())[:full])
        return "{" + inside + (", …" if len(value) > full else "") + "}"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10_000:
        return f"{value:_}"
    return repr(value)


def shortened(text: str, longest: int = 400) -> str:
    """The text, or its beginning where it is too long for a few lines."""
    return text if len(text) <= longest else text[:longest] + "…"


def wrapped(text: str, width: int = 100) -> list[str]:
    """The lines of a verdict, none longer than `width` where words allow; JupyterLab would break inside of words.

    A line goes on below where its text began, behind a label that stands apart from it.

    >>> wrapped("  came      0 and not 1", width=16)
    ['  came      0', '            and', '            not', '            1']
    """
    lines = []
    for line in text.splitlines():
        begin = re.match(r" *(\w+ {2,})?", line)
        indent = " " * (begin.end() if begin else 0)
        lines += textwrap.wrap(
            line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        ) or [""]
    return lines


def _entries(array: np.ndarray) -> str:
    return str(array.tolist()).replace(".0,", ",").replace(".0]", "]")


def _sequence(value: tuple[Any, ...] | list[Any], full: int) -> str:
    left, right = ("(", ")") if isinstance(value, tuple) else ("[", "]")
    if len(value) <= full:
        comma = "," if isinstance(value, tuple) and len(value) == 1 else ""
        return left + ", ".join(describe(item) for item in value) + comma + right
    shown = ", ".join(describe(item) for item in value[: full // 2])
    return f"{left}{shown}, … {len(value) - full // 2:,} more{right}"

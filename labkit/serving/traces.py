"""Traces: when requests arrive and how long they are. Read from a file in the format of the Azure traces.

    trace = read_trace("azure_llm_2023_conv.csv")
    trace.num_requests, trace.span_s

`labkit.serving.synthetic` makes traces where there is no file.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labkit.router._arguments import whole

# A length is one or two cells of a calendar, a table or a plot somewhere: what says more is a mistake.
MAX_TOKENS = 10_000_000
MAX_ARRIVAL_NS = 2**61  # 73 years; sums of two stay within int64

COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")

# SHA-256 of published traces -> how to name them wherever a figure shows one
CREDITS = {
    "2f1e5b666d4e3055fdbba98598ce2ec307767b9064e03e2fa46676dbcc7d0bf8": "Azure LLM inference trace 2023, conversation",
    "54e9a6d2a4bd06ba1e060304b900abbc74cbea53de96506e60fe5bb4f2277fb6": "Azure LLM inference trace 2023, code",
}
CITATION = "Patel et al., Splitwise, ISCA 2024; CC-BY-4.0"

_STAMP = re.compile(r"(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:\+00:00|Z)?", re.ASCII)
_EXAMPLE = "2023-11-16 18:15:46.6805900"


class TraceError(ValueError):
    """A trace that cannot be played; for a file, the message starts with its name and the line."""


def checked_trace(trace: object) -> Trace:
    """`trace` if it is one; TraceError for a path, a list of requests, or anything else."""
    if not isinstance(trace, Trace):
        raise TraceError(
            f"expected a Trace, got a {type(trace).__name__}; read_trace, make_trace and synthetic_trace make one."
        )
    return trace


@dataclass(frozen=True, eq=False)
class Trace:
    """Requests in the order of arrival; three int64 arrays of shape (num_requests,), which are not to be changed.

    arrival_ns: since the first arrival or any other zero, not decreasing. prompt_tokens, output_tokens: at least 1.
    name: shown in tables. credit: source and licence, shown under figures; empty for a trace of one's own.

    Raises TraceError for lengths that differ, values out of range, or arrivals that go back.
    """

    arrival_ns: NDArray[np.int64]
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    name: str = "trace"
    credit: str = ""

    def __post_init__(self) -> None:
        bounds = {"arrival_ns": (0, MAX_ARRIVAL_NS), "prompt_tokens": (1, MAX_TOKENS), "output_tokens": (1, MAX_TOKENS)}
        for field, (low, high) in bounds.items():
            object.__setattr__(self, field, _column(getattr(self, field), field, low, high))
        if not len(self.arrival_ns) == len(self.prompt_tokens) == len(self.output_tokens):
            sizes = ", ".join(f"{len(getattr(self, field))} {field}" for field in bounds)
            raise TraceError(f"a trace has one value of each kind per request; got {sizes}.")
        back = np.flatnonzero(np.diff(self.arrival_ns) < 0)
        if len(back):
            i = int(back[0]) + 1
            raise TraceError(
                f"arrivals go back: request {i} comes at {self.arrival_ns[i]:,} ns, request {i - 1} at "
                f"{self.arrival_ns[i - 1]:,} ns. Sort the requests by time first."
            )

    @property
    def num_requests(self) -> int:
        return len(self.arrival_ns)

    @property
    def span_s(self) -> float:
        """Seconds from the first arrival to the last."""
        return float(self.arrival_ns[-1] - self.arrival_ns[0]) / 1e9 if self.num_requests else 0.0

    def first(self, num_requests: int) -> Trace:
        """The first `num_requests` requests, or all if there are fewer."""
        n = whole(num_requests, "num_requests")
        return replace(
            self,
            arrival_ns=self.arrival_ns[:n],
            prompt_tokens=self.prompt_tokens[:n],
            output_tokens=self.output_tokens[:n],
        )

    def all_at_once(self) -> Trace:
        """The same requests, all waiting at time 0 in the same order."""
        return replace(self, arrival_ns=np.zeros(self.num_requests, np.int64), name=f"{self.name}, all at once")


def make_trace(requests: Iterable[tuple[int, int, int]], name: str = "trace") -> Trace:
    """A trace from (arrival_ns, prompt_tokens, output_tokens), one each.

    >>> make_trace([(0, 100, 20), (1_000_000, 50, 1)]).num_requests
    2
    """
    try:
        rows = [(arrival, prompt, output) for arrival, prompt, output in requests]
    except (TypeError, ValueError):
        raise TraceError("a trace is a list of requests (arrival_ns, prompt_tokens, output_tokens).") from None
    arrival, prompt, output = zip(*rows, strict=True) if rows else ((), (), ())
    return Trace(list(arrival), list(prompt), list(output), name)  # type: ignore[arg-type]  # made arrays there


def read_trace(path: str | Path, *, sort: bool = False) -> Trace:
    """A CSV file with the columns TIMESTAMP, ContextTokens, GeneratedTokens (in any order, others are ignored).

    A timestamp is "YYYY-MM-DD hh:mm:ss" in UTC with up to nine decimals, read exactly; arrival_ns counts from the
    earliest. Lines out of order are refused, or with `sort=True` put in order (equal times keep theirs). The file is
    gzip-free UTF-8 text with any line ends; only the end of the file may be blank.

    Raises TraceError naming file, line and what was expected; no line is ever left out. OSError if there is no file.
    """
    path = Path(path)
    content = path.read_bytes()
    rows = _rows(path, content)
    if not sort:
        for (line, stamp, _, _), (_, before, _, _) in zip(rows[1:], rows, strict=False):
            if stamp < before:
                raise TraceError(
                    f"{path}, line {line}: this request is {(before - stamp) / 1e9:.6f} s earlier than the one before "
                    "it; expected rising times. Sort the file, or read it with sort=True (--sort)."
                )
    rows.sort(key=lambda row: row[1])
    first = rows[0][1]
    if rows[-1][1] - first > MAX_ARRIVAL_NS:
        raise TraceError(f"{path}, line {rows[-1][0]}: more than 73 years after the first request.")
    arrivals = [stamp - first for _, stamp, _, _ in rows]
    known = CREDITS.get(hashlib.sha256(content).hexdigest())
    return Trace(
        np.array(arrivals, np.int64),
        np.array([row[2] for row in rows], np.int64),
        np.array([row[3] for row in rows], np.int64),
        name=path.name,
        credit=f"{known} ({CITATION})" if known else "",
    )


def _rows(path: Path, content: bytes) -> list[tuple[int, int, int, int]]:
    """(line number, nanoseconds, prompt, output) of each data line."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise TraceError(f"{path}, line {line}: not UTF-8 text; expected a CSV file.") from None
    reader = csv.reader(io.StringIO(text.rstrip("\r\n"), newline=""))
    header = next(reader, [])
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise TraceError(
            f"{path}, line 1: no column {' or '.join(missing)}; expected a header with {','.join(COLUMNS)}, "
            f"got {_shown(','.join(header))}."
        )
    places = [header.index(name) for name in COLUMNS]
    days: dict[str, int] = {}
    rows = []
    try:
        for values in reader:
            try:
                if len(values) != len(header):
                    raise TraceError(f"expected {len(header)} values, got {len(values)}: {_shown(','.join(values))}")
                stamp, prompt, output = (values[place] for place in places)
                rows.append((reader.line_num, _nanoseconds(stamp, days), _tokens(prompt, 1), _tokens(output, 2)))
            except TraceError as error:
                raise TraceError(f"{path}, line {reader.line_num}: {error}.") from None
    except csv.Error as error:
        raise TraceError(f"{path}, line {reader.line_num}: no CSV ({error}).") from None
    if not rows:
        raise TraceError(f"{path}, line 2: the file ends after its header; expected at least one request.")
    return rows


def _nanoseconds(stamp: str, days: dict[str, int]) -> int:
    """Nanoseconds since year 1, exactly: a float or a datetime would lose the last decimals."""
    match = _STAMP.fullmatch(stamp)
    if not match:
        raise TraceError(f"expected a TIMESTAMP like {_EXAMPLE}, got {_shown(stamp)}")
    year, month, day, hour, minute, second, decimals = match.groups("0")
    if stamp[:10] not in days:
        try:
            days[stamp[:10]] = date(int(year), int(month), int(day)).toordinal()
        except ValueError as error:
            raise TraceError(f"expected a TIMESTAMP like {_EXAMPLE}, got {_shown(stamp)} ({error})") from None
    if hour > "23" or minute > "59" or second > "59":
        raise TraceError(f"expected a time of day up to 23:59:59, got {_shown(stamp)}")
    seconds = (days[stamp[:10]] * 24 + int(hour)) * 3600 + int(minute) * 60 + int(second)
    return seconds * 10**9 + int(decimals.ljust(9, "0"))


def _tokens(text: str, column: int) -> int:
    # int() alone would take " 12", "1_000" and digits of other scripts
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:12]) <= MAX_TOKENS:
        raise TraceError(
            f"expected {COLUMNS[column]} to be a whole number from 1 to {MAX_TOKENS:,}, got {_shown(text)}"
        )
    return int(text)


def _column(values: ArrayLike, name: str, low: int, high: int) -> NDArray[np.int64]:
    try:
        column = np.asarray(values)
    except (ValueError, OverflowError):
        raise TraceError(f"{name} is a list of whole numbers.") from None
    if column.ndim != 1:
        raise TraceError(f"{name} is a list of whole numbers; got an array of shape {column.shape}.")
    if not column.size:
        return np.empty(0, np.int64)
    if column.dtype.kind == "O":  # whole numbers beyond int64 come as objects
        bad_at = next((i for i, each in enumerate(column) if type(each) is int and not low <= each <= high), None)
        if bad_at is not None:
            raise TraceError(f"{name}[{bad_at}] is {column[bad_at]}; expected {low} to {high:,}.")
    if column.dtype.kind not in "iu":
        raise TraceError(f"{name} is a list of whole numbers; got {column.dtype}.")
    bad = np.flatnonzero((column < low) | (column > high))
    if len(bad):
        i = int(bad[0])
        raise TraceError(f"{name}[{i}] is {column[i]}; expected {low} to {high:,}.")
    return column.astype(np.int64)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "…")

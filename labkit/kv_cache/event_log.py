"""What an allocator or a table did, call by call, as plain data that JSON can hold.

    recorder = RecordingAllocator(TokenAllocator(16))       # or the learner's own class
    recorder.alloc(3)
    recorder.log["events"][0]

A log is {"size": slots of the pool, "num_free": at the beginning, "owners": [name, …], "events": [event, …]};
an event is one call:

    step        its place in the log, from 0
    operation   alloc, alloc_contiguous, alloc_lowest, free; start, append, finish for a table
    argument    what was passed                     answer     what came back
    error       None, or {"type", "value_error": is it a ValueError, "message"}; recorded, then raised again
    num_free    the allocator's own count after the call (a table: size - num_reserved)
    taken       [[owner, [slot, …]], …]: the slots that now belong to log["owners"][owner]
    returned    [slot, …]: the slots that belong to nobody any more
    changed     (play only) {holder: what its earlier answers read now}, when that is not what they were

Every picture and every check reads this and nothing else: the same log gives the slot map, the
counters (`pool_state`) and the first broken rule (`audit`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike

from labkit.kv_cache.allocator import SlotAllocator, Slots
from labkit.kv_cache.table import RequestTable

_WHOLE = frozenset((int,))  # a bool is no slot


class Event(TypedDict, total=False):
    """One call; the module's docstring says what each key means."""

    step: int
    operation: str
    argument: Any
    answer: Any
    error: dict[str, Any] | None
    num_free: Any
    taken: list[tuple[int, list[int]]]
    returned: list[int]
    changed: dict[str, Any]


class Log(TypedDict):
    """All calls on one pool, in order."""

    size: int
    num_free: Any
    owners: list[str]
    events: list[Event]


class _Recorder:
    """Calls through to `subject` and appends one event per call."""

    def __init__(self, subject: Any, size: int, read_num_free: Callable[[], Any]) -> None:
        self._subject = subject
        self._read_num_free = read_num_free
        self._owner_numbers: dict[str, int] = {}
        self.log: Log = {"size": size, "num_free": plain(read_num_free()), "owners": [], "events": []}

    def __getattr__(self, name: str) -> Any:
        """Whatever is not recorded (check_integrity, size, …) is the subject's own."""
        if name.startswith("__") or name == "_subject":  # so that copying a recorder does not recurse
            raise AttributeError(name)
        return getattr(self._subject, name)

    def _call(self, operation: str, argument: Any) -> tuple[Any, Event]:
        event: Event = {
            "step": len(self.log["events"]),
            "operation": operation,
            "argument": plain(argument),
            "answer": None,
            "error": None,
            "num_free": None,
            "taken": [],
            "returned": [],
        }
        self.log["events"].append(event)
        try:
            answer = getattr(self._subject, operation)(argument)
            event["answer"] = plain(answer)
        except Exception as error:
            event["error"] = {
                "type": type(error).__name__,
                "value_error": isinstance(error, ValueError),
                "message": str(error),
            }
            raise
        finally:
            event["num_free"] = plain(self._read_num_free())
        return answer, event

    def _owner(self, name: str) -> int:
        if name not in self._owner_numbers:
            self._owner_numbers[name] = len(self.log["owners"])
            self.log["owners"].append(name)
        return self._owner_numbers[name]


class RecordingAllocator(_Recorder):
    """Any allocator, with every call recorded in `log`; answers and errors are passed on untouched.

    `size` is needed when the pool is not empty at this moment; else the allocator's num_free is its size.
    Set `owner` to name who asks next; without it each alloc is an owner of its own ("alloc 3").
    """

    def __init__(self, allocator: SlotAllocator, size: int | None = None) -> None:
        self.owner: str | None = None
        super().__init__(
            allocator, allocator.num_free if size is None else size, read_num_free=lambda: allocator.num_free
        )

    @property
    def num_free(self) -> int:
        """The allocator's own count."""
        return self._subject.num_free

    def alloc(self, n: int) -> Slots | None:
        """The allocator's answer, recorded."""
        return self._alloc("alloc", n)

    def alloc_contiguous(self, n: int) -> Slots | None:
        """The allocator's answer, recorded."""
        return self._alloc("alloc_contiguous", n)

    def alloc_lowest(self, n: int) -> Slots | None:
        """The allocator's answer, recorded, where it has this call."""
        return self._alloc("alloc_lowest", n)

    def free(self, indices: ArrayLike) -> None:
        """The allocator's free, recorded."""
        _, event = self._call("free", indices)
        event["returned"] = slot_list(event["argument"])

    def _alloc(self, operation: str, n: int) -> Slots | None:
        answer, event = self._call(operation, n)
        slots = slot_list(event["answer"])
        if slots:
            event["taken"] = [(self._owner(self.owner or f"{operation} {event['step']}"), slots)]
        return answer


class RecordingTable(_Recorder):
    """Any request table over a pool of `size` slots, recorded; each start is an owner ("request 0", "request 1", …)."""

    def __init__(self, table: RequestTable, size: int) -> None:
        self._owners_by_row: dict[int, int] = {}
        super().__init__(table, size, read_num_free=lambda: size - table.num_reserved)

    @property
    def num_tokens(self) -> int:
        """The table's own count."""
        return self._subject.num_tokens

    @property
    def num_reserved(self) -> int:
        """The table's own count."""
        return self._subject.num_reserved

    def start(self, prompt_len: int) -> int | None:
        """The table's answer, recorded."""
        row, event = self._call("start", prompt_len)
        if row is not None:
            self._owners_by_row[row] = owner = self._owner(f"request {len(self.log['owners'])}")
            event["taken"] = [(owner, plain(self._subject.slots(row)))]
        return row

    def append(self, rows: ArrayLike) -> bool:
        """The table's answer, recorded; the slot of each new token is the last of its row."""
        done, event = self._call("append", rows)
        if done:
            event["taken"] = [
                (self._owners_by_row[row], plain(self._subject.slots(row)[-1:])) for row in slot_list(event["argument"])
            ]
        return done

    def finish(self, row: int) -> None:
        """The table's finish, recorded."""
        try:
            slots = plain(self._subject.slots(row))
        except Exception:  # no request there; what finish does about that is what is recorded
            slots = []
        _, event = self._call("finish", row)
        event["returned"] = slots

    def slots(self, row: int) -> Slots:
        """The table's answer; reading is not recorded."""
        return self._subject.slots(row)


def play(allocator: SlotAllocator, script: Iterable[Sequence[Any]], size: int | None = None) -> Log:
    """Play a script of calls on an allocator and give back the log; an error is recorded and the play goes on.

    A call is ("alloc", holder, n), likewise the other allocs, ("free", holder) for everything that this
    holder was ever given, as those arrays read *now*, or ("free", [slot, …]):

    >>> from labkit.kv_cache import TokenAllocator
    >>> log = play(TokenAllocator(8), [("alloc", "a", 3), ("free", "a"), ("free", "a")])
    >>> [event["num_free"] for event in log["events"]], log["events"][2]["error"]["type"]
    ([5, 8, 8], 'FreeError')

    After each call the earlier answers are read again: one that reads differently is a view of the
    allocator's inner state, and the event says so under "changed".
    """
    recorder = RecordingAllocator(allocator, size)
    given: dict[str, list[tuple[Any, list[int]]]] = {}  # holder: (the array itself, what it read at first)
    for step in script:
        match step:
            case ("free", what):
                indices = _freed(what, given)
                with suppress(Exception):  # it is in the log
                    recorder.free(indices)
            case ("alloc" | "alloc_contiguous" | "alloc_lowest" as operation, holder, n):
                recorder.owner = holder
                with suppress(Exception):
                    answer = getattr(recorder, operation)(n)
                    given.setdefault(holder, []).append((answer, slot_list(plain(answer))))
            case _:
                raise ValueError(f'A call is ("alloc", holder, n), ("free", holder) or ("free", slots); got {step!r}.')
        changed = {
            holder: [slot for answer, _ in answers for slot in slot_list(plain(answer))]
            for holder, answers in given.items()
            if any(slot_list(plain(answer)) != first for answer, first in answers)
        }
        if changed:
            recorder.log["events"][-1]["changed"] = changed
    return recorder.log


def plain(value: Any) -> Any:
    """Numbers, lists and arrays as what JSON can hold (NaN and infinities as text); anything else as its repr."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray) and value.dtype.kind in "iub":
        return value.tolist()  # a pool of 40,000 is read after each call
    return plain(value.tolist()) if hasattr(value, "tolist") else repr(value)


def slot_list(value: Any) -> list[int]:
    """`value` when it is a list of whole numbers, else an empty list: an answer of a wrong type moves no slots."""
    return value if isinstance(value, list) and _WHOLE.issuperset(map(type, value)) else []


def _freed(what: Any, given: dict[str, list[tuple[Any, list[int]]]]) -> ArrayLike:
    if isinstance(what, str):
        what = [slot for answer, _ in given.get(what, []) for slot in slot_list(plain(answer))]
    return np.asarray(what) if len(what) else np.empty(0, np.int64)

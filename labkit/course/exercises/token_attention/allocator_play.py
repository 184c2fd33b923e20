"""Playing a script on a learner's allocator and judging the log by labkit's rules (`labkit.kv_cache.audit`).

The rules are a Python set of held slots and nothing else; the same log is what the slot map draws. Beside the log
stand a few notes about what plain data cannot carry: the type of an answer, whether free changed the caller's array.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from labkit.course.compare import Difference
from labkit.course.exercise import Case
from labkit.course.played import cut, packed, said_by, unpacked
from labkit.kv_cache.audit import Violation, first_violation
from labkit.kv_cache.event_log import Event, Log, play

GONE = -7  # what stands in an array that was passed to free, once free has returned

# rule -> what a learner may rely on, and therefore has to provide
RULES = {
    "conservation": "num_free and the slots that are held add up to the size of the pool, after every call",
    "all or nothing": "as many slots as were asked for; None, and nothing changed, when they are not there",
    "answer": "None, or an int64 array of slots",
    "range": "slots from 0 to size - 1",
    "uniqueness": "slots that nobody holds, each of them once",
    "one run": "consecutive slots",
    "bad free": "ValueError, and nothing changed",
    "good free": "no complaint: every one of these slots is held, and each stands there once",
    "aliasing": "an answer stays as it was given, whatever others do",
    "argument": "the array that was passed to free, left as it was",
}


class _Watched:
    """The learner's allocator with a note on each call."""

    def __init__(self, allocator: Any) -> None:
        self._allocator = allocator
        self.notes: list[dict[str, Any]] = []
        self.not_written: NotImplementedError | None = None

    @property
    def num_free(self) -> Any:
        value = self._allocator.num_free
        return "a method: read without parentheses, so make it a property" if callable(value) else value

    def alloc(self, n: int) -> Any:
        return self._call("alloc", n)

    def alloc_contiguous(self, n: int) -> Any:
        return self._call("alloc_contiguous", n)

    def free(self, indices: Any) -> Any:
        before = indices.copy()
        try:
            return self._call("free", indices)
        finally:
            self.notes[-1]["changed_argument"] = not np.array_equal(before, indices)
            indices[:] = GONE  # the array is the caller's: a table, for instance, clears its row now

    def _call(self, operation: str, argument: Any) -> Any:
        note: dict[str, Any] = {"kind": "", "error": "", "changed_argument": False}
        self.notes.append(note)
        try:
            answer = getattr(self._allocator, operation)(argument)
        except NotImplementedError as error:
            self.not_written = error
            raise
        except Exception as error:
            note["error"] = said_by(error, self._allocator)
            raise
        note["kind"] = str(answer.dtype) if isinstance(answer, np.ndarray) else type(answer).__name__
        return answer


def probe(candidate: Callable[[int], Any], case: Case) -> dict[str, Any]:
    """The log of the script on a new pool, as `labkit.kv_cache.play` writes it, with the notes."""
    size, script = case.args
    watched = _Watched(candidate(size))
    log = play(watched, script, size)
    if watched.not_written:
        raise watched.not_written
    kept = ("operation", "argument", "answer", "error", "num_free", "changed")
    events = [{key: packed(event[key]) for key in kept if key in event} for event in log["events"]]  # type: ignore[literal-required]
    return {"size": size, "num_free": log["num_free"], "events": events, "notes": watched.notes}


def judge(case: Case, value: Any) -> Difference | None:
    """The first call that broke a rule, and what the rule asks for."""
    violation = _first_breach(value)
    if violation is None:
        return None
    rule = RULES[violation.rule]
    if violation.step < 0:
        return Difference(rule, cut(violation.message))
    event, note = value["events"][violation.step], value["notes"][violation.step]
    call = f"{event['operation']}({cut(str(unpacked(event['argument'])))})"
    message = cut(violation.message)
    if not message.startswith(f"{event['operation']}("):
        message = f"{call}: {message}"
    error = f"\n            {note['error']}" if note["error"] else ""
    return Difference(rule, f"call {violation.step + 1}, {message}{error}")


def note(cases: Sequence[Case], values: Sequence[Any]) -> str:
    """How much was played, for the green line."""
    num_calls = sum(len(case.args[1]) for case in cases)
    largest = max(case.args[0] for case in cases)
    return f"{num_calls:,} calls, pools of up to {largest:,} slots: free + held = size after each."


def seen(case: Case, value: Any) -> Any:
    """Rule, call, and how many slots each call got until then."""
    violation = _first_breach(value)
    if violation is None:
        return None
    calls = [_outcome(event, value["size"]) for event in value["events"][: violation.step + 1]]
    return [violation.rule, violation.step, calls, value["notes"][max(violation.step, 0)]["kind"]]


def _first_breach(value: Any) -> Violation | None:
    """Of what the log shows and what the notes say, whichever comes first."""
    events = [{key: unpacked(item) for key, item in event.items()} for event in value["events"]]
    numbered: list[Event] = [{"step": step, **event} for step, event in enumerate(events)]
    log: Log = {"size": value["size"], "num_free": value["num_free"], "owners": [], "events": numbered}
    in_log, in_notes = first_violation(log), _first_note(value)
    if in_log and in_notes:
        return min(in_log, in_notes, key=lambda violation: violation.step)
    return in_log or in_notes


def _first_note(value: Any) -> Violation | None:
    for step, (event, note) in enumerate(zip(value["events"], value["notes"], strict=True)):
        if note["changed_argument"]:
            return Violation(step, "argument", "the array that was passed has other numbers in it now")
        if event["operation"] != "free" and note["kind"] not in ("", "NoneType", "int64"):
            return Violation(step, "answer", f"the answer is {_kind(note['kind'])}")
    return None


def _kind(name: str) -> str:
    return f"an array of {name}" if name.startswith(("int", "uint", "float", "bool", "object")) else f"a {name}"


def _outcome(event: dict[str, Any], size: int) -> Any:
    error, answer = event["error"], event["answer"]
    came = error["type"] if error else len(answer) if isinstance(answer, list | np.ndarray) else answer
    return [came, event["num_free"]]

"""The rules of an allocator, checked on an event log against a Python set: which call broke which rule first.

The model is a set of held slots and nothing else, so it shares no idea with any allocator. It follows
what the caller may rely on: a refused call changes nothing, a bad free has to be refused.
"""

from __future__ import annotations

from dataclasses import dataclass

from labkit.kv_cache.event_log import Event, Log, slot_list


@dataclass(frozen=True)
class Violation:
    """One call that broke a rule; `message` has the numbers."""

    step: int
    rule: str
    message: str

    def __str__(self) -> str:
        return f"step {self.step}: {self.rule}: {self.message}"


class _Broken(Exception):
    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


def first_violation(log: Log) -> Violation | None:
    """The first broken rule in an allocator's log, or None.

    Rules: `answer` (type of what came back), `bad count` (accepted), `all or nothing` (exhaustion, or an
    exact fit refused), `range`, `uniqueness`, `one run`, `bad free` (accepted), `good free` (refused),
    `conservation` (free + held = size), `aliasing` (an earlier answer reads differently now).
    """
    if log["num_free"] != log["size"]:
        return Violation(-1, "conservation", f"a new pool of {log['size']} slots says num_free {log['num_free']}")
    held: set[int] = set()
    for event in log["events"]:
        try:
            if event["operation"] == "free":
                _judge_free(event, log["size"], held)
            else:
                _judge_alloc(event, log["size"], held)
            _judge_after(event, log["size"], held)
        except _Broken as broken:
            return Violation(event["step"], broken.rule, str(broken))
    return None


def _judge_alloc(event: Event, size: int, held: set[int]) -> None:
    n, answer, error = event["argument"], event["answer"], event["error"]
    if type(n) is not int or n < 0:
        if error is None or not error["value_error"]:
            raise _Broken("bad count", f"{event['operation']}({n!r}) is not refused with a ValueError")
        return
    possible = _can_fit(event["operation"], n, size, held)
    if error is not None:
        if n > size and error["value_error"]:  # more than the whole pool: None and a ValueError are both a clear no
            return
        raise _Broken(
            "all or nothing", f"{event['operation']}({n}) raises {error['type']} where it should {_due(possible)}"
        )
    if answer is None and not possible:
        return
    slots = slot_list(answer)
    if answer is not None and slots != answer:
        raise _Broken(
            "answer", f"{event['operation']}({n}) answers {answer!r}: neither None nor an array of whole numbers"
        )
    if answer is None or not possible or len(slots) != n:
        got = "None" if answer is None else f"{len(slots)} slots"
        raise _Broken(
            "all or nothing",
            f"{event['operation']}({n}) answers {got} with {size - len(held)} of {size} free; "
            f"it should {_due(possible)}",
        )
    _judge_slots(event["operation"], slots, size, held)
    held.update(slots)


def _judge_slots(operation: str, slots: list[int], size: int, held: set[int]) -> None:
    for slot in slots:
        if not 0 <= slot < size:
            raise _Broken("range", f"slot {slot} is not in the pool of {size}")
    if len(set(slots)) < len(slots):
        raise _Broken("uniqueness", f"{len(slots)} slots, {len(set(slots))} of them distinct: {slots}")
    shared = sorted(held.intersection(slots))
    if shared:
        raise _Broken("uniqueness", f"slots {shared} are given out while somebody holds them")
    lowest = min(slots, default=0)
    if operation == "alloc_contiguous" and sorted(slots) != list(range(lowest, lowest + len(slots))):
        raise _Broken("one run", f"{slots} are not consecutive")


def _judge_free(event: Event, size: int, held: set[int]) -> None:
    slots, error = event["argument"], event["error"]
    good = slot_list(slots) == slots and len(set(slots)) == len(slots) and held.issuperset(slots)
    if good and error is not None:
        raise _Broken("good free", f"free({slots}) raises {error['type']}, and all of these are held")
    if not good and (error is None or not error["value_error"]):
        how = "is accepted" if error is None else f"raises {error['type']}"
        raise _Broken("bad free", f"free({slots}) {how}; only held slots, each once, may be freed (ValueError)")
    if good:
        held.difference_update(slots)


def _judge_after(event: Event, size: int, held: set[int]) -> None:
    if event["num_free"] != size - len(held):
        raise _Broken(
            "conservation",
            f"num_free says {event['num_free']}, {len(held)} are held, and the pool has {size} slots",
        )
    for holder, now in event.get("changed", {}).items():
        raise _Broken("aliasing", f"what {holder} was given earlier reads {now} now, after somebody else's call")


def _can_fit(operation: str, n: int, size: int, held: set[int]) -> bool:
    if operation != "alloc_contiguous" or n == 0:
        return n <= size - len(held)
    run = 0
    for slot in range(size):
        run = 0 if slot in held else run + 1
        if run == n:
            return True
    return False


def _due(possible: bool) -> str:
    return "succeed" if possible else "answer None"

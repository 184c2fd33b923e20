"""Scripts that learners write: read with care, since they are played in the judge's own process."""

from dataclasses import dataclass
from typing import Any

from labkit.course.describe import describe
from labkit.course.played import cut

Call = tuple[Any, ...]


@dataclass(frozen=True)
class Complaint:
    """Why a script does not show what it should: `reason` is the same for every script that fails alike."""

    reason: str
    message: str


def read_script(value: Any, operations: tuple[str, ...], size: int, max_calls: int) -> list[Call] | Complaint:
    """The calls as tuples: (operation, holder, n) with n from 1 to 2 * size, ("free", holder) or ("free", [slots])."""
    if not isinstance(value, list | tuple):
        return Complaint("no list", f"{cut(describe(value))}: a script is a list of calls")
    if len(value) > max_calls:
        return Complaint("too long", f"{len(value):,} calls; at most {max_calls} are played")
    if not value:
        return Complaint("empty", "no calls at all")
    calls: list[Call] = []
    for number, item in enumerate(value, 1):
        call = _read_call(item, operations, size)
        if call is None:
            forms = " or ".join([*(f'("{operation}", holder, n)' for operation in operations), '("free", holder)'])
            return Complaint(
                f"no call: {_kind(item)}", f"call {number} is {cut(describe(item))}; a call is {forms}, with n >= 1"
            )
        calls.append(call)
    return calls


def _read_call(item: Any, operations: tuple[str, ...], size: int) -> Call | None:
    match item:
        case (str(operation), str(holder), n) if operation in operations:
            whole = type(n) is int and 0 < n <= 2 * size
            return (operation, holder, n) if whole else None
        case ("free", str(holder)):
            return ("free", holder)
        case ("free", list(slots)) if len(slots) <= 2 * size and all(type(slot) is int for slot in slots):
            return ("free", [max(-size, min(slot, 2 * size)) for slot in slots])
    return None


def _kind(item: Any) -> str:
    is_call = isinstance(item, list | tuple) and len(item) > 0 and isinstance(item[0], str)
    return str(item[0]) if is_call else type(item).__name__

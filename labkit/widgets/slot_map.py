"""The slot map: one cell for each slot of a pool, coloured and lettered by who holds it, call by call.

    from labkit.widgets.slot_map import slot_map

    slot_map(play(TokenAllocator(16), script))                      # a learner's own allocator
    slot_map({"generation 3": play(…), "yours": play(…)})           # several, with a list to choose from

Everything comes from an event log (`labkit.kv_cache.event_log`): the cells, the counters in the sentence, and the
first broken rule, where one is. `draw_slot_map` is the same map as a still picture.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from labkit.kv_cache.audit import Violation, first_violation
from labkit.kv_cache.event_log import Event, Log
from labkit.kv_cache.pool_state import FREE, fragmentation, iter_pool_states, longest_free_run
from labkit.widgets.controls import Choice
from labkit.widgets.flipbook import Book, Cell, Flipbook, Frame, Label, Lit, draw_frame, flipbook
from labkit.widgets.palette import QUANTITIES, request_color, request_letter

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The page, in CSS pixels.
PAGE_WIDTH = 860
MAX_CELL = 52
CALL_HEIGHT = 16
LINE = 22

MAX_SLOTS = 256  # what can still be told apart on a page
MAX_CALLS = 240

ALLOCATOR_CALLS = {"alloc", "alloc_contiguous", "alloc_lowest", "free"}
# A flipbook paints quantities; requests take their turns in the same hues.
_QUANTITY_OF_HUE = {hue: quantity for quantity, hue in QUANTITIES.items()}


def slot_map(
    logs: Log | Mapping[str, Log],
    *,
    name: str = "slot-map",
    label: str = "pool",
    first: int | None = None,
    units: Mapping[str, int] | None = None,
) -> Flipbook:
    """Steps through the calls of a log, or of the one that is chosen among several.

    logs: a log, or {what the learner reads: log}.
    name: unique in the notebook. label: of the list to choose from.
    first: the call after which the map stands at the start: 0 before all of them, -1 or None the last one.
    units: {what the learner reads: slots that are reserved together}, where that is more than one.
    """
    if not isinstance(logs, Mapping):
        raise TypeError(f"a slot map takes the log that `play` gives, or {{name: log}}; got {type(logs).__name__}")
    chosen: Mapping[str, Log] = {"": logs} if "events" in logs else logs  # type: ignore[dict-item]
    if not chosen:
        raise ValueError("a slot map needs at least one log; got an empty mapping")

    def make(pool: str = "") -> Book:
        return slot_map_book(chosen[pool], first=first, unit=(units or {}).get(pool, 1), title=pool)

    if "" in chosen:
        return flipbook(name, make)
    return flipbook(name, make, pool=Choice(next(iter(chosen)), tuple(chosen), label=label))


def draw_slot_map(log: Log, call: int = -1, unit: int = 1) -> "tuple[Figure, str]":
    """The map after one call (0: before the first) as a figure and its sentence."""
    book = slot_map_book(log, first=call, unit=unit)
    return draw_frame(book, book.first), book.frames[book.first].sentence


def slot_map_book(log: Log, first: int | None = None, unit: int = 1, title: str = "") -> Book:
    """One frame before the first call and one after each."""
    size, num_calls = log["size"], len(log["events"])
    if not 0 < size <= MAX_SLOTS or num_calls > MAX_CALLS:
        raise ValueError(
            f"a slot map shows up to {MAX_SLOTS} slots and {MAX_CALLS} calls; this log has {size:,} slots and"
            f" {num_calls:,} calls. Play a smaller pool, or draw its counters (labkit.kv_cache.pool_counters)."
        )
    page = _Page.of(log, unit)
    frames = page.frames()
    at = len(frames) - 1 if first is None else first % len(frames)
    return Book(
        title=f"Slots of the pool, {title}" if title else "Slots of the pool",
        width=PAGE_WIDTH,
        height=page.height,
        cells=page.cells,
        labels=page.labels,
        frames=frames,
        point=_point(log),
        step="Call",
        count_from=0,  # before the first call
        first=at,
    )


@dataclass
class _Page:
    """Cells of the slots, then one small cell for each call; what each frame lights."""

    log: Log
    unit: int
    owners: Sequence[str]
    violation: Violation | None
    cells: list[Cell] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    height: float = 0.0

    @classmethod
    def of(cls, log: Log, unit: int) -> "_Page":
        is_allocators = {event["operation"] for event in log["events"]} <= ALLOCATOR_CALLS
        violation = first_violation(log) if is_allocators else None
        if violation and violation.step >= 0 and _unwritten(log["events"][violation.step]):
            violation = None  # what is not written yet breaks no rule, and what comes after it proves nothing
        page = cls(log, unit, _short_names(log["owners"]), violation)
        page._place_slots()
        page._place_calls()
        return page

    def frames(self) -> list[Frame]:
        """What is held after each call, and what that call changed."""
        frames: list[Frame] = []
        before = np.full(self.log["size"], FREE, np.int64)
        shared: dict[int, str] = {}  # slots that somebody was given while another one held them
        for event, state in iter_pool_states(self.log):
            for slot in np.flatnonzero(state == FREE).tolist():
                shared.pop(slot, None)
            if event is not None:
                shared.update(self._shared(event, before))
            frames.append(Frame(self._sentence(event, state), self._lit(event, before, state, shared)))
            before = state.copy()
        return frames

    def _place_slots(self) -> None:
        size = self.log["size"]
        columns = _columns(size)
        side = min(MAX_CELL, PAGE_WIDTH // columns)
        self.labels.append(Label(0, 8, "slots", bold=True))
        for slot in range(size):
            row, column = divmod(slot, columns)
            mark = str(slot) if side >= 24 else ""
            self.cells.append(Cell(column * side, LINE + row * side, side, side, "free", mark=mark, size=15))
        self.height = LINE + -(-size // columns) * side

    def _place_calls(self) -> None:
        events = self.log["events"]
        if not events:
            return
        top = self.height + 10
        width = min(24.0, PAGE_WIDTH / len(events))
        self.labels.append(Label(0, top + 8, "calls, hatched where refused", bold=True))
        for at, event in enumerate(events):
            owner = event["taken"][0][0] if len(event["taken"]) == 1 else None
            quantity = "free" if owner is None else _quantity(owner)
            text = self.owners[owner] if owner is not None else "+" if event["taken"] else "−" * bool(event["returned"])
            text = "?" if _unwritten(event) else text
            self.cells.append(
                Cell(
                    round(at * width, 2),
                    top + LINE,
                    round(width, 2),
                    CALL_HEIGHT,
                    quantity,
                    text,
                    hatched=_refused(event),
                    size=11,
                )
            )
        self.height = top + LINE + CALL_HEIGHT

    def _lit(
        self, event: Event | None, before: NDArray[np.int64], state: NDArray[np.int64], shared: Mapping[int, str]
    ) -> dict[int, Lit]:
        lit: dict[int, Lit] = {}
        for slot in np.flatnonzero(state != FREE).tolist():
            owner = int(state[slot])
            new = "+" if before[slot] != owner else ""
            lit[slot] = Lit(_quantity(owner), text=shared.get(slot) or new + self.owners[owner])
        for slot, owner in self._reserved(state).items():
            lit[slot] = Lit("wasted", text=self.owners[owner])
        for slot in np.flatnonzero((before != FREE) & (state == FREE)).tolist():
            lit.setdefault(slot, Lit("free", text=f"−{self.owners[int(before[slot])]}"))
        if event is not None:
            text = "?" if _unwritten(event) else "✗" if _refused(event) else None
            lit[self.log["size"] + event["step"]] = Lit("capacity", text=text)
        return lit

    def _reserved(self, state: NDArray[np.int64]) -> dict[int, int]:
        """Slots that hold no token and are not free either: the rest of each unit that somebody uses a part of."""
        reserved = {}
        for slot in np.flatnonzero(state != FREE).tolist() if self.unit > 1 else ():
            begin = slot // self.unit * self.unit
            for other in range(begin, min(begin + self.unit, len(state))):
                if state[other] == FREE:
                    reserved[other] = int(state[slot])
        return reserved

    def _shared(self, event: Event, before: NDArray[np.int64]) -> dict[int, str]:
        """Both names on each slot that this call gave away a second time."""
        inside = [(owner, slot) for owner, slots in event["taken"] for slot in slots if 0 <= slot < len(before)]
        return {
            slot: self.owners[int(before[slot])] + self.owners[owner]
            for owner, slot in inside
            if before[slot] not in (FREE, owner) and slot not in event["returned"]
        }

    def _sentence(self, event: Event | None, state: NDArray[np.int64]) -> str:
        num_reserved = len(self._reserved(state))
        free = state.copy()
        free[list(self._reserved(state))] = 0
        num_free, run = int(np.count_nonzero(free == FREE)), longest_free_run(free)
        counters = (
            f"{num_free} of {len(state)} slots {'is' if num_free == 1 else 'are'} free, the longest free run is {run}"
        )
        if num_free > run:
            counters += f" (fragmentation {fragmentation(free):.0%})"
        if self.unit > 1:
            num_tokens = int(np.count_nonzero(state != FREE))
            counters = f"{num_tokens} tokens, {num_reserved} slots reserved and empty; {counters}"
        if event is None:
            return f"Before the first call: {counters}."
        said = f"Call {event['step'] + 1} of {len(self.log['events'])}, {_call(event)}. {counters}."
        if self.violation is not None and event["step"] >= self.violation.step:
            when = "here" if event["step"] == self.violation.step else f"since call {self.violation.step + 1}"
            said += f" ✗ Broken {when}: {self.violation.rule} ({_cut(self.violation.message)})."
        return said


def _point(log: Log) -> str:
    """What the whole log shows: how often it was refused, how many runs the answers came in."""
    events = log["events"]
    num_refused, num_unwritten = (sum(map(kind, events)) for kind in (_refused, _unwritten))
    missing = f", {num_unwritten} not written yet" if num_unwritten else ""
    return f"{len(events)} calls on {log['size']} slots, {num_refused} of them refused{missing}."


def _call(event: Event) -> str:
    """The call and what came of it, in words."""
    operation, argument = event["operation"], event["argument"]
    if operation in ("free", "append") and isinstance(argument, list):
        argument = _runs(argument) if operation == "free" else ", ".join(map(str, argument))
    call = f"{operation}({argument})"
    if _unwritten(event):
        return f"{call} is not written yet"
    if event["error"]:
        return f"{call} raises {event['error']['type']}"
    if _refused(event):
        return f"{call} is refused with {event['answer']}"
    slots = [slot for _, taken in event["taken"] for slot in taken]
    if operation in ("free", "finish"):
        return f"{call} gives back {len(event['returned'])}"
    return f"{call} takes {_runs(slots)}" if slots else call


def _refused(event: Event) -> bool:
    """Whether nothing came of the call: None, False or an exception; a stub refuses nobody."""
    if event["error"]:
        return not _unwritten(event)
    gives_nothing = event["operation"] in ("free", "finish")
    return not gives_nothing and (event["answer"] is None or event["answer"] is False)


def _unwritten(event: Event) -> bool:
    """Whether the call ended in a learner's stub."""
    return event["error"] is not None and event["error"]["type"] == NotImplementedError.__name__


def _runs(slots: Sequence[int]) -> str:
    """Slot numbers with runs joined.

    >>> _runs([4, 5, 6, 9])
    '4–6, 9'
    """
    runs: list[list[int]] = []
    for slot in slots:
        if runs and slot == runs[-1][1] + 1:
            runs[-1][1] = slot
        else:
            runs.append([slot, slot])
    return _cut(", ".join(str(a) if a == b else f"{a}–{b}" for a, b in runs))


def _short_names(owners: Sequence[str]) -> list[str]:
    """The owners' own names where all are short enough for a cell; letters otherwise."""
    if all(len(owner) <= 2 for owner in owners):
        return list(owners)
    return [request_letter(number) for number in range(len(owners))]


def _quantity(owner: int) -> str:
    return _QUANTITY_OF_HUE[request_color(owner)]


def _columns(size: int) -> int:
    """One row where a cell keeps a readable size, else rows of 16, 20 or 32."""
    if size <= 20:
        return size
    return 32 if size > 100 else 16 if size % 16 == 0 else 20


def _cut(text: str, longest: int = 90) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"

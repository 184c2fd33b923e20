"""Playing requests on a learner's TokenTable, over a pool whose slots come in no order, and judging what came."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from labkit.course.compare import Difference
from labkit.course.describe import describe
from labkit.course.exercise import Case
from labkit.course.played import cut, packed, said_by, unpacked

# rule -> what a learner may rely on, and therefore has to provide
RULES = {
    "start": "the row of the new request, from 0 to max_requests - 1; None when rows or slots run out",
    "append": "True, or False when there are not enough slots, and then nothing changed",
    "finish": "no complaint: this row holds a request",
    "no request": "ValueError, and nothing changed: this row holds no request",
    "type of slots": "slots(row) is an integer array, (num_tokens,)",
    "earlier tokens": "the slots of earlier tokens stay as they were, in token order",
    "aliasing": "an answer of slots(row) stays as it was given, whatever the table does afterwards",
    "slots": "one slot for each token of the request",
    "two owners": "each slot in one place of one row, and held in the pool",
    "conservation": "the slots of all rows, and no others, taken from the pool",
    "pool": "nothing freed that the pool has not given to this table",
}


class ScatteredPool:
    """The allocator that the table is given: any right one may answer like this, in no order and with reused slots."""

    def __init__(self, size: int) -> None:
        self._free = np.random.default_rng(size).permutation(size).tolist()
        self.held: set[int] = set()
        self.num_bad_frees = 0

    @property
    def num_free(self) -> int:
        return len(self._free)

    def alloc(self, n: int) -> np.ndarray | None:
        if n > len(self._free):
            return None
        return self._take([self._free[-1 - i] for i in range(n)])

    def alloc_contiguous(self, n: int) -> np.ndarray | None:
        ordered = sorted(self._free)
        for at in range(len(ordered) - n + 1):
            if n == 0 or ordered[at + n - 1] - ordered[at] == n - 1:
                return self._take(ordered[at : at + n])
        return None

    def free(self, indices: Any) -> None:
        slots = np.asarray(indices, np.int64).reshape(-1).tolist()
        if len(set(slots)) < len(slots) or not self.held.issuperset(slots):
            self.num_bad_frees += 1
            raise ValueError(
                f"given back to the pool, but nobody holds all of these, or one is there twice: {cut(str(slots))}"
            )
        self.held.difference_update(slots)
        self._free += slots  # the next to be given out

    def _take(self, slots: list[int]) -> np.ndarray:
        taken = set(slots)
        self._free = [slot for slot in self._free if slot not in taken]
        self.held |= taken
        return np.array(slots, np.int64)


def probe(candidate: Callable[..., Any], case: Case) -> list[dict[str, Any]]:
    """One observation after each call of the script."""
    max_requests, max_len, size, script = case.args
    pool = ScatteredPool(size)
    table = candidate(max_requests, max_len, pool)
    rows: dict[str, Any] = {}
    live: list[str] = []
    given: list[tuple[str, Any, Any]] = []  # whose slots, the answer itself, and what it read at first
    observations = []
    for call in script:
        held_before = set(pool.held)
        observation = _make(table, pool, call, rows, live)
        observation["changed"] = sorted({name for name, now, then in given if not np.array_equal(now, then)})
        observation["slots"] = {}
        for name in live:
            slots, answer = _slots(table, rows[name])
            observation["slots"][name] = packed(slots)
            given.append((name, answer, np.copy(answer)))
        observation["num_bad_frees"] = pool.num_bad_frees
        observation["held"] = packed(sorted(pool.held))
        if call[0] == "elsewhere":
            observation["elsewhere"] = sorted(pool.held - held_before)
        observations.append(observation)
    return observations


def _make(
    table: Any, pool: ScatteredPool, call: tuple[Any, ...], rows: dict[str, Any], live: list[str]
) -> dict[str, Any]:
    """Make one call; `rows` remembers the rows of all requests, `live` the names of those that run."""
    operation, *names = call
    try:
        match operation:
            case "start":
                name, prompt_len = names
                answer = table.start(prompt_len)
                if answer is not None:
                    rows[name] = answer
                    live.append(name)
            case "append":
                answer = table.append([rows[name] for name in names])
            case "finish":
                answer = table.finish(rows[names[0]])
                if names[0] in live:
                    live.remove(names[0])
            case _:
                answer = pool.alloc(names[0]) is not None
    except NotImplementedError:
        raise
    except Exception as error:
        return {"answer": None, "error": type(error).__name__, "is_value_error": isinstance(error, ValueError),
                "said": said_by(error, table)}  # fmt: skip
    return {"answer": answer, "error": "", "is_value_error": False, "said": ""}


def _slots(table: Any, row: Any) -> tuple[Any, Any]:
    """The slots of a row as a list of ints, and the answer itself; in words, and (), where it is something else."""
    try:
        slots = table.slots(row)
    except NotImplementedError:
        raise
    except Exception as error:
        return said_by(error, table), ()
    if isinstance(slots, np.ndarray) and slots.ndim == 1 and slots.dtype.kind in "iu":
        return slots.tolist(), slots
    if isinstance(slots, np.ndarray):
        return f"an array of {slots.dtype}, shape {slots.shape}", ()
    return f"a {type(slots).__name__}", ()


# --- judging ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Broken:
    rule: str
    came: str


@dataclass
class _Model:
    """Who holds how many tokens, counted; and which slots they said these are."""

    max_requests: int
    size: int
    rows: dict[str, int] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    slots: dict[str, list[int]] = field(default_factory=dict)
    elsewhere: set[int] = field(default_factory=set)

    @property
    def num_free(self) -> int:
        return self.size - sum(self.lengths.values()) - len(self.elsewhere)

    def after(self, call: tuple[Any, ...], seen: dict[str, Any]) -> _Broken | None:
        """Bring the model up to date with one call; what was wrong with it, if anything."""
        operation, *names = call
        broken: _Broken | None = getattr(self, f"_{operation}")(names, seen)
        return broken or self._rows_and_pool(seen)

    def _start(self, names: list[Any], seen: dict[str, Any]) -> _Broken | None:
        name, prompt_len = names
        possible = len(self.rows) < self.max_requests and prompt_len <= self.num_free
        row = seen["answer"]
        if seen["error"] or (row is None) == possible:
            state = f"free: {self.num_free} slots, {self.max_requests - len(self.rows)} rows"
            return _Broken("start", f"{state}; {_came(seen)}")
        if row is None:
            return None
        whole = isinstance(row, int | np.integer) and not isinstance(row, bool | np.bool_)
        if not whole or not 0 <= row < self.max_requests:
            return _Broken("start", f"answer {describe(row)}: no row of this table, which has {self.max_requests}")
        if int(row) in self.rows.values():
            return _Broken("start", f"answer {int(row)}: a row that holds another request")
        self.rows[name], self.lengths[name], self.slots[name] = int(row), prompt_len, []
        return None

    def _append(self, names: list[Any], seen: dict[str, Any]) -> _Broken | None:
        if not all(name in self.rows for name in names):
            return _no_request(seen)
        possible = len(names) <= self.num_free
        answer = seen["answer"].item() if isinstance(seen["answer"], np.bool_) else seen["answer"]
        if seen["error"] or answer is not possible:
            return _Broken("append", f"slots free: {self.num_free}, needed: {len(names)}; {_came(seen)}")
        for name in names if possible else ():
            self.lengths[name] += 1
        return None

    def _finish(self, names: list[Any], seen: dict[str, Any]) -> _Broken | None:
        name = names[0]
        if name not in self.rows:
            return _no_request(seen)
        if seen["error"]:
            return _Broken("pool" if seen["num_bad_frees"] else "finish", _came(seen))
        del self.rows[name], self.lengths[name], self.slots[name]
        return None

    def _elsewhere(self, names: list[Any], seen: dict[str, Any]) -> _Broken | None:
        self.elsewhere |= set(seen["elsewhere"])
        return None

    def _rows_and_pool(self, seen: dict[str, Any]) -> _Broken | None:
        for name, length in self.lengths.items():
            slots, row = unpacked(seen["slots"].get(name, "nothing")), self.rows[name]
            if not isinstance(slots, list):
                return _Broken("type of slots", f"slots({row}) of request {name!r} is {slots}")
            before = self.slots[name]
            if any(now != then for now, then in zip(slots, before, strict=False)):
                was = f"was {cut(str(before))} and is {cut(str(slots))}"
                return _Broken("earlier tokens", f"slots({row}) of request {name!r} {was}")
            if len(slots) != length:
                return _Broken("slots", f"slots({row}) of request {name!r}: {cut(str(slots))}; it has {length} tokens")
            self.slots[name] = slots
        if seen["num_bad_frees"]:
            return _Broken("pool", "the table freed slots that it does not hold, and the pool refused")
        held, owned = set(unpacked(seen["held"])), [slot for slots in self.slots.values() for slot in slots]
        if len(set(owned)) < len(owned) or not held.issuperset(owned):
            rows = ", ".join(f"{name!r}: {cut(str(slots))}" for name, slots in self.slots.items())
            return _Broken("two owners", f"rows {rows}; held in the pool: {cut(str(sorted(held)))}")
        lost = held - set(owned) - self.elsewhere
        if lost or not held.issuperset(self.elsewhere):
            what = f"{sorted(lost)} are in no row" if lost else "slots of somebody else were freed"
            return _Broken("conservation", cut(f"{len(owned)} slots in rows, {len(held)} taken: {what}"))
        if seen["changed"]:
            names = ", ".join(map(repr, seen["changed"]))
            return _Broken("aliasing", f"what slots(row) answered earlier for request {names} reads other slots now")
        return None


def judge(case: Case, value: Any) -> Difference | None:
    """The first call after which something is not as it should be."""
    step, broken = _first_broken(case, value)
    if broken is None:
        return None
    call = case.args[3][step]
    words = f"{call[0]}({', '.join(map(repr, call[1:]))})"
    return Difference(RULES[broken.rule], f"after call {step + 1}, {words}: {broken.came}")


def note(cases: Sequence[Case], values: Sequence[Any]) -> str:
    """How much was played, for the green line."""
    num_calls = sum(len(case.args[3]) for case in cases)
    most = max(len(observation["held"]) for value in values for observation in value)
    return f"{num_calls:,} calls, up to {most:,} tokens in one pool, each slot in one row."


def seen(case: Case, value: Any) -> Any:
    """Which rule broke after which call, the kind of answer that came, and how many slots each request had then."""
    step, broken = _first_broken(case, value)
    if broken is None:
        return None
    if broken.rule == "aliasing":  # when a view is overwritten depends on how rows are cleared and used again
        return [broken.rule]
    answer = value[step]["error"] or type(value[step]["answer"]).__name__
    lengths = [-1 if isinstance(slots, str) else len(slots) for slots in value[step]["slots"].values()]
    return [broken.rule, step, answer, lengths]


def _first_broken(case: Case, value: list[dict[str, Any]]) -> tuple[int, _Broken | None]:
    max_requests, _, size, script = case.args
    model = _Model(max_requests, size)
    for step, (call, observation) in enumerate(zip(script, value, strict=True)):
        broken = model.after(call, observation)
        if broken:
            return step, broken
    return len(script), None


def _no_request(seen: dict[str, Any]) -> _Broken | None:
    return None if seen["is_value_error"] else _Broken("no request", _came(seen))


def _came(seen: dict[str, Any]) -> str:
    return seen["said"] or f"answer {describe(seen['answer'])}"

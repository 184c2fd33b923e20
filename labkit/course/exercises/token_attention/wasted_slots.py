"""`wasted_slots(lengths, reserve)`: slots that are reserved and hold no token, for three ways to reserve."""

import math
from typing import Any

import numpy as np

from labkit.course.compare import Difference, compare_number
from labkit.course.exercise import Case, Exercise


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)
    lengths = [int(length) for length in rng.integers(1, 4_000, size=9)]
    short = [int(length) for length in rng.integers(0, 60, size=6)]
    block = int(rng.choice([3, 5, 7, 12, 24, 48]))
    return [
        Case("the maximum, one request", ([5], ("max", 100))),
        Case("the maximum, two requests", ([5, 17], ("max", 100))),
        Case("the maximum, in full use", ([8, 8], ("max", 8))),
        Case("the maximum, one that holds nothing yet", ([0, 3], ("max", 10))),
        Case("a block, partly used", ([5], ("block", 16))),
        Case("a block, just full", ([16], ("block", 16))),
        Case("a block and one token", ([17], ("block", 16))),
        Case("blocks, two requests", ([5, 17], ("block", 16))),
        Case("blocks, one request that holds nothing", ([0, 3], ("block", 4))),
        Case("blocks of one token", ([5, 17], ("block", 1))),
        Case("tokens", ([5, 17], ("token",))),
        Case("no requests", ([], ("block", 16))),
        Case("random, the maximum", (lengths, ("max", 4_096))),
        Case("random, blocks", (lengths, ("block", 16))),
        Case("random, blocks of another size", (short, ("block", block))),
        Case("random, tokens", (lengths, ("token",))),
    ]


def _judge(case: Case, value: Any) -> Difference | None:
    lengths, reserve = case.args
    # The oracle reserves one unit after the other until the request fits, and counts.
    unit = 1 if reserve[0] == "token" else reserve[1]
    wasted = 0
    for length in lengths:
        reserved = unit if reserve[0] == "max" else 0
        while reserved < length:
            reserved += unit
        wasted += reserved - length
    came = value.item() if isinstance(value, np.generic) else value
    if isinstance(came, float):
        return Difference(str(wasted), f"{value!r} (float): slots are counted, an int")
    return compare_number(wasted, came, relative=0.0)


wasted_slots = Exercise(
    name="wasted_slots",
    signature="wasted_slots(lengths, reserve)",
    goal="Return how many slots are reserved and hold no token, an int, for requests that hold `lengths` tokens now:"
    ' `("max", n)` reserves n slots for each request, `("block", n)` whole blocks of n slots, `("token",)` slot by'
    " slot.",
    cases=_cases,
    judge_case=_judge,
    hints=(
        "A request of 17 tokens sits in blocks of 16. How many slots does it own, and which of them are empty?",
        "Only the last block of a request can be partly empty, and it is full when the length is a multiple of n."
        " Python's `-length % n` is the distance to the next multiple.",
        '`"max"`: the sum of `n - length`; `"block"`: the sum of `-length % n`; `"token"`: 0.',
    ),
    points=1,
    minutes=8,
    difficulty=1,
    num_lines=6,
)


def _kind_and_size(reserve):
    return reserve[0], reserve[1] if len(reserve) > 1 else 1


def _right(lengths, reserve):
    kind, n = _kind_and_size(reserve)
    if kind == "max":
        return sum(n - length for length in lengths)
    return sum(-length % n for length in lengths)


@wasted_slots.wrong("a full block wastes another", "at a multiple of n the last block is full: nothing is empty.")
def _(lengths, reserve):
    kind, n = _kind_and_size(reserve)
    return sum(n - length % n for length in lengths) if kind == "block" else _right(lengths, reserve)


@wasted_slots.wrong("blocks rounded down", "a block that is partly used is reserved as a whole: round up, not down.")
def _(lengths, reserve):
    kind, n = _kind_and_size(reserve)
    return sum(length % n for length in lengths) if kind == "block" else _right(lengths, reserve)


@wasted_slots.wrong(
    "one reservation for all", "each request has a reservation of its own; their empty ends cannot be shared."
)
def _(lengths, reserve):
    kind, n = _kind_and_size(reserve)
    return n - sum(lengths) if kind == "max" else _right(lengths, reserve)


@wasted_slots.wrong(
    "blocks shared between requests", "two requests never share a block: round each of them up before you add."
)
def _(lengths, reserve):
    kind, n = _kind_and_size(reserve)
    return -sum(lengths) % n if kind == "block" else _right(lengths, reserve)


@wasted_slots.wrong("reserved instead of wasted", "what is reserved contains the tokens: subtract those.")
def _(lengths, reserve):
    return _right(lengths, reserve) + sum(lengths)


@wasted_slots.wrong("used instead of wasted", "these are the slots that hold a token; the question is for the others.")
def _(lengths, reserve):
    return sum(lengths)


@wasted_slots.wrong("share instead of slots", "the question is for a number of slots, not for a share of them.")
def _(lengths, reserve):
    wasted = _right(lengths, reserve)
    return wasted / max(wasted + sum(lengths), 1)


@wasted_slots.wrong("a slot kept for the next token", "the next slot is taken when the next token comes, not before.")
def _(lengths, reserve):
    return len(lengths) if reserve[0] == "token" else _right(lengths, reserve)


@wasted_slots.wrong("empty requests left out", "a reservation of the maximum is there from the first moment on.")
def _(lengths, reserve):
    return _right([length for length in lengths if length], reserve)


@wasted_slots.wrong(
    "a block for a request that holds nothing", "a request that holds no token has no block yet: round 0 up to 0."
)
def _(lengths, reserve):
    kind, n = _kind_and_size(reserve)
    if kind != "block":
        return _right(lengths, reserve)
    return sum(max(math.ceil(length / n), 1) * n - length for length in lengths)


@wasted_slots.wrong("longest request decides", "the reservation is n, whatever the longest request holds now.")
def _(lengths, reserve):
    if reserve[0] != "max":
        return _right(lengths, reserve)
    return sum(max(lengths) - length for length in lengths)


@wasted_slots.wrong("blocks always of 16", "the size of a block stands in `reserve`: `reserve[1]`.")
def _(lengths, reserve):
    return sum(-length % 16 for length in lengths) if reserve[0] == "block" else _right(lengths, reserve)


@wasted_slots.wrong(
    "float slots",
    "the right number, as a float: slots are counted, in ints. For example, `/` makes a float, and so does the sum of"
    " an empty array.",
)
def _(lengths, reserve):
    return float(_right(lengths, reserve))


@wasted_slots.wrong("mean instead of sum", "the question is for all requests together, not for a typical one.")
def _(lengths, reserve):
    return _right(lengths, reserve) // max(len(lengths), 1)


@wasted_slots.right("remainders")
def _(lengths, reserve):
    match reserve:
        case ("max", n):
            return n * len(lengths) - sum(lengths)
        case ("block", n):
            return sum(-length % n for length in lengths)
    return 0


@wasted_slots.right("units, rounded up")
def _(lengths, reserve):
    kind, n = _kind_and_size(reserve)
    units = [1 if kind == "max" else math.ceil(length / n) for length in lengths]
    return sum(count * n - length for count, length in zip(units, lengths, strict=True))


@wasted_slots.right("NumPy")
def _(lengths, reserve):
    tokens = np.array(lengths, np.int64)
    kind, n = _kind_and_size(reserve)
    reserved = np.full_like(tokens, n) if kind == "max" else (tokens + n - 1) // n * n
    return (reserved - tokens).sum()


@wasted_slots.right("slot by slot")
def _(lengths, reserve):
    kind, n = _kind_and_size(reserve)
    wasted = 0
    for length in lengths:
        owned = range(n if kind == "max" else math.ceil(length / n) * n)
        wasted += sum(slot >= length for slot in owned)
    return wasted

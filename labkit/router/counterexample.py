"""The smallest case where a learner's own peak or admission test goes wrong, and in which of three ways.

    print(smallest_counterexample(my_can_admit))
    # wasteful and order-dependent (…): with (1, 0) running, candidate (1, 1) and capacity 2 it says False …

A brute force over sets of up to three small requests in every order; the truth is counted step by step.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement, permutations
from typing import Any

import numpy as np

from labkit.router._arguments import Request, RequestError, whole
from labkit.router.peak import tokens_at

Order = tuple[Request, ...]

MEANINGS = {
    "unsafe": "would admit what overflows the pool",
    "wasteful": "would refuse what fits",
    "order-dependent": "answers differently when the same requests come in another order",
    "changes its arguments": "leaves the caller's list different from how it was given",
    "wrong type": "answers with something that is no answer",
    "raises": "ends in an exception",
}


@dataclass(frozen=True)
class Counterexample:
    """One set of requests on which a function is wrong.

    kinds: keys of MEANINGS, all that this set shows. requests: in the order that shows the first kind; for an
    admission test the last one is the candidate. capacity: None for a peak function.
    """

    kinds: tuple[str, ...]
    requests: Order
    capacity: int | None
    expected: int | bool
    got: Any

    def __str__(self) -> str:
        said = f"raised {self.got!r}" if self.kinds[0] == "raises" else f"says {self.got!r}"
        if self.kinds[0] == "changes its arguments":
            said = f"left the list as {self.got!r}"
        if self.capacity is None:
            case = f"for {_listed(self.requests)} it {said}"
        else:
            *running, candidate = self.requests
            case = f"with {_listed(running)} running, candidate {candidate} and capacity {self.capacity} it {said}"
        meaning = "; ".join(MEANINGS[kind] for kind in self.kinds)
        peak, at = _peak_and_step(self.requests)
        tokens = "1 token" if peak == 1 else f"{peak} tokens"
        return (
            f"{' and '.join(self.kinds)} ({meaning}): {case}; right is {self.expected!r}: the most they hold "
            f"is {tokens}, at step {at}."
        )


def smallest_counterexample(
    function: Callable[..., Any], *, max_requests: int = 3, max_tokens: int = 3
) -> Counterexample | None:
    """The smallest set on which `function` is wrong, or None if it is right on all sets tried.

    function: `peak_tokens(requests)` or `can_admit(running, candidate, capacity)`, told apart by how many arguments
        it takes. It gets fresh lists of tuples; one that never returns is not noticed here.
    max_requests, max_tokens: sets of up to so many requests with run and left up to so much. The default tries
        815 sets; a small integer type overflows on none of them.

    Fewer requests are smaller, then those with a prompt (run >= 1), then fewer tokens. Raises RequestError for
    something that is neither function.
    """
    sets = _sets(whole(max_requests, "max_requests", at_least=1), whole(max_tokens, "max_tokens", at_least=1))
    look = _wrong_admission if _num_arguments(function) == 3 else _wrong_peak
    found = (look(function, requests) for requests in sets)
    return next((example for example in found if example), None)


def _num_arguments(function: Callable[..., Any]) -> int:
    expected = "expected peak_tokens(requests) or can_admit(running, candidate, capacity)"
    if not callable(function):
        raise RequestError(f"{function!r} cannot be called; {expected}.")
    parameters = inspect.signature(function).parameters.values()
    required = [
        p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    if len(required) not in (1, 3):
        names = ", ".join(p.name for p in parameters)
        raise RequestError(f"{getattr(function, '__name__', function)!s}({names}) is neither; {expected}.")
    return len(required)


def _sets(max_requests: int, max_tokens: int) -> Iterator[Order]:
    sizes = range(max_tokens + 1)
    kinds = [(run, left) for run in sizes for left in sizes if run or left]
    for num_requests in range(1, max_requests + 1):
        yield from sorted(combinations_with_replacement(kinds, num_requests), key=_size)


def _size(requests: Order) -> tuple[bool, int]:
    return any(run == 0 for run, _ in requests), sum(run + left for run, left in requests)


def _wrong_peak(function: Callable[..., Any], requests: Order) -> Counterexample | None:
    peak, _ = _peak_and_step(requests)
    answers: dict[Order, Any] = {}
    for order in dict.fromkeys(permutations(requests)):
        given = list(order)
        try:
            answers[order] = function(given)
        except Exception as error:
            return Counterexample(("raises",), order, None, peak, error)
        if not _is_int(answers[order]):
            return Counterexample(("wrong type",), order, None, peak, answers[order])
        if given != list(order):
            return Counterexample(("changes its arguments",), order, None, peak, given)
    too_small = [order for order, answer in answers.items() if answer < peak]
    too_large = [order for order, answer in answers.items() if answer > peak]
    return _named(answers, too_small, too_large, None, peak)


def _wrong_admission(function: Callable[..., Any], requests: Order) -> Counterexample | None:
    peak, _ = _peak_and_step(requests)
    for capacity in (peak, peak - 1, peak + 1):  # a tight pair first
        answers: dict[Order, Any] = {}
        for order in dict.fromkeys(permutations(requests)):
            *given, candidate = order
            try:
                answers[order] = function(given, candidate, capacity)
            except Exception as error:
                return Counterexample(("raises",), order, capacity, peak <= capacity, error)
            if not isinstance(answers[order], bool | np.bool_):
                return Counterexample(("wrong type",), order, capacity, peak <= capacity, answers[order])
            if given != list(order[:-1]):
                return Counterexample(("changes its arguments",), order, capacity, peak <= capacity, given)
        unsafe = [order for order, answer in answers.items() if answer and peak > capacity]
        wasteful = [order for order, answer in answers.items() if not answer and peak <= capacity]
        example = _named(answers, unsafe, wasteful, capacity, peak <= capacity)
        if example:
            return example
    return None


def _named(
    answers: dict[Order, Any], unsafe: list[Order], wasteful: list[Order], capacity: int | None, expected: int | bool
) -> Counterexample | None:
    if not unsafe and not wasteful:
        return None
    shown = (unsafe or wasteful)[0]
    kinds = ["unsafe"] * bool(unsafe) + ["wasteful"] * bool(wasteful)
    if len(set(map(int, answers.values()))) > 1:
        kinds.append("order-dependent")
    return Counterexample(tuple(kinds), shown, capacity, expected, answers[shown])


def _peak_and_step(requests: Order) -> tuple[int, int]:
    held = [tokens_at(requests, step) for step in range(max(left for _, left in requests) + 1)]
    return max(held), held.index(max(held))


def _is_int(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool | np.bool_)


def _listed(requests: Any) -> str:
    return ", ".join(map(str, requests)) or "nobody"

"""What this package accepts as a request, a list of requests, a number; and how it says no."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import index
from typing import Any

import numpy as np

# (run, left): tokens held now, tokens still to append, one a step
Request = tuple[int, int]


class RequestError(ValueError):
    """A length, a request or a capacity that no pool can mean; the message is one sentence."""


def whole(value: Any, name: str, at_least: int = 0, at_most: int | None = None) -> int:
    """`value` as an int: ints and NumPy's integers; RequestError for bool, float, NaN and what is out of range.

    >>> whole(np.int64(3), "capacity")
    3
    """
    if isinstance(value, bool | np.bool_) or not hasattr(value, "__index__"):
        raise RequestError(f"{name} is {value!r}, a {type(value).__name__}; expected a whole number.")
    try:
        number = index(value)
    except TypeError as error:  # an array of several numbers has __index__ too
        raise RequestError(f"{name} is one whole number, and {value!r} is a {type(value).__name__}.") from error
    if number < at_least:
        raise RequestError(f"{name} is {number}; it must be {at_least} or more.")
    if at_most is not None and number > at_most:
        raise RequestError(f"{name} is {number}; the most that is handled here is {at_most:,}.")
    return number


def checked_request(request: Sequence[int], name: str) -> Request:
    """`request` as a tuple of two ints of 0 or more."""
    try:
        run, left = request
    except (TypeError, ValueError):
        raise RequestError(f"{name} is {request!r}; a request is a pair (run, left), like (100, 20).") from None
    return whole(run, f"run of {name}"), whole(left, f"left of {name}")


def checked_requests(requests: Iterable[Sequence[int]], name: str) -> list[Request]:
    """A new list of checked requests, in the order given; the argument stays as it is."""
    try:
        given = list(requests)
    except TypeError:
        raise RequestError(
            f"{name} is {requests!r}; expected a list of pairs (run, left), which may be empty."
        ) from None
    checked = []
    for position, request in enumerate(given):
        # the common case first: ten thousand requests are checked for every question
        if type(request) is tuple and len(request) == 2:
            run, left = request
            if type(run) is int and type(left) is int and run >= 0 and left >= 0:
                checked.append(request)
                continue
        checked.append(checked_request(request, f"{name}[{position}]"))
    return checked

"""The four questions of a router, in the form that one reads: a sort and a running sum.

A request (run, left) holds run + t tokens at step t for 0 <= t <= left and nothing after that. M(t) is the
sum over all requests; the peak is the largest M(t).

Where it comes from: `_can_add_new_req` of LightLLM's router, 2023 (github.com/ModelTC/lightllm), and its page
"Efficient Router". Theorem: with left sorted descending, l_1 >= l_2 >= …, and r_k the run of the k-th,

    peak = max over k of  k * l_k + r_1 + … + r_k

because M(t) grows by one per living request and step, so that it is largest when somebody is about to leave.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter

from labkit.router._arguments import Request, checked_request, checked_requests, whole

_LEFT = itemgetter(1)


def peak_tokens(requests: Iterable[Sequence[int]]) -> int:
    """The most tokens that these requests ever hold together; 0 for none.

    >>> peak_tokens([(5, 4), (4, 3), (5, 3), (3, 2), (4, 2)])       # at step 2: 5 * 2 + 5 + 4 + 5 + 3 + 4
    31
    >>> peak_tokens([(1, 0), (1, 1)])                               # (1, 0) is gone when (1, 1) grows
    2

    Raises RequestError for lengths that are negative, bool or no whole number.
    """
    descending = sorted(checked_requests(requests, "requests"), key=_LEFT, reverse=True)
    return _bound(descending)


def can_admit(running: Iterable[Sequence[int]], candidate: Sequence[int], capacity: int) -> bool:
    """Whether all of them together, the candidate from this step on, never hold more than `capacity` tokens.

    >>> can_admit([(5, 4), (4, 3), (5, 3), (3, 2)], (4, 2), capacity=31)
    True
    >>> can_admit([(5, 4), (4, 3), (5, 3), (3, 2)], (4, 2), capacity=30)
    False

    A capacity of 0 is a pool that only (0, 0) fits. Raises RequestError for a negative one, and for bad lengths.
    """
    together = [*checked_requests(running, "running"), checked_request(candidate, "candidate")]
    return _bound(sorted(together, key=_LEFT, reverse=True)) <= whole(capacity, "capacity")


def admit_from(running: Iterable[Sequence[int]], waiting: Iterable[Sequence[int]], capacity: int) -> int:
    """How many requests from the head of `waiting` start now: first come first served, up to the first refusal.

    Each is tested with everybody who runs *and* those accepted before it in this same call.

    >>> admit_from([(5, 4), (4, 3)], [(5, 3), (3, 2), (4, 2)], capacity=27)
    2
    >>> admit_from([], [(50, 1), (1, 1)], capacity=10)              # nobody overtakes the head
    0
    """
    inside = sorted(checked_requests(running, "running"), key=_LEFT, reverse=True)
    queue, capacity = checked_requests(waiting, "waiting"), whole(capacity, "capacity")
    for num_admitted, candidate in enumerate(queue):
        insort(inside, candidate, key=_negated_left)
        if _bound(inside) > capacity:
            return num_admitted
    return len(queue)


def first_admissible_step(running: Iterable[Sequence[int]], candidate: Sequence[int], capacity: int) -> int | None:
    """The first step (0 is now) at which the candidate can start; None if it does not even fit alone.

    The running requests go on meanwhile, (r, l) becoming (r + 1, l - 1), and are gone after left = 0.

    >>> first_admissible_step([(1, 1), (1, 1)], (1, 1), capacity=5)  # before anybody has left!
    1

    Between two completions the running requests hold a straight ramp, so each such stretch rules out at most three
    intervals of starting steps, however long it is; the answer is the first step outside of them all.
    """
    alive = sorted(checked_requests(running, "running"), key=_LEFT)
    run, left = checked_request(candidate, "candidate")
    capacity = whole(capacity, "capacity")
    if run + left > capacity:
        return None
    step = 0
    for first, last in sorted(_ruled_out(alive, run, left, capacity)):
        if first > step:
            break
        step = max(step, last + 1)
    return step


def _ruled_out(alive: list[Request], run: int, left: int, capacity: int) -> Iterator[tuple[int, int]]:
    """(first, last) of starting steps at which the candidate would exceed the capacity; `alive` by ascending left."""
    begin, held, count = 0, sum(r for r, _ in alive), len(alive)
    for end, group in groupby(alive, key=_LEFT):
        if held + count * end > capacity:  # they exceed it by themselves: nothing is safe before that has passed
            yield 0, end
        # The running hold held + count * t at steps t = begin … end. If the candidate is still there at `end`, that
        # is where both together hold the most; it holds run + end - start then.
        yield end - left, min(end, held + count * end + run + end - capacity - 1)
        # If it ends before, then at its own last step, t = start + left, where it holds run + left.
        over = (capacity - run - left - held) // count + 1
        yield max(begin, over) - left, end - 1 - left
        leaving = [r for r, _ in group]
        begin, held, count = end + 1, held - sum(leaving), count - len(leaving)


def order_bound(order: Iterable[Sequence[int]]) -> int:
    """The published formula on requests in *this* order: at least the peak, and the peak when left descends.

    Hence a wrong order never admits too much, only too little.

    >>> order_bound([(1, 1), (1, 0)]), order_bound([(1, 0), (1, 1)])
    (2, 4)
    """
    return _bound(checked_requests(order, "order"))


def tokens_at(requests: Iterable[Sequence[int]], step: int) -> int:
    """M(step): tokens held at this step, from the definition.

    >>> [tokens_at([(5, 2), (1, 1)], step) for step in range(4)]
    [6, 8, 7, 0]
    """
    step = whole(step, "step")
    return sum(run + step for run, left in checked_requests(requests, "requests") if left >= step)


def _bound(order: Iterable[Request]) -> int:
    """The bound of this order: the peak, where left descends."""
    held = peak = 0
    for k, (run, left) in enumerate(order, 1):
        held += run
        peak = max(peak, k * left + held)
    return peak


def _negated_left(request: Request) -> int:
    return -request[1]

"""The peak with one more request, in O(log n), for as many candidates as one likes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate, count
from operator import add, itemgetter

from labkit.router._arguments import checked_request, checked_requests


class WhatIf:
    """A fixed set of running requests, prepared so that a candidate costs one bisection.

    >>> what_if = WhatIf([(5, 4), (4, 3), (5, 3), (3, 2)])
    >>> what_if.peak_with(4, 2)
    31

    With the running sorted by left descending, need_k = k * l_k + r_1 + … + r_k. A candidate (run, left) takes
    place p + 1 behind the p requests whose left is at least its own, and three things can be the peak:

        somebody before it       max of need_k, k <= p                           unchanged
        its own completion       (p + 1) * left + r_1 + … + r_p + run
        somebody after it        max of need_k + l_k, k > p, + run               one more is alive

    A prefix maximum and a suffix maximum, built once in O(n log n), hold the first and the third.
    """

    def __init__(self, running: Iterable[Sequence[int]] = ()) -> None:
        """Raises RequestError for a bad request; `running` is not kept."""
        descending = sorted(checked_requests(running, "running"), key=itemgetter(1), reverse=True)
        lefts = [left for _, left in descending]
        self._negated_lefts = [-left for left in lefts]  # ascending, for bisect
        self._runs_before = list(accumulate((run for run, _ in descending), initial=0))
        needs = [k * left + held for k, left, held in zip(count(1), lefts, self._runs_before[1:], strict=False)]
        with_one_more = map(add, needs, lefts)
        self._peak_before = list(accumulate(needs, max, initial=0))
        self._peak_after = list(accumulate(reversed(list(with_one_more)), max, initial=0))[::-1]

    def peak_with(self, run: int, left: int) -> int:
        """Peak in tokens of the running requests and (run, left) together; nothing is changed."""
        if type(run) is not int or type(left) is not int or run < 0 or left < 0:
            run, left = checked_request((run, left), "candidate")
        p = bisect_right(self._negated_lefts, -left)
        return max(self._peak_before[p], left * (p + 1) + self._runs_before[p] + run, self._peak_after[p] + run)

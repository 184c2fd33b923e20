"""Who comes next: the order of arrival, and before it whoever was evicted."""

from __future__ import annotations

from collections.abc import Sequence

#: the arrival of a request that does not exist: later than any simulated time
NEVER_COMES = 1 << 100


class WaitingQueue:
    """First come first served. `head` is the next request, waiting or still to come, and `head_ns` when it is there.

    An evicted request goes back to the front and is there at once. Those evicted last were admitted first, so the
    queue stays in the order of arrival. When nobody is to come any more, head_ns is NEVER_COMES.
    """

    __slots__ = ("_arrivals_ns", "_evicted", "_next", "_order", "head", "head_ns")

    def __init__(self, order: Sequence[int], arrivals_ns: Sequence[int]) -> None:
        """order: numbers of the requests, by arrival. arrivals_ns: when each of these comes."""
        self._order = [*order, -1]
        self._arrivals_ns = [*arrivals_ns, NEVER_COMES]
        self._evicted: list[int] = []
        self._next = 0
        self.head, self.head_ns = self._order[0], self._arrivals_ns[0]

    def pop(self) -> None:
        """Take the head away."""
        if self._evicted:
            self._evicted.pop()
            if self._evicted:
                self.head = self._evicted[-1]
                return
        else:
            self._next += 1
        self.head = self._order[self._next]
        self.head_ns = self._arrivals_ns[self._next]

    def push_front(self, request: int) -> None:
        """Put an evicted request before everybody."""
        self._evicted.append(request)
        self.head, self.head_ns = request, 0

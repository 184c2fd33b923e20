"""Rules of admission behind one interface: what may start now, and if not, how long asking again is pointless.

Steps are absolute decode steps. At a boundary the step before has ended and whoever finished is gone, so every
running request will append at least one more token. `tokens` is what a request holds (its prompt, for a new one,
and after an eviction all that must be computed again) and `left` what the router *believes* it will append.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np

from labkit.router._arguments import Request, RequestError
from labkit.router.calendar import OccupancyCalendar
from labkit.router.lengths import DeclaredLengths, LengthEstimate, SampledLengths, TrueLengths

#: "not before somebody has finished", as an answer of `steps_to_wait`
UNTIL_FINISH = sys.maxsize

CanAdmit = Callable[[list[Request], Request, int], bool]


class AdmissionPolicy(ABC):
    """A rule of admission. One object serves one simulation at a time; `begin` starts it afresh.

    name: shown in tables. lengths: where `left` comes from.
    headroom: share of the pool that the rule leaves free, 0 <= headroom < 1. The pool itself is not smaller, so
        whoever is alone may use all of it.
    """

    name: str

    def __init__(self, lengths: LengthEstimate | None = None, headroom: float = 0.0) -> None:
        if not isinstance(headroom, int | float) or not 0 <= headroom < 1:
            raise RequestError(f"headroom is {headroom!r}; it is a share of the pool: 0 <= headroom < 1.")
        self.lengths = lengths or TrueLengths()
        self.headroom = headroom
        self.limit = 0

    def begin(self, capacity: int) -> None:
        """An empty pool of `capacity` tokens at step 0."""
        self.limit = capacity - int(capacity * self.headroom)

    @abstractmethod
    def try_admit(self, request: int, step: int, held: int, tokens: int, left: int) -> int:
        """0: `request` runs from this step on. n: it does not, and asking again is pointless for n steps.

        held: tokens of everybody running now, those admitted at this boundary included; 0 only when nobody is. The
        answer n > 0 stands unless a length turns out otherwise than believed or somebody is evicted.
        """

    def release(self, request: int, step: int, tokens: int, left: int) -> None:  # noqa: B027
        """`request` is gone: finished (left is 0 when it went as believed) or evicted."""

    def extend(self, request: int, step: int, tokens: int, left: int) -> None:
        """`request` was believed to be done and is not; `left` is the new belief."""
        self.release(request, step, tokens, 0)
        self._hold(step, tokens, left)

    def _hold(self, step: int, tokens: int, left: int) -> None:  # noqa: B027
        """Take note that a request holds `tokens` now and will append `left`."""


class PeakTest(AdmissionPolicy):
    """Start it if the peak of all together stays within the pool: `labkit.router.can_admit` on a calendar.

    With true lengths nobody is ever evicted. A refusal with an excess of e needs e steps (waiting lowers only the
    candidate's ramp) or until the step that is over the limit has passed, whichever comes first.
    """

    name = "peak"

    def begin(self, capacity: int) -> None:
        super().begin(capacity)
        self._calendar = OccupancyCalendar()
        self._may_exceed = self.headroom > 0

    # The state *now* is `held`; the calendar begins after the next decode step, where a request is one token
    # larger and has one less to go. So whoever finishes at this boundary is in neither.

    def try_admit(self, request: int, step: int, held: int, tokens: int, left: int) -> int:
        limit = self.limit
        if not held:
            self._hold(step, tokens, left)  # alone, it may have the headroom too
            return 0
        if held + tokens > limit:
            return UNTIL_FINISH
        if self._may_exceed:
            peak, at = self._calendar.peak_from(step + 1)
            if peak > limit:
                return at - step
        if left:
            peak, at = self._calendar.add_within(limit, step + 1, tokens + 1, left - 1)
            if peak > limit:
                excess, gone = peak - limit, at - step
                return excess if excess < gone else gone
        return 0

    def _hold(self, step: int, tokens: int, left: int) -> None:
        if left:
            self._calendar.add(step + 1, tokens + 1, left - 1)

    def release(self, request: int, step: int, tokens: int, left: int) -> None:
        if left:
            self._calendar.remove(step + 1, tokens + 1, left - 1)

    def extend(self, request: int, step: int, tokens: int, left: int) -> None:
        # A belief that grows can lift the calendar over the limit outside the life of a later candidate.
        self._may_exceed = True
        super().extend(request, step, tokens, left)


class ReserveAll(AdmissionPolicy):
    """Start it if prompt and believed output of everybody fit at once: no look at who leaves when."""

    name = "reserve"

    def begin(self, capacity: int) -> None:
        super().begin(capacity)
        self._reserved = 0

    def try_admit(self, request: int, step: int, held: int, tokens: int, left: int) -> int:
        if held and self._reserved + tokens + left > self.limit:
            return UNTIL_FINISH
        self._reserved += tokens + left
        return 0

    def _hold(self, step: int, tokens: int, left: int) -> None:
        self._reserved += tokens + left

    def release(self, request: int, step: int, tokens: int, left: int) -> None:
        self._reserved -= tokens + left


class FitsNow(AdmissionPolicy):
    """Start it if it fits now, whatever comes: no look ahead, and an eviction when the pool runs full."""

    name = "fits-now"

    def try_admit(self, request: int, step: int, held: int, tokens: int, left: int) -> int:
        return UNTIL_FINISH if held and held + tokens > self.limit else 0


class FunctionPolicy(AdmissionPolicy):
    """Anybody's `can_admit(running, candidate, capacity) -> bool`, asked at every step while somebody waits.

    `running` is a new list of (run, left) in the order of admission. With `retest="finish"` it is asked again
    only when somebody has finished (cheaper, and later than need be). An unsafe function shows in evictions;
    one that refuses even an empty pool has that request refused for good.
    """

    def __init__(self, can_admit: CanAdmit, lengths: LengthEstimate | None = None, retest: str = "step") -> None:
        super().__init__(lengths)
        if not callable(can_admit):
            raise RequestError(f"can_admit is {can_admit!r}; expected a function of (running, candidate, capacity).")
        if retest not in ("step", "finish"):
            raise RequestError(f"retest is {retest!r}; expected 'step' or 'finish'.")
        self.name = getattr(can_admit, "__name__", type(can_admit).__name__)
        self._can_admit = can_admit
        self._refusal = 1 if retest == "step" else UNTIL_FINISH

    def begin(self, capacity: int) -> None:
        super().begin(capacity)
        self._running: dict[int, Request] = {}  # request -> (tokens - step, last step believed): both constant

    def try_admit(self, request: int, step: int, held: int, tokens: int, left: int) -> int:
        running = [(base + step, end - step) for base, end in self._running.values()]
        answer = self._can_admit(running, (tokens, left), self.limit)
        if not isinstance(answer, bool | np.bool_):
            raise RequestError(f"{self.name} answered {answer!r} ({type(answer).__name__}); expected True or False.")
        if not answer:
            return self._refusal
        self._running[request] = (tokens - step, step + left)
        return 0

    def release(self, request: int, step: int, tokens: int, left: int) -> None:
        del self._running[request]

    def extend(self, request: int, step: int, tokens: int, left: int) -> None:
        self._running[request] = (tokens - step, step + left)  # its place in the order stays


def _past_future(lengths: LengthEstimate | None, seed: int) -> AdmissionPolicy:
    # The paper keeps 3 to 10 % of the pool free for draws that were too short.
    policy = PeakTest(lengths or SampledLengths(seed), headroom=0.03)
    policy.name = "past-future"
    return policy


#: name -> (what it does, how it is made from an estimate and a seed); the table of `labkit route --policy`
POLICIES: dict[str, tuple[str, Callable[[LengthEstimate | None, int], AdmissionPolicy]]] = {
    "peak": ("the peak of all together must fit", lambda lengths, seed: PeakTest(lengths)),
    "reserve": ("everybody's whole length must fit at once", lambda lengths, seed: ReserveAll(lengths)),
    "fits-now": ("it must fit now; evicts when full", lambda lengths, seed: FitsNow(lengths)),
    "past-future": ("the peak of lengths drawn from those seen so far must fit", _past_future),
}


def make_policy(
    policy: str | AdmissionPolicy | CanAdmit, *, declared: int | None = None, seed: int = 0
) -> AdmissionPolicy:
    """A policy from its name in POLICIES, from a `can_admit` function, or as it is.

    declared: believe this length of every output, not the true one. seed: of the draws of "past-future".
    """
    if isinstance(policy, AdmissionPolicy):
        if declared is not None:
            raise RequestError("declared belongs to a policy made here; give the policy object its own lengths.")
        return policy
    lengths = None if declared is None else DeclaredLengths(declared)
    if callable(policy):
        return FunctionPolicy(policy, lengths)
    if not isinstance(policy, str) or policy not in POLICIES:
        raise RequestError(
            f"there is no policy {policy!r}; there are {', '.join(POLICIES)}, or pass a can_admit function."
        )
    return POLICIES[policy][1](lengths, seed)

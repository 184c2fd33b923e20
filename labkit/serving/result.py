"""What a simulation leaves behind: four times per request, and the pool over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labkit.serving.cost import LinearCost
from labkit.serving.traces import Trace

Times = NDArray[np.int64]

NEVER = -1  # the time of something that did not happen, in every array of times


@dataclass(frozen=True, eq=False)
class Timeline:
    """What the machine did, in stretches without a change: arrays of shape (num_stretches,), int64.

    num_steps: decode steps of the stretch, 0 for a prefill. num_running: requests in it. num_tokens: held at its first
    step before that step has appended anything (a prefill: with the prompts that it computes). Between two stretches
    the machine is idle.
    """

    start_ns: Times
    end_ns: Times
    num_steps: Times
    num_running: Times
    num_tokens: Times

    @property
    def tokens_at_end(self) -> Times:
        """Tokens held when the stretch ends, before anybody who has finished is freed."""
        return self.num_tokens + self.num_running * self.num_steps


@dataclass(frozen=True, eq=False)
class SimulationResult:
    """Times of every request in ns, shape (num_requests,), NEVER for a refused one; and counts.

    first_token_ns: its first prefill ends. admit_ns: its *last* prefill ends; the same unless it was evicted and
    computed again. finish_ns: its last token.
    num_evictions: how often each was evicted.
    """

    trace: Trace
    capacity: int
    policy: str
    lengths: str
    cost: LinearCost
    admit_ns: Times
    first_token_ns: Times
    finish_ns: Times
    num_evictions: Times
    timeline: Timeline
    max_tokens_used: int
    num_decode_steps: int
    num_recomputed_tokens: int
    num_tests: int

    @property
    def num_requests(self) -> int:
        """Requests in the trace, refused ones included."""
        return self.trace.num_requests

    @property
    def served(self) -> NDArray[np.bool_]:
        """Which requests were served: all but those that could never fit."""
        return self.finish_ns != NEVER

    @property
    def start_ns(self) -> Times:
        """When each request leaves the queue for the first time: its first prefill begins."""
        prefill = self.timeline.num_steps == 0
        starts_ns = np.append(self.timeline.start_ns[prefill], NEVER)
        starts_ns_of = starts_ns[np.searchsorted(self.timeline.end_ns[prefill], self.first_token_ns)]
        return np.where(self.first_token_ns != NEVER, starts_ns_of, NEVER)

    @property
    def num_refused(self) -> int:
        return int((~self.served).sum())

    @property
    def makespan_ns(self) -> int:
        """From the first arrival of the trace to the last token of all; 0 when nothing was served."""
        if not self.served.any():
            return 0
        return int(self.finish_ns.max() - self.trace.arrival_ns[0])

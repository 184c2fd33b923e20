"""The loop of `labkit.serving.replica` for the peak test with true lengths, compiled: an hour in milliseconds.

With true lengths nobody is ever evicted and nobody's belief changes, so a simulation is whole numbers in arrays, and
one loop over them, which Numba compiles; every other policy takes the loop in Python. The results are the same to the
nanosecond (tests/test_peak_loop.py). Compiling takes some seconds once in an installation, loading the compiled loop
about a second once in a process, so it is for long traces and sweeps.

Only `simulate` imports this file, and not before it is needed.

Two rings have one cell for each step to come, the step modulo their length: `occupancy` the tokens that those admitted
so far will hold then, `ending` the last admitted of those who end then, and `next_ending` whoever else does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numba import njit

from labkit.router import AdmissionPolicy
from labkit.router.lengths import TrueLengths
from labkit.router.policies import PeakTest
from labkit.serving.cost import BatchLimits, LinearCost
from labkit.serving.replica import Progress
from labkit.serving.result import NEVER, SimulationResult, Timeline, Times
from labkit.serving.traces import Trace

F = TypeVar("F", bound=Callable[..., Any])

_FAR = 1 << 61  # later than anything: a step, a nanosecond
_NOBODY = -1
_MOST_STEPS_LEFT = 1 << 20  # of one request: the rings are at least as long

_COUNTS = ("max_tokens", "num_steps", "num_tests", "num_stretches")
_STATE = np.dtype(
    [(name, np.int64) for name in ("now", "step", "held", "num_running", "due", "retest", "head", *_COUNTS)]
)


class _Queue(NamedTuple):
    """The requests that fit the pool, by arrival; the last arrival is one that never comes."""

    arrival_ns: Times
    prompt: Times
    left: Times  # steps after the prefill


class _Rings(NamedTuple):
    occupancy: Times
    ending: Times
    next_ending: Times  # by request


class _Machine(NamedTuple):
    capacity: int
    max_running: int
    max_prefill_tokens: int
    decode_base_ns: int
    decode_per_request_ns: int
    decode_per_token_ns: int
    prefill_base_ns: int
    prefill_per_token_ns: int


def serves(policy: AdmissionPolicy, trace: Trace, cost: LinearCost, limits: BatchLimits) -> bool:
    """Whether this policy is the peak test with true lengths, and no number in here can overflow."""
    if type(policy) is not PeakTest or type(policy.lengths) is not TrueLengths or policy.headroom:
        return False
    if not trace.num_requests:
        return True
    num_tokens, num_steps = int((trace.prompt_tokens + trace.output_tokens).sum()), int(trace.output_tokens.sum())
    most_ns = int(trace.arrival_ns[-1]) + trace.num_requests * cost.prefill_ns(num_tokens)
    most_ns += num_steps * cost.decode_ns(limits.max_running, num_tokens)
    return int(trace.output_tokens.max()) <= _MOST_STEPS_LEFT and most_ns < _FAR // 2


def simulate_peak(
    trace: Trace,
    capacity: int,
    policy: AdmissionPolicy,
    cost: LinearCost,
    limits: BatchLimits,
    progress: Progress | None = None,
) -> SimulationResult:
    """As simulate(trace, capacity, policy, …), where `serves` says so: nothing is checked on the way."""
    fits = trace.prompt_tokens + trace.output_tokens - 1 <= capacity
    prompt, left = trace.prompt_tokens[fits], trace.output_tokens[fits] - 1
    ring = 1 << int(left.max(initial=0) + 2).bit_length()
    queue = _Queue(np.append(trace.arrival_ns[fits], _FAR), prompt, left)
    rings = _Rings(np.zeros(ring, np.int64), np.full(ring, _NOBODY), np.full(len(prompt), _NOBODY))
    machine = _Machine(
        *(capacity, limits.max_running, limits.max_prefill_tokens, cost.decode_base_ns, cost.decode_per_request_ns),
        *(cost.decode_per_token_ns, cost.prefill_base_ns, cost.prefill_per_token_ns),
    )
    times, state = np.full((2, len(prompt)), NEVER), np.zeros(1, _STATE)
    state["due"] = _FAR
    stretches = np.empty((64 + 2 * len(prompt), 5), np.int64)
    while not _serve(queue, machine, rings, times, state[0], stretches):
        stretches = np.concatenate([stretches, np.empty_like(stretches)])  # compiling this would take longest of all
    if progress:
        progress(trace.num_requests)  # it is over before a bar is drawn
    admit_ns, finish_ns = np.full((2, trace.num_requests), NEVER)
    admit_ns[fits], finish_ns[fits] = times
    max_tokens, num_steps, num_tests, num_stretches = (int(state[name][0]) for name in _COUNTS)
    return SimulationResult(
        *(trace, capacity, policy.name, policy.lengths.name, cost),
        admit_ns=admit_ns,
        first_token_ns=admit_ns.copy(),
        finish_ns=finish_ns,
        num_evictions=np.zeros(trace.num_requests, np.int64),
        timeline=Timeline(*stretches[:num_stretches].T.copy()),
        max_tokens_used=max_tokens,
        num_decode_steps=num_steps,
        num_recomputed_tokens=0,
        num_tests=num_tests,
    )


def _compiled(function: F) -> F:
    """Compiled at its first call, and kept on disk where one may write: beside this file or in the user's cache."""
    try:
        return cast(F, njit(cache=True)(function))
    except RuntimeError:  # nowhere to keep it: a read-only installation, and no home
        return cast(F, njit(function))


@_compiled
def _serve(queue: _Queue, machine: _Machine, rings: _Rings, times: Times, state: Any, stretches: Times) -> bool:
    """Go on until nobody runs, waits or is to come (True), or until there is no room for stretches (False)."""
    while state.num_stretches + 2 <= len(stretches):
        if queue.arrival_ns[state.head] <= state.now and state.step >= state.retest:
            first = state.head
            round_tokens = _admit(queue, machine, rings, state)
            if state.head > first:
                _prefill(queue, machine, rings, times, state, stretches, first, round_tokens)
        if state.num_running:
            _decode(queue, machine, rings, times, state, stretches)
        elif state.head == len(queue.prompt):
            return True
        else:
            state.now = max(state.now, queue.arrival_ns[state.head])
            state.retest = 0
    return False


@_compiled
def _admit(queue: _Queue, machine: _Machine, rings: _Rings, state: Any) -> int:
    """Test from the head to the first refusal; the prompt tokens of whoever was admitted."""
    first, round_tokens = state.head, 0
    state.retest = 0
    while queue.arrival_ns[state.head] <= state.now:
        tokens, left = queue.prompt[state.head], queue.left[state.head]
        if state.num_running >= machine.max_running or state.held + tokens > machine.capacity:
            state.retest = _FAR
            break
        if state.head > first and round_tokens + tokens > machine.max_prefill_tokens:
            state.retest = state.step + 1
            break
        state.num_tests += 1
        wait = _steps_to_wait(rings.occupancy, machine.capacity, state.step, tokens, left)
        if wait:
            state.retest = state.step + wait
            break
        _occupy(rings.occupancy, state.step, tokens, left)
        state.head += 1
        state.num_running += 1
        state.held += tokens
        round_tokens += tokens
    return round_tokens


@_compiled
def _steps_to_wait(occupancy: Times, capacity: int, step: int, tokens: int, left: int) -> int:
    """0: the peak of all together stays within the capacity. n: asking again is pointless for n steps.

    An excess of e needs e steps, or until the step of the peak has passed, whichever comes first.
    """
    mask = len(occupancy) - 1
    peak = at = 0
    for ahead in range(1, left + 1):
        held = occupancy[step + ahead & mask] + ahead
        if held > peak:
            peak, at = held, ahead
    excess = peak + tokens - capacity
    return min(excess, at) if left and excess > 0 else 0


@_compiled
def _occupy(occupancy: Times, step: int, tokens: int, left: int) -> None:
    mask = len(occupancy) - 1
    for ahead in range(1, left + 1):
        occupancy[step + ahead & mask] += tokens + ahead


@_compiled
def _prefill(
    queue: _Queue,
    machine: _Machine,
    rings: _Rings,
    times: Times,
    state: Any,
    stretches: Times,
    first: int,
    round_tokens: int,
) -> None:
    """Compute the prompts of all admitted, `first` to the head, at once; each has its first token then."""
    took_ns = machine.prefill_base_ns + machine.prefill_per_token_ns * round_tokens
    _pass_time(state, stretches, took_ns, 0)
    mask = len(rings.ending) - 1
    for request in range(first, state.head):
        times[0, request] = state.now
        end = state.step + queue.left[request]
        rings.next_ending[request] = rings.ending[end & mask]
        rings.ending[end & mask] = request
        state.due = min(state.due, end)
    if state.due == state.step:
        _finish(queue, rings, times, state)


@_compiled
def _decode(queue: _Queue, machine: _Machine, rings: _Rings, times: Times, state: Any, stretches: Times) -> None:
    """As many decode steps as pass before somebody finishes, arrives, or is worth testing."""
    steps, gap_ns = state.due - state.step, queue.arrival_ns[state.head] - state.now
    if gap_ns <= 0:
        steps = min(steps, max(state.retest - state.step, 1))
    num, held = state.num_running, state.held
    first_ns = machine.decode_base_ns + machine.decode_per_request_ns * num + machine.decode_per_token_ns * held
    growth_ns = machine.decode_per_token_ns * num
    took_ns = _decode_ns(first_ns, growth_ns, steps)
    if took_ns > gap_ns > 0:
        steps = _steps_to_cover(first_ns, growth_ns, gap_ns)
        took_ns = _decode_ns(first_ns, growth_ns, steps)
    _pass_time(state, stretches, took_ns, steps)
    mask = len(rings.occupancy) - 1
    for passed in range(state.step - steps + 1, state.step + 1):
        rings.occupancy[passed & mask] = 0
    if state.due == state.step:
        _finish(queue, rings, times, state)


@_compiled
def _pass_time(state: Any, stretches: Times, took_ns: int, steps: int) -> None:
    """Note the stretch, and be at its end: everybody running holds one token more for each of its decode steps."""
    stretch = stretches[state.num_stretches]
    stretch[0], stretch[1] = state.now, state.now + took_ns
    stretch[2], stretch[3], stretch[4] = steps, state.num_running, state.held
    state.num_stretches += 1
    state.now += took_ns
    state.step += steps
    state.num_steps += steps
    state.held += state.num_running * steps
    state.max_tokens = max(state.max_tokens, state.held)


@_compiled
def _finish(queue: _Queue, rings: _Rings, times: Times, state: Any) -> None:
    """Free whoever ends at this step, see who is due next, and ask again for whoever waited for that."""
    mask = len(rings.ending) - 1
    request = rings.ending[state.step & mask]
    rings.ending[state.step & mask] = _NOBODY
    while request != _NOBODY:
        times[1, request] = state.now
        state.held -= queue.prompt[request] + queue.left[request]
        state.num_running -= 1
        request = rings.next_ending[request]
    if state.retest == _FAR:
        state.retest = 0
    state.due = _FAR
    if state.num_running:
        state.due = state.step + 1
        while rings.ending[state.due & mask] == _NOBODY:
            state.due += 1


@_compiled
def _decode_ns(first_ns: int, growth_ns: int, steps: int) -> int:
    return steps * first_ns + growth_ns * (steps * (steps - 1) // 2)


@_compiled
def _steps_to_cover(first_ns: int, growth_ns: int, gap_ns: int) -> int:
    """LinearCost.steps_to_cover: a root in floating point, mended to the exact answer."""
    b = 2.0 * first_ns - growth_ns
    # the stable form of (sqrt(b² + 8 growth gap) - b) / 2 growth, in which growth 0 is no special case
    steps = max(1, int(4.0 * gap_ns / (b + np.sqrt(b * b + 8.0 * growth_ns * gap_ns))))
    while _decode_ns(first_ns, growth_ns, steps) < gap_ns:
        steps += 1
    while steps > 1 and _decode_ns(first_ns, growth_ns, steps - 1) >= gap_ns:
        steps -= 1
    return steps

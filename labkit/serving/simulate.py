"""One simulation: the arguments checked, and played by the loop that fits.

`labkit.serving.replica` plays every policy. `labkit.serving.peak_loop` plays the peak test with true lengths, compiled:
the same result, and more than ten requests in the time of one, once it is loaded.
"""

from __future__ import annotations

from labkit.router import AdmissionPolicy, make_policy
from labkit.router._arguments import whole
from labkit.router.policies import CanAdmit, PeakTest
from labkit.serving.cost import BatchLimits, LinearCost
from labkit.serving.replica import Progress, Replica
from labkit.serving.result import SimulationResult
from labkit.serving.traces import Trace, checked_trace, make_trace

MAX_CAPACITY = 10**15  # tokens; far beyond any machine, and sums stay within int64

# Loading the compiled loop takes a process about a second, in which the other one simulates so many requests. It is
# taken for single traces a twentieth as long: whoever simulates one of these does so again, at another capacity.
LOADING_COSTS = 100_000
COMPILED_FROM = LOADING_COSTS // 20


def simulate(
    trace: Trace,
    capacity: int,
    policy: str | AdmissionPolicy | CanAdmit = "peak",
    *,
    cost: LinearCost | None = None,
    limits: BatchLimits | None = None,
    progress: Progress | None = None,
    compiled: bool | None = None,
) -> SimulationResult:
    """Serve `trace` with one replica whose pool holds `capacity` tokens.

    policy: a name in labkit.router.POLICIES, a policy object, or a function can_admit(running, candidate, capacity).
    progress: called now and then with the number of requests that are done.
    compiled: play the peak test with true lengths by the compiled loop; default, from COMPILED_FROM requests on.

    A prompt of p tokens with g output tokens holds p tokens when prefilled and p + g - 1 at its end: the last token
    is sampled and never cached. A request that even alone exceeds the pool is refused at its arrival, and nobody is
    believed to be longer than the pool allows. Raises RequestError for a capacity below 1 and what a policy refuses.

    >>> from labkit.serving import make_trace
    >>> simulate(make_trace([(0, 100, 20)]), capacity=119).max_tokens_used
    119
    """
    trace, capacity = checked_trace(trace), whole(capacity, "capacity", at_least=1, at_most=MAX_CAPACITY)
    policy, cost, limits = make_policy(policy), cost or LinearCost(), limits or BatchLimits()
    if compiled is None:
        compiled = trace.num_requests >= COMPILED_FROM
    if compiled and isinstance(policy, PeakTest):
        from labkit.serving import peak_loop  # brings a compiler along, which short traces need not wait for

        if peak_loop.serves(policy, trace, cost, limits):
            return peak_loop.simulate_peak(trace, capacity, policy, cost, limits, progress)
    replica = Replica(trace, capacity, policy, cost, limits, progress)
    replica.run()
    return replica.result()


def load_compiled() -> None:
    """Have the compiled loop ready, so that what is timed or forked later need not wait for it.

    It takes about a second, and some seconds the first time in an installation, when it is compiled.
    """
    simulate(make_trace([(0, 1, 1)]), 1, compiled=True)

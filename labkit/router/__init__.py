"""Who may start: a router that knows how the memory of all running requests will grow.

A request is `(run, left)`: it holds `run` tokens now, appends one a step `left` times, and is freed after that.

    peak_tokens([(5, 4), (4, 3), (5, 3), (3, 2), (4, 2)])     # 31, the most tokens ever held at once
    can_admit([(5, 4), (4, 3)], (5, 3), capacity=26)          # True: together they never need more than 26
    admit_from(running, waiting, capacity)                    # how many from the head of the queue
    first_admissible_step(running, candidate, capacity)       # when, or None if never

`WhatIf` and `OccupancyCalendar` answer the same question without sorting again, `policies` are rules of
admission behind one interface, `lengths` what a rule believes about outputs that nobody knows yet, and
`smallest_counterexample` shows where any other function goes wrong.
"""

from labkit.router._arguments import Request, RequestError
from labkit.router.calendar import OccupancyCalendar
from labkit.router.counterexample import Counterexample, smallest_counterexample
from labkit.router.lengths import DeclaredLengths, LengthEstimate, SampledLengths, TrueLengths
from labkit.router.peak import (
    admit_from,
    can_admit,
    first_admissible_step,
    order_bound,
    peak_tokens,
    tokens_at,
)
from labkit.router.policies import (
    POLICIES,
    UNTIL_FINISH,
    AdmissionPolicy,
    FitsNow,
    FunctionPolicy,
    PeakTest,
    ReserveAll,
    make_policy,
)
from labkit.router.what_if import WhatIf

__all__ = [
    "POLICIES",
    "UNTIL_FINISH",
    "AdmissionPolicy",
    "Counterexample",
    "DeclaredLengths",
    "FitsNow",
    "FunctionPolicy",
    "LengthEstimate",
    "OccupancyCalendar",
    "PeakTest",
    "Request",
    "RequestError",
    "ReserveAll",
    "SampledLengths",
    "TrueLengths",
    "WhatIf",
    "admit_from",
    "can_admit",
    "first_admissible_step",
    "make_policy",
    "order_bound",
    "peak_tokens",
    "smallest_counterexample",
    "tokens_at",
]

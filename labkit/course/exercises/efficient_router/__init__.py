"""Lab 06: a router that admits a request only if the pool never overflows, and never refuses one that fits."""

from labkit.course.exercises.efficient_router.admit_from import admit_from
from labkit.course.exercises.efficient_router.can_admit import can_admit
from labkit.course.exercises.efficient_router.first_admissible_step import first_admissible_step
from labkit.course.exercises.efficient_router.peak_tokens import peak_tokens
from labkit.course.lab_spec import LabSpec

LAB = LabSpec(
    name="06_efficient_router",
    title="Efficient Router",
    minutes=100,
    summary="decide who may start: the exact peak of a token pool, tested against an hour of simulated traffic",
    needs="Python lists and sorting; that a running request holds one more token after each step",
    hardware="any laptop",
    exercises=(peak_tokens, can_admit, admit_from, first_admissible_step),
    version=2,
)

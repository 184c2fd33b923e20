"""What a lab is: exercises and their checks, what a notebook talks to, building, rules."""

from labkit.course.compare import Difference, compare_arrays, compare_count, compare_exactly, compare_number
from labkit.course.exercise import Case, Exercise, Finding, Verdict
from labkit.course.exercises import all_labs, exercise, lab_spec
from labkit.course.lab_spec import LabSpec

__all__ = [
    "Case",
    "Difference",
    "Exercise",
    "Finding",
    "LabSpec",
    "Verdict",
    "all_labs",
    "compare_arrays",
    "compare_count",
    "compare_exactly",
    "compare_number",
    "exercise",
    "lab_spec",
]

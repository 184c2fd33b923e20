"""Exercises whose candidates take options by keyword: the last argument of a case is the dict of them."""

from typing import Any

from labkit.course.exercise import Candidate, Case


def call_with_options(candidate: Candidate, case: Case) -> Any:
    """The probe: everything but the last argument by position, and the last one's entries by name."""
    *positional, options = case.args
    return candidate(*positional, **options)

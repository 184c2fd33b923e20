"""The reference check: a right answer goes green and a wrong one is told its name, before a learner writes anything."""

import statistics
from importlib import metadata

from labkit.course.exercises import exercise
from labkit.course.paths import ROOT
from labkit.doctor.traps import Finding

LAB, EXERCISE = "00_start_here", "median"


def reference_check(python: str) -> Finding | None:
    """Runs the check of lab 00 on the standard library's median and on a mean; None when both are told rightly."""
    try:
        median = exercise(LAB, EXERCISE)
        right = median.judge(statistics.median, seed=0)
        wrong = median.judge(statistics.fmean, seed=0)
    except Exception as error:  # whatever it is, it is what the doctor is asked about
        return _finding(f"the check of {LAB} could not run: {type(error).__name__}: {error}", python)
    if not right.passed:
        return _finding(f"a right answer was rejected: {right}", python)
    if wrong.passed or wrong.findings[0].misconception != "mean":
        return _finding(f"a wrong answer was not recognised: {wrong}", python)
    return None


def _finding(found: str, python: str) -> Finding:
    return Finding(
        "reference check",
        "broken",
        found,
        "no check of any lab can be trusted here",
        # The runtime that is there: with the other one there would be two.
        f"cd {ROOT} && {python} -m pip install -c constraints.txt --force-reinstall"
        f" -e '.[{'gpu' if is_installed('onnxruntime-gpu') else 'cpu'}]'",
    )


def is_installed(name: str) -> bool:
    """Whether a distribution of this name is there."""
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False

"""The known traps of an installation: what is looked at, what each trap is, and the command that mends it."""

from labkit.doctor.facts import Facts, gather
from labkit.doctor.reference import reference_check
from labkit.doctor.report import Report, examine
from labkit.doctor.traps import TRAPS, Finding

__all__ = ["TRAPS", "Facts", "Finding", "Report", "examine", "gather", "reference_check"]

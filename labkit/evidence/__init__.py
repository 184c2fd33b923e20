"""What was seen on which hardware: small JSON files in `evidence/`, written by `make gpu`, shown to who has no GPU."""

from labkit.evidence.parts import PARTS, Part
from labkit.evidence.record import Evidence, PartResult, Target, newest
from labkit.evidence.shown import lab_status, recorded

__all__ = ["PARTS", "Evidence", "Part", "PartResult", "Target", "lab_status", "newest", "recorded"]

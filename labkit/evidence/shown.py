"""What a reader without a GPU is shown: the newest recorded figures, labelled as recorded, or that there are none."""

from pathlib import Path

from labkit.evidence.parts import PARTS, parts_of
from labkit.evidence.record import FOLDER, Evidence, newest

NOT_YET = "not yet seen on a GPU"


def recorded(part: str, folder: Path = FOLDER) -> str:
    """One sentence for a cell that is skipped here. Raises KeyError for a part that there is not."""
    spec = PARTS[part]
    evidence = newest(part, folder)
    if evidence is None:
        return f"Recorded so far: nothing; {spec.title}: {NOT_YET}. `make gpu` on a machine with one records it."
    figures = evidence.parts[part].figures
    return f"Recorded, not measured here ({_where(evidence)}): {spec.sentence(figures)}."


def lab_status(lab: str, folder: Path = FOLDER) -> str | None:
    """For the table of labs: on which device the lab's GPU parts were seen, and when; None for a lab without any."""
    parts = parts_of(lab)
    if not parts:
        return None
    seen = [newest(part.name, folder) for part in parts]
    if not all(seen):
        return NOT_YET
    oldest = min((each for each in seen if each), key=lambda each: each.date)
    return f"seen on {oldest.device}, {oldest.date[:10]}"


def _where(evidence: Evidence) -> str:
    return f"{evidence.device}, {evidence.date[:10]}, driver {evidence.driver}, commit {evidence.commit[:9]}"

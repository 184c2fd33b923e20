"""Where the labs lie: beside the package, in a clone of the repository."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def source_path(lab: str) -> Path:
    """The one source of a lab, in percent format."""
    return ROOT / "solutions" / f"{lab}.py"


def solution_path(lab: str) -> Path:
    """The source, executed, outputs kept."""
    return ROOT / "solutions" / f"{lab}.ipynb"


def starter_path(lab: str) -> Path:
    """The released lab: no answers, no outputs."""
    return ROOT / "labs" / f"{lab}.ipynb"

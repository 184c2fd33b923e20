"""labkit: hands-on labs about making models small and fast."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from labkit.course.lab import course_progress as course_progress
    from labkit.course.lab import open_lab as open_lab

__all__ = ["__version__", "course_progress", "open_lab"]


def __getattr__(name: str) -> Any:
    # Imported on first use: `import labkit` stays light (no NumPy, no torch).
    if name in ("course_progress", "open_lab"):
        return getattr(import_module("labkit.course.lab"), name)
    raise AttributeError(f"module 'labkit' has no attribute {name!r}")

"""Where a part runs: on the GPU, or rehearsed on the CPU, small and interpreted, to see that it would run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Place:
    """`device` is torch's name for it. A rehearsal takes the smallest sizes that exercise the same lines."""

    device: str  # "cuda" or "cpu"

    @property
    def is_rehearsal(self) -> bool:
        return self.device == "cpu"

    def pick(self, on_gpu: Any, rehearsed: Any) -> Any:
        """The size for here."""
        return rehearsed if self.is_rehearsal else on_gpu

    @property
    def synchronize(self) -> Callable[[], None] | None:
        """What a timing has to wait for."""
        if self.is_rehearsal:
            return None
        import torch

        return torch.cuda.synchronize

    @property
    def timing(self) -> dict[str, Any]:
        """Arguments of labkit.measure.compare: on a GPU many launches a sample, so that the queue never runs empty."""
        if self.is_rehearsal:
            return {"repeats": 1, "warmup": 0, "min_sample_ms": 0.0}
        return {"repeats": 15, "warmup": 3, "min_sample_ms": 20.0, "synchronize": self.synchronize}


def device_name() -> str:
    """torch's name of its first CUDA device."""
    import torch

    return torch.cuda.get_device_name(0)


def driver_version() -> str:
    """The driver's version, as nvidia-smi says it; "unknown" where that is not to be had."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return lines[0] if lines else "unknown"


def commit() -> str:
    """The commit of this clone, with + when files differ from it; an image says its own in LABKIT_COMMIT."""
    root = Path(__file__).resolve().parents[2]

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=20
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return os.environ.get("LABKIT_COMMIT") or "unknown"

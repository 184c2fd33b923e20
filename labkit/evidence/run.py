"""Running the parts, each in a process of its own, and putting what came into one record."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from labkit import hardware
from labkit.evidence.parts import PARTS, Part
from labkit.evidence.place import commit, device_name, driver_version
from labkit.evidence.record import Evidence, PartResult


def run_part(part: Part, device: str) -> PartResult:
    """What the part gave; a process that died or hung is a result with an error."""
    with tempfile.TemporaryDirectory(prefix="labkit-") as folder:
        answer = Path(folder) / "answer.json"
        command = [sys.executable, "-m", "labkit.evidence.part", part.name, device, str(answer)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=part.limit_s)
        except subprocess.TimeoutExpired:
            return PartResult(seconds=part.limit_s, error=f"did not end within {part.limit_s:g} s")
        if not answer.exists():
            last = " ".join(done.stderr.strip().splitlines()[-3:])
            return PartResult(error=f"ended with exit code {done.returncode} and no answer: {last}")
        return PartResult.from_plain(json.loads(answer.read_text(encoding="utf-8")))


def run_parts(
    device: str, names: Iterable[str] = tuple(PARTS), say: Callable[[str], None] = print
) -> dict[str, PartResult]:
    """The parts one after the other, since each wants the device to itself; `say` is told how it goes."""
    results = {}
    for name in names:
        part = PARTS[name]
        say(f"{name}: {part.title} …")
        results[name] = result = run_part(part, device)
        say(f"  {_told(part, result, device)} ({result.seconds:.0f} s)")
    return results


def gather_evidence(results: dict[str, PartResult]) -> Evidence:
    """The results of this machine's GPU, with everything that a figure depends on."""
    now = datetime.now(UTC).replace(microsecond=0).isoformat()
    versions = hardware.installed_versions()
    return Evidence(device_name(), driver_version(), versions, commit(), now, results)


def _told(part: Part, result: PartResult, device: str) -> str:
    if result.error:
        return f"✗ {result.error}"
    missed = [f"{each.figure} {each.came:.2f}, wanted {each.at_least:.2f}" for each in result.targets if not each.met]
    if device == "cpu":
        return f"✓ rehearsed on the CPU: it runs, and its {len(result.figures)} figures mean nothing"
    return f"{'✗' if missed else '✓'} {part.sentence(result.figures)}" + "".join(f"; {each}" for each in missed)

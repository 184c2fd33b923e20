"""The doctor's report, for people and as data."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from labkit.doctor.facts import Facts
from labkit.doctor.reference import reference_check
from labkit.doctor.traps import TRAPS, Finding


@dataclass(frozen=True)
class Report:
    """What was found on these facts; `num_looked_at` guards against a report that looked at nothing."""

    facts: Facts
    findings: tuple[Finding, ...]
    num_looked_at: int

    @property
    def healthy(self) -> bool:
        """Whether everything that a learner meets works; advice does not count."""
        return all(finding.severity != "broken" for finding in self.findings)

    def as_data(self) -> dict[str, Any]:
        """What `labkit doctor --json` prints."""
        facts = self.facts
        return {
            "healthy": self.healthy,
            "num_looked_at": self.num_looked_at,
            "looked_at": ["reference_check", *(trap.__name__ for trap in TRAPS)],
            "python": facts.python,
            "python_version": facts.python_version,
            "labkit": facts.package_folder,
            "driver_cuda": facts.driver_cuda,
            "torch_cuda": facts.torch_cuda,
            "findings": [asdict(finding) for finding in self.findings],
        }

    def __str__(self) -> str:
        facts = self.facts
        gpu = f"driver for CUDA {facts.driver_cuda[0]}.{facts.driver_cuda[1]}" if facts.driver_cuda else "no GPU driver"
        lines = [f"Python {facts.python_version} at {facts.python}", f"labkit in {facts.package_folder}", gpu]
        for finding in self.findings:
            mark = "✗" if finding.severity == "broken" else "–"
            lines += ["", f"{mark} {finding.name}: {finding.found}.", f"  So: {finding.consequence}."]
            lines += [f"  Mend: {finding.mend}"]
        rest = self.num_looked_at - len(self.findings)
        return "\n".join([*lines, "", f"✓ {rest} of {self.num_looked_at} things looked at are as they should be."])


def examine(facts: Facts, reference: Callable[[str], Finding | None] = reference_check) -> Report:
    """The reference check first, then every known trap."""
    looked_at = [reference(facts.python), *(trap(facts) for trap in TRAPS)]
    return Report(facts, tuple(each for each in looked_at if each), len(looked_at))

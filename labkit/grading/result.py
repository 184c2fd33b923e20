"""What came of one submission, and which key it is kept under."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from labkit import __version__
from labkit.course.lab_spec import LabSpec
from labkit.grading.marking import Mark, lab_version, not_marked, versions
from labkit.grading.submission import open_regular

ATTEMPTS = 3  # at what is the grader's own fault


@dataclass(frozen=True)
class Result:
    """A score with its reasons, and how to get it again. Two runs on the same key differ in `run` alone."""

    submission: str
    lab: str
    score: int
    max_score: int
    outcome: str
    marks: tuple[Mark, ...]
    notes: tuple[str, ...]  # for the instructor: cells that were there twice, what a person should look at
    provenance: dict[str, Any]
    answers: dict[str, str] = field(default_factory=dict)  # exercise -> the source that was graded
    run: dict[str, Any] = field(default_factory=dict)  # isolation, seconds, attempts: how, not what

    @property
    def is_graded(self) -> bool:
        """False where the grader could not do its part: no score stands then, not even 0."""
        return self.outcome != "infrastructure"

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "marks": [each.as_data() for each in self.marks]}

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> "Result":
        """From JSON; raises KeyError or TypeError for anything else."""
        marks = tuple(Mark(**each) for each in data["marks"])
        return cls(**{**data, "marks": marks, "notes": tuple(data["notes"])})

    def named(self, submission: str) -> "Result":
        """The same result for another name: two people may hand in the same file."""
        if submission == self.submission:
            return self
        replay = f"labkit grade {submission}.ipynb --lab {self.lab} --seed {self.provenance['seed']}"
        return replace(self, submission=submission, provenance={**self.provenance, "replay": replay})


def overall(marks: Sequence[Mark]) -> str:
    """The outcome of a submission from those of its exercises."""
    outcomes = [each.outcome for each in marks]
    if "infrastructure" in outcomes:
        return "infrastructure"
    if all(outcome == "pass" for outcome in outcomes):
        return "pass"
    if "pass" in outcomes:
        return "partial"
    return Counter(outcomes).most_common(1)[0][0]


def infrastructure(name: str, spec: LabSpec, key: "Key", why: str) -> Result:
    """A result that is still owed."""
    marks = tuple(not_marked(each, why) for each in spec.exercises)
    return Result(name, spec.name, 0, spec.points, "infrastructure", marks, (why,), key.provenance(name))


@dataclass(frozen=True)
class Key:
    """What decides a result: the same key gives the same result, on any machine, any number of times."""

    source_sha256: str
    lab: str
    lab_version: str
    tier: str
    seed: int
    labkit: str = __version__

    @property
    def name(self) -> str:
        """The key as a file's name."""
        return sha256(json.dumps(vars(self), sort_keys=True).encode()).hexdigest()[:40]

    def provenance(self, submission: str) -> dict[str, Any]:
        """What was graded, with what, and the command that does it again."""
        return {
            **vars(self),
            "versions": versions(),
            "replay": f"labkit grade {submission}.ipynb --lab {self.lab} --seed {self.seed}",
        }


def key_of(path: Path, spec: LabSpec, seed: int) -> Key:
    """The key of a file as it is now. Raises OSError where it cannot be read, or is a link, a pipe or a folder."""
    return Key(_sha256(path), spec.name, lab_version(spec), "cpu", seed)


def _sha256(path: Path) -> str:
    digest = sha256()
    with open_regular(path) as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()

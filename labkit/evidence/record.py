"""One run on one device, as a small JSON file; and the newest of them."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "evidence"
FORMAT = 1


@dataclass(frozen=True)
class Target:
    """A figure that was to reach a value, and whether it did."""

    figure: str
    at_least: float
    came: float

    @property
    def met(self) -> bool:
        return self.came >= self.at_least


@dataclass(frozen=True)
class PartResult:
    """What one part gave: figures by a name that ends in the unit, or the reason why there are none."""

    figures: Mapping[str, float | str] = field(default_factory=dict)
    targets: tuple[Target, ...] = ()
    seconds: float = 0.0
    error: str | None = None

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "PartResult":
        """Back from JSON."""
        targets = tuple(Target(each["figure"], each["at_least"], each["came"]) for each in plain["targets"])
        return cls(plain["figures"], targets, plain["seconds"], plain["error"])

    def as_data(self) -> dict[str, Any]:
        """For JSON; whether a target was met is written out for who reads the file."""
        targets = [{**asdict(target), "met": target.met} for target in self.targets]
        return {"figures": dict(self.figures), "targets": targets, "seconds": self.seconds, "error": self.error}


@dataclass(frozen=True)
class Evidence:
    """One run: where, with what, when, of which commit, and what came."""

    device: str
    driver: str
    versions: Mapping[str, str | None]
    commit: str
    date: str  # ISO 8601, UTC
    parts: Mapping[str, PartResult]

    def write(self, folder: Path = FOLDER) -> Path:
        """Writes `gpu-<date>-<device>.json`; a file that is there is never written over."""
        folder.mkdir(parents=True, exist_ok=True)
        device = re.sub(r"[^a-z0-9]+", "-", self.device.lower()).strip("-")
        path = folder / f"gpu-{self.date.replace(':', '').replace('+0000', 'Z')}-{device}.json"
        parts = {name: result.as_data() for name, result in self.parts.items()}
        data = {"format": FORMAT, **asdict(self), "versions": dict(self.versions), "parts": parts}
        with path.open("x", encoding="utf-8") as file:
            file.write(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
        return path

    @classmethod
    def read(cls, path: Path) -> "Evidence":
        """Raises ValueError, with the file's name, for a file that is not evidence."""
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
            if plain.pop("format") != FORMAT:
                raise ValueError(f"expected format {FORMAT}")
            parts = {name: PartResult.from_plain(result) for name, result in plain.pop("parts").items()}
            return cls(**plain, parts=parts)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path.name} is not evidence as labkit writes it: {error}") from error


def all_evidence(folder: Path = FOLDER) -> list[Evidence]:
    """Everything recorded on a GPU, oldest first."""
    return sorted(map(Evidence.read, folder.glob("gpu-*.json")), key=lambda each: each.date)


def newest(part: str, folder: Path = FOLDER) -> Evidence | None:
    """The newest evidence in which this part gave figures; None where it never did."""
    with_figures = (each for each in all_evidence(folder) if part in each.parts and not each.parts[part].error)
    return max(with_figures, key=lambda each: each.date, default=None)

"""What a learner has solved, kept in a small file beside the labs, so that a kernel's restart loses nothing."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

FOLDER = ".labkit"


@dataclass
class Record:
    """One exercise, as this learner has met it."""

    num_tries: int = 0
    num_hints: int = 0
    passed: bool = False


class Progress:
    """The records of one lab, read and written at once; a folder that cannot be written is not an error."""

    def __init__(self, lab: str, folder: Path | None = None) -> None:
        self.path = (folder or Path.cwd()) / FOLDER / f"{lab}.json"

    def record(self, exercise: str) -> Record:
        """What is known of one exercise; a fresh record where nothing is."""
        return self._read().get(exercise, Record())

    def tried(self, exercise: str, passed: bool) -> None:
        """Count a try. What was solved once stays solved."""
        record = self.record(exercise)
        record.num_tries += 1
        record.passed = record.passed or passed
        self._write(exercise, record)

    def next_hint(self, exercise: str, num_hints: int) -> int:
        """The index of the hint to show now; the last one is shown again and again."""
        record = self.record(exercise)
        index = min(record.num_hints, num_hints - 1)
        record.num_hints = index + 1
        self._write(exercise, record)
        return index

    def _read(self) -> dict[str, Record]:
        try:
            stored = json.loads(self.path.read_text(encoding="utf-8"))
            return {name: Record(**fields) for name, fields in stored.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}  # absent, damaged or from another version: progress is a comfort, never an error

    def _write(self, exercise: str, record: Record) -> None:
        records = self._read() | {exercise: record}
        text = json.dumps({name: asdict(each) for name, each in records.items()}, indent=1)
        temporary = self.path.with_suffix(f".{os.getpid()}.tmp")
        try:
            self.path.parent.mkdir(exist_ok=True)
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self.path)
        except OSError:
            temporary.unlink(missing_ok=True)

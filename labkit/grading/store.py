"""Where a class's results lie: one file per key, written whole or not at all; everything else is derived.

    OUT/class.json           what is graded: lab, seed, limits, and the key of every submission
    OUT/results/KEY.json     one result each, written as it comes
    OUT/gradebook.csv, OUT/report.html, OUT/feedback/…   made from those, again at any time

A run that is killed at any moment leaves some of the results and no half of one; `--resume` does the rest.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from labkit.grading.result import Result

FORMAT = 1
SPARE_BYTES = 50 * 2**20  # must be free before a run begins
BYTES_EACH = 100_000  # of one submission's result and pages, roughly


class StoreError(RuntimeError):
    """The folder cannot hold results, or holds something else; the message says what to do."""


@dataclass
class ClassRun:
    """What one grading run is about; the same for everybody in the class."""

    lab: str
    lab_version: str
    seed: int
    labkit: str
    folder: str  # where the submissions came from
    wall_s: float
    keys: dict[str, str] = field(default_factory=dict)  # submission -> key
    paths: dict[str, str] = field(default_factory=dict)  # submission -> path below the folder
    notes: dict[str, str] = field(default_factory=dict)  # submission -> how it was handed in, where that was unusual
    passed_over: list[str] = field(default_factory=list)  # what lay beside the submissions and was not graded

    def result_of(self, name: str, result: Result) -> Result:
        """A result as this submission's: two people may hand in the same file, each in their own way."""
        named, note = result.named(name), self.notes.get(name)
        return replace(named, notes=(*named.notes, note)) if note else named


class Store:
    """A folder of results."""

    def __init__(self, out: Path) -> None:
        self.out = out

    @property
    def manifest_path(self) -> Path:
        """What was graded."""
        return self.out / "class.json"

    def prepare(self, num_submissions: int) -> None:
        """Try to write before anything is graded.

        Raises:
            StoreError: not writable, or too little space for this many results.
        """
        try:
            (self.out / "results").mkdir(parents=True, exist_ok=True)
            write_atomically(self.out / "results" / ".trial", "x" * 2**16)
            (self.out / "results" / ".trial").unlink()
            free = shutil.disk_usage(self.out).free
        except OSError as error:
            raise self._cannot_write(error) from error
        needed = SPARE_BYTES + num_submissions * BYTES_EACH
        if free < needed:
            raise StoreError(
                f"{self.out} has {free / 1e6:,.0f} MB free, and {num_submissions} results need about"
                f" {needed / 1e6:,.0f} MB: make room, or choose another --out"
            )

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else grades into this folder meanwhile; a lock ends with its process, however that ends.

        Raises:
            StoreError: somebody does, or the folder cannot be written to.
        """
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.out / ".lock", timeout=0)
            lock.acquire()
        except Timeout as error:
            raise StoreError(f"another run is grading into {self.out}: wait for it, or choose another --out") from error
        except OSError as error:
            raise self._cannot_write(error) from error
        try:
            yield
        finally:
            lock.release()

    def _cannot_write(self, error: OSError) -> StoreError:
        return StoreError(f"{self.out} cannot be written to ({error.strerror or error}): choose another --out")

    # --- what is graded -----------------------------------------------------------------------------------

    def begin(self, run: ClassRun) -> None:
        """Write down what is graded, before the first result."""
        write_atomically(self.manifest_path, _json({"format": FORMAT, **vars(run)}))

    def run(self) -> ClassRun:
        """What was graded here.

        Raises:
            StoreError: no grading run was begun in this folder.
        """
        try:
            data = json.loads(self.manifest_path.read_text(encoding="utf-8"))
            if data.pop("format") != FORMAT:
                raise StoreError(f"{self.manifest_path} is of another labkit's format: grade into a new folder")
            return ClassRun(**data)
        except FileNotFoundError as error:
            raise StoreError(
                f"no grading run in {self.out}: expected class.json there. Is it the --out folder?"
            ) from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"{self.manifest_path} cannot be read ({type(error).__name__}): grade afresh") from error

    # --- results ------------------------------------------------------------------------------------------

    def put(self, key: str, result: Result) -> None:
        """Keep one result; there afterwards, whatever happens next. One that is owed never replaces one that stands."""
        if not result.is_graded:
            old = self.get(key)
            if old is not None and old.is_graded:
                return
        write_atomically(self.out / "results" / f"{key}.json", _json(result.as_data()))

    def get(self, key: str) -> Result | None:
        """The result of a key; None where there is none yet, or one that cannot be read."""
        try:
            data: dict[str, Any] = json.loads((self.out / "results" / f"{key}.json").read_text(encoding="utf-8"))
            return Result.from_data(data)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def results(self, run: ClassRun) -> list[Result]:
        """One result for every submission that has one, in the order of their names."""
        found = ((name, self.get(key)) for name, key in sorted(run.keys.items()))
        return [run.result_of(name, result) for name, result in found if result is not None]

    def num_results(self) -> int:
        """How many results lie here, of whatever run."""
        return sum(1 for _ in (self.out / "results").glob("*.json"))


def write_atomically(path: Path, text: str, durable: bool = True) -> None:
    """All of the text or none of it, also when the machine stops in between.

    `durable=False` does not wait for the disk: for what can be made again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", errors="replace", newline="") as file:
            file.write(text)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if durable:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not every file system lets a folder be opened
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _json(data: dict[str, Any]) -> str:
    return json.dumps(data, indent=1, ensure_ascii=False, sort_keys=True) + "\n"

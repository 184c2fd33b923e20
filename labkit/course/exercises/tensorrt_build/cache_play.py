"""Playing a script on a learner's PlanCache: builds are counted, files are damaged between the calls, writes watched.

A script is a list of operations:

    ("get", name)                ask for a plan; name stands for a model, a profile and options in REQUESTS
    ("new",)                     another process: a new cache over the same folder
    ("damage", name, how)        do something to the files that hold this plan; how is one of DAMAGES
    ("swap", a, b)               put the files of plan a under the names of those of plan b
    ("broken", name)             ask for a plan whose build fails
"""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256, shake_256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from labkit.course.exercise import Case

# name -> what is asked for; the requests differ in one thing each
REQUESTS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "a": ("net.onnx", {"x": ((1, 8), (4, 8), (16, 8))}, {}),
    "b": ("net.onnx", {"x": ((1, 8), (8, 8), (16, 8))}, {}),
    "c": ("net.onnx", {"x": ((1, 8), (4, 8), (16, 8))}, {"precision": "fp16"}),
    "d": ("other.onnx", {"x": ((1, 8), (4, 8), (16, 8))}, {"precision": "fp16"}),
}
NUM_BYTES = 3000  # of a stand-in plan


class BuildFailed(Exception):
    """What the stand-in builder raises."""


def stand_in_key(onnx_path: Any, profile: Any, **options: Any) -> str:
    """A right key for requests that are plain data: another one for every other request."""
    return sha256(repr((str(onnx_path), profile, sorted(options.items()))).encode()).hexdigest()


def stand_in_plan(onnx_path: Any, profile: Any, **options: Any) -> bytes:
    """Bytes that look random, the same ones for the same request."""
    return shake_256(stand_in_key(onnx_path, profile, **options).encode()).digest(NUM_BYTES)


def probe(candidate: Callable[..., Any], case: Case) -> list[dict[str, Any]]:
    """One observation after each operation of the script."""
    with TemporaryDirectory() as top:
        return _Play(candidate, Path(top)).of(case.args[0])


class _Play:
    def __init__(self, candidate: Callable[..., Any], folder: Path) -> None:
        self.candidate = candidate
        self.folder = folder
        self.num_builds = 0
        self.fails = False
        self.files: dict[str, tuple[Path, ...]] = {}  # plan -> the files that came with it
        self.cache: Any = None
        self._new()

    def of(self, script: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
        return [getattr(self, f"_{operation}")(*names) for operation, *names in script]

    # --- operations

    def _get(self, name: str) -> dict[str, Any]:
        path, profile, options = REQUESTS[name]
        builds, before = self.num_builds, self._present()
        answer, error = None, ""
        with watching(self.folder) as writes:
            try:
                answer = self.cache.get_or_build(path, profile, **options)
            except NotImplementedError:
                raise
            except Exception as caught:
                error = type(caught).__name__
        new = tuple(sorted(self._present() - before))
        kept = (file for file in self.files.get(name, ()) if file.exists())
        self.files[name] = (*kept, *new)
        plan = stand_in_plan(path, profile, **options)
        return {
            "builds": self.num_builds - builds,
            "answer": "the plan" if answer == plan else self._described(answer),
            "error": error,
            "in_place": any(writes.in_place(file) for file in self._present()),
            "from_elsewhere": bool(writes.from_elsewhere),
            "unsynced": bool(writes.unsynced),
        }

    def _new(self) -> None:
        self.cache = self.candidate(str(self.folder), self._build, stand_in_key)

    def _damage(self, name: str, how: str) -> None:
        for file in self.files.get(name, ()):
            if file.exists():
                file.write_bytes(DAMAGES[how](file.read_bytes()))

    def _swap(self, name: str, other: str) -> None:
        pairs = zip(self.files.get(name, ()), self.files.get(other, ()), strict=False)
        contents = [(target, source.read_bytes()) for source, target in pairs]
        for target, content in contents:
            target.write_bytes(content)

    def _broken(self, name: str) -> dict[str, Any]:
        before = self._present()
        self.fails = True
        try:
            seen = self._get(name)
        finally:
            self.fails = False
        self.files.pop(name, None)
        return {**seen, "left": len(self._present() - before)}

    # --- inside

    def _build(self, onnx_path: Any, profile: Any, **options: Any) -> bytes:
        self.num_builds += 1
        if self.fails:
            raise BuildFailed("No plan: a stand-in for the builder's reasons")
        return stand_in_plan(onnx_path, profile, **options)

    def _described(self, answer: Any) -> str:
        if not isinstance(answer, bytes):
            return "nothing" if answer is None else f"a {type(answer).__name__}"
        known = {stand_in_plan(path, profile, **options): name for name, (path, profile, options) in REQUESTS.items()}
        return f"the plan of {known[answer]!r}" if answer in known else "other bytes"

    def _present(self) -> set[Path]:
        files = (Path(folder) / name for folder, _, names in os.walk(self.folder) for name in names)
        return {file for file in files if file.suffix != ".lock"}


def _flipped(content: bytes, at: int) -> bytes:
    if not content:
        return content
    spoiled = bytearray(content)
    spoiled[at] ^= 0x40
    return bytes(spoiled)


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _emptied(content: bytes) -> bytes:
    return b""


def _turn_middle(content: bytes) -> bytes:
    return _flipped(content, len(content) // 2)


def _turn_last(content: bytes) -> bytes:
    return _flipped(content, -1)


def _foreign(content: bytes) -> bytes:
    return b"<html>404 Not Found</html>\n"


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut off": _cut,
    "emptied": _emptied,
    "one bit in the middle": _turn_middle,
    "one bit at the end": _turn_last,
    "a web page instead": _foreign,
}


# --- watching writes ----------------------------------------------------------------------------------------


@dataclass
class Writes:
    """What happened to files below a folder during one call."""

    folder: Path
    opened: set[Path] = field(default_factory=set)  # for writing, under this name, and not renamed over since
    unsynced: set[Path] = field(default_factory=set)  # renamed into place before any os.fsync
    from_elsewhere: set[Path] = field(default_factory=set)  # moved in from another folder, perhaps another disk
    num_synced: int = 0

    def in_place(self, file: Path) -> bool:
        """Whether a file was written under the name that it now has."""
        return file.resolve() in self.opened

    def __enter__(self) -> "Writes":
        _watch_from_now_on()
        self._sync = mock.patch.object(os, "fsync", self._sync_seen)
        self._sync.start()
        _WATCHED.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        _WATCHED.remove(self)
        self._sync.stop()

    def on_open(self, path: Any, flags: int) -> None:
        if flags & (os.O_WRONLY | os.O_RDWR) and (file := self._inside(path)):
            self.opened.add(file)

    def on_rename(self, source: Any, target: Any) -> None:
        inside = self._inside(target)
        if inside is None:
            return
        if not self.num_synced:
            self.unsynced.add(inside)
        if self._inside(source) is None:
            self.from_elsewhere.add(inside)
        self.opened.discard(inside)
        self.num_synced = max(0, self.num_synced - 1)

    def _inside(self, path: Any) -> Path | None:
        if not isinstance(path, str | bytes | os.PathLike):
            return None  # a file descriptor: its name was seen when it was opened
        file = Path(os.fsdecode(path)).resolve()
        return file if file.is_relative_to(self.folder.resolve()) else None

    def _sync_seen(self, descriptor: Any) -> None:
        self.num_synced += 1  # and no more: a folder that is deleted at once need not reach the disk


def watching(folder: Path) -> Writes:
    """`with watching(folder) as writes:`."""
    return Writes(folder)


_WATCHED: list[Writes] = []
_INSTALLED: list[bool] = []


def _watch_from_now_on() -> None:
    # Python's own notice of opening and renaming, however a learner does it. It can never be taken away again, so it
    # is put in once and does nothing while nobody watches.
    if not _INSTALLED:
        _INSTALLED.append(True)
        sys.addaudithook(_notice)


def _notice(event: str, arguments: tuple[Any, ...]) -> None:
    if not _WATCHED:
        return
    if event == "open":
        _WATCHED[-1].on_open(arguments[0], arguments[2] or 0)
    elif event in ("os.rename", "os.link"):
        _WATCHED[-1].on_rename(arguments[0], arguments[1])

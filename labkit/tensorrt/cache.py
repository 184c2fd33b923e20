"""Plans kept on disk: built once, never served stale, never half written, and a miss that says why.

    cache = PlanCache("~/.cache/labkit/plans")
    plan = cache.get_or_build("net.onnx", {"x": ((1, 3, 32, 32), (8, 3, 32, 32), (64, 3, 32, 32))})
    cache.explain("net.onnx", {"x": ((1, 3, 32, 32), (16, 3, 32, 32), (64, 3, 32, 32))})
    # "miss: profile changed: opt 8→16 (dimension 0 of 'x')"

In the folder: KEY.plan, one for each plan (entry.py says what is in it; its modification time is when it was last
used), `locks/`, and for moments `.KEY.plan.PID.tmp`. Whatever else lies there is left alone.
"""

from __future__ import annotations

import os
import re
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from labkit.tensorrt.build import Built, build
from labkit.tensorrt.differences import difference
from labkit.tensorrt.entry import Damaged, Header, pack, read_header, read_plan, write_atomically
from labkit.tensorrt.errors import BuildWarning, CacheWarning
from labkit.tensorrt.folder import check_private, private_folder
from labkit.tensorrt.options import PlanOptions
from labkit.tensorrt.profile import Profile
from labkit.tensorrt.progress import OnProgress
from labkit.tensorrt.request import PlanRequest

DEFAULT_MAX_BYTES = 10 * 10**9
_ENTRY = re.compile(r"[0-9a-f]{64}\.plan")
_PARTIAL = re.compile(r"\.[0-9a-f]{64}\.plan\.\d+\.tmp")


@dataclass(frozen=True)
class Served:
    """A plan and where it came from.

    reason: "hit…" or "miss: …" with what changed. warnings: the builder's, of shapes that the plan does not serve.
    not_kept: why it could not be stored, None where it could.
    """

    plan: bytes
    key: str
    hit: bool
    reason: str
    warnings: tuple[str, ...] = ()
    not_kept: str | None = None


@dataclass(frozen=True)
class StoredPlan:
    """A file of the cache: its size, when it was last used (nanoseconds since 1970), and its header, if readable."""

    path: Path
    num_bytes: int
    last_used_ns: int

    @property
    def header(self) -> Header | None:
        try:
            return read_header(self.path)
        except (Damaged, OSError):
            return None


class PlanCache:
    """Plans in a folder of your own, at most `max_bytes` of them: the least recently used go first.

    Any number of processes and threads may share the folder. Raises CacheError when others can write to it.
    """

    def __init__(self, folder: str | Path, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        if max_bytes < 1:
            raise ValueError(f"max_bytes must be at least 1, got {max_bytes}")
        self.folder = private_folder(folder)
        self.max_bytes = max_bytes

    def get_or_build(
        self,
        onnx_path: str | Path,
        profile: Profile | None = None,
        *,
        on_progress: OnProgress | None = None,
        **options: Unpack[PlanOptions],
    ) -> bytes:
        """The plan that build_plan would return, built only if it is not here. Raises BuildError and CacheError.

        Warns with BuildWarning as build_plan does, also of a plan that was built long ago; and with CacheWarning of
        a plan that could not be kept (a full disk): it is returned all the same.
        """
        served = self.serve(onnx_path, profile, on_progress=on_progress, **options)
        for warning in served.warnings:
            warnings.warn(warning, BuildWarning, stacklevel=2)
        if served.not_kept:
            warnings.warn(f"the plan was built but not kept: {served.not_kept}", CacheWarning, stacklevel=2)
        return served.plan

    def serve(
        self,
        onnx_path: str | Path,
        profile: Profile | None = None,
        *,
        on_progress: OnProgress | None = None,
        **options: Unpack[PlanOptions],
    ) -> Served:
        """The same with the key, whether it was a hit, the reason, and the warnings as text."""
        request = PlanRequest.of(onnx_path, profile, **options)
        found = self._find(request)
        if isinstance(found, str):
            with self._alone("build-" + request.key[:2]):
                found = self._find(request, "hit: another process or thread built it meanwhile")
                if isinstance(found, str):
                    return self._built(request, found, on_progress)
        _mark_used(self._path(request.key))
        return found

    def _built(self, request: PlanRequest, why: str, on_progress: OnProgress | None) -> Served:
        built = build(request, on_progress)
        not_kept = self._keep(request, built)
        return Served(built.plan, request.key, False, f"miss: {why}", built.warnings, not_kept)

    def explain(self, onnx_path: str | Path, profile: Profile | None = None, **options: Unpack[PlanOptions]) -> str:
        """Whether this request would be a hit, or why a miss: "miss: precision changed: fp32→fp16". Builds nothing."""
        found = self._find(PlanRequest.of(onnx_path, profile, **options))
        return f"miss: {found}" if isinstance(found, str) else found.reason

    def stored(self) -> list[StoredPlan]:
        """The plans that are here, the least recently used first."""
        found = []
        for path in self.folder.iterdir():
            if _ENTRY.fullmatch(path.name):
                with suppress(OSError):  # evicted by another process since
                    status = path.stat()
                    found.append(StoredPlan(path, status.st_size, status.st_mtime_ns))
        return sorted(found, key=lambda each: (each.last_used_ns, each.path.name))

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.plan"

    def _find(self, request: PlanRequest, hit: str = "hit") -> Served | str:
        """The plan, or why it is not here."""
        check_private(self.folder)
        try:
            header, plan = read_plan(self._path(request.key))
        except FileNotFoundError:
            return self._why(request)
        except Damaged as damage:
            return f"the stored plan is {damage}"
        return Served(plan, request.key, True, hit, tuple(header.warnings))

    def _why(self, request: PlanRequest) -> str:
        """What changed since the stored plan that is nearest to this request."""
        headers = [header for each in reversed(self.stored()) if (header := each.header)]
        if not headers:
            return "no plan is stored here yet"
        wanted = request.ingredients
        related = [
            header
            for header in headers
            if header.model_name == request.model.name or header.ingredients["model"] == wanted["model"]
        ]
        if not related:
            return f"first plan of this model here (plans stored of other models: {len(headers)})"
        nearest = min((difference(header.ingredients, wanted) for header in related), key=lambda changes: len(changes))
        return "; ".join(nearest) or "the nearest stored plan was made in another way"

    def _keep(self, request: PlanRequest, built: Built) -> str | None:
        """Stores a plan; None, or why it could not be stored."""
        head = pack(request.ingredients, built.plan, request.model.name, built.warnings)
        num_bytes = len(head) + len(built.plan)
        if num_bytes > self.max_bytes:
            return f"it has {num_bytes:,} bytes, the cache may hold {self.max_bytes:,}"
        try:
            with self._alone("store"):  # one writer at a time: the limit holds, and every .tmp is a dead one's
                self._remove_partial_files()
                self._evict(num_bytes, spare=self._path(request.key))
                write_atomically(self._path(request.key), head, built.plan)
                _mark_used(self._path(request.key))
        except OSError as error:
            return f"{error.strerror or error} ({num_bytes:,} bytes to {self.folder})"
        return None

    def _evict(self, num_bytes: int, spare: Path) -> None:
        """Makes room for num_bytes more; `spare` is about to be overwritten and counts as gone."""
        stored = [each for each in self.stored() if each.path != spare]
        excess = sum(each.num_bytes for each in stored) + num_bytes - self.max_bytes
        for each in stored:
            if excess <= 0:
                return
            with suppress(OSError):
                each.path.unlink(missing_ok=True)
                excess -= each.num_bytes

    def _remove_partial_files(self) -> None:
        for path in self.folder.iterdir():
            if _PARTIAL.fullmatch(path.name):
                with suppress(OSError):
                    path.unlink(missing_ok=True)

    @contextmanager
    def _alone(self, what: str) -> Iterator[None]:
        """Waits until no other process or thread does this here. The kernel frees the lock of a process that dies.

        Builds share 256 locks by the first byte of their key, so that lock files do not pile up. A folder where no
        lock can be had (read-only, full) costs a second build, not the plan.
        """
        from filelock import FileLock

        lock = FileLock(self.folder / "locks" / f"{what}.lock")
        with suppress(OSError):
            (self.folder / "locks").mkdir(mode=0o700, exist_ok=True)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


def _mark_used(path: Path) -> None:
    # Said in full: the kernel's own "now" ticks every few milliseconds, and the order would be lost in between.
    now_ns = time.time_ns()
    with suppress(OSError):  # a folder that cannot be written to serves plans too
        os.utime(path, ns=(now_ns, now_ns))

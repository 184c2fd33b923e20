"""What a tree of processes uses together, read from outside: memory, CPU time, how many.

A limit of the kernel binds one process at a time, so a submission could split. Where a cgroup is ours to use it
would count exactly; none is on most machines, so the tree is read every fifth of a second.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

_TICKS_PER_S = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


@dataclass(frozen=True)
class Usage:
    """Of a process and all its descendants."""

    num_processes: int
    memory_bytes: int
    cpu_s: float


def descendants(pid: int) -> list[int]:
    """Every process below this one, parents first."""
    found: list[int] = []
    todo = [pid]
    while todo:
        children = list(_children(todo.pop()))
        found.extend(children)
        todo.extend(children)
    return found


def usage(pid: int, memory_limit_bytes: int) -> Usage:
    """Of everything below `pid`.

    Pages that several forks share are counted in each at first, which is quick; when that sum is over the limit,
    each is counted by its share of them, which is exact.
    """
    pids = descendants(pid)
    memory = sum(map(_resident_bytes, pids))
    if memory > memory_limit_bytes:
        memory = sum(map(_proportional_bytes, pids))
    return Usage(len(pids), memory, sum(map(_cpu_s, pids)))


def own_memory_bytes() -> int:
    """Of this process alone, pages that it shares counted by its share."""
    return _proportional_bytes(os.getpid())


def kill_all_below(pid: int) -> None:
    """End every descendant, also those that are started meanwhile."""
    for _ in range(100):
        alive = [each for each in descendants(pid) if _state(each) not in ("Z", "")]
        if not alive:
            return
        for each in alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(each, 9)


def _children(pid: int) -> Iterator[int]:
    if not os.path.exists("/proc/self/task"):
        with contextlib.suppress(psutil.Error):
            yield from (child.pid for child in psutil.Process(pid).children())
        return
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                yield from map(int, (thread / "children").read_text().split())


def _stat(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return []


def _state(pid: int) -> str:
    fields = _stat(pid)
    if fields:
        return fields[0]
    return "" if os.path.exists("/proc/self") or not psutil.pid_exists(pid) else "?"


def _cpu_s(pid: int) -> float:
    fields = _stat(pid)  # from field 3 of proc(5) on: utime, stime, and those of children that ended, are 14 to 17
    return sum(map(int, fields[11:15])) / _TICKS_PER_S if fields else 0.0


def _resident_bytes(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[21]) * _PAGE_BYTES if fields else 0


def _proportional_bytes(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return _resident_bytes(pid)


def is_alive(pid: int) -> bool:
    """Whether it still runs; a process that has ended and waits for its parent does not."""
    return _state(pid) not in ("Z", "X", "")

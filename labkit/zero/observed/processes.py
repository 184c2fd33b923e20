"""Starting ranks as real processes, and never leaving one behind: hung and dead ranks are ended and named."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from labkit.quantities import whole_number

POLL_S = 0.05
LAST_LINES = 12  # of a rank's error output in a message
TELL_S = 0.3  # for a hung rank to write down where it is


class RankError(RuntimeError):
    """A rank died or hung; the message names it, says how, and ends with the last lines it wrote."""


def run_ranks(
    worker: str,
    world_size: int,
    options: dict[str, Any] | None = None,
    timeout_s: float = 60.0,
    progress: Callable[[float], None] | None = None,
) -> list[Any]:
    """Call `worker` ("module:function") in N processes joined by gloo; what each returned, by rank.

    The function is called as `function(rank, world_size, **options)`, inside an initialised process
    group. Options and results travel as JSON. Everything on `sys.path` here can be imported there. `progress` is
    told, again and again, the share that rank 0 says is done (`labkit.zero.observed.rank.tell`).

    Raises RankError when a rank ends early or `timeout_s` have passed; by then all of them are ended.
    """
    whole_number(world_size, "world_size")
    with tempfile.TemporaryDirectory(prefix="labkit-ranks-") as name:
        folder = Path(name)
        (folder / "options.json").write_text(json.dumps(options or {}))
        ranks: list[subprocess.Popen[bytes]] = []
        try:
            for rank in range(world_size):
                ranks.append(_start(worker, folder, rank, world_size, timeout_s))
            _wait(ranks, folder, timeout_s, progress)
        finally:
            for process in ranks:
                _end(process)
        return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(world_size)]


def _start(worker: str, folder: Path, rank: int, world_size: int, timeout_s: float) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "labkit.zero.observed.rank", worker, str(folder)]
    with (folder / f"{rank}.err").open("wb") as errors:
        return subprocess.Popen(
            [*command, str(rank), str(world_size), str(timeout_s + 2)],  # its own limit comes second
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            env={**os.environ, **_environment()},
            start_new_session=True,  # a group of its own, so that its children go with it
        )


def _environment() -> dict[str, str]:
    """One thread a rank, our import path, and gloo on the loopback interface where it is known by name."""
    import psutil

    settings = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    addresses = psutil.net_if_addrs().items()
    loopback = [name for name, entries in addresses if any(entry.address == "127.0.0.1" for entry in entries)]
    if loopback:
        settings["GLOO_SOCKET_IFNAME"] = loopback[0]
    return settings


def _wait(
    ranks: "list[subprocess.Popen[bytes]]", folder: Path, timeout_s: float, progress: Callable[[float], None] | None
) -> None:
    """Return when all ranks ended well. Raises RankError at the first that did not, or at the limit."""
    end = time.monotonic() + timeout_s
    while True:
        codes = [process.poll() for process in ranks]
        for rank, code in enumerate(codes):
            if code:
                raise RankError(f"Rank {rank} of {len(ranks)} {_how(code)}; all ranks were ended.{_said(folder, rank)}")
        done = all(code == 0 for code in codes)
        if progress:
            progress(1.0 if done else _told(folder))
        if done:
            return
        if time.monotonic() > end:
            waiting = [rank for rank, code in enumerate(codes) if code is None]
            _ask_where(ranks)
            silent = [rank for rank in waiting if not (folder / f"{rank}.json").exists()]
            raise RankError(
                f"After {timeout_s:g} s {len(waiting)} of {len(ranks)} ranks were still running (no answer "
                f"from {_ranks(silent)}); all ranks were ended.{_said(folder, (silent or waiting)[0])}"
            )
        time.sleep(POLL_S)


def _told(folder: Path) -> float:
    """The share that rank 0 last said is done."""
    told = folder / "0.told"
    return float(told.read_text()) if told.exists() else 0.0


def _ask_where(ranks: "list[subprocess.Popen[bytes]]") -> None:
    """Have each rank that is still running write its stack, which the message will end with."""
    if hasattr(signal, "SIGUSR1"):
        for process in ranks:
            if process.poll() is None:
                process.send_signal(signal.SIGUSR1)
        time.sleep(TELL_S)


def _how(code: int) -> str:
    if code > 0:
        return f"ended with exit code {code}"
    with suppress(ValueError):
        return f"was killed by {signal.Signals(-code).name}"
    return f"was killed by signal {-code}"


def _ranks(ranks: list[int]) -> str:
    return "rank " + ", ".join(map(str, ranks)) if ranks else "nobody in particular"


def _said(folder: Path, rank: int) -> str:
    lines = (folder / f"{rank}.err").read_text(errors="replace").strip().splitlines()
    return f" Rank {rank} wrote last:\n" + "\n".join(lines[-LAST_LINES:]) if lines else ""


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a rank and everything it started, and wait until it is gone."""
    if process.poll() is None:
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()

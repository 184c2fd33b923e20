"""A process of its own for somebody else's code: no network, no secrets, limits, ended as a whole tree.

The strongest isolation present is chosen by trying it, and named in every result: bubblewrap (own user, pid,
mount and network namespaces, a root that holds the Python installation and nothing else), else limits only.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from labkit.course.paths import ROOT

MEMORY_BYTES = 6 * 2**30  # address space; CPU torch needs under 1 GiB of it
FILE_BYTES = 256 * 2**20
NUM_PROCESSES = 256
SYSTEM_FOLDERS = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/etc/ld.so.cache", "/etc/alternatives")
BUBBLEWRAP, LIMITS_ONLY = "bubblewrap", "not isolated: limits only"


@dataclass(frozen=True)
class Ended:
    """How a sandboxed process ended."""

    status: int  # negative: the signal that killed it
    out_of_time: bool
    stderr: str  # the last lines, for people; never a verdict
    complete: bool = True  # whether everything that was asked for was left behind

    @property
    def well(self) -> bool:
        """Ended by itself, with everything there: an exit status of 0 alone is no verdict."""
        return self.status == 0 and not self.out_of_time and self.complete


@cache
def isolation() -> str:
    """The strongest isolation that works on this machine."""
    if shutil.which("bwrap"):
        trial = subprocess.run([*_bubblewrap(Path("/tmp")), "true"], capture_output=True)
        if trial.returncode == 0:
            return BUBBLEWRAP
    return LIMITS_ONLY


def run_apart(arguments: Sequence[str], folder: Path, limit_s: float) -> Ended:
    """Run `python ARGUMENTS` with nothing but `folder` to write to; returns when it and its children are gone."""
    wrapper = _bubblewrap(folder) if isolation() == BUBBLEWRAP else []
    stderr_path = folder / "stderr.txt"
    with stderr_path.open("wb") as stderr:  # a file: a survivor cannot hold it open against us
        process = subprocess.Popen(
            [*wrapper, sys.executable, *arguments],
            cwd=folder,
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
            preexec_fn=_set_limits,
        )
        out_of_time = False
        try:
            process.wait(limit_s)
        except subprocess.TimeoutExpired:
            out_of_time = True
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    with stderr_path.open("rb") as stderr_file:
        stderr_file.seek(max(0, stderr_path.stat().st_size - 4000))
        tail = stderr_file.read(4000).decode(errors="replace")
    return Ended(process.returncode, out_of_time, tail)


def _bubblewrap(folder: Path) -> list[str]:
    read_only = [path for path in SYSTEM_FOLDERS if os.path.exists(path)]
    read_only += [sys.base_prefix, sys.prefix, str(ROOT / "labkit")]
    binds = [argument for path in read_only for argument in ("--ro-bind", path, path)]
    return [
        "bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL",
        "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", *binds,
        "--bind", str(folder), str(folder), "--chdir", str(folder),
    ]  # fmt: skip


def _environment(folder: Path) -> dict[str, str]:
    """What the run needs and nothing that the grader knows."""
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(folder),
        "IPYTHONDIR": str(folder / ".ipython"),
        "MPLCONFIGDIR": str(folder / ".matplotlib"),
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }


def _set_limits() -> None:
    import resource

    os.umask(0o077)
    for kind, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_NPROC, NUM_PROCESSES),
    ):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (value, value))

"""The wall around a submission: the strongest one present, chosen by trying it, named in every result.

| | files | network | needs |
|---|---|---|---|
| podman, docker | the image, read-only | none | an engine that this user may use, and an image with labkit in it |
| bubblewrap | Python and labkit, read-only | none | the program, and name spaces |
| limits only | everything that this user may read or write | open | nothing: never for strangers' work |

Limits on time, memory, processes and output hold behind each of them (`limits.py`, `tree.py`); of a container the
engine counts memory and processes, of the others the watch of `tree.py` does.
"""

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from labkit.course.paths import ROOT
from labkit.grading.limits import MIB, Limits

HOME = "/tmp/home"
SYSTEM_FOLDERS = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/etc/ld.so.cache", "/etc/alternatives")
IMAGE = os.environ.get("LABKIT_IMAGE", "labkit")  # one with this package in it
ENGINE_VARIABLES = ("PATH", "HOME", "USER", "LANG", "XDG_", "DOCKER_", "CONTAINER")
FIRST_UID = 400_000  # root's submissions run as users from here on, who own nothing
LIMITS_ONLY = "limits-only"
TRIAL = "import labkit.grading.warm, os, socket; socket.socket(); os.listdir('/tmp'); print('labkit')"
NOT_ISOLATED = "not isolated: limits only"

Wrap = Callable[[Sequence[str], Limits, str], list[str]]  # (arguments, limits, tag) -> command


class NoIsolation(RuntimeError):
    """No wall could be built; the message says what was tried, and the way round."""


@dataclass(frozen=True)
class Isolation:
    """One way to run `python ARGUMENTS` apart."""

    name: str
    wrap: Wrap
    is_container: bool = False

    @property
    def label(self) -> str:
        """As results name it."""
        return NOT_ISOLATED if self.name == LIMITS_ONLY else self.name

    @property
    def is_wall(self) -> bool:
        """Whether it keeps a submission from the machine's files and network."""
        return self.name != LIMITS_ONLY

    def ran_out_of_memory(self, tag: str) -> bool:
        """Whether the engine ended this container for its memory; only an engine knows."""
        return self.is_container and "true" in self._engine("inspect", "--format", "{{.State.OOMKilled}}", tag)

    def remove(self, tag: str) -> None:
        """End a container and everything in it: ending the client that started it would leave it running."""
        if self.is_container:
            self._engine("rm", "--force", tag)

    def _engine(self, *arguments: str) -> str:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            run = subprocess.run(
                [self.name, *arguments],
                capture_output=True,
                text=True,
                timeout=60,
                stdin=subprocess.DEVNULL,
                env=engine_environment(),
            )
            return run.stdout
        return ""


# --- the commands -----------------------------------------------------------------------------------------


def podman(arguments: Sequence[str], limits: Limits, tag: str) -> list[str]:
    """Rootless: the user inside is nobody outside."""
    return _container("podman", arguments, limits, tag)


def docker(arguments: Sequence[str], limits: Limits, tag: str) -> list[str]:
    """Through the daemon, as a user that owns nothing."""
    return _container("docker", arguments, limits, tag)


def _container(engine: str, arguments: Sequence[str], limits: Limits, tag: str) -> list[str]:
    environment = [
        part for name, value in environment_inside(HOME, in_image=True).items() for part in ("--env", f"{name}={value}")
    ]
    return [
        engine, "run", "--name", tag, "--interactive", "--init", "--pull", "never",
        "--network", "none", "--ipc", "none", "--read-only", "--cap-drop", "all",
        "--security-opt", "no-new-privileges", "--user", "65534:65534",
        "--pids-limit", str(limits.num_processes), "--memory", str(limits.memory_bytes),
        "--memory-swap", str(limits.memory_bytes), "--cpus", "1",
        "--tmpfs", f"/tmp:rw,nosuid,nodev,size={limits.disk_bytes},mode=1777",
        *environment, "--workdir", "/tmp", IMAGE, "python", *arguments,
    ]  # fmt: skip


def bubblewrap(arguments: Sequence[str], limits: Limits, tag: str) -> list[str]:
    """Own user, pid, mount, network and ipc spaces; a root that holds Python and labkit, read-only, and nothing else.

    Root keeps its own user space and then becomes an ordinary user for good (`namespaces.be_ordinary`): a user space
    that root makes maps to root, who owns /proc/sys.
    """
    if os.getuid() == 0:
        spaces = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
        capabilities = ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        spaces, capabilities = ["--unshare-all"], ["--cap-drop", "ALL"]
    paths = _read_only_paths()
    parents = [part for path in _parents(paths) for part in ("--perms", "0755", "--dir", path)]
    binds = parents + [part for path in paths for part in ("--ro-bind", path, path)]
    shm_bytes = str(64 * MIB)
    return [
        "bwrap", *spaces, "--die-with-parent", "--new-session", *capabilities,
        "--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--size", shm_bytes, "--tmpfs", "/dev/shm",
        "--remount-ro", "/dev", "--perms", "1777", "--size", str(limits.disk_bytes), "--tmpfs", "/tmp",
        *binds, "--remount-ro", "/",
        "--chdir", "/tmp", sys.executable, *arguments,
    ]  # fmt: skip


def limits_only(arguments: Sequence[str], limits: Limits, tag: str) -> list[str]:
    """No wall."""
    return [sys.executable, *arguments]


def _read_only_paths() -> list[str]:
    """Python, its packages and labkit; no labs, no solutions, no tests, no folder of the grader's."""
    paths = [path for path in SYSTEM_FOLDERS if os.path.exists(path)]
    paths += [sys.base_prefix, sys.prefix, str(ROOT / "labkit")]
    return [path for path in dict.fromkeys(paths) if os.path.exists(path)]


def _parents(paths: Sequence[str]) -> list[str]:
    """The folders above these paths that no path covers: bubblewrap would make them for their owner alone."""
    above = {str(parent) for path in paths for parent in Path(path).parents if str(parent) != "/"}
    return sorted(path for path in above if not any(Path(path).is_relative_to(bound) for bound in paths))


def environment_inside(home: str, in_image: bool = False) -> dict[str, str]:
    """What a run needs and nothing that the grader knows; an image has its own Python and its own labkit."""
    here = {} if in_image else {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    return {
        **here,
        "HOME": home,
        "IPYTHONDIR": f"{home}/.ipython",
        "MPLCONFIGDIR": f"{home}/.matplotlib",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "PIP_NO_INDEX": "1",  # there is no network: pip says so at once, and does not try for half a minute
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }


# --- choosing ---------------------------------------------------------------------------------------------

KINDS: dict[str, Isolation] = {
    each.name: each
    for each in (
        Isolation("podman", podman, is_container=True),
        Isolation("docker", docker, is_container=True),
        Isolation("bubblewrap", bubblewrap),
        Isolation(LIMITS_ONLY, limits_only),
    )
}


def choose(wanted: str | None = None) -> Isolation:
    """The strongest wall that works here, or the one that was asked for.

    Raises:
        NoIsolation: none works, or the one asked for does not; "limits-only" must be asked for by name.
    """
    if wanted == LIMITS_ONLY:
        return KINDS[LIMITS_ONLY]
    names = [wanted] if wanted else [name for name in KINDS if name != LIMITS_ONLY]
    reasons = {}
    for name in names:
        if name not in KINDS:
            raise NoIsolation(f"there is no isolation {name!r}; there are: {', '.join(KINDS)}")
        reasons[name] = why_not(name)
        if not reasons[name]:
            return KINDS[name]
    tried = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
    raise NoIsolation(
        f"nothing here keeps a submission from your files and your network ({tried}). Install bubblewrap (on Debian:"
        f" apt install bubblewrap), or podman and an image called {IMAGE} with labkit in it. Is it your own"
        " work, or do you trust whoever wrote it? --isolation limits-only grades it; results then say"
        f" {NOT_ISOLATED!r}."
    )


@cache
def why_not(name: str) -> str:
    """Why a wall does not work here, found by trying it; empty when it works."""
    tag = new_tag()
    command = KINDS[name].wrap(["-c", TRIAL], Limits(), tag)
    if not shutil.which(command[0]):
        return f"no program {command[0]}"
    try:
        trial = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
            env=engine_environment() if KINDS[name].is_container else environment_inside("/tmp"),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        KINDS[name].remove(tag)
    if trial.returncode == 0 and trial.stdout.strip() == "labkit":
        return ""
    said = [line for line in trial.stderr.splitlines() if line.strip() and not line.startswith("Run 'docker")]
    return (said or [f"exit status {trial.returncode}"])[-1][:200]


def engine_environment() -> dict[str, str]:
    """For a container engine's own command: where it is, where its images are, where its daemon listens.

    Nothing of it gets into the container; what does is on its command line.
    """
    return {name: value for name, value in os.environ.items() if name.startswith(ENGINE_VARIABLES)}


def new_tag() -> str:
    """A name for one container, that no other one has."""
    return f"labkit-{secrets.token_hex(8)}"

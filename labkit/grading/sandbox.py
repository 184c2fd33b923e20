"""The grader's side of a sandbox: start it, hand it jobs, read answers, watch, and end it as a whole tree."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from labkit.course.exercises import lab_spec
from labkit.grading import tree
from labkit.grading.channel import TooLarge, receive_frame, send_frame
from labkit.grading.given import given_to_all, libraries
from labkit.grading.isolation import (
    FIRST_UID,
    HOME,
    LIMITS_ONLY,
    Isolation,
    engine_environment,
    environment_inside,
    new_tag,
)
from labkit.grading.limits import Limits
from labkit.grading.replay import Job, pack
from labkit.grading.warm import JOB, STOP

START_S = 300.0  # for the imports, on a machine that is very busy
WATCH_EVERY_S = 0.2


class GraderFault(RuntimeError):
    """The grader could not do its part: nothing of a submission's own had run yet. Tried again, never marked."""


class _Over(Exception):
    """A limit of the whole tree; args: which one, and a sentence."""


@dataclass(frozen=True)
class Ended:
    """What a run left: the answers of the first exercises, and why there are no more."""

    public: tuple[bytes, ...]  # to the cases of lab.check
    hidden: tuple[bytes, ...]
    complete: bool
    reason: str = ""  # "", "timeout", "out of memory", or "killed"
    detail: str = ""  # the sentence for people
    cpu_s: float = 0.0  # what it really computed, all processes together

    @property
    def well(self) -> bool:
        """Ended by itself, with everything there: an exit status of 0 alone is no verdict."""
        return self.complete and not self.reason


class Sandbox:
    """A warm interpreter behind a wall; `run` gives it a job. Not for two threads at once.

    It is started on the first job, and again when a run left it in doubt.
    """

    def __init__(self, lab: str, isolation: Isolation, limits: Limits | None = None) -> None:
        self.lab = lab
        self.isolation = isolation
        self.limits = limits or Limits()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._tag = ""  # the container's name
        # A fork that shares its name spaces with the next one is no wall: such a sandbox serves one job.
        self._once = isolation.is_container

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process above everything in it; 0 while it is not running."""
        return self._process.pid if self._process else 0

    def run(self, job: Job, hidden: dict[str, bytes]) -> Ended:
        """The answers to one job, and to the hidden inputs of its exercises.

        Raises:
            GraderFault: the sandbox did not come up, or broke before the submission ran.
        """
        channel = self._open()
        try:
            ended = self._follow(channel, job, hidden)
        except GraderFault:
            self.close()
            raise
        finally:
            channel.close()
        if self._once or not self._ready_again(stop=not ended.well):
            self.close()
        return ended

    def warm_up(self) -> None:
        """Start it now, so that the first job does not wait for the imports."""
        if self._process is None and not self._once:
            self._start("warm")

    def close(self) -> None:
        """End everything in it, and wait until it is gone."""
        if self._process is not None:
            inside = tree.descendants(self._process.pid)
            tree.kill_all_below(self._process.pid)
            self.isolation.remove(self._tag)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            _wait_until_gone(inside)
        if self._control is not None:
            self._control.close()
        if self._folder is not None:
            self._folder.cleanup()
        self._process = self._control = self._folder = None

    # --- one job ------------------------------------------------------------------------------------------

    def _open(self) -> socket.socket:
        """A channel for one job: a new one each time, so that nobody can write into the next one's."""
        self.warm_up()
        if self._once:
            self._start("once")
            assert self._control is not None
            return self._control.dup()
        ours, theirs = socket.socketpair()
        assert self._control is not None
        try:
            socket.send_fds(self._control, [JOB], [theirs.fileno()])
        except OSError as error:
            raise GraderFault(f"the sandbox is gone: {self._last_words()}") from error
        finally:
            theirs.close()
        return ours

    def _follow(self, channel: socket.socket, job: Job, hidden: dict[str, bytes]) -> Ended:
        try:
            channel.settimeout(START_S)
            send_frame(channel, job.to_bytes())
            receive_frame(channel, 16, time.monotonic() + START_S)
        except (OSError, EOFError, TimeoutError) as error:
            raise GraderFault(f"the sandbox broke before the submission ran: {self._last_words() or error}") from error
        watch = _Watch(self._process, job.limits)
        deadline = time.monotonic() + job.limits.wall_s
        public: list[bytes] = []
        secret: list[bytes] = []
        reason = detail = ""
        try:
            for answers in (public, secret):
                if answers is secret:
                    channel.settimeout(max(0.01, deadline - time.monotonic()))
                    send_frame(channel, pack(hidden))
                for _ in job.inputs:
                    answers.append(receive_frame(channel, job.limits.answer_bytes, deadline, watch.look, WATCH_EVERY_S))
        except TimeoutError:
            reason, detail = "timeout", f"did not end within {job.limits.wall_s:g} s"
        except TooLarge as error:
            reason, detail = "killed", f"sent {error}"
        except _Over as over:
            reason, detail = over.args
        except (EOFError, ConnectionError):
            reason, detail = "killed", "left before every answer was there"
            if self.isolation.ran_out_of_memory(self._tag):
                reason, detail = "out of memory", f"held more than {job.limits.memory_bytes / 2**30:g} GiB"
        complete = len(secret) == len(job.inputs)
        return Ended(tuple(public), tuple(secret), complete, reason, detail, watch.cpu_s)

    def _ready_again(self, stop: bool) -> bool:
        """Whether the child is gone, with all that it started, and the warm interpreter waits for the next job."""
        assert self._control is not None
        try:
            if stop:
                self._control.sendall(STOP)
            receive_frame(self._control, 1024, time.monotonic() + 5.0)
        except (OSError, EOFError, TimeoutError, TooLarge):
            return False
        return True

    # --- the process --------------------------------------------------------------------------------------

    def _start(self, mode: str) -> None:
        self.close()
        self._folder = tempfile.TemporaryDirectory(prefix="labkit-sandbox-")
        home = HOME if self.isolation.is_wall else f"{self._folder.name}/home"
        uid = FIRST_UID + os.getpid() if os.getuid() == 0 and self.isolation.name == "bubblewrap" else 0
        mode = LIMITS_ONLY if not self.isolation.is_wall and mode == "warm" else mode
        spec = lab_spec(self.lab)
        arguments = ["-m", "labkit.grading.warm", self.lab, str(uid), mode, *libraries(spec), *given_to_all(spec)]
        ours, theirs = socket.socketpair()
        environment = engine_environment() if self.isolation.is_container else environment_inside(home)
        self._tag = new_tag()
        with open(self._stderr_path(), "wb") as stderr:
            self._process = subprocess.Popen(
                self.isolation.wrap(arguments, self.limits, self._tag),
                cwd=self._folder.name,
                env=environment,
                stdin=theirs.fileno(),
                stdout=theirs.fileno() if mode == "once" else subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
            )
        theirs.close()
        self._control = ours
        if mode != "once":
            self._greet()

    def _greet(self) -> None:
        assert self._control is not None
        try:
            hello = json.loads(receive_frame(self._control, 1024, time.monotonic() + START_S))
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            words = self._last_words()
            self.close()
            raise GraderFault(f"the sandbox did not start: {words or type(error).__name__}") from error
        if self.isolation.is_wall and not hello["own_name_spaces"]:
            self.close()
            self._once = True

    def _stderr_path(self) -> Path:
        assert self._folder is not None
        return Path(self._folder.name) / "stderr.txt"

    def _last_words(self) -> str:
        """What the trusted part of the sandbox said last, for people; never a verdict."""
        if self._folder is None:
            return ""
        with contextlib.suppress(OSError):
            return self._stderr_path().read_bytes()[-2000:].decode(errors="replace").strip()
        return ""


class _Watch:
    """Adds up what a tree uses, beyond what it used when the run began."""

    def __init__(self, process: subprocess.Popen[bytes] | None, limits: Limits) -> None:
        self.pid = process.pid if process else 0
        self.limits = limits
        self.before = tree.usage(self.pid, 2**62).cpu_s if self.pid else 0.0
        self.cpu_s = 0.0

    def look(self) -> None:
        """Raise `_Over` when the whole tree is over a limit."""
        used = tree.usage(self.pid, self.limits.memory_bytes)
        self.cpu_s = used.cpu_s - self.before
        if used.memory_bytes > self.limits.memory_bytes:
            limit = self.limits.memory_bytes / 2**30
            raise _Over("out of memory", f"all its processes together held more than {limit:g} GiB")
        if used.num_processes > self.limits.num_processes:
            raise _Over(
                "killed", f"ran {used.num_processes} processes at once; {self.limits.num_processes} are allowed"
            )
        if self.cpu_s > self.limits.cpu_s:
            raise _Over("timeout", f"used more than {self.limits.cpu_s:g} s of CPU time, all processes together")


def _wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline and any(tree.is_alive(pid) for pid in pids):
        time.sleep(0.005)

"""Running a candidate apart from its judge: a forked process answers, bytes come back, a clock stands outside.

A candidate is somebody's code: it may loop for ever, exit, crash, print, or change what it is given. It runs
in a child process, one answer after the other; each answer comes back through a pipe as data (`answers.py`).
The parent never sees an object of the candidate's. Forking copies the caller's state, so a function that was
defined a second ago in a notebook works, and nothing that it does to that state survives.

Where forking is not safe (macOS, Windows, a process that holds a CUDA context) the candidate runs here, on a
clock that raises an exception into it: good enough for self-checks, never used for grades.
"""

import contextlib
import ctypes
import io
import linecache
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

from labkit.course.answers import MAX_BYTES, NotPlainData, decode, digest, encode

LIMIT_S = 10.0  # for all cases of one check together
EXTRA_MEMORY_BYTES = 8 * 2**30  # address space a candidate may add; past it Python raises MemoryError
MAX_PRINTED = 2_000  # characters kept of what a candidate prints
ASKED = "labkit_asked"  # on an exception of a candidate: the call that raised, where its case has many
_FRAME = struct.Struct("<Q")

Probe = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Answer:
    """What came of one case: a value, or the reason why there is none.

    `outcome` is one of value, raised, not-written, timeout, killed, not-data, not-reached.
    """

    outcome: str
    value: Any = None
    error: str = ""  # "ZeroDivisionError: division by zero", or the reason in words
    line: str = ""  # the candidate's own line that raised
    line_number: int = 0
    printed: str = ""
    changed: tuple[str, ...] = field(default=())  # the arguments that the candidate changed
    method: str = ""  # of a class, where it is not written yet: which of its methods
    asked: str = ""  # the arguments of the one call that failed, where a case has many


class Stopped(BaseException):
    """Raised into what runs in this thread when its time is up, where it could not be forked."""


class AnswerFile:
    """A candidate that stands in a file, read only where it runs: apart from the judge, on the first call."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path.resolve()
        self.name = name
        self._loaded: Any = None

    def __call__(self, *args: Any) -> Any:
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded(*args)

    def _load(self) -> Any:
        sys.path.insert(0, str(self.path.parent))
        namespace: dict[str, Any] = {"__name__": "answer", "__file__": str(self.path)}
        exec(compile(self.path.read_text(encoding="utf-8"), str(self.path), "exec"), namespace)
        if self.name not in namespace:
            raise NameError(f"{self.path.name} defines no {self.name!r}")
        return namespace[self.name]


def ask(candidate: Any, probe: Probe, cases: Sequence[Any], limit_s: float = LIMIT_S) -> list[Answer]:
    """One `Answer` per case, in order; never raises for anything that the candidate does."""
    with Apart(candidate, probe) as apart:
        return apart.ask(cases, limit_s)


def can_fork() -> bool:
    """Whether a forked copy of this process can compute: Linux, with no CUDA context yet."""
    torch = sys.modules.get("torch")
    on_cuda = torch is not None and torch.cuda.is_initialized()
    return sys.platform == "linux" and not on_cuda


def ask_here(candidate: Any, probe: Probe, cases: Sequence[Any], limit_s: float | None = LIMIT_S) -> list[Answer]:
    """As `ask`, in this process and thread: for candidates of our own, and where no fork is possible."""
    answers: list[Answer] = []
    with stopped_after(limit_s), contextlib.suppress(Stopped):
        # extend() keeps what the generator gave before it was stopped
        answers.extend(_answer(candidate, probe, case) for case in cases)
    return _fill(answers, len(cases), _timeout(limit_s or 0.0))


def _timeout(limit_s: float) -> Answer:
    return Answer("timeout", error=f"no answer within {limit_s:g} s")


def _answer(candidate: Any, probe: Probe, case: Any) -> Answer:
    before = [digest(value) for value in case.args]
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed), _quiet():
            value = probe(candidate, case)
        # Once through bytes, so that a judge sees the same plain data wherever the candidate ran.
        value = decode(encode(value))
    except NotImplementedError as error:
        return Answer("not-written", error=_message(error), method=_method(error, candidate))
    except NotPlainData as error:
        return Answer("not-data", error=str(error), printed=_cut(printed))
    except Stopped:
        raise
    except BaseException as error:  # SystemExit and KeyboardInterrupt of a candidate are answers too
        return _raised(error, candidate, _cut(printed))
    after = [_digest_or_nothing(value) for value in case.args]
    changed = tuple(name for name, a, b in zip(case.names, before, after, strict=False) if a != b)
    return Answer("value", value, printed=_cut(printed), changed=changed)


def _digest_or_nothing(value: Any) -> bytes | None:
    try:
        return digest(value)
    except NotPlainData:  # a candidate put something else into its argument
        return None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _cut(printed: io.StringIO) -> str:
    text = printed.getvalue()
    return text if len(text) <= MAX_PRINTED else text[:MAX_PRINTED] + "\n… (cut)"


def _raised(error: BaseException, candidate: Any, printed: str) -> Answer:
    """The candidate's own line is the innermost one in the file (or cell) that defines it."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == _file_of(candidate)]
    line, number = "", 0
    if own:
        number = own[-1].lineno or 0
        line = (own[-1].line or linecache.getline(own[-1].filename, number)).strip()
    text = f"{type(error).__name__}: {message}" if (message := _message(error)) else type(error).__name__
    asked = str(getattr(error, ASKED, ""))[:MAX_PRINTED]
    return Answer("raised", error=text[:MAX_PRINTED], line=line, line_number=number, printed=printed, asked=asked)


def _message(error: BaseException) -> str:
    """An exception's own text; its `str` is the candidate's code, and may fail."""
    try:
        return str(error)
    except Exception:
        return ""


def _method(error: BaseException, candidate: Any) -> str:
    """Which method of a class is not written yet; "" where the candidate is a function."""
    file, own = _file_of(candidate), getattr(candidate, "__name__", getattr(candidate, "name", ""))
    frames = [frame.name for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return frames[-1] if frames and frames[-1] != own and frames[-1].isidentifier() else ""


def _file_of(candidate: Any) -> str:
    if isinstance(candidate, AnswerFile):
        return str(candidate.path)
    for thing in (candidate, *vars(candidate).values()) if isinstance(candidate, type) else (candidate,):
        code = getattr(thing, "__code__", None)
        if code is not None:
            return str(code.co_filename)
    return ""


def _fill(answers: list[Answer], count: int, first_missing: Answer) -> list[Answer]:
    if len(answers) < count:
        answers.append(first_missing)
    missing = count - len(answers)
    return answers + [Answer("not-reached", error="an earlier case ended the run")] * missing


# --- forked -----------------------------------------------------------------------------------------------


class Apart:
    """A candidate in a forked process, asked once or more often; a fork costs more than most answers.

    What one round leaves in that process, the next one finds. After a round without all its answers the process is
    gone, and the next round has a fresh one.

    Args:
        read_cases: makes the cases of a later round from the bytes that `ask` was given with them.
    """

    _open: ClassVar[set[socket.socket]] = set()  # our ends; a child closes those of the others

    def __init__(
        self, candidate: Any, probe: Probe, read_cases: Callable[[bytes], Sequence[Any]] | None = None
    ) -> None:
        self.candidate = candidate
        self.probe = probe
        self.read_cases = read_cases
        self._channel: socket.socket | None = None
        self._child = 0

    def __enter__(self) -> "Apart":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def ask(self, cases: Sequence[Any], limit_s: float = LIMIT_S, as_bytes: bytes = b"") -> list[Answer]:
        """One `Answer` per case, in order; never raises for anything that the candidate does.

        `as_bytes` are the same cases as `read_cases` takes them; needed from the second round on.
        """
        if not can_fork():
            return ask_here(self.candidate, self.probe, cases, limit_s)
        deadline = time.monotonic() + limit_s
        if self._channel is None:
            self._channel = self._fork(cases)
        else:
            _send(self._channel, as_bytes, limit_s)
        answers, out_of_time = _read_answers(self._channel.fileno(), len(cases), deadline)
        if len(answers) == len(cases):
            return answers
        status = self.close()
        missing = (
            _timeout(limit_s) if out_of_time else Answer("killed", error=f"the process ended early ({_reason(status)})")
        )
        return _fill(answers, len(cases), missing)

    def close(self) -> int:
        """End the process and what it started; its status."""
        if self._channel is None:
            return 0
        self._open.discard(self._channel)
        self._channel.close()
        self._channel = None
        return _end(self._child)

    def _fork(self, cases: Sequence[Any]) -> socket.socket:
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        with warnings.catch_warnings():
            # Python 3.12 warns of threads (a notebook kernel has some); the child only computes, then leaves.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._child = os.fork()
        if self._child == 0:
            for channel in (ours, *self._open):
                channel.close()
            self._be_the_child(theirs.detach(), cases)
        theirs.close()
        self._open.add(ours)
        return ours

    def _be_the_child(self, channel: int, cases: Sequence[Any]) -> None:
        """Answer every case of every round and leave; never returns, whatever happens."""
        try:
            os.setsid()  # a group of its own: what the candidate starts ends with it
            _limit_memory()
            torch = sys.modules.get("torch")
            if torch is not None:
                torch.set_num_threads(1)  # OpenMP's threads do not survive a fork
            while True:
                for case in cases:
                    _write(channel, encode(vars(_answer(self.candidate, self.probe, case))))
                if self.read_cases is None:
                    os._exit(0)
                (num_bytes,) = _FRAME.unpack(_read(channel, _FRAME.size))
                cases = self.read_cases(_read(channel, num_bytes))
        except BaseException:  # the end of the rounds as well
            os._exit(70)


def _send(channel: socket.socket, data: bytes, limit_s: float) -> None:
    """One frame; a process that is gone or does not read it says so by its answers, which will not come."""
    channel.settimeout(limit_s)
    with contextlib.suppress(OSError):
        channel.sendall(_FRAME.pack(len(data)) + data, socket.MSG_NOSIGNAL)
    channel.settimeout(None)


def _limit_memory() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = used + EXTRA_MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard < 0 else min(wanted, hard), hard))


def _write(writer: int, data: bytes) -> None:
    view = memoryview(_FRAME.pack(len(data)) + data)
    while view:
        view = view[os.write(writer, view) :]


def _read_answers(reader: int, count: int, deadline: float) -> tuple[list[Answer], bool]:
    answers: list[Answer] = []
    while len(answers) < count:
        try:
            (num_bytes,) = _FRAME.unpack(_read(reader, _FRAME.size, deadline))
            if num_bytes > MAX_BYTES + 2**20:
                return answers, False
            answers.append(_answer_from(_read(reader, num_bytes, deadline)))
        except TimeoutError:
            return answers, True
        except (EOFError, ConnectionResetError):  # reset: it went with something of ours unread
            return answers, False
    return answers, False


def _read(reader: int, num_bytes: int, deadline: float | None = None) -> bytes:
    parts: list[bytes] = []
    while num_bytes:
        left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready, _, _ = select.select([reader], [], [], left_s)
        if not ready:
            raise TimeoutError
        part = os.read(reader, min(num_bytes, 2**20))
        if not part:
            raise EOFError
        parts.append(part)
        num_bytes -= len(part)
    return b"".join(parts)


def _answer_from(data: bytes) -> Answer:
    try:
        return Answer(**decode(data))
    except (NotPlainData, TypeError) as error:
        return Answer("not-data", error=str(error))


def _end(child: int) -> int:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)  # if it has not reached setsid yet
    return os.waitpid(child, 0)[1]


def _reason(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"signal {signal.Signals(os.WTERMSIG(status)).name}"
    return f"exit status {os.waitstatus_to_exitcode(status)}"


# --- here -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def stopped_after(limit_s: float | None) -> Iterator[None]:
    """Raise `Stopped` in this thread when the time is up, again and again until it leaves the block."""
    if limit_s is None:
        yield
        return
    done = threading.Event()
    target = ctypes.c_ulong(threading.get_ident())

    def watch() -> None:
        wait_s = limit_s
        while not done.wait(wait_s):
            ctypes.pythonapi.PyThreadState_SetAsyncExc(target, ctypes.py_object(Stopped))
            wait_s = 0.1

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()

"""The warm interpreter: it has done a lab's imports, and forks a fresh child for each submission.

`python -m labkit.grading.warm LAB UID MODE MODULE...` is started inside the sandbox (`isolation.py`), with a socket
as its standard input. Modes:

- `warm`: hello, then one fork for each job; the job's own socket comes with the message. Where the child can have
  name spaces of its own (`namespaces.py`) no submission can reach the next; the hello says whether it can.
- `once`: the job comes over the standard input and the answers leave by the standard output, two pipes that a
  container engine gives; the process ends with the job.

Nothing of a learner's ever runs in the warm process itself, it holds no seed, no expected value and no bank of
answers, and it is thrown away when a run cannot be ended as a whole.
"""

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
import traceback
from pathlib import Path

from labkit.grading import namespaces
from labkit.grading.channel import Channel, Pipes, receive_frame, send_frame
from labkit.grading.limits import Limits, limit_this_process
from labkit.grading.tree import kill_all_below

JOB, STOP = b"job.", b"stop"  # what the grader says, in four bytes
MAX_JOB_BYTES = 512 * 2**20
PACKAGE = Path(__file__).resolve().parents[1]


def main() -> None:
    """The command line of the sandbox."""
    lab, uid, mode, libraries = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:]
    namespaces.be_ordinary(uid)
    own = mode != "limits-only" and namespaces.can_enter()
    if mode == "once":
        pipes = Pipes(os.dup(0), os.dup(1))
        _nothing_on(0)
        _nothing_on(1)
        _answer(pipes, own, _warm_up(lab, libraries))
    control = socket.socket(fileno=os.dup(0))
    _nothing_on(0)
    if mode == "limits-only":
        namespaces.die_with_parent()
        namespaces.adopt_orphans()
    for_probes = _warm_up(lab, libraries)
    send_frame(control, json.dumps({"own_name_spaces": own}).encode())
    gc.collect()
    gc.freeze()  # the collector leaves these pages alone, so they stay shared with the children
    while _one_job(control, own, for_probes):
        pass


def _one_job(control: socket.socket, own: bool, for_probes: tuple[str, ...]) -> bool:
    message, channels, _, _ = socket.recv_fds(control, len(JOB), 1)
    if message == STOP:  # meant for a job that is over
        return True
    if message != JOB:
        return False
    child = os.fork()
    if child == 0:
        control.close()
        _answer(socket.socket(fileno=channels[0]), own, for_probes)
    os.close(channels[0])
    status = _wait_for(child, control, own)
    if not own:  # a pid space ends with its first process; without one, what is left is ended by name
        kill_all_below(os.getpid())
        with contextlib.suppress(ChildProcessError):
            while True:
                os.wait()
    send_frame(control, json.dumps({"status": os.waitstatus_to_exitcode(status)}).encode())
    return True


def _wait_for(child: int, control: socket.socket, own: bool) -> int:
    """The child's status; it is ended when the grader says so, or is gone."""
    while not _has_ended(child, control):
        if select.select([control], [], [], 0)[0]:
            if control.recv(len(STOP)) != STOP:
                os._exit(0)
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM if own else signal.SIGKILL)
            break
    return os.waitpid(child, 0)[1]


def _has_ended(child: int, control: socket.socket) -> bool:
    """Wait until the child ends or the grader says something; whether it was the child."""
    if not hasattr(os, "pidfd_open"):  # not Linux: look again and again
        select.select([control], [], [], 0.01)
        return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    ended = os.pidfd_open(child)
    try:
        return ended in select.select([control.fileno(), ended], [], [])[0]
    finally:
        os.close(ended)


def _answer(channel: Channel, own: bool, for_probes: tuple[str, ...]) -> None:
    """Take one job, shut this process in, run it; never returns."""
    from labkit.grading import given, replay

    code = 70
    try:
        job = replay.Job.from_bytes(receive_frame(channel, MAX_JOB_BYTES))
        given.import_given((*job.given, *for_probes))
        if own:
            namespaces.enter(job.limits.disk_bytes, hidden=(PACKAGE,), kept=(Path(sys.base_prefix), Path(sys.prefix)))
        else:
            os.setsid()
            namespaces.die_with_parent()
        given.say_why_hidden()
        _nothing_on(1)
        _nothing_on(2)
        _start_clean(job.limits)
        send_frame(channel, b"ready")  # from here on, whatever happens is the submission's own doing
        replay.run(job, lambda data: send_frame(channel, data), lambda: receive_frame(channel, MAX_JOB_BYTES))
        code = 0
    except BaseException:
        with contextlib.suppress(OSError):
            traceback.print_exc()
    finally:
        os._exit(code)


def _start_clean(limits: Limits) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    os.umask(0o077)
    home = Path(os.environ["HOME"])
    home.mkdir(parents=True, exist_ok=True)
    os.chdir(home)
    limit_this_process(limits)
    os.nice(5)  # whoever watches it comes first
    with contextlib.suppress(OSError):  # where memory runs short, the system ends this one, and not the grader
        Path("/proc/self/oom_score_adj").write_text("1000")


def _warm_up(lab: str, libraries: list[str]) -> tuple[str, ...]:
    """Import what answers, probes and the replay need, and run a small notebook once: much is imported on first use.

    Returns the modules of labkit that a probe imports when it is called.
    """
    from labkit.course.exercises import lab_spec
    from labkit.grading import given, replay

    spec = lab_spec(lab)
    given.import_libraries(name for name in libraries if not given.is_labkit(name))
    Path(os.environ["HOME"]).mkdir(parents=True, exist_ok=True)
    os.chdir(os.environ["HOME"])
    replay.rehearse()
    for_probes = given.forget_banks(spec)
    # Once for all submissions. Also, some of these start threads, and a process with threads cannot enter name spaces:
    # the child has none of them.
    given.import_given((*filter(given.is_labkit, libraries), *for_probes))
    return for_probes


def _nothing_on(number: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, number)
    os.close(nowhere)


if __name__ == "__main__":
    main()

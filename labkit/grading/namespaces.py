"""A forked child in name spaces of its own, so that nothing it does can reach the next submission.

The warm interpreter stands inside bubblewrap: read-only root, no network, none of the grader's files. That wall
keeps everybody's code away from the machine. This module is the second wall, between one submission and the next:
each forked child gets a user, mount, pid, network, ipc and host-name space of its own.

- Own pid space: when its first process ends, the kernel ends every other one in it. Nothing survives.
- Own mount space: an empty, size-limited /tmp and /dev/shm that vanish with it; the rest is read-only already.
- Own network and ipc space: not even a loopback; no socket, queue or shared memory that another one could see.
- The interpreter's memory is copied on write: what a child changes in it, only that child sees.
- No capability is left, and "no new privileges" is set: set-uid programs give nothing.

Three processes: the *keeper* waits outside the pid space and passes the exit status on; the *first* process of the
space reaps what the learner leaves; the third returns from `enter` and runs the answers. The first two cannot be
traced (not dumpable), hold no socket, and do nothing but wait.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

_NEW_USER, _NEW_MOUNT, _NEW_PID = 0x10000000, 0x00020000, 0x20000000
_NEW_NET, _NEW_IPC, _NEW_UTS = 0x40000000, 0x08000000, 0x04000000
_ALL = _NEW_USER | _NEW_MOUNT | _NEW_PID | _NEW_NET | _NEW_IPC | _NEW_UTS
_NOSUID, _NODEV, _BIND, _RECURSIVE = 2, 4, 4096, 16384
_O_PATH = getattr(os, "O_PATH", 0)
_SET_DEATH_SIGNAL, _SET_DUMPABLE, _SET_SUBREAPER, _NO_NEW_PRIVILEGES = 1, 4, 36, 38
_CAPSET = {"x86_64": 126, "aarch64": 91}
_CAP_VERSION_3 = 0x20080522


def can_enter() -> bool:
    """Whether this process may make such spaces, found by making one in a child."""
    if sys.platform != "linux" or os.uname().machine not in _CAPSET:
        return False
    child = os.fork()
    if child == 0:
        try:
            _unshare()
            if os.fork() == 0:
                _mount_private(1)
                _drop_capabilities()
                os._exit(0)
            os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
        except BaseException:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def enter(disk_bytes: int, hidden: Sequence[Path] = (), kept: Sequence[Path] = ()) -> None:
    """Returns in a grandchild that has everything of its own; the caller waits for it, and leaves as it left.

    `hidden` are folders that are empty inside; `kept` are there even if they lie below /tmp. Call it in a process with
    one thread.
    """
    _unshare()
    _prctl(_SET_DUMPABLE, 0)
    first = os.fork()
    if first:
        # Asked to stop, it ends the first process and still waits: that returns when the whole space is gone.
        signal.signal(signal.SIGTERM, lambda *_: os.kill(first, signal.SIGKILL))
        _close_all()
        os._exit(_exit_code(os.waitpid(first, 0)[1]))
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with_parent()
    _mount_private(disk_bytes, hidden, kept)
    _drop_capabilities()
    worker = os.fork()
    if worker:
        _close_all()
        _reap_until(worker)
    os.setsid()
    _prctl(_SET_DUMPABLE, 1)


def die_with_parent() -> None:
    """Ask the kernel to end this process when its parent ends (Linux)."""
    if sys.platform == "linux":
        _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, so that none is lost (Linux)."""
    if sys.platform == "linux":
        _prctl(_SET_SUBREAPER, 1)


def be_ordinary(uid: int) -> None:
    """Stop being root for good, as a user that owns nothing; does nothing for anybody else."""
    if os.getuid() != 0 or not uid:
        return
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    _prctl(_SET_DUMPABLE, 1)  # else /proc/self belongs to root, and no user name space can be described


def _unshare() -> None:
    uid, gid = os.getuid(), os.getgid()
    _call("unshare", _ALL)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def _mount_private(disk_bytes: int, hidden: Sequence[Path] = (), kept: Sequence[Path] = ()) -> None:
    below_tmp = {path: os.open(path, _O_PATH) for path in kept if path.is_relative_to("/tmp") and path.exists()}
    small = f"size={disk_bytes},nr_inodes=20000,mode=1777".encode()
    for folder in ("/tmp", "/dev/shm"):
        if os.path.isdir(folder):
            _call("mount", b"tmpfs", folder.encode(), b"tmpfs", _NOSUID | _NODEV, small)
    for path, number in below_tmp.items():  # a clone of the repository may lie there
        path.mkdir(parents=True, exist_ok=True)
        _call("mount", f"/proc/self/fd/{number}".encode(), str(path).encode(), None, _BIND | _RECURSIVE, None)
        os.close(number)
    for path in filter(Path.exists, hidden):
        _call("mount", b"tmpfs", str(path).encode(), b"tmpfs", _NOSUID | _NODEV, b"size=4096,nr_inodes=2,mode=555")


def _drop_capabilities() -> None:
    """Give up every capability, also those that a user name space gave, for this process and all after it."""
    _prctl(_NO_NEW_PRIVILEGES, 1)
    header = (ctypes.c_uint32 * 2)(_CAP_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    _call("syscall", _CAPSET[os.uname().machine], ctypes.byref(header), ctypes.byref(nothing))


def _reap_until(worker: int) -> None:
    """The first process of a pid space: collects every child, leaves with the worker's status."""
    while True:
        child, status = os.wait()
        if child == worker:
            os._exit(_exit_code(status))


def _exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _close_all() -> None:
    os.closerange(0, 4096)


def _prctl(option: int, value: int) -> None:
    _call("prctl", option, value, 0, 0, 0)


def _call(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")

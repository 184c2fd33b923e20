"""Several graders at once: one process each, with a warm sandbox of its own.

A worker holds labkit's judge and nothing of a learner's; what a learner wrote runs in the sandbox that the worker
starts. A worker that dies or never answers costs nobody anything: another one takes its place and its task.
"""

import contextlib
import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.course.exercises import lab_spec
from labkit.grading import isolation, namespaces
from labkit.grading.limits import Limits
from labkit.grading.result import ATTEMPTS, Key, Result, infrastructure

if TYPE_CHECKING:
    from labkit.grading.grade import Grader

_CONTEXT = multiprocessing.get_context("spawn")  # a fork would carry the threads and the memory of whoever calls


@dataclass(frozen=True)
class Setting:
    """How one class is graded; crosses to every worker."""

    lab: str
    seed: int
    isolation: str | None  # None: the strongest that works where the worker is
    limits: Limits = field(default_factory=Limits)

    def grader(self) -> "Grader":
        """A grader with a sandbox of its own, which is not started yet."""
        from labkit.grading.grade import Grader  # heavy, and only workers need it
        from labkit.grading.sandbox import Sandbox

        wall = isolation.KINDS[self.isolation] if self.isolation else isolation.choose()
        return Grader(lab_spec(self.lab), self.seed, Sandbox(self.lab, wall, self.limits))

    @property
    def task_limit_s(self) -> float:
        """The longest that a worker may be silent: every run of a submission, starts and judging included."""
        return ATTEMPTS * (3 * self.limits.wall_s + 600.0)

    def given_up(self, task: "Task", why: str) -> Result:
        """The result that is owed when no worker survived a task."""
        key = Key(task.source_sha256, self.lab, "", "cpu", self.seed)
        return infrastructure(task.name, lab_spec(self.lab), key, f"tried {ATTEMPTS} times: {why}")


@dataclass(frozen=True)
class Task:
    """One submission to grade."""

    name: str
    path: Path
    source_sha256: str = ""


class _Worker:
    def __init__(self, setting: Setting) -> None:
        self.connection, theirs = _CONTEXT.Pipe()
        self.process = _CONTEXT.Process(target=_work, args=(setting, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.task: Task | None = None
        self.deadline = 0.0

    def take(self, task: Task, limit_s: float) -> None:
        self.task, self.deadline = task, time.monotonic() + limit_s
        with contextlib.suppress(OSError):  # it died just now: waiting for its answer says so
            self.connection.send((task.name, str(task.path)))

    def close(self) -> None:
        self.process.kill()  # its sandbox dies with it
        self.process.join()
        self.connection.close()


def grade_all(setting: Setting, tasks: Sequence[Task], num_workers: int) -> Generator[tuple[Task, Result], None, None]:
    """Every task's result, as they come."""
    todo = deque(tasks)
    attempts: dict[str, int] = {}
    workers = [_Worker(setting) for _ in range(max(1, min(num_workers, len(tasks))))] if tasks else []
    try:
        while todo or any(worker.task for worker in workers):
            for worker in workers:
                if worker.task is None and todo:
                    worker.take(todo.popleft(), setting.task_limit_s)
            for worker, answer in _answers(workers):
                task, worker.task = worker.task, None
                assert task is not None
                if isinstance(answer, Result):
                    yield task, answer
                    continue
                attempts[task.name] = attempts.get(task.name, 0) + 1
                if attempts[task.name] < ATTEMPTS:
                    todo.append(task)
                else:
                    yield task, setting.given_up(task, answer)
                worker.close()
                workers[workers.index(worker)] = _Worker(setting)
    finally:
        for worker in workers:
            worker.close()


def _answers(workers: Sequence[_Worker]) -> list[tuple[_Worker, Result | str]]:
    """What came in, or why nothing will."""
    busy: dict[Any, _Worker] = {worker.connection: worker for worker in workers if worker.task}
    found: list[tuple[_Worker, Result | str]] = []
    for connection in wait(list(busy), timeout=1.0):
        worker = busy.pop(connection)
        try:
            found.append((worker, worker.connection.recv()))
        except (EOFError, OSError):
            worker.process.join(1.0)
            found.append((worker, f"a grading process ended with status {worker.process.exitcode}"))
    now = time.monotonic()
    found += [(worker, "a grading process never answered") for worker in busy.values() if now > worker.deadline]
    return found


def _work(setting: Setting, connection: Connection) -> None:
    """A worker's life."""
    from labkit.grading.sandbox import GraderFault

    namespaces.die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command, which ends us
    grader = setting.grader()
    with grader.sandbox, contextlib.suppress(EOFError, OSError):
        with contextlib.suppress(GraderFault):  # told by the first task, which tries again
            grader.sandbox.warm_up()
        while True:
            name, path = connection.recv()
            connection.send(grader.grade(Path(path), name))

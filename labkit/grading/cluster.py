"""A class over many machines: Dask carries the task "grade this submission", and nothing of a learner's runs in it.

Only trusted work travels: the setting, a name and the bytes of a file go out, a `Result` comes back. Each Dask worker
keeps one warm sandbox of its own, behind the strongest wall on its machine, and the learner's code runs in there. A
worker that dies loses nothing: Dask gives its task to another one, and the same key gives the same result.

Dask runs on plain hosts (`dask scheduler`, `dask worker`), Slurm (dask-jobqueue) and Kubernetes (dask-kubernetes).
Its workers trust each other and whoever can reach the scheduler: use a private network, or TLS.
"""

import tempfile
import threading
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

from labkit.course.exercises import lab_spec
from labkit.grading.crew import Setting, Task
from labkit.grading.marking import lab_version
from labkit.grading.result import ATTEMPTS, Result

AHEAD = 4  # tasks per core that are with the scheduler at a time: nobody waits, and no class fills its memory
CONNECT_S = 30
PATIENCE_S = 3  # without a worker, before that is said

_lock = threading.Lock()  # a sandbox takes one job at a time
_graders: dict[Setting, Any] = {}  # of this worker process


class NoCluster(RuntimeError):
    """The cluster cannot be used; the message says what to do."""


def connect(address: str, say: Callable[[str], None] = print) -> Any:
    """A Dask client. `say` is told when no worker is there yet, so that nobody waits without knowing for what.

    Raises:
        NoCluster: distributed is not installed, nobody answers, or no worker is there.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise NoCluster("--cluster needs Dask, here and on every worker: pip install 'labkit[cluster]'") from error
    try:
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
        try:
            client.wait_for_workers(1, timeout=PATIENCE_S)
        except TimeoutError:
            say(f"waiting for workers at {address}: `dask worker {address}` starts one ({CONNECT_S} s more)")
            client.wait_for_workers(1, timeout=CONNECT_S)
    except (OSError, ValueError, TimeoutError) as error:
        raise NoCluster(f"no Dask scheduler with a worker at {address} ({type(error).__name__}: {error})") from error
    return client


def grade_on_cluster(
    setting: Setting, tasks: Sequence[Task], client: Any
) -> Generator[tuple[Task, Result], None, None]:
    """Every task's result, as they come; like `crew.grade_all`, on the workers of a cluster."""
    from distributed import as_completed

    version = lab_version(lab_spec(setting.lab))
    todo = iter(tasks)
    running: dict[str, Task] = {}
    attempts: dict[str, int] = {}

    def send(task: Task) -> Any:
        number = attempts[task.name] = attempts.get(task.name, 0) + 1
        future = client.submit(
            grade_here, setting, task.name, task.path.read_bytes(), version,
            key=f"grade-{setting.seed}-{task.name}-{number}", pure=False,
        )  # fmt: skip
        running[future.key] = task
        return future

    cores = sum(client.nthreads().values()) or 1
    first = [send(task) for _, task in zip(range(AHEAD * cores), todo, strict=False)]
    coming = as_completed(first, loop=client.loop)
    for future in coming:
        task = running.pop(future.key)
        if future.status == "finished":
            yield task, future.result()
        elif attempts[task.name] < ATTEMPTS:
            coming.add(send(task))
            continue
        else:
            yield task, setting.given_up(task, f"on the cluster: {future.exception()}")
        following = next(todo, None)
        if following is not None:
            coming.add(send(following))


def grade_here(setting: Setting, name: str, data: bytes, version: str) -> Result:
    """On a worker: grade one submission in this process's sandbox.

    Raises:
        RuntimeError: this worker has other checks than whoever asks; its result would be another one.
    """
    ours = lab_version(lab_spec(setting.lab))
    if ours != version:
        raise RuntimeError(f"this worker has version {ours} of {setting.lab}, and {version} is graded: update it")
    with _lock, tempfile.TemporaryDirectory(prefix="labkit-cluster-") as folder:
        if setting not in _graders:
            _graders[setting] = setting.grader()
        path = Path(folder) / "submission.ipynb"
        path.write_bytes(data)
        result: Result = _graders[setting].grade(path, name)
    return result

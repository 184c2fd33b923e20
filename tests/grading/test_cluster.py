"""Many machines: a real cluster of several worker processes, one of which is killed while it grades."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from labkit.cli import main
from labkit.course.lab_spec import LabSpec
from labkit.grading import made_up
from labkit.grading.cluster import NoCluster, connect, grade_on_cluster
from labkit.grading.crew import Setting, Task
from labkit.grading.limits import Limits


def test_without_dask_the_way_to_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(NoCluster, match=r"pip install 'labkit\[cluster\]'"):
        connect("tcp://127.0.0.1:1")


class NobodyWorks:
    """A Dask client whose scheduler never has a worker."""

    def __init__(self, *args: object, **options: object) -> None: ...

    def wait_for_workers(self, count: int, timeout: float) -> None:
        raise TimeoutError(f"only 0 of {count} workers after {timeout} s")


def test_while_no_worker_is_there_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", SimpleNamespace(Client=NobodyWorks))
    said: list[str] = []
    with pytest.raises(NoCluster, match="no Dask scheduler with a worker at tcp://here:1"):
        connect("tcp://here:1", said.append)
    assert said == ["waiting for workers at tcp://here:1: `dask worker tcp://here:1` starts one (30 s more)"]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of two worker processes; starting them costs more than all that they grade here."""
    distributed = pytest.importorskip("distributed", reason="Dask is not installed: pip install 'labkit[cluster]'")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


@pytest.mark.slow
@pytest.mark.timeout(900)  # every worker starts an interpreter, and so does every sandbox
def test_a_worker_that_dies_loses_nothing(start: LabSpec, address: str, tmp_path: Path) -> None:
    right, wrong = made_up.solutions(start), {"median": "def median(samples_ms):\n    return max(samples_ms)"}
    tasks = []
    for number in range(8):
        answers = {"median": (wrong if number % 3 == 0 else right)["median"] + f"\n# {number}"}
        tasks.append(Task(str(number), made_up.write(tmp_path, str(number), made_up.submission(start, answers))))
    outcomes = {}
    with connect(address) as client:
        processes = set(client.run(os.getpid).values())
        assert len(processes - {os.getpid()}) == 2
        victim = min(processes)
        for task, result in grade_on_cluster(Setting(start.name, 7, None, Limits(wall_s=60.0)), tasks, client):
            if not outcomes:
                os.kill(victim, signal.SIGKILL)
            outcomes[int(task.name)] = result.outcome
    assert outcomes == {number: "wrong" if number % 3 == 0 else "pass" for number in range(8)}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_command_gives_the_same_gradebook_on_a_cluster(start: LabSpec, address: str, tmp_path: Path) -> None:
    folder = tmp_path / "submissions"
    folder.mkdir()
    made_up.write(folder, "ann", made_up.submission(start, made_up.solutions(start)))
    made_up.write(folder, "bob", made_up.submission(start, {}))
    (folder / "cy.ipynb").write_text("{")
    for out, more in (("there", ["--cluster", address]), ("here", ["--jobs", "1"])):
        arguments = ["grade", str(folder), "--lab", start.name, "--out", str(tmp_path / out), "--seed", "5", *more]
        run = CliRunner().invoke(main, arguments)
        assert run.exit_code == 0, run.output
    assert (tmp_path / "there/gradebook.csv").read_bytes() == (tmp_path / "here/gradebook.csv").read_bytes()

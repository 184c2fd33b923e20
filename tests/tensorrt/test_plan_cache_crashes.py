"""Several processes at once, processes that are killed while they write, and a full disk."""

import errno
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import labkit.tensorrt as lt
from labkit.tensorrt import entry as entry_module
from labkit.tensorrt.build import Built

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are forked and killed")
fork = multiprocessing.get_context("fork") if sys.platform != "win32" else None

PLAN = b"a plan of some size " * 200_000  # 4 MB: long enough to be killed in


def bounds(opt):
    return {"x": ((1, 3, 8, 8), (opt, 3, 8, 8), (64, 3, 8, 8))}


def leftovers(folder):
    return [path.name for path in folder.iterdir() if path.name.endswith(".tmp")]


@pytest.fixture
def slow_build(monkeypatch, tmp_path):
    """A builder that takes a while, and writes down in a file of all processes that it was called."""
    log = tmp_path / "built.txt"
    log.touch()

    def build(request, on_progress=None):
        with log.open("a") as file:
            file.write(f"{request.key}\n")
        time.sleep(0.2)
        return Built(request.key.encode() + PLAN)

    monkeypatch.setattr("labkit.tensorrt.cache.build", build)
    return lambda: log.read_text().split()


def ask(folder, net, opts, answers):
    cache = lt.PlanCache(folder)
    for opt in opts:
        served = cache.serve(net, bounds(opt))
        answers.put((opt, served.plan == served.key.encode() + PLAN, served.hit))


def test_processes_that_ask_at_once_build_once(tmp_path, net, slow_build):
    answers = fork.SimpleQueue()
    workers = [fork.Process(target=ask, args=(tmp_path / "plans", net, [4], answers)) for _ in range(6)]
    for worker in workers:
        worker.start()
    got = [answers.get() for _ in workers]
    for worker in workers:
        worker.join()
    assert len(slow_build()) == 1
    assert all(right for _, right, _ in got)
    assert sum(not hit for *_, hit in got) == 1


def test_processes_with_several_plans_build_each_once(tmp_path, net, slow_build):
    answers, opts = fork.SimpleQueue(), [1, 2, 3]
    orders = [random.Random(seed).sample(opts, len(opts)) for seed in range(4)]
    workers = [fork.Process(target=ask, args=(tmp_path / "plans", net, order, answers)) for order in orders]
    for worker in workers:
        worker.start()
    got = [answers.get() for order in orders for _ in order]
    for worker in workers:
        worker.join()
    assert sorted(slow_build()) == sorted({lt.plan_key(net, bounds(opt)) for opt in opts})
    assert all(right for _, right, _ in got)


def test_threads_build_once_too(tmp_path, net, slow_build):
    from concurrent.futures import ThreadPoolExecutor

    cache = lt.PlanCache(tmp_path / "plans")
    with ThreadPoolExecutor(5) as pool:
        plans = list(pool.map(lambda _: cache.get_or_build(net, bounds(4)), range(5)))
    assert len(slow_build()) == 1
    assert len(set(plans)) == 1


def test_real_builders_in_two_processes_agree(tmp_path, net):
    code = (
        "import sys, hashlib, labkit.tensorrt as lt; "
        f"served = lt.PlanCache({str(tmp_path / 'plans')!r}).serve({str(net)!r}, {bounds(4)!r}); "
        "print(hashlib.sha256(served.plan).hexdigest(), served.hit)"
    )
    workers = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    got = [worker.communicate()[0].split() for worker in workers]
    assert got[0][0] == got[1][0]
    assert sorted(hit for _, hit in got) == ["False", "True"]


def stop_while_writing(folder, net, reached):
    """Asks for a plan, and stands still when its bytes are on disk under the temporary name."""

    def fsync(_):
        reached.set()
        time.sleep(60)

    entry_module.os.fsync = fsync
    lt.PlanCache(folder).get_or_build(net, bounds(4))


def test_a_process_killed_while_it_writes_leaves_nothing_that_is_served(tmp_path, net, slow_build):
    folder, reached = tmp_path / "plans", fork.Event()
    victim = fork.Process(target=stop_while_writing, args=(folder, net, reached))
    victim.start()
    assert reached.wait(30)
    assert leftovers(folder)  # it was in the middle
    os.kill(victim.pid, signal.SIGKILL)
    victim.join()

    cache = lt.PlanCache(folder)
    assert cache.stored() == []
    served = cache.serve(net, bounds(4))  # the dead process's lock is free
    assert served.plan == served.key.encode() + PLAN
    assert served.reason == "miss: no plan is stored here yet"
    assert leftovers(folder) == []
    assert cache.serve(net, bounds(4)).hit


def test_who_waits_for_a_process_that_is_killed_builds_itself(tmp_path, net, slow_build):
    folder, reached, answers = tmp_path / "plans", fork.Event(), fork.SimpleQueue()
    victim = fork.Process(target=stop_while_writing, args=(folder, net, reached))
    victim.start()
    assert reached.wait(30)
    waiting = fork.Process(target=ask, args=(folder, net, [4], answers))
    waiting.start()
    time.sleep(0.2)
    os.kill(victim.pid, signal.SIGKILL)
    assert answers.get() == (4, True, False)
    waiting.join()
    victim.join()


def write_for_ever(folder, net):
    cache = lt.PlanCache(folder, max_bytes=3 * len(PLAN))
    for number in range(10**6):
        cache.get_or_build(net, bounds(1 + number % 9))


def test_processes_killed_at_any_moment_never_spoil_the_cache(tmp_path, net, monkeypatch):
    monkeypatch.setattr("labkit.tensorrt.cache.build", lambda request, _: Built(request.key.encode() + PLAN))
    folder, moments = tmp_path / "plans", random.Random(7)
    cache = lt.PlanCache(folder, max_bytes=3 * len(PLAN))
    for _ in range(12):
        victims = [fork.Process(target=write_for_ever, args=(folder, net)) for _ in range(2)]
        for victim in victims:
            victim.start()
        time.sleep(moments.uniform(0.02, 0.2))
        for victim in victims:
            os.kill(victim.pid, signal.SIGKILL)
            victim.join()
        for stored in cache.stored():
            _, plan = entry_module.read_plan(stored.path)  # raises Damaged
            assert plan == stored.path.stem.encode() + PLAN
        assert sum(each.num_bytes for each in cache.stored()) <= cache.max_bytes
    assert cache.get_or_build(net, bounds(64)).endswith(PLAN)
    assert leftovers(folder) == []


# --- a full disk ----------------------------------------------------------------------------------------------------


def test_a_full_disk_costs_the_entry_and_not_the_plan(tmp_path, net, profile, monkeypatch, fake_build):
    cache = lt.PlanCache(tmp_path / "plans")

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(entry_module.os, "fsync", full)
        with pytest.warns(lt.CacheWarning) as warned:
            plan = cache.get_or_build(net, profile)
    assert str(warned[0].message).startswith("the plan was built but not kept: No space left on device (")
    assert warned[0].filename == __file__  # it points at the caller
    assert [path.name for path in cache.folder.iterdir()] == ["locks"]
    assert cache.get_or_build(net, profile) == plan
    assert cache.explain(net, profile) == "hit"


ON_A_TMPFS = """
import json, os, subprocess, sys
from pathlib import Path
import labkit.tensorrt as lt
disk, net, profile = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", disk], check=True)
report = {}
served = lt.PlanCache(disk / "plans").serve(net, profile)
report["plan_bytes"], report["not_kept"] = len(served.plan), served.not_kept
command = [sys.executable, "-m", "labkit.cli", "trt", "build", net, "--output", str(disk / "net.plan"),
           "--profile", "x=1x3x8x8,4x3x8x8,16x3x8x8"]
ran = subprocess.run(command, capture_output=True, text=True)
report["rc"], report["stderr"] = ran.returncode, ran.stderr
report["left"] = [str(path) for path in disk.rglob("*") if path.is_file() and path.stat().st_size]
(disk / "fill").write_bytes(b"x" * (os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize))
report["full"] = lt.PlanCache(disk / "plans").serve(net, profile).not_kept
print(json.dumps(report))
"""


def test_a_disk_that_is_really_full(tmp_path, net, profile):
    """64 KiB, in a mount namespace of its own; plans have more than 100 KB."""
    try:
        subprocess.run(["unshare", "-rm", "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("unshare -rm is not allowed here, so no small disk can be mounted")
    (tmp_path / "disk").mkdir()
    command = [
        "unshare",
        "-rm",
        sys.executable,
        "-c",
        ON_A_TMPFS,
        str(tmp_path / "disk"),
        str(net),
        json.dumps(profile),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=Path(lt.__file__).parents[2])
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert report["plan_bytes"] > 100_000
    assert report["not_kept"].startswith("No space left on device (")
    assert report["full"].startswith("No space left on device (")
    assert report["rc"] == 1
    assert report["stderr"].startswith("the plan was built but could not be written to ")
    assert report["stderr"].endswith("net.plan: No space left on device\n")
    assert report["left"] == []

"""The wall: chosen by trying it, refused without, named in the result."""

import subprocess
import sys
from pathlib import Path

import pytest

from labkit.course.exercises import lab_spec
from labkit.course.paths import ROOT
from labkit.grading import isolation, made_up
from labkit.grading import sandbox as sandbox_module
from labkit.grading.grade import Grader
from labkit.grading.isolation import KINDS, LIMITS_ONLY, NoIsolation, choose
from labkit.grading.limits import MIB, Limits
from labkit.grading.sandbox import GraderFault, Sandbox

LIMITS = Limits(wall_s=20.0, memory_bytes=1000 * MIB, num_processes=50)


@pytest.fixture
def nothing_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "why_not", lambda name: f"no program {name}")


def test_refuses_without_a_wall_and_says_what_to_do(nothing_works: None) -> None:
    with pytest.raises(NoIsolation, match=r"podman: no program podman; docker: .*; bubblewrap: .*limits-only") as error:
        choose()
    assert "apt install bubblewrap" in str(error.value)


def test_limits_only_must_be_asked_for_by_name(nothing_works: None) -> None:
    assert choose(LIMITS_ONLY).label == "not isolated: limits only"


def test_what_was_asked_for_is_never_replaced_by_something_weaker(nothing_works: None) -> None:
    with pytest.raises(NoIsolation, match="bubblewrap"):
        choose("bubblewrap")
    with pytest.raises(NoIsolation, match="there is no isolation 'chroot'"):
        choose("chroot")


def test_the_strongest_that_works_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "why_not", lambda name: "" if name in ("docker", "bubblewrap") else "no")
    assert choose().name == "docker"


@pytest.mark.parametrize("engine", ["podman", "docker"])
def test_a_containers_command_leaves_nothing_open(engine: str) -> None:
    """Construction only: no engine runs where this was written, so the container itself is not verified here."""
    command = KINDS[engine].wrap(["-m", "labkit.grading.warm", "00_start_here", "0", "once"], LIMITS, "labkit-x")
    line = " ".join(command)
    assert command[:2] == [engine, "run"]
    for wanted in (
        "--name labkit-x", "--init", "--network none", "--ipc none", "--read-only", "--cap-drop all",
        "--security-opt no-new-privileges", "--user 65534:65534", "--pids-limit 50", "--memory 1048576000",
        "--memory-swap 1048576000", "--cpus 1", "--pull never", "size=268435456",
    ):  # fmt: skip
        assert wanted in line, wanted
    assert "--volume" not in line
    assert str(ROOT) not in line
    assert command[-5:] == ["-m", "labkit.grading.warm", "00_start_here", "0", "once"]


def test_bubblewrap_binds_python_and_labkit_and_nothing_of_the_graders() -> None:
    command = KINDS["bubblewrap"].wrap(["-c", "pass"], LIMITS, "")
    bound = [command[index + 1] for index, part in enumerate(command) if part in ("--bind", "--ro-bind")]
    assert str(ROOT / "labkit") in bound
    assert "--bind" not in command
    for hidden in (ROOT, ROOT / "solutions", ROOT / "tests", Path.home(), Path("/etc"), Path("/")):
        assert str(hidden) not in bound


def inside(code: str) -> str:
    if isolation.why_not("bubblewrap"):
        pytest.skip(f"bubblewrap does not work here: {isolation.why_not('bubblewrap')}")
    command = KINDS["bubblewrap"].wrap(["-c", code], LIMITS, "")
    run = subprocess.run(
        command, env=isolation.environment_inside(isolation.HOME), capture_output=True, text=True, timeout=60
    )
    return run.stdout + run.stderr


def test_inside_bubblewrap_there_is_nothing_to_read_or_write() -> None:
    code = f"""
import os
for path in ({str(ROOT / "solutions")!r}, {str(ROOT / "tests")!r}, "/etc/passwd", "/home", "/var"):
    assert not os.path.exists(path), path
for folder in ("/", "/usr", "/dev", {str(ROOT / "labkit")!r}):
    try:
        open(os.path.join(folder, "x"), "w")
    except OSError:
        continue
    raise AssertionError(folder)
print(sorted(os.listdir("/tmp")))
"""
    assert inside(code) == "[]\n"


def test_inside_bubblewrap_there_is_no_network_and_no_other_process() -> None:
    code = """
import os, socket
print(sorted(name for _, name in socket.if_nameindex()), len([p for p in os.listdir("/proc") if p.isdigit()]) < 4)
"""
    assert inside(code) == "['lo'] True\n"


# --- the sandbox ------------------------------------------------------------------------------------------


def test_a_sandbox_that_does_not_start_is_the_graders_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = isolation.Isolation("bubblewrap", lambda arguments, limits, tag: ["false"])
    with pytest.raises(GraderFault, match="did not start"):
        Sandbox("00_start_here", broken, LIMITS).warm_up()


def test_the_graders_fault_is_tried_again_and_costs_nothing(tmp_path: Path) -> None:
    starts: list[int] = []

    def broken(arguments: object, limits: Limits, tag: str) -> list[str]:
        starts.append(1)
        return ["false"]

    spec = lab_spec("00_start_here")
    path = made_up.write(tmp_path, "ann", made_up.submission(spec, {}))
    with Sandbox(spec.name, isolation.Isolation("bubblewrap", broken), LIMITS) as sandbox:
        result = Grader(spec, 7, sandbox).grade(path)
    assert len(starts) == 3
    assert (result.outcome, result.is_graded) == ("infrastructure", False)
    assert "through no fault of yours" in result.marks[0].feedback
    assert result.notes[0].startswith("tried 3 times: the sandbox did not start")


# Stands in for podman where none is: it gives the program two pipes, as engines do, and notes what it was asked.
ENGINE = """#!/bin/sh
echo "$@" >> "{log}"
case "$1" in
  inspect) echo {oom} ;;
  run)
    while [ "$1" != python ]; do shift; done; shift
    mkfifo "{log}.in"; exec 3<&0; cat <&3 > "{log}.in" &
    "{python}" "$@" < "{log}.in" 2>/dev/null | cat
    kill $!; rm "{log}.in" ;;
esac
"""


def engine(folder: Path, monkeypatch: pytest.MonkeyPatch, oom: str = "false") -> Path:
    """A stand-in engine on the path; returns the file in which it notes its calls."""
    log = folder / "calls.txt"
    (folder / "podman").write_text(ENGINE.format(log=log, oom=oom, python=sys.executable))
    (folder / "podman").chmod(0o755)
    inside = {"HOME": str(folder), "MPLCONFIGDIR": str(folder), "IPYTHONDIR": str(folder)}
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(isolation, "ENGINE_VARIABLES", ("PATH", "PYTHONPATH", "LANG"))
    monkeypatch.setattr(sandbox_module, "engine_environment", lambda: {**isolation.engine_environment(), **inside})
    return log


@pytest.mark.slow
@pytest.mark.parametrize("oom", ["false", "true"])
def test_a_container_is_spoken_to_through_pipes_and_removed_by_name(
    oom: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine is a stand-in; that a real one works is found by trying it, where there is one."""
    log = engine(tmp_path, monkeypatch, oom)
    spec = lab_spec("00_start_here")
    leaves = "import os\nos._exit(1)" if oom == "true" else made_up.solutions(spec)["median"]
    path = made_up.write(tmp_path, "ann", made_up.submission(spec, {"median": leaves}))
    with Sandbox(spec.name, KINDS["podman"], LIMITS) as sandbox:
        result = Grader(spec, 7, sandbox).grade(path)
    assert (result.outcome, result.run["isolation"]) == ("out of memory" if oom == "true" else "pass", "podman")
    calls = [line.split() for line in log.read_text().splitlines()]
    started = {call[call.index("--name") + 1] for call in calls if call[0] == "run"}
    assert started
    assert started == {call[2] for call in calls if call[:2] == ["rm", "--force"]}


@pytest.mark.slow
def test_limits_only_ends_what_a_submission_leaves_behind(tmp_path: Path) -> None:
    import psutil

    spec = lab_spec("00_start_here")
    leaves = (
        "import subprocess, sys\n"
        "code = 'import time; time.sleep(99) # left-behind'\n"
        "subprocess.Popen([sys.executable, '-c', code], start_new_session=True)\n"
    )
    answers = {"median": leaves + made_up.solutions(spec)["median"]}
    path = made_up.write(tmp_path, "ann", made_up.submission(spec, answers))
    with Sandbox(spec.name, KINDS[LIMITS_ONLY], LIMITS) as sandbox:
        result = Grader(spec, 7, sandbox).grade(path)
        assert (result.outcome, result.run["isolation"]) == ("pass", "not isolated: limits only")
        lines = [" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"])]
        assert not [line for line in lines if "left-behind" in line]

"""The doctor: on healthy facts it finds nothing; each trap, faked, is found and names the command that mends it."""

import ctypes
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labkit import hardware
from labkit.course.exercise import Exercise
from labkit.course.paths import ROOT
from labkit.doctor import TRAPS, Facts, examine, facts, gather, reference, reference_check, traps

HEALTHY = Facts(
    python="/env/bin/python",
    python_version="3.12.1",
    package_folder="/clone/labkit",
    kernel_python="/env/bin/python",
    versions={
        "pip": "24.0", "torch": "2.13.0", "onnxruntime-gpu": "1.31.1", "netron": "9.3.3",
        "jupyter-server-proxy": "4.6.0", "tensorrt-rtx": "1.7.1.116", "tensorrt-rtx-cu13": "1.7.1.116",
    },
    pins={"torch": "2.13.0", "onnxruntime": "1.31.1", "onnxruntime-gpu": "1.31.1", "netron": "9.3.3"},
    torch_cuda=(13, 0),
    onnxruntime_cuda=(13, 0),
    driver_cuda=(13, 1),
    shared_memory_bytes=2**33,
    chromium="/usr/bin/chromium",
    bubblewrap="/usr/bin/bwrap",
    sandbox_refused=None,
    viewer_date=date(2026, 10, 23),
    viewer_known=True,
    labs_folder="/clone/labs",
    progress_writable=True,
    in_container=False,
    today=date(2026, 11, 28),
)  # fmt: skip

Change = Callable[[Facts], Facts]


def _with_versions(**changed: str | None) -> Change:
    """Versions added, changed or (None) taken away; `_` in a name stands for `-`."""
    by_name = {name.replace("_", "-"): version for name, version in changed.items()}

    def change(before: Facts) -> Facts:
        merged = {**before.versions, **by_name}
        return replace(before, versions={name: version for name, version in merged.items() if version})

    return change


def _with(**changed: Any) -> Change:
    return lambda before: replace(before, **changed)


# trap -> (how to fake it, what the finding must say, what its command must hold)
FAKES: dict[str, tuple[Change, str, str]] = {
    "two_onnx_runtimes": (
        _with_versions(onnxruntime="1.31.1"),
        "onnxruntime 1.31.1 and onnxruntime-gpu 1.31.1",
        "uninstall -y onnxruntime onnxruntime-gpu && /env/bin/python -m pip install onnxruntime-gpu==1.31.1",
    ),
    "no_onnx_runtime": (_with_versions(onnxruntime_gpu=None), "neither", "install onnxruntime-gpu==1.31.1"),
    "driver_too_old": (_with(driver_cuda=(12, 4)), "up to 12.4, torch was built for CUDA 13.0", "nvidia-driver-580"),
    "torch_without_cuda": (_with(torch_cuda=None), "is a CPU build", "constraints.txt --force-reinstall torch==2.13.0"),
    "onnx_runtime_without_cuda": (
        _with_versions(onnxruntime_gpu=None, onnxruntime="1.31.1"),
        "onnxruntime 1.31.1 is the build for the CPU",
        "GPU=1 /clone/labkit/../setup_environment.sh",
    ),
    "cuda_mismatch": (_with(onnxruntime_cuda=(12, 8)), "gpu was built for CUDA 12", "onnxruntime-gpu==1.31.1"),
    "viewer_page_unknown": (_with(viewer_known=False), "Netron 9.3.3", "install netron==9.3.3"),
    "viewer_expired": (_with(today=date(2027, 4, 21)), "stopped on 2027-04-21", "--upgrade netron"),
    "no_viewer_proxy": (_with_versions(jupyter_server_proxy=None), "not installed", "install jupyter-server-proxy"),
    "kernel_of_another_python": (_with(kernel_python="/usr/bin/python3"), "run /usr/bin/python3", "ipykernel install"),
    "too_little_shared_memory": (_with(shared_memory_bytes=64 * 2**20), "64 MiB", "mount -o remount,size=1G /dev/shm"),
    "progress_not_kept": (_with(progress_writable=False), "/clone/labs cannot", "chown -R $(id -u) /clone/labs"),
    "old_pip": (_with_versions(pip="20.3.4"), "pip 20.3.4, 21.3 or newer", "install --upgrade pip"),
    "other_versions": (_with_versions(torch="2.12.0+cu130"), "torch 2.12.0+cu130 (tested: 2.13.0)", "torch==2.13.0"),
    "no_chromium": (_with(chromium=None), "no Chromium on the PATH", "apt-get install chromium"),
    "no_sandbox": (_with(bubblewrap=None), "bwrap", "apt-get install bubblewrap"),
}  # fmt: skip


def _names_of_traps() -> list[str]:
    return [trap.__name__ for trap in TRAPS]


def test_every_trap_of_the_module_is_looked_for_and_faked_here() -> None:
    defined = {name for name, made in vars(traps).items() if callable(made) and getattr(made, "__module__", "") ==
               traps.__name__ and not name.startswith("_") and name != "Finding"}  # fmt: skip
    assert set(_names_of_traps()) == defined == set(FAKES)


@pytest.mark.parametrize("trap", TRAPS, ids=_names_of_traps())
def test_a_healthy_installation_has_no_trap(trap: traps.Trap) -> None:
    assert trap(HEALTHY) is None
    laptop = _with_versions(onnxruntime_gpu=None, onnxruntime="1.31.1", torch="2.13.0+cpu")(HEALTHY)
    assert trap(replace(laptop, torch_cuda=None, onnxruntime_cuda=None, driver_cuda=None)) is None


@pytest.mark.parametrize("name", FAKES)
def test_each_trap_is_found_alone_and_names_what_mends_it(name: str) -> None:
    change, said, mend = FAKES[name]
    report = examine(change(HEALTHY), reference=lambda python: None)
    assert [finding for trap in TRAPS if trap.__name__ == name and (finding := trap(report.facts))] == [
        *report.findings
    ], "this trap, and no other, is found"
    (found,) = report.findings
    assert said in found.found
    assert mend in found.mend
    assert report.healthy == (found.severity == "advice")
    assert found.mend in str(report)
    assert report.num_looked_at == 1 + len(TRAPS)


def test_the_bounds_are_tight() -> None:
    lifetime = timedelta(days=180)
    day_before = replace(HEALTHY, today=HEALTHY.viewer_date + lifetime - timedelta(days=1))  # type: ignore[operator]
    assert traps.viewer_expired(day_before) is None
    assert traps.too_little_shared_memory(_with(shared_memory_bytes=traps.LEAST_SHARED_MEMORY_BYTES)(HEALTHY)) is None
    assert traps.old_pip(_with_versions(pip="21.3")(HEALTHY)) is None
    assert traps.old_pip(_with_versions(pip="21.2.4")(HEALTHY)) is not None
    assert traps.driver_too_old(_with(driver_cuda=(13, 0))(HEALTHY)) is None


def test_in_a_container_shared_memory_is_mended_from_outside() -> None:
    found = traps.too_little_shared_memory(_with(shared_memory_bytes=2**26, in_container=True)(HEALTHY))
    assert found
    assert "docker run --shm-size=1g" in found.mend


def test_a_sandbox_that_is_not_allowed_is_told_from_one_that_is_missing() -> None:
    found = traps.no_sandbox(_with(sandbox_refused="setting up uid map: Permission denied")(HEALTHY))
    assert found
    assert "uid map: Permission denied" in found.found
    assert "apparmor_restrict_unprivileged_userns=0" in found.mend


def test_bubblewrap_is_tried_and_not_only_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert gather().sandbox_refused == "bwrap: No permissions to create new namespace"


def test_under_a_hub_the_labs_are_the_learners_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clone is there to be read: a learner who asked was told that nothing is kept, and to use sudo."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/ana/")
    assert gather().labs_folder == str(ROOT / "labs")  # an image that holds the labs
    for folder in ("labkit/labs", "labs"):  # pulled, copied
        (tmp_path / folder).mkdir(parents=True)
        assert gather().labs_folder == str(tmp_path / folder)
    assert gather().progress_writable


def test_a_tensorrt_for_another_cuda_is_a_mismatch() -> None:
    changed = _with_versions(tensorrt_rtx_cu13=None, tensorrt_rtx_cu12="1.7.1.116")(HEALTHY)
    found = traps.cuda_mismatch(changed)
    assert found
    assert "tensorrt-rtx was built for CUDA 12" in found.found
    assert found.mend.endswith("tensorrt-rtx-cu13")


# --- the reference check -----------------------------------------------------------------------------------


def test_the_reference_check_is_green_here() -> None:
    assert reference_check(sys.executable) is None


@pytest.mark.parametrize("broken", ["rejects everything", "accepts everything", "raises"])
def test_a_check_that_cannot_be_trusted_is_found(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def judge(self: Exercise, candidate: Any, **options: Any) -> Any:
        if broken == "raises":
            raise OSError("no processes left")
        return SimpleNamespace(passed=broken == "accepts everything", findings=())

    monkeypatch.setattr(Exercise, "judge", judge)
    found = reference_check("python")
    assert found
    assert {"rejects everything": "a right answer was rejected", "accepts everything": "was not recognised"}.get(
        broken, "OSError: no processes left"
    ) in found.found
    assert not examine(HEALTHY, reference=lambda python: found).healthy


@pytest.mark.parametrize("extra", ["cpu", "gpu"])
def test_its_mend_keeps_the_runtime_that_is_there(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`.[cpu]` on a machine with the extra `gpu` would be the trap of two ONNX Runtimes."""
    monkeypatch.setattr(reference, "is_installed", lambda name: extra == "gpu" and name == "onnxruntime-gpu")
    monkeypatch.setattr(Exercise, "judge", lambda self, candidate, **options: 1 / 0)
    found = reference_check("python")
    assert found
    assert found.mend.endswith(f"-e '.[{extra}]'")


# --- gathering ---------------------------------------------------------------------------------------------


def test_what_is_gathered_here_is_true() -> None:
    found = gather()
    assert found.python == sys.executable
    assert found.versions["numpy"] == __import__("numpy").__version__
    assert found.pins["torch"] == "2.13.0"
    assert "jupyter-server-proxy" in found.pins  # written with underscores in the file
    assert found.viewer_known
    assert found.viewer_date == date(2026, 10, 23)  # of the pinned Netron
    if Path("/dev/shm").is_dir():
        assert found.shared_memory_bytes == shutil.disk_usage("/dev/shm").total


def test_a_name_is_compared_as_the_index_does() -> None:
    assert facts.normalised("Jupyter_Server.proxy") == "jupyter-server-proxy"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cuda: Optional[str] = '13.0'\nhip: Optional[str] = None\n", (13, 0)),
        ("cuda: Optional[str] = None\nhip: Optional[str] = '6.1'\n", None),
    ],
)
def test_torch_is_asked_without_importing_it(
    text: str, expected: tuple[int, int] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/version.py").write_text(f"__all__ = ['cuda']\n{text}")
    monkeypatch.setattr(facts.sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(facts, "_kernel_python", lambda: None)
    assert gather().torch_cuda == expected


@pytest.mark.parametrize(("number", "expected"), [(13010, (13, 1)), (12040, (12, 4))])
def test_the_driver_says_its_cuda(number: int, expected: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    def cuDriverGetVersion(pointer: Any) -> int:
        pointer._obj.value = number
        return 0

    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(cuDriverGetVersion=cuDriverGetVersion))
    assert hardware.driver_cuda_version() == expected


# --- the command, with a condition that is really there ----------------------------------------------------


def _doctor(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "labkit", "doctor", *arguments],
        capture_output=True, text=True, timeout=120, env={**os.environ, **environment},
    )  # fmt: skip


def test_the_command_finds_two_onnx_runtimes(tmp_path: Path) -> None:
    """Both distributions are found as pip would find them: the trap is real, the packages are empty."""
    for name in ("onnxruntime", "onnxruntime_gpu"):
        folder = tmp_path / f"{name}-1.31.1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.31.1\n")
    done = _doctor("--json", PYTHONPATH=str(tmp_path))
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert report["healthy"] is False
    assert report["num_looked_at"] == len(report["looked_at"]) == 1 + len(TRAPS)
    found = {finding["name"]: finding for finding in report["findings"]}
    assert "onnxruntime 1.31.1 and onnxruntime-gpu 1.31.1" in found["two ONNX Runtimes"]["found"]
    assert "pip uninstall -y onnxruntime onnxruntime-gpu && " in found["two ONNX Runtimes"]["mend"]


def test_the_command_finds_the_kernel_of_another_python(tmp_path: Path) -> None:
    kernel = tmp_path / "kernels/python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(json.dumps({"argv": ["/somewhere/python"], "display_name": "x"}))
    done = _doctor(JUPYTER_PATH=str(tmp_path), HOME=str(tmp_path))
    assert "✗ kernel of another Python: notebooks run /somewhere/python" in done.stdout
    assert f"Mend: {sys.executable} -m ipykernel install --sys-prefix" in done.stdout
    assert done.returncode == 1

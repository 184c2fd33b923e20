"""What the doctor looks at, gathered once as plain data, so that each trap is a function that a test can ask.

Nothing here imports torch, ONNX Runtime or TensorRT: a broken installation must not break its doctor.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from importlib import metadata
from pathlib import Path

from labkit import hardware
from labkit.course.paths import ROOT
from labkit.course.progress import FOLDER

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
# labkit.widgets.netron_server can serve a page that has these, once each, and no other.
KNOWN_PAGE = (r'<meta name="version" content="[^"]*">', r'<meta name="date" content="[^"]*">', "</title>")


@dataclass(frozen=True)
class Facts:
    """One machine and one environment, as the traps see them. None: not there, or not to be known."""

    python: str  # the interpreter that runs this, and so the one that pip should install into
    python_version: str
    package_folder: str  # where `import labkit` comes from
    kernel_python: str | None  # the interpreter that a notebook's kernel starts
    versions: Mapping[str, str]  # every installed distribution, normalised name -> version
    pins: Mapping[str, str]  # constraints.txt, normalised name -> version
    torch_cuda: tuple[int, int] | None  # what torch was built for; None: a CPU build, or no torch
    onnxruntime_cuda: tuple[int, int] | None
    driver_cuda: tuple[int, int] | None  # the newest CUDA that the driver supports
    shared_memory_bytes: int | None
    chromium: str | None
    bubblewrap: str | None
    sandbox_refused: str | None  # what bubblewrap said when it was asked for a sandbox; None: it made one
    viewer_date: date | None  # when the stock Netron page was built
    viewer_known: bool  # whether labkit can serve that page
    labs_folder: str  # where a learner works
    progress_writable: bool
    in_container: bool
    today: date


def gather() -> Facts:
    """The facts of this machine and this environment."""
    page = _netron_page()
    return Facts(
        python=sys.executable,
        python_version=platform.python_version(),
        package_folder=str(Path(__file__).resolve().parents[1]),
        kernel_python=_kernel_python(),
        versions=_installed(),
        pins=_pins(),
        torch_cuda=_cuda_named_in("torch/version.py", r"^cuda\b[^=]*=\s*'(\d+)\.(\d+)"),
        onnxruntime_cuda=_cuda_named_in(
            "onnxruntime/capi/build_and_package_info.py", r"^cuda_version\s*=\s*['\"](\d+)\.(\d+)"
        ),
        driver_cuda=hardware.driver_cuda_version(),
        shared_memory_bytes=_shared_memory_bytes(),
        chromium=os.environ.get("LABKIT_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None),
        bubblewrap=shutil.which("bwrap"),
        sandbox_refused=_sandbox_refused(),
        viewer_date=_built_on(page),
        viewer_known=all(len(re.findall(mark, page)) == 1 for mark in KNOWN_PAGE),
        labs_folder=str(labs := _labs_folder()),
        progress_writable=_can_write(labs / FOLDER),
        in_container=Path("/.dockerenv").exists() or Path("/run/.containerenv").exists(),
        today=date.today(),
    )


def normalised(name: str) -> str:
    """A distribution's name as the index compares it: `jupyter_server` and `Jupyter-Server` are one."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _installed() -> dict[str, str]:
    found = ((each.metadata["Name"], each.version) for each in metadata.distributions())
    return {normalised(name): version for name, version in found if name}


def _pins() -> dict[str, str]:
    """The pins of the clone that this labkit comes from; none where it was installed without one."""
    try:
        lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = (line.partition("==") for line in lines if "==" in line and not line.startswith("#"))
    return {normalised(name): version.partition(";")[0].strip() for name, _, version in pairs}


def _cuda_named_in(file: str, pattern: str) -> tuple[int, int] | None:
    """The CUDA version that an installed package says it was built for, read and not imported."""
    for folder in dict.fromkeys((sysconfig.get_path("platlib"), sysconfig.get_path("purelib"))):
        try:
            text = (Path(folder) / file).read_text(encoding="utf-8")
        except OSError:
            continue
        found = re.search(pattern, text, re.MULTILINE)
        return (int(found[1]), int(found[2])) if found else None
    return None


def _kernel_python() -> str | None:
    """The interpreter of the kernel `python3`; a name without a path is searched as Jupyter does."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    try:
        argv = KernelSpecManager().get_kernel_spec("python3").argv
    except (NoSuchKernel, OSError, json.JSONDecodeError):
        return None
    if not argv:
        return None
    # jupyter_client puts its own interpreter in place of these (KernelManager.format_kernel_cmd).
    own = {"python", f"python{sys.version_info[0]}", f"python{sys.version_info[0]}.{sys.version_info[1]}"}
    return sys.executable if argv[0] in own else shutil.which(argv[0]) or argv[0]


def _shared_memory_bytes() -> int | None:
    try:
        return shutil.disk_usage("/dev/shm").total
    except OSError:  # not Linux
        return None


def _netron_page() -> str:
    try:
        folder = metadata.distribution("netron").locate_file("netron")
        return (Path(str(folder)) / "index.html").read_text(encoding="utf-8")
    except (metadata.PackageNotFoundError, OSError):
        return ""


def _built_on(page: str) -> date | None:
    found = re.search(r'<meta name="date" content="(\d{4})-(\d\d)-(\d\d)', page)
    return date(*map(int, found.groups())) if found else None


def _labs_folder() -> Path:
    """The clone's; under a hub the learner's own, since the clone is there for everybody, to be read."""
    own = [Path.home() / "labs", Path.home() / "labkit/labs"] if os.environ.get("JUPYTERHUB_SERVICE_PREFIX") else []
    return next(filter(Path.is_dir, own), ROOT / "labs")


def _sandbox_refused() -> str | None:
    """Ubuntu 24.04 and some containers have bubblewrap and do not let it work."""
    if not shutil.which("bwrap"):
        return None
    command = ["bwrap", "--unshare-pid", "--ro-bind", "/", "/", "true"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (done.stderr.strip() or f"exit code {done.returncode}") if done.returncode else None


def _can_write(folder: Path) -> bool:
    existing = next(each for each in (folder, *folder.parents) if each.exists())
    return os.access(existing, os.W_OK)

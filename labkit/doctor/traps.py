"""The known traps. Each is a function of the facts: a Finding that names the command which mends it, or None.

`broken` means that something a learner meets does not work; `advice` is for who runs the tests, grades, or works from
a shell. The numbers below have their source beside them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from labkit.doctor.facts import Facts

# pip before this cannot install a clone in place from a pyproject.toml (PEP 660; pip's changelog, 21.3).
OLDEST_PIP = (21, 3)
# The oldest Linux driver for each major version of CUDA (NVIDIA, "CUDA Compatibility", minor version compatibility).
DRIVER_FOR_CUDA = {11: 450, 12: 525, 13: 580}
# Docker gives a container 64 MB of shared memory unless told otherwise: too little for Chromium and for gloo's ranks.
LEAST_SHARED_MEMORY_BYTES = 256 * 2**20
# Netron's stock page refuses to work this long after it was built (browser.js; netron issue 1164).
VIEWER_LIFETIME = timedelta(days=180)
# Distributions that install one and the same module, `onnxruntime`.
ONNX_RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino")


@dataclass(frozen=True)
class Finding:
    """One trap that is there: what was found, what comes of it, and the command that mends it."""

    name: str
    severity: Literal["broken", "advice"]
    found: str
    consequence: str
    mend: str


Trap = Callable[[Facts], Finding | None]


def two_onnx_runtimes(facts: Facts) -> Finding | None:
    installed = [name for name in ONNX_RUNTIMES if name in facts.versions]
    if len(installed) < 2:
        return None
    keep = "onnxruntime-gpu" if facts.driver_cuda else "onnxruntime"
    return Finding(
        "two ONNX Runtimes",
        "broken",
        " and ".join(f"{name} {facts.versions[name]}" for name in installed),
        "they write over each other's files in one folder: which one runs is chance, and the GPU may be lost silently",
        f"{_pip(facts)} uninstall -y {' '.join(installed)} && {_pip(facts)} install {_pinned(facts, keep)}",
    )


def no_onnx_runtime(facts: Facts) -> Finding | None:
    if any(name in facts.versions for name in ONNX_RUNTIMES):
        return None
    keep = "onnxruntime-gpu" if facts.driver_cuda else "onnxruntime"
    return Finding(
        "no ONNX Runtime",
        "broken",
        "neither onnxruntime nor onnxruntime-gpu is installed: labkit takes one of them with the extra `cpu` or `gpu`",
        "the labs from 02 on cannot run a model",
        f"{_pip(facts)} install {_pinned(facts, keep)}",
    )


def driver_too_old(facts: Facts) -> Finding | None:
    if not (facts.driver_cuda and facts.torch_cuda) or facts.driver_cuda[0] >= facts.torch_cuda[0]:
        return None
    needed = DRIVER_FOR_CUDA.get(facts.torch_cuda[0])
    return Finding(
        "driver too old",
        "broken",
        f"the NVIDIA driver supports CUDA up to {_dotted(facts.driver_cuda)}, torch was built for CUDA "
        f"{_dotted(facts.torch_cuda)}" + (f", which needs driver {needed} or newer" if needed else ""),
        "torch cannot use the GPU, and everything of tier gpu is skipped",
        f"sudo apt-get install nvidia-driver-{needed or 'VERSION'} && sudo reboot",
    )


def torch_without_cuda(facts: Facts) -> Finding | None:
    if not facts.driver_cuda or facts.torch_cuda or "torch" not in facts.versions:
        return None
    return Finding(
        "torch without CUDA",
        "broken",
        f"a driver for CUDA {_dotted(facts.driver_cuda)} is here, and torch {facts.versions['torch']} is a CPU build",
        "torch does not see the GPU, and everything of tier gpu is skipped",
        # The page of CPU builds, which README names, would win again.
        f"env -u PIP_EXTRA_INDEX_URL {_reinstall(facts)} {_pinned(facts, 'torch')}",
    )


def onnx_runtime_without_cuda(facts: Facts) -> Finding | None:
    others = [name for name in ONNX_RUNTIMES if name in facts.versions]
    if not facts.driver_cuda or others != ["onnxruntime"]:
        return None
    return Finding(
        "ONNX Runtime without CUDA",
        "advice",
        f"a driver for CUDA {_dotted(facts.driver_cuda)} is here, and onnxruntime {facts.versions['onnxruntime']} is "
        "the build for the CPU, of the extra `cpu`",
        "models run on the CPU, and `make gpu` has nothing to say about ONNX Runtime's CUDA provider",
        f"GPU=1 {facts.package_folder}/../setup_environment.sh",
    )


def cuda_mismatch(facts: Facts) -> Finding | None:
    """Libraries of two major versions of CUDA in one process: the second one to be loaded fails, or crashes."""
    built_for = {"torch": facts.torch_cuda and facts.torch_cuda[0]}
    built_for["onnxruntime-gpu"] = facts.onnxruntime_cuda and facts.onnxruntime_cuda[0]
    for flavour in ("tensorrt-cu", "tensorrt-rtx-cu"):
        majors = [int(name.removeprefix(flavour)) for name in facts.versions if name.removeprefix(flavour).isdigit()]
        built_for[flavour.removesuffix("-cu")] = majors[0] if majors else None
    known = {name: major for name, major in built_for.items() if major}
    wanted = known.get("torch")
    others = [name for name, major in known.items() if wanted and major != wanted]
    if not others:
        return None
    return Finding(
        "CUDA mismatch",
        "broken",
        ", ".join(f"{name} was built for CUDA {major}" for name, major in known.items()),
        f"{' and '.join(others)} cannot load the CUDA libraries that torch brings",
        f"{_reinstall(facts)} "
        + " ".join(f"{name}-cu{wanted}" if name.startswith("tensorrt") else _pinned(facts, name) for name in others),
    )


def viewer_page_unknown(facts: Facts) -> Finding | None:
    if facts.viewer_known:
        return None
    version = facts.versions.get("netron")
    return Finding(
        "model viewer",
        "broken",
        f"the page of Netron {version} is not one that labkit can serve" if version else "Netron is not installed",
        "graphs are shown as drawings only",
        f"{_pip(facts)} install {_pinned(facts, 'netron')}",
    )


def viewer_expired(facts: Facts) -> Finding | None:
    if not facts.viewer_date or facts.today < facts.viewer_date + VIEWER_LIFETIME:
        return None
    return Finding(
        "expired viewer",
        "advice",
        f"the installed Netron was built on {facts.viewer_date} and stopped on {facts.viewer_date + VIEWER_LIFETIME}",
        "`netron model.onnx` from a shell shows only a request to update; the viewer in the notebooks goes on working",
        f"{_pip(facts)} install --upgrade netron",
    )


def no_viewer_proxy(facts: Facts) -> Finding | None:
    if "jupyter-server-proxy" in facts.versions:
        return None
    return Finding(
        "no viewer behind a hub",
        "broken",
        "jupyter-server-proxy is not installed",
        "on a JupyterHub or another remote server the model viewer does not answer, and a drawing stands in",
        f"{_pip(facts)} install {_pinned(facts, 'jupyter-server-proxy')}",
    )


def kernel_of_another_python(facts: Facts) -> Finding | None:
    if facts.kernel_python == facts.python:
        return None
    return Finding(
        "kernel of another Python",
        "broken",
        f"notebooks run {facts.kernel_python or 'no Python at all'}, labkit is installed for {facts.python}",
        "`import labkit` fails in a notebook, or finds another one",
        f"{facts.python} -m ipykernel install --sys-prefix",
    )


def too_little_shared_memory(facts: Facts) -> Finding | None:
    size = facts.shared_memory_bytes
    if size is None or size >= LEAST_SHARED_MEMORY_BYTES:
        return None
    inside = "leave the container and start it with: docker run --shm-size=1g …"
    return Finding(
        "too little shared memory",
        "broken",
        f"/dev/shm has {size / 2**20:.0f} MiB, {LEAST_SHARED_MEMORY_BYTES / 2**20:.0f} MiB are needed",
        "training in several processes and the browser tests end with a bus error",
        inside if facts.in_container else "sudo mount -o remount,size=1G /dev/shm",
    )


def progress_not_kept(facts: Facts) -> Finding | None:
    if facts.progress_writable:
        return None
    return Finding(
        "progress is not kept",
        "broken",
        f"the folder {facts.labs_folder} cannot be written",
        "what you solve is forgotten when the kernel ends, and notebooks cannot be saved",
        f"sudo chown -R $(id -u) {facts.labs_folder}",
    )


def old_pip(facts: Facts) -> Finding | None:
    version = facts.versions.get("pip", "")
    if not version or _numbers(version) >= OLDEST_PIP:
        return None
    return Finding(
        "old pip",
        "broken",
        f"pip {version}, {'.'.join(map(str, OLDEST_PIP))} or newer is needed",
        "it cannot install labkit from a clone",
        f"{_pip(facts)} install --upgrade pip",
    )


def other_versions(facts: Facts) -> Finding | None:
    """Builds of one version (2.13.0+cpu, 2.13.0+cu130) count as that version."""
    differing = {
        name: f"{name} {facts.versions[name]} (tested: {pin})"
        for name, pin in facts.pins.items()
        if name in facts.versions and facts.versions[name].partition("+")[0] != pin
    }
    if not differing:
        return None
    return Finding(
        "other versions",
        "advice",
        ", ".join(sorted(differing.values())[:5]) + (f" and {len(differing) - 5} more" if len(differing) > 5 else ""),
        "the labs were tested with what constraints.txt names",
        f"{_pip(facts)} install {' '.join(_pinned(facts, name) for name in sorted(differing))}",
    )


def no_chromium(facts: Facts) -> Finding | None:
    if facts.chromium:
        return None
    return Finding(
        "no Chromium",
        "advice",
        "no Chromium on the PATH, and none named in LABKIT_CHROMIUM",
        "`make test` skips the tests in a real browser; learners need nothing",
        "sudo apt-get install chromium",
    )


def no_sandbox(facts: Facts) -> Finding | None:
    if facts.bubblewrap and not facts.sandbox_refused:
        return None
    refused = f"bubblewrap may not make a sandbox here: {facts.sandbox_refused}"
    return Finding(
        "no sandbox",
        "advice",
        refused if facts.bubblewrap else "bubblewrap (bwrap) is not installed",
        "`labkit grade` refuses, or takes podman or Docker; the example of a hub does not start; learners need nothing",
        # Ubuntu's AppArmor keeps user namespaces from programs that have no profile, since 23.10.
        "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
        if facts.bubblewrap
        else "sudo apt-get install bubblewrap",
    )


TRAPS: tuple[Trap, ...] = (
    old_pip,
    kernel_of_another_python,
    two_onnx_runtimes,
    no_onnx_runtime,
    driver_too_old,
    torch_without_cuda,
    onnx_runtime_without_cuda,
    cuda_mismatch,
    viewer_page_unknown,
    no_viewer_proxy,
    too_little_shared_memory,
    progress_not_kept,
    viewer_expired,
    other_versions,
    no_chromium,
    no_sandbox,
)


def _pip(facts: Facts) -> str:
    return f"{facts.python} -m pip"


def _reinstall(facts: Facts) -> str:
    """What a reinstalled package drags in stays at the tested versions."""
    constraints = f"-c {facts.package_folder}/../constraints.txt " if facts.pins else ""
    return f"{_pip(facts)} install {constraints}--force-reinstall"


def _pinned(facts: Facts, name: str) -> str:
    return f"{name}=={facts.pins[name]}" if name in facts.pins else name


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.split(".")[:2]
    return tuple(int(part) for part in parts if part.isdigit())

"""What this machine is, and what it can do: its tier, its parts, its versions, its measured roofs.

    >>> print(this_machine())                                           # doctest: +SKIP

The two roofs (FLOP/s of a float32 matrix product, bytes/s of a large copy) are measured, not looked up: a
data sheet does not know about the neighbours, the BLAS or the power cap of the machine at hand.
"""

import ctypes
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Literal

from labkit.measure import time_call

Tier = Literal["cpu", "gpu"]

# Distributions whose version a measured number depends on.
VERSIONED = ("numpy", "torch", "triton", "onnx", "onnxruntime", "onnxruntime-gpu", "tensorrt-rtx", "tensorrt")

# Together about a second of measuring, on a machine with a few dozen GFLOP/s a core.
GEMM_SIZE = 1024  # 2.1 GFLOP a product: long against its start, and three matrices of 4 MiB
NUM_SAMPLES = 9
COPY_BYTES = 128 * 2**20  # source and target each: far more than the last cache of most machines


@dataclass(frozen=True)
class Machine:
    """A machine's parts and its measured roofs, with all its cores and with `one_thread` (never the higher one)."""

    tier: Tier
    cpu_name: str
    num_cores: int
    memory_bytes: int
    gpu_name: str | None
    blas: str
    versions: Mapping[str, str | None]
    peak_flops: float
    peak_flops_one_thread: float
    bandwidth_bytes_per_s: float
    bandwidth_bytes_per_s_one_thread: float

    @property
    def ridge_flops_per_byte(self) -> float:
        """Arithmetic intensity where the two roofs meet: work with less of it is bound by memory."""
        return self.peak_flops / self.bandwidth_bytes_per_s

    def rows(self) -> list[tuple[str, str]]:
        """What there is to say, as (name, value with its unit). GB is 1e9 bytes, GiB is 2**30."""
        return [
            ("tier", self.tier),
            ("CPU", f"{self.cpu_name}, {self.num_cores} cores to use"),
            ("memory", f"{self.memory_bytes / 2**30:.1f} GiB"),
            ("GPU", self.gpu_name or "none that torch can use"),
            ("BLAS", self.blas),
            ("float32 GEMM", _roofs(self.peak_flops, self.peak_flops_one_thread, "GFLOP/s")),
            (
                "memory copy",
                _roofs(self.bandwidth_bytes_per_s, self.bandwidth_bytes_per_s_one_thread, "GB/s")
                + " (read and written)",
            ),
            ("ridge", f"{self.ridge_flops_per_byte:.1f} FLOP per byte"),
            *((name, version or "not installed") for name, version in self.versions.items()),
        ]

    def __str__(self) -> str:
        rows = self.rows()
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


@cache
def this_machine() -> Machine:
    """This machine, its roofs measured at the first call (about a second) and kept for the process.

    torch is imported only where an NVIDIA driver is installed: without one it has no GPU to report.
    """
    num_cores = usable_cores()
    flops_one_thread = measure_peak_flops(1)
    bandwidth_one_thread = measure_bandwidth(1)
    return Machine(
        tier=tier(),
        cpu_name=_cpu_name(),
        num_cores=num_cores,
        memory_bytes=_memory_bytes(),
        gpu_name=_gpu_name(),
        blas=_blas_name(),
        versions=installed_versions(),
        # On a busy machine, threads that wait for each other can be slower than one alone: the roof is the best seen.
        peak_flops=max(measure_peak_flops(num_cores), flops_one_thread),
        peak_flops_one_thread=flops_one_thread,
        bandwidth_bytes_per_s=max(measure_bandwidth(num_cores), bandwidth_one_thread),
        bandwidth_bytes_per_s_one_thread=bandwidth_one_thread,
    )


def tier() -> Tier:
    """ "gpu" where torch can use a CUDA device, else "cpu"."""
    return "cpu" if _gpu_name() is None else "gpu"


def usable_cores() -> int:
    """Logical cores that this process may run on: its affinity, which can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def measure_peak_flops(num_threads: int, size: int = GEMM_SIZE) -> float:
    """FLOP/s of the fastest of a few float32 products of two (size, size) matrices, 2 size³ FLOP each.

    The limit on threads holds for the BLAS libraries that threadpoolctl knows; Apple's Accelerate is not one.
    """
    import numpy as np
    from threadpoolctl import threadpool_limits

    a, b = np.random.default_rng(0).standard_normal((2, size, size), dtype=np.float32)
    out = np.empty_like(a)
    with threadpool_limits(num_threads, user_api="blas"):
        timing = time_call(lambda: np.matmul(a, b, out=out), repeats=NUM_SAMPLES)
    return 2 * size**3 / (timing.min_ms / 1e3)  # the fastest: a roof is what the machine can do


def measure_bandwidth(num_threads: int, num_bytes: int = COPY_BYTES) -> float:
    """Bytes read plus bytes written per second by the fastest of a few copies of `num_bytes`.

    What the program asks for is counted. A CPU that fetches a line before it overwrites it moves more.
    """
    import numpy as np

    sources = np.array_split(np.ones(num_bytes, np.uint8), num_threads)
    targets = [np.ones_like(source) for source in sources]  # written once, so that every page is there
    with ThreadPoolExecutor(num_threads) as threads:  # a large NumPy copy lets go of the interpreter lock
        timing = time_call(lambda: list(threads.map(np.copyto, targets, sources)), repeats=NUM_SAMPLES)
    return 2 * num_bytes / (timing.min_ms / 1e3)


@cache
def _gpu_name() -> str | None:
    """Name of torch's first CUDA device, None where there is none to use."""
    if not _nvidia_driver_installed():
        return None
    try:
        import torch
    except ImportError:
        return None
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def _nvidia_driver_installed() -> bool:
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def driver_cuda_version() -> tuple[int, int] | None:
    """The newest CUDA that the installed NVIDIA driver supports, like (13, 0); None without a driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None
    number = ctypes.c_int()
    if driver.cuDriverGetVersion(ctypes.byref(number)) != 0:  # needs no cuInit, so it answers without a GPU too
        return None
    return number.value // 1000, number.value % 1000 // 10


def _cpu_name() -> str:
    if sys.platform == "darwin":
        answer = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True)
        return answer.stdout.strip() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:  # not Linux
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _memory_bytes() -> int:
    import psutil

    return int(psutil.virtual_memory().total)


def _blas_name() -> str:
    """The BLAS under NumPy and the kernels that it chose for this CPU."""
    import numpy  # noqa: F401  # threadpoolctl sees libraries that are loaded
    from threadpoolctl import threadpool_info

    found = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    if not found:
        return "not recognised"
    pool = found[0]
    return " ".join(str(pool[key]) for key in ("internal_api", "version", "architecture") if pool.get(key))


def installed_versions() -> dict[str, str | None]:
    """Versions that a measured number depends on, by distribution; None where one is not installed."""
    return {"python": platform.python_version()} | _versions(VERSIONED)


def _versions(distributions: tuple[str, ...]) -> dict[str, str | None]:
    """From the installed metadata: nothing is imported."""
    versions: dict[str, str | None] = {}
    for name in distributions:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def _roofs(all_threads: float, one_thread: float, unit: str) -> str:
    return f"{all_threads / 1e9:.1f} {unit}, one thread {one_thread / 1e9:.1f} {unit}"

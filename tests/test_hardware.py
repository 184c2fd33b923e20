"""hardware: counts are exact on a clock that stands still; what is real is compared with torch and psutil."""

import os
import subprocess
import sys
import types

import numpy as np
import psutil
import pytest
import torch
from threadpoolctl import threadpool_info

from labkit import hardware
from labkit.hardware import Machine, measure_bandwidth, measure_peak_flops, this_machine, tier
from labkit.measure import Timing

MACHINE = Machine(
    tier="gpu",
    cpu_name="Example CPU",
    num_cores=8,
    memory_bytes=16 * 2**30,
    gpu_name="Example GPU",
    blas="openblas 0.3",
    versions={"numpy": "2.0", "triton": None},
    peak_flops=800e9,
    peak_flops_one_thread=100e9,
    bandwidth_bytes_per_s=40e9,
    bandwidth_bytes_per_s_one_thread=20e9,
)


@pytest.fixture
def one_call_is_a_second(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every timed call takes a second; returns the BLAS threads that were allowed inside each."""
    blas_threads: list[int] = []

    def time_call(call, **_):
        call()
        blas_threads.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return Timing((3000.0, 1000.0))

    monkeypatch.setattr(hardware, "time_call", time_call)
    return blas_threads


def test_peak_flops_are_two_n_cubed_over_the_fastest_sample(one_call_is_a_second: list[int]) -> None:
    assert measure_peak_flops(1, size=100) == 2 * 100**3


def test_one_thread_means_one(one_call_is_a_second: list[int]) -> None:
    before = [pool["num_threads"] for pool in threadpool_info()]
    measure_peak_flops(1, size=8)
    assert one_call_is_a_second
    assert set(one_call_is_a_second) == {1}
    assert [pool["num_threads"] for pool in threadpool_info()] == before


@pytest.mark.parametrize("num_threads", [1, 3])
def test_bandwidth_counts_bytes_read_and_bytes_written(
    one_call_is_a_second: list[int], num_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = []
    copyto = np.copyto
    monkeypatch.setattr(np, "copyto", lambda to, of: (copied.append(to.nbytes), copyto(to, of)))
    assert measure_bandwidth(num_threads, num_bytes=1000) == 2 * 1000
    assert len(copied) == num_threads
    assert sum(copied) == 1000


def test_the_roofs_of_this_machine_are_of_a_possible_size() -> None:
    one_thread = measure_peak_flops(1, size=256)
    assert 1e8 < one_thread < 1e13
    # independent of the code under test: the same product, timed by torch's own harness
    from torch.utils.benchmark import Timer

    a = torch.ones(256, 256)
    by_torch = 2 * 256**3 / Timer("a @ a", globals={"a": a}, num_threads=1).timeit(20).mean
    assert 0.05 < one_thread / by_torch < 20
    assert 1e8 < measure_bandwidth(1, num_bytes=2**24) < 1e13


def test_this_machine_agrees_with_torch_and_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "measure_peak_flops", lambda num_threads: 1e9 * num_threads)
    monkeypatch.setattr(hardware, "measure_bandwidth", lambda num_threads: 1e8 * num_threads)
    machine = this_machine.__wrapped__()
    assert machine.tier == ("gpu" if torch.cuda.is_available() else "cpu")
    assert (machine.gpu_name is None) == (not torch.cuda.is_available())
    assert machine.memory_bytes == psutil.virtual_memory().total
    assert 1 <= machine.num_cores <= (os.cpu_count() or 1)
    assert machine.versions["numpy"] == np.__version__
    assert machine.versions["torch"] == torch.__version__
    assert machine.cpu_name
    assert (machine.peak_flops, machine.peak_flops_one_thread) == (1e9 * machine.num_cores, 1e9)


def test_on_a_busy_machine_one_thread_is_still_no_higher_than_the_roof(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "usable_cores", lambda: 4)
    monkeypatch.setattr(hardware, "measure_peak_flops", lambda num_threads: 9e9 / num_threads)
    monkeypatch.setattr(hardware, "measure_bandwidth", lambda num_threads: 5e9 / num_threads)
    machine = this_machine.__wrapped__()
    assert machine.peak_flops == machine.peak_flops_one_thread == 9e9
    assert machine.bandwidth_bytes_per_s == machine.bandwidth_bytes_per_s_one_thread == 5e9


def test_without_a_driver_torch_is_not_imported() -> None:
    source = (
        "import sys; from labkit import hardware; hardware._nvidia_driver_installed = lambda: False\n"
        "assert hardware.tier() == 'cpu'; hardware._versions(hardware.VERSIONED)\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", source], check=True)


@pytest.mark.parametrize(("available", "expected"), [(True, "gpu"), (False, "cpu")])
def test_a_driver_alone_is_not_a_gpu(available: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = types.SimpleNamespace(is_available=lambda: available, get_device_name=lambda _: "Example GPU")
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))
    monkeypatch.setattr(hardware, "_nvidia_driver_installed", lambda: True)
    monkeypatch.setattr(hardware, "_gpu_name", hardware._gpu_name.__wrapped__)
    assert tier() == expected


def test_a_driver_without_torch_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(hardware, "_nvidia_driver_installed", lambda: True)
    assert hardware._gpu_name.__wrapped__() is None


def test_the_ridge_is_where_the_roofs_meet() -> None:
    assert MACHINE.ridge_flops_per_byte == 20.0


def test_a_machine_reads_as_a_table_with_units() -> None:
    assert str(MACHINE).splitlines() == [
        "tier          gpu",
        "CPU           Example CPU, 8 cores to use",
        "memory        16.0 GiB",
        "GPU           Example GPU",
        "BLAS          openblas 0.3",
        "float32 GEMM  800.0 GFLOP/s, one thread 100.0 GFLOP/s",
        "memory copy   40.0 GB/s, one thread 20.0 GB/s (read and written)",
        "ridge         20.0 FLOP per byte",
        "numpy         2.0",
        "triton        not installed",
    ]

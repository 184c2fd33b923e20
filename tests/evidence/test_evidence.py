"""Evidence: what is written, what is shown with none and with some, and every part rehearsed on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from labkit import hardware
from labkit.cli import main
from labkit.course.exercises import PACKAGES, all_labs
from labkit.course.readme import lab_table
from labkit.evidence import PARTS, Evidence, PartResult, Target, lab_status, newest, record, recorded
from labkit.evidence import place as places
from labkit.evidence import run as running
from labkit.evidence.attention import scattered_table, share_in_order
from labkit.evidence.place import Place

MATMUL = {
    "size": 4096.0, "triton_tflops_per_s": 510.4, "cublas_tflops_per_s": 600.0, "share_of_cublas": 0.8507,
    "share_of_roof": 0.81,
}  # fmt: skip


def evidence(date: str = "2026-12-01T10:00:00+00:00", **parts: PartResult) -> Evidence:
    parts = parts or {"matmul": PartResult(MATMUL, (Target("share_of_cublas", 0.8, 0.8507),), 12.5)}
    return Evidence("Example GPU 80GB", "580.65", {"torch": "2.13.0", "tensorrt": None}, "abc123def456", date, parts)


def test_it_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = evidence().write(tmp_path)
    assert path.name == "gpu-2026-12-01T100000Z-example-gpu-80gb.json"
    assert Evidence.read(path) == evidence()
    assert json.loads(path.read_text())["parts"]["matmul"]["targets"][0]["met"] is True
    with pytest.raises(FileExistsError):
        evidence().write(tmp_path)  # what was recorded is never written over


@pytest.mark.parametrize(("came", "met"), [(0.8, True), (0.7999, False)])
def test_a_target_is_met_from_its_bound_on(came: float, met: bool) -> None:
    assert Target("share_of_cublas", 0.8, came).met == met


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2}', '{"format": 1, "parts": {"matmul": {}}}'])
def test_another_file_is_refused_by_its_name(text: str, tmp_path: Path) -> None:
    (tmp_path / "gpu-x.json").write_text(text)
    with pytest.raises(ValueError, match=r"gpu-x\.json is not evidence as labkit writes it"):
        newest("matmul", tmp_path)


def test_the_newest_with_figures_is_shown_with_its_device_and_date(tmp_path: Path) -> None:
    assert recorded("matmul", tmp_path) == (
        "Recorded so far: nothing; the tiled product in Triton, against cuBLAS and the roofline: not yet seen on a GPU."
        " `make gpu` on a machine with one records it."
    )
    evidence("2026-12-01T10:00:00+00:00").write(tmp_path)
    evidence("2026-12-03T10:00:00+00:00", matmul=PartResult(error="CUDA out of memory")).write(tmp_path)
    assert recorded("matmul", tmp_path) == (
        "Recorded, not measured here (Example GPU 80GB, 2026-12-01, driver 580.65, commit abc123def): 4096³ in fp16: "
        "the tiled product 510 TFLOP/s, cuBLAS 600, so 85% of cuBLAS and 81% of the measured roof."
    )


def test_what_is_committed_can_be_read_and_says_what_it_must() -> None:
    for each in record.all_evidence():
        assert each.parts
        assert set(each.parts) <= set(PARTS)
        for name, result in each.parts.items():
            assert result.error or PARTS[name].sentence(result.figures)


# --- the README's table ------------------------------------------------------------------------------------


def test_every_part_belongs_to_a_lab_of_the_course_or_one_to_come() -> None:
    numbers = [part.lab[:2] for part in PARTS.values()]
    assert numbers == sorted(set(numbers), key=numbers.index)
    assert {part.lab for part in PARTS.values()} & set(PACKAGES)
    assert [name for name, part in PARTS.items() if part.name != name] == []


def test_a_lab_is_seen_when_all_its_parts_are(tmp_path: Path) -> None:
    assert lab_status("00_start_here", tmp_path) is None
    assert lab_status("01_gemm_im2col", tmp_path) == "not yet seen on a GPU"
    evidence().write(tmp_path)
    assert lab_status("01_gemm_im2col", tmp_path) == "seen on Example GPU 80GB, 2026-12-01"
    assert lab_status("05_token_attention", tmp_path) == "not yet seen on a GPU"


def test_the_table_says_of_each_lab_with_a_gpu_part_whether_it_was_seen() -> None:
    rows = {row.split("](")[0].removeprefix("| ["): row for row in lab_table(all_labs()).splitlines()[2:]}
    assert set(rows) == set(PACKAGES)
    for lab, row in rows.items():
        status = lab_status(lab)
        assert row.endswith(f"({status}) |" if status else " |")
        assert status or "seen on" not in row


# --- running -----------------------------------------------------------------------------------------------

REHEARSE_ALL = """
import json, os, sys
os.environ["TRITON_INTERPRET"] = "1"
from importlib import import_module
from labkit.evidence.parts import PARTS
from labkit.evidence.place import Place
figures = {name: import_module(f"labkit.evidence.{name}").run(Place("cpu")).as_data() for name in PARTS}
print(json.dumps(figures))
"""


@pytest.mark.slow
def test_every_part_runs_small_and_interpreted_and_fills_its_sentence() -> None:
    """In one process, to import torch once; a wrong product or a wrong sum of bytes would raise in there."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", REHEARSE_ALL], capture_output=True, text=True, timeout=280,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads(done.stdout.splitlines()[-1])
    assert set(results) == set(PARTS)
    for name, result in results.items():
        figures = result["figures"]
        if name == "plans":  # built, and not run: running needs a GPU
            assert {"fp32_plan_bytes", "fp16_plan_bytes"} <= set(figures)
            assert 0 < figures["fp16_plan_bytes"] < figures["fp32_plan_bytes"]
            figures |= {"fp32_ms": 1.0, "fp16_ms": 1.0, "fp32_max_error": 0.0, "fp16_max_error": 0.0}
        assert PARTS[name].sentence(figures)
        assert all(value > 0 for figure, value in figures.items() if figure.endswith(("_ms", "_per_s")))
        assert all(value > 0 for figure, value in figures.items() if figure.endswith("_s"))
    assert results["zero"]["figures"]["observed_bytes"] == 16 * results["zero"]["figures"]["num_params"]
    # A rehearsal compares the CPU with itself: the same seeds give the same students.
    students = results["distillation"]["figures"]
    assert students["gain_points"] == students["cpu_gain_points"]
    assert students["students"] == 10
    assert results["distillation"]["targets"] == []


def test_students_that_gain_less_on_the_device_miss_a_target(monkeypatch: pytest.MonkeyPatch) -> None:
    from labkit.evidence import distillation

    def trained(place: Place, digits: object, device: str) -> dict[str, float]:
        names = ("teacher_s", "students_s", "labels_only", "distilled")
        return {"teacher_accuracy": 0.98, "gain_points": 2.9 if device == "cuda" else 6.0, **dict.fromkeys(names, 0.9)}

    monkeypatch.setattr(distillation, "_trained", trained)
    (target,) = distillation.run(Place("cuda")).targets
    assert (target.figure, target.at_least, target.came, target.met) == ("gain_points", 3.0, 2.9, False)
    monkeypatch.setattr(distillation, "_trained", lambda *args: {**trained(*args), "teacher_accuracy": 0.5})
    with pytest.raises(AssertionError, match="teacher_accuracy"):
        distillation.run(Place("cuda"))


def test_a_plan_with_another_answer_is_no_evidence() -> None:
    from labkit.evidence.plans import _run_plan

    expected = np.linspace(-1, 1, 8, dtype=np.float32)

    def runner(answer: np.ndarray) -> Any:
        return SimpleNamespace(run=lambda inputs: {"y": answer}, time=lambda inputs: SimpleNamespace(median_ms=0.5))

    figures = _run_plan(runner(expected + 2**-9), "fp32", {}, expected)
    assert figures == {"fp32_max_error": pytest.approx(2**-9), "fp32_ms": 0.5}
    with pytest.raises(AssertionError, match=r"the fp32 plan differs by 7\.81e-03"):
        _run_plan(runner(expected + 2**-7), "fp32", {}, expected)
    _run_plan(runner(expected + 2**-7), "fp16", {}, expected)


def test_the_attended_slots_lie_scattered_and_belong_to_one_request_each() -> None:
    table, rows = scattered_table(5, 40)
    slots = np.concatenate([table.slots(row) for row in rows])
    assert len(np.unique(slots)) == len(slots) == 200
    assert share_in_order(table.slots(rows[0])) < 0.2
    assert share_in_order(np.arange(9)) == 1


def test_a_part_that_dies_or_hangs_costs_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    part = PARTS["matmul"]
    monkeypatch.setattr(running.sys, "executable", "/bin/false")
    assert "ended with exit code 1 and no answer" in (running.run_part(part, "cpu").error or "")

    def hang(*args: Any, **options: Any) -> None:
        raise subprocess.TimeoutExpired("x", options["timeout"])

    monkeypatch.setattr(running.subprocess, "run", hang)
    assert running.run_part(part, "cpu").error == "did not end within 180 s"


# --- the command -------------------------------------------------------------------------------------------


@pytest.mark.skipif(hardware.tier() == "gpu", reason="there is a GPU")
def test_without_a_gpu_it_says_so_shows_what_is_recorded_and_ends_well() -> None:
    done = CliRunner().invoke(main, ["gpu"])
    assert done.exit_code == 0
    assert done.output.startswith("No GPU that torch can use is here, so nothing of tier gpu was run")
    assert all(f"  {name}: {recorded(name)}" in done.output for name in PARTS)


def test_an_unknown_part_is_answered_with_those_there_are() -> None:
    done = CliRunner().invoke(main, ["gpu", "matmull"])
    assert done.exit_code == 2
    assert "there is no part matmull; there are matmul, attention" in done.output


@pytest.fixture
def fake_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine that says it has a GPU; returns the folder that the evidence goes to."""
    monkeypatch.setattr(hardware, "tier", lambda: "gpu")
    monkeypatch.setattr(running, "device_name", lambda: "Example GPU 80GB")
    monkeypatch.setattr(running, "driver_version", lambda: "580.65")
    monkeypatch.setattr(Evidence.write, "__defaults__", (tmp_path,))
    return tmp_path


@pytest.mark.parametrize(("share", "exit_code"), [(0.85, 0), (0.79, 1)])
def test_on_a_gpu_one_file_is_written_and_a_missed_target_is_a_failure(
    share: float, exit_code: int, fake_gpu: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    came = PartResult({**MATMUL, "share_of_cublas": share}, (Target("share_of_cublas", 0.8, share),), 3.0)
    monkeypatch.setattr(running, "run_part", lambda part, device: came if device == "cuda" else None)
    done = CliRunner().invoke(main, ["gpu", "matmul"])
    assert done.exit_code == exit_code, done.output
    (path,) = fake_gpu.glob("gpu-*.json")
    written = Evidence.read(path)
    assert written.parts == {"matmul": came}
    assert written.device == "Example GPU 80GB"
    assert {"python", "torch", "triton", "onnxruntime-gpu", "tensorrt"} <= set(written.versions)
    assert ("share_of_cublas 0.79, wanted 0.80" in done.output) == bool(exit_code)


def test_a_rehearsal_records_nothing(fake_gpu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "run_part", lambda part, device: PartResult(MATMUL))
    done = CliRunner().invoke(main, ["gpu", "--rehearse", "matmul"])
    assert "rehearsed on the CPU: it runs, and its 5 figures mean nothing" in done.output
    assert list(fake_gpu.iterdir()) == []


def test_the_driver_is_asked_and_may_be_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(*args: Any, **options: Any) -> Any:
        return SimpleNamespace(stdout="580.65.06\n580.65.06\n")

    monkeypatch.setattr(places.subprocess, "run", answer)
    assert places.driver_version() == "580.65.06"

    def missing(*args: Any, **options: Any) -> Any:
        raise FileNotFoundError

    monkeypatch.setattr(places.subprocess, "run", missing)
    assert places.driver_version() == "unknown"
    monkeypatch.setenv("LABKIT_COMMIT", "feed")
    assert places.commit() == "feed"


def test_a_place_takes_small_sizes_only_where_it_rehearses() -> None:
    assert Place("cpu").pick(4096, 48) == 48
    assert Place("cuda").pick(4096, 48) == 4096
    assert Place("cpu").synchronize is None

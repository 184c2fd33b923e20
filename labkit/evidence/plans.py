"""TensorRT plans, in fp32 and fp16: built here, run on the device, compared with ONNX Runtime, timed by CUDA events."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from labkit.evidence.place import Place
from labkit.evidence.provider import relative_error
from labkit.evidence.record import PartResult

MODEL = "residual"
# Rounding of the arithmetic, over the output's scale: TF32 has 10 bits, fp16 has 10 and is rounded at every layer.
LARGEST_ERROR: dict[Literal["fp32", "fp16"], float] = {"fp32": 2**-8, "fp16": 2**-6}


def run(place: Place, runner_of: Callable[[bytes], Any] | None = None) -> PartResult:
    """A rehearsal builds the plans and runs none, unless it is handed a stand-in for the runner.

    Raises AssertionError when a plan's answer is not ONNX Runtime's.
    """
    from labkit.onnx_export import export_onnx, open_session
    from labkit.sample_models import SAMPLES
    from labkit.tensorrt import build_plan, flavour
    from labkit.tensorrt.run import PlanRunner

    sample = SAMPLES[MODEL]
    batch = place.pick(32, 2)
    if runner_of is None and not place.is_rehearsal:
        runner_of = PlanRunner
    figures: dict[str, float | str] = {"flavour": str(flavour()), "batch": float(batch)}
    with tempfile.TemporaryDirectory(prefix="labkit-") as folder:
        path = Path(folder) / "model.onnx"
        export_onnx(sample.build(), sample.example(), path, sample.dynamic)
        session = open_session(path, "cpu")
        given = session.get_inputs()[0]
        shape = np.asarray(sample.example()).shape[1:]
        inputs = {given.name: np.random.default_rng(0).standard_normal((batch, *shape), np.float32)}
        expected = session.run(None, inputs)[0]
        profile = {given.name: ((1, *shape), (batch, *shape), (2 * batch, *shape))}
        for precision in LARGEST_ERROR:
            plan = build_plan(path, profile, precision=precision)
            figures[f"{precision}_plan_bytes"] = float(len(plan))
            if runner_of:
                figures |= _run_plan(runner_of(plan), precision, inputs, expected)
    return PartResult(figures)


def _run_plan(
    runner: Any, precision: Literal["fp32", "fp16"], inputs: Mapping[str, np.ndarray], expected: np.ndarray
) -> dict[str, float | str]:
    came = next(iter(runner.run(inputs).values())).astype(np.float32)
    error = relative_error(came, expected)
    assert error <= LARGEST_ERROR[precision], f"the {precision} plan differs by {error:.2e} of the output's scale"
    return {f"{precision}_max_error": error, f"{precision}_ms": runner.time(inputs).median_ms}

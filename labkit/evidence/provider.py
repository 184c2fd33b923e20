"""ONNX Runtime's CUDA provider: whether a session really runs on it, the same answer as the CPU's, and the time."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from labkit.evidence.place import Place
from labkit.evidence.record import PartResult
from labkit.measure import compare

MODEL = "residual"
# TF32 is on by default in the CUDA provider: 10 bits of a product's factors, so parity is judged against the scale.
LARGEST_ERROR = 2**-8


def run(place: Place) -> PartResult:
    """Raises RuntimeError when the session fell back to the CPU, and AssertionError when its answer is another."""
    import onnxruntime as ort

    from labkit.onnx_export import export_onnx, open_session
    from labkit.sample_models import SAMPLES

    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # CUDA's libraries, from where torch brought them
    sample = SAMPLES[MODEL]
    batch = place.pick(32, 2)
    with tempfile.TemporaryDirectory(prefix="labkit-") as folder:
        path = Path(folder) / "model.onnx"
        export_onnx(sample.build(), sample.example(), path, sample.dynamic)
        wanted = place.pick("cuda", "cpu")
        on_device, on_cpu = open_session(path, wanted), open_session(path, "cpu")
        if not on_device.provider.lower().startswith(wanted):
            raise RuntimeError(f"asked for {wanted}, and the session runs on {on_device!r}")
        inputs = {on_cpu.get_inputs()[0].name: _batch_of(sample.example(), batch)}
        max_error = relative_error(on_device.run(None, inputs)[0], on_cpu.run(None, inputs)[0])
        assert max_error <= LARGEST_ERROR, f"{on_device.provider} differs by {max_error:.2e} of the scale"
        # Sessions take NumPy arrays, so the copies to the device and back are part of the time.
        options = {name: value for name, value in place.timing.items() if name != "synchronize"}
        timings = compare(
            {"device": lambda: on_device.run(None, inputs), "cpu": lambda: on_cpu.run(None, inputs)}, **options
        )
        return PartResult(
            {
                "provider": on_device.provider,
                "batch": float(batch),
                "device_ms": timings["device"].median_ms,
                "cpu_ms": timings["cpu"].median_ms,
                "max_error": max_error,
            }
        )


def relative_error(came: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, over the largest value expected."""
    return float(np.abs(came - expected).max() / np.abs(expected).max())


def _batch_of(example: object, batch: int) -> np.ndarray:
    array = np.asarray(example)
    return np.random.default_rng(0).standard_normal((batch, *array.shape[1:])).astype(array.dtype)

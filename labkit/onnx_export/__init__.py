"""From a PyTorch model to an ONNX file that is the same function, at every shape and not only the example's.

    exported = export_onnx(model, example, "model.onnx", dynamic={"x": {0: "batch"}})
    print(check_parity(model, "model.onnx", example, dynamic={"x": {0: "batch"}}))
    session = open_session("model.onnx", prefer=["cuda", "cpu"])

What goes wrong without an error, and what shows it here:

    a size that became a Python int    `exported.frozen`, and a FrozenDimensionWarning
    a branch decided by the example    `exported.ranges` where the exporter noticed, `check_parity` always
    a value captured from the example  `check_parity`, which draws fresh inputs for every shape
"""

from labkit.onnx_export.export import (
    Exported,
    ExportError,
    FrozenDimensionWarning,
    NarrowedDimensionWarning,
    export_onnx,
    quiet_exporter,
)
from labkit.onnx_export.inputs import random_inputs, random_like, shapes_to_try
from labkit.onnx_export.parity import Parity, ParityReport, check_parity, compare_outputs, max_error
from labkit.onnx_export.session import Session, SessionError, open_session

__all__ = [
    "ExportError",
    "Exported",
    "FrozenDimensionWarning",
    "NarrowedDimensionWarning",
    "Parity",
    "ParityReport",
    "Session",
    "SessionError",
    "check_parity",
    "compare_outputs",
    "export_onnx",
    "max_error",
    "open_session",
    "quiet_exporter",
    "random_inputs",
    "random_like",
    "shapes_to_try",
]

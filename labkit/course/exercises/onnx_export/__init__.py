"""Lab 02: from a PyTorch model to an ONNX file that is the same function, and to a session that runs it."""

from labkit.course.exercises.onnx_export import export_banks  # noqa: F401  # fills the banks of export_onnx
from labkit.course.exercises.onnx_export.export_onnx import export_onnx
from labkit.course.exercises.onnx_export.frozen_dims import frozen_dims
from labkit.course.exercises.onnx_export.last_tokens import last_tokens
from labkit.course.exercises.onnx_export.max_error import max_error
from labkit.course.exercises.onnx_export.open_session import open_session
from labkit.course.exercises.onnx_export.parked_model import parked_model
from labkit.course.exercises.onnx_export.rounded import rounded
from labkit.course.exercises.onnx_export.token_mean import token_mean
from labkit.course.lab_spec import LabSpec

LAB = LabSpec(
    name="02_onnx_export",
    title="ONNX export",
    minutes=120,
    summary="turn a model into a graph that is the same function at every shape; find and mend what exporters freeze",
    needs="PyTorch modules; what a trained model's weights are",
    hardware="any laptop; a GPU adds giving its memory back",
    version=2,
    exercises=(export_onnx, frozen_dims, max_error, token_mean, last_tokens, rounded, open_session, parked_model),
)

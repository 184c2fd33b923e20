"""Lab 03: three passes that make an ONNX graph smaller and leave it the same function."""

from labkit.course.exercises.onnx_simplify.count_ops import count_ops
from labkit.course.exercises.onnx_simplify.drop_identities import drop_identities
from labkit.course.exercises.onnx_simplify.fold_constants import fold_constants
from labkit.course.exercises.onnx_simplify.fuse_conv_bn import fuse_conv_bn
from labkit.course.lab_spec import LabSpec

LAB = LabSpec(
    name="03_onnx_simplify",
    title="Simplifying ONNX graphs",
    minutes=120,
    summary="write constant folding, identity removal and Conv+BatchNorm fusion on a graph, and measure what they buy",
    needs="NumPy; what a convolution and a batch normalization compute",
    hardware="any laptop",
    version=2,
    exercises=(count_ops, fold_constants, drop_identities, fuse_conv_bn),
)

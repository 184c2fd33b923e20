"""Lab 01: the matrix product, convolution as a matrix product, blocking, and the roofline."""

from labkit.course.exercises.gemm_im2col.attainable_flops import attainable_flops
from labkit.course.exercises.gemm_im2col.blocked_gemm import blocked_gemm
from labkit.course.exercises.gemm_im2col.blocked_traffic_bytes import blocked_traffic_bytes
from labkit.course.exercises.gemm_im2col.col2im import col2im
from labkit.course.exercises.gemm_im2col.conv2d_gemm import conv2d_gemm
from labkit.course.exercises.gemm_im2col.conv_output_size import conv_output_size
from labkit.course.exercises.gemm_im2col.gemm_flops import gemm_flops
from labkit.course.exercises.gemm_im2col.gemm_min_bytes import gemm_min_bytes
from labkit.course.exercises.gemm_im2col.im2col import im2col
from labkit.course.lab_spec import LabSpec

LAB = LabSpec(
    name="01_gemm_im2col",
    title="GEMM and im2col",
    minutes=120,
    summary="turn a convolution into one matrix product, block it, and see what bounds its speed",
    needs="NumPy indexing and reshaping; what a convolution layer does",
    hardware="any laptop; a GPU adds the speed of the tiled product",
    exercises=(
        gemm_flops,
        gemm_min_bytes,
        conv_output_size,
        im2col,
        conv2d_gemm,
        col2im,
        blocked_gemm,
        blocked_traffic_bytes,
        attainable_flops,
    ),
)

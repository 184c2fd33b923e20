"""Matrix products: what they cost, convolution as one of them (im2col), blocking, and the roofline.

Axes: B batch, C input channels, O output channels, H/W height and width, KH/KW kernel, OH/OW output,
L = OH * OW output positions. Matrices: a (m, k) times b (k, n) is c (m, n).

Every `kernel`, `stride`, `padding` and `dilation` of an image function is an int, or (h, w) where the two axes
differ; padding is zeros, as many on either side. No function changes its arguments. The result has the type of
the arguments (float32 stays float32; two types are promoted as NumPy does).
"""

from labkit.gemm._arguments import ShapeError
from labkit.gemm.blocking import blocked_gemm, blocked_traffic_bytes
from labkit.gemm.convolution import col2im, conv2d_gemm, conv_output_size, im2col
from labkit.gemm.cost import attainable_flops, gemm_flops, gemm_min_bytes

__all__ = [
    "ShapeError",
    "attainable_flops",
    "blocked_gemm",
    "blocked_traffic_bytes",
    "col2im",
    "conv2d_gemm",
    "conv_output_size",
    "gemm_flops",
    "gemm_min_bytes",
    "im2col",
]

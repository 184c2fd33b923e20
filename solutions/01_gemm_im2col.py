# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # GEMM and im2col
#
# **Goal.** Turn a convolution into one matrix product, cut the product into blocks, and say what bounds its speed.
#
# **Needed.** NumPy indexing and reshaping, and what a convolution layer does. Any laptop; a GPU adds one measurement.
# About two hours, nine exercises.
#
# **At the end** you have your own `im2col`, convolution, adjoint and blocked product, checked against PyTorch's, and
# your own measured points under the roofline of your machine.
#
# Letters used everywhere: B images in a batch, C channels, H and W height and width, O filters, KH and KW kernel
# height and width, L output positions. A matrix product has shape (m, k) times (k, n).

# %% tags=["parameters"]
SEED = 0
DEVICE = "cpu"
QUICK = False

# %%
import numpy as np

import labkit

lab = labkit.open_lab("01_gemm_im2col", seed=SEED)
lab

# %% [markdown]
# ## Where the time goes
#
# Here is a small network for pictures of 32 by 32: three convolutions, ReLU, pooling, one fully connected layer. Which
# share of its time goes into the convolutions and the fully connected layer together? Write your number down before
# you run the profile.

# %%
### BEGIN SOLUTION
gemm_share_guess = 85
### END SOLUTION
lab.predict("share of time in convolution and linear layers", gemm_share_guess, "%")

# %% [markdown]
# The profile gives the pictures to one layer after the other and times each. Loading PyTorch takes a few seconds.

# %%
import torch
from torch import nn

from labkit.measure import compare, time_call

torch.manual_seed(SEED)
network = nn.Sequential(
    nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(),
    nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4),
    nn.Flatten(), nn.Linear(128 * 16, 10),
).eval()  # fmt: skip

activations = torch.randn(4 if QUICK else 32, 3, 32, 32)
profile_ms = []
with torch.inference_mode():
    for layer in network:
        profile_ms.append(time_call(lambda: layer(activations), repeats=5).median_ms)
        activations = layer(activations)

for layer, ms in zip(network, profile_ms, strict=True):
    print(f"{ms:7.3f} ms  {ms / sum(profile_ms):6.1%}  {layer}")

# %%
products = (nn.Conv2d, nn.Linear)
product_ms = sum(ms for layer, ms in zip(network, profile_ms, strict=True) if isinstance(layer, products))
lab.reconcile("share of time in convolution and linear layers", 100 * product_ms / sum(profile_ms))

# %% [markdown]
# **Where it comes from.** A convolution does a few hundred operations on each number that it reads, a ReLU does one.
# So most of the time goes where most of the arithmetic is. The rest of this lab is about that part, and it is all one
# operation: the general matrix product, **GEMM**.
#
# ## Count a matrix product
#
# Entry (i, j) of A·B is a sum over k products. Count one operation for each multiplication and one for each addition.
# A multiply-add is then two. Texts that quote half as much count multiply-adds and call them operations.

# %%
lab.card("gemm_flops")

# %% [markdown]
# **Shapes.** A: (m, k), B: (k, n) → A·B: (m, n). All three are ints, and so is the answer.

# %%
def gemm_flops(m, n, k):
    """Floating-point operations of an (m, k) by (k, n) product, an int.

    >>> gemm_flops(2, 3, 4)
    48
    """
    ### BEGIN SOLUTION
    return 2 * m * n * k
    ### END SOLUTION

# %%
lab.check(gemm_flops)

# %% [markdown]
# Moving numbers costs too. No product can move fewer bytes than this: each input read once, the result written once.

# %%
lab.card("gemm_min_bytes")

# %%
def gemm_min_bytes(m, n, k, itemsize):
    """Bytes that any (m, k) by (k, n) product moves at least; `itemsize` bytes to a number.

    >>> gemm_min_bytes(2, 3, 4, itemsize=4)
    104
    """
    ### BEGIN SOLUTION
    return (m * k + k * n + m * n) * itemsize
    ### END SOLUTION

# %%
lab.check(gemm_min_bytes)

# %% [markdown]
# A fully connected layer is a GEMM as it stands: `x` of shape (batch, inputs) times the weight, transposed. With a
# batch of one it is a thin product, with a large batch a fat one. Look at what each byte has to pay for:

# %%
for batch in (1, 16, 256):
    flops, num_bytes = gemm_flops(batch, 1000, 512), gemm_min_bytes(batch, 1000, 512, itemsize=4)
    print(f"batch {batch:3}: {flops / 1e6:8.1f} MFLOP, {num_bytes / 1e6:5.2f} MB, {flops / num_bytes:6.1f} FLOP per byte")

# %% [markdown]
# The last column is the **arithmetic intensity**. Keep it in mind: at the end of the lab it decides everything.
#
# ## How many positions
#
# A kernel stands at certain positions of a padded image. Everything that follows needs their number, one axis at a
# time. Dilation spreads the taps apart: a kernel of 3 with dilation 2 covers 5 elements.

# %%
lab.card("conv_output_size")

# %%
def conv_output_size(size, kernel, stride=1, padding=0, dilation=1):
    """Output positions along one axis, an int.

    >>> conv_output_size(8, kernel=3, stride=2, padding=1)
    4
    """
    ### BEGIN SOLUTION
    span = dilation * (kernel - 1) + 1
    return (size + 2 * padding - span) // stride + 1
    ### END SOLUTION

# %%
lab.check(conv_output_size)

# %% [markdown]
# ## A window becomes a column
#
# At each position the convolution multiplies a window of the image with a filter and adds up. That is a dot product.
# So write each window as a **column** and each filter as a **row**, and all outputs of the layer are one product. The
# function that makes the columns is called im2col.
#
# Two neighbouring windows share most of their pixels, and im2col copies them again for each. How many times as large
# as the image is the matrix, for a kernel of 3 by 3, stride 1, padding 1?

# %%
### BEGIN SOLUTION
blow_up_guess = 9
### END SOLUTION
lab.predict("size of im2col's matrix against its input", blow_up_guess, "times")

# %%
lab.card("im2col")

# %% [markdown]
# **Shapes.** `x`: (B, C, H, W) → (B, C·KH·KW, L). Row c·KH·KW + i·KW + j holds tap (i, j) of channel c. Column
# oh·OW + ow is the window whose output stands at (oh, ow).
#
# **Given.** `conv_output_size` from above, and `np.pad`. Loop over the taps, KH·KW of them, and never over pixels: for
# one tap, all positions together are one strided slice.

# %%
def im2col(x, kernel, stride=1, padding=0, dilation=1):
    """The windows of x as columns: (B, C, H, W) -> (B, C·KH·KW, L), as torch.nn.functional.unfold orders them.

    kernel, stride, padding and dilation are an int or a pair (h, w).

    >>> im2col(np.arange(9.0).reshape(1, 1, 3, 3), kernel=2)[0, :, 0]  # the window at the upper left
    array([0., 1., 3., 4.])
    """
    ### BEGIN SOLUTION
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = map(as_pair, (kernel, stride, padding, dilation))
    batch, channels, height, width = x.shape
    out_h, out_w = conv_output_size(height, kh, sh, ph, dh), conv_output_size(width, kw, sw, pw, dw)
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    cols = np.empty((batch, channels, kh, kw, out_h, out_w), x.dtype)
    for i in range(kh):
        for j in range(kw):
            top, left = i * dh, j * dw
            cols[:, :, i, j] = padded[:, :, top : top + sh * out_h : sh, left : left + sw * out_w : sw]
    return cols.reshape(batch, channels * kh * kw, out_h * out_w)
    ### END SOLUTION


def as_pair(value):
    """An int stands for both axes: 3 -> (3, 3); a pair stays."""
    return value if isinstance(value, tuple) else (value, value)

# %%
lab.check(im2col)

# %%
x = np.random.default_rng(SEED).normal(size=(1, 16, 32, 32)).astype(np.float32)
cols = im2col(x, kernel=3, padding=1)
print(f"{x.shape}, {x.nbytes:,} bytes -> {cols.shape}, {cols.nbytes:,} bytes")
lab.reconcile("size of im2col's matrix against its input", cols.nbytes / x.nbytes)

# %% [markdown]
# **Where it comes from.** Each pixel inside the image stands in KH·KW windows. With a stride of 2 it would be a quarter
# of that. The price is paid in memory, and in the traffic to write the matrix and read it again.
#
# The picture below is drawn from *your* function. Step through the positions with the buttons, or click into the
# picture and use the arrow keys. Then change stride, padding or dilation.

# %%
from labkit.widgets.im2col_stepper import im2col_stepper

im2col_stepper(im2col)

# %% [markdown]
# ## The convolution is one product

# %%
lab.card("conv2d_gemm")

# %% [markdown]
# **Shapes.** `x`: (B, C, H, W), `weight`: (O, C, KH, KW), `bias`: (O,) or None → (B, O, OH, OW).
#
# **Given.** Your `im2col`. A filter, flattened, must meet its column in the same order.

# %%
def conv2d_gemm(x, weight, bias=None, stride=1, padding=0, dilation=1):
    """A convolution layer as one matrix product per image, like torch.nn.functional.conv2d.

    >>> conv2d_gemm(np.ones((1, 2, 5, 5)), np.ones((3, 2, 3, 3)), padding=1).shape
    (1, 3, 5, 5)
    """
    ### BEGIN SOLUTION
    num_filters, channels, kh, kw = weight.shape
    (sh, sw), (ph, pw), (dh, dw) = map(as_pair, (stride, padding, dilation))
    out_h = conv_output_size(x.shape[2], kh, sh, ph, dh)
    out_w = conv_output_size(x.shape[3], kw, sw, pw, dw)
    cols = im2col(x, (kh, kw), stride, padding, dilation)  # B, C*KH*KW, L
    out = weight.reshape(num_filters, channels * kh * kw) @ cols  # B, O, L
    if bias is not None:
        out = out + bias[:, None]
    return out.reshape(x.shape[0], num_filters, out_h, out_w)
    ### END SOLUTION

# %%
lab.check(conv2d_gemm)

# %% [markdown]
# Set it beside PyTorch on a real layer: the same numbers, up to the order in which they are added.

# %%
weight = np.random.default_rng(SEED + 1).normal(size=(32, 16, 3, 3)).astype(np.float32)
mine = conv2d_gemm(x, weight, padding=1)
theirs = torch.nn.functional.conv2d(torch.from_numpy(x), torch.from_numpy(weight), padding=1).numpy()
print(f"exact: {np.array_equal(mine, theirs)}, close: {np.allclose(mine, theirs, atol=1e-4)}")
m, k, n = 32, 16 * 9, 32 * 32
print(f"as a GEMM: ({m}, {k}) times ({k}, {n}), {gemm_flops(m, n, k) / 1e6:.1f} MFLOP")

# %% [markdown]
# ## Back again: the adjoint
#
# Training needs the gradient of im2col. im2col copies a pixel into several columns, so the gradient adds up what comes
# back from each of them. That map is called col2im. It is the **adjoint** of im2col, not its inverse: for all `x` and
# `c`, the sum of `im2col(x) * c` equals the sum of `x * col2im(c)`.

# %%
lab.card("col2im")

# %%
def col2im(cols, size, kernel, stride=1, padding=0, dilation=1):
    """Adds every entry of the columns to the pixel that it was read from: (B, C·KH·KW, L) -> (B, C, H, W).

    >>> col2im(np.ones((1, 4, 4)), size=(3, 3), kernel=2)[0, 0]  # how many windows hold each pixel
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    """
    ### BEGIN SOLUTION
    (height, width), (kh, kw) = as_pair(size), as_pair(kernel)
    (sh, sw), (ph, pw), (dh, dw) = map(as_pair, (stride, padding, dilation))
    out_h, out_w = conv_output_size(height, kh, sh, ph, dh), conv_output_size(width, kw, sw, pw, dw)
    batch, channels = cols.shape[0], cols.shape[1] // (kh * kw)
    taps = cols.reshape(batch, channels, kh, kw, out_h, out_w)
    padded = np.zeros((batch, channels, height + 2 * ph, width + 2 * pw), cols.dtype)
    for i in range(kh):
        for j in range(kw):
            top, left = i * dh, j * dw
            padded[:, :, top : top + sh * out_h : sh, left : left + sw * out_w : sw] += taps[:, :, i, j]
    return padded[:, :, ph : ph + height, pw : pw + width]
    ### END SOLUTION

# %%
lab.check(col2im)

# %%
c = np.random.default_rng(SEED + 2).normal(size=cols.shape).astype(np.float32)
left = np.vdot(im2col(x, kernel=3, padding=1).astype(np.float64), c)
right = np.vdot(x.astype(np.float64), col2im(c, (32, 32), kernel=3, padding=1))
print(f"<im2col(x), c> and <x, col2im(c)> agree: {np.isclose(left, right)}")

# %% [markdown]
# ## Blocks
#
# A cache is small. If the product walks along whole rows and columns, the inputs are read from memory again and again.
# Cut all three matrices into blocks that fit, and each number that was brought in is used `block` times.
#
# The check watches which pieces of `a` and `b` each of your products takes. It cannot see through a copy of a whole
# matrix (`np.asarray(a)`): do not make one.

# %%
lab.card("blocked_gemm")

# %%
def blocked_gemm(a, b, block):
    """a @ b, computed from products of at most block by block numbers: (m, k), (k, n) -> (m, n).

    >>> blocked_gemm(np.ones((3, 5)), np.ones((5, 2)), block=2)
    array([[5., 5.],
           [5., 5.],
           [5., 5.]])
    """
    ### BEGIN SOLUTION
    (m, k), n = a.shape, b.shape[1]
    c = np.zeros((m, n), a.dtype)
    for i in range(0, m, block):
        for j in range(0, n, block):
            for p in range(0, k, block):
                c[i : i + block, j : j + block] += a[i : i + block, p : p + block] @ b[p : p + block, j : j + block]
    return c
    ### END SOLUTION

# %%
lab.check(blocked_gemm)

# %% [markdown]
# What did that save? Count it, with a simple model: the cache holds one block of each matrix. For each block of the
# result, the blocks of A in its rows and of B in its columns are read, and the result's block is written once.

# %%
lab.card("blocked_traffic_bytes")

# %%
def blocked_traffic_bytes(m, n, k, block, itemsize):
    """Bytes that a blocked product moves between memory and a cache of three blocks, an int.

    >>> blocked_traffic_bytes(4, 4, 4, block=2, itemsize=1)
    80
    """
    ### BEGIN SOLUTION
    times_a, times_b = -(-n // block), -(-m // block)
    return (m * k * times_a + k * n * times_b + m * n) * itemsize
    ### END SOLUTION

# %%
lab.check(blocked_traffic_bytes)

# %%
m = n = k = 1024
least = gemm_min_bytes(m, n, k, itemsize=4)
for block in (1, 8, 32, 128, 1024):
    moved = blocked_traffic_bytes(m, n, k, block, itemsize=4)
    cache = 3 * block * block * 4
    print(f"block {block:4}: {moved / 1e6:8.1f} MB moved, {moved / least:6.1f} times the least, needs {cache / 1024:8.1f} KiB of cache")

# %% [markdown]
# Traffic falls with the block, the room that it needs grows with the block's square. The best block is the largest one
# that fits, and a machine with several caches wants blocks inside blocks.
#
# ## The roofline
#
# Two ceilings hold at once: how fast the machine computes, and how fast memory feeds it.

# %%
lab.card("attainable_flops")

# %%
def attainable_flops(intensity, peak_flops, bandwidth):
    """FLOP/s that work of this intensity (FLOP per byte) can reach at most.

    >>> attainable_flops(2.0, peak_flops=100e9, bandwidth=20e9)
    40000000000.0
    """
    ### BEGIN SOLUTION
    return min(peak_flops, intensity * bandwidth)
    ### END SOLUTION

# %%
lab.check(attainable_flops)

# %% [markdown]
# Take a fully connected layer of 4096 inputs and 4096 outputs, for one picture: m = 1. Which share of the machine's
# peak can it reach? The ceilings are measured first, then you write a number, then you measure.

# %%
from labkit.hardware import this_machine

machine = this_machine()
print(f"peak {machine.peak_flops / 1e9:.1f} GFLOP/s, memory {machine.bandwidth_bytes_per_s / 1e9:.1f} GB/s,")
print(f"so the ridge is at {machine.ridge_flops_per_byte:.1f} FLOP per byte")

# %%
### BEGIN SOLUTION
thin_share_guess = 12
### END SOLUTION
lab.predict("share of the peak that the thin product reaches", thin_share_guess, "%")

# %%
generator = np.random.default_rng(SEED)


def measured_point(name, m, n, k):
    """(name, intensity, measured FLOP/s) of one float32 product."""
    a, b = (generator.normal(size=shape).astype(np.float32) for shape in ((m, k), (k, n)))
    timing = time_call(lambda: a @ b)
    print(f"{name:24} {timing}")
    flops = gemm_flops(m, n, k)
    return name, flops / gemm_min_bytes(m, n, k, 4), flops / (timing.median_ms / 1e3)


wide = 2048 if QUICK else 4096
points = [
    measured_point("thin, 1 row", 1, wide, wide),
    measured_point("16 rows", 16, wide, wide),
    measured_point("square, 1024", 1024, 1024, 1024),
    measured_point("your convolution's shape", 32, 1024, 144),
]
lab.reconcile("share of the peak that the thin product reaches", 100 * points[0][2] / machine.peak_flops)

# %%
from labkit.widgets.roofline import roofline
from labkit.widgets.still import show

show(*roofline(points, machine.peak_flops, machine.bandwidth_bytes_per_s, attainable=attainable_flops))

# %% [markdown]
# **Where it comes from.** The thin product reads every weight once and uses it once: half a FLOP per byte, far left of
# the ridge, so memory decides. More rows use each weight more often. A point can lie above the slope: a matrix that fits
# into a cache is read from there, faster than from the memory that was measured. Choose a shape of your own:

# %%
from labkit.widgets.roofline import gemm_roofline

gemm_roofline(machine.peak_flops, machine.bandwidth_bytes_per_s, attainable_flops, gemm_flops, gemm_min_bytes)

# %% [markdown]
# ## The same blocks on a GPU
#
# On a GPU the cache is shared memory, and each block of the result is computed by a program of its own. Triton is a
# language for such programs. `labkit/triton_matmul/kernel.py` is your three loops: two became the grid of programs, the
# third is still there. Triton's interpreter runs it step by step on a CPU, which is slow and shows that it is right.

# %%
from labkit import triton_matmul

reason = triton_matmul.unavailable_reason()
if reason:
    print(f"Skipped: {reason}")
else:
    a, b = torch.randn(70, 50), torch.randn(50, 40)  # no side is a multiple of the tile
    product = triton_matmul.matmul(a, b, interpret=True)
    print(f"interpreted, partial tiles on every side: close to torch: {torch.allclose(product, a @ b, atol=1e-4)}")

# %%
if torch.cuda.is_available() and not reason:
    a, b = (torch.randn(4096, 4096, device="cuda", dtype=torch.float16) for _ in range(2))
    timings = compare(
        {"cuBLAS": lambda: a @ b, "Triton, tiled": lambda: triton_matmul.matmul(a, b)},
        synchronize=torch.cuda.synchronize,
    )
    print(timings)
else:
    from labkit.evidence import recorded

    print("Skipped: no GPU here. It would show the tiled product's time beside cuBLAS's, for float16 and 4096³.")
    print(recorded("matmul"))

# %% [markdown]
# ## What this leaves out
#
# Real libraries do not write im2col's matrix to memory. They form its blocks inside the cache while they multiply
# ([implicit GEMM, in NVIDIA's CUTLASS](https://github.com/NVIDIA/cutlass/blob/main/media/docs/cpp/implicit_gemm_convolution.md)),
# and for some kernels they use other methods, such as Winograd's ([Lavin and Gray](https://arxiv.org/abs/1509.09308)).
# The traffic model has no cache lines and one level of cache. The roofline is
# [Williams, Waterman and Patterson's](https://doi.org/10.1145/1498765.1498785); im2col for convolution goes back to
# [Chellapilla, Puri and Simard](https://inria.hal.science/inria-00112631).

# %%
lab.progress()

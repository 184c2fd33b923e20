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
# # ONNX export
#
# **Goal.** Turn a PyTorch model into a file that other programs can run, and make sure that it is the same function, at
# every shape and not only at the example's.
#
# **Needed.** PyTorch modules, and what training and evaluation mode are. Any laptop; a GPU adds one measurement. About
# two hours, eight exercises.
#
# **At the end** you have your own exporter, your own parity check, three mended models that used to be silently wrong,
# and numbers for what a runtime buys and what parking a model costs.
#
# Letters: B images or sequences in a batch, T tokens, C channels.

# %% tags=["parameters"]
SEED = 0
DEVICE = "cpu"
QUICK = False

# %%
import inspect
import shutil
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from torch import nn

import labkit
from labkit import onnx_export as tool  # the functions that you will write, with more to say

torch.manual_seed(SEED)
tool.quiet_exporter()  # it warns of torchvision, which is missing and not needed here
folder = Path(tempfile.mkdtemp(prefix="lab02-"))
lab = labkit.open_lab("02_onnx_export", seed=SEED)
lab

# %% [markdown]
# ## From a program to a graph
#
# A model in PyTorch is a program. An ONNX file is a **graph**: inputs, outputs, nodes with an operator each, and the
# weights. No Python is left in it. To make one, the exporter runs the model on an example and writes down what happens.
# Everything that goes wrong in this lab goes wrong there: what Python decides while the example runs is decided for ever.
#
# Two exporters live side by side, and most texts show the old one:
#
# ```
# old  torch.onnx.export(model, x, "m.onnx", dynamo=False, dynamic_axes={"x": {0: "batch"}})    traces the tensors
# now  torch.onnx.export(model, (x,), "m.onnx", dynamic_shapes={"x": {0: "batch"}})             torch.export first
# ```
#
# Here is a small CNN, trained on scikit-learn's digits on the spot. Its export is **static**: the batch of the example
# is the only one that the file takes. The first export loads the exporter, which takes some seconds.

# %%
from labkit.sample_models import load_digits, train_digits_cnn

trained = train_digits_cnn(epochs=1 if QUICK else 4, seed=SEED)
digits = load_digits(seed=SEED)
images = digits.test_images[:4]
static_path = folder / "static.onnx"
torch.onnx.export(trained.model, (images,), str(static_path), input_names=["images"], external_data=False, verbose=False)
print(trained)
print(f"{static_path.name}: {static_path.stat().st_size:,} bytes")

# %%
session = ort.InferenceSession(str(static_path), providers=["CPUExecutionProvider"])
for batch in (4, 5):
    try:
        (scores,) = session.run(None, {"images": digits.test_images[:batch].numpy()})
        print(f"a batch of {batch}: scores {scores.shape}")
    except Exception as error:
        print(f"a batch of {batch}: {str(error).splitlines()[0][-120:]}")

# %% [markdown]
# ## Your exporter
#
# So ask for a free dimension. And mind three things that this call leaves to you: the mode of the model, the names of
# its inputs, and that the file is all there is.

# %%
lab.card("export_onnx")

# %% [markdown]
# **Given.** `example` is one tensor or a tuple of them, in the order of `forward`'s parameters. `dynamic` is None or
# {input: {dim: name}}; an input may be missing in it. `dynamic_shapes` wants an entry for every input, None where all of
# its sizes are fixed. By default the current exporter writes the weights to a second file; `external_data=False` keeps
# them in. Either exporter will do. The check exports three models, and runs each file at shapes that you did not see.

# %%
def export_onnx(model, example, path, dynamic=None):
    """Write the model, as it is in evaluation mode, to one ONNX file at path; the model keeps its mode.

    >>> export_onnx(nn.Linear(3, 2), torch.ones(4, 3), "linear.onnx", {"input": {0: "batch"}})  # doctest: +SKIP
    """
    ### BEGIN SOLUTION
    example = example if isinstance(example, tuple) else (example,)
    names = list(inspect.signature(model.forward).parameters)[: len(example)]
    shapes = {name: dynamic.get(name) for name in names} if dynamic else None
    training = model.training
    model.eval()
    try:
        torch.onnx.export(
            model, example, str(path), input_names=names, dynamic_shapes=shapes, external_data=False, verbose=False
        )
    finally:
        model.train(training)
    ### END SOLUTION

# %%
lab.check(export_onnx)

# %% [markdown]
# ## What a graph holds
#
# Export the CNN with a free batch and look inside. Which share of the file is weights?

# %%
### BEGIN SOLUTION
weight_share_guess = 90
### END SOLUTION
lab.predict("share of the file that is weights", weight_share_guess, "%")

# %%
from labkit.widgets.netron_viewer import compare_models, view_model

digits_path = folder / "digits.onnx"
export_onnx(trained.model, images, digits_path, {"images": {0: "batch"}})
view_model(digits_path)

# %% [markdown]
# Click a node: its attributes and its weights open. Click the input: the size `batch` is a name. The same in code:

# %%
graph = onnx.load(digits_path).graph
for node in graph.node:
    print(f"{node.op_type:12} {', '.join(node.input)} -> {', '.join(node.output)}")
weight_bytes = sum(len(tensor.raw_data) for tensor in graph.initializer)
lab.reconcile("share of the file that is weights", 100 * weight_bytes / digits_path.stat().st_size)

# %% [markdown]
# **Where it comes from.** A graph is cheap, weights are not. What is left here is names, shapes, and notes of the current
# exporter about which line of Python each node came from. And where is the batch normalization? The exporter has folded it
# into the convolutions: the graph is in evaluation mode.
#
# A dimension in a graph is a number (`dim_value`), a name (`dim_param`), or nothing. So a file can tell you whether it
# kept your promise.

# %%
for value in [*graph.input, *graph.output]:
    print(value.name, [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim])

# %%
lab.card("frozen_dims")

# %% [markdown]
# **Given.** `model` is an `onnx.ModelProto`. An input that `dynamic` names and the graph does not have is left out: the
# model never read it. So are inputs with nothing frozen.

# %%
def frozen_dims(model, dynamic):
    """{input: {dim: size}} of the dimensions that `dynamic` asks for and the graph fixes.

    A graph with the input x, (64, 3): frozen_dims(model, {"x": {0: "batch"}}) is {"x": {0: 64}}.
    """
    ### BEGIN SOLUTION
    shapes = {value.name: value.type.tensor_type.shape.dim for value in model.graph.input}
    frozen = {}
    for name in shapes.keys() & dynamic.keys():
        fixed = {dim: shapes[name][dim].dim_value for dim in dynamic[name] if shapes[name][dim].HasField("dim_value")}
        if fixed:
            frozen[name] = fixed
    return frozen
    ### END SOLUTION

# %%
lab.check(frozen_dims)

# %%
for path in (static_path, digits_path):
    print(f"{path.name:12} {frozen_dims(onnx.load(path), {'images': {0: 'batch'}})}")

# %% [markdown]
# ## Is it the same function?
#
# A free dimension is a promise about shapes. It says nothing about values. So compare: the same inputs into the model and
# into the file.

# %%
lab.card("max_error")

# %% [markdown]
# **Given.** `inputs` is {name of a parameter of forward: tensor}. The model returns one tensor or a tuple; its outputs
# and the file's are in the same order. The file has its inputs in an order of its own, and lacks one that the model never
# read. Whoever gives you a NaN must not be told 0.

# %%
def max_error(model, path, inputs):
    """The largest absolute difference over all outputs, a float; ValueError where an output has another shape."""
    ### BEGIN SOLUTION
    training = model.training
    model.eval()
    with torch.no_grad():
        ours = model(**inputs)
    model.train(training)
    ours = ours if isinstance(ours, tuple) else (ours,)
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    known = {value.name for value in session.get_inputs()}
    theirs = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items() if name in known})
    errors = []
    for mine, other in zip(ours, theirs, strict=True):
        if tuple(mine.shape) != other.shape:
            raise ValueError(f"the file gives {other.shape}, the model {tuple(mine.shape)}")
        errors.append(np.abs(mine.numpy() - other).max())
    return float(np.max(errors))
    ### END SOLUTION

# %%
lab.check(max_error)

# %% [markdown]
# float32 has about seven digits. How far are the CNN's scores from the file's, in units of the last digit of the largest
# score (its **epsilon**: the score times 2⁻²³)?

# %%
### BEGIN SOLUTION
epsilon_guess = 4
### END SOLUTION
lab.predict("largest error of the digits model", epsilon_guess, "epsilons")

# %%
with torch.no_grad():
    largest = trained.model(digits.test_images).abs().max().item()
error = max_error(trained.model, digits_path, {"images": digits.test_images})
print(f"{len(digits.test_images)} images, largest score {largest:.3g}, error {error:.2g}")
lab.reconcile("largest error of the digits model", error / (largest * 2**-23))

# %% [markdown]
# **Where it comes from.** Both sides add the same few hundred products, in another order, and each order rounds
# differently. An error of some epsilons is the noise of float32, and a tolerance has to leave room for it. An error of
# thousands is a bug.
#
# ## Three models that are silently wrong
#
# Here they are. Each is right in PyTorch at every length. Read them: what would you tell a tracer?

# %%
class BrokenMean(nn.Module):
    """(B, T, C) -> (B, C): the mean over the tokens."""

    def forward(self, x):
        num_tokens = int(x.shape[1])
        return x.sum(1) / num_tokens


class BrokenLast(nn.Module):
    """(B, T, C) -> (B, C): the mean over the last 8 tokens, or over all where there are fewer."""

    def forward(self, x):
        if x.shape[1] > 8:
            x = x[:, -8:]
        return x.mean(1)


class BrokenRounded(nn.Module):
    """(B, T, C) -> the same: rounded to multiples of its largest magnitude / 127, as int8 weights are."""

    def forward(self, x):
        step = x.abs().max().item() / 127
        return (x / step).round() * step

# %% [markdown]
# Export each with both exporters from an example of 6 tokens, B and T free. Then compare with `max_error` twice: on the
# example itself, and at other shapes with other values. **In how many of the six exports does the example itself show
# that something is wrong?**

# %%
### BEGIN SOLUTION
seen_guess = 0
### END SOLUTION
lab.predict("exports whose example shows the error", seen_guess, "of 6")

# %%
FREE = {"x": {0: "batch", 1: "num_tokens"}}
SHAPES = [(2, 6, 5), (1, 1, 5), (3, 4, 5), (2, 8, 5), (2, 9, 5), (5, 30, 5)]


def draw(shape, scale=1.0):
    """A random input of this shape; another one at every call."""
    return {"x": scale * torch.randn(shape)}


def try_export(module, exporter, shapes=SHAPES):
    """(the error on the example itself, the shapes at which the file is wrong or refuses), exported from 6 tokens."""
    path, example = folder / "try.onnx", draw((2, 6, 5))
    tool.export_onnx(module, example, path, FREE, exporter=exporter)
    wrong = []
    for at, shape in enumerate(shapes):
        inputs = draw(shape, scale=2.0**at)  # fresh values on another scale: what was captured must show
        try:
            if not max_error(module, path, inputs) <= 1e-4 * 2**at:
                wrong.append(shape)
        except Exception:  # another shape, or a refusal of ONNX Runtime's
            wrong.append(shape)
    return max_error(module, path, example), wrong

# %%
import warnings

warnings.simplefilter("ignore", tool.NarrowedDimensionWarning)  # what labkit would have said; here you find it yourself
seen = 0
for module in (BrokenMean(), BrokenLast(), BrokenRounded()):
    for exporter in ("torchscript", "dynamo"):
        own, wrong = try_export(module, exporter)
        seen += own > 1e-4
        print(f"{type(module).__name__:14} {exporter:12} error on the example {own:.0e}, wrong at {len(wrong)} shapes {wrong}")
lab.reconcile("exports whose example shows the error", seen)

# %% [markdown]
# **Where it comes from.** The example is the one input for which every decision was right. A parity check needs other
# shapes, on both sides of everything that could have been decided, and fresh values.
#
# Look at the columns, too. The current exporter keeps sizes and numbers symbolic, so two of the three come out right. The
# branch comes out wrong from both, without a word in the file. And tracing, which is what most deployed code still uses,
# gets all three wrong. Mend them for both. The check traces, at lengths that it does not tell you.
#
# ### A size that became a Python int

# %%
lab.card("TokenMean")

# %% [markdown]
# **Shapes.** x: (B, T, C) → (B, C).

# %%
class TokenMean(nn.Module):
    """The mean over the tokens, as BrokenMean means it."""

    def forward(self, x):
        ### BEGIN SOLUTION
        return x.mean(1)
        ### END SOLUTION

# %%
lab.check(TokenMean)

# %% [markdown]
# ### A branch that was baked in
#
# Not every branch can be mended. This one can: there is an expression that is right on both sides.

# %%
lab.card("LastTokens")

# %% [markdown]
# **Shapes.** x: (B, T, C) → (B, C). Tight pairs are at T = 8 and T = 9, and the example may stand on either side.

# %%
class LastTokens(nn.Module):
    """The mean over the last 8 tokens, or over all where there are fewer."""

    def forward(self, x):
        ### BEGIN SOLUTION
        return x[:, -8:].mean(1)
        ### END SOLUTION

# %%
lab.check(LastTokens)

# %% [markdown]
# ### A constant captured from the example

# %%
lab.card("Rounded")

# %% [markdown]
# **Shapes.** x: (B, T, C) → the same. One scale for all of x.

# %%
class Rounded(nn.Module):
    """Whole multiples of x's own largest magnitude / 127."""

    def forward(self, x):
        ### BEGIN SOLUTION
        scale = x.abs().max() / 127
        return torch.round(x / scale) * scale
        ### END SOLUTION

# %%
lab.check(Rounded)

# %%
for module in (TokenMean(), LastTokens(), Rounded()):
    for exporter in ("torchscript", "dynamo"):
        own, wrong = try_export(module, exporter)
        print(f"{type(module).__name__:14} {exporter:12} error on the example {own:.0e}, wrong at {len(wrong)} shapes {wrong}")

# %% [markdown]
# `labkit.onnx_export` says what it can see before anything runs. This is what it says about the branch, and what a parity
# check at all the right shapes says:

# %% tags=["nbval-check-output"]
example = {"x": torch.linspace(-1, 1, 60).reshape(2, 6, 5)}
exported = tool.export_onnx(BrokenLast(), example, folder / "branch.onnx", FREE)
print(exported.ranges)
report = tool.check_parity(BrokenLast(), exported.path, example, FREE)
print(f"{len(report.failures)} of {len(report.rows)} shapes fail, all with more than 8 tokens: "
      f"{all(row.shapes['x'][1] > 8 for row in report.failures)}")  # fmt: skip

# %% [markdown]
# ## Opsets
#
# Operators have versions, and a file names the version of the whole set that it uses: its **opset**. A newer opset has
# operators that an older runtime does not know. An older one has to say the same in more nodes. A layer normalization is
# one node since opset 17. How many is it at opset 13?

# %%
### BEGIN SOLUTION
nodes_guess = 8
### END SOLUTION
lab.predict("nodes of a layer normalization at opset 13", nodes_guess, "nodes")

# %% tags=["nbval-check-output"]
normalization = nn.LayerNorm(5).eval()
for opset in (13, 17):
    path = folder / f"opset{opset}.onnx"
    done = tool.export_onnx(normalization, torch.ones(2, 5), path, exporter="torchscript", opset=opset)
    operators = [node.op_type for node in onnx.load(path).graph.node if node.op_type != "Constant"]
    print(f"opset {done.opset}, nodes: {len(operators)} ({', '.join(operators)})")

# %%
num_nodes = sum(node.op_type != "Constant" for node in onnx.load(folder / "opset13.onnx").graph.node)
lab.reconcile("nodes of a layer normalization at opset 13", num_nodes)
print(f"this onnx knows opsets up to {onnx.defs.onnx_opset_version()}; the exporter's own choice was "
      f"{onnx.load(digits_path).opset_import[0].version}")  # fmt: skip

# %% [markdown]
# So take the newest opset that all of your runtimes know, and not the newest there is. ONNX Runtime lists [which version
# knows which opset](https://onnxruntime.ai/docs/reference/compatibility.html).
#
# ## Who runs it?
#
# ONNX Runtime hands nodes to **execution providers**: CUDA, TensorRT, OpenVINO, the CPU. What is in your build, and what
# does a session use?

# %%
print(f"compiled in:          {ort.get_available_providers()}")
print(f"this session runs on: {session.get_providers()}")

# %% [markdown]
# The first line is about the build, the second about the machine. The GPU build names CUDA on a laptop with no GPU, and a
# session that asks for it falls back to the CPU with a line on standard error. Only `session.get_providers()` knows.

# %%
lab.card("open_session")

# %% [markdown]
# **Given.** `prefer` is a list of ONNX Runtime's names, the most wanted first, and may name the CPU last or not at all.
# Call `ort.get_available_providers` and `ort.InferenceSession` through `ort`: the check plays machines that yours is not,
# with CUDA compiled in and no GPU, or a TensorRT that does not start. ONNX Runtime tries the providers of your list in
# order, leaves out what does not start, and warns of what it does not have and of what stands twice. To be on such a
# machine yourself: `path, prefer, machine = lab.case("open_session", …)`, then `with machine as said:`.

# %%
def open_session(path, prefer):
    """An ort.InferenceSession on the first of prefer that works here, the CPU where none does; no warnings."""
    ### BEGIN SOLUTION
    available = ort.get_available_providers()
    wanted = [name for name in prefer if name in available and name != "CPUExecutionProvider"]
    return ort.InferenceSession(path, providers=[*wanted, "CPUExecutionProvider"])
    ### END SOLUTION

# %%
lab.check(open_session)

# %%
session = open_session(str(digits_path), ["CUDAExecutionProvider", "CPUExecutionProvider"])
print(f"asked for CUDA, runs on {session.get_providers()[0]}")

# %% [markdown]
# ## What the runtime makes of it
#
# Before a session runs a graph, it optimizes it, at one of four levels. Take the transformer of labkit's samples, exported
# without the exporter's own optimizations, and see what is left of it.

# %%
from labkit.onnx_file import load_model
from labkit.sample_models import SAMPLES

sample = SAMPLES["transformer"]
stack, tokens = sample.build(SEED), sample.example(SEED)
raw_path = folder / "raw.onnx"
tool.export_onnx(stack, tokens, raw_path, sample.dynamic, optimize=False)
LEVELS = ("none", "basic", "extended", "all")
for level in LEVELS:
    tool.open_session(raw_path, "cpu", level=level, optimized_path=folder / f"{level}.onnx")
    print(f"{level:9} {len(load_model(folder / f'{level}.onnx').graph.node):4} nodes")

# %%
compare_models(folder / "none.onnx", folder / "basic.onnx", names=("as exported", "basic"))

# %% [markdown]
# **Predict.** One thread, a batch of 2 with 16 tokens. How many times as long as eager PyTorch does the best level take?
# (0.5 is twice as fast.)

# %%
### BEGIN SOLUTION
level_guess = 0.5
### END SOLUTION
lab.predict("time of level all over eager", level_guess, "times")

# %% [markdown]
# `torch.compile` is the other way to a faster model: it stays in Python, and compiles when it is first called. That takes
# half a minute here, and needs a C++ compiler.

# %%
from labkit.measure import compare

torch.set_num_threads(1)
feeds = {"tokens": tokens.numpy()}
sessions = {level: tool.open_session(raw_path, "cpu", level=level, num_threads=1) for level in LEVELS}


def eager(model=stack):
    """One call of the model, without gradients."""
    with torch.inference_mode():
        return model(tokens)


calls = {"eager": eager}
calls |= {f"ONNX Runtime, {level}": lambda each=each: each.run(None, feeds) for level, each in sessions.items()}
if QUICK:
    print("torch.compile is left out of a quick run.")
elif not any(map(shutil.which, ("c++", "g++", "clang++"))):
    print("Skipped: torch.compile needs a C++ compiler, and there is none here. It would add one line below.")
else:
    compiled = torch.compile(stack)
    eager(compiled)
    calls["torch.compile"] = lambda: eager(compiled)
levels = compare(calls, repeats=5 if QUICK else 15)
print(levels)

# %%
lab.reconcile("time of level all over eager", levels.ratios["ONNX Runtime, all"])

# %% [markdown]
# **Where it comes from.** A model this small spends most of its eager time between the operations: Python, dispatch,
# allocation. A session has no Python inside and fewer nodes to go through, and each level removes some more. On a large
# model the same matrix products take nearly all of the time, and the ratio goes towards 1. Read the spread before you
# believe a difference between two levels.
#
# ## Parking a model
#
# A service holds more models than fit into memory, so some have to wait outside. Old notes "move" a session to the CPU
# with `session.set_providers(["CPUExecutionProvider"])`. That makes the session anew and keeps the old memory busy
# meanwhile. What frees memory is to drop the session; what you keep is bytes.

# %%
lab.card("ParkedModel")

# %% [markdown]
# **Given.** The check counts the sessions that are made and those that are alive. It also replaces and removes the file
# while the model is parked: the model stays the one that it was.

# %%
class ParkedModel:
    """A model on the CPU: `run(feeds)` -> list of outputs, `park()` -> no session is alive until the next run."""

    def __init__(self, path):
        ### BEGIN SOLUTION
        self.content = Path(path).read_bytes()
        self.session = None
        ### END SOLUTION

    def run(self, feeds):
        ### BEGIN SOLUTION
        if self.session is None:
            self.session = ort.InferenceSession(self.content, providers=["CPUExecutionProvider"])
        return self.session.run(None, feeds)
        ### END SOLUTION

    def park(self):
        ### BEGIN SOLUTION
        self.session = None
        ### END SOLUTION

# %%
lab.check(ParkedModel)

# %% [markdown]
# What does it cost to come back? A larger model shows it: a stack of fully connected layers. How many runs (with a batch
# of one) take as long as making the session again?

# %%
### BEGIN SOLUTION
return_guess = 10
### END SOLUTION
lab.predict("runs that one return costs", return_guess, "runs")

# %%
import contextlib
import ctypes

import psutil

width = 512 if QUICK else 1024
layers = nn.Sequential(*(nn.Linear(width, width) for _ in range(12)))
tool.export_onnx(layers, torch.ones(1, width), folder / "layers.onnx", exporter="torchscript")
large = ParkedModel(folder / "layers.onnx")
row = {"input": np.ones((1, width), np.float32)}


def memory_mb():
    """Resident memory of this process in MB of 1e6 bytes, without free pages that C's allocator keeps for later."""
    with contextlib.suppress(AttributeError, TypeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)
    return psutil.Process().memory_info().rss / 1e6


before = memory_mb()
large.run(row)
awake = memory_mb()
large.park()
parked = memory_mb()
print(f"weights {sum(p.nbytes for p in layers.parameters()) / 1e6:.0f} MB; the session took {awake - before:.0f} MB, "
      f"parking gave {awake - parked:.0f} MB back")  # fmt: skip


def come_back():
    """Park, and run once more."""
    large.park()
    large.run(row)


costs = compare({"run": lambda: large.run(row), "park and come back": come_back}, repeats=7)
print(costs)
lab.reconcile("runs that one return costs", costs.ratios["park and come back"])

# %% [markdown]
# **Where it comes from.** Coming back parses the file, optimizes the graph, packs the weights for the CPU's kernels, and
# runs once. A run with a batch of one reads each weight once. On a CPU the parked bytes stay in memory, and the session's
# are free at once for this process; for others only when C's allocator hands the pages back, which `malloc_trim` asks
# for. On a GPU the bytes wait outside the GPU's memory.

# %%
if torch.cuda.is_available() and "CUDAExecutionProvider" in ort.get_available_providers():
    free_bytes, _ = torch.cuda.mem_get_info()
    on_gpu = open_session(str(folder / "layers.onnx"), ["CUDAExecutionProvider"])
    on_gpu.run(None, row)
    taken_bytes = free_bytes - torch.cuda.mem_get_info()[0]
    del on_gpu
    kept_bytes = free_bytes - torch.cuda.mem_get_info()[0]
    print(f"GPU memory of the session {taken_bytes / 1e6:.0f} MB, after it was dropped {kept_bytes / 1e6:.0f} MB")
else:
    from labkit.evidence import recorded

    print("Skipped: no GPU here that ONNX Runtime can use. It would show the GPU memory that a session takes, and that")
    print("all of it but CUDA's own context is back once the session is dropped.")
    print(recorded("provider"))

# %% [markdown]
# ## What this leaves out
#
# Branches on data can stay in a graph as `If` nodes, through
# [`torch.cond`](https://docs.pytorch.org/docs/stable/cond.html), which only the current exporter follows. Models of more
# than two gigabytes need their weights beside the file. Your parity check judges absolute differences; a real one judges
# against float64 and against what eager itself loses, as `labkit.onnx_export.check_parity` does. Sessions have more knobs
# than levels: threads, arenas, [I/O binding](https://onnxruntime.ai/docs/api/python/api_summary.html). Other runtimes read
# the same file; lab 04 builds TensorRT plans from it, and lab 03 takes the graph apart.
#
# Which graph did you make today? `labkit onnx view FILE` shows any file in Netron, on this machine only.

# %%
lab.progress()

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
# # Simplifying ONNX graphs
#
# **Goal.** Make a graph smaller and leave it the same function, with three passes of your own; then say what it buys.
#
# **Needed.** NumPy. What a convolution and a batch normalization compute. Any laptop. About two hours, four exercises.
#
# **At the end** you have constant folding, identity removal and Conv+BatchNorm fusion, checked for structure and for
# numbers. You know why three well-known tools leave normalizations in a graph that you simplify to the end. And you
# have measured what a smaller graph is worth at run time, which is often nothing, and where it is worth something.

# %% tags=["parameters"]
SEED = 0
DEVICE = "cpu"
QUICK = False

# %%
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

import labkit

lab = labkit.open_lab("03_onnx_simplify", seed=SEED)
folder = tempfile.TemporaryDirectory()
files = Path(folder.name)
lab

# %% [markdown]
# ## What an exporter writes
#
# Here is a small residual net: convolutions, each with a batch normalization, shortcuts, grouped convolutions, one
# transposed. The exporter writes it with its own optimizer off. This takes some seconds.

# %%
from labkit.onnx_export import export_onnx
from labkit.onnx_file import load_model, save_model
from labkit.onnx_simplify import graph_text
from labkit.sample_models import SAMPLES

residual = SAMPLES["residual"]
raw_path = files / "residual.onnx"
export_onnx(residual.build(), residual.example(), raw_path, residual.dynamic, optimize=False)
raw = load_model(raw_path)
raw_nodes = [line for line in graph_text(raw).splitlines() if not line.startswith("  weight")]
print("\n".join(raw_nodes[:12]), f"\n  … {len(raw_nodes) - 12} more")

# %% [markdown]
# A model is a `ModelProto`. Its `model.graph` has nodes in an order in which each value is made before it is read, and
# everything is tied together by **names**:
#
# ```
# graph.input, graph.output    values that belong to the caller: .name and a type
# graph.initializer            weights: tensors with a .name
# graph.node                   each with .op_type, .input (names), .output (names), .attribute
# ```
#
# Read the lines above again. Between the second convolution and its weight stand six nodes that make its bias. What
# do they compute, and how often?
#
# Some nodes hold graphs of their own, in an attribute: If holds two, Loop and Scan one. The graph inside may read
# values of the graph around it by name.
#
# ## Count first

# %%
lab.card("count_ops")

# %% [markdown]
# **Given.** `subgraphs(node)`: the graphs that a node holds, mostly none. `op_name(node)`: its type, with the domain
# where that is not the standard's.

# %%
from labkit.onnx_simplify import op_name, subgraphs


def count_ops(model):
    """Nodes by operator type, a dict; those inside If, Loop and Scan count too.

    >>> count_ops(raw)["ConvTranspose"]
    1
    """
    ### BEGIN SOLUTION
    counts = Counter()

    def visit(graph):
        for node in graph.node:
            counts[op_name(node)] += 1
            for inner in subgraphs(node):
                visit(inner)

    visit(model.graph)
    return dict(counts)
    ### END SOLUTION

# %%
lab.check(count_ops)

# %% tags=["nbval-check-output"]
def say(what, model):
    """The number of nodes, and how many there are of each type."""
    counts = Counter(count_ops(model))
    print(f"{what:24} {counts.total():3} nodes: {', '.join(f'{op} {number}' for op, number in counts.most_common())}")


say("as exported", raw)

# %% [markdown]
# How many of these nodes have work to do each time the model runs? Write your number down; you will reach it in three
# passes and one surprise.

# %%
### BEGIN SOLUTION
needed_guess = 24
### END SOLUTION
lab.predict("nodes that the model needs", needed_guess, "nodes")

# %% [markdown]
# ## What is known before the model runs
#
# A node whose inputs are all known can be computed once, now. Its outputs are then known too, and so on down the graph.
# What is left of it is a weight.

# %%
lab.card("fold_constants")

# %% [markdown]
# **Known** is a weight (an initializer), with two exceptions. An initializer that is *also listed as an input* is a
# default: a caller may give another value. And a large model keeps its weights in files beside it. A weight that was
# not read in, `is_external(tensor)`, has no values here. A graph inside a node knows what the graph around it knows.
#
# **Stays**: an operator that draws random numbers, a node that holds graphs (but look inside them), and a node that
# makes an output of its graph. The output has to be made by somebody.
#
# **Given.** `copy_of(model)`. `array_of(tensor)`. `run_node(node, values, model)`: what one node gives, as a dict from
# names to arrays; `values` is a dict of the same kind; None where it cannot be told. `RANDOM_OPS`. `add_weight(graph,
# name, array)`. `delete_nodes(graph, positions)`. `tidy(model)`: takes out weights that nobody reads any more, and
# returns the model. An optional input that is left out has the name `""`.

# %%
from labkit.onnx_simplify import (
    RANDOM_OPS,
    add_weight,
    array_of,
    copy_of,
    delete_nodes,
    is_external,
    run_node,
    tidy,
)


def fold_constants(model):
    """A new model: each node whose inputs are known is a weight of the same name. The model given stays as it is."""
    ### BEGIN SOLUTION
    result = copy_of(model)
    fold_graph(result.graph, {}, result)
    return tidy(result)


def fold_graph(graph, known, model):
    """Folds a graph and those inside it. known: what the graph around it knows, {name: array}."""
    inputs, outputs = ({value.name for value in values} for values in (graph.input, graph.output))
    fixed = (tensor for tensor in graph.initializer if tensor.name not in inputs and not is_external(tensor))
    known = known | {tensor.name: array_of(tensor) for tensor in fixed}
    folded = []
    for position, node in enumerate(graph.node):
        for inner in subgraphs(node):
            fold_graph(inner, known, model)
        if node.op_type in RANDOM_OPS or any(name not in known for name in node.input if name):
            continue
        values = run_node(node, known, model)  # None for a node that holds graphs
        if values is None:
            continue
        known |= values
        if outputs.isdisjoint(values):
            folded.append(position)
            for name, array in values.items():
                add_weight(graph, name, array)
    delete_nodes(graph, folded)
    ### END SOLUTION

# %%
lab.check(fold_constants)

# %% tags=["nbval-check-output"]
folded = fold_constants(raw)
say("constants folded", folded)

# %% [markdown]
# Something is left of those biases. We come back to it.
#
# ## Two names for one value
#
# `b = Identity(a)` computes nothing: b is a second name for a. Exporters leave such nodes where a module did nothing,
# a dropout after training for instance. To take one out, one of the two names has to go. That is easy in the middle of
# a graph and delicate at its edges, because **the names of inputs and outputs belong to the caller**.

# %%
lab.card("drop_identities")

# %% [markdown]
# **Stays**: an Identity that makes an output out of an input, or out of another output. There both names are taken.
# The same holds in a branch that hands on a value from around it.
#
# **Given.** `graphs(model)`: the main graph and all graphs inside it. `rename(graph, {old: new})`: gives a value another
# name wherever it is made or read, in the graph and inside it; the graph's own inputs and outputs keep theirs.

# %%
from labkit.onnx_simplify import graphs, rename


def drop_identities(model):
    """A new model without its Identity nodes. Inputs and outputs keep their names; the model given stays as it is."""
    ### BEGIN SOLUTION
    result = copy_of(model)
    for graph in graphs(result):
        outputs = {value.name for value in graph.output}
        made = {name for node in graph.node for name in node.output}
        done = []
        for position, node in enumerate(graph.node):
            if node.op_type != "Identity":
                continue
            source, target = node.input[0], node.output[0]
            if target not in outputs:
                rename(graph, {target: source})
            elif source in made and source not in outputs:
                rename(graph, {source: target})
                made.add(target)
            else:
                continue
            done.append(position)
        delete_nodes(graph, done)
    return tidy(result)
    ### END SOLUTION

# %%
lab.check(drop_identities)

# %% tags=["nbval-check-output"]
dropped = drop_identities(folded)
say("identities dropped", dropped)

# %% [markdown]
# ## Two layers that are one
#
# At inference a batch normalization multiplies each channel by a number and adds another ([Ioffe and
# Szegedy](https://arxiv.org/abs/1502.03167), algorithm 2):
#
# ```
# y = gamma · (x - mean) / sqrt(var + epsilon) + beta
# ```
#
# If x comes out of a convolution, the same numbers can go into its weights, once and for all:
#
# ```
# factor[m] = gamma[m] / sqrt(var[m] + epsilon)          for each output channel m
# weight[m] → weight[m] · factor[m]
# bias[m]   → (bias[m] - mean[m]) · factor[m] + beta[m]
# ```

# %%
lab.card("fuse_conv_bn")

# %% [markdown]
# **Shapes.** M output channels, C input channels, G groups. The weight of a Conv is (M, C/G, kernel…). That of a
# ConvTranspose is (C, M/G, kernel…): its C rows come in G groups, and output channel m belongs to group m // (M/G). A
# kernel may have one axis, two or three.
#
# **Fuse only if** nobody else reads what the convolution makes, neither a node, nor a branch, nor the caller; if the
# normalization is not in training (`training_mode`); and if all weights of both are known. Another node may read the
# same weight, so write new ones. The model keeps its type: float32 in, float32 out.
#
# **Given.** `graphs_with_weights(model)`: each graph, with a dict of the weights that its nodes can read.
# `count_reads(graph)[name]`: how often a value is read, branches and outputs included. `attribute(node, name, default)`.
# `fresh_name(wanted, taken)` with `taken = all_names(model)`. A BatchNormalization reads x, gamma, beta, mean, var.

# %%
from labkit.onnx_simplify import all_names, attribute, count_reads, fresh_name, graphs_with_weights


def fuse_conv_bn(model):
    """A new model: Conv and ConvTranspose have taken in the BatchNormalization behind them. The given one stays."""
    ### BEGIN SOLUTION
    result = copy_of(model)
    taken = all_names(result)
    for graph, weights in graphs_with_weights(result):
        reads, done = count_reads(graph), []
        makers = {node.output[0]: node for node in graph.node if node.op_type in ("Conv", "ConvTranspose")}
        for position, norm in enumerate(graph.node):
            conv = makers.get(norm.input[0]) if norm.op_type == "BatchNormalization" else None
            if conv is None or reads[norm.input[0]] > 1 or attribute(norm, "training_mode", 0):
                continue
            if any(name not in weights for name in [*conv.input[1:], *norm.input[1:]]):
                continue
            names = [fresh_name(f"{conv.output[0]}.{what}", taken) for what in ("weight", "bias")]
            for name, array in zip(names, fused_weights(conv, norm, weights), strict=True):
                add_weight(graph, name, array)
            conv.input[1:] = names
            conv.output[0] = norm.output[0]
            done.append(position)
        delete_nodes(graph, done)
    return tidy(result)


def fused_weights(conv, norm, weights):
    """(weight, bias) of the convolution that is both."""
    weight, *biases = (weights[name] for name in conv.input[1:])
    gamma, beta, mean, var = (weights[name] for name in norm.input[1:5])
    factor = gamma / np.sqrt(var + attribute(norm, "epsilon", 1e-5))
    bias = ((biases[0] if biases else 0) - mean) * factor + beta
    groups = attribute(conv, "group", 1) if conv.op_type == "ConvTranspose" else 1
    if conv.op_type == "Conv":
        scaled = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))  # (M, 1, 1…)
    else:
        by_group = weight.reshape(groups, -1, *weight.shape[1:])  # (G, C/G, M/G, kernel…)
        scaled = (by_group * factor.reshape(groups, 1, -1, *[1] * (weight.ndim - 2))).reshape(weight.shape)
    return scaled.astype(weight.dtype), bias.astype(weight.dtype)
    ### END SOLUTION

# %%
lab.check(fuse_conv_bn)

# %% tags=["nbval-check-output"]
fused = fuse_conv_bn(dropped)
say("normalizations fused", fused)

# %% [markdown]
# ## The surprise
#
# Most normalizations are still there, although your pass is right. Which of its conditions says no? Ask the graph:
# where does the bias of the second convolution come from?

# %%
lines = graph_text(fused).splitlines()
at = next(number for number, line in enumerate(lines) if "CastLike" in line)
print("\n".join(lines[at : at + 4]))

# %% [markdown]
# The exporter fills up a missing bias with zeros, and gives the zeros the type of the data: `CastLike(0, relu)`. That
# node waits for `relu`. But of `relu` it reads **only the type**, and the type is known. `Shape` is of the same kind:
# it reads only the sizes, which are known where they are fixed. So "all inputs known" asks for too much. What counts
# is what a node *reads*.
#
# Types and sizes come from ONNX's shape inference. `resolve_types_and_sizes(model)` writes them down: such a CastLike
# becomes a Cast, such a Shape a Constant. The rest is your work already. Run the passes until nothing changes.

# %% tags=["nbval-check-output"]
from labkit.onnx_simplify import resolve_types_and_sizes


def simplify(model):
    """Your passes, again and again until the number of nodes stays."""
    before = None
    while before != (before := sum(count_ops(model).values())):
        model = fuse_conv_bn(drop_identities(fold_constants(resolve_types_and_sizes(model))))
    return model


mine = simplify(raw)
say("yours, types resolved", mine)
lab.reconcile("nodes that the model needs", sum(count_ops(mine).values()))

# %% [markdown]
# **Is it the same function?** Compare what both give for the same random input, in float32 and not in a picture.

# %%
from labkit.onnx_export import compare_outputs, open_session, random_inputs

mine_path = files / "mine.onnx"
save_model(mine, mine_path)
feeds = random_inputs(raw, dims={"batch": 8}, seed=SEED)
outputs = [open_session(path, "cpu", level="none").run(None, feeds) for path in (raw_path, mine_path)]
found, where = compare_outputs(["output"], *outputs)
print(f"the largest difference is {found.max_rel:.1e} of the output's scale, at {where}")

# %% [markdown]
# It is not zero, because a fused weight is rounded where the two layers were rounded one after the other. Here is what
# became of each node. Where a kernel runs, both graphs stand below in Netron: click a node to see what it holds.

# %%
from labkit.widgets.netron_viewer import compare_models

compare_models(raw, mine, names=("as exported", "yours"))

# %% [markdown]
# ## The tools
#
# [onnxsim](https://github.com/onnxsim/onnxsim), [OnnxSlim](https://github.com/inisis/OnnxSlim), the exporter's own
# optimizer and ONNX Runtime do what you did, and more. How many nodes does OnnxSlim leave of the raw graph?

# %%
### BEGIN SOLUTION
onnxslim_guess = 20
### END SOLUTION
lab.predict("nodes that OnnxSlim leaves", onnxslim_guess, "nodes")

# %%
from labkit.onnx_simplify import simplify_report
from labkit.widgets.simplify_picture import draw_report
from labkit.widgets.still import show

tools = ["exporter", "onnxsim", "onnxslim", "ort basic", "ort extended", "ort all"]
report = simplify_report(raw_path, tools=tools, dims={"batch": 8})
show(*draw_report(report))
lab.reconcile("nodes that OnnxSlim leaves", next(each.num_nodes for each in report.outcomes if each.tool == "onnxslim"))

# %% [markdown]
# The exporter's own optimizer gets as far as you. The others stop about where your three passes stopped first. Is it
# for the same reason? Give them the graph with its types resolved and nothing else changed:

# %% tags=["nbval-check-output"]
resolved_path = files / "resolved.onnx"
save_model(resolve_types_and_sizes(raw), resolved_path)
print(report)
print(simplify_report(resolved_path, tools=tools, dims={"batch": 8}))

# %% [markdown]
# **One node in front of each bias kept six normalizations in the graph**, and no tool said a word. When a tool leaves
# what it should have taken, look at the first node that it did not fold.
#
# The last two columns have types of their own, such as FusedConv: ONNX Runtime also fuses a convolution with the ReLU
# behind it, and *all* adds layouts for this machine's CPU. Such a file runs in ONNX Runtime only, *all* on this kind of
# CPU only.
#
# ## Which exporter leaves what
#
# You began with the exporter's optimizer off. Here is another net, a detector that computes boxes from its input's
# size, through both exporters. Static: all sizes fixed. Dynamic: batch, height and width free. Before you run it: for
# which of the rows will your passes find most to do? This takes a while.

# %%
from labkit.onnx_simplify.tools import TOOLS

detector = SAMPLES["detector"]
variants = {
    "TorchScript, static": ("torchscript", False, True),
    "TorchScript, dynamic": ("torchscript", True, True),
    "current, static": ("dynamo", False, True),
    "current, dynamic": ("dynamo", True, True),
    "current, dynamic, raw": ("dynamo", True, False),
}
if QUICK:
    variants = dict(list(variants.items())[:2])


def nodes_left(path, tool):
    """The number of nodes after one tool."""
    TOOLS[tool].run(path, files / "after.onnx")
    return sum(count_ops(load_model(files / "after.onnx")).values())


print(f"{'nodes':22} exported  yours  onnxsim  OnnxSlim  ORT basic")
for name, (exporter, dynamic, optimize) in variants.items():
    path = files / f"{name}.onnx"
    free = detector.dynamic if dynamic else None
    export_onnx(detector.build(), detector.example(), path, free, exporter=exporter, optimize=optimize)
    exported = load_model(path)
    numbers = [sum(count_ops(model).values()) for model in (exported, simplify(exported))]
    numbers += [nodes_left(path, tool) for tool in ("onnxsim", "onnxslim", "ort basic")]
    print(f"{name:22} {numbers[0]:8} {numbers[1]:6} {numbers[2]:8} {numbers[3]:9} {numbers[4]:10}")

# %% [markdown]
# **Where it comes from.** TorchScript records shape arithmetic node by node, with a Constant for every number in it. With
# fixed sizes all of it folds away. With free sizes it has work to do, and stays. The current exporter simplifies before
# it writes, so there is little left for anybody. Simplifying is worth most on old exports and on raw ones. Where a tool
# is ahead of you, it knows rules that you did not write: that two nodes compute the same, or that a Cast follows a
# Cast.
#
# ## What it buys
#
# Two thirds of the nodes are gone. ONNX Runtime runs your graph and the raw one, each after **all** of its own
# optimizations, on one thread. How long does a run of yours take, in per cent of the raw one's?

# %%
### BEGIN SOLUTION
run_guess = 80
### END SOLUTION
lab.predict("a run of yours, of the raw graph's", run_guess, "%")

# %%
from functools import partial

from labkit.measure import compare

rounds = 5 if QUICK else 15
paths = {"raw": raw_path, "yours": mine_path}
runs, opens = {}, {}
for level in ("none", "all"):
    for name, path in paths.items():
        session = open_session(path, "cpu", level=level, num_threads=1)
        runs[f"{name}, level {level}"] = partial(session.run, None, feeds)
        opens[f"{name}, level {level}"] = partial(open_session, path, "cpu", level=level, num_threads=1)

run_times = compare(runs, repeats=rounds)
open_times = compare(opens, repeats=rounds)
print(f"a run\n{run_times}\n\nopening a session\n{open_times}")
medians = {name: timing.median_ms for name, timing in run_times.timings.items()}
print(f"\nmedian runs at level all: yours {medians['yours, level all']:.3f} ms, raw {medians['raw, level all']:.3f} ms")
lab.reconcile("a run of yours, of the raw graph's", 100 * medians["yours, level all"] / medians["raw, level all"])

# %% [markdown]
# **Where it comes from.** Nearly all of a run goes into the convolutions, and there are as many as before. A folded
# constant was a few numbers, an Identity a copy, a normalization one pass over the data. What ONNX Runtime can fold and
# fuse, it does anyway when it opens the file, so a tool that does the same beforehand buys nothing at run time. What
# it buys is the *opening*: fewer nodes to read, to check and to optimize. What the runtime could not see, here six
# normalizations, is a gain of yours, and a small one beside convolutions. If your two lines for *all* differ by less
# than their spread, say "nothing".
#
# So simplify for a runtime that optimizes little, for a process that starts often, for a converter that refuses an
# operator, and for a person who has to read the graph. Measure before you call it faster. For your own models:
# `labkit onnx report model.onnx --timed`.
#
# ## What this leaves out
#
# Your passes leave alone what they are not sure of. A folded value can be larger than what it is computed from: labkit's
# own pass has a limit for that, since a file need not hold ten million zeros. It also drops a Dropout, a Cast to the
# type that is there and a Transpose that changes no order. Real optimizers have dozens of such rules, find equal
# subexpressions, and fuse whole attention blocks. Where they are listed: [graph optimizations in ONNX
# Runtime](https://onnxruntime.ai/docs/performance/model-optimizations/graph-optimizations.html). A normalization in
# front of a convolution can be fused as well, if there is no padding between them: why not otherwise?

# %%
lab.progress()

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
# # ZeRO and the memory of training
#
# **Goal.** Count what training keeps in memory and what its ranks send, write ZeRO's three stages by hand, and watch
# the real ones.
#
# **Needed.** NumPy; what parameters, gradients and an optimizer's state are. Any laptop: the ranks are virtual, or
# processes on this machine. Under three hours, nine exercises.
#
# **At the end** you have a calculator that you trust, because you held it against a byte ledger and against PyTorch,
# and you have found the defects of four calculators that others published.
#
# Letters used everywhere: Φ parameters of the model, N data-parallel ranks (one rank is one GPU), K micro-batches in a
# step. GB is 1e9 bytes. *The paper* is [ZeRO](https://arxiv.org/abs/1910.02054), by Rajbhandari, Rasley, Ruwase and He.

# %% tags=["parameters"]
SEED = 0
DEVICE = "cpu"
QUICK = False

# %%
from fractions import Fraction

import numpy as np

import labkit

lab = labkit.open_lab("07_zero_memory", seed=SEED)
lab

# %% [markdown]
# ## Where the memory goes
#
# Measure before any formula: train a small GPT with AdamW in fp32. After a step, how many bytes are held for each
# parameter, activations not counted?

# %%
### BEGIN SOLUTION
bytes_per_param_guess = 12
### END SOLUTION
lab.predict("bytes per parameter, fp32 AdamW", bytes_per_param_guess, "bytes")

# %% [markdown]
# The next cell loads PyTorch, which takes a few seconds.

# %%
import torch

from labkit.transformer import TransformerShape
from labkit.transformer.measured import saved_bytes
from labkit.transformer.models import build_model
from labkit.zero.observed.record import occupied_bytes, state_tensors

torch.manual_seed(SEED)
shape = TransformerShape("small GPT", layers=4, hidden=128, heads=4, ffn=512, vocab=2000, positions=128)
model = build_model(shape, DEVICE, torch.float32)
optimizer = torch.optim.AdamW(model.parameters())
tokens = torch.randint(shape.vocab, (8, 128), device=DEVICE)

held = {"activations": saved_bytes(model, lambda: model(tokens, tokens))}  # what forward keeps for backward
model(tokens, tokens).backward()
optimizer.step()
held["parameters"] = occupied_bytes(model.parameters())
held["gradients"] = occupied_bytes(param.grad for param in model.parameters())
held["optimizer"] = occupied_bytes(state_tensors(optimizer))

num_params = sum(param.numel() for param in model.parameters())
for what, num_bytes in held.items():
    print(f"{what:12} {num_bytes:12,} bytes, {num_bytes / num_params:6.2f} for each of {num_params:,} parameters")
lab.reconcile("bytes per parameter, fp32 AdamW", (sum(held.values()) - held["activations"]) / num_params)

# %% [markdown]
# **Where it comes from.** 4 for the parameter, 4 for its gradient, 4 + 4 for Adam's momentum and variance. None of it
# depends on the batch. Activations do, and come later.
#
# Mixed precision computes in 16 bits. Does it halve this? Here is one rank's ledger with an fp32 master copy, which
# takes the small steps that 16 bits would round away:

# %%
from labkit.zero import SGD, Adam, MasterCopy, held_bytes, place

half = place(np.zeros(1000, np.float16), world_size=1, stage=0, optimizer=MasterCopy(Adam()))[0]
print(f"1000 parameters in mixed precision: {held_bytes(half)}, {held_bytes(half).total} bytes in all")

# %% [markdown]
# **16 = 16.** 2 + 2 + 12 (the paper, §3.1). Mixed precision makes activations smaller and arithmetic faster; model
# states stay as large. Sources disagree about what to count: 16 (the paper), 18 with fp32 gradients in place of fp16
# ones (Megatron-LM, EleutherAI), 20 with both (DeepSpeed's estimator, MT-NLG), and 12 where somebody forgot the master
# copy. So always say which three numbers you mean.
#
# ## Φ without building the model
#
# All of this is a multiple of Φ, so count Φ exactly. For a GPT the published formula is 12Lh² + 13Lh + (V + s)h
# ([arXiv 2104.04473](https://arxiv.org/abs/2104.04473), eq. 2); it leaves out the last norm, 2h. Grouped keys, gated
# MLPs and a head of its own need the terms behind it.

# %%
lab.card("transformer_params")

# %% [markdown]
# **Shapes.** Query and output matrices are hidden by hidden. Keys and values are hidden · kv_heads / heads wide;
# `kv_heads=None` means as many as heads.

# %%
def transformer_params(
    layers, hidden, vocab, ffn, *, heads=1, kv_heads=None, positions=0, gated=False, biases=True, tied=True
):
    """Parameters of a decoder, to the last bias, an int.

    >>> transformer_params(12, 768, 50257, 3072, positions=1024)  # GPT-2 small
    124439808
    """
    ### BEGIN SOLUTION
    kv = hidden * (heads if kv_heads is None else kv_heads) // heads
    num_wide = 2 if gated else 1  # matrices into the MLP
    layer = 2 * hidden * hidden + 2 * hidden * kv + (num_wide + 1) * hidden * ffn + 2 * hidden
    outside = (1 if tied else 2) * vocab * hidden + positions * hidden + hidden
    if biases:
        layer += 2 * hidden + 2 * kv + num_wide * ffn + hidden + 2 * hidden
        outside += hidden
    return layers * layer + outside
    ### END SOLUTION

# %%
lab.check(transformer_params)

# %% tags=["nbval-check-output"]
print(f"small GPT: {transformer_params(4, 128, 2000, 512, positions=128):,} by formula, {num_params:,} in the model")
llama_7b = transformer_params(32, 4096, 32000, 11008, gated=True, biases=False, tied=False)
print(f"LLaMA-7B: {llama_7b:,}, so {16 * llama_7b / 1e9:.1f} GB of model states before the first activation")

# %% [markdown]
# ## Three stages
#
# Data parallelism keeps all of it on every rank, N times the same bytes. ZeRO keeps each part once, a shard of it on
# each rank: stage 1 splits the optimizer's state, stage 2 the gradients too, stage 3 the parameters too (the paper, §5).
# Every rank still computes every layer in full: ZeRO is data parallelism, not model parallelism.
#
# The story that everybody tells has Φ = 7.5 billion and N = 64. How much does one rank hold at stage 1?

# %%
### BEGIN SOLUTION
stage_1_guess = 40
### END SOLUTION
lab.predict("model states of 7.5B on one of 64 ranks, stage 1", stage_1_guess, "GB")

# %%
lab.card("state_bytes")

# %% [markdown]
# **Given.** `Fraction` keeps an uneven split exact; a float will do. Write the general form with p, g, o bytes per
# parameter, not three constants: SGD, fp32 and 18 bytes are then the same code.

# %%
def state_bytes(num_params, world_size, stage, bytes_per_param=(2, 2, 12)):
    """Bytes of parameters, gradients and optimizer state on one rank, even split.

    >>> state_bytes(12, 4, stage=1)  # (2 + 2)·12 + 12·12/4
    84
    """
    ### BEGIN SOLUTION
    p, g, o = (Fraction(size) for size in bytes_per_param)
    if stage >= 1:
        o = o / world_size
    if stage >= 2:
        g = g / world_size
    if stage >= 3:
        p = p / world_size
    return (p + g + o) * num_params
    ### END SOLUTION

# %%
lab.check(state_bytes)

# %% [markdown]
# The paper's Table 1, by your function. (The paper rounds its first columns and cuts the others off: 4187.5 stands
# there as 4187.)

# %% tags=["nbval-check-output"]
columns = [(billions, stage) for billions in (7.5, 1000) for stage in (1, 2, 3)]
print("   N" + "".join(f"{f'{billions:g}B, stage {stage}':>16}" for billions, stage in columns))
for ranks in (1, 4, 16, 64, 256, 1024):
    row = [float(state_bytes(int(billions * 1e9), ranks, stage)) / 1e9 for billions, stage in columns]
    print(f"{ranks:4}" + "".join(f"{gigabytes:13.2f} GB" for gigabytes in row))
lab.reconcile("model states of 7.5B on one of 64 ranks, stage 1", float(state_bytes(7_500_000_000, 64, 1)) / 1e9)

# %% [markdown]
# **Where it comes from.** What a stage leaves whole is a floor: 4Φ at stage 1, 2Φ at stage 2. Only stage 3 has none
# in this formula. The check tried small N, because at 64 ranks several wrong formulas are right to a few per cent.
#
# The picture is drawn by your function. Change the source: the same question, and other answers.

# %%
from labkit.widgets.zero_bars import zero_bars

zero_bars(state_bytes)

# %% [markdown]
# ## What the ranks send
#
# Ranks stand in a ring and each passes shards on to the next. Two collectives do all the work. **Reduce-scatter**:
# everybody's gradients are added, and rank r ends with part r of the sum. **All-gather**: everybody's parts are joined,
# on every rank. An **all-reduce** is the one and then the other.

# %%
from labkit.zero import Ring

ring = Ring(2)
print("reduce-scatter:", ring.reduce_scatter([np.array([1.0, 2.0]), np.array([10.0, 20.0])]))
print("all-gather:    ", ring.all_gather([np.array([11.0]), np.array([22.0])]))
print("sent by rank:  ", ring.sent_bytes, "bytes")

# %% [markdown]
# Stage 0 all-reduces its gradients. Stages 1 and 2 reduce-scatter them, each rank updates its part, and the updated
# parameters are gathered. Stage 3 gathers parameters before forward, drops them, gathers them again before backward, and
# reduce-scatters the gradients; after its update nothing is sent, since the next forward gathers anyway (the paper, §7).

# %%
lab.card("comm_elements")

# %%
def comm_elements(num_params, world_size, stage):
    """Elements that each rank sends in one optimizer step, ring, exact.

    >>> comm_elements(12, 4, stage=2)  # two passes of 12·3/4
    18
    """
    ### BEGIN SOLUTION
    passes = 3 if stage == 3 else 2
    return passes * num_params * Fraction(world_size - 1, world_size)
    ### END SOLUTION

# %%
lab.check(comm_elements)

# %% tags=["nbval-check-output"]
for ranks in (1, 2, 8, 64, 1024):
    stage_2, stage_3 = (float(comm_elements(1_000_000, ranks, stage)) for stage in (2, 3))
    print(f"{ranks:5} ranks: each sends {stage_2:9,.0f} at stages 0 to 2 and {stage_3:9,.0f} at stage 3", end="; ")
    print(f"all together {ranks * stage_3:13,.0f}")

# %% [markdown]
# **Why it does not grow with N.** Twice the ranks, half the shard: each still passes on all but its own. The paper
# writes 2Φ and 3Φ, the limit of large N. Figures like 3NΦ, or 3Φ for stage 1, describe something else: all ranks
# together, or an all-reduce followed by a gather, which
# [DeepSpeed's first version](https://github.com/deepspeedai/DeepSpeed/issues/156) did.
#
# Why then stage 1, if stage 2 sends as much and holds less? With K micro-batches, stage 1 adds up whole gradients and
# reduces once. Stage 2 has no room for them and reduces K times; stage 3 gathers 2K times as well.
#
# ## ZeRO by hand
#
# Now the ranks become a list in one process. What each holds and sends is written down, because a comparison of
# parameters cannot see an answer that is right and keeps too much.

# %%
lab.card("zero_step")

# %% [markdown]
# **Given.** All arrays are flat.
#
# - `Rank(params, grads, optimizer)`: what a rank holds between steps. From stage 1 on, arrays are padded with zeros to
#   `padded_params(Φ, N)`, so that N shards are equal; rank r owns part r. `pad(array, length)` pads.
# - `batches[r][k]`: micro-batch k of rank r. The gradient is the mean over all N·K of them.
# - `model.forward(params, batch)` gives what `model.backward(params, saved)` needs for the gradient. Both take exactly
#   `model.num_params` parameters, without padding.
# - `optimizer.update(params, grads, state)` gives new parameters and new state, element by element.
# - `ring.all_reduce`, `ring.reduce_scatter`, `ring.all_gather`: lists in and out, one array for each rank.
#
# | stage | a rank keeps whole | a rank keeps a shard of | sent in a step of K micro-batches |
# |---|---|---|---|
# | 0 | all three | – | one all-reduce of the summed gradients |
# | 1 | parameters, gradients | optimizer | one reduce-scatter; after the update one all-gather |
# | 2 | parameters | gradients, optimizer | a reduce-scatter for each micro-batch; one all-gather |
# | 3 | – | all three | for each micro-batch two all-gathers and a reduce-scatter |
#
# Here is stage 0. The ranks it was given stay as they were, and so must yours.

# %%
from labkit.zero import Rank, TanhRegression, full_params, make_batches, pad, padded_params


def data_parallel_step(ranks, batches, model, optimizer, ring):
    """Stage 0: every rank holds everything."""
    grads = []
    for rank, micro_batches in zip(ranks, batches, strict=True):
        saved = [model.forward(rank.params, batch) for batch in micro_batches]
        grads.append(sum(model.backward(rank.params, each) for each in saved))
    grads = [each / (len(ranks) * len(batches[0])) for each in ring.all_reduce(grads)]
    updated = [optimizer.update(rank.params, each, rank.optimizer) for rank, each in zip(ranks, grads, strict=True)]
    return [Rank(params, each, state) for (params, state), each in zip(updated, grads, strict=True)]

# %%
def zero_step(ranks, batches, model, optimizer, stage, ring):
    """The ranks after one training step of ZeRO stage 0, 1, 2 or 3: a list of N Ranks."""
    ### BEGIN SOLUTION
    N, K = len(ranks), len(batches[0])
    if stage == 0:
        return data_parallel_step(ranks, batches, model, optimizer, ring)

    def whole_params():
        held = [rank.params for rank in ranks]
        return [params[: model.num_params] for params in (ring.all_gather(held) if stage == 3 else held)]

    sums = []
    for k in range(K):
        saved = [model.forward(params, batches[r][k]) for r, params in enumerate(whole_params())]
        local = [model.backward(params, saved[r]) for r, params in enumerate(whole_params())]
        local = [pad(gradient, padded_params(model.num_params, N)) for gradient in local]
        if stage >= 2:
            local = ring.reduce_scatter(local)
        sums = [a + b for a, b in zip(sums, local, strict=True)] if sums else local
    own = [gradient / (N * K) for gradient in (ring.reduce_scatter(sums) if stage == 1 else sums)]

    parts = [rank.params if stage == 3 else np.split(rank.params, N)[r] for r, rank in enumerate(ranks)]
    updated = [optimizer.update(parts[r], own[r], rank.optimizer) for r, rank in enumerate(ranks)]
    params = [part for part, _ in updated]
    if stage < 3:
        params = ring.all_gather(params)
    grads = sums if stage == 1 else own
    return [Rank(params[r], grads[r], state) for r, (_, state) in enumerate(updated)]
    ### END SOLUTION

# %%
lab.check(zero_step)

# %% [markdown]
# Set the ledger beside your two formulas, with 20 parameters on 3 ranks: a number that does not divide, so Φ becomes
# 21. Numbers take 8 bytes here, and Adam keeps two of them.

# %% tags=["nbval-check-output"]
regression = TanhRegression(inputs=3, hidden=5)


def train(step, optimizer, stage, world_size, num_steps=5):
    """The ranks after some steps, and the ring of the last one."""
    ranks = place(regression.start(SEED), world_size, stage, optimizer)
    for number in range(num_steps):
        ring = Ring(world_size)
        ranks = step(ranks, make_batches(regression, world_size, seed=number), regression, optimizer, stage, ring)
    return ranks, ring


for stage in (1, 2, 3):
    ranks, ring = train(zero_step, Adam(), stage, world_size=3)
    formula = state_bytes(21, 3, stage, (8, 8, 16)), 8 * comm_elements(21, 3, stage)
    print(f"stage {stage}: formula {formula[0]} held, {formula[1]} sent; ledger of rank 0", end=" ")
    print(f"{held_bytes(ranks[0]).total} held, {ring.sent_bytes[0]} sent")

# %% [markdown]
# (Yours may hold less: gradients can be freed after the step.)
#
# The commonest bug of distributed training is a gradient that is summed and not averaged. The parameters here are around
# 0.5, and SGD's are visibly off after five steps. By how much is Adam's worst one off?

# %%
### BEGIN SOLUTION
adam_error_guess = 1e-3
### END SOLUTION
lab.predict("largest error of a parameter, Adam, gradients summed", adam_error_guess)

# %%
class Summed:
    """An optimizer that is given N times the mean: the sum."""

    def __init__(self, inner, world_size):
        self.start, self.inner, self.world_size = inner.start, inner, world_size

    def update(self, params, grads, state):
        return self.inner.update(params, grads * self.world_size, state)


error = {}
for name, optimizer in (("SGD", SGD()), ("Adam", Adam())):
    trained = [train(zero_step, each, 1, world_size=3)[0] for each in (optimizer, Summed(optimizer, 3))]
    right, wrong = (full_params(ranks, 20, stage=1) for ranks in trained)
    error[name] = float(np.abs(right - wrong).max())
    print(f"{name:5} largest error {error[name]:.1e}")
lab.reconcile("largest error of a parameter, Adam, gradients summed", error["Adam"])

# %% [markdown]
# **Where it comes from.** Adam divides the gradient by its own size, m/(√v + eps), so a factor cancels. What is left
# is eps: a small constant, 1e-8 here as in PyTorch, that keeps a gradient of zero from being divided by zero, and that
# no factor scales. A test with Adam alone lets this bug through; the check of your step used both.
#
# The next picture is one step as *your* `zero_step` did it: its ring, its model and its optimizer wrote down each call.
# Try K = 3 at stages 1, 2 and 3. Real implementations send layer by layer while they compute.

# %%
from labkit.widgets.zero_timeline import zero_timeline

zero_timeline(zero_step, comm_elements)

# %% [markdown]
# ## The real ones
#
# Now PyTorch's own: three processes on this machine, joined by gloo, train a small transformer in fp32 with DDP (stage
# 0), ZeroRedundancyOptimizer (called stage 1) and FSDP2's `fully_shard` (stage 3). A recorder writes down each
# collective, and the bytes behind every tensor. Three answers to each question: your formula's, that of a ledger of
# named tensors cut up as the implementation cuts them, and what was seen. It takes about ten seconds on two cores,
# most of it for three processes that load PyTorch.

# %%
from labkit.widgets.progress_bar import ProgressBar
from labkit.zero.observed import compare, heaviest, observe

modes = ["fsdp2"] if QUICK else ["ddp", "zero-redundancy-optimizer", "fsdp2"]
watched = observe(modes, world_size=3, progress=ProgressBar("3 processes"))
print(" " * 23 + "formula    ledger      seen")
for mode, observations in watched.items():
    print(mode)
    for row in compare(heaviest(observations)):
        answers = (f"{float(each):9,.0f}" for each in (row.formula, row.ledger, row.observed))
        print(f"  {row.question:17}", *answers, f" {row.because}")

# %% [markdown]
# **Where the rest comes from.** Tensors are cut by rows, so shards differ. ZeroRedundancyOptimizer gives whole tensors
# to ranks, and it stands behind DDP's all-reduce: it sends three passes where the paper's stage 1 needs two. What gloo
# puts on the wire is another matter: its reduce-scatter is an all-reduce and a slice
# ([PyTorch #118911](https://github.com/pytorch/pytorch/pull/118911)), so network counters would show four passes for
# FSDP2 and not three. That is why collectives are recorded here and no counter is read.
#
# For more ranks than this machine has processes, PyTorch's fake process group runs FSDP2's code on one rank of N;
# nothing is sent or stored. That takes a few seconds.

# %%
from labkit.zero.observed.fake import observe_fake, observe_fake_peak

wide = TransformerShape("wide", 4, 2048, 16, 5632, 32000, gated=True, biases=False, tied=False)
many = 16 if QUICK else 256
seen = observe_fake("fsdp2", many, wide)
formula = float(state_bytes(wide.num_params, many, 3, (4, 4, 8)))
print(f"{wide.num_params:,} parameters on {many} ranks: formula {formula:,.0f} bytes, seen {seen.states.total:,}")

# %% [markdown]
# Does a GPU's own allocator agree with the formula? `make gpu` asks it, with FSDP2 on one rank.

# %%
from labkit.evidence import recorded

print(recorded("zero"))

# %% [markdown]
# ## The floor of stage 3
#
# The formula goes to zero as N grows. While a layer runs, its parameters stand there gathered, and its whole gradient
# waits to be reduced. At 64 ranks the formula says 16/64 = 0.25 bytes per parameter. What is the peak, activations not
# counted? (The cell behind it takes about ten seconds, and prints a line for each number of ranks.)

# %%
### BEGIN SOLUTION
peak_guess = 1
### END SOLUTION
lab.predict("peak bytes per parameter, stage 3, 64 ranks", peak_guess, "bytes")

# %%
from labkit.zero import working_set_bytes

peaks = {}
for ranks in (4, 64) if QUICK else (4, 64, 256):
    peaks[ranks] = observe_fake_peak("fsdp2-bf16", ranks, wide)["total"] / wide.num_params
    print(f"{ranks:4} ranks: formula {16 / ranks:5.2f}, peak {peaks[ranks]:5.2f} bytes per parameter")
largest_unit = 2 * wide.vocab * wide.hidden + wide.hidden  # embedding, last norm and head are one unit here
floor = float(working_set_bytes(largest_unit, gather_bytes=2, reduce_bytes=4)) / wide.num_params
print(f"the largest unit, gathered in bf16, and its gradient in fp32: {floor:.2f} bytes per parameter")
lab.reconcile("peak bytes per parameter, stage 3, 64 ranks", peaks[64])

# %% [markdown]
# **Where it comes from.** The largest unit, however many ranks there are; buffers and the next unit come on top. More
# layers of the same width make the share smaller. DeepSpeed's estimator adds this largest layer, the paper's formula
# does not.
#
# ## Activations
#
# Stages 1 to 3 split no activations. (The paper's P_a, §6.1, splits *checkpoints* across **model**-parallel ranks.) For
# each layer a GPT keeps sbh(34 + 5as/h) bytes: s tokens, b sequences, width h, a heads
# ([arXiv 2205.05198](https://arxiv.org/abs/2205.05198), §4). These are bytes already: fp16, dropout masks of
# one byte. Of the 34, 10 stay whole under tensor parallelism (its eq. 2); sequence parallelism splits them too (eq. 4).

# %%
lab.card("activation_bytes")

# %%
def activation_bytes(
    seq, batch, hidden, heads, layers=1, *, tensor_parallel=1, sequence_parallel=False, recompute="none"
):
    """Bytes of activations on one rank.

    >>> activation_bytes(2048, 1, 4096, 32, layers=32) / 2**30  # GiB, the sizes of LLaMA-7B
    28.5
    """
    ### BEGIN SOLUTION
    whole = tensor_parallel if sequence_parallel else 1
    tokens = layers * seq * batch
    if recompute == "full":
        return tokens * Fraction(2 * hidden, whole)
    matrices = 5 * heads * seq if recompute == "none" else 0
    return float(tokens * (Fraction(10 * hidden, whole) + Fraction(24 * hidden + matrices, tensor_parallel)))
    ### END SOLUTION

# %%
lab.check(activation_bytes)

# %% [markdown]
# Do not believe it, measure it. PyTorch's meta device computes nothing, but autograd tells each tensor that it keeps.

# %% tags=["nbval-check-output"]
from labkit.transformer.measured import measured_layer_bytes

gpt = TransformerShape("GPT layer", layers=2, hidden=1024, heads=16, ffn=4096, vocab=1000, positions=1024)
sbh = 1024 * 1 * 1024
for recompute in ("none", "selective", "full"):
    seen = measured_layer_bytes(gpt, seq=1024, dropout=0.1, recompute=recompute)
    formula = float(activation_bytes(1024, 1, 1024, 16, recompute=recompute))
    print(f"recompute {recompute:9}  formula {formula / sbh:6.2f} sbh  measured {seen / sbh:7.3f} sbh")

# %% [markdown]
# **Where the difference comes from.** PyTorch's dropout masks on the meta device take 2 bytes in bf16, not 1: that makes
# 36 + 6as/h, and the norms' statistics are the last digits. Other code keeps other things: an eager LLaMA does its
# softmax in fp32 and keeps more. Sources disagree here too: footnote 3 of the paper, 12·h·b·s·L elements, gives less
# than a quarter of this formula for GPT-2 XL. It is a lower bound.
#
# ## Memory bought with traffic
#
# [ZeRO-Offload](https://arxiv.org/abs/2101.06840) leaves fp16 parameters and all forward and backward work on the GPU;
# gradients go down to the host, Adam runs there on the fp32 states, and fp16 parameters come back.
# [ZeRO-Infinity](https://arxiv.org/abs/2104.07857) adds NVMe, and moves parameters too.
# [ZeRO++](https://arxiv.org/abs/2306.10209) saves traffic between nodes: int8 weights, int4 gradients, and a whole
# replica inside each node (hpZ), which removes the backward gather between nodes and costs memory.

# %% tags=["nbval-check-output"]
from labkit.zero import PLACEMENTS, hpz_bytes, infinity_bandwidth, infinity_intensity, offload, zeropp_traffic

for placement in PLACEMENTS:
    on_gpu, on_cpu, link = (float(each) / 1e9 for each in offload(10**9, placement=placement))
    print(f"Offload, 1B: {placement:16} {on_gpu:2.0f} GB on the GPU, {on_cpu:2.0f} on the CPU, {link:.0f} over the link a step")
for what in ("parameters and gradients", "optimizer", "activations"):
    intensity = infinity_intensity(what, seq=1024, batch=2, hidden=8192)
    needed = infinity_bandwidth(intensity, peak_flops=100e12, efficiency=0.5) / 1e9
    print(f"Infinity, to reach half of 100 TFLOP/s: {what}, {needed:.1f} GB/s")
for name, on in (("stage 3", False), ("ZeRO++", True)):
    print(f"between nodes, {name}: {float(zeropp_traffic(on, on, on).total):.2f} times the model a step")
shard = state_bytes(10**9, 1024, 3)
print(f"hpZ at 1024 ranks, 16 a node: {float((shard + hpz_bytes(10**9, 16)) / shard):.1f} times the memory of stage 3")

# %% [markdown]
# The lines on Infinity are arithmetic (the intensities of its slides, derived again), not measurements; Offload's follow
# its abstract, ZeRO++'s the table in DeepSpeed's post. ZeRO++ is lossy,
# since it quantises; stages 1 to 3 lose nothing. And hpZ is not free, whatever a summary may say: look at the last line.
#
# ## Plan a training run
#
# On as many GPUs, a smaller stage never sends more. So the first question is: what is the smallest stage that fits?

# %%
lab.card("smallest_stage")

# %%
def smallest_stage(
    num_params, gpu_bytes, max_world_size, bytes_per_param=(2, 2, 12), *, reserved_bytes=0, multiple_of=1
):
    """(stage, world_size, state_bytes, comm_elements) of the smallest stage that fits, or None.

    >>> smallest_stage(12, 84, max_world_size=4)
    (1, 4, 84, 18)
    """
    ### BEGIN SOLUTION
    for stage in range(4):
        for world_size in range(multiple_of, max_world_size + 1, multiple_of):
            held = state_bytes(num_params, world_size, stage, bytes_per_param)
            if held + reserved_bytes <= gpu_bytes:
                return stage, world_size, held, comm_elements(num_params, world_size, stage)
    return None
    ### END SOLUTION

# %%
lab.check(smallest_stage)

# %% [markdown]
# That rule is one policy. A larger stage may fit on fewer GPUs, and you pay for each; a smaller one sends less, and
# links between nodes are slow. Decide for yourself what is dear. The check accepts every plan that can be defended: no
# other fits that is better in one of the two and not worse in the other.

# %%
lab.card("choose_plan")

# %%
def choose_plan(num_params, gpu_bytes, gpus_per_node, num_nodes, reserved_bytes, micro_batches):
    """(stage, world_size, used_bytes, sent_elements) of the plan that you would defend, or None.

    Stage 1 does not fit here. Stage 2 does, in 3 passes of 12·3/4:

    >>> choose_plan(12, 70, gpus_per_node=4, num_nodes=1, reserved_bytes=0, micro_batches=2)
    (2, 4, 66, 27)
    """
    ### BEGIN SOLUTION
    passes = 2, 2, micro_batches + 1, 3 * micro_batches
    plans = []
    for stage in range(4):
        for gpus in range(gpus_per_node, gpus_per_node * num_nodes + 1, gpus_per_node):
            used = state_bytes(num_params, gpus, stage) + reserved_bytes
            if used <= gpu_bytes:
                plans.append((stage, gpus, used, passes[stage] * num_params * Fraction(gpus - 1, gpus)))
    return min(plans, key=lambda plan: (plan[1], plan[3]), default=None)  # GPUs are dear, then traffic
    ### END SOLUTION

# %%
lab.check(choose_plan)

# %% [markdown]
# **Your case.** LLaMA-13B, micro-batches of four sequences of 4096 tokens, full recompute, K = 8, on at most three nodes
# of eight GPUs with 80 GB. Which plan does yours choose, and what did it pass over?

# %% tags=["nbval-check-output"]
from labkit.transformer import PRESETS
from labkit.zero import comm_elements as comm_with_micro_batches
from labkit.zero import plans_by_stage, working_set_bytes

llama, K = PRESETS["llama-13b"], 8
reserved = int(
    activation_bytes(4096, 4, llama.hidden, llama.heads, llama.layers, recompute="full")
    + 2 * 4 * 4 * 4096 * llama.vocab  # log-probabilities in fp32, and their gradient
    + working_set_bytes(2 * llama.vocab * llama.hidden)  # the largest unit: embedding and head
)
limits = {"reserved_bytes": reserved, "multiple_of": 8}
print(f"{llama.num_params / 1e9:.1f}B parameters; {reserved / 1e9:.1f} GB reserved on each GPU")
print("smallest stage, GPUs:", smallest_stage(llama.num_params, 80 * 10**9, 24, **limits)[:2])
chosen = choose_plan(llama.num_params, 80 * 10**9, 8, 3, reserved, K)[:2]
print("chosen by you:       ", chosen)

fewest = plans_by_stage(llama.num_params, 80 * 10**9, 24, **limits).values()
for stage, gpus in sorted({(plan.stage, plan.world_size) for plan in fewest if plan} | {chosen}):
    used = (float(state_bytes(llama.num_params, gpus, stage)) + reserved) / 1e9
    sent = 2 * float(comm_with_micro_batches(llama.num_params, gpus, stage, K)) / 1e9
    yours = "  <- yours" if (stage, gpus) == chosen else ""
    print(f"stage {stage} on {gpus:2} GPUs: {used:5.1f} GB; each sends {sent:4.0f} GB of bf16 a step{yours}")

# %% [markdown]
# **Defend it.** Stage 1 sends least, but needs two nodes, so it sends across the slow links. Stage 2 sends more, but inside
# one node, and costs half of the GPUs. Which number would change your mind: K, the price of a GPU, or the speed of the
# links? Set K to 1 above: one of the two is no longer defensible, since a ring of 8 makes shorter passes than one of 16.
#
# ## Bug hunt
#
# Calculators are published, copied and believed. Here is the smallest one to write: the KV cache of past tokens
# ([PagedAttention](https://arxiv.org/abs/2309.06180), §3, computes it for a 13B model). A published calculator forgot a
# factor in it.

# %%
lab.card("kv_cache_bytes")

# %%
def kv_cache_bytes(seq, batch, layers, kv_heads, head_dim, bytes_per_element=2):
    """Bytes of the keys and values of past tokens.

    >>> kv_cache_bytes(1, 1, layers=80, kv_heads=8, head_dim=128)  # LLaMA-2-70B, one token: 320 KiB
    327680
    """
    ### BEGIN SOLUTION
    return 2 * seq * batch * layers * kv_heads * head_dim * bytes_per_element
    ### END SOLUTION

# %%
lab.check(kv_cache_bytes)

# %% [markdown]
# Below are four calculators, one for each question, each with a defect that a real tool had. They take the arguments of
# your functions, by name. Only `transformer_params` is asked about less: models without biases and with a head of their
# own, from `layers, hidden, vocab, ffn, heads, kv_heads, gated`. On many inputs a broken calculator is right:

# %%
from labkit.course.exercises.zero_memory.calculators import SHOWN

easy = {"seq": 2048, "batch": 1, "hidden": 4096, "heads": 32, "layers": 32}
print(SHOWN["activation_bytes"](**easy) == activation_bytes(**easy))

# %% [markdown]
# Write the test that finds them. The check tries it on these four and on others like them, and on right ones, which it
# must let pass: those answer in ints, Fractions or floats.

# %%
lab.card("failing_input")

# %%
def failing_input(question, calculator):
    """Arguments for which the calculator is wrong, as a dict; None where every input of yours is answered rightly."""
    ### BEGIN SOLUTION
    def llama_params(**arguments):
        return transformer_params(**arguments, biases=False, tied=False)

    inputs = {
        "state_bytes": [
            {"num_params": 1001, "world_size": 3, "stage": stage, "bytes_per_param": sizes}
            for stage in range(4)
            for sizes in ((2, 2, 12), (4, 4, 8), (1, 3, 5))
        ],
        "transformer_params": [
            {"layers": 3, "hidden": 64, "vocab": 100, "ffn": 200, "heads": 8, "kv_heads": kv, "gated": gated}
            for kv in (2, 8)
            for gated in (True, False)
        ],
        "activation_bytes": [
            {"seq": 20, "batch": 3, "hidden": 64, "heads": 8, "layers": 2, "recompute": recompute, **parallel}
            for recompute in ("none", "selective", "full")
            for parallel in ({}, {"tensor_parallel": 2}, {"tensor_parallel": 4, "sequence_parallel": True})
        ],
        "kv_cache_bytes": [
            {"seq": 7, "batch": 2, "layers": 3, "kv_heads": 5, "head_dim": 11, "bytes_per_element": size}
            for size in (2, 4)
        ],
    }
    right = {
        "state_bytes": state_bytes,
        "transformer_params": llama_params,
        "activation_bytes": activation_bytes,
        "kv_cache_bytes": kv_cache_bytes,
    }
    for arguments in inputs[question]:
        expected = float(right[question](**arguments))
        if abs(float(calculator(**arguments)) - expected) > 1e-9 * expected:
            return arguments
    return None
    ### END SOLUTION

# %%
lab.check(failing_input)

# %% tags=["nbval-check-output"]
from labkit.course.exercises.zero_memory.calculators import all_broken

for question, broken in all_broken().items():
    for defect, each in broken.items():
        if each.published:
            print(f"{question}: {defect} ({each.published})\n    shown by {failing_input(question, each.calculator)}")

# %% [markdown]
# ## What this leaves out
#
# Time. Volume is not speed: messages overlap with compute, and links differ inside and between nodes. Buffers,
# fragmentation and the allocator's own needs (the paper's ZeRO-R, §6) come on top of every figure here. Models of
# experts have parameters that not every rank uses. The real thing is
# [FSDP2](https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html) and
# [DeepSpeed](https://github.com/deepspeedai/DeepSpeed); `labkit zero --params 7.5e9 --world 64 --assume all` and
# `labkit observe` ask the same questions from a shell.

# %%
lab.progress()

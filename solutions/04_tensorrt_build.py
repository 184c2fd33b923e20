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
# # TensorRT plans and their cache
#
# **Goal.** Turn an ONNX model into a TensorRT plan, understand why the builder refuses, and keep plans in a cache that
# never serves a stale one.
#
# **Needed.** What an ONNX file is (lab 02), hashing and files in Python. Any laptop with Linux or Windows: the plans are
# real and are built with no GPU. A GPU adds running them. About 105 minutes, four exercises.
#
# **At the end** you have your own check of profiles, your own command line, and your own cache, with a key that stood
# against an adversary who changes one thing at a time.

# %% tags=["parameters"]
SEED = 0
DEVICE = "cpu"
QUICK = False

# %%
import hashlib
import json
import os
import tempfile
from pathlib import Path
from textwrap import indent

import numpy as np

import labkit

lab = labkit.open_lab("04_tensorrt_build", seed=SEED)
lab

# %% [markdown]
# ## A plan
#
# A **plan** is a network that TensorRT has compiled: layers fused, kernels chosen, memory laid out. The model here is a
# small CNN that is trained on scikit-learn's digits on the spot, so that you can later see what a precision costs in
# digits and not only in decimals. Training and export take some seconds.

# %%
import torch

from labkit.onnx_export import export_onnx
from labkit.sample_models import SAMPLES, load_digits, train_digits_cnn

folder = Path(tempfile.mkdtemp(prefix="lab04-"))
trained = train_digits_cnn(epochs=2 if QUICK else 4, seed=SEED)
exported = export_onnx(
    trained.model, SAMPLES["digits"].example(), folder / "digits.onnx", dynamic={"images": {0: "batch"}}
)
print(trained)
print(f"{exported.path.name}: {exported.path.stat().st_size:,} bytes")

# %% [markdown]
# The batch is dynamic, so the builder asks for an **optimization profile**: for each dynamic input the smallest shape,
# the one to tune for, and the largest. Together they say which shapes the plan serves.

# %%
from labkit.tensorrt import BuildError, build_plan, flavour


def batches(low, opt, high):
    """A profile of the digits model."""
    return {"images": ((low, 1, 8, 8), (opt, 1, 8, 8), (high, 1, 8, 8))}


plan = build_plan(exported.path, batches(1, 8, 64))
again = build_plan(exported.path, batches(1, 8, 64))
print(f"built by {flavour()}: a plan of {len(plan):,} bytes; built again, the same bytes: {plan == again}")

# %% [markdown]
# `build_plan` is TensorRT's own calls with their errors collected. Here they are, without error handling:

# %%
trt = flavour().trt
logger = trt.Logger(trt.Logger.ERROR)
builder = trt.Builder(logger)
network = builder.create_network(flavour().network_flags)
parser = trt.OnnxParser(network, logger)
parser.parse(exported.path.read_bytes())
config = builder.create_builder_config()
shapes = builder.create_optimization_profile()
shapes.set_shape("images", *batches(1, 8, 64)["images"])
config.add_optimization_profile(shapes)
print(f"{len(bytes(builder.build_serialized_network(network, config))):,} bytes")

# %% [markdown]
# Most code that you find on the web does not look like this, and does not run any more. Keep this table at hand:

# %%
from labkit.tensorrt import OLD_CALLS

for call in OLD_CALLS:
    print(f"old  {call.old}\nnow  {call.new}\n     {call.why}\n")

# %% [markdown]
# ## What a profile costs
#
# One plan serves batches up to 1024, another only a batch of 8. How much larger is the first, in percent?

# %%
### BEGIN SOLUTION
wide_profile_guess = 20
### END SOLUTION
lab.predict("growth of the plan for a wide profile", wide_profile_guess, "%")

# %%
def fingerprint(content):
    """The first digits of a SHA-256, enough to tell plans apart by eye."""
    return hashlib.sha256(content).hexdigest()[:8]


ranges = ((8, 8, 8), (1, 8, 64), (1, 16, 64), (1, 8, 1024))
plans = {sizes: build_plan(exported.path, batches(*sizes)) for sizes in ranges}
for sizes, each in plans.items():
    print(f"min {sizes[0]:2}, opt {sizes[1]:2}, max {sizes[2]:4}: {len(each):,} bytes, {fingerprint(each)}")
lab.reconcile("growth of the plan for a wide profile", 100 * (len(plans[1, 8, 1024]) / len(plans[8, 8, 8]) - 1))

# %% [markdown]
# **Where it comes from.** The weights are stored once, whatever the profile says. A range of shapes needs kernels that
# take their sizes at run time. The larger price is paid when the plan runs: scratch memory is laid out for max, and a
# shape far from opt runs with kernels that were tuned for another. Look at the fingerprints, too: another opt is
# another plan, although it serves the same shapes. This will matter for the cache.
#
# ## Read the builder's reasons
#
# When a build fails, TensorRT returns None and writes why to its log. `BuildError` carries those reasons and what to
# try. Read these five:

# %%
impossible = {
    "no profile": {},
    "max below opt": batches(1, 8, 4),
    "a fixed size": {"images": ((1, 3, 8, 8), (8, 3, 8, 8), (64, 3, 8, 8))},
    "too few sizes": {"images": ((1,), (8,), (64,))},
    "a misspelt name": {"image": batches(1, 8, 64)["images"]},
}
for name, profile in impossible.items():
    try:
        build_plan(exported.path, profile)
    except BuildError as error:
        print(f"{name}\n{indent(str(error), '  ')}\n")

# %% [markdown]
# The last one is labkit's: TensorRT itself accepts a name that no input has, and says nothing. Checking a profile takes
# microseconds and a large build takes minutes, so check before you build.

# %%
lab.card("profile_problems")

# %% [markdown]
# **Given.** `inputs`: {name: shape}, None where a size is dynamic. `profile`: {name: (min, opt, max)}. For each name
# there is at most one problem, the first of these that applies:
#
# - `"unknown"`: the profile names it and the model has no such input
# - `"missing"`: it has a dynamic size and no entry (a static input needs none)
# - `"rank"`: one of the three shapes has another number of sizes
# - `"fixed"`: a size that the graph fixes is another one in min, opt or max
# - `"order"`: in some dimension min <= opt <= max does not hold

# %%
def profile_problems(inputs, profile):
    """{input: problem} for everything that is wrong with a profile; {} when it may go to the builder.

    >>> profile_problems({"x": (None, 3)}, {"x": ((8, 3), (4, 3), (64, 3)), "y": ((1,), (1,), (1,))})
    {'y': 'unknown', 'x': 'order'}
    """
    ### BEGIN SOLUTION
    problems = {name: "unknown" for name in profile if name not in inputs}
    for name, shape in inputs.items():
        bounds = profile.get(name)
        if bounds is None:
            if None in shape:
                problems[name] = "missing"
        elif any(len(bound) != len(shape) for bound in bounds):
            problems[name] = "rank"
        else:
            columns = list(zip(shape, *bounds, strict=True))
            if any(size is not None and {size} != set(sizes) for size, *sizes in columns):
                problems[name] = "fixed"
            elif any(not low <= opt <= high for _, low, opt, high in columns):
                problems[name] = "order"
    return problems
    ### END SOLUTION

# %%
lab.check(profile_problems)

# %%
for name, profile in impossible.items():
    print(f"{name:16} {profile_problems({'images': (None, 1, 8, 8)}, profile)}")

# %% [markdown]
# ## The same build as a command
#
# NVIDIA's tools build plans on machines without Python. Tutorials write
# `trtexec --explicitBatch --workspace=1024 --fp16`, and none of these flags is left. This is what holds now:
#
# - `--onnx=…`, `--saveEngine=…`, and `--skipInference`: build, and do not run
# - `--minShapes=x:1x3x8x8,y:1x4`, and the same for `--optShapes`, `--maxShapes`; a name that holds `:` or `,` stands in
#   single quotes: `'image:0':1x3x8x8`
# - `--memPoolSize=workspace:1024` counts MiB; with a suffix B, K, M or G, that
# - precision is in the graph: the command names the converted file, `net.fp16.onnx` for `net.onnx` in fp16
# - with targets the tool is `tensorrt_rtx` and takes `--computeCapabilities=86,89`

# %%
lab.card("trtexec_command")

# %% [markdown]
# **Given.** Options are `precision` ("fp32", "fp16", "int8"), `workspace_bytes` (an int) and `targets`
# (`("SM86", "SM89")`); what is not given gets no flag. A list of arguments goes to the tool without a shell, so nothing
# in it is quoted for one. The order of the flags is free.

# %%
def trtexec_command(onnx_path, plan_path, profile, **options):
    """The command that builds the same plan: a list of strings, the tool first.

    >>> trtexec_command("net.onnx", "net.plan", {}, precision="fp16")
    ['trtexec', '--onnx=net.fp16.onnx', '--saveEngine=net.plan', '--skipInference']
    """
    ### BEGIN SOLUTION
    precision, targets = options.get("precision", "fp32"), options.get("targets", ())
    source = onnx_path if precision == "fp32" else f"{onnx_path.removesuffix('.onnx')}.{precision}.onnx"
    tool = "tensorrt_rtx" if targets else "trtexec"
    command = [tool, f"--onnx={source}", f"--saveEngine={plan_path}", "--skipInference"]
    for index, bound in enumerate(("min", "opt", "max") if profile else ()):
        items = []
        for name, shapes in profile.items():
            quoted = f"'{name}'" if ":" in name or "," in name else name
            items.append(f"{quoted}:{'x'.join(map(str, shapes[index]))}")
        command.append(f"--{bound}Shapes={','.join(items)}")
    if options.get("workspace_bytes"):
        command.append(f"--memPoolSize=workspace:{options['workspace_bytes']}B")
    if targets:
        command.append(f"--computeCapabilities={','.join(target.removeprefix('SM') for target in targets)}")
    return command
    ### END SOLUTION

# %%
lab.check(trtexec_command)

# %%
command = trtexec_command("digits.onnx", "digits.plan", batches(1, 8, 64), precision="fp16", targets=("SM86",))
print(" \\\n    ".join(command))

# %% [markdown]
# ## Precision is in the graph
#
# Older versions took a flag and chose a type for each layer. Today a network is strongly typed: each tensor has the type
# that the graph gives it. fp16 converts weights and activations; int8 puts pairs of nodes around the layers that round
# to 8 bits and back. Their scales come from **calibration data**: the largest value seen becomes 127, and what is larger
# later is cut off. Below, one graph is calibrated on 200 digits, another on the same digits at half their brightness.
#
# How many of the test digits are classified differently in int8 than in fp32, calibrated well and in the dark? How large
# is the int8 plan as a share of the fp32 plan?

# %%
### BEGIN SOLUTION
changed_guess = 4
dark_guess = 10
int8_size_guess = 50
### END SOLUTION
lab.predict("digits classified differently in int8", changed_guess, "digits")
lab.predict("the same, calibrated in the dark", dark_guess, "digits")
lab.predict("size of the int8 plan against fp32", int8_size_guess, "%")

# %%
from labkit.onnx_export import open_session
from labkit.tensorrt import convert_precision

digits = load_digits(seed=SEED)
seen = digits.train_images[:200].numpy()
options = {
    "fp32": {},
    "fp16": {"precision": "fp16"},
    "int8": {"precision": "int8", "calibration": [{"images": seen}]},
    "dark": {"precision": "int8", "calibration": [{"images": seen / 2}]},
}
test_inputs = {"images": digits.test_images.numpy()}

scores, graph_bytes, plan_bytes = {}, {}, {}
for name, chosen in options.items():
    graph = convert_precision(exported.path, folder / f"digits.{name}.onnx", **{"precision": "fp32", **chosen})
    session = open_session(graph, prefer=["cpu"], level="none")
    scores[name] = session.run(None, test_inputs)[0]
    graph_bytes[name] = graph.stat().st_size
    plan_bytes[name] = len(build_plan(exported.path, batches(1, 8, 64), **chosen))

classes = {name: each.argmax(axis=1) for name, each in scores.items()}
for name in options:
    right = (classes[name] == digits.test_labels.numpy()).mean()
    other = (classes[name] != classes["fp32"]).sum()
    error = np.abs(scores[name] - scores["fp32"]).max()
    print(
        f"{name}: graph {graph_bytes[name]:7,} bytes, plan {plan_bytes[name]:7,} bytes, {right:.1%} right,"
        f" {other} classified differently, scores off by {error:.2g} at most"
    )

# %%
lab.reconcile("digits classified differently in int8", int((classes["int8"] != classes["fp32"]).sum()))
lab.reconcile("the same, calibrated in the dark", int((classes["dark"] != classes["fp32"]).sum()))
lab.reconcile("size of the int8 plan against fp32", 100 * plan_bytes["int8"] / plan_bytes["fp32"])

# %%
from labkit.widgets.plan_sizes import plan_sizes
from labkit.widgets.still import show

shown = ("fp32", "fp16", "int8")  # other scales are as many bytes
show(*plan_sizes({name: graph_bytes[name] for name in shown}, {name: plan_bytes[name] for name in shown}))

# %% [markdown]
# **Where it comes from.** A weight takes four bytes, two or one, and the nodes around the weights stay as they are. The
# plan of a model this small is mostly code, and where types change there is more of it. The weights decide only when
# there are many of them: judge a precision on the model that you mean to ship.
#
# With good ranges the scores move a little, and a class changes only where two were close. In the dark the ranges end
# where bright digits begin, and the builder cannot know: it warns of nothing. So calibration data is measured on data,
# never on closeness, and it belongs to what a plan depends on.
#
# The accuracy is that of ONNX Runtime on the same converted graphs, with its optimizer off (`level="none"`): it then
# computes what the Q/DQ nodes say, as TensorRT does. Its quicker int8 kernels
# [overflow on CPUs without VNNI](https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html), and
# would show you the CPU's error instead of the graph's.
#
# ## Targets, and a refusal
#
# A plan can be built for GPUs that are not here: name their compute capability. SM75 is Turing, SM86 is
# Ampere, SM89 is Ada, SM120 is Blackwell.

# %%
for targets in (("SM75",), ("SM86",), ("SM89",), ("SM86", "SM89"), ("SM120",)):
    for precision in ("fp32", "fp16"):
        try:
            each = build_plan(exported.path, batches(1, 8, 64), targets=targets, precision=precision)
            print(f"{'+'.join(targets):10} {precision}  {len(each):,} bytes, {fingerprint(each)}")
        except BuildError as error:
            print(f"{'+'.join(targets):10} {precision}  {error}")
try:
    build_plan(exported.path, batches(1, 8, 64), targets=("SM90",))
except BuildError as error:
    print(f"SM90       fp32  {error}")

# %% [markdown]
# **Why two are refused.** TensorRT-RTX has no fp32 matrix product for Turing, whose tensor cores take fp16. In fp16 the
# same graph builds. SM90 is Hopper, which no desktop has: TensorRT-RTX does not know it, and full TensorRT builds for it
# on the machine itself. The fingerprints say the rest: each target is another plan.
#
# ## The key
#
# A build of a large model takes minutes, so everybody caches plans. Here is the usual way. Watch what it serves after
# one more training under the same file name:

# %%
from labkit.onnx_file import model_files


def usual_key(onnx_path, profile, **options):
    """What many caches do."""
    return f"{Path(onnx_path).stem}_{profile['images'][2][0]}"


served = {}
served[usual_key(exported.path, batches(1, 8, 64))] = plan
better = train_digits_cnn(epochs=1, seed=SEED + 1).model
export_onnx(better, SAMPLES["digits"].example(), exported.path, dynamic={"images": {0: "batch"}})
stale = served[usual_key(exported.path, batches(1, 8, 64))]
print(f"served after the second training: {fingerprint(stale)}")
print(f"what it should be:                {fingerprint(build_plan(exported.path, batches(1, 8, 64)))}")

# %% [markdown]
# Nothing failed, and the old weights are in production. In NVIDIA's issue tracker the same mistake was made with a plan
# for [another GPU](https://github.com/NVIDIA/TensorRT/issues/564) and with plans of
# [another version](https://github.com/NVIDIA/TensorRT/issues/2195).
#
# Write the key. The check is an adversary: it changes one thing at a time, a weight, a size, an option, the version, and
# keeps the file's name, size and time as they were. Then it changes what does not matter, and your key must stay:
# otherwise a cache builds again and again, which nobody notices either.

# %%
lab.card("plan_key")

# %% [markdown]
# **Given.**
#
# - `model_files(path)`: the model's file, then every external weight file that it names, in order
# - `flavour()`: the TensorRT installed, with `.name`, `.version` and `.device` (None, or a dict that describes the GPU
#   that full TensorRT builds for). The check changes what it says.
# - options, with their defaults: `precision="fp32"`, `targets=()`, a set in any order, `workspace_bytes=None`,
#   `calibration=None`, a list of batches {input: array}
# - to try a case: `(requests,) = lab.case("plan_key", …)` is {what is changed: (onnx_path, profile, options)}
#
# **A key** is a str that can be the name of a file: letters, digits, `-` and `_`, at most 128 of them. Sizes and
# `workspace_bytes` may be NumPy integers, shapes may be lists.

# %%
def plan_key(onnx_path, profile, **options):
    """The name of a plan in a cache: another one whenever the plan could be another, and only then.

    >>> plan_key("net.onnx", {"x": ((1, 3), (8, 3), (64, 3))}) == plan_key("copy.onnx", {"x": [[1, 3], [8, 3], [64, 3]]})
    True
    """
    ### BEGIN SOLUTION
    def sha256(content):
        return hashlib.sha256(content).hexdigest()

    workspace = options.get("workspace_bytes")
    ingredients = {
        "model": [sha256(file.read_bytes()) for file in model_files(onnx_path)],
        "profile": {name: [[int(size) for size in shape] for shape in shapes] for name, shapes in profile.items()},
        "precision": options.get("precision", "fp32"),
        "targets": sorted(options.get("targets") or ()),
        "workspace_bytes": None if workspace is None else int(workspace),
        "calibration": [
            {name: [str(array.dtype), array.shape, sha256(array.tobytes())] for name, array in batch.items()}
            for batch in options.get("calibration") or ()
        ],
        "builder": [flavour().name, flavour().version, flavour().device],
    }
    return sha256(json.dumps(ingredients, sort_keys=True).encode())
    ### END SOLUTION

# %%
lab.check(plan_key)

# %% [markdown]
# Is a key ever too careful? Ask the builder. Your key differs for each of these; which of the plans differ? The last
# request is for the same graph with a comment written into the file.

# %%
import onnx

commented = onnx.load(exported.path)
commented.doc_string = "retrained on Monday"
onnx.save(commented, folder / "commented.onnx")

requests = {
    "as before": (exported.path, batches(1, 8, 64), {}),
    "opt 16": (exported.path, batches(1, 16, 64), {}),
    "1 GiB of workspace": (exported.path, batches(1, 8, 64), {"workspace_bytes": 2**30}),
    "one byte more": (exported.path, batches(1, 8, 64), {"workspace_bytes": 2**30 + 1}),
    "fp16": (exported.path, batches(1, 8, 64), {"precision": "fp16"}),
    "a comment": (folder / "commented.onnx", batches(1, 8, 64), {}),
}
for name, (path, profile, chosen) in requests.items():
    built = build_plan(path, profile, **chosen)
    print(f"{name:20} key {plan_key(path, profile, **chosen)[:8]}, plan {fingerprint(built)}")

# %% [markdown]
# Even one byte of a limit is written into the plan. The comment is not: its bytes are in the file and so in the key, and
# the plan is the one from before. A key that is too careful costs a build; one that is not careful enough costs a wrong
# answer. So when in doubt, put it in.
#
# ## The cache
#
# A good key still needs a good folder. A process can be killed while it writes, a disk can lose bytes, somebody can copy
# a file under another's name. A plan is code that runs on your GPU: believe nothing that you have not checked.

# %%
lab.card("PlanCache")

# %% [markdown]
# **Given.** `build` and `key`, both called with `(onnx_path, profile, **options)`: in the check a stand-in that counts,
# below `build_plan` and your `plan_key`. The folder exists.
#
# - a hit builds nothing, also in another process; a miss builds once
# - a file that is cut off, changed, foreign, or copied from another key is a miss, and the next build replaces it
# - **atomic**: write a temporary file in the same folder, `os.fsync` it, then rename it (`os.replace`). The check
#   watches all three, and wants `os.fsync` called by this name
# - when the build raises, its exception comes through and nothing stays behind

# %%
class PlanCache:
    """Plans in a folder: `get_or_build(onnx_path, profile, **options)` returns the bytes of one.

    >>> PlanCache("plans", build_plan, plan_key).get_or_build("net.onnx", {"x": ((1, 3), (8, 3), (64, 3))})[:4]
    b'ftrt'
    """

    ### BEGIN SOLUTION
    def __init__(self, folder, build, key):
        self.folder, self.build, self.key = Path(folder), build, key

    def get_or_build(self, onnx_path, profile, **options):
        key = self.key(onnx_path, profile, **options)
        plan = self._read(key)
        if plan is None:
            plan = self.build(onnx_path, profile, **options)
            self._write(key, plan)
        return plan

    def _read(self, key):
        try:
            seal, _, plan = (self.folder / f"{key}.plan").read_bytes().partition(b"\n")
        except OSError:
            return None
        return plan if seal == self._seal(key, plan) else None

    def _write(self, key, plan):
        temporary = self.folder / f".{key}.{os.getpid()}.tmp"
        with open(temporary, "wb") as file:
            file.write(self._seal(key, plan) + b"\n" + plan)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.folder / f"{key}.plan")

    @staticmethod
    def _seal(key, plan):
        return hashlib.sha256(key.encode() + plan).hexdigest().encode()
    ### END SOLUTION

# %%
lab.check(PlanCache)

# %% [markdown]
# Now with the real builder. How many times as long as a hit does a miss take, for this small model?

# %%
### BEGIN SOLUTION
hit_guess = 100
### END SOLUTION
lab.predict("time of a miss against a hit", hit_guess, "times")

# %%
from labkit.measure import time_call

stored = folder / "plans"
stored.mkdir(exist_ok=True)
cache = PlanCache(stored, build_plan, plan_key)


def miss():
    """One build: the folder is emptied first."""
    for file in stored.iterdir():
        file.unlink()
    cache.get_or_build(exported.path, batches(1, 8, 64))


missing = time_call(miss, repeats=3 if QUICK else 7, warmup=1)
hitting = time_call(lambda: cache.get_or_build(exported.path, batches(1, 8, 64)), repeats=15)
print(f"miss: {missing}\nhit:  {hitting}")
lab.reconcile("time of a miss against a hit", missing.median_ms / hitting.median_ms)

# %% [markdown]
# **Where it comes from.** A hit reads two files, parses the model for the names of its weight files, and hashes
# everything. It grows with the bytes, a build grows with the layers and with the kernels to choose from.
#
# labkit's own cache does what yours does and says why it missed. That sentence is worth its few lines when a server
# rebuilds at every start and nobody knows why:

# %%
from labkit import tensorrt

own = tensorrt.PlanCache(folder / "own")
for profile, chosen in (
    (batches(1, 8, 64), {}),
    (batches(1, 8, 64), {"precision": "fp32"}),
    (batches(1, 16, 64), {}),
    (batches(1, 16, 64), {"targets": ("SM86",)}),
):
    print(own.serve(exported.path, profile, **chosen).reason)

# %% [markdown]
# ## Run it
#
# Loading a plan already needs a GPU and its driver. Named tensors replaced the list of bindings: no call asks for the
# index of an input any more. `PlanRunner` makes the new calls:
#
# ```
# old  context.set_binding_shape(0, shape); context.execute_v2(bindings)
# now  context.set_input_shape("images", shape); context.set_tensor_address("images", pointer)
#      context.execute_async_v3(stream)
# ```

# %%
try:
    runner = tensorrt.PlanRunner(own.get_or_build(exported.path, batches(1, 64, 512)))
except tensorrt.GpuMissing as reason:
    from labkit.evidence import recorded

    print(f"Skipped: {reason}.")
    print(recorded("plans"))
else:
    session = open_session(exported.path, prefer=["cpu"])
    for batch in (1, 64, 512):
        feeds = {"images": np.resize(digits.test_images.numpy(), (batch, 1, 8, 8))}
        error = np.abs(runner.run(feeds)[runner.outputs[0]] - session.run(None, feeds)[0]).max()
        print(f"batch {batch:3}: off ONNX Runtime's by {error:.2g} at most; {runner.time(feeds)}")

# %% [markdown]
# ## What this leaves out
#
# Two processes that ask at once both build here; labkit's cache holds a lock
# ([cache.py](../labkit/tensorrt/cache.py)), also survives a full disk, and evicts what was used least recently. Full
# TensorRT times kernels while it builds, so its plans differ from run to run, and a timing cache makes rebuilds quick.
# TensorRT-RTX leaves part of the choice to run time and has a runtime cache for it. Plans with weights to be replaced
# later (refit) need a GPU while building. NVIDIA's documentation of
# [dynamic shapes](https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/work-dynamic-shapes.html) goes
# on from here.

# %%
lab.progress()

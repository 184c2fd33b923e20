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
# # Start here
#
# **Goal.** See that your machine is ready, learn how a lab works, and learn to measure honestly.
#
# **Needed.** Python and a little NumPy. Any laptop, no GPU, no network. About 20 minutes.
#
# **At the end** you have solved one small exercise, and you know why a subtraction can be several times slower than
# the one beside it.
#
# Click into the first grey cell and press **Shift+Enter**: the cell runs and the next one is selected. If something
# looks stuck, choose *Kernel → Restart Kernel…* and run from the top. Nothing that you solved is lost.

# %% tags=["parameters"]
SEED = 0  # other seeds, other cases
DEVICE = "cpu"
QUICK = False  # True: smaller measurements, for a fast run of the whole notebook

# %%
import labkit

lab = labkit.open_lab("00_start_here", seed=SEED)
lab

# %% [markdown]
# ## What this machine can do
#
# The next cell measures for about two seconds. *Tier* says which exercises run here: those of tier `cpu` run
# everywhere, those of tier `gpu` are skipped, with a reason, where there is no GPU. The two rates are the ceilings
# of everything that you will measure in this course: how fast this machine multiplies, and how fast it moves bytes.

# %%
from labkit.hardware import this_machine

machine = this_machine()
print(machine)

# %% [markdown]
# ## How an exercise works
#
# Each exercise comes in the same steps: a **card** that says what to write, a **stub** to fill in, a **check**, and
# **hints** if you want them. Everything that you write goes into the cell of the stub, helper functions and imports
# too: when a lab is graded, those cells are taken from your notebook and nothing else.

# %%
lab.card("median")

# %% [markdown]
# **Why anyone wants this.** Timings are noisy: now and then something interrupts a run. The median does not move
# when that happens.
#
# **Given.** A list of numbers, at least one, in the order of the runs.
#
# **Shapes.** `samples_ms`: list of n floats, milliseconds → one float, milliseconds.

# %%
def median(samples_ms):
    """The median of a list of timings, in the same unit.

    >>> median([2.0, 80.0, 3.0])
    3.0
    >>> median([1.0, 2.0, 4.0, 80.0])
    3.0
    """
    ### BEGIN SOLUTION
    ordered, n = sorted(samples_ms), len(samples_ms)
    middle = n // 2
    if n % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2
    ### END SOLUTION

# %% [markdown]
# Now the check. As long as the stub stands there it is red and says *not written yet*: that is how every exercise of
# the course begins.

# %%
lab.check(median)

# %% [markdown]
# A wrong answer gets more than "wrong": the smallest input on which it fails, what was expected, what came, and the
# mistake that it looks like. Here is one, on purpose:

# %%
from labkit.course import exercise


def average(samples_ms):
    return sum(samples_ms) / len(samples_ms)


print(exercise("00_start_here", "median").judge(average, seed=SEED))

# %% [markdown]
# The check ran your function apart from the notebook, in a process of its own. A loop that never ends is stopped, and
# nothing that your function does can change the judge.
#
# If you are stuck, ask for a hint. There are three to each exercise: a question, the idea, and pseudo-code. They
# come one at a time. The answers are in `solutions/`; looking there is allowed.

# %%
lab.hint("median")

# %% [markdown]
# ## Measuring honestly
#
# Three habits, used in every lab:
#
# 1. **Warm up.** The first calls pay for things that the others do not: memory that was never touched, code that was
#    never loaded. Throw them away.
# 2. **Repeat, and quote the median.** One sample is an anecdote.
# 3. **Show the spread.** Two medians that differ by less than their spread are the same number.
#
# Look at raw samples first. The array below is new, so the first call that writes to it also has to get its memory from
# the operating system, page by page.

# %%
from time import perf_counter

import numpy as np

num_values = 2_000_000 if QUICK else 20_000_000


def sample_ms(call):
    start = perf_counter()
    call()
    return (perf_counter() - start) * 1e3


values = np.empty(num_values, dtype=np.float32)
samples_ms = [sample_ms(lambda: values.fill(1.0)) for _ in range(9)]
print("samples:", ", ".join(f"{each:.2f}" for each in samples_ms), "ms")
print(f"mean {sum(samples_ms) / len(samples_ms):.2f} ms, your median {median(samples_ms):.2f} ms")

# %% [markdown]
# `labkit.measure` does this for you: it warms up, makes enough calls per sample, and takes the samples of two
# things in turns, so that a machine that slows down halfway slows both.
#
# ## Predict, measure, reconcile: the cost of a dtype
#
# A picture is a `float32` array of shape (height, width, 3). Preprocessing subtracts a mean from each channel. Here
# are three ways to write it that look alike:
#
# - `picture - 127.0`, a Python float,
# - `picture - np.array([127, 127, 127], dtype=np.float32)`,
# - `picture - np.array([127, 127, 127])`, whose integers are `int64` on most machines.
#
# Before you run the measurement: how many times as long as the Python float does the `int64` vector take? Write your
# number down. A guess that is wrong teaches more than no guess.

# %%
### BEGIN SOLUTION
slowdown_guess = 3.0
### END SOLUTION
lab.predict("int64 vector against Python float", slowdown_guess, "times")

# %%
from labkit.measure import compare

height, width = (270, 480) if QUICK else (1080, 1920)
picture = np.random.default_rng(SEED).uniform(0, 255, (height, width, 3)).astype(np.float32)
means = {
    "Python float": 127.0,
    "float32 vector": np.array([127, 127, 127], dtype=np.float32),
    "int64 vector": np.array([127, 127, 127], dtype=np.int64),
}
timings = compare({name: lambda mean=mean: picture - mean for name, mean in means.items()})
print(timings)

# %%
ratios = timings.ratios
lab.reconcile("int64 vector against Python float", ratios["int64 vector"])
print(f"Of that, a vector in place of a number: {ratios['float32 vector']:.2f} times;")
print(f"integers in place of float32: {ratios['int64 vector'] / ratios['float32 vector']:.2f} times.")
for name, mean in means.items():
    result = picture - mean
    print(f"{name:15} gives {result.dtype}, {result.nbytes / 1e6:6.1f} MB from {picture.nbytes / 1e6:.1f} MB")

# %% [markdown]
# **Where it comes from.** Two things, and they are easily mistaken for each other.
#
# - *Broadcasting.* A vector of three is repeated along the last axis, so NumPy's innermost loop is three numbers long
#   and hardly pays for its start. The `float32` vector has this cost too; a single number has not.
# - *The dtype.* `float32` and `int64` have no common type that holds both, so NumPy widens to `float64`: every value is
#   converted, and the result has twice the bytes. The one word `dtype=np.float32` mends it, and everything that comes
#   after is half as large. A Python float has no such effect: NumPy lets it take the array's type.
#
# People say "broadcasting is slow" and mean the second. To tell the two apart, change one thing at a time, as above.
#
# **What this leaves out.** The ratios depend on the machine, on the size (does the picture fit in a cache?) and on the
# NumPy version. The dtypes and the bytes do not: count what can be counted, and measure the rest.
#
# ## Where help is
#
# - `lab.hint("name")` in any lab, one rung at a time; `lab.card("name")` shows the task again.
# - `lab.progress()` shows what you have solved. After a restart, run the first two code cells again, and it still knows.
# - `median(*lab.case("median", "two samples"))` tries your function on a case that a red check named.
# - `README.md` has the table of labs; `solutions/` has every lab, solved and run.
# - If a check looks wrong to you, it may be: `labkit matrix 00_start_here` shows which answers it was tested with.
#
# Here is where you stand, in this lab and in the course.

# %%
lab.progress()

# %%
labkit.course_progress()

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
# # The Efficient Router
#
# **Goal.** Decide who may start: never so early that memory overflows, never later than need be.
#
# **Needed.** Python lists and sorting. That a running request of a language model keeps keys and values for each of its
# tokens, in a cache that everybody shares (lab 05 builds one). Any laptop. About 100 minutes, four exercises.
#
# **At the end** you have an exact admission test, two lines of proof for it, and a number for what it is worth: your
# own function decides in a simulator that serves a stream of conversations.
#
# The heart of it is ten lines long and stands in several serving systems. In one of them, above the copied lines, a
# comment says ["I have no idea what this
# does"](https://github.com/microsoft/vidur/blob/main/vidur/scheduler/replica_scheduler/lightllm_replica_scheduler.py).
# After this lab you know.

# %% tags=["parameters"]
SEED = 0
DEVICE = "cpu"
QUICK = False
TRACE = ""  # path of a CSV file like the Azure LLM inference traces of 2023; empty: a synthetic trace like them

# %%
import numpy as np

import labkit

lab = labkit.open_lab("06_efficient_router", seed=SEED)
lab

# %% [markdown]
# ## Who holds what when
#
# A request that runs holds one slot of the pool for each token so far, and appends one token at each step. When its
# answer ends, all of its slots are freed. So a request is a pair **(run, left)**: it holds `run` tokens now and will
# append `left` more. It holds `run + t` tokens at step t, for 0 ≤ t ≤ left, and nothing after that. With `left = 0` it
# still holds its tokens at this step.
#
# A prompt of p tokens with an answer of g tokens is (p, g - 1) when it starts: the last token is read by the user and
# never by the model, so it needs no slot.
#
# Here are five requests from [LightLLM's page on its
# router](https://github.com/ModelTC/lightllm/blob/main/docs/EN/source/framework/router.rst). What is the most that they
# ever hold together? Do not compute, look and guess.

# %%
five = [(5, 4), (4, 3), (5, 3), (3, 2), (4, 2)]

# %%
### BEGIN SOLUTION
peak_guess = 28
### END SOLUTION
lab.predict("tokens that the five hold together at most", peak_guess, "tokens")

# %%
from labkit.widgets.staircase import skyline
from labkit.widgets.still import show

show(*skyline(five))

# %%
def tokens_at(requests, step):
    """Tokens held at a step, from the definition: what every later formula must agree with."""
    return sum(run + step for run, left in requests if left >= step)


lab.reconcile("tokens that the five hold together at most", max(tokens_at(five, step) for step in range(5)))

# %% [markdown]
# Now they hold 21, if each came to its end at the same time it would be 35, and the truth lies between: some have gone
# before others are large.
#
# ## Where is the peak?
#
# The picture has a dot wherever somebody completes. Take random sets of requests. In which share of them is the peak at
# such a step? Write it down, then let brute force say.

# %%
### BEGIN SOLUTION
at_completion_guess = 100
### END SOLUTION
lab.predict("share of sets with the peak at a completion", at_completion_guess, "%")

# %%
rng = np.random.default_rng(SEED)
num_sets = 200 if QUICK else 2_000
at_completion = 0
for _ in range(num_sets):
    requests = [tuple(pair) for pair in rng.integers(0, 30, size=(rng.integers(1, 9), 2)).tolist()]
    held = [tokens_at(requests, step) for step in range(30)]
    at_completion += held.index(max(held)) in {left for _, left in requests}
lab.reconcile("share of sets with the peak at a completion", 100 * at_completion / num_sets)

# %% [markdown]
# **Why.** Suppose nobody completes at step t. Then everybody who holds tokens at t also holds them at t + 1, and one
# more each. So the total at t + 1 is larger, and t was not the peak. The peak is therefore at a completion, always.
#
# That leaves as many steps to look at as there are requests. Sort them by `left`, the longest first: left₁ ≥ left₂ ≥ …
# At the completion of the k-th, exactly the first k are still there, and each has appended left_k tokens:
#
# ```
# peak = the largest, over k, of   k · left_k + run_1 + … + run_k
# ```
#
# Where several have equal left, the last of them counts all. The others give less, which a maximum does not mind.

# %%
lab.card("peak_tokens")

# %% [markdown]
# **Given.** `requests` is a list of pairs of ints, in any order; it may be empty, and it belongs to the caller. The
# check counts every step of every set, small sets in every order. It calls your function *unsafe* if it is too low,
# *wasteful* if it is too high, *order-dependent* if the order of the list changes the answer.

# %%
def peak_tokens(requests):
    """The most tokens that these requests (run, left) ever hold together, an int.

    >>> peak_tokens([(5, 4), (4, 3), (5, 3), (3, 2), (4, 2)])
    31
    """
    ### BEGIN SOLUTION
    held = peak = 0
    for k, (run, left) in enumerate(sorted(requests, key=lambda request: -request[1]), start=1):
        held += run
        peak = max(peak, k * left + held)
    return peak
    ### END SOLUTION

# %%
lab.check(peak_tokens)

# %% [markdown]
# ## Any order is safe, one is tight
#
# LightLLM's page says *ascending* above code that sorts *descending*. What if one follows the words? Call **B(π)** the
# value of the formula when the requests stand in the order π. Five requests have 120 orders. In how many of them is
# B(π) too low, so that a router would admit too much?

# %%
### BEGIN SOLUTION
too_low_guess = 30
### END SOLUTION
lab.predict("orders in which the formula is too low", too_low_guess, "of 120")

# %%
from itertools import permutations

from labkit.router import order_bound  # the formula, on requests in the order given
from labkit.widgets.order_bounds import order_bounds

mixed = [(6, 1), (2, 7), (4, 3), (1, 5), (3, 2)]
ascending = sorted(mixed, key=lambda request: request[1])
show(*order_bounds(mixed, {"ascending": ascending, "descending": ascending[::-1]}))

# %%
too_low = sum(order_bound(order) < peak_tokens(mixed) for order in permutations(mixed))
lab.reconcile("orders in which the formula is too low", too_low)

# %% [markdown]
# **Why no order is unsafe.** Let T be the step of the true peak and A the set of requests alive at T. Walk through any
# order until the last member of A, at place k. All of A stands up to there, so k is at least the size of A, its left is
# at least T, and the sum of runs includes all of A. So this term is at least |A|·T plus the runs of A, and that is the
# peak.
#
# A wrong order is thus never unsafe and nearly always wasteful. A check that waits for an overflow can never find it.
# What finds it is the smallest set on which a function is wrong; `labkit.router` searches for it in any function, yours
# too:

# %% tags=["nbval-check-output"]
from textwrap import fill

from labkit.router import smallest_counterexample


def ascending_test(running, candidate, capacity):
    """The published test, with the word instead of the code."""
    return order_bound(sorted([*running, candidate], key=lambda request: request[1])) <= capacity


print(fill(f"ascending: {smallest_counterexample(ascending_test)}", 110))
print("yours:", smallest_counterexample(peak_tokens))

# %% [markdown]
# ## May it start?

# %%
lab.card("can_admit")

# %% [markdown]
# **Given.** Your `peak_tokens`. `running` is a list of requests, `candidate` is one request that would start now. A
# pool that is exactly full does not overflow.

# %%
def can_admit(running, candidate, capacity):
    """Whether the running requests and the candidate never hold more than `capacity` tokens, a bool.

    >>> can_admit([(5, 4), (4, 3), (5, 3), (3, 2)], (4, 2), capacity=31)
    True
    >>> can_admit([(5, 4), (4, 3), (5, 3), (3, 2)], (4, 2), capacity=30)
    False
    """
    ### BEGIN SOLUTION
    return peak_tokens([*running, candidate]) <= capacity
    ### END SOLUTION

# %%
lab.check(can_admit)

# %% [markdown]
# **How good is a test of a test?** The published page tries its five requests with a capacity of 100. Your check knows
# a bank of wrong admission tests, each of which somebody might write. How many of them pass the published example?

# %%
def passes(test, capacities):
    """Whether a test says the right thing about the five requests at each of these capacities."""
    try:
        return all(test(five[:-1], five[-1], capacity) is (capacity >= 31) for capacity in capacities)
    except Exception:
        return False


bank = labkit.course.exercise("06_efficient_router", "can_admit").wrong_answers
wrong_tests = [each for each in bank if not each.never_ends]
for capacities in ([100], [100, 31, 30]):
    survivors = [each.name for each in wrong_tests if passes(each.candidate, capacities)]
    print(f"capacities {capacities}: {len(survivors)} of {len(wrong_tests)} wrong tests pass")
    print(f"  among them: {', '.join(survivors[:4])}")

# %% [markdown]
# So ask where it hurts: at a capacity equal to the true peak, and at one token less. And ask about lists in another
# order, equal requests, `left = 0`, large numbers. All of that is in the check that you have just passed.
#
# Here is your function at work. E wants to join the four; it does not fit now. Change when it starts, and its size.

# %%
from labkit.widgets.staircase import staircase

staircase(peak_tokens)

# %% [markdown]
# ## The queue
#
# Whoever is not admitted waits, first come first served. At each step the router tests the head of the queue, then the
# next, up to the first refusal.

# %%
lab.card("admit_from")

# %% [markdown]
# **Given.** Your `can_admit`. Requests that are accepted in the same call count in full for the next one, although
# nothing of them has been computed yet. Neither list may change.

# %%
def admit_from(running, waiting, capacity):
    """How many requests from the head of `waiting` start now, an int.

    >>> admit_from([(5, 4), (4, 3)], [(5, 3), (3, 2), (4, 2)], capacity=30)
    2
    >>> admit_from([], [(50, 1), (1, 1)], capacity=10)  # nobody overtakes the head
    0
    """
    ### BEGIN SOLUTION
    inside = list(running)
    for candidate in waiting:
        if not can_admit(inside, candidate, capacity):
            break
        inside.append(candidate)
    return len(inside) - len(running)
    ### END SOLUTION

# %%
lab.check(admit_from)

# %% [markdown]
# ## How long must it wait?
#
# The head was refused. When is it worth asking again? "When somebody completes" is the obvious answer. Look at the
# lower panel of the picture above, the peak against the step at which E starts, before you agree.
#
# One step turns a running request (r, l) into (r + 1, l - 1). Since k·(l - 1) + Σ(r + 1) = k·l + Σr, its term in the
# formula does not move: in absolute time a running request is a fixed ramp, whenever you ask. The candidate is not yet
# running. One step later its ramp starts one step later, so it is one token lower wherever it was. It may become
# admissible although nobody has left.

# %%
lab.card("first_admissible_step")

# %% [markdown]
# **Given.** Your `can_admit`. Step 0 is now. The running requests go on while the candidate waits, nobody else joins,
# and those whose left has come down below 0 are gone.

# %%
def first_admissible_step(running, candidate, capacity):
    """The first step at which the candidate can start, an int; None if it does not even fit alone.

    >>> first_admissible_step([(1, 1), (1, 1)], (1, 1), capacity=5)  # they are both still there at step 1
    1
    """
    ### BEGIN SOLUTION
    if sum(candidate) > capacity:
        return None
    step = 0
    while True:
        alive = [(run + step, left - step) for run, left in running if left >= step]
        if can_admit(alive, candidate, capacity):
            return step
        step += 1
    ### END SOLUTION

# %%
lab.check(first_admissible_step)

# %% [markdown]
# A simulator need not ask at each step. If the peak is e tokens too high, the next e - 1 questions have the same answer
# unless a completion comes first. So it jumps, and an hour of traffic takes a fraction of a second.
#
# ## A stream of conversations
#
# The simulator knows when each request arrives, how long its prompt and its answer are, and what a step costs: a
# constant, plus something for each request and for each token in the cache, in whole nanoseconds. The lengths and the
# rate follow those of [a trace of conversations at
# Azure](https://github.com/Azure/AzurePublicDataset/blob/master/AzureLLMInferenceDataset2023.md). If you have that
# file, put its path into `TRACE` above. *Your* `can_admit` decides who starts. It is asked at each step in which
# somebody waits. If it sorts, that takes a second; if it counts every step, perhaps a minute.

# %%
from labkit.serving import makespan_s, mean_use, read_trace, simulate, synthetic_trace, ttft_s

capacity = 40_000
num_requests = 300 if QUICK else 2_000
trace = read_trace(TRACE).first(num_requests) if TRACE else synthetic_trace("conv", num_requests, seed=SEED)
print(f"{trace.name}: {trace.num_requests:,} requests in {trace.span_s:,.0f} s. {trace.credit}")
print(f"mean prompt {trace.prompt_tokens.mean():,.0f} tokens, mean answer {trace.output_tokens.mean():,.0f} tokens")

mine = simulate(trace, capacity, can_admit)
theirs = simulate(trace, capacity, "peak")
print(f"the same nanosecond for the last token of every request: {np.array_equal(mine.finish_ns, theirs.finish_ns)}")
print(f"yours was asked {mine.num_tests:,} times, labkit's, which jumps, {theirs.num_tests:,} times")
print(f"most tokens ever held: {mine.max_tokens_used:,} of {capacity:,}; evictions: {mine.num_evictions.sum()}")

# %% [markdown]
# The simplest safe rule has no look ahead: **reserve** prompt and answer in full for everybody. It is *everybody's
# whole length* of the bank of mistakes. How much longer does the same stream take with it?

# %%
### BEGIN SOLUTION
reserve_guess = 15
### END SOLUTION
lab.predict("extra time if everything is reserved", reserve_guess, "%")

# %%
def report(name, result):
    """One line of a table, and how much longer than with your test it took, in per cent."""
    extra = 100 * (makespan_s(result) / makespan_s(mine) - 1)
    print(f"{name:32} {makespan_s(result):8.1f} s {extra:+6.1f} %  first token {ttft_s(result).mean():6.1f} s  "
          f"pool {mean_use(result):5.1%} full  {result.num_evictions.sum():4} evictions")  # fmt: skip
    return extra


report("your peak test", mine)
report("the peak test, ascending order", simulate(trace, capacity, ascending_test))
reserve_extra = report("reserve everything", simulate(trace, capacity, "reserve"))
lab.reconcile("extra time if everything is reserved", reserve_extra)

# %% [markdown]
# **Where it comes from.** A reservation is right at one moment, the end, and too large at all moments before. That is
# the idle memory in the table. The time to the first token is the mean over all requests, from arrival to the end of
# their prompt's computation; it grows with the queue. And the ascending order, one word away from the right test, is
# worse than no look ahead at all.
#
# ## What knowing the lengths is worth
#
# So far the router knew how long each answer would be. No real router does. It knows a limit that the user declares.
# Declare 1,000 tokens for everybody, and keep the exact test; the mean answer stands under the first cell of this
# stream. How much longer does it take?

# %%
### BEGIN SOLUTION
declared_guess = 30
### END SOLUTION
lab.predict("extra time if 1,000 tokens are declared", declared_guess, "%")

# %%
from labkit.router import make_policy

declared_extra = report("peak test, 1,000 declared", simulate(trace, capacity, make_policy("peak", declared=1_000)))
report("reserve, 1,000 declared", simulate(trace, capacity, make_policy("reserve", declared=1_000)))
report("lengths drawn from the past", simulate(trace, capacity, "past-future"))
lab.reconcile("extra time if 1,000 tokens are declared", declared_extra)

# %% [markdown]
# **Where it comes from.** The test is as exact as before, about lengths that are not true. Knowing lengths is worth
# more than the clever test. That is why the [Past-Future scheduler](https://arxiv.org/abs/2507.10150) draws each length
# from those of answers that have just ended: the third line. It leaves a little room and evicts where it was wrong.
#
# ## What an eviction costs
#
# The other way to know nothing: start whoever fits **now**. When the pool is full, send the latest back to the queue,
# and compute its prompt and its tokens again later. How much has to be computed again, compared with all prompts?

# %%
### BEGIN SOLUTION
again_guess = 30
### END SOLUTION
lab.predict("tokens computed again, against all prompt tokens", again_guess, "%")

# %%
greedy = simulate(trace, capacity, "fits-now")
report("fits now, evict later", greedy)
again = 100 * greedy.num_recomputed_tokens / trace.prompt_tokens.sum()
lab.reconcile("tokens computed again, against all prompt tokens", again)

# %% [markdown]
# **Where it comes from.** Its pool is as full as yours, and yet it is later: full of tokens that will be thrown away. A
# high use of memory says nothing by itself. Compare what users see.
#
# Now play. Each change runs the simulation again. Lower the rate until the policies are equal; raise the capacity until
# they are. Which of them needs the least memory for a first token within a few seconds?

# %%
from labkit.widgets.live_router import live_router

live_router(trace, can_admit=can_admit)

# %% [markdown]
# ## What this leaves out
#
# Real steps are not linear in requests and tokens, prompts are computed in pieces, and prefixes are shared. LightLLM's
# own test compares with `<`, not `<=`, and adds a few tokens, since it decides one step ahead of the machine.
# [SGLang](https://github.com/sgl-project/sglang/blob/main/python/sglang/srt/managers/schedule_policy.py) has the same
# theorem from the other end: it walks by ascending left and gives memory back. vLLM admits what fits now and evicts
# ([Kwon et al.](https://arxiv.org/abs/2309.06180)). The trace is of [Patel et al.](https://arxiv.org/abs/2311.18677),
# CC-BY-4.0; it has no texts, so it says nothing about shared prefixes. `labkit route` plays a whole file, and
# `labkit/router` has the test in logarithmic time.

# %%
lab.progress()

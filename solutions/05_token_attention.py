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
# # TokenAttention
#
# **Goal.** Keep the keys and values of many requests in one pool, a slot for each token, and attend over them wherever
# they lie.
#
# **Needed.** NumPy indexing; what keys, values and attention are. Any laptop; a GPU adds one measurement. About two
# hours, six exercises.
#
# **At the end** you have your own allocator and token table, you have broken four published allocators with scripts of
# your own, and you know what a slot per token is worth and what it is not.
#
# A **slot** holds the keys and values of one token, in every layer. A **pool** has `size` slots. Letters: T tokens of a
# request, H heads, D head size.

# %% tags=["parameters"]
SEED = 0
DEVICE = "cpu"
QUICK = False
TRACE = ""  # path of an Azure LLM trace; without one, requests are drawn from its statistics

# %%
import numpy as np

import labkit

lab = labkit.open_lab("05_token_attention", seed=SEED)
lab

# %% [markdown]
# ## Reserve the maximum
#
# A request comes with a prompt of some tokens, then it generates one token a step. All of its keys and values stay in
# memory until it is done, and nobody knows how long its answer will be. The simple way out: when a request starts,
# reserve room for the longest one that is allowed. Here that is 4,096 tokens.
#
# Look at every request at every step. Of all slots that are reserved then, what share holds a token?

# %%
### BEGIN SOLUTION
used_share_guess = 50
### END SOLUTION
lab.predict("share of reserved slots that hold a token", used_share_guess, "%")

# %%
from labkit.serving import read_trace, synthetic_trace

num_requests = 300 if QUICK else 2000
trace = read_trace(TRACE) if TRACE else synthetic_trace("conv", num_requests, seed=SEED)
trace = trace.first(num_requests)
prompts, outputs = trace.prompt_tokens.tolist(), trace.output_tokens.tolist()
requests = list(zip(prompts, outputs, strict=True))
print(f"{trace.name}: {len(requests):,} requests", trace.credit)
print(f"tokens, mean: prompt {np.mean(prompts):,.0f}, output {np.mean(outputs):,.0f}")

longest = 4096
steps = [np.arange(prompt, prompt + output) for prompt, output in requests]
unlimited = np.concatenate(steps)
lengths = unlimited.clip(max=longest).tolist()
print(f"{len(lengths):,} lengths, one for each request at each of its steps")
print(f"{(unlimited > longest).sum():,} of them were above {longest:,} and are cut to it, as a server would cut them")

# %%
lab.card("wasted_slots")

# %% [markdown]
# **Given.** `lengths`: list of ints, the tokens that each request holds now. A request that holds 17 tokens in blocks
# of 16 owns two blocks.

# %%
def wasted_slots(lengths, reserve):
    """Slots that are reserved and hold no token, an int.

    reserve: ("max", n), ("block", n) or ("token",)

    >>> wasted_slots([5, 17], ("max", 100))
    178
    >>> wasted_slots([5, 17], ("block", 16))
    26
    """
    ### BEGIN SOLUTION
    match reserve:
        case ("max", n):
            return sum(n - length for length in lengths)
        case ("block", n):
            return sum(-length % n for length in lengths)
    return 0
    ### END SOLUTION

# %%
lab.check(wasted_slots)

# %%
def used_percent(reserve):
    return 100 * sum(lengths) / (sum(lengths) + wasted_slots(lengths, reserve))


lab.reconcile("share of reserved slots that hold a token", used_percent(("max", longest)))

# %% [markdown]
# **Where it comes from.** Most requests stay far below the longest one, and each pays for it from its first step on.
# Servers of that time held tokens in 20.4 to 38.2 % of their cache memory
# ([Kwon et al., SOSP 2023](https://arxiv.org/abs/2309.06180)).
#
# ## Blocks, then tokens
#
# So hand memory out in small pieces, as they are needed. vLLM gives a request a **block** of 16 slots at a time,
# LightLLM a single slot for each token. How much is still wasted with blocks of 16?

# %%
### BEGIN SOLUTION
block_waste_guess = 3
### END SOLUTION
lab.predict("slots wasted with blocks of 16", block_waste_guess, "%")

# %%
lab.reconcile("slots wasted with blocks of 16", 100 - used_percent(("block", 16)))

# %%
from labkit.widgets.waste_bars import waste_bars

waste_bars(wasted_slots, lengths)

# %% [markdown]
# **What zero waste is worth.** Only the last block of a request has empty slots, about half a block, and a request has
# a thousand tokens. So the large step was from the maximum to blocks. From blocks of 16 to single tokens there is less
# than one per cent to be had, for a bookkeeping that is 16 times as fine. What the token unit gives is **exact
# accounting**: free memory is a number of tokens, and lab 06 builds a router on that.
#
# ## The allocator
#
# Now somebody has to know which slots are free. That is the whole job of an allocator, and it is smaller than it
# sounds and easier to get wrong.

# %%
lab.card("TokenAllocator")

# %% [markdown]
# | call | answer | when it cannot |
# |---|---|---|
# | `num_free` | int, read without parentheses | |
# | `alloc(n)` | any n free slots, int64, (n,) | None |
# | `alloc_contiguous(n)` | n free slots in a row, int64, (n,) | None |
# | `free(indices)` | None; `indices` is int64, from any number of allocs | ValueError |
#
# **The contract.** A call that cannot be done changes nothing. Asking for 0 slots is legal. `free` refuses slots that
# are not held, slots outside the pool, and a slot that stands there twice. An answer belongs to its caller: it never
# changes afterwards. Which slots you give out is your choice.
#
# Write it in three steps, and look at the picture after each: (1) `__init__`, `num_free` and `alloc`; (2) `free`;
# (3) `alloc_contiguous`.

# %%
class TokenAllocator:
    """Hands out the slots 0 … size - 1, each to one holder at a time.

    >>> allocator = TokenAllocator(8)
    >>> len(allocator.alloc(3)), allocator.num_free
    (3, 5)
    >>> allocator.alloc(6) is None, allocator.num_free
    (True, 5)
    """

    def __init__(self, size):
        ### BEGIN SOLUTION
        self.is_free = np.ones(size, bool)
        ### END SOLUTION

    @property
    def num_free(self):
        """How many slots are free, an int."""
        ### BEGIN SOLUTION
        return int(self.is_free.sum())
        ### END SOLUTION

    def alloc(self, n):
        """Any n free slots, int64; None, and nothing changed, when fewer are free."""
        ### BEGIN SOLUTION
        slots = np.flatnonzero(self.is_free)[:n]
        if len(slots) < n:
            return None
        self.is_free[slots] = False
        return slots
        ### END SOLUTION

    def alloc_contiguous(self, n):
        """n free slots in a row, int64; None, and nothing changed, without such a run."""
        ### BEGIN SOLUTION
        free = np.flatnonzero(self.is_free)
        for at in range(len(free) - n + 1):
            if n == 0 or free[at + n - 1] - free[at] == n - 1:
                slots = free[at : at + n]
                self.is_free[slots] = False
                return slots
        return None
        ### END SOLUTION

    def free(self, indices):
        """Give these held slots back; ValueError, and nothing changed, if one is not held."""
        ### BEGIN SOLUTION
        in_pool = ((indices >= 0) & (indices < len(self.is_free))).all()
        if not in_pool or self.is_free[indices].any() or len(set(indices)) < len(indices):
            raise ValueError(f"only slots that are held, each once: got {indices}")
        self.is_free[indices] = True
        ### END SOLUTION

# %% [markdown]
# The pictures play a **script** on your class. A call of a script is `("alloc", holder, n)` or `("free", holder)`, which
# gives back all that this holder was given, or `("free", [slot, …])`. Step through them: a `+` marks what a call took, a
# `−` what it gave back. A case that fails in the check can be seen in the same way: it is
# `size, script = lab.case("TokenAllocator", "its name")`.

# %%
from labkit.kv_cache import play
from labkit.widgets.slot_map import slot_map

coming = [("alloc", "a", 3), ("alloc", "b", 5), ("alloc", "c", 2), ("alloc", "d", 9)]
slot_map(play(TokenAllocator(16), coming), name="step-1")

# %%
going = [*coming, ("free", "b"), ("free", "b"), ("alloc", "e", 9), ("free", "c")]
slot_map(play(TokenAllocator(16), going), name="step-2")

# %%
runs = [("alloc_contiguous", "f", 6), ("alloc_contiguous", "g", 7), ("alloc", "g", 4)]
slot_map(play(TokenAllocator(16), [*coming, ("free", "b"), *runs]), name="step-3")

# %%
lab.check(TokenAllocator)

# %% [markdown]
# ## Four published allocators
#
# The class that you wrote exists in LightLLM, and was rewritten three times. Each generation has a bug that its tests
# did not look for. You are the tester now: for each of them, write the script that shows it.
#
# 1. **July 2023.** One flag per slot, and beside it a counter of the free ones. `free` sets flags and adds
#    `len(indices)` to the counter. `alloc` runs a running sum over all flags.
# 2. **November 2023.** A reference count per slot, 0 is free. `free` subtracts 1 from each count, then adds to
#    `num_free` how many of these counts are 0 now. `alloc` lists all slots with count 0.
# 3. **February 2025.** A stack of free slot numbers and a mark: what lies above the mark is free. `alloc(n)` answers
#    with a *slice* of the stack and raises the mark by n; `free` lowers the mark and writes the slots there. No search.
# 4. **By 2026.** The same, but the slice is copied into a ring of `3 * size` entries, and the answer is a slice of the
#    ring. At the end of the ring it goes on at the beginning.
#
# The commits are 360eb453, 51f68bab and b8cfd70c in [ModelTC/lightllm](https://github.com/ModelTC/lightllm); labkit has
# them written anew, in `labkit/kv_cache/generations.py`. Read it when the description is not enough.

# %%
lab.card("exposing_script")

# %% [markdown]
# **What the script has to bring about.** Generation 1: `num_free` above the size of the pool. Generation 2: an `alloc`
# that answers with fewer slots than it was asked for. In these two a caller may err, for instance give something back
# twice. Generations 3 and 4: with **good calls only**, a holder that has not finished reads other slots than it was
# given. There, free by name, and give each new request a new name.

# %%
def exposing_script(generation, size):
    """A list of calls that shows this generation's bug, at most 8 * size + 32 of them.

    A script that shows nothing: [("alloc", "a", 2), ("free", "a")]
    """
    if generation == 1:
        ### BEGIN SOLUTION
        return [("alloc", "a", 2), ("free", "a"), ("free", "a")]
        ### END SOLUTION
    if generation == 2:
        ### BEGIN SOLUTION
        return [("alloc", "a", 2), ("free", "a"), ("free", "a"), ("alloc", "b", size)]
        ### END SOLUTION
    if generation == 3:
        ### BEGIN SOLUTION
        return [("alloc", "a", 2), ("alloc", "b", 2), ("free", "a")]
        ### END SOLUTION
    if generation == 4:
        ### BEGIN SOLUTION
        visits = []
        for i in range(3 * size):
            visits += [("alloc", f"v{i}", 1), ("free", f"v{i}")]
        return [("alloc", "a", 1), *visits, ("alloc", "z", 1)]
        ### END SOLUTION

# %%
lab.check(exposing_script)

# %% [markdown]
# Now each of your four tests on each of the four generations, and on your own class. What stands there is the first
# rule that breaks.

# %%
from labkit.kv_cache import GENERATIONS, first_violation

pools = {f"generation {number}": GENERATIONS[number] for number in GENERATIONS}
pools["yours"] = TokenAllocator
scripts = [exposing_script(number, 8) for number in GENERATIONS]
print(" " * 14 + "".join(f"script {number:<7}" for number in GENERATIONS))
for name, make in pools.items():
    broken = [first_violation(play(make(8), script, 8)) for script in scripts]
    print(f"{name:14}" + "".join(f"{each.rule if each else '✓':14}" for each in broken))

# %%
shown = ("generation 3", "generation 4", "yours")
slot_map({name: play(pools[name](8), scripts[2], 8) for name in shown}, name="generations")

# %% [markdown]
# **What the story says.** Generation 2 mended the counter, and a double free still went unnoticed: now it lost slots.
# Generations 3 and 4 do not look at all. Nobody had written down that an answer must not change, so it became a view.
# One rule, that a bad free is refused, would have found the first two; reading old answers again finds the others. Both
# are in the check of your class, with a third: free + held = size, after every call.
#
# Why rewrite it at all? The first two look at every flag in every call, the stack at n entries. One `alloc(16)` and its
# `free`: how many times longer do they take in generation 1 when the pool is 100 times as large?

# %%
### BEGIN SOLUTION
growth_guess = 100
### END SOLUTION
lab.predict("generation 1 on a pool 100 times as large", growth_guess, "times")

# %%
from labkit.measure import compare

small, large = (1_000, 100_000) if QUICK else (10_000, 1_000_000)


def alloc_and_free(allocator):
    return lambda: allocator.free(allocator.alloc(16))


timings = compare(
    {
        f"generation {number}, {size:,} slots": alloc_and_free(GENERATIONS[number](size))
        for number in (1, 3)
        for size in (small, large)
    },
    repeats=15,
)
print(timings)

# %%
# The fastest samples: other programs on this machine can only make one slower.
fastest_ms = {size: timings[f"generation 1, {size:,} slots"].min_ms for size in (small, large)}
growth = fastest_ms[large] / fastest_ms[small]
lab.reconcile("generation 1 on a pool 100 times as large", growth)

# %% [markdown]
# **Where it comes from.** O(pool) against O(n): the stack does not notice the pool. The running sum was made for a GPU,
# where a pass over the pool is one launch; the authors moved the state to CPU memory themselves. A factor below 100
# means that on the small pool the fixed price of each NumPy call still counts; one above it, that the large pool no
# longer fits the processor's caches. labkit's allocator keeps the stack, and a flag per slot to refuse a bad free.
#
# ## Runs and holes
#
# Generations 1 and 2 had `alloc_contiguous`; it was removed in 2025. Attention over one run needs no table, so why give
# it up? Play the adversary and find out.

# %%
lab.card("fragmenting_script")

# %% [markdown]
# **Given.** A contiguous allocator, that knows runs only and takes the lowest one that is long enough. A request that
# finishes gives back all of its slots, by name. All calls but the last are served. **Sizes:** from 3 on.

# %%
def fragmenting_script(size):
    """A list of calls, the last of them ("alloc_contiguous", holder, 2), which is refused.

    Whose last call is served: [("alloc_contiguous", "a", 1), ("alloc_contiguous", "b", 2)]
    """
    ### BEGIN SOLUTION
    coming = [("alloc_contiguous", f"r{i}", 1) for i in range(size)]
    going = [("free", f"r{i}") for i in range(0, size, 2)]
    return [*coming, *going, ("alloc_contiguous", "last", 2)]
    ### END SOLUTION

# %%
lab.check(fragmenting_script)

# %%
slot_map(play(TokenAllocator(16), fragmenting_script(16)), name="fragmented")

# %% [markdown]
# Half of the pool for a run of two. Longer runs are easier to spoil. In a pool of 40,000 slots, how many held slots are
# enough to refuse a run of 512?

# %%
### BEGIN SOLUTION
spoilers_guess = 400
### END SOLUTION
lab.predict("held slots that spoil every run of 512", spoilers_guess, "slots")

# %%
spoiled = TokenAllocator(40_000)
held = np.arange(511, 40_000, 512)
spoiled.free(np.setdiff1d(spoiled.alloc(40_000), held))
print(f"{spoiled.num_free:,} of 40,000 slots are free")
print(f"alloc_contiguous(512) answers {spoiled.alloc_contiguous(512)}")
lab.reconcile("held slots that spoil every run of 512", len(held))

# %% [markdown]
# That was malice. What does traffic do? Requests of the trace run through a pool of 40,000 slots, and a router lets
# them in up to a limit. There are three ways to ask for slots, and each is a column of the table below:
#
# | column | a prompt, or a step's new tokens, get |
# |---|---|
# | any slots | what a stack gives: those that were freed last, wherever they lie |
# | run, else any | a run if there is one, else what the stack gives |
# | run, else lowest | a run if there is one, else the free slots with the lowest numbers |
#
# Each number is the share of the prompts whose slots came in one run. Predict the last column, with the limit at the
# whole pool.

# %%
### BEGIN SOLUTION
one_run_guess = 40
### END SOLUTION
lab.predict("prompts in one run: limit 100 %, run, else lowest", one_run_guess, "%")

# %% [markdown]
# labkit's table and allocator do the work, because this takes thousands of steps (some seconds).

# %%
from labkit import kv_cache, router

num_slots, num_played = 40_000, 100 if QUICK else 600
ways = {
    "any slots": kv_cache.alloc_any,
    "run, else any": kv_cache.alloc_contiguous_first,
    "run, else lowest": kv_cache.alloc_contiguous_else_lowest,
}


def played(limit, way):
    """The requests, let in while they will never need more than this share of the pool."""

    def admit(running, new):
        return router.can_admit(running, new, int(limit * num_slots))

    pool = kv_cache.TokenAllocator(num_slots)
    table = kv_cache.TokenTable(1_000, 16_384, pool, take=ways[way])
    return kv_cache.replay(table, requests[:num_played], admit)


print(f"{'limit':>6} {'in use':>8}" + "".join(f"{way:>19}" for way in ways))
one_run_percent = {}
for limit in (1.0, 0.75, 0.5):
    for way in ways:
        replay = played(limit, way)
        one_run_percent[limit, way] = 100 * replay.prompts_in_one_run
    cells = "".join(f"{one_run_percent[limit, way]:17.1f} %" for way in ways)
    print(f"{limit:6.0%} {replay.num_tokens.mean() / num_slots:8.1%}{cells}")

# %%
lab.reconcile("prompts in one run: limit 100 %, run, else lowest", one_run_percent[1.0, "run, else lowest"])

# %% [markdown]
# **Where it comes from.** Nobody looks for a run in the first column. A prompt has one there when it comes early, while
# the stack is still in order, or when it is no longer than a run that was given back just before. At half occupancy a
# run is easy to find, if one looks for it. At three quarters it matters where the scattered tokens go: kept at the low
# end, they leave the other end whole. In a full pool the new tokens of all running requests fall into every hole, and
# most prompts find no run. Full memory is what a router is for, so the two ideas pull against each other. The commit
# that removed `alloc_contiguous` gives no reason; this table is one to offer.
#
# ## The table
#
# So slots lie anywhere, and somebody has to remember where. The **token table** has one row for each request; column i
# of the row holds the slot of token i. It is the only owner of these slots. That matters: the allocator notices a double
# free only as long as nobody else was given the slots. Afterwards only the row can know that it has finished.

# %%
lab.card("TokenTable")

# %% [markdown]
# | call | does | when it cannot |
# |---|---|---|
# | `start(prompt_len)` | slots for a prompt; answers with its row, 0 … max_requests - 1 | None |
# | `append(rows)` | one more slot for each row of the list: a decode step; True | False |
# | `finish(row)` | gives all slots of the row back | |
# | `slots(row)` | the slots in token order, an integer array (num_tokens,) | |
#
# `append` and `finish` raise ValueError for a row that holds no request. Nothing is ever half done. An answer of
# `slots` stays as it was given, whatever comes later. No request grows past `max_len`. **Given.** `allocator`, any that
# keeps the contract above: the check brings its own, which gives slots out in no order, and in whose scripts
# `("elsewhere", n)` means that somebody else takes n slots.

# %%
class TokenTable:
    """One row per request; column i holds the slot of its token i.

    >>> table = TokenTable(max_requests=4, max_len=16, allocator=TokenAllocator(10))
    >>> row = table.start(prompt_len=3)
    >>> table.append([row]), len(table.slots(row))
    (True, 4)
    """

    def __init__(self, max_requests, max_len, allocator):
        ### BEGIN SOLUTION
        self.allocator = allocator
        self.table = np.full((max_requests, max_len), -1)
        self.lengths = np.full(max_requests, -1)  # -1: no request in this row
        ### END SOLUTION

    def start(self, prompt_len):
        """The row of a new request, with its prompt's slots; None if rows or slots run out."""
        ### BEGIN SOLUTION
        rows = np.flatnonzero(self.lengths < 0)
        slots = self.allocator.alloc(prompt_len) if len(rows) else None
        if slots is None:
            return None
        row = int(rows[0])
        self.table[row, :prompt_len] = slots
        self.lengths[row] = prompt_len
        return row
        ### END SOLUTION

    def append(self, rows):
        """One more slot for each of these rows, True; False when there are not enough."""
        ### BEGIN SOLUTION
        rows = np.array(rows, dtype=int)
        if (self.lengths[rows] < 0).any():
            raise ValueError(f"one of the rows {rows} holds no request")
        slots = self.allocator.alloc(len(rows))
        if slots is None:
            return False
        self.table[rows, self.lengths[rows]] = slots
        self.lengths[rows] += 1
        return True
        ### END SOLUTION

    def finish(self, row):
        """Give all slots of this row back, and forget them."""
        ### BEGIN SOLUTION
        if self.lengths[row] < 0:
            raise ValueError(f"row {row} holds no request")
        self.allocator.free(self.slots(row))
        self.lengths[row] = -1
        ### END SOLUTION

    def slots(self, row):
        """The slots of this request's tokens, in token order."""
        ### BEGIN SOLUTION
        return self.table[row, : self.lengths[row]].copy()
        ### END SOLUTION

# %%
lab.check(TokenTable)

# %% [markdown]
# Your table and allocator at work, beside the two older schemes. Seven requests come to a pool of 48 slots; grey slots
# are reserved and empty. Choose another scheme, press Play, and watch who has to wait.

# %%
from labkit.widgets.storage_map import storage_map

storage_map(TokenTable, TokenAllocator)

# %% [markdown]
# ## Attention through the table
#
# One new token of a request has a query `q`. It attends over all tokens of its request:
# softmax(q · K / √D) · V, for each head ([Vaswani et al., equation 1](https://arxiv.org/abs/1706.03762)). The keys and
# values lie wherever the table says.

# %%
lab.card("token_attention")

# %% [markdown]
# **Shapes.** `q`: (H, D), `k_cache` and `v_cache`: (size, H, D), `slots`: (T,) ints in token order → (H, D), in q's
# dtype. The caches belong to all requests: what lies in other slots is not yours, and may be garbage.

# %%
def token_attention(q, k_cache, v_cache, slots):
    """Attention of one token over the keys and values in `slots`.

    Shapes: (H, D), (size, H, D) twice, (T,) -> (H, D)

    >>> q, k, v = np.ones((1, 2)), np.ones((4, 1, 2)), np.arange(8.0).reshape(4, 1, 2)
    >>> token_attention(q, k, v, np.array([3, 1]))  # equal scores: the mean of values 3 and 1
    array([[4., 5.]])
    """
    ### BEGIN SOLUTION
    k, v = k_cache[slots], v_cache[slots]  # T, H, D
    scores = np.einsum("hd,thd->ht", q, k) / np.sqrt(q.shape[1])
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    return np.einsum("ht,thd->hd", weights, v).astype(q.dtype)
    ### END SOLUTION

# %%
lab.check(token_attention)

# %% [markdown]
# Does it give what attention over one contiguous cache gives? Three requests take turns in your table, until the slots
# of the last one are no run any more. Its keys and values are written twice: into its slots, and into a cache of its own, in
# order. PyTorch attends over the latter.

# %%
import torch

pool = TokenAllocator(64)
table = TokenTable(3, 64, pool)
first, second = table.start(10), table.start(12)
for _ in range(5):
    table.append([first, second])
table.finish(first)
third = table.start(20)
for _ in range(5):
    table.append([second, third])
slots = table.slots(third)
print("slots of the request:", slots.tolist())

rng = np.random.default_rng(SEED)
heads, head_size = 4, 16
q = rng.normal(size=(heads, head_size)).astype(np.float32)
k, v = rng.normal(size=(2, len(slots), heads, head_size)).astype(np.float32)  # in token order
k_cache, v_cache = np.full((2, 64, heads, head_size), np.nan, np.float32)  # garbage of others
k_cache[slots], v_cache[slots] = k, v

mine = token_attention(q, k_cache, v_cache, slots)
by_heads = [torch.from_numpy(each).transpose(0, 1) for each in (q[None], k, v)]  # H, tokens, D
theirs = torch.nn.functional.scaled_dot_product_attention(*by_heads)[:, 0].numpy()
print(f"exact: {np.array_equal(mine, theirs)}, close: {np.allclose(mine, theirs, atol=1e-5)}")

# %% [markdown]
# Your function copies T keys and values before it begins. A kernel need not: `labkit/kv_cache/triton_attention.py` reads
# the slot, then the key behind it, and keeps a running maximum and sum, so that nothing is copied. Without a GPU,
# Triton's interpreter runs it, slowly, with the same result.

# %%
import os

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
try:
    from labkit.kv_cache import triton_attention
except ImportError as reason:
    triton_attention = None
    print(f"Skipped: {reason}")
else:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tensors = [torch.from_numpy(array).to(device) for array in (q, k_cache, v_cache, slots)]
    by_kernel = triton_attention.token_attention(*tensors).cpu().numpy()
    print(f"on the {device}: close to yours: {np.allclose(mine, by_kernel, atol=1e-4)}")

# %%
if torch.cuda.is_available() and triton_attention:
    batch, num_tokens = 64, 1024
    half = {"device": "cuda", "dtype": torch.float16}
    k_pool, v_pool = (torch.randn(batch * num_tokens, 32, 128, **half) for _ in range(2))
    queries = torch.randn(batch, 32, 128, **half)
    rows = torch.randperm(len(k_pool), device="cuda").reshape(batch, num_tokens)
    row_lengths = torch.full((batch,), num_tokens, device="cuda")

    def one_kernel():
        return triton_attention.batch_attention(queries, k_pool, v_pool, rows, row_lengths)

    def gather_then_attend():
        k, v = (pool[rows].transpose(1, 2) for pool in (k_pool, v_pool))
        return torch.nn.functional.scaled_dot_product_attention(queries[:, :, None], k, v)

    calls = {"one kernel": one_kernel, "gather, then attend": gather_then_attend}
    print(compare(calls, synchronize=torch.cuda.synchronize))
else:
    from labkit.evidence import recorded

    print("Skipped: no GPU here. It would show the time of one kernel for 64 requests, beside")
    print("that of a gather and PyTorch's attention.")
    print(recorded("attention"))

# %% [markdown]
# ## What this leaves out
#
# Requests that begin alike can share the slots of their common prefix; then a slot has several owners, and reference
# counts come back (vLLM's blocks, [SGLang's radix cache](https://arxiv.org/abs/2312.07104)). Real kernels like longer
# pieces than one token, since a page of 16 or more is one wide read: that is what blocks are for today. And a slot is
# the same number in every layer here, while the real caches are a tensor for each layer. `labkit bench kv_cache`
# measures more of labkit's own.

# %%
lab.progress()

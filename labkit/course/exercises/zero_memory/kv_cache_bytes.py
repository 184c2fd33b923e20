"""`kv_cache_bytes(seq, batch, layers, kv_heads, head_dim, bytes_per_element)`: what past tokens take."""

import math
from typing import Any

import numpy as np

from labkit.course.compare import Difference, compare_number
from labkit.course.exercise import Case, Exercise


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)
    seq, batch, layers, heads, size = (int(n) for n in rng.integers((100, 3, 3, 3, 10), (999, 9, 9, 9, 99)))
    return [
        Case("one token, one layer, one head", (1, 1, 1, 1, 1)),
        Case("three tokens", (3, 1, 1, 1, 4)),
        Case("a batch of two", (3, 2, 1, 1, 4)),
        Case("two layers", (3, 1, 2, 1, 4)),
        Case("five key heads", (3, 1, 1, 5, 4)),
        Case("fp8", (3, 1, 1, 1, 4, 1)),
        Case("fp32", (3, 1, 2, 5, 4, 4)),
        Case("LLaMA-7B, 2048 tokens", (2048, 1, 32, 32, 128)),
        Case("LLaMA-2-70B, one token", (1, 1, 80, 8, 128)),
        Case("random", (seq, batch, layers, heads, size)),
        Case("random, fp32", (seq + 1, batch, layers, heads, size, 4)),
    ]


def cache_nbytes(seq: int, batch: int, layers: int, kv_heads: int, head_dim: int, bytes_per_element: int = 2) -> int:
    """The oracle lays the cache out: for each layer an array of keys and one of values, (B, H, T, D) each."""
    array = math.prod((batch, kv_heads, seq, head_dim)) * bytes_per_element
    return layers * sum(array for _ in ("keys", "values"))


def _judge(case: Case, value: Any) -> Difference | None:
    return compare_number(cache_nbytes(*case.args), value)


kv_cache_bytes = Exercise(
    name="kv_cache_bytes",
    signature="kv_cache_bytes(seq, batch, layers, kv_heads, head_dim, bytes_per_element=2)",
    goal="Return the bytes of the KV cache of `batch` sequences of `seq` tokens.",
    cases=_cases,
    judge_case=_judge,
    hints=(
        "What does attention need of a past token, in each layer?",
        "A key and a value for each key head, head_dim numbers each, in every layer.",
        "`2 * layers * kv_heads * head_dim * bytes_per_element` for each token; times seq and batch.",
    ),
    points=1,
    minutes=3,
    difficulty=1,
    num_lines=1,
)


@kv_cache_bytes.wrong(
    "keys without values", "a published calculator forgot this factor of 2: keys and values are kept."
)
def _(seq, batch, layers, kv_heads, head_dim, bytes_per_element=2):
    return seq * batch * layers * kv_heads * head_dim * bytes_per_element


@kv_cache_bytes.wrong("elements", "each number takes bytes_per_element bytes.")
def _(seq, batch, layers, kv_heads, head_dim, bytes_per_element=2):
    return 2 * seq * batch * layers * kv_heads * head_dim


@kv_cache_bytes.wrong("2 bytes in any case", "use the bytes per element that were asked for.")
def _(seq, batch, layers, kv_heads, head_dim, bytes_per_element=2):
    return 4 * seq * batch * layers * kv_heads * head_dim


@kv_cache_bytes.wrong("one sequence", "every sequence of the batch has a cache of its own.")
def _(seq, batch, layers, kv_heads, head_dim, bytes_per_element=2):
    return 2 * seq * layers * kv_heads * head_dim * bytes_per_element


@kv_cache_bytes.wrong("one layer", "every layer has keys and values of its own.")
def _(seq, batch, layers, kv_heads, head_dim, bytes_per_element=2):
    return 2 * seq * batch * kv_heads * head_dim * bytes_per_element


@kv_cache_bytes.wrong("one head", "every key head has a key and a value.")
def _(seq, batch, layers, kv_heads, head_dim, bytes_per_element=2):
    return 2 * seq * batch * layers * head_dim * bytes_per_element


@kv_cache_bytes.wrong("one token", "that is a token's share; there are seq of them in each sequence.")
def _(seq, batch, layers, kv_heads, head_dim, bytes_per_element=2):
    return 2 * batch * layers * kv_heads * head_dim * bytes_per_element


@kv_cache_bytes.wrong("scores as well", "attention weights are computed anew for every token and not kept.")
def _(seq, batch, layers, kv_heads, head_dim, bytes_per_element=2):
    return (2 * seq * head_dim + seq * seq) * batch * layers * kv_heads * bytes_per_element


@kv_cache_bytes.wrong("GiB", "bytes are asked for; 2^30 is a unit for people.")
def _(seq, batch, layers, kv_heads, head_dim, bytes_per_element=2):
    return 2 * seq * batch * layers * kv_heads * head_dim * bytes_per_element / 2**30


@kv_cache_bytes.wrong("queries too", "a query is used once, by its own token: only keys and values are kept.")
def _(seq, batch, layers, kv_heads, head_dim, bytes_per_element=2):
    return 3 * seq * batch * layers * kv_heads * head_dim * bytes_per_element


@kv_cache_bytes.right("product")
def _(seq, batch, layers, kv_heads, head_dim, bytes_per_element=2):
    return 2 * seq * batch * layers * kv_heads * head_dim * bytes_per_element


@kv_cache_bytes.right("token by token")
def _(seq, batch, layers, kv_heads, head_dim, bytes_per_element=2):
    return sum(layers * (kv_heads * head_dim + kv_heads * head_dim) * bytes_per_element for _ in range(seq)) * batch


@kv_cache_bytes.right("the shape of an array")
def _(seq, batch, layers, kv_heads, head_dim, bytes_per_element=2):
    shape = (2, layers, batch, kv_heads, seq, head_dim)
    return np.broadcast_to(np.zeros((), f"V{bytes_per_element}"), shape).nbytes

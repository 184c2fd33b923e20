"""What a slot costs: one alloc and one free against the pool's size, the search for a run, the gather of attention."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.table import Table

from labkit.kv_cache import GENERATIONS, TokenAllocator, token_attention
from labkit.measure import Comparison, compare

# The first is what the others are compared with.
ALLOCATORS: dict[str, Callable[[int], Any]] = {
    "TokenAllocator": TokenAllocator,
    "4 stack and ring": GENERATIONS[4],
    "3 stack view": GENERATIONS[3],
    "2 reference counts": GENERATIONS[2],
    "1 running sum": GENERATIONS[1],
}
SEARCHERS = {name: ALLOCATORS[name] for name in ("TokenAllocator", "2 reference counts", "1 running sum")}
NUM_OUTSTANDING = 64
REPEATS = 5


def run(quick: bool = False) -> list[Table]:
    """Tables of medians and ratios; `quick` leaves out the largest pools."""
    sizes = [100_000, 1_000_000] if quick else [100_000, 1_000_000, 10_000_000]
    return [alloc_table(sizes), search_table(40_000 if quick else 1_000_000), gather_table()]


def alloc_table(sizes: list[int]) -> Table:
    """One alloc and one free in a pool half in use at random, 64 allocations outstanding, oldest freed first."""
    table = Table(title="One alloc(n) and one free, µs (ratio to TokenAllocator in the same run)")
    table.add_column("allocator")
    columns = []
    for size in sizes:
        for n in (1, 512):
            table.add_column(f"{size:,} slots, n={n}", justify="right")
            columns.append(_compare({name: _alloc_and_free(make(size), n) for name, make in ALLOCATORS.items()}))
    for name in ALLOCATORS:
        table.add_row(name, *(_cell(column, name) for column in columns))
    return table


def search_table(size: int, n: int = 512) -> Table:
    """One search for a run of n, and its free when there is one, in pools that make it easy and hard."""
    table = Table(title=f"One alloc_contiguous({n}) and its free, {size:,} slots, µs (ratio)")
    table.add_column("pool")
    table.add_column("finds a run", justify="right")
    for name in SEARCHERS:
        table.add_column(name, justify="right")
    for pool, held in _pools(size, n).items():
        allocators = {name: _with_held(make(size), held) for name, make in SEARCHERS.items()}
        compared = _compare({name: _search_and_free(allocator, n) for name, allocator in allocators.items()})
        found = _search_and_free(allocators["TokenAllocator"], n)()
        table.add_row(pool, "yes" if found else "no", *(_cell(compared, name) for name in SEARCHERS))
    return table


def gather_table(num_tokens: int = 1024, num_heads: int = 8, head_size: int = 64) -> Table:
    """NumPy attention over one run of a cache, and over the same number of slots anywhere in it."""
    rng = np.random.default_rng(0)
    shape = (16 * num_tokens, num_heads, head_size)
    k_cache, v_cache = rng.standard_normal(shape, np.float32), rng.standard_normal(shape, np.float32)
    q = rng.standard_normal((num_heads, head_size), np.float32)
    run, scattered = np.arange(num_tokens), rng.permutation(shape[0])[:num_tokens]
    calls = {
        "slots in one run": lambda: token_attention(q, k_cache, v_cache, run),
        "slots anywhere": lambda: token_attention(q, k_cache, v_cache, scattered),
    }
    compared = compare(calls, repeats=REPEATS)
    table = Table(title=f"token_attention (NumPy), {num_tokens:,} tokens, {num_heads} heads of {head_size}, µs (ratio)")
    table.add_column("slots")
    table.add_column("time", justify="right")
    for name in calls:
        table.add_row(name, _cell(compared, name))
    return table


def _half_used(allocator: Any, size: int) -> Any:
    """The allocator with a random half of its slots held."""
    slots = np.array(allocator.alloc(size))
    allocator.free(np.random.default_rng(0).permutation(slots)[: size // 2])
    return allocator


def _alloc_and_free(allocator: Any, n: int) -> Callable[[], None]:
    _half_used(allocator, allocator.num_free)
    # Generations 3 and 4 answer with views that later calls overwrite: what is kept is a copy.
    outstanding = deque(np.array(allocator.alloc(n)) for _ in range(NUM_OUTSTANDING))

    def alloc_and_free() -> None:
        outstanding.append(allocator.alloc(n))
        allocator.free(outstanding.popleft())

    return alloc_and_free


def _search_and_free(allocator: Any, n: int) -> Callable[[], bool]:
    def search_and_free() -> bool:
        slots = allocator.alloc_contiguous(n)
        if slots is not None:
            allocator.free(slots)
        return slots is not None

    return search_and_free


def _pools(size: int, n: int) -> dict[str, np.ndarray]:
    """Name -> the slots that are held."""
    slots, rng = np.arange(size), np.random.default_rng(0)
    return {
        "empty": slots[:0],
        "half held at random": np.sort(rng.permutation(size)[: size // 2]),
        "94 % held at random": np.sort(rng.permutation(size)[: size * 94 // 100]),
        f"a held slot every {n // 2}": slots[:: n // 2],
        "a run at the far end only": slots[:-n],
    }


def _with_held(allocator: Any, held: np.ndarray) -> Any:
    allocator.free(np.setdiff1d(allocator.alloc(allocator.num_free), held, assume_unique=True))
    return allocator


def _compare(calls: dict[str, Callable[[], Any]]) -> Comparison:
    return compare(calls, repeats=REPEATS, warmup=NUM_OUTSTANDING)


def _cell(compared: Comparison, name: str) -> str:
    microseconds = compared[name].median_ms * 1000
    return f"{microseconds:,.{2 if microseconds < 100 else 0}f} ({compared.ratios[name]:,.1f}x)"

"""The allocator hands out slots until they lie scattered; one kernel attends through them, checked against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from labkit.evidence.matmul import ROOF_BYTES, _copy_bytes_per_s
from labkit.evidence.place import Place
from labkit.evidence.record import PartResult
from labkit.kv_cache import TokenAllocator, TokenTable, token_attention
from labkit.kv_cache.allocator import alloc_any
from labkit.measure import compare, time_call

CHECKED_REQUESTS = 4  # by NumPy, on the CPU


def run(place: Place) -> PartResult:
    """Raises AssertionError when the kernel's answer is not NumPy's."""
    import torch

    from labkit.kv_cache.triton_attention import batch_attention

    num_requests, length, heads, head_size = place.pick((64, 1024, 32, 128), (3, 20, 2, 16))
    table, rows = scattered_table(num_requests, length)
    pool_size = 2 * num_requests * length
    slots, lengths = (torch.from_numpy(each).to(place.device) for each in table.batch(rows))
    half: Any = {"device": place.device, "dtype": torch.float16}
    k_pool, v_pool = (torch.randn(pool_size, heads, head_size, **half) for _ in range(2))
    queries = torch.randn(num_requests, heads, head_size, **half)

    def one_kernel() -> torch.Tensor:
        return batch_attention(queries, k_pool, v_pool, slots, lengths)

    long_slots = slots.long()

    def gather_then_attend() -> torch.Tensor:
        k, v = (pool[long_slots].transpose(1, 2) for pool in (k_pool, v_pool))
        return torch.nn.functional.scaled_dot_product_attention(queries[:, :, None], k, v)[:, :, 0]

    came = one_kernel()
    for number in range(min(CHECKED_REQUESTS, num_requests)):
        q, k_all, v_all = (each.float().cpu().numpy() for each in (queries[number], k_pool, v_pool))
        expected = token_attention(q, k_all, v_all, table.slots(rows[number]))
        # The kernel reads float16 and sums in float32; its result is rounded to float16.
        np.testing.assert_allclose(came[number].float().cpu().numpy(), expected, rtol=2**-9, atol=2**-9)
    timings = compare({"kernel": one_kernel, "gather": gather_then_attend}, **place.timing)
    upload = time_call(lambda: torch.from_numpy(table.batch(rows)[0]).to(place.device), **place.timing)
    kernel_s = timings["kernel"].median_ms / 1e3
    read_bytes = 2 * num_requests * length * heads * head_size * k_pool.element_size()
    return PartResult(
        {
            "num_requests": float(num_requests),
            "num_tokens": float(num_requests * length),
            "slots_in_order": share_in_order(table.slots(rows[0])),
            "kernel_ms": timings["kernel"].median_ms,
            "gather_ms": timings["gather"].median_ms,
            "table_upload_ms": upload.median_ms,
            "kernel_gb_per_s": read_bytes / kernel_s / 1e9,
            "copy_gb_per_s": _copy_bytes_per_s(place, place.pick(ROOF_BYTES, 2**20)) / 1e9,
        }
    )


def scattered_table(num_requests: int, length: int) -> tuple[TokenTable, list[int]]:
    """Requests that grew in turns, token by token, in a pool that others had left in holes."""
    allocator = TokenAllocator(2 * num_requests * length)
    held = allocator.alloc(allocator.size)
    assert held is not None
    allocator.free(np.random.default_rng(0).permutation(held)[: allocator.size * 3 // 4])
    table = TokenTable(num_requests, length, allocator, take=alloc_any)
    rows = [row for _ in range(num_requests) if (row := table.start(1)) is not None]
    for _ in range(length - 1):
        assert table.append(rows), "three quarters of the pool are free, and half of it is asked for"
    allocator.check_integrity()
    return table, rows


def share_in_order(slots: np.ndarray) -> float:
    """The share of neighbouring tokens that lie in neighbouring slots; 1 is one run."""
    return float(np.mean(np.diff(slots) == 1))

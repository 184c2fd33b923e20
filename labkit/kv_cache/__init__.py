"""A token-granular KV cache: who owns which slot, what a scheme wastes, attention through the table.

    allocator = TokenAllocator(40_000)                   # hands out slots of the pool
    table = TokenTable(256, 4096, allocator)             # one row per request, column i = slot of token i
    row = table.start(prompt_len=1000)                   # None when slots or rows run out
    table.append([row])                                  # one more token for each of these requests
    token_attention(q, k_cache, v_cache, table.slots(row))
    table.finish(row)

`event_log` records what any allocator or table did, `pool_state` and `audit` read such a log,
`generations` keeps the four allocators that led here, and `triton_attention` (imported by name, it
needs torch and Triton) runs the gather as a GPU kernel.
"""

from labkit.kv_cache._arguments import CountError, FreeError, RowError
from labkit.kv_cache.allocator import (
    IntegrityError,
    SlotAllocator,
    TokenAllocator,
    alloc_any,
    alloc_contiguous_else_lowest,
    alloc_contiguous_first,
)
from labkit.kv_cache.attention import token_attention
from labkit.kv_cache.audit import Violation, first_violation
from labkit.kv_cache.event_log import RecordingAllocator, RecordingTable, play
from labkit.kv_cache.generations import GENERATIONS
from labkit.kv_cache.pool_state import (
    FREE,
    count_runs,
    fragmentation,
    iter_pool_states,
    longest_free_run,
    pool_counters,
    pool_states,
    share_in_one_run,
)
from labkit.kv_cache.replay import Replay, replay
from labkit.kv_cache.reservation import BlockTable, ReserveMaxTable, wasted_slots
from labkit.kv_cache.table import RequestTable, TokenTable

__all__ = [
    "FREE",
    "GENERATIONS",
    "BlockTable",
    "CountError",
    "FreeError",
    "IntegrityError",
    "RecordingAllocator",
    "RecordingTable",
    "Replay",
    "RequestTable",
    "ReserveMaxTable",
    "RowError",
    "SlotAllocator",
    "TokenAllocator",
    "TokenTable",
    "Violation",
    "alloc_any",
    "alloc_contiguous_else_lowest",
    "alloc_contiguous_first",
    "count_runs",
    "first_violation",
    "fragmentation",
    "iter_pool_states",
    "longest_free_run",
    "play",
    "pool_counters",
    "pool_states",
    "replay",
    "share_in_one_run",
    "token_attention",
    "wasted_slots",
]

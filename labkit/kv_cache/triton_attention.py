"""Attention through the token table as one Triton kernel: gather and softmax in a single pass over the tokens.

One program per request and head walks its tokens in tiles, reads each slot number from the table and
the key and value behind it, and keeps a running maximum, denominator and weighted sum (Milakov and
Gimelshein 2018; the inner loop of FlashAttention). No score and no gathered copy of the cache is ever
written to memory, which is what the NumPy version spends its time on.

With TRITON_INTERPRET=1 in the environment before this module is imported it runs on a CPU, slowly and
with the same results. Axes: B requests, L longest request, H heads, D head size, S slots of the pool.
"""

from __future__ import annotations

import math
import os

try:
    import triton
    import triton.language as tl
except ImportError as error:  # Windows, macOS, ARM
    raise ImportError(
        "Triton is not installed here (it comes for Linux on x86-64). "
        "labkit.kv_cache.token_attention computes the same with NumPy on every machine."
    ) from error

import torch

# Tokens per tile: 64 slots are read, then 64 keys and 64 values of D numbers are in flight at once.
TILE_TOKENS = 64


@triton.jit
def gather_attention_kernel(  # type: ignore[no-untyped-def]  # Triton reads annotations as its own
    q_pointer,  # (B, H, D)
    k_pointer,  # (S, H, D)
    v_pointer,  # (S, H, D)
    table_pointer,  # (B, L) int32: slot of each token
    lengths_pointer,  # (B,) int32
    out_pointer,  # (B, H, D)
    scale,
    max_len,
    num_heads,
    HEAD_SIZE: tl.constexpr,
    HEAD_TILE: tl.constexpr,  # the power of two at or above HEAD_SIZE
    TOKEN_TILE: tl.constexpr,
):
    request = tl.program_id(0)
    head = tl.program_id(1)
    length = tl.load(lengths_pointer + request)
    d = tl.arange(0, HEAD_TILE)
    d_exists = d < HEAD_SIZE
    row = (request * num_heads + head) * HEAD_SIZE + d
    q = tl.load(q_pointer + row, mask=d_exists, other=0.0).to(tl.float32) * scale

    largest = tl.full((1,), float("-inf"), tl.float32)
    denominator = tl.zeros((1,), tl.float32)
    weighted = tl.zeros((HEAD_TILE,), tl.float32)
    for begin in range(0, length, TOKEN_TILE):
        token = begin + tl.arange(0, TOKEN_TILE)
        token_exists = token < length
        slot = tl.load(table_pointer + request * max_len + token, mask=token_exists, other=0).to(tl.int64)
        offset = (slot[:, None] * num_heads + head) * HEAD_SIZE + d[None, :]
        exists = token_exists[:, None] & d_exists[None, :]
        k = tl.load(k_pointer + offset, mask=exists, other=0.0).to(tl.float32)
        score = tl.where(token_exists, tl.sum(k * q[None, :], axis=1), float("-inf"))
        new_largest = tl.maximum(largest, tl.max(score, axis=0))
        shrink = tl.exp(largest - new_largest)  # what earlier sums lose now that the maximum has grown
        weight = tl.exp(score - new_largest)
        v = tl.load(v_pointer + offset, mask=exists, other=0.0).to(tl.float32)
        weighted = weighted * shrink + tl.sum(weight[:, None] * v, axis=0)
        denominator = denominator * shrink + tl.sum(weight, axis=0)
        largest = new_largest
    out = weighted / denominator
    tl.store(out_pointer + row, out.to(out_pointer.dtype.element_ty), mask=d_exists)


def batch_attention(
    q: torch.Tensor, k_cache: torch.Tensor, v_cache: torch.Tensor, table: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """One decode step of attention for B requests at once, each over its own slots.

    Shapes: q (B, H, D), k_cache and v_cache (S, H, D), table (B, L) integers, lengths (B,) integers from 1
    to L -> (B, H, D) in the dtype of q. `TokenTable.batch(rows)` gives the last two; what stands in the table
    past a length is not read. ValueError for shapes that do not fit; slots are not checked (that would
    wait for the GPU).
    """
    _check(q, k_cache, v_cache, table, lengths)
    num_requests, num_heads, head_size = q.shape
    out = torch.empty_like(q, memory_format=torch.contiguous_format)
    gather_attention_kernel[(num_requests, num_heads)](
        q.contiguous(),
        k_cache,
        v_cache,
        table.to(torch.int32).contiguous(),
        lengths.to(torch.int32).contiguous(),
        out,
        1 / math.sqrt(head_size),
        table.shape[1],
        num_heads,
        HEAD_SIZE=head_size,
        HEAD_TILE=triton.next_power_of_2(head_size),
        TOKEN_TILE=TILE_TOKENS,
    )
    return out


def token_attention(q: torch.Tensor, k_cache: torch.Tensor, v_cache: torch.Tensor, slots: torch.Tensor) -> torch.Tensor:
    """As labkit.kv_cache.token_attention, for torch tensors: (H, D), (S, H, D) twice, (T,) -> (H, D)."""
    if q.ndim != 2 or slots.ndim != 1 or not len(slots):
        raise ValueError(f"q is (H, D) and slots (T,) with T >= 1; got {tuple(q.shape)} and {tuple(slots.shape)}.")
    length = torch.tensor([len(slots)], dtype=torch.int32, device=slots.device)
    return batch_attention(q[None], k_cache, v_cache, slots[None], length)[0]


def is_interpreted() -> bool:
    """Whether Triton runs its kernels with its interpreter, which is how they run without a GPU."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def _check(
    q: torch.Tensor, k_cache: torch.Tensor, v_cache: torch.Tensor, table: torch.Tensor, lengths: torch.Tensor
) -> None:
    if not (
        q.ndim == 3
        and k_cache.ndim == 3
        and k_cache.shape == v_cache.shape
        and k_cache.shape[1:] == q.shape[1:]
        and table.ndim == 2
        and table.shape[0] == q.shape[0]
        and lengths.shape == q.shape[:1]
    ):
        raise ValueError(
            "batch_attention takes q (B, H, D), two caches (S, H, D), table (B, L) and lengths (B,); got "
            f"{tuple(q.shape)}, {tuple(k_cache.shape)}, {tuple(v_cache.shape)}, {tuple(table.shape)}, "
            f"{tuple(lengths.shape)}."
        )
    if not (k_cache.is_contiguous() and v_cache.is_contiguous()):
        raise ValueError("The caches are read in place, so they have to be contiguous: a copy would be the whole pool.")
    if not (q.is_cuda or is_interpreted()):
        raise ValueError(
            "These tensors are on a CPU, where a Triton kernel runs only under its interpreter: "
            "set TRITON_INTERPRET=1 before Python starts."
        )

"""Attention of one new token over a cache whose rows lie anywhere: gather through the slots, then as usual.

Axes: T tokens of this request, H heads, D head size, S slots of the pool.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labkit.kv_cache._arguments import integers_argument


def token_attention(q: NDArray, k_cache: NDArray, v_cache: NDArray, slots: ArrayLike) -> NDArray:
    """softmax(q · Kᵀ / √D) · V over the tokens in `slots`, per head (Vaswani et al. 2017, equation 1).

    Shapes: q (H, D), k_cache and v_cache (S, H, D), slots (T,) in token order -> (H, D), in the dtype of q.
    The order of the slots does not change the result beyond rounding; other slots are never read.
    Half precision is computed in float32. ValueError for shapes that do not fit, no slots at all, or slots
    outside the pool.
    """
    q, k_cache, v_cache = np.asarray(q), np.asarray(k_cache), np.asarray(v_cache)
    slots = integers_argument(slots, "slots", ValueError)
    _check_shapes(q, k_cache, v_cache, slots)
    wide = np.result_type(q, k_cache, v_cache, np.float32)
    k = k_cache[slots].astype(wide, copy=False)  # (T, H, D)
    v = v_cache[slots].astype(wide, copy=False)  # (T, H, D)
    scores = np.einsum("hd,thd->ht", q.astype(wide, copy=False), k) / math.sqrt(q.shape[1])  # (H, T)
    # exp of a difference that is never positive: no overflow, and the softmax is the same.
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))  # (H, T)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.einsum("ht,thd->hd", weights, v).astype(q.dtype, copy=False)  # (H, D)


def _check_shapes(q: NDArray, k_cache: NDArray, v_cache: NDArray, slots: NDArray[np.int64]) -> None:
    if q.ndim != 2 or k_cache.shape != v_cache.shape or k_cache.ndim != 3 or k_cache.shape[1:] != q.shape:
        raise ValueError(
            "token_attention takes q (H, D) and two caches (num_slots, H, D); "
            f"got q {q.shape}, k_cache {k_cache.shape}, v_cache {v_cache.shape}."
        )
    if q.dtype.kind != "f":
        raise ValueError(f"token_attention takes floating-point arrays; q is {q.dtype}.")
    if not slots.size:
        raise ValueError("token_attention has no slots: a softmax over no tokens is not defined.")
    if slots.min() < 0 or slots.max() >= len(k_cache):
        raise ValueError(
            f"slots go from {slots.min()} to {slots.max()}, and the cache has slots 0 to {len(k_cache) - 1}. "
            "A negative one is usually a column past the request's last token."
        )

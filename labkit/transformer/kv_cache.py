"""How large the keys and values of past tokens are."""

from labkit.quantities import whole_number


def kv_cache_bytes(seq: int, batch: int, layers: int, kv_heads: int, head_dim: int, bytes_per_element: int = 2) -> int:
    """Bytes of the KV cache for `batch` sequences of `seq` tokens: 2 · L · heads · D · bytes per token.

    The 2 is for keys *and* values. Only key and value heads count: grouped-query attention makes the
    cache smaller by heads / kv_heads.

    >>> kv_cache_bytes(2048, 1, layers=32, kv_heads=32, head_dim=128)  # LLaMA-7B: 1 GiB
    1073741824
    >>> kv_cache_bytes(1, 1, layers=80, kv_heads=8, head_dim=128)  # LLaMA-2-70B, one token: 320 KiB
    327680
    """
    per_token = 2 * whole_number(layers, "layers") * whole_number(kv_heads, "kv_heads")
    per_token *= whole_number(head_dim, "head_dim") * whole_number(bytes_per_element, "bytes_per_element")
    return whole_number(seq, "seq", at_least=0) * whole_number(batch, "batch") * per_token

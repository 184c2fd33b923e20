"""How many parameters a transformer has, to the last bias."""

from labkit.quantities import QuantityError, whole_number


def transformer_params(
    layers: int,
    hidden: int,
    vocab: int,
    ffn: int,
    *,
    heads: int = 1,
    kv_heads: int | None = None,
    positions: int = 0,
    gated: bool = False,
    biases: bool = True,
    tied: bool = True,
) -> int:
    """Parameters of a decoder, counted exactly (a weight that is used twice counts once).

    The defaults make a GPT; `gated=True, biases=False, tied=False` makes a LLaMA.

    >>> transformer_params(12, 768, 50257, 4 * 768, positions=1024)  # GPT-2 small
    124439808
    >>> transformer_params(32, 4096, 32000, 11008, gated=True, biases=False, tied=False)  # LLaMA-7B
    6738415616

    `heads` and `kv_heads` matter only as a ratio: keys and values are hidden * kv_heads / heads wide.
    `positions` is the number of rows of a learned position table (rotary positions have no parameters).
    """
    layers, hidden, vocab, ffn = (
        whole_number(value, name)
        for value, name in ((layers, "layers"), (hidden, "hidden"), (vocab, "vocab"), (ffn, "ffn"))
    )
    kv_heads = heads if kv_heads is None else kv_heads
    check_heads(hidden, heads, kv_heads)
    kv_width = hidden // heads * kv_heads

    matrices = attention_weights(hidden, kv_width) + mlp_weights(hidden, ffn, gated)
    layer = matrices + 2 * hidden  # and the weights of two norms
    outside = vocab * hidden * (1 if tied else 2) + positions * hidden + hidden
    if biases:
        layer += 2 * hidden + 2 * kv_width  # query, output, key, value
        layer += (2 * ffn if gated else ffn) + hidden
        layer += 2 * hidden  # LayerNorm has a bias where RMSNorm has none
        outside += hidden
    return layers * layer + outside


def attention_weights(hidden: int, kv_width: int) -> int:
    """Weights of the four attention matrices of one layer: query and output, key and value."""
    return 2 * hidden * hidden + 2 * hidden * kv_width


def mlp_weights(hidden: int, ffn: int, gated: bool) -> int:
    """Weights of the MLP's two matrices of one layer; SwiGLU has a third, the gate."""
    return (3 if gated else 2) * hidden * ffn


def check_heads(hidden: int, heads: int, kv_heads: int) -> None:
    """Raise QuantityError unless heads divide the width, and key heads divide the query heads."""
    whole_number(kv_heads, "kv_heads")
    if hidden % heads:
        raise QuantityError(f"heads must divide hidden: {hidden} is not a multiple of {heads}.")
    if heads % kv_heads:
        raise QuantityError(f"kv_heads must divide heads: {heads} is not a multiple of {kv_heads}.")

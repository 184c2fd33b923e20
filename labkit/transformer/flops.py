"""How many floating-point operations a forward and a training step take: matrix multiplications only."""

from labkit.quantities import QuantityError, whole_number
from labkit.transformer.parameters import attention_weights, check_heads, mlp_weights

RECOMPUTE = ("none", "selective", "full")


def transformer_flops(
    seq: int,
    batch: int,
    layers: int,
    hidden: int,
    vocab: int,
    ffn: int,
    *,
    heads: int = 1,
    kv_heads: int | None = None,
    gated: bool = False,
    training: bool = False,
    recompute: str = "none",
) -> int:
    """FLOPs of one forward pass, or with `training=True` of forward and backward, over batch * seq tokens.

    A multiply-add is 2 FLOPs. Forward: 2 FLOPs per weight of a matrix and token, and 4·s²·h per layer and
    sequence for the two products of attention (all s² of them: a causal kernel may skip half). The
    embedding is a look-up and costs nothing; the output head is a matrix even where it shares the
    embedding's weights. Backward is exactly twice forward: one product for each operand's gradient.

    >>> llama_7b = dict(layers=32, hidden=4096, vocab=32000, ffn=11008, gated=True)
    >>> transformer_flops(2048, 1, **llama_7b)
    29261612187648

    `recompute="full"` (training only) runs every layer forward once more, the head excepted;
    "selective" only the attention products (arXiv 2205.05198, §5).
    """
    seq, batch = whole_number(seq, "seq"), whole_number(batch, "batch")
    if recompute not in RECOMPUTE:
        raise QuantityError(f"recompute must be one of {', '.join(RECOMPUTE)}, got {recompute!r}.")
    kv_heads = heads if kv_heads is None else kv_heads
    check_heads(hidden, heads, kv_heads)
    matrices = attention_weights(hidden, hidden // heads * kv_heads) + mlp_weights(hidden, ffn, gated)
    tokens = batch * seq
    attention = layers * 4 * seq * hidden * tokens
    in_layers = layers * 2 * matrices * tokens + attention
    forward = in_layers + 2 * vocab * hidden * tokens
    if not training:
        return forward
    return 3 * forward + {"none": 0, "selective": attention, "full": in_layers}[recompute]

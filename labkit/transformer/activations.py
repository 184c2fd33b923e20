"""What a layer keeps for its backward pass: the published formula, and the list of tensors behind it.

s tokens, b sequences, h hidden, a heads, f MLP width, t tensor-parallel ranks. The formula is that of
arXiv 2205.05198 ("Reducing Activation Recomputation in Large Transformer Models"), in *bytes*: fp16 with
dropout masks of one byte, an MLP of 4h with GELU. (That a GPU's masks take one byte was not measured here;
on the CPU and the meta device they take as many as the input.)
"""

from dataclasses import dataclass
from fractions import Fraction

from labkit.quantities import Exact, QuantityError, simplest, whole_number
from labkit.transformer.flops import RECOMPUTE
from labkit.transformer.shape import TransformerShape

LOG_SUM_EXP_BYTES = 4  # a fused attention kernel keeps one fp32 number per head and token
STATISTIC_BYTES = 4  # LayerNorm keeps mean and 1/deviation in fp32 on the meta device; on the CPU in the input's type


def activation_bytes(
    seq: int,
    batch: int,
    hidden: int,
    heads: int,
    layers: int = 1,
    *,
    tensor_parallel: int = 1,
    sequence_parallel: bool = False,
    recompute: str = "none",
    flash: bool = False,
) -> Exact:
    """Bytes of activations per rank: sbh(34 + 5as/h) a layer with nothing split or recomputed.

    >>> activation_bytes(2048, 1, 4096, 32, layers=32) / 2**30  # GiB, LLaMA-7B's sizes
    28.5
    >>> activation_bytes(2048, 1, 4096, 32, layers=32, recompute="selective") / 2**30
    8.5
    >>> activation_bytes(2048, 1, 4096, 32, layers=32, recompute="full") / 2**30
    0.5

    With t tensor-parallel ranks (eq. 2): sbh(10 + 24/t + 5as/(ht)); sequence parallelism (eq. 4) divides
    the 10 as well. `recompute="selective"` drops the attention matrices 5as/h, "full" leaves the layer's
    input, 2sbh. `flash=True` drops the matrices too, and keeps 4 bytes per head and token in their place.

    A formula, not a measurement: it leaves out the statistics of the norms, the embedding, and the logits,
    and it knows no SwiGLU. `saved_tensors` does. Nor does it ask whether t ranks can share a heads evenly.
    """
    s, b, h, a = (
        whole_number(value, name)
        for value, name in ((seq, "seq"), (batch, "batch"), (hidden, "hidden"), (heads, "heads"))
    )
    layers = whole_number(layers, "layers")
    t = _check_split(tensor_parallel, recompute)
    replicated = t if sequence_parallel else 1  # what tensor parallelism alone leaves whole on each rank
    tokens = s * b
    if recompute == "full":
        return simplest(Fraction(layers * 2 * tokens * h, replicated))
    matrices = 0 if flash or recompute == "selective" else 5 * a * s
    statistics = LOG_SUM_EXP_BYTES * a if flash else 0
    layer = Fraction(10 * h, replicated) + Fraction(24 * h + matrices + statistics, t)
    return simplest(layers * tokens * layer)


@dataclass(frozen=True)
class SavedTensor:
    """One tensor that waits for the backward pass on one rank."""

    name: str
    num_bytes: Exact


def saved_tensors(
    shape: TransformerShape,
    seq: int,
    batch: int = 1,
    *,
    dropout: bool = False,
    flash: bool = False,
    recompute: str = "none",
    tensor_parallel: int = 1,
    sequence_parallel: bool = False,
    bytes_per_element: int = 2,
    mask_bytes: int = 1,
) -> tuple[SavedTensor, ...]:
    """What one layer keeps on one rank, tensor by tensor; the sum equals what autograd keeps on the meta device.

    `labkit.transformer.models` is the layer meant: other code keeps other things (an RMSNorm that
    computes in fp32, a softmax in fp32). `mask_bytes` is 1 in the published formula; to equal PyTorch's
    CPU and meta kernels it is `bytes_per_element`. Raises QuantityError for more tokens than positions, and
    for tensor-parallel ranks that cannot share the layer evenly.
    """
    tokens = shape.check_seq(seq) * whole_number(batch, "batch")
    t = shape.check_tensor_parallel(_check_split(tensor_parallel, recompute), seq, sequence_parallel=sequence_parallel)
    if recompute == "full":
        rows = [("layer input", tokens * shape.hidden * bytes_per_element, WHOLE)]
    else:
        row_length = 0 if flash or recompute == "selective" else seq
        mask = mask_bytes if dropout else 0
        rows = _layer_rows(shape, tokens, bytes_per_element, mask, row_length, flash)
    return tuple(
        SavedTensor(name, simplest(Fraction(size, t if sequence_parallel or split else 1)))
        for name, size, split in rows
    )


# A row is (name, bytes in all, whether tensor parallelism splits it; sequence parallelism splits the rest too).
_Row = tuple[str, int, bool]
SPLIT, WHOLE = True, False


def _layer_rows(shape: TransformerShape, tokens: int, p: int, mask: int, row_length: int, flash: bool) -> list[_Row]:
    """The tensors of one layer. `mask`: bytes, 0 without dropout; `row_length`: s, 0 if no a·s² is kept."""
    h, f, a = tokens * shape.hidden, tokens * shape.ffn, tokens * shape.heads
    kv = tokens * shape.kv_width
    rows = [
        *_norm_rows("norm 1", shape, tokens, p),
        ("attention input", h * p, WHOLE),
        ("query", h * p, SPLIT),
        ("key", kv * p, SPLIT),
        ("value", kv * p, SPLIT),
    ]
    if flash:
        rows.append(("log-sum-exp", a * LOG_SUM_EXP_BYTES, SPLIT))
    if row_length:
        rows.append(("softmax output", a * row_length * p, SPLIT))
    if row_length and mask:
        rows.append(("softmax dropout mask", a * row_length * mask, SPLIT))
        rows.append(("softmax dropout output", a * row_length * p, SPLIT))
    rows.append(("attention output", h * p, SPLIT))
    if mask:
        rows.append(("attention dropout mask", h * mask, WHOLE))
    rows += [*_norm_rows("norm 2", shape, tokens, p), ("MLP input", h * p, WHOLE)]
    wide = ("gate", "activated gate", "up", "gated product") if shape.gated else ("up", "activated")
    rows += [(f"MLP {name}", f * p, SPLIT) for name in wide]
    if mask:
        rows.append(("MLP dropout mask", h * mask, WHOLE))
    return rows


def saved_outside_layers(
    shape: TransformerShape, seq: int, batch: int = 1, *, bytes_per_element: int = 2
) -> tuple[SavedTensor, ...]:
    """What a model keeps besides its layers: indices, rotary tables, the last norm, and the loss.

    The log-probabilities, 4 bytes for each token and word, are often larger than a whole layer.
    """
    tokens, p = shape.check_seq(seq) * whole_number(batch, "batch"), bytes_per_element
    rows = [("token indices", 8 * tokens)]
    if not shape.positions:
        rows.append(("rotary cosine and sine", 2 * seq * shape.head_dim * p))
    rows += [(name, size) for name, size, _ in _norm_rows("last norm", shape, tokens, p)]
    rows += [
        ("head input", tokens * shape.hidden * p),
        ("log-probabilities", tokens * shape.vocab * 4),
        ("target indices", 8 * tokens),
        ("loss weight", 4),
    ]
    return tuple(SavedTensor(name, size) for name, size in rows)


def _norm_rows(name: str, shape: TransformerShape, tokens: int, p: int) -> list[_Row]:
    wide = tokens * shape.hidden * p
    if shape.biases:  # LayerNorm, one kernel: recomputes the rest from mean and 1/deviation
        statistics = tokens * 2 * STATISTIC_BYTES
        return [(f"{name} input", wide, WHOLE), (f"{name} statistics", statistics, WHOLE)]
    return [
        (f"{name} input", wide, WHOLE),
        (f"{name} statistics", tokens * p, WHOLE),
        (f"{name} normalised", wide, WHOLE),
    ]


def _check_split(tensor_parallel: int, recompute: str) -> int:
    if recompute not in RECOMPUTE:
        raise QuantityError(f"recompute must be one of {', '.join(RECOMPUTE)}, got {recompute!r}.")
    return whole_number(tensor_parallel, "tensor_parallel")

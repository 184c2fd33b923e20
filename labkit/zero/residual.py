"""What ZeRO's stages do not split: activations, buffers, and the layer that is being worked on.

Stages 1 to 3 shard no activations. ZeRO-R does (arXiv 1910.02054, §6), across *model*-parallel ranks.
"""

from fractions import Fraction

from labkit.quantities import Exact, Number, QuantityError, exact, simplest, whole_number


def checkpoint_bytes(
    seq: int, batch: int, hidden: int, layers: int, model_parallel: int = 1, where: str = "replicated"
) -> Exact:
    """Bytes of fp16 activation checkpoints on one GPU: one layer input of 2·s·b·h for each layer.

    `where` is "replicated" (every model-parallel rank keeps all), "partitioned" (P_a: divided by the
    model-parallel degree) or "cpu" (P_a+cpu: none on the GPU). Partitioning costs an all-gather per layer.

    >>> checkpoint_bytes(1024, 32, 8192, 125) / 1e9
    67.108864
    """
    if where not in ("replicated", "partitioned", "cpu"):
        raise QuantityError(f"where must be replicated, partitioned or cpu, got {where!r}.")
    numbers = {"seq": seq, "batch": batch, "hidden": hidden, "layers": layers}
    total = 2
    for name, value in numbers.items():
        total *= whole_number(value, name)
    degree = whole_number(model_parallel, "model_parallel")
    return {
        "replicated": total,
        "partitioned": simplest(Fraction(total, degree)),
        "cpu": 0,
    }[where]


def paper_activation_elements(seq: int, batch: int, hidden: int, layers: int) -> int:
    """Footnote 3 of the paper: about 12·h·b·s·L elements without recomputation, of 2 bytes in fp16.

    A lower bound: `labkit.transformer.activation_bytes` gives 4.7 times as much for GPT-2 XL.
    """
    return 12 * hidden * batch * seq * layers


def fused_buffer_bytes(num_params: Number, cap: int | None = None, bytes_per_element: int = 4) -> int:
    """Bytes of a fused reduction buffer: as long as the model, or C_B's constant size `cap` (in elements).

    >>> fused_buffer_bytes(1.5e9)  # 6 GB of fp32 for GPT-2 XL (§3.2)
    6000000000
    >>> fused_buffer_bytes(1.5e9, cap=5 * 10**8, bytes_per_element=2)
    1000000000
    """
    elements = whole_number(num_params, "num_params")
    return min(elements, elements if cap is None else cap) * bytes_per_element


def working_set_bytes(unit_params: int, gather_bytes: Number = 2, reduce_bytes: Number = 4) -> Exact:
    """The floor of stage 3 in bytes: its largest unit, gathered, and that unit's gradient to be reduced.

    While a unit (usually a layer) runs backward, it stands there whole, however many ranks there are:
    its gathered parameters and its whole gradient. Implementations add buffers and prefetch the next
    unit, so the true peak is higher; `labkit.zero.observed.fake` measures one.

    >>> working_set_bytes(205_852_672, gather_bytes=2, reduce_bytes=2) / 1e9  # 50257 x 4096 embedding
    0.823410688
    """
    unit = whole_number(unit_params, "unit_params")
    return simplest(unit * (exact(gather_bytes, "gather_bytes") + exact(reduce_bytes, "reduce_bytes")))

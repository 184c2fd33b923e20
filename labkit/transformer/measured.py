"""Counting what PyTorch really does: bytes saved for backward, and FLOPs, with no memory and no GPU."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from labkit.transformer.models import Transformer, build_model
from labkit.transformer.shape import TransformerShape


def saved_bytes(model: nn.Module, call: Callable[[], Tensor]) -> int:
    """Bytes that `call` keeps for its backward pass: each storage once, parameters and buffers not counted.

    The hooks see every tensor that autograd stores; two views of one storage are one piece of memory.
    """
    constants = {_storage(tensor) for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, Tensor] = {}  # holds the tensors, so that no address is used twice

    def pack(tensor: Tensor) -> Tensor:
        if _storage(tensor) not in constants:
            kept[_storage(tensor)] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = call()
    del result
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def measured_activation_bytes(
    shape: TransformerShape,
    seq: int,
    batch: int = 1,
    *,
    layers: int | None = None,
    dtype: torch.dtype = torch.bfloat16,
    device: str = "meta",
    dropout: float = 0.0,
    flash: bool = False,
    recompute: str = "none",
) -> int:
    """Bytes that one forward pass with loss keeps for backward in a model of this shape.

    On the meta device nothing is computed or stored, so any size will do. A fused attention kernel does
    not exist there: `flash=True` needs `device="cpu"`, and a size that fits.
    """
    shape = shape if layers is None else replace(shape, layers=layers)
    model = build_model(shape, device, dtype, dropout=dropout, flash=flash, recompute=recompute)
    tokens, targets = _tokens(shape, seq, batch, device), _tokens(shape, seq, batch, device)
    return saved_bytes(model, lambda: model(tokens, targets))


def measured_layer_bytes(shape: TransformerShape, seq: int, batch: int = 1, **options: object) -> int:
    """Bytes that one layer keeps: the difference between a model of two layers and one of one layer."""
    one, two = (
        measured_activation_bytes(shape, seq, batch, layers=layers, **options)  # type: ignore[arg-type]
        for layers in (1, 2)
    )
    return two - one


def measured_params(shape: TransformerShape) -> int:
    """Parameters of the instantiated model; one that is used twice counts once."""
    return sum(parameter.numel() for parameter in build_model(shape).parameters())


def measured_flops(shape: TransformerShape, seq: int, batch: int = 1, *, training: bool = False) -> int:
    """FLOPs that torch's FlopCounterMode counts in a forward pass, or in forward and backward."""
    model: Transformer = build_model(shape)
    tokens = _tokens(shape, seq, batch, "meta")
    with FlopCounterMode(display=False) as counter, nullcontext() if training else torch.no_grad():
        logits = model(tokens)
        if training:
            logits.sum().backward()
    return counter.get_total_flops()


def _tokens(shape: TransformerShape, seq: int, batch: int, device: str) -> Tensor:
    return torch.zeros((batch, seq), dtype=torch.long, device=device)

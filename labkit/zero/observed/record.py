"""Writing down the collectives that PyTorch issues, and the bytes that a rank's tensors occupy."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Operator of torch.distributed -> its name here. The longest tensor of a call is the whole message.
_OPERATORS: dict[str, str] = {
    "allreduce_": "all_reduce",
    "broadcast_": "broadcast",
    "allgather_": "all_gather",
    "_allgather_base_": "all_gather",
    "allgather_into_tensor_coalesced_": "all_gather",
    "reduce_scatter_": "reduce_scatter",
    "_reduce_scatter_base_": "reduce_scatter",
    "reduce_scatter_tensor_coalesced_": "reduce_scatter",
    # The functional forms, which DTensor uses.
    "all_reduce": "all_reduce",
    "all_gather_into_tensor": "all_gather",
    "reduce_scatter_tensor": "reduce_scatter",
    "broadcast": "broadcast",
}


class CollectiveRecorder(TorchDispatchMode):
    """Records `[operation, elements of the whole message, bytes per element]` of every collective in its scope.

    Counts what is *asked for*; what a backend puts on the wire for it is another matter (gloo sends a
    reduce-scatter as an all-reduce). Messages of integers are book-keeping and left out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, int, int]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.namespace in ("c10d", "_c10d_functional"):
            operation = _OPERATORS.get(func._opname)
            tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)]
            message = max(tensors, key=Tensor.numel, default=None)
            if operation and message is not None and message.is_floating_point():
                self.calls.append((operation, message.numel(), message.element_size()))
        return result


def local_tensors(tensors: Iterable[Tensor | None]) -> list[Tensor]:
    """This rank's part of each: the local tensor of a DTensor, the tensor itself otherwise."""
    return [getattr(tensor, "_local_tensor", tensor) for tensor in tensors if tensor is not None]


def occupied_bytes(tensors: Iterable[Tensor | None]) -> int:
    """Bytes of memory behind the tensors on this rank, each storage once, padding included."""
    storages = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in local_tensors(tensors)}
    return sum(storages.values())


def state_tensors(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """The tensors of an optimizer's state, step counters left out."""
    optimizer = getattr(optimizer, "optim", optimizer)  # ZeroRedundancyOptimizer wraps this rank's own
    return [
        value
        for state in optimizer.state.values()
        for name, value in state.items()
        if isinstance(value, Tensor) and name != "step"
    ]

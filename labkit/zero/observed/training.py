"""One training step in each mode, with PyTorch's own implementations."""

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn.parallel import DistributedDataParallel

from labkit.transformer.models import Transformer
from labkit.zero.observed.modes import ADAM_FP32, Mode
from labkit.zero.observed.observation import Observation
from labkit.zero.observed.record import CollectiveRecorder, occupied_bytes, state_tensors
from labkit.zero.states import StateBytes

assert sum(ADAM_FP32) == 16  # AdamW below, on fp32 parameters


def parallelise(mode: Mode, model: Transformer, mesh: DeviceMesh) -> nn.Module:
    """The model made parallel. With FSDP2 every block is a unit, and what is left (embedding, head) one more."""
    if mode.fsdp is None:
        return DistributedDataParallel(model)
    policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if mode.bf16 else MixedPrecisionPolicy()
    # Said explicitly for the root as well: by default FSDP2 keeps the root's parameters until backward.
    reshard = mode.fsdp.reshard_after_forward
    for unit in (*model.blocks, model):
        fully_shard(unit, mesh=mesh, mp_policy=policy, reshard_after_forward=reshard)
    return model


def make_optimizer(mode: Mode, model: nn.Module) -> torch.optim.Optimizer:
    """AdamW, or AdamW whose state is divided among the ranks."""
    if mode.division == "owners":
        return ZeroRedundancyOptimizer(model.parameters(), torch.optim.AdamW)
    return torch.optim.AdamW(model.parameters())


def train_step(
    mode: Mode, parallel: nn.Module, optimizer: torch.optim.Optimizer, tokens: Tensor, micro_batches: int
) -> None:
    """Forward and backward K times, then one optimizer step."""
    optimizer.zero_grad()
    for k in range(micro_batches):
        last = k == micro_batches - 1
        with _quiet_unless_last(mode, parallel, last):
            parallel(tokens, tokens).backward()
    optimizer.step()


def _quiet_unless_last(mode: Mode, parallel: nn.Module, last: bool) -> Any:
    """The mode's switches for one micro-batch."""
    if isinstance(parallel, DistributedDataParallel):
        return nullcontext() if last else parallel.no_sync()
    assert isinstance(parallel, FSDPModule)
    assert mode.fsdp is not None
    parallel.set_requires_gradient_sync(last or mode.fsdp.reduce_every)
    parallel.set_reshard_after_backward(last or mode.fsdp.reshard_after_backward)
    return nullcontext()


def watched_step(
    mode: Mode,
    parallel: nn.Module,
    optimizer: torch.optim.Optimizer,
    tokens: Tensor,
    micro_batches: int,
    rank: int,
    world_size: int,
) -> Observation:
    """A `train_step`, and what this rank sent in it and holds after it."""
    with CollectiveRecorder() as recorder:
        train_step(mode, parallel, optimizer, tokens, micro_batches)
    params = list(parallel.parameters())
    states = StateBytes(
        occupied_bytes(params),
        occupied_bytes(param.grad for param in params),
        occupied_bytes(state_tensors(optimizer)),
    )
    return Observation(mode.name, rank, world_size, micro_batches, states, tuple(recorder.calls))

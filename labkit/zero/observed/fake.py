"""Any world size in this one process: PyTorch's fake process group, and tensors without memory.

The code that runs is FSDP2's own; only the messages go nowhere and the numbers mean nothing. A step of a
model of 7 billion parameters on one rank of 1024 takes seconds and no memory.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.testing._internal.distributed.fake_pg import FakeStore

from labkit.quantities import QuantityError, whole_number
from labkit.transformer.models import build_model
from labkit.transformer.shape import TransformerShape
from labkit.zero.observed.modes import Mode, find_mode
from labkit.zero.observed.observation import Observation
from labkit.zero.observed.training import make_optimizer, parallelise, train_step, watched_step


def observe_fake(
    mode_name: str, world_size: int, shape: TransformerShape, rank: int = 0, micro_batches: int = 1
) -> Observation:
    """What `rank` of N holds and sends in one step of an FSDP2 mode. N is whatever you like.

    Raises QuantityError for DDP's modes, whose C++ code needs processes that answer (use `observe`).
    """
    mode = _check(mode_name, world_size, rank)
    with fake_ranks(world_size, rank) as mesh, FakeTensorMode(allow_non_fake_inputs=True):
        model, optimizer = _fake_training(mode, shape, mesh)
        tokens = torch.zeros((1, 1), dtype=torch.long)
        return watched_step(mode, model, optimizer, tokens, micro_batches, rank, world_size)


def observe_fake_peak(mode_name: str, world_size: int, shape: TransformerShape, rank: int = 0) -> dict[str, int]:
    """Bytes at the moment of most memory in a step, by kind, and in all as "total".

    Counted by PyTorch's FSDPMemTracker on a sequence of one token, so next to no activations are in it:
    what is above the states is the gathered unit, its gradient, and the buffers of the collectives.
    """
    from torch.distributed._tools.fsdp2_mem_tracker import FSDPMemTracker

    mode = _check(mode_name, world_size, rank)
    with fake_ranks(world_size, rank) as mesh, FakeTensorMode(allow_non_fake_inputs=True):
        model, optimizer = _fake_training(mode, shape, mesh)
        tokens = torch.zeros((1, 1), dtype=torch.long)
        tracker = FSDPMemTracker(model, optimizer)
        tracker.track_inputs((tokens,))
        with tracker:
            train_step(mode, model, optimizer, tokens, 1)  # the optimizer's state appears in the first step
            tracker.reset_mod_stats()
            train_step(mode, model, optimizer, tokens, 1)
            optimizer.zero_grad()
        kinds = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]
    return {str(kind).rpartition(".")[2].lower(): num_bytes for kind, num_bytes in kinds.items() if num_bytes}


@contextmanager
def fake_ranks(world_size: int, rank: int = 0) -> Iterator[DeviceMesh]:
    """A process group of `world_size` ranks of which only this one exists, and a mesh over all of them."""
    if dist.is_initialized():
        raise RuntimeError(
            "This process already belongs to a process group: call torch.distributed.destroy_process_group() first."
        )
    dist.init_process_group("fake", rank=rank, world_size=world_size, store=FakeStore())
    try:
        yield init_device_mesh("cpu", (world_size,))
    finally:
        dist.destroy_process_group()


def _fake_training(mode: Mode, shape: TransformerShape, mesh: DeviceMesh) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Cut on the meta device, where cutting into 1024 parts is fast, then given fake memory."""
    model = parallelise(mode, build_model(shape, "meta", torch.float32), mesh)
    model.to_empty(device="cpu")
    return model, make_optimizer(mode, model)


def _check(mode_name: str, world_size: int, rank: int) -> Mode:
    mode = find_mode(mode_name)
    if mode.fsdp is None:
        raise QuantityError(f"{mode_name} needs real processes (labkit.zero.observed.observe); FSDP2's modes do not.")
    if not 0 <= whole_number(rank, "rank", at_least=0) < whole_number(world_size, "world_size"):
        raise QuantityError(f"rank must be between 0 and {world_size - 1}, got {rank}.")
    return mode

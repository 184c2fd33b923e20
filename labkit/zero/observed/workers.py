"""What runs in a real process: train a small transformer in some modes, and report what this rank holds.

A notebook cannot hand a function it defines to another process; these can be imported there.
"""

from dataclasses import asdict
from typing import Any

import torch
from torch.distributed.device_mesh import init_device_mesh

from labkit.transformer.models import build_model
from labkit.transformer.shape import TransformerShape
from labkit.zero.observed.modes import find_mode
from labkit.zero.observed.rank import tell
from labkit.zero.observed.training import make_optimizer, parallelise, train_step, watched_step

STARTED = 0.6  # of the time is gone when a rank has loaded torch and met the others
UNWATCHED_STEPS = 2  # optimizer state appears in the first; DDP rearranges its buckets in the second


def observe_modes(
    rank: int, world_size: int, modes: list[str], shape: dict[str, Any], micro_batches: int
) -> list[dict[str, Any]]:
    """One observation for each mode, as plain data."""
    mesh = init_device_mesh("cpu", (world_size,))
    observations = []
    for number, mode in enumerate(map(find_mode, modes)):
        tell(rank, STARTED + (1 - STARTED) * number / len(modes))
        torch.manual_seed(0)  # every rank starts from the same weights
        model = build_model(TransformerShape(**shape), "cpu", torch.float32)
        parallel = parallelise(mode, model, mesh)
        optimizer = make_optimizer(mode, parallel)
        tokens = torch.full((2, 4), rank % model.shape.vocab)
        for _ in range(UNWATCHED_STEPS):
            train_step(mode, parallel, optimizer, tokens, micro_batches)
        seen = watched_step(mode, parallel, optimizer, tokens, micro_batches, rank, world_size)
        observations.append(asdict(seen))
    return observations

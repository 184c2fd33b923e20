"""One FSDP2 training step on the device: the bytes of its states by formula, by its tensors, and by the device's count.

One rank: with one GPU there is nobody to divide with, so this shows that the arithmetic of the states holds on the
device. The division among ranks is observed on CPU processes by labkit.zero.observed.
"""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path

from labkit.evidence.place import Place
from labkit.evidence.record import PartResult
from labkit.transformer.shape import TransformerShape
from labkit.zero.observed import ADAM_FP32, SMALL, find_mode
from labkit.zero.states import state_parts

MODE = "fsdp2"
# About 100 million parameters: 1.7 GB of states, large beside what a CUDA context and its libraries take.
SHAPE = TransformerShape("evidence", 12, 768, 12, 3072, 8192, gated=False, biases=False, tied=False)
UNWATCHED_STEPS = 2  # the optimizer's state appears in the first
# The allocator hands out multiples of 512 bytes, and cuBLAS keeps a workspace there (32 MiB on Hopper, cuBLAS manual).
LARGEST_OVERHEAD = 0.05


def run(place: Place) -> PartResult:
    """Raises AssertionError when the states on the device are not what the formula says."""
    import torch
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh

    shape = place.pick(SHAPE, SMALL)
    with tempfile.TemporaryDirectory(prefix="labkit-") as folder:
        store = dist.FileStore(str(Path(folder) / "store"), 1)
        dist.init_process_group(place.pick("nccl", "gloo"), store=store, rank=0, world_size=1)
        try:
            figures = _train(place, shape, init_device_mesh(place.device, (1,)))
        finally:
            dist.destroy_process_group()
    formula = sum(state_parts(shape.num_params, 1, find_mode(MODE).stage, ADAM_FP32))
    figures |= {"ranks": 1.0, "num_params": float(shape.num_params), "formula_bytes": float(formula)}
    figures["devices_here"] = float(torch.cuda.device_count())
    # Adam keeps a step counter of four bytes for each tensor, which the paper's formula leaves out.
    assert figures["observed_bytes"] == figures["formula_bytes"], figures
    if not place.is_rehearsal:
        overhead = figures["allocated_bytes"] / figures["formula_bytes"] - 1
        assert 0 <= overhead <= LARGEST_OVERHEAD, f"the device counts {overhead:+.1%} of the formula's bytes"
    return PartResult(figures)


def _train(place: Place, shape: TransformerShape, mesh: object) -> dict[str, float]:
    import torch

    from labkit.transformer.models import build_model
    from labkit.zero.observed.training import make_optimizer, parallelise, train_step, watched_step

    mode = find_mode(MODE)
    before_bytes = _allocated(place)
    parallel = parallelise(mode, build_model(shape, place.device, torch.float32), mesh)  # type: ignore[arg-type]
    optimizer = make_optimizer(mode, parallel)
    tokens = torch.zeros((2, 16), dtype=torch.long, device=place.device)
    for _ in range(UNWATCHED_STEPS):
        train_step(mode, parallel, optimizer, tokens, 1)
    seen = watched_step(mode, parallel, optimizer, tokens, 1, rank=0, world_size=1)
    gc.collect()
    return {
        "observed_bytes": float(seen.states.total),
        "allocated_bytes": float(_allocated(place) - before_bytes) if not place.is_rehearsal else 0.0,
        "peak_bytes": float(torch.cuda.max_memory_allocated()) if not place.is_rehearsal else 0.0,
    }


def _allocated(place: Place) -> int:
    import torch

    return 0 if place.is_rehearsal else torch.cuda.memory_allocated()

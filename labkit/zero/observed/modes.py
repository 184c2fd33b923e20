"""The ways of training in parallel that are watched, and what the formulas say about each. No torch here."""

from dataclasses import dataclass

from labkit.quantities import QuantityError
from labkit.zero.communication import NAIVE_STAGE_1, Collective, step_collectives
from labkit.zero.fsdp import Fsdp

ADAM_FP32 = (4, 4, 8)  # bytes per parameter at rest, in every mode


@dataclass(frozen=True)
class Mode:
    """One way of data-parallel training with fp32 AdamW."""

    name: str
    stage: int  # whose formula of states holds at rest
    division: str  # how tensors are divided: see labkit.zero.ledger
    fsdp: Fsdp | None = None  # FSDP2's switches; None: DDP
    bf16: bool = False  # gathers carry bf16; reductions stay fp32
    note: str = ""

    def collectives(self, micro_batches: int = 1) -> tuple[Collective, ...]:
        """What one optimizer step should send; DDP reduces once, after the last micro-batch."""
        if self.fsdp is not None:
            return self.fsdp.collectives(micro_batches)
        return step_collectives(0) if self.stage == 0 else NAIVE_STAGE_1


MODES: dict[str, Mode] = {
    mode.name: mode
    for mode in (
        Mode(
            "ddp",
            0,
            "whole",
            note="Its buckets hold the gradients once more, unless gradient_as_bucket_view=True: "
            "4 bytes per parameter that no Python tensor shows.",
        ),
        Mode(
            "zero-redundancy-optimizer",
            1,
            "owners",
            note="Stage 1 behind DDP's all-reduce: 3 passes, where the paper's stage 1 needs 2.",
        ),
        Mode("fsdp2", 3, "rows", Fsdp(), note="ZeRO stage 3."),
        Mode(
            "fsdp2-keep",
            3,
            "rows",
            Fsdp(reshard_after_forward=False),
            note="Keeps gathered parameters until backward: stage 2's traffic, and its memory in between.",
        ),
        Mode(
            "fsdp2-accumulate",
            3,
            "rows",
            Fsdp(reduce_every=False),
            note="Reduces only the last micro-batch: keeps whole gradients until then.",
        ),
        Mode(
            "fsdp2-hold",
            3,
            "rows",
            Fsdp(reduce_every=False, reshard_after_backward=False),
            note="Keeps whole gradients and whole parameters from one micro-batch to the next.",
        ),
        Mode(
            "fsdp2-bf16",
            3,
            "rows",
            Fsdp(),
            bf16=True,
            note="Gathers in bf16 and reduces in fp32: the same elements, two thirds of the bytes.",
        ),
    )
}


def find_mode(name: str) -> Mode:
    """The mode of that name. Raises QuantityError that lists the names."""
    if name not in MODES:
        raise QuantityError(f"There is no mode called {name!r}; there are {', '.join(MODES)}.")
    return MODES[name]

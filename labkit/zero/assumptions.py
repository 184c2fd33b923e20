"""The same question, answered as the paper and the well-known calculators answer it, and why they differ.

"How much memory does stage 1 need for 7.5B parameters on 64 GPUs" gets 31.4 to 46.4 GB, and nearly all of
it is defensible once the assumption has a name. Each row was compared with the tool itself (DeepSpeed
0.19, EleutherAI's cookbook of 2026-03, llm-analysis of 2024-11, accelerate 1.15) or with its source.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from fractions import Fraction
from typing import NamedTuple

from labkit.quantities import Exact, Number, QuantityError, simplest, whole_number
from labkit.zero.residual import working_set_bytes
from labkit.zero.states import STAGES, StateBytes, check_stage, state_parts


@dataclass(frozen=True)
class Assumption:
    """What one source counts. Bytes are per parameter: parameters, gradients, optimizer."""

    name: str
    source: str
    bytes_per_param: tuple[Exact, Exact, Exact]
    why: str
    offered: tuple[int, ...] = STAGES  # the stages that the source itself answers for
    buffer_bytes: Mapping[int, int] = field(default_factory=dict)  # what it adds by stage, if N > 1
    stage_3_bytes: tuple[Exact, Exact, Exact] | None = None  # where its stage 3 counts other things
    adds_largest_layer: bool = False  # 4 bytes for each parameter of it, at stage 3
    prints_gib_as_gb: bool = False

    def triple(self, stage: int) -> tuple[Exact, Exact, Exact]:
        """Bytes per parameter at that stage."""
        return self.stage_3_bytes if stage == 3 and self.stage_3_bytes else self.bytes_per_param

    def label(self, stage: int) -> str:
        """The same as a reader sees it: "2+2+12"."""
        return "+".join(map(str, self.triple(stage)))


_BOTH_GRADIENTS = "fp32 gradients beside the fp16 ones, 2+(2+4)+12 = 20 bytes in all"

ASSUMPTIONS: dict[str, Assumption] = {
    row.name: row
    for row in (
        Assumption(
            "paper",
            "ZeRO paper, arXiv 1910.02054, §3.1",
            (2, 2, 12),
            "fp16 parameters and gradients; fp32 master copy, momentum and variance",
        ),
        Assumption(
            "deepspeed",
            "DeepSpeed 0.19, estimate_zero2/3_model_states_mem_needs",
            (2, 6, 12),
            f"{_BOTH_GRADIENTS}; at stage 3 it counts 18, 2+4+12, and adds 4 for each parameter of the largest layer; "
            "prints GiB and calls them GB",
            offered=(2, 3),
            stage_3_bytes=(2, 4, 12),
            adds_largest_layer=True,
            prints_gib_as_gb=True,
        ),
        Assumption(
            "megatron",
            "Megatron-LM, theoretical_memory_usage.py",
            (2, 4, 12),
            "fp32 gradients only; its distributed optimizer is stage 1, and there is no stage 2 or 3",
            offered=(0, 1),
        ),
        Assumption(
            "eleutherai",
            "EleutherAI cookbook, calc_transformer_mem.py",
            (2, 4, 12),
            "fp32 gradients by default; buffers of 5e8 elements, at stage 3 also 1e9 live parameters",
            buffer_bytes={1: 10**9, 2: 10**9, 3: 3 * 10**9},
        ),
        Assumption(
            "llm-analysis",
            "llm-analysis",
            (2, 4, 12),
            "fp32 gradients",
        ),
        Assumption(
            "accelerate",
            "Hugging Face accelerate 1.15, estimate-memory, fp32",
            (4, 4, 8),
            "fp32 training on one device: it knows no sharding",
            offered=(0,),
        ),
        Assumption(
            "accelerate-fp16",
            "Hugging Face accelerate 1.15, estimate-memory, fp16",
            (0, 0, 8),
            "takes the maximum of parts that exist together, so only fp16 Adam's 8 bytes: half of what is needed",
            offered=(0,),
        ),
        Assumption(
            "ultra-scale",
            "Hugging Face ultra-scale playbook, memory widget",
            (2, 2, 12),
            "as the paper",
        ),
        Assumption(
            "ultra-scale-fp32-grads",
            "Hugging Face ultra-scale playbook, table for bf16 with fp32 gradient accumulation",
            (2, 6, 12),
            _BOTH_GRADIENTS,
            offered=(0,),
        ),
        Assumption(
            "fsdp2",
            "PyTorch fully_shard with MixedPrecisionPolicy, observed",
            (4, 4, 8),
            "the sharded parameters stay fp32; the bf16 copy exists while a layer runs",
            offered=(3,),
        ),
        Assumption(
            "no-master-copy",
            "several blog posts",
            (2, 2, 8),
            "forgot the fp32 master copy: 12 bytes, too few for mixed precision",
        ),
    )
}


class Answer(NamedTuple):
    """What a source answers: states by kind, what it adds, and whether it answers for this stage at all."""

    states: StateBytes
    added_bytes: Exact
    offered: bool

    @property
    def state_bytes(self) -> Exact:
        """Everything that the source calls model states; for DeepSpeed that includes the largest layer."""
        return simplest(Fraction(self.states.total) + self.added_bytes)


def find_assumption(name: str) -> Assumption:
    """The row of that name. Raises QuantityError that lists the names."""
    if name not in ASSUMPTIONS:
        near = get_close_matches(name.lower(), ASSUMPTIONS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(ASSUMPTIONS)}."
        raise QuantityError(f"There is no assumption called {name!r}; {hint}")
    return ASSUMPTIONS[name]


def ask(name: str, num_params: Number, world_size: int, stage: int, *, largest_layer_params: int = 0) -> Answer:
    """What the source called `name` answers. Bytes per rank.

    >>> ask("megatron", 7.5e9, 64, stage=1).state_bytes / 1e9
    46.40625
    >>> ask("deepspeed", 7.5e9, 64, 3, largest_layer_params=50257 * 4096).state_bytes / 1e9
    2.932785688

    For a stage that the source does not offer, its way of counting is applied all the same, and
    `offered` is False. `largest_layer_params` matters to DeepSpeed only. Buffers (EleutherAI) are not
    among the states: see `Assumption.buffer_bytes`.
    """
    row = find_assumption(name)
    states = state_parts(num_params, world_size, check_stage(stage), row.triple(stage))
    added: Exact = 0
    if row.adds_largest_layer and stage == 3 and largest_layer_params:
        added = working_set_bytes(whole_number(largest_layer_params, "largest_layer_params"), 2, 2)
    return Answer(states, added, stage in row.offered)


def answers(num_params: Number, world_size: int, *, largest_layer_params: int = 0) -> dict[str, dict[int, Answer]]:
    """Every source's answer for every stage: the table that shows how far apart they are."""
    return {
        name: {
            stage: ask(name, num_params, world_size, stage, largest_layer_params=largest_layer_params)
            for stage in STAGES
        }
        for name in ASSUMPTIONS
    }

"""ZeRO's memory and traffic, exactly: states, communication, what is left over, and what others answer.

Everything here is arithmetic on ints and Fractions and needs no torch (`zero_step` needs NumPy).
`labkit.zero.observed` watches the real thing.
"""

from labkit.quantities import QuantityError
from labkit.zero.assumptions import ASSUMPTIONS, Answer, Assumption, answers, ask, find_assumption
from labkit.zero.communication import (
    GLOO_PASSES,
    NAIVE_STAGE_1,
    RING_PASSES,
    Collective,
    comm_elements,
    ring_bytes,
    ring_elements,
    step_collectives,
)
from labkit.zero.fsdp import MIXED_PRECISION_BYTES, Fsdp, Hybrid, hybrid
from labkit.zero.ledger import LedgerRow, heaviest_rank, ledger_bytes, message_elements, tensor_ledger
from labkit.zero.offload import (
    PLACEMENTS,
    NodeTraffic,
    Offload,
    hpz_bytes,
    infinity_bandwidth,
    infinity_efficiency,
    infinity_intensity,
    infinity_working_bytes,
    offload,
    qgz_cross_node,
    zeropp_traffic,
)
from labkit.zero.optimizers import SGD, Adam, MasterCopy, Optimizer
from labkit.zero.planner import Plan, largest_model, plans_by_stage, smallest_stage
from labkit.zero.residual import (
    checkpoint_bytes,
    fused_buffer_bytes,
    paper_activation_elements,
    working_set_bytes,
)
from labkit.zero.ring import Ring
from labkit.zero.states import BYTES_PER_PARAM, STAGES, StateBytes, padded_params, state_bytes, state_parts
from labkit.zero.toy import TanhRegression, make_batches
from labkit.zero.virtual import Model, Rank, full_params, held_bytes, pad, place, zero_step

__all__ = [
    "ASSUMPTIONS",
    "BYTES_PER_PARAM",
    "GLOO_PASSES",
    "MIXED_PRECISION_BYTES",
    "NAIVE_STAGE_1",
    "PLACEMENTS",
    "RING_PASSES",
    "SGD",
    "STAGES",
    "Adam",
    "Answer",
    "Assumption",
    "Collective",
    "Fsdp",
    "Hybrid",
    "LedgerRow",
    "MasterCopy",
    "Model",
    "NodeTraffic",
    "Offload",
    "Optimizer",
    "Plan",
    "QuantityError",
    "Rank",
    "Ring",
    "StateBytes",
    "TanhRegression",
    "answers",
    "ask",
    "checkpoint_bytes",
    "comm_elements",
    "find_assumption",
    "full_params",
    "fused_buffer_bytes",
    "heaviest_rank",
    "held_bytes",
    "hpz_bytes",
    "hybrid",
    "infinity_bandwidth",
    "infinity_efficiency",
    "infinity_intensity",
    "infinity_working_bytes",
    "largest_model",
    "ledger_bytes",
    "make_batches",
    "message_elements",
    "offload",
    "pad",
    "padded_params",
    "paper_activation_elements",
    "place",
    "plans_by_stage",
    "qgz_cross_node",
    "ring_bytes",
    "ring_elements",
    "smallest_stage",
    "state_bytes",
    "state_parts",
    "step_collectives",
    "tensor_ledger",
    "working_set_bytes",
    "zero_step",
    "zeropp_traffic",
]

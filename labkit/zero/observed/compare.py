"""The same question answered by formula, by the ledger of named tensors, and by observation."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import NamedTuple

from labkit.quantities import Exact
from labkit.transformer.shape import TransformerShape
from labkit.zero.communication import ring_elements
from labkit.zero.ledger import Shapes, ledger_bytes, message_elements, row_part, tensor_ledger
from labkit.zero.observed.modes import ADAM_FP32, MODES, Mode, find_mode
from labkit.zero.observed.observation import Observation
from labkit.zero.observed.processes import run_ranks
from labkit.zero.states import StateBytes, state_parts

# Small enough to train in a blink. With 2 or 4 ranks every tensor divides evenly, with 3 none does.
SMALL = TransformerShape("small", 2, 64, 4, 192, 256, gated=True, biases=False, tied=False)


class Comparison(NamedTuple):
    """One question, three answers, and where a difference comes from."""

    question: str
    formula: Exact
    ledger: Exact
    observed: Exact
    because: str

    @property
    def agree(self) -> bool:
        return self.formula == self.ledger == self.observed


def observe(
    modes: Sequence[str],
    world_size: int,
    shape: TransformerShape = SMALL,
    micro_batches: int = 1,
    timeout_s: float = 180.0,  # three interpreters that load torch on a busy machine
    progress: Callable[[float], None] | None = None,
) -> dict[str, list[Observation]]:
    """Train in real gloo processes on this machine; for each mode what was seen, by rank.

    One start of the processes serves all modes: several seconds, most of it imports. `progress` is told the share
    that is done, from 0 to 1. Raises RankError when a rank dies or the time is over.
    """
    modes = [find_mode(mode).name for mode in modes]  # a misspelt one is found before anything starts
    options = {"modes": modes, "shape": asdict(shape), "micro_batches": micro_batches}
    by_rank = run_ranks("labkit.zero.observed.workers:observe_modes", world_size, options, timeout_s, progress)
    return {
        mode: [Observation.from_plain(observations[number]) for observations in by_rank]
        for number, mode in enumerate(modes)
    }


def compare(seen: Observation, shape: TransformerShape = SMALL) -> list[Comparison]:
    """States by kind, and elements sent, on the observed rank; `because` explains what differs."""
    mode, shapes = MODES[seen.mode], parameter_shapes(shape)
    formula = state_parts(shape.num_params, seen.world_size, mode.stage, ADAM_FP32)
    ledger = ledger_bytes(tensor_ledger(shapes, seen.world_size, seen.rank, mode.division), ADAM_FP32)
    rows = [
        _comparison(f"{kind}, bytes", answers, mode, seen, shapes)
        for kind, *answers in zip(StateBytes._fields, formula, ledger, seen.states, strict=True)
    ]
    collectives = mode.collectives(seen.micro_batches)
    message = message_elements(shapes, seen.world_size, mode.division)
    sent: list[Exact] = [
        ring_elements(shape.num_params, seen.world_size, collectives),
        ring_elements(message, seen.world_size, collectives),
        seen.sent_elements(),
    ]
    return [*rows, _comparison("sent, elements", sent, mode, seen, shapes)]


def heaviest(observations: Sequence[Observation]) -> Observation:
    """The rank that holds most: the one that decides whether training fits."""
    return max(observations, key=lambda seen: seen.states.total)


def parameter_shapes(shape: TransformerShape) -> Shapes:
    """The named parameters of the model that is trained, from the meta device."""
    from labkit.transformer.models import build_model

    return {name: tuple(param.shape) for name, param in build_model(shape).named_parameters()}


def _comparison(question: str, answers: Sequence[Exact], mode: Mode, seen: Observation, shapes: Shapes) -> Comparison:
    formula, ledger, observed = answers
    if observed != ledger:
        because = "unexplained: the ledger says otherwise"
    elif ledger == formula:
        because = "all three agree"
    else:
        because = f"{float(observed / formula) - 1:+.1%}: {_why(mode, seen, shapes)}"
    return Comparison(question, formula, ledger, observed, because)


def _why(mode: Mode, seen: Observation, shapes: Shapes) -> str:
    if mode.division == "owners":
        return "each tensor's state belongs to one rank, whole, so shares are uneven"
    N = seen.world_size
    uneven = sum(shape[0] % N != 0 for shape in shapes.values())
    empty = sum(row_part(shape, N, seen.rank) == 0 for shape in shapes.values())
    why = f"{uneven} of {len(shapes)} tensors have rows that {N} ranks cannot share evenly, so parts are padded"
    return f"{why}; this rank owns nothing of {empty}" if empty else why

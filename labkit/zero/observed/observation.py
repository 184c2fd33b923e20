"""What was seen on one rank, as plain data that can travel between processes."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from labkit.quantities import Exact, simplest
from labkit.zero.communication import RING_PASSES
from labkit.zero.states import StateBytes


@dataclass(frozen=True)
class Observation:
    """Bytes that one rank holds after a step, and the collectives that it took part in during that step."""

    mode: str
    rank: int
    world_size: int
    micro_batches: int
    states: StateBytes
    calls: tuple[tuple[str, int, int], ...]  # (operation, elements of the message, bytes per element)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Observation":
        """Back from JSON, which knows no tuples."""
        calls = tuple((operation, elements, size) for operation, elements, size in plain["calls"])
        return cls(**{**plain, "states": StateBytes(*plain["states"]), "calls": calls})

    @property
    def messages(self) -> dict[str, int]:
        """Elements of all messages by operation: an all-gather counts what it gathers."""
        totals: Counter[str] = Counter()
        for operation, elements, _ in self.calls:
            totals[operation] += elements
        return dict(totals)

    def sent_elements(self, passes: Mapping[str, int] = RING_PASSES) -> Exact:
        """Elements that a ring makes this rank send for these messages; a backend may do otherwise."""
        return self._sent(passes, weigh=False)

    def sent_bytes(self, passes: Mapping[str, int] = RING_PASSES) -> Exact:
        """The same in bytes, each message in its own element type."""
        return self._sent(passes, weigh=True)

    def _sent(self, passes: Mapping[str, int], weigh: bool) -> Exact:
        total = sum(passes[operation] * elements * (size if weigh else 1) for operation, elements, size in self.calls)
        return simplest(total * Fraction(self.world_size - 1, self.world_size))

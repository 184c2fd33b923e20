"""What a router believes about the length of an output, which nobody knows before its last token.

A belief is the total number of output tokens. It stands until the request either ends or outlives it, and in the
second case a new one is made. Requests are numbered by their place in the trace.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Sequence
from typing import Any

from labkit.router._arguments import RequestError, whole

_MASK = 2**64 - 1


class LengthEstimate(ABC):
    """How believed lengths are made. One object serves one simulation at a time; `begin` starts it afresh."""

    name: str = ""
    #: whether `observe` wants to hear of every output that has ended
    learns: bool = False

    @abstractmethod
    def begin(self, outputs: Sequence[int]) -> list[int]:
        """The first belief about each request, in output tokens; 0 for "ask `outlived` when it is needed"."""

    def outlived(self, request: int, num_generated: int) -> int:
        """A new belief, above `num_generated`, for a request that has gone on beyond the old one.

        This default adds a tenth to what there is, as LightLLM's router does when it knows nothing better.
        """
        return num_generated + max(1, num_generated // 10)

    def observe(self, num_output: int) -> None:  # noqa: B027  # nothing to learn is a fine default
        """A request has ended with this many output tokens."""


class TrueLengths(LengthEstimate):
    """An oracle: every length is known at arrival. The bound that every other estimate is measured against."""

    name = "true lengths"

    def begin(self, outputs: Sequence[int]) -> list[int]:
        return list(outputs)


class DeclaredLengths(LengthEstimate):
    """What the caller declares: one number for all (like `max_tokens`), or one per request.

    Above the truth it wastes memory, and the request ends early; below it, the request outlives it and
    somebody may have to be evicted.
    """

    def __init__(self, declared: Any) -> None:
        """declared: an int of 1 or more, or a sequence of them, one per request of the trace."""
        self._each: Sequence[int] | None = None
        if hasattr(declared, "__len__"):
            self._each = [whole(each, f"declared[{i}]", at_least=1) for i, each in enumerate(declared)]
            self.name = "declared lengths"
        else:
            self._all = whole(declared, "declared", at_least=1)
            self.name = f"every output declared {self._all:,}"

    def begin(self, outputs: Sequence[int]) -> list[int]:
        if self._each is None:
            return [self._all] * len(outputs)
        if len(self._each) != len(outputs):
            raise RequestError(
                f"declared has {len(self._each)} lengths for {len(outputs)} requests; one each is needed."
            )
        return list(self._each)


class SampledLengths(LengthEstimate):
    """A draw from the lengths of the last `window` outputs, given that it is longer than what there is.

    The idea of the Past-Future scheduler (Gong et al., ASPLOS 2025, arXiv 2507.10150). The paper draws anew at each
    scheduling; here a draw stands until it is outlived, which has the same distribution at the moment of the draw,
    keeps the future a calendar, and makes a run repeatable: a draw depends on the seed, the request and its length
    so far, and on the outputs that have ended, never on how often somebody asked.
    """

    learns = True

    def __init__(self, seed: int = 0, window: int = 1000, first_guess: int = 256) -> None:
        """first_guess: the belief in output tokens while no output has ended yet."""
        self.name = f"sampled from the last {window:,} outputs"
        self._seed = whole(seed, "seed")
        self._window = whole(window, "window", at_least=1)
        self._first_guess = whole(first_guess, "first_guess", at_least=1)
        self._recent: deque[int] = deque()
        self._ascending: list[int] = []

    def begin(self, outputs: Sequence[int]) -> list[int]:
        self._recent.clear()
        self._ascending.clear()
        return [0] * len(outputs)

    def outlived(self, request: int, num_generated: int) -> int:
        shorter = bisect_right(self._ascending, num_generated)
        num_longer = len(self._ascending) - shorter
        if num_longer:
            return self._ascending[shorter + (_hash64(self._seed, request, num_generated) * num_longer >> 64)]
        if num_generated < self._first_guess:
            return self._first_guess
        return super().outlived(request, num_generated)

    def observe(self, num_output: int) -> None:
        self._recent.append(num_output)
        insort(self._ascending, num_output)
        if len(self._recent) > self._window:
            del self._ascending[bisect_right(self._ascending, self._recent.popleft()) - 1]


def _hash64(*numbers: int) -> int:
    """64 well mixed bits (the finalizer of splitmix64, Steele et al. 2014), the same on every machine."""
    mixed = 0
    for number in numbers:
        mixed = (mixed + number + 0x9E3779B97F4A7C15) & _MASK
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        mixed ^= mixed >> 31
    return mixed

"""How long a step takes: linear in requests and tokens, in whole nanoseconds, and fitted to measurements.

Whole numbers, because two events that coincide must go on coinciding after a million steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labkit.router import RequestError
from labkit.router._arguments import whole

_MOST_NS = 10**12  # a quarter of an hour for one token: nobody means that


@dataclass(frozen=True, slots=True)
class LinearCost:
    """Nanoseconds of a decode step and of a prefill.

    A decode step of B requests with S tokens in the cache (counted before the step) takes
    decode_base_ns + decode_per_request_ns * B + decode_per_token_ns * S: weights are read once, each request adds its
    row, each cached token is read by attention. A prefill of T prompt tokens takes prefill_base_ns +
    prefill_per_token_ns * T. The constants are made up, of the size of a 7B model on one GPU; `fit` replaces them.
    """

    decode_base_ns: int = 12_000_000
    decode_per_request_ns: int = 20_000
    decode_per_token_ns: int = 260
    prefill_base_ns: int = 8_000_000
    prefill_per_token_ns: int = 70_000

    def __post_init__(self) -> None:
        for name in self.__slots__:
            whole(getattr(self, name), name, at_most=_MOST_NS)
        if not self.decode_base_ns + self.decode_per_request_ns:
            raise RequestError(
                "a decode step that takes no time never ends a simulation; decode_base_ns is at least 1."
            )

    def decode_ns(self, num_requests: int, num_tokens: int, num_steps: int = 1) -> int:
        """`num_steps` decode steps with nobody joining or leaving: the cache grows by num_requests each step.

        >>> LinearCost().decode_ns(num_requests=2, num_tokens=100, num_steps=2)   # 12,066,000 + 12,066,520
        24132520
        """
        first = self.decode_base_ns + self.decode_per_request_ns * num_requests + self.decode_per_token_ns * num_tokens
        growth = self.decode_per_token_ns * num_requests
        return num_steps * first + growth * (num_steps * (num_steps - 1) // 2)

    def prefill_ns(self, num_tokens: int) -> int:
        """One prefill of `num_tokens` prompt tokens, whosever they are."""
        return self.prefill_base_ns + self.prefill_per_token_ns * num_tokens

    def steps_to_cover(self, num_requests: int, num_tokens: int, gap_ns: int) -> int:
        """The fewest decode steps (at least 1) that take `gap_ns` or longer: the inverse of `decode_ns`, exact.

        >>> LinearCost().steps_to_cover(num_requests=2, num_tokens=100, gap_ns=24_132_521)
        3
        """
        first = self.decode_ns(num_requests, num_tokens)
        growth = self.decode_per_token_ns * num_requests
        if not growth:
            return max(1, -(-gap_ns // first))
        # n * first + growth * n(n-1)/2 >= gap; isqrt rounds down, so the answer is this n or the next.
        b = 2 * first - growth
        steps = max(1, (isqrt(b * b + 8 * growth * gap_ns) - b) // (2 * growth))
        while self.decode_ns(num_requests, num_tokens, steps) < gap_ns:
            steps += 1
        return steps

    @classmethod
    def fit(cls, decode: ArrayLike, prefill: ArrayLike) -> LinearCost:
        """The cost that fits measurements best: least squares with no negative constant, rounded to nanoseconds.

        decode: rows (num_requests, num_tokens, ns), at least three different ones. prefill: rows (num_tokens, ns), at
        least two. Raises RequestError for too few rows, or rows that do not tell the constants apart.
        """
        return cls(*_fit(_rows(decode, 3, "decode")), *_fit(_rows(prefill, 2, "prefill")))

    def relative_errors(self, decode: ArrayLike, prefill: ArrayLike) -> tuple[float, float]:
        """The largest |modelled - measured| / measured among the decode rows and among the prefill rows."""
        steps, prefills = _rows(decode, 3, "decode", least=1), _rows(prefill, 2, "prefill", least=1)
        modelled_steps = (
            self.decode_base_ns + self.decode_per_request_ns * steps[:, 0] + self.decode_per_token_ns * steps[:, 1]
        )
        modelled_prefills = self.prefill_base_ns + self.prefill_per_token_ns * prefills[:, 0]
        return _worst(modelled_steps, steps[:, 2]), _worst(modelled_prefills, prefills[:, 1])


@dataclass(frozen=True)
class BatchLimits:
    """At most so many requests running, and prompt tokens in one prefill; one longer prompt may go alone."""

    max_running: int = 1000
    max_prefill_tokens: int = 16_384

    def __post_init__(self) -> None:
        whole(self.max_running, "max_running", at_least=1)
        whole(self.max_prefill_tokens, "max_prefill_tokens", at_least=1)


def _rows(measured: ArrayLike, width: int, name: str, least: int | None = None) -> NDArray[np.float64]:
    columns = "(num_requests, num_tokens, ns)" if width == 3 else "(num_tokens, ns)"
    least = width if least is None else least
    try:
        rows = np.asarray(measured, np.float64)
    except (TypeError, ValueError):
        raise RequestError(f"{name} measurements are rows of {columns}, all numbers.") from None
    if rows.ndim != 2 or rows.shape[1] != width or len(rows) < least:
        raise RequestError(f"{name} measurements are {least} or more rows of {columns}; got shape {rows.shape}.")
    if not np.isfinite(rows).all() or (rows < 0).any() or (rows[:, -1] <= 0).any():
        raise RequestError(f"{name} measurements have a negative, infinite or NaN number, or a time of 0.")
    return rows


def _fit(rows: NDArray[np.float64]) -> list[int]:
    """Intercept and slopes >= 0 with the least squared error, by trying each set of constants that may be above 0."""
    design = np.column_stack([np.ones(len(rows)), rows[:, :-1]])
    if np.linalg.matrix_rank(design / np.maximum(design.max(axis=0), 1)) < design.shape[1]:
        raise RequestError("the measurements do not tell the constants apart: vary every column independently.")
    columns = range(design.shape[1])
    subsets = [kept for n in range(1, len(columns) + 1) for kept in combinations(columns, n)]
    fits = [_least_squares(design, rows[:, -1], kept) for kept in subsets]
    _, constants = min((fit for fit in fits if (fit[1] >= 0).all()), key=lambda fit: fit[0])
    return [round(float(constant)) for constant in constants]


def _least_squares(
    design: NDArray[np.float64], measured: NDArray[np.float64], kept: Sequence[int]
) -> tuple[float, NDArray[np.float64]]:
    constants = np.zeros(design.shape[1])
    constants[list(kept)] = np.linalg.lstsq(design[:, list(kept)], measured, rcond=None)[0]
    return float(((design @ constants - measured) ** 2).sum()), constants


def _worst(modelled: NDArray[Any], measured: NDArray[Any]) -> float:
    return float(np.abs(modelled / measured - 1).max())

"""What the admitted requests will hold at every step to come, in absolute step time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labkit.router._arguments import RequestError

# One cell a step, 8 bytes each: a request that says more than this is a mistake, not a workload.
MAX_LEFT = 10_000_000

# A slice of a table costs a third of making the same numbers.
_RAMP_LEN = 1 << 16
_RAMP: NDArray[np.int64] = np.arange(_RAMP_LEN)


class OccupancyCalendar:
    """Tokens held at each future step; a question and an admission each touch one slice of it.

    >>> calendar = OccupancyCalendar()
    >>> calendar.add(0, run=5, left=4)                       # 5, 6, 7, 8, 9 tokens at steps 0 to 4
    >>> calendar.peak_with(2, run=4, left=2)                 # 4, 5, 6 from step 2: 9 + 6 at step 4
    (15, 4)
    >>> calendar.remove(3, run=8, left=1)                    # it ended early: gone from step 3 on
    >>> calendar.tokens_at(2), calendar.tokens_at(3)
    (7, 0)

    One step turns (r, l) into (r + 1, l - 1): in absolute time an admitted request is a fixed ramp, so time passes
    at no cost, and nothing is ever sorted. Steps must not go backwards: cells before the latest one asked about may
    be dropped. Arguments are not checked (this is the inner loop of a simulation) except for left <= MAX_LEFT.
    """

    # A cell keeps tokens + step, not tokens: a candidate's ramp is then a constant, and its peak over any
    # slice is the slice's maximum plus that constant. No temporary array, no addition per question.
    __slots__ = ("_cells", "_end", "_origin", "_size")

    def __init__(self, num_cells: int = 4096) -> None:
        self._origin = 0  # the step of cell 0
        self._size = num_cells
        self._end = 0  # nobody holds anything from this step on
        self._cells: NDArray[np.int64] = np.arange(num_cells)

    def peak_with(self, step: int, run: int, left: int) -> tuple[int, int]:
        """The largest occupancy during the life of a request that starts at `step`, itself included, and when.

        Where everybody else stays within the capacity anyway, this decides an admission.
        """
        window = self._window(step, left)
        at = int(window.argmax())
        return window.item(at) + run - step, step + at

    def add_within(self, limit: int, step: int, run: int, left: int) -> tuple[int, int]:
        """Add the request if its `peak_with` is at most `limit`; that peak and its step, in either case."""
        first = step - self._origin
        last = first + left
        if last >= self._size:
            self._make_room(step, left)
            first, last = 0, left
        window = self._cells[first : last + 1]
        at = int(window.argmax())
        peak = window.item(at) + run - step
        if peak <= limit:
            end = run + left + 1
            window += _RAMP[run:end] if end <= _RAMP_LEN else np.arange(run, end)
            if step + left >= self._end:
                self._end = step + left + 1
        return peak, step + at

    def add(self, step: int, run: int, left: int) -> None:
        """Let a request hold run, run + 1, … run + left tokens at steps step … step + left."""
        window = self._window(step, left)
        window += np.arange(run, run + left + 1)
        self._end = max(self._end, step + left + 1)

    def remove(self, step: int, run: int, left: int) -> None:
        """Take away what is left of an admitted request: run … run + left at steps step … step + left."""
        window = self._window(step, left)
        window -= np.arange(run, run + left + 1)

    def tokens_at(self, step: int) -> int:
        """Tokens held at `step` by those added so far."""
        cell = step - self._origin
        return int(self._cells[cell]) - step if 0 <= cell < self._size else 0

    def peak_from(self, step: int) -> tuple[int, int]:
        """The largest occupancy from `step` on, and the first step that has it; (0, step) when nobody is left."""
        if step >= self._end:
            return 0, step
        tokens = self._cells[step - self._origin : self._end - self._origin] - np.arange(step, self._end)
        at = int(tokens.argmax())
        return int(tokens[at]), step + at

    def _window(self, step: int, left: int) -> NDArray[np.int64]:
        """The cells of steps step … step + left."""
        first = step - self._origin
        if first + left >= self._size:
            self._make_room(step, left)
            first = 0
        return self._cells[first : first + left + 1]

    def _make_room(self, step: int, left: int) -> None:
        """Drop the cells before `step`, and have at least left + 1 after it. Amortized O(1) a step."""
        if left > MAX_LEFT:
            raise RequestError(f"left is {left}; a calendar has one cell a step, and {MAX_LEFT:,} are the most.")
        kept = self._cells[step - self._origin :]
        self._size = max(self._size, 2 * (left + 1))
        self._cells = np.arange(step, step + self._size)
        self._cells[: len(kept)] = kept
        self._origin = step

"""Requests played through a request table, decode step by decode step: what memory holds, and where it lies.

No clock and no arrivals (`labkit.serving` has both): all requests wait at the beginning and are
started first come first served. Enough to compare storage schemes and to watch runs disappear.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labkit.kv_cache._arguments import count_argument
from labkit.kv_cache.pool_state import count_runs
from labkit.kv_cache.table import RequestTable

# (tokens held now, tokens still to append), as in labkit.router
RunLeft = tuple[int, int]


@dataclass(frozen=True)
class Replay:
    """What was counted. The first two have one value per decode step, the others one per started request."""

    num_tokens: NDArray[np.int64]
    num_reserved: NDArray[np.int64]
    prompt_lens: NDArray[np.int64]
    prompt_runs: NDArray[np.int64]
    num_evictions: int

    @property
    def used_share(self) -> float:
        """Of the reserved slots, the share that holds a token, every decode step weighted equally."""
        return float((self.num_tokens / self.num_reserved).mean())

    @property
    def prompts_in_one_run(self) -> float:
        """Share of prompts whose slots are consecutive."""
        return float((self.prompt_runs == 1).mean())

    @property
    def mean_run_len(self) -> float:
        """Mean length of a run of a prompt's slots, in tokens."""
        return float(self.prompt_lens.sum() / self.prompt_runs.sum())


def replay(
    table: RequestTable,
    requests: Sequence[tuple[int, int]],
    admit: Callable[[list[RunLeft], RunLeft], bool] = lambda running, candidate: True,
) -> Replay:
    """Run (prompt, output) requests to the end and count.

    A request of prompt p and output g holds p slots when it starts and appends g - 1 tokens: the last
    one is sampled and never cached. `admit(running, candidate)` decides over (held, left) pairs, for
    example `lambda running, new: labkit.router.can_admit(running, new, capacity)`. When a decode step
    finds no slots, the request started last is evicted and waits at the head with what it had, to be
    computed again. ValueError for a request that can never run.
    """
    waiting = deque(
        (count_argument(p, "A prompt"), count_argument(g, "An output", at_least=1) - 1) for p, g in requests
    )
    running: dict[int, RunLeft] = {}  # row -> (held, left), in the order of their starts
    steps: list[tuple[int, int]] = []
    prompts: list[tuple[int, int]] = []
    num_evictions = 0
    while waiting or running:
        _start_from_head(table, waiting, running, prompts, admit)
        _finish_done(table, running)
        while running and not table.append(list(running)):
            row, request = running.popitem()
            table.finish(row)
            if not running:
                raise ValueError(f"A request at {request[0]} tokens with {request[1]} to come does not fit alone.")
            waiting.appendleft(request)
            num_evictions += 1
        running.update({row: (held + 1, left - 1) for row, (held, left) in running.items()})
        if running:
            steps.append((table.num_tokens, table.num_reserved))
        _finish_done(table, running)
    per_step, per_prompt = np.array(steps, np.int64).reshape(-1, 2), np.array(prompts, np.int64).reshape(-1, 2)
    return Replay(per_step[:, 0], per_step[:, 1], per_prompt[:, 0], per_prompt[:, 1], num_evictions)


def _start_from_head(
    table: RequestTable,
    waiting: deque[RunLeft],
    running: dict[int, RunLeft],
    prompts: list[tuple[int, int]],
    admit: Callable[[list[RunLeft], RunLeft], bool],
) -> None:
    while waiting and admit(list(running.values()), waiting[0]):
        row = table.start(waiting[0][0])
        if row is None:
            break
        prompts.append((waiting[0][0], count_runs(table.slots(row))))
        running[row] = waiting.popleft()
    if waiting and not running:
        raise ValueError(
            f"A request of {waiting[0][0]} tokens with {waiting[0][1]} to come is refused by an empty pool."
        )


def _finish_done(table: RequestTable, running: dict[int, RunLeft]) -> None:
    for row in [row for row, (_, left) in running.items() if left == 0]:
        table.finish(row)
        del running[row]

"""The schemes before tokens: blocks, and the maximum reserved at once; and what each of them wastes.

All three are one idea with three units: a request owns whole units of `block` slots. Reserving the
maximum is a block as long as a request can become; the token table is a block of one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from labkit.kv_cache._arguments import (
    CountError,
    count_argument,
    integers_argument,
    live_row,
    prompt_argument,
    rows_argument,
)
from labkit.kv_cache.allocator import Slots, TokenAllocator
from labkit.kv_cache.table import NO_REQUEST, TokenTable


def wasted_slots(lengths: ArrayLike, reserve: tuple) -> int:
    """Slots reserved and not used by requests that hold `lengths` tokens each.

    >>> wasted_slots([5, 17], ("max", 100))                 # 95 + 83
    178
    >>> wasted_slots([5, 17], ("block", 16))                # 11 + 15
    26
    >>> wasted_slots([5, 17], ("token",))
    0

    CountError for a negative length, one that a reserved maximum cannot hold, or another `reserve`.
    """
    tokens = integers_argument(lengths, "lengths", CountError)
    count_argument(int(tokens.min(initial=0)), "A length")
    longest = count_argument(int(tokens.max(initial=0)), "A length")
    match reserve:
        case ("token",):
            return 0
        case ("block", size):
            block = count_argument(size, "A block", at_least=1)
            return int((-tokens % block).sum())
        case ("max", size):
            maximum = count_argument(size, "The reserved maximum", at_least=1)
            if longest > maximum:
                raise CountError(f"A request of {longest} tokens does not fit in a reservation of {maximum}.")
            return maximum * len(tokens) - int(tokens.sum())
    raise CountError(f'reserve is ("max", n), ("block", n) or ("token",); got {reserve!r}.')


class BlockTable:
    """TokenTable's interface over blocks of `block` slots: a request owns whole blocks.

    >>> table = BlockTable(max_requests=4, max_len=64, num_slots=64, block=16)
    >>> row = table.start(prompt_len=17)
    >>> table.num_tokens, table.num_reserved                # 17 tokens in 2 * 16 slots
    (17, 32)

    Inside it is a token table whose tokens are blocks. The num_slots % block slots at the end of the pool
    are never used.
    """

    def __init__(self, max_requests: int, max_len: int, num_slots: int, block: int) -> None:
        self.block = count_argument(block, "A block", at_least=1)
        self.max_len = count_argument(max_len, "max_len")
        num_blocks = count_argument(num_slots, "num_slots") // self.block
        self._blocks = TokenTable(max_requests, self._blocks_for(self.max_len), TokenAllocator(num_blocks))
        self._lengths = np.full(self._blocks.max_requests, NO_REQUEST, np.int64)

    @property
    def num_tokens(self) -> int:
        """Tokens cached over all requests."""
        return int(self._lengths[self._lengths != NO_REQUEST].sum())

    @property
    def num_reserved(self) -> int:
        """Slots taken from the pool, used or not."""
        return self._blocks.num_tokens * self.block

    def start(self, prompt_len: int) -> int | None:
        """As TokenTable.start."""
        prompt_len = prompt_argument(prompt_len, self.max_len)
        row = self._blocks.start(self._blocks_for(prompt_len))
        if row is not None:
            self._lengths[row] = prompt_len
        return row

    def append(self, rows: ArrayLike) -> bool:
        """As TokenTable.append; only a row whose last block is full needs a new one."""
        numbers = rows_argument(rows, self._lengths, self.max_len)
        full = self._lengths[numbers] == self._reserved_lengths(numbers)
        if not self._blocks.append(numbers[full]):
            return False
        self._lengths[numbers] += 1
        return True

    def finish(self, row: int) -> None:
        """As TokenTable.finish."""
        row = live_row(row, self._lengths)
        self._blocks.finish(row)
        self._lengths[row] = NO_REQUEST

    def slots(self, row: int) -> Slots:
        """As TokenTable.slots: token i lies at place i % block of block i // block."""
        row = live_row(row, self._lengths)
        blocks = self._blocks.slots(row)
        return (blocks[:, None] * self.block + np.arange(self.block)).reshape(-1)[: self._lengths[row]]

    def _blocks_for(self, num_tokens: int) -> int:
        return -(-num_tokens // self.block)

    def _reserved_lengths(self, rows: Slots) -> Slots:
        return -(-self._lengths[rows] // self.block) * self.block


class ReserveMaxTable(BlockTable):
    """Every request reserves max_len slots in one run when it starts, whatever it will use.

    >>> table = ReserveMaxTable(max_requests=4, max_len=16, num_slots=40)
    >>> [table.start(3), table.start(3), table.start(3)]    # 40 // 16 = 2 requests
    [0, 1, None]
    """

    def __init__(self, max_requests: int, max_len: int, num_slots: int) -> None:
        super().__init__(max_requests, max_len, num_slots, block=max_len)

    def _blocks_for(self, num_tokens: int) -> int:
        return 1  # an empty prompt reserves the maximum too

    def _reserved_lengths(self, rows: Slots) -> Slots:
        return np.full(len(rows), self.max_len)

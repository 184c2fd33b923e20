"""Collectives over virtual ranks, really passed around a ring, with every byte written down.

A list of N arrays stands for N ranks; item r is what rank r has. Nothing is computed from a formula here:
`sent_bytes` is the sum of the chunks that went from a rank to its neighbour.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from labkit.quantities import QuantityError, whole_number

Array = NDArray[np.floating]


class Ring:
    """N ranks in a circle, each sending to the next. No method changes the arrays that it is given.

    >>> ring = Ring(2)
    >>> ring.reduce_scatter([np.array([1.0, 2.0]), np.array([10.0, 20.0])])
    [array([11.]), array([22.])]
    >>> ring.sent_bytes  # one float64 each
    [8, 8]
    >>> ring.calls
    [('reduce_scatter', 2)]
    """

    def __init__(self, world_size: int) -> None:
        self.world_size = whole_number(world_size, "world_size")
        self.sent_bytes: list[int] = [0] * self.world_size  # by rank, since the ring was made
        self.calls: list[tuple[str, int]] = []  # (operation, elements of the whole message)

    def all_reduce(self, arrays: Sequence[Array]) -> list[Array]:
        """The sum of all ranks' arrays, on every rank. Any length: chunks may differ by one element."""
        self._record("all_reduce", arrays, arrays[0].size)
        return self._gather(self._reduce(arrays))

    def reduce_scatter(self, arrays: Sequence[Array]) -> list[Array]:
        """On rank r, the sum of everybody's r-th part. The length must divide: pad first."""
        self._record("reduce_scatter", arrays, arrays[0].size)
        if arrays[0].size % self.world_size:
            raise QuantityError(
                f"reduce_scatter gives {self.world_size} ranks equal parts, and {arrays[0].size} elements "
                f"do not divide: pad to a multiple of {self.world_size}."
            )
        return self._reduce(arrays)

    def all_gather(self, shards: Sequence[Array]) -> list[Array]:
        """All ranks' shards in the order of the ranks, on every rank."""
        self._record("all_gather", shards, self.world_size * shards[0].size)
        return self._gather(shards)

    def broadcast(self, array: Array, source: int) -> list[Array]:
        """A copy of rank `source`'s array on every rank; the last one in the ring sends nothing."""
        self.calls.append(("broadcast", array.size))
        for hop in range(self.world_size - 1):
            self._send((source + hop) % self.world_size, array)
        return [array.copy() for _ in range(self.world_size)]

    def _record(self, operation: str, arrays: Sequence[Array], elements: int) -> None:
        """Write the call down. Raises QuantityError unless there is one array a rank, all of one length."""
        shapes = {array.shape for array in arrays}
        if len(arrays) != self.world_size or len(shapes) != 1 or arrays[0].ndim != 1:
            raise QuantityError(
                f"{operation} needs {self.world_size} flat arrays of one length, one for each rank, "
                f"got {len(arrays)} of the shapes {sorted(shapes)}."
            )
        self.calls.append((operation, elements))

    def _send(self, source: int, chunk: Array) -> None:
        self.sent_bytes[source] += chunk.nbytes

    def _reduce(self, arrays: Sequence[Array]) -> list[Array]:
        """N-1 hops; in each, a rank passes one partial sum on. Rank r ends with the sum of part r."""
        N = self.world_size
        parts = [np.array_split(array, N) for array in arrays]  # parts[rank][part]
        for hop in range(N - 1):
            sums = []
            for rank in range(N):
                part = (rank - 1 - hop) % N
                self._send(rank, parts[rank][part])
                receiver = (rank + 1) % N
                sums.append((receiver, part, parts[receiver][part] + parts[rank][part]))
            for receiver, part, total in sums:  # all sends of a hop happen at once
                parts[receiver][part] = total
        return [parts[rank][rank].copy() for rank in range(N)]

    def _gather(self, shards: Sequence[Array]) -> list[Array]:
        """N-1 hops; in each, a rank passes on the shard that it received last."""
        N = self.world_size
        for hop in range(N - 1):
            for rank in range(N):
                self._send(rank, shards[(rank - hop) % N])
        whole = np.concatenate(shards)
        return [whole.copy() for _ in range(N)]

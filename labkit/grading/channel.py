"""Frames over a socket between the grader and a sandbox: eight bytes of length, then the bytes.

Both sides cap what they take. What comes out of a sandbox is a learner's word: data that is judged, never a verdict.
"""

import os
import select
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

HEADER = struct.Struct("<Q")
CHUNK_BYTES = 2**20


class TooLarge(ValueError):
    """A frame that is longer than agreed."""


@dataclass(frozen=True)
class Pipes:
    """A pipe to read and one to write, as one channel: what a container's standard input and output are."""

    reader: int
    writer: int

    def fileno(self) -> int:
        """To wait for what comes in."""
        return self.reader

    def recv(self, num_bytes: int) -> bytes:
        """As a socket's."""
        return os.read(self.reader, num_bytes)

    def sendall(self, data: bytes) -> None:
        """As a socket's."""
        view = memoryview(data)
        while view:
            view = view[os.write(self.writer, view) :]


Channel = socket.socket | Pipes


def send_frame(channel: Channel, data: bytes) -> None:
    """Write one frame; blocks until it is taken."""
    channel.sendall(HEADER.pack(len(data)))
    channel.sendall(data)


def receive_frame(
    channel: Channel,
    max_bytes: int,
    deadline: float | None = None,
    watch: Callable[[], None] | None = None,
    pause_s: float = 0.1,
) -> bytes:
    """Read one frame; `watch` is called now and then while waiting, and may raise.

    Raises:
        EOFError: the other side is gone.
        TimeoutError: the deadline (time.monotonic) is over.
        TooLarge: the frame announces more than `max_bytes`.
    """
    (num_bytes,) = HEADER.unpack(_receive(channel, HEADER.size, deadline, watch, pause_s))
    if num_bytes > max_bytes:
        raise TooLarge(f"a frame of {num_bytes:,} bytes; at most {max_bytes:,} are taken")
    return _receive(channel, num_bytes, deadline, watch, pause_s)


def _receive(
    channel: Channel, num_bytes: int, deadline: float | None, watch: Callable[[], None] | None, pause_s: float
) -> bytes:
    parts: list[bytes] = []
    while num_bytes:
        _wait(channel, deadline, watch, pause_s)
        try:
            part = channel.recv(min(num_bytes, CHUNK_BYTES))
        except ConnectionError as error:
            raise EOFError from error
        if not part:
            raise EOFError
        parts.append(part)
        num_bytes -= len(part)
    return b"".join(parts)


def _wait(channel: Channel, deadline: float | None, watch: Callable[[], None] | None, pause_s: float) -> None:
    if deadline is None and watch is None:
        return
    while True:
        left_s = pause_s if deadline is None else deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        if select.select([channel], [], [], min(pause_s, left_s))[0]:
            return
        if watch is not None:
            watch()

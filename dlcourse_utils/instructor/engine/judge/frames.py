"""Frames: how the judge and the student's process talk over a socket.

A frame is a header of JSON and raw buffers: three big-endian 64-bit sizes (header, number of buffers, all buffers), the header, the size of each
buffer, the buffers. Nothing is ever unpickled. Every size is bounded before memory is taken for it, and what is no frame ends the connection.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any

#: Bytes of one frame's header, and of its buffers together.
MOST_HEADER, MOST_BYTES = 8 * 2**20, 256 * 2**20
MOST_BUFFERS = 10_000

_SIZES = struct.Struct("!QQQ")


class FrameError(Exception):
    """What came is no frame, or does not mean anything here."""


class Gone(Exception):
    """The other side has ended, or did not answer in time; the message says which."""


def pack(header: Any, buffers: Sequence[bytes]) -> bytes:
    """The bytes of a frame.

    Raises:
        FrameError: it is larger than a frame may be.
    """
    text = json.dumps(header, separators=(",", ":")).encode()
    size = sum(map(len, buffers))
    if len(text) > MOST_HEADER or len(buffers) > MOST_BUFFERS or size > MOST_BYTES:
        raise FrameError(f"too much to send at once: {len(text) + size} bytes in {len(buffers)} parts")
    lengths = struct.pack(f"!{len(buffers)}Q", *map(len, buffers))
    return b"".join([_SIZES.pack(len(text), len(buffers), size), text, lengths, *buffers])


def unpack(header: bytes, lengths: bytes, data: memoryview) -> tuple[Any, list[memoryview]]:
    """A frame's parts, read.

    Raises:
        FrameError: they do not belong together, or the header is no JSON.
    """
    try:
        value = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"the header is no JSON: {type(error).__name__}") from None
    sizes = struct.unpack(f"!{len(lengths) // 8}Q", lengths)
    if sum(sizes) != len(data):
        raise FrameError("the sizes of the buffers do not add up")
    buffers, start = [], 0
    for size in sizes:
        buffers.append(data[start : start + size])
        start += size
    return value, buffers


class Channel:
    """Frames over a connected stream socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def send(self, header: Any, buffers: Sequence[bytes]) -> None:
        """Send one frame.

        Raises:
            Gone: nobody reads.
            FrameError: it is too large.
        """
        data = pack(header, buffers)
        try:
            self._socket.sendall(data)
        except OSError:
            raise Gone("the process ended") from None

    def receive(self, seconds: float | None) -> tuple[Any, list[memoryview]]:
        """The next frame; ``seconds`` is how long to wait for all of it.

        Raises:
            Gone: the other side ended, or time did.
            FrameError: what came is no frame.
        """
        ends = None if seconds is None else time.monotonic() + seconds
        header, count, size = _SIZES.unpack(self._read(_SIZES.size, ends))
        if header > MOST_HEADER or count > MOST_BUFFERS or size > MOST_BYTES:
            raise FrameError("a frame larger than any may be")
        text = bytes(self._read(header, ends))
        lengths = bytes(self._read(8 * count, ends))
        return unpack(text, lengths, memoryview(self._read(size, ends)))

    def _read(self, size: int, ends: float | None) -> bytearray:
        data = bytearray(size)
        view, got = memoryview(data), 0
        while got < size:
            if ends is not None and not select.select([self._socket], [], [], max(0.0, ends - time.monotonic()))[0]:
                raise Gone("no answer in time")
            try:
                more = self._socket.recv_into(view[got:])
            except OSError:
                more = 0
            if not more:
                raise Gone("the process ended")
            got += more
        return data

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

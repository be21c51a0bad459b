"""Frames: how the judge and the student's process talk over a socket.

A frame is three big-endian 64-bit sizes (header, number of buffers, all buffers), a header of JSON, the size of each buffer, and the raw buffers,
each filled up to a multiple of 16 bytes. Nothing is ever unpickled. Every size is bounded before memory is taken for it, and what is no frame ends
the connection.
"""

from __future__ import annotations

import contextlib
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
#: Bytes that are taken from the socket in one go: a small frame whole.
_AT_ONCE = 1 << 16
_ALIGNED = 16
#: Bytes, or a view of an array's.
Buffer = bytes | memoryview

_SIZES = struct.Struct("!QQQ")
_encode = json.JSONEncoder(separators=(",", ":")).encode


class FrameError(Exception):
    """What came is no frame, or does not mean anything here."""


class Gone(Exception):
    """The other side has ended, or did not answer in time; the message says which."""


def pack(header: Any, buffers: Sequence[Buffer]) -> list[Buffer]:
    """The bytes of a frame, in parts; those of large buffers are not copied.

    Raises:
        FrameError: it is larger than a frame may be.
    """
    text = _encode(header).encode()
    sizes = [len(data) for data in buffers]
    if len(text) > MOST_HEADER or len(buffers) > MOST_BUFFERS or sum(sizes) > MOST_BYTES:
        raise FrameError(f"too much to send at once: {len(text) + sum(sizes)} bytes in {len(buffers)} parts")
    parts: list[Buffer] = []
    small: list[Buffer] = [_SIZES.pack(len(text), len(buffers), sum(map(_padded, sizes))), text, struct.pack(f"!{len(sizes)}Q", *sizes)]
    for data, size in zip(buffers, sizes, strict=True):
        if size < _AT_ONCE:
            small += [data, bytes(_padded(size) - size)]
        else:
            parts += [b"".join(small), data]
            small = [bytes(_padded(size) - size)]
    return [*parts, b"".join(small)]


def _padded(size: int) -> int:
    """So that each buffer begins where numbers of any kind may."""
    return -(-size // _ALIGNED) * _ALIGNED


def unpack(header: bytes | memoryview, lengths: bytes | memoryview, data: memoryview) -> tuple[Any, list[memoryview]]:
    """A frame's parts, read.

    Raises:
        FrameError: they do not belong together, or the header is no JSON.
    """
    try:
        value = json.loads(str(header, "utf-8"))
    except (ValueError, RecursionError) as error:
        raise FrameError(f"the header is no JSON: {type(error).__name__}") from None
    sizes = struct.unpack(f"!{len(lengths) // 8}Q", lengths)
    if sum(map(_padded, sizes)) != len(data):
        raise FrameError("the sizes of the buffers do not add up")
    buffers, start = [], 0
    for size in sizes:
        buffers.append(data[start : start + size])
        start += _padded(size)
    return value, buffers


class Channel:
    """Frames over a connected stream socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._early = memoryview(b"")  # taken from the socket already

    def send(self, header: Any, buffers: Sequence[Buffer]) -> None:
        """Send one frame.

        Raises:
            Gone: nobody reads.
            FrameError: it is too large.
        """
        parts = pack(header, buffers)
        try:
            for part in parts:
                self._socket.sendall(part)
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
        text = self._read(header, ends)
        if not count and not size:
            return unpack(text, b"", memoryview(b""))
        lengths = self._read(8 * count, ends)
        return unpack(text, lengths, self._read(size, ends))

    def _read(self, size: int, ends: float | None) -> memoryview:
        if size and not self._early:
            self._early = self._take(ends)
        if size <= len(self._early):
            data, self._early = self._early[:size], self._early[size:]
            return data
        data, got = memoryview(bytearray(size)), 0
        while got < size:
            early = self._early or self._take(ends)
            taken = min(size - got, len(early))
            data[got : got + taken] = early[:taken]
            self._early = early[taken:]
            got += taken
        return data

    def _take(self, ends: float | None) -> memoryview:
        if ends is not None and not select.select([self._socket], [], [], max(0.0, ends - time.monotonic()))[0]:
            raise Gone("no answer in time")
        data = b""
        with contextlib.suppress(OSError):
            data = self._socket.recv(_AT_ONCE)
        if not data:
            raise Gone("the process ended")
        return memoryview(data)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

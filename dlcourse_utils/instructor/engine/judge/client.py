"""The grader's end of a judge and of the clerk it comes from: orders go out, outputs come in. See ``process`` for their form. Imports nothing large."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

Json = dict[str, Any]

#: Where a kernel finds its socket to the judge, and what it is to run while a test cell is judged.
DESCRIPTOR = 3
SERVE = "__import__('sys').modules['dlcourse_utils.instructor.engine.judge.student'].serve_kernel()"

_LINE = 1 << 20


class Clerk:
    """A clerk, for all notebooks of a lecture; several threads may ask for judges.

    Args:
        connection: to the warm server, on which the order for a clerk was sent.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def judge(self) -> Judge:
        """A new judge.

        Raises:
            ConnectionError: the clerk has ended.
        """
        here, there = socket.socketpair()
        with there:
            socket.send_fds(self._connection, [b"."], [there.fileno()])
        return Judge(here)

    def close(self) -> None:
        """End the clerk; its judges go on."""
        self._connection.close()


class Judge:
    """One judge, for one notebook."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = b""

    async def ask(self, order: Json, channel: socket.socket | None, seconds: float | None) -> Json:
        """Have something run; ``channel`` leads to the student's process and is closed here.

        Raises:
            TimeoutError: it takes longer than ``seconds``.
            ConnectionError: the judge has ended.
        """
        line = json.dumps(order).encode() + b"\n"
        self._connection.setblocking(True)
        if channel is None:
            self._connection.sendall(line)
        else:
            with channel:
                sent = socket.send_fds(self._connection, [line], [channel.fileno()])
            self._connection.sendall(line[sent:])
        self._connection.setblocking(False)
        answer: Json = json.loads(await asyncio.wait_for(self._line(), seconds))
        return answer

    async def _line(self) -> bytes:
        while b"\n" not in self._received:
            data = await asyncio.get_running_loop().sock_recv(self._connection, _LINE)
            if not data:
                raise ConnectionError("the judge ended")
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return line

    def close(self) -> None:
        """End the judge, whatever it is doing."""
        self._connection.close()

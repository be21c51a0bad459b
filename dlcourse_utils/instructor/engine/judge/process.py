"""The judge's process, forked from the warm server for one notebook.

It holds no file and no text of the student's: it runs the released set-up and test cells, and has a socket to the process that the answers live in.
The grader (``client.Judge``) sends a line of JSON for each cell and gets one back::

    {"run": source}                                  -> {"outputs": […]}
    {"judge": source, "names": ["sdpa", …]}          -> {"outputs": […], "lost": ""}

A line may bring the socket along (``SCM_RIGHTS``): then that one is used from now on, for the student's process has been replaced.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import socket
import tempfile
import threading
from pathlib import Path
from typing import Any

from dlcourse_utils.checks import place
from dlcourse_utils.instructor.engine.judge.court import Court
from dlcourse_utils.instructor.engine.judge.frames import Channel

Json = dict[str, Any]
_LINE = 1 << 20


def sit(connection: socket.socket, environment: dict[str, str]) -> None:
    """In the forked process: run what is asked for until the connection ends, and this process with it."""
    from dlcourse_utils.instructor.warm import Shell

    os.environ.update(environment)
    with tempfile.TemporaryDirectory(prefix="dlcourse-judge-") as folder:
        os.environ |= dict.fromkeys(("HOME", "IPYTHONDIR", "MPLCONFIGDIR"), folder)
        os.chdir(folder)
        orders: queue.Queue[tuple[Json, int | None]] = queue.Queue()
        threading.Thread(target=_listen, args=(connection, orders, folder), daemon=True).start()
        shell = Shell()
        while True:
            order, descriptor = orders.get()
            if descriptor is not None:
                place.answers = Court(Channel(socket.socket(fileno=descriptor)))
            connection.sendall(json.dumps(_obey(shell, order)).encode() + b"\n")


def _obey(shell: Any, order: Json) -> Json:
    if "run" in order:
        return {"outputs": shell.run(order["run"])}
    court = place.answers
    assert isinstance(court, Court)
    court.fill(shell.user_ns, order["names"])
    outputs = shell.run(order["judge"])
    court.dismiss()
    return {"outputs": outputs, "lost": court.lost}


def _listen(connection: socket.socket, orders: queue.Queue[tuple[Json, int | None]], folder: str) -> None:
    """Take orders in; when there are no more to come, end this process, whatever it is doing."""
    received, descriptor = b"", None
    while True:
        data, descriptors, _, _ = socket.recv_fds(connection, _LINE, 1)
        if not data:
            with contextlib.suppress(OSError):
                for path in sorted(Path(folder).rglob("*"), reverse=True):
                    path.rmdir() if path.is_dir() else path.unlink()
                os.rmdir(folder)
            os._exit(0)
        descriptor = descriptors[0] if descriptors else descriptor
        received += data
        while b"\n" in received:
            line, _, received = received.partition(b"\n")
            orders.put((json.loads(line), descriptor))
            descriptor = None

"""The judge's process, forked for one notebook from a *clerk*, which the warm server forks for a lecture.

The clerk runs the set-up cells that stand above every test; as they are the released ones, they are the same for all students. A judge goes on from
there. It holds no file and no text of the student's: it runs the rest of the set-up and the test cells, and has a socket to the process that the
answers live in. The grader (``client.Clerk``) sends the clerk one end of a connection for each judge, and the judge (``client.Judge``) a line of JSON
for each cell, and gets one back::

    {"run": source}                                  -> {"outputs": […]}
    {"judge": source, "names": ["sdpa", …]}          -> {"outputs": […], "lost": ""}

A line may bring the socket along (``SCM_RIGHTS``): then that one is used from now on, for the student's process has been replaced.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import queue
import signal
import socket
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from dlcourse_utils.checks import place
from dlcourse_utils.instructor.engine.judge.court import Court
from dlcourse_utils.instructor.engine.judge.frames import Channel
from dlcourse_utils.instructor.engine.sandbox import Limits, restrain

Json = dict[str, Any]
_LINE = 1 << 20


def keep_office(connection: socket.socket, environment: dict[str, str], setup: Sequence[str], collect: Any) -> NoReturn:
    """In the clerk: run the set-up, then fork a judge for each connection that comes, until no more can.

    Args:
        connection: to the grader.
        environment: what the set-up and the tests find in ``os.environ``.
        setup: the sources of the set-up cells.
        collect: the signal handler that collects judges that have ended.
    """
    from dlcourse_utils.instructor.engine.shell import Shell

    os.environ.update(environment)
    with tempfile.TemporaryDirectory(prefix="dlcourse-clerk-") as folder:
        _settle(folder)
        shell = Shell()
        for source in setup:
            shell.run(source)
        gc.collect()
        gc.freeze()  # judges share these pages: the collector must not touch them
        signal.signal(signal.SIGCHLD, collect)
        while True:
            data, descriptors, _, _ = socket.recv_fds(connection, 1, 1)
            if not data:
                break
            if os.fork() == 0:
                connection.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _sit(shell, socket.socket(fileno=descriptors[0]))
            os.close(descriptors[0])
    os._exit(0)


def _settle(folder: str) -> None:
    os.environ |= dict.fromkeys(("HOME", "IPYTHONDIR", "MPLCONFIGDIR"), folder)
    os.chdir(folder)


def _sit(shell: Any, connection: socket.socket) -> NoReturn:
    """In the judge: run what is asked for until the connection ends, and this process with it."""
    with tempfile.TemporaryDirectory(prefix="dlcourse-judge-") as folder:
        _settle(folder)
        restrain(Limits())
        orders: queue.Queue[tuple[Json, int | None]] = queue.Queue()
        threading.Thread(target=_listen, args=(connection, orders, folder), daemon=True).start()
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
    with court.sitting(shell.user_ns, order["names"]):
        outputs = shell.run(order["judge"])
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

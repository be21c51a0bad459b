"""The warm interpreter of the grading engine: it has the imports done and forks a kernel for each notebook.

``forkserver.Server`` starts it, tells it what else to import (a line of names on its standard input), and connects to its socket once a kernel.
For each connection it forks a *keeper*, which builds the wall, starts the kernel behind it and stays until the kernel ends, or the connection
does: so a kernel never outlives who asked for it, however that ends.

One connection: the owner sends a line of JSON (``Order``); the keeper answers ``{"root": …}``, later ``{"status": …}``, or ``{"error": …}``.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import random
import select
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from dlcourse_utils.instructor.engine import usage
from dlcourse_utils.instructor.engine.forkserver import Order
from dlcourse_utils.instructor.engine.judge.client import DESCRIPTOR
from dlcourse_utils.instructor.engine.output import Bounded
from dlcourse_utils.instructor.engine.sandbox import Limits, NoWallError, Room, run_inside

#: The sockets of a kernel lie here, seen from where the kernel is.
WORK = "/tmp"

#: How a kernel ends whose room took more memory than it may: unlike one that was killed, it is not tried again.
_TOO_LARGE = 137
_SECONDS_BETWEEN_LOOKS = 0.2

#: What any notebook may need, and what a kernel imports while it starts; every fork would do it anew. A lecture's own come on top.
_IMPORTS = (
    "torch",
    "torch._dynamo",  # torch's first optimizer imports it
    "torch.utils.data",
    "matplotlib.pyplot",
    "matplotlib_inline.backend_inline",
    "sklearn.datasets",
    "dlcourse_utils.checks",
    "dlcourse_utils.instructor.engine.judge.split",
    "ipykernel.kernelapp",
    "ipykernel.ipkernel",
    "ipykernel.debugger",
    "IPython.core.completer",
    "IPython.core.completerlib",
    "IPython.core.debugger",
    "IPython.core.logger",
    "IPython.core.magics",
    "IPython.core.oinspect",
    "IPython.extensions.storemagic",
    "sqlite3",
    "tornado.platform.asyncio",
    "zmq.eventloop.zmqstream",
)


def serve(listening: int) -> None:
    """Fork keepers for whoever connects to the listening socket, until standard input, which the owner holds, is closed."""
    sys.modules["debugpy"] = None  # type: ignore[assignment]  # so that kernels start without a debugger: it is half of what a start costs
    _import(_IMPORTS)
    import torch

    torch.set_num_threads(1)  # a thread would not come along into a fork
    signal.signal(signal.SIGCHLD, _collect)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=listening) as server:
        while True:
            ready, _, _ = select.select([server, sys.stdin], [], [])
            if sys.stdin in ready:
                names = _line(lambda: os.read(sys.stdin.fileno(), 1))
                if not names:
                    shutil.rmtree(os.getcwd(), ignore_errors=True)  # ours and the socket's; an owner that was killed cannot
                    return
                _import(names.decode().split())
                continue  # kernels wait until all that was named is there
            connection, _ = server.accept()
            if os.fork() == 0:
                server.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _keep(connection)
            connection.close()


def _import(names: Iterable[str]) -> None:
    """Import these, before kernels are forked that share their pages; what cannot be had is left to the cell that needs it, which will say so."""
    gc.disable()  # it would take a fifth of the time, and imports leave next to nothing to collect
    for name in names:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    gc.freeze()  # the collector must not touch what is shared
    gc.enable()


def _collect(signum: int, frame: FrameType | None) -> None:
    """Collect the keepers that have ended, and with them the CPU time of their kernels."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _keep(connection: socket.socket) -> None:
    """The keeper: one kernel, from the order to its end."""
    room: Room | None = None
    kernel = 0
    try:
        order = Order(**json.loads(_line(lambda: connection.recv(1))))
        if order.clerk:
            _be_a_clerk(order, connection)
        here, there = socket.socketpair()  # for the judge, and for the kernel
        limits = Limits(**order.limits)
        room = Room(limits) if order.walled else None
        most = usage.resident() + limits.memory if room else 0
        with tempfile.TemporaryDirectory(prefix="dlcourse-") if room is None else contextlib.nullcontext(WORK) as work:
            kernel = run_inside(room, limits, lambda: _be_a_kernel(order, limits, work, there))
            there.close()
            with here, contextlib.suppress(OSError):
                socket.send_fds(connection, [json.dumps({"root": (room.root if room else "") + work}).encode() + b"\n"], [here.fileno()])
            status = _until_the_end(kernel, connection, most)
            if status is not None:
                kernel = kernel if status == _TOO_LARGE else 0
                _send(connection, {"status": status})
            _clear(room, kernel)
    except NoWallError as error:
        _send(connection, {"error": str(error)})
    except BaseException as error:
        _send(connection, {"error": f"the kernel's keeper failed: {error!r}"})
        _clear(room, kernel)
    finally:
        os._exit(0)


def _line(byte: Callable[[], bytes]) -> bytes:
    """A line without its end, read byte by byte, since what follows it is another's to read; empty where there is no more."""
    line = b""
    while (got := byte()) not in (b"", b"\n"):
        line += got
    return line


def _be_a_clerk(order: Order, connection: socket.socket) -> NoReturn:
    from dlcourse_utils.instructor.engine.judge import process

    _reseed(int(order.environment.get("DLCOURSE_SEED", "0")))
    process.keep_office(connection, order.environment, order.setup, _collect)


def _until_the_end(kernel: int, connection: socket.socket, most: int) -> int | None:
    """The kernel's status when it has ended; ``_TOO_LARGE`` when its room has more than ``most`` bytes in memory, if that is not 0; None when the
    connection ends first.
    """
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda signum, frame: None)
    while True:
        ended, status = os.waitpid(kernel, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        ready, _, _ = select.select([connection.fileno(), woken], [], [], _SECONDS_BETWEEN_LOOKS if most else None)
        if woken in ready:
            os.read(woken, 1 << 10)
        elif ready:
            return None
        elif usage.exceed(most):
            usage.end_strangers()  # perhaps an earlier answer's: they are not to cost the exercise that is running now
            if usage.exceed(most):
                return _TOO_LARGE


def _clear(room: Room | None, kernel: int) -> None:
    """End the kernel, if it has not ended, and all that it started."""
    if kernel:
        for end in (os.killpg, os.kill):  # a kernel that has only just started leads no group yet
            with contextlib.suppress(ProcessLookupError):
                end(kernel, signal.SIGKILL)
        os.waitpid(kernel, 0)  # the room is not gone before its last process is collected
    if room is not None:
        room.close()


def _send(connection: socket.socket, message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # whoever asked is gone
        connection.sendall(json.dumps(message).encode() + b"\n")


def _be_a_kernel(order: Order, limits: Limits, work: str, to_judge: socket.socket) -> None:
    """In the forked process, behind the wall: become an ordinary ipykernel in a folder of its own."""
    os.dup2(to_judge.fileno(), DESCRIPTOR)
    os.closerange(DESCRIPTOR + 1, os.sysconf("SC_OPEN_MAX"))
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(nothing, descriptor)
    home = Path(work, "home")
    home.mkdir()
    os.chdir(home)
    os.environ.clear()  # what the grader knows is not for students
    places = ("HOME", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR", "XDG_CACHE_HOME")
    os.environ.update(dict.fromkeys(places, str(home)), TMPDIR=work, USER="student", LOGNAME="student", **order.environment)
    tempfile.tempdir = None
    _reseed(int(order.environment.get("DLCOURSE_SEED", "0")))
    file = home / ".connection.json"
    file.write_text(json.dumps(order.connection | {"ip": f"{work}/kernel"}), encoding="utf-8")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from ipykernel.kernelapp import IPKernelApp

    Bounded.most = limits.output
    app = IPKernelApp.instance()
    app.outstream_class = f"{Bounded.__module__}.{Bounded.__qualname__}"
    app.initialize(["-f", str(file), "--IPKernelApp.capture_fd_output=False", *order.arguments])  # type: ignore[no-untyped-call]
    os.dup2(nothing, 2)  # so far it says what keeps a kernel from starting
    app.start()  # type: ignore[no-untyped-call]


def _reseed(seed: int) -> None:
    """Forks share their parent's generators; a new interpreter would have drawn its own seeds."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


if __name__ == "__main__":
    serve(int(sys.argv[1]))

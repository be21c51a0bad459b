"""The warm interpreter of the grading engine: it has the imports done and forks a kernel for each notebook.

``provisioner.Warm`` starts it and connects to its socket once a kernel. For each connection it forks a *keeper*, which builds the wall, starts
the kernel behind it and stays until the kernel ends, or the connection does: so a kernel never outlives who asked for it, however that ends.

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
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from dlcourse_utils.instructor.engine.judge.client import DESCRIPTOR
from dlcourse_utils.instructor.engine.sandbox import Limits, NoWallError, Room, run_inside
from dlcourse_utils.instructor.warm import WARM_IMPORTS

#: The sockets of a kernel lie here, seen from where the kernel is.
WORK = "/tmp"

#: What a kernel imports while it starts, and would in every fork anew.
_KERNEL_IMPORTS = (
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


@dataclass(frozen=True)
class Order:
    """A kernel to start: its arguments, the connection (ports, key), its environment, and what it may do; or a judge, which needs the environment."""

    arguments: list[str]
    connection: dict[str, Any]
    environment: dict[str, str]
    walled: bool
    limits: dict[str, int]
    judge: bool = False

    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"


def serve(listening: int) -> None:
    """Fork keepers for whoever connects to the listening socket, until standard input, which the owner holds, is closed."""
    sys.modules["debugpy"] = None  # type: ignore[assignment]  # so that kernels start without a debugger: it is half of what a start costs
    for name in (*WARM_IMPORTS, *_KERNEL_IMPORTS):
        with contextlib.suppress(ImportError):  # the cell that needs it will say so
            importlib.import_module(name)
    import torch

    torch.set_num_threads(1)  # a thread would not come along into a fork
    gc.collect()
    gc.freeze()  # kernels share these pages: the collector must not touch them
    signal.signal(signal.SIGCHLD, _collect)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=listening) as server:
        while True:
            ready, _, _ = select.select([server, sys.stdin], [], [])
            if sys.stdin in ready:
                shutil.rmtree(os.getcwd(), ignore_errors=True)  # ours and the socket's; an owner that was killed cannot
                return
            connection, _ = server.accept()
            if os.fork() == 0:
                server.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _keep(connection)
            connection.close()


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
        order = Order(**json.loads(_first_line(connection)))
        if order.judge:
            _be_a_judge(order, connection)
        here, there = socket.socketpair()  # for the judge, and for the kernel
        limits = Limits(**order.limits)
        room = Room(limits) if order.walled else None
        with tempfile.TemporaryDirectory(prefix="dlcourse-") if room is None else contextlib.nullcontext(WORK) as work:
            kernel = run_inside(room, limits, lambda: _be_a_kernel(order, work, there))
            there.close()
            with here, contextlib.suppress(OSError):
                socket.send_fds(connection, [json.dumps({"root": (room.root if room else "") + work}).encode() + b"\n"], [here.fileno()])
            status = _until_the_end(kernel, connection)
            if status is not None:
                kernel = 0
                _send(connection, {"status": status})
            _clear(room, kernel)
    except NoWallError as error:
        _send(connection, {"error": str(error)})
    except BaseException as error:
        _send(connection, {"error": f"the kernel's keeper failed: {error!r}"})
        _clear(room, kernel)
    finally:
        os._exit(0)


def _first_line(connection: socket.socket) -> bytes:
    """The order, read byte by byte: what follows it may bring a socket along."""
    line = b""
    while not line.endswith(b"\n"):
        line += connection.recv(1) or b"\n"
    return line


def _be_a_judge(order: Order, connection: socket.socket) -> None:
    """In the forked process: run tests for whoever connected, until that ends. See ``judge.process``."""
    from dlcourse_utils.instructor.engine.judge import process

    _reseed(int(order.environment.get("DLCOURSE_SEED", "0")))
    process.sit(connection, order.environment)


def _until_the_end(kernel: int, connection: socket.socket) -> int | None:
    """The kernel's status when it has ended; None when the connection ends first."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda signum, frame: None)
    while True:
        ended, status = os.waitpid(kernel, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        ready, _, _ = select.select([connection.fileno(), woken], [], [])
        if woken not in ready:
            return None
        os.read(woken, 1 << 10)


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


def _be_a_kernel(order: Order, work: str, to_judge: socket.socket) -> None:
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

    app = IPKernelApp.instance()
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

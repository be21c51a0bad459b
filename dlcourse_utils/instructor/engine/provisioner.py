"""Warm, walled kernels as jupyter_client sees them: an ordinary kernel provisioner."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import socket
import threading
from collections.abc import Iterable
from typing import Any

import zmq
import zmq.asyncio
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase

from dlcourse_utils.instructor.course import CourseError
from dlcourse_utils.instructor.engine.forkserver import Order, Server
from dlcourse_utils.instructor.engine.judge.client import Clerk, Judge
from dlcourse_utils.instructor.engine.sandbox import Limits

#: A larger message from a kernel closes its connection, before it fills our memory.
_MOST_MESSAGE = 32 * 2**20
_PORTS = {name: number for number, name in enumerate(("shell_port", "iopub_port", "stdin_port", "hb_port", "control_port"), start=1)}
#: What a kernel finds in its environment besides folders of its own.
_HANDED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "DLCOURSE_SEED")


class Warm(KernelProvisionerBase):
    """A kernel forked from the warm server, behind the sandbox's wall unless ``walled`` is False.

    Raises:
        CourseError: the kernel cannot be started, as where no sandbox can be had.
    """

    walled = True
    limits = Limits()
    _info: dict[str, Any]
    _connection: socket.socket | None = None
    _status: int | None = None
    _received = b""
    #: Leads to the kernel's side of the judge's conversation; whoever takes it closes it.
    channel: socket.socket | None = None

    @property
    def has_process(self) -> bool:
        return self._connection is not None

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        assert self.parent is not None
        session = self.parent.session
        self._info = {"transport": "ipc", "key": session.key.decode(), "signature_scheme": session.signature_scheme, **_PORTS}
        return await super().pre_launch(cmd=kwargs.pop("extra_arguments", []), **kwargs)

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        order = Order(list(cmd), self._info, _environment(), self.walled, vars(self.limits))
        connection = Server.instance().connect()
        connection.sendall(order.line())
        connection.setblocking(False)
        self._connection, self._status, self._received = connection, None, b""
        while b"\n" not in self._received:
            await self.poll()
            if self._status is not None:
                raise CourseError("The grading kernel's server ended before it answered; its error is above.")
            await asyncio.sleep(0.002)
        line, _, self._received = self._received.partition(b"\n")
        answer = json.loads(line)
        if "error" in answer:
            raise CourseError(answer["error"])
        info = self._info | {"ip": f"{answer['root']}/kernel", "key": self._info["key"].encode()}
        while not all(os.path.exists(f"{info['ip']}-{port}") for port in _PORTS.values()):
            if await self.poll() is not None:
                raise CourseError("The grading kernel ended while it started.")
            await asyncio.sleep(0.002)
        return info

    async def poll(self) -> int | None:
        """None while the kernel runs, else its status; -1 where its keeper could not say."""
        if self._connection is not None and self._status is None:
            with contextlib.suppress(BlockingIOError):
                data, descriptors, _, _ = socket.recv_fds(self._connection, 1 << 16, 1)
                self.channel = socket.socket(fileno=descriptors[0]) if descriptors else self.channel
                self._received += data
                lines = [json.loads(line) for line in self._received.split(b"\n")[:-1]]
                ended = [line["status"] for line in lines if "status" in line]
                self._status = ended[0] if ended else -1 if not data else None
        return self._status

    async def wait(self) -> int | None:
        while await self.poll() is None:
            await asyncio.sleep(0.01)
        return self._status

    async def kill(self, restart: bool = False) -> None:
        """Close the connection; the keeper ends the kernel and all that it started."""
        if self.channel is not None:
            self.channel.close()
        if self._connection is not None:
            self._connection.shutdown(socket.SHUT_WR)
            self._connection.setblocking(True)
            self._connection.settimeout(5.0)
            with contextlib.suppress(OSError):
                while self._connection.recv(1 << 16):
                    pass  # until the keeper has closed its side: then nothing runs any more
            self._connection.close()
            self._connection, self._status = None, -1

    async def terminate(self, restart: bool = False) -> None:
        await self.kill(restart)

    async def send_signal(self, signum: int) -> None:
        """No signal reaches behind the wall; interrupts go as messages."""

    async def cleanup(self, restart: bool = False) -> None:
        await self.kill(restart)


class Clerks:
    """Where judges come from. There is one clerk at a time, as there is one lecture; the next lecture has another."""

    _lock = threading.Lock()
    _one: tuple[Order, Clerk] | None = None

    @classmethod
    def judge(cls, setup: tuple[str, ...]) -> Judge:
        """A judge for one notebook of a lecture whose first set-up cells have these sources."""
        order = Order([], {}, _environment(), False, {}, clerk=True, setup=setup)
        with cls._lock:
            if cls._one is not None and cls._one[0] == order:
                with contextlib.suppress(OSError):  # it has ended, as the server may have
                    return cls._one[1].judge()
            if cls._one is not None:
                cls._one[1].close()
            connection = Server.instance().connect()
            connection.sendall(order.line())
            cls._one = order, Clerk(connection)
            return cls._one[1].judge()


def _environment() -> dict[str, str]:
    handed_on = {name: os.environ[name] for name in _HANDED_ON if name in os.environ}
    return handed_on | {"OMP_NUM_THREADS": "1", "NBGRADER_EXECUTION": "autograde"}


class _Specs(KernelSpecManager):
    """The one kernel specification that grading needs; it lies in no folder."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return KernelSpec(display_name="Grading", language="python", interrupt_mode="message")


@functools.cache
def _context() -> zmq.asyncio.Context:
    context = zmq.asyncio.Context()
    context.setsockopt(zmq.MAXMSGSIZE, _MOST_MESSAGE)
    return context


def manager(*, walled: bool, limits: Limits, imports: Iterable[str] = ()) -> AsyncKernelManager:
    """A kernel manager whose kernel will be a warm one, in which these modules are imported already."""
    Server.instance().need(imports)
    found = AsyncKernelManager(kernel_spec_manager=_Specs(), kernel_name="grading", context=_context(), transport="ipc", kernel_id="grading")
    found.provisioner = Warm(kernel_id="grading", kernel_spec=found.kernel_spec, parent=found)
    found.provisioner.walled, found.provisioner.limits = walled, limits
    return found

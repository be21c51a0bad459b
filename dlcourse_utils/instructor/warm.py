"""The warm interpreter: a process that has the imports done and forks one child for each notebook to run.

``runner.Runner`` starts it as a fresh process and talks to it in lines of JSON; nothing else should. There are three kinds of process:

- the *server* imports torch and the rest once, and forks a spine for each request;
- the *spine* walks down one lecture's cells in a real IPython shell, running setup and solution cells, and forks a child for each
  job at the first cell that the job replaces, so that what lies above is never run twice;
- the *child* puts in the replacement, runs the rest of the notebook, tests included, and sends what each cell put out.

A child that uses up its processor time or hangs is killed with its process group, one that dies is noticed: either way the job gets a verdict and the
others go on.
"""

from __future__ import annotations

import gc
import importlib
import io
import json
import math
import os
import random
import resource
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from dlcourse_utils.instructor.brief import stop_at_a_failed_check
from dlcourse_utils.instructor.engine.shell import MOST_TEXT, Shell

if TYPE_CHECKING:
    from dlcourse_utils.instructor.engine.judge.split import Apart

#: What lectures import, and what torch would import at its first optimizer (over a second) in every child anew.
WARM_IMPORTS = (
    "torch",
    "torch._dynamo",
    "torch.func",
    "torch.utils.data",
    "matplotlib.pyplot",
    "matplotlib_inline.backend_inline",
    "ipywidgets",
    "scipy.stats",
    "networkx",
    "sklearn.datasets",
    "sklearn.metrics",
    "torchmetrics.image.fid",
    "dlcourse_utils.checks",
    "dlcourse_utils.claims",
    "dlcourse_utils.data",
    "dlcourse_utils.plotting",
    "dlcourse_utils.training",
    "dlcourse_utils.widgets",
    "dlcourse_utils.instructor.engine.judge.split",
)
#: Signals after which everything forked from here is ended.
ENDING = (signal.SIGTERM, signal.SIGINT)

Json = dict[str, Any]


def serve() -> None:
    """Answer requests, one a line on standard input, until it closes. See ``Runner`` for their form."""
    replies = os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)
    for ending in ENDING:
        signal.signal(ending, _leave)
    for name in WARM_IMPORTS:
        with suppress(ImportError):  # the cell that needs it will say so
            importlib.import_module(name)
    import torch

    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()  # children share these pages: the collector must not touch them
    for line in sys.stdin:
        spine = 0
        try:
            with _signals_held():
                spine = os.fork()
                if spine == 0:
                    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
                    owner = os.dup(0)
                    os.dup2(nothing, 0)
                    _leave_by_exit(Spine(json.loads(line), replies, owner).walk)
            _, status = os.waitpid(spine, 0)
        except SystemExit:
            if spine:
                os.kill(spine, signal.SIGTERM)
                os.waitpid(spine, 0)
            raise
        _send(replies, {"done": os.waitstatus_to_exitcode(status)})


def _leave(signum: int, frame: FrameType | None) -> None:
    for ending in ENDING:  # once is enough: a second one would cut the clean-up short
        signal.signal(ending, signal.SIG_IGN)
    raise SystemExit(128 + signum)


@contextmanager
def _signals_held() -> Iterator[None]:
    """Hold back the signals that end this process, so that no forked child goes unrecorded (``os.fork`` itself swallows exceptions)."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _leave_by_exit(work: Callable[[], None]) -> NoReturn:
    """Run ``work`` in a forked process and end it there, whatever happens, without the parent's clean-up."""
    status = 1
    try:
        work()
        status = 0
    except SystemExit:
        pass
    except BrokenPipeError:
        pass  # whoever asked is gone
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)  # a fault of the engine, not of the answer: say so where the server's errors go
    finally:
        os._exit(status)


def _send(pipe: int, message: Json) -> None:
    data = memoryview(json.dumps(message).encode() + b"\n")
    while data:
        data = data[os.write(pipe, data) :]


@dataclass
class _Child:
    """A job at work."""

    job: int
    pid: int
    pipe: int
    started: float
    first: int
    received: bytearray = field(default_factory=bytearray)


class Spine:
    """One lecture: runs what every job shares, and forks the jobs where they part.

    Args:
        request: see ``Runner``.
        replies: where results are written.
        owner: the server's standard input. No other request comes before this one is done, so what can be read there is its end: the owner's, too.
    """

    def __init__(self, request: Json, replies: int, owner: int) -> None:
        self.cells: Sequence[Json] = request["cells"]
        self.jobs: Sequence[Json] = request["jobs"]
        self.workers: int = request["workers"]
        self.wall_seconds: float = request["wall_seconds"]
        self.replies = replies
        self.shell = Shell.instance()  # the one that get_ipython() and display() find
        self.children: dict[int, _Child] = {}
        self.selector = selectors.DefaultSelector()
        self.owner = owner
        self.selector.register(owner, selectors.EVENT_READ)

    def walk(self) -> None:
        """Run down the notebook once; every job's result is sent as soon as it is there."""
        try:
            waiting = sorted(range(len(self.jobs)), key=lambda job: self.jobs[job]["start"])
            for index, cell in enumerate(self.cells):
                while waiting and self.jobs[waiting[0]]["start"] == index:
                    while len(self.children) >= self.workers:
                        self._wait()
                    self._start(waiting.pop(0), index)
                if not waiting:
                    break
                if cell["role"] != "test":
                    errors = [o for o in self.shell.run(cell["source"]) if o["output_type"] == "error"]
                    if errors:
                        _send(self.replies, {"broken": cell["id"], "error": f"{errors[0]['ename']}: {errors[0]['evalue']}"})
                        return
            while self.children:
                self._wait()
        finally:
            for child in self.children.values():
                self._reap(child)

    def _start(self, job: int, index: int) -> None:
        with _signals_held():
            ours, theirs = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.setpgid(0, 0)
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
                os.close(self.replies)
                _leave_by_exit(lambda: _run_job(self.shell, self.cells[index:], self.jobs[job], theirs))
            os.close(theirs)
            with suppress(PermissionError, ProcessLookupError):  # both sides set it, so that it is set whoever comes first
                os.setpgid(pid, pid)
            self.children[ours] = _Child(job, pid, ours, time.monotonic(), index)
            self.selector.register(ours, selectors.EVENT_READ)

    def _wait(self) -> None:
        """Take in what children have sent until something happens, and end those that are over or late."""
        soonest = min(child.started for child in self.children.values()) + self.wall_seconds
        for key, _ in self.selector.select(max(0.0, soonest - time.monotonic())):
            if key.fd == self.owner:
                raise SystemExit  # nobody reads the results any more
            child = self.children[key.fd]
            data = os.read(key.fd, 1 << 16)
            child.received += data
            if not data or child.received.endswith(b"\nnull\n"):
                self._finish(child, late=False)
        for child in [c for c in self.children.values() if time.monotonic() - c.started >= self.wall_seconds]:
            self._finish(child, late=True)

    def _finish(self, child: _Child, *, late: bool) -> None:
        status, cpu_seconds = self._reap(child)
        lines = bytes(child.received).split(b"\n")[:-1]
        whole = lines[-1:] == [b"null"]
        cells = [json.loads(line) for line in lines if line != b"null"]
        ended = ""
        if not whole:
            where = f" in cell '{self.cells[child.first + len(cells)]['id']}'"
            if late or status == -signal.SIGXCPU:
                ended = f"timed out after {self.wall_seconds if late else self.jobs[child.job]['seconds']:g} s" + where
            elif status < 0:
                ended = f"died with signal {signal.Signals(-status).name}" + where
            else:
                ended = f"left the interpreter with exit status {status}" + where
        seconds = time.monotonic() - child.started
        _send(self.replies, {"job": child.job, "cells": cells, "ended": ended, "seconds": seconds, "cpu_seconds": cpu_seconds})

    def _reap(self, child: _Child) -> tuple[int, float]:
        """Kill the child with all that it started and collect it; its exit code, negative for a signal, and the processor seconds it took."""
        if child.pipe in self.selector.get_map():
            self.selector.unregister(child.pipe)
            os.close(child.pipe)
        self.children = {pipe: other for pipe, other in self.children.items() if other is not child}
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        _, status, usage = os.wait4(child.pid, 0)
        return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime


def _run_job(shell: Shell, cells: Sequence[Json], job: Mapping[str, Any], pipe: int) -> None:
    """The child: run the rest of the notebook and send one line a cell, then ``null``."""
    import torch

    from dlcourse_utils.checks import guard

    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(job["seconds"]), math.ceil(job["seconds"]) + 1))
    guard.clock = signal.ITIMER_PROF, signal.SIGPROF  # a machine that is busy with other jobs must not decide what a check gives
    os.mkdir(str(os.getpid()))
    os.chdir(str(os.getpid()))
    os.environ["DLCOURSE_SEED"] = str(job["seed"])
    random.seed(job["seed"])  # forked children share their parent's generators
    np.random.seed(job["seed"])
    torch.manual_seed(job["seed"])
    torch.set_num_threads(job["threads"])  # the parent has used one only, so that no thread of a pool is missing here
    if job["brief"]:
        stop_at_a_failed_check()
    printed = {"stdout": _redirect(1), "stderr": _redirect(2)}  # what C code writes past sys.stdout counts too
    apart = _apart(shell, job["answers"]) if job["judge"] == "separate" else None
    for cell in cells:
        source = job["replace"].get(cell["id"], cell["source"])
        outputs = [] if cell["id"] in job["skip"] else apart.run(cell["role"], source) if apart else shell.run(source)
        for name, file in printed.items():
            text = file.read(MOST_TEXT).decode(errors="replace")
            if text:
                outputs.append({"output_type": "stream", "name": name, "text": text})
        if cell["role"] != "test":
            outputs = [output for output in outputs if output["output_type"] == "error"]
        _send(pipe, {"id": cell["id"], "outputs": outputs})
        if job["brief"] and any(output["output_type"] == "error" for output in outputs):
            break
    if apart:
        apart.close()
    os.write(pipe, b"null\n")


def _apart(shell: Shell, answers: Sequence[str]) -> Apart:
    from dlcourse_utils.instructor.engine.judge.split import Apart

    return Apart(shell.run, shell.user_ns, answers)


def _redirect(fd: int) -> io.FileIO:
    """Send a file descriptor's text into a file of its own and return a reader of it."""
    name = f"fd{fd}"
    target = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(target, fd)
    os.close(target)
    return io.FileIO(name)

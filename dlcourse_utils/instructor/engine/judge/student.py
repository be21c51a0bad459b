"""The student's side: answers questions about the names of a notebook, from inside the process that holds them.

Loaded before the process is forked, and in the power of whatever runs in it: the judge believes nothing it says beyond plain data.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import operator
import socket
import time
from collections.abc import Iterator, Mapping
from types import FunctionType
from typing import Any

import torch

from dlcourse_utils.checks import guard
from dlcourse_utils.instructor.engine.judge import modules, together, trusted
from dlcourse_utils.instructor.engine.judge.client import DESCRIPTOR
from dlcourse_utils.instructor.engine.judge.frames import Channel, FrameError, Gone
from dlcourse_utils.instructor.engine.judge.peer import Peer, copied, iterate
from dlcourse_utils.instructor.engine.judge.values import Reader, Tracking

_MOST_PRINTED = 2_000


class _Printed(io.TextIOBase):
    """What was printed since the last message; the first characters of it."""

    def __init__(self) -> None:
        self._text = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._text += text[: _MOST_PRINTED - len(self._text)]
        return len(text)

    def take(self) -> str:
        text, self._text = self._text, ""
        return text


class Student(Peer):
    """The side that holds the answers, in ``namespace``."""

    shows_leaves = True

    def __init__(self, channel: Channel, namespace: dict[str, Any]) -> None:
        super().__init__(channel)
        self._namespace = namespace
        self._printed = _Printed()
        self._limit: tuple[float, float] | None = None
        self._scene = contextlib.ExitStack()
        self._seat = contextlib.ExitStack()
        self._cpu = time.process_time()

    def serve(self) -> None:
        """Answer questions until the judge says that it was the last, or is gone."""
        bell = guard.bell
        bell.held += 1
        try:
            with contextlib.redirect_stdout(self._printed), contextlib.suppress(Gone):
                while True:
                    message, buffers = self._channel.receive(None)
                    self._cpu = time.process_time()
                    kind, number, reader = self._open(message, buffers)
                    if kind == "end":
                        return
                    self._serve(number, message, reader)
                    del message, buffers, reader
        finally:
            bell.held -= 1
            self._scene.close()
            self._seat.close()

    def _ask_away(self, what: str, *things: Any, track: Tracking = "copied") -> Any:
        return super()._ask_away(what, *things, track=track)

    def extras(self) -> Any:
        spent = time.process_time() - self._cpu
        self._cpu += spent
        return [self._printed.take(), spent]

    def take_extras(self, extras: Any) -> None:
        self._limit = extras

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        if self._nested > 1 or self._limit is None:
            yield
            return
        seconds, left = self._limit
        with guard.time_limit(seconds, left):
            yield

    def name_of(self, thing: Any) -> str | None:
        return None

    def by_name(self, name: str) -> Any:
        module, _, attribute = name.rpartition(".")
        return getattr(importlib.import_module(module), attribute)

    def _build(self, tree: list[Any], reader: Reader) -> Any:
        if tree and tree[0] in ("F", "K", "M"):
            return trusted.read(tree, reader, self._learn_class)
        return super()._build(tree, reader)

    def _learn_class(self, number: int, kind: type) -> None:
        self.shared.learn(number, kind)

    def module_class(self, name: str, base: str, exact: bool) -> type[torch.nn.Module]:
        return modules.library_class(base) if exact else super().module_class(name, base, exact)

    def compute(self, tasks: list[Any], reader: Reader) -> None:
        failed: Exception | None = None
        for number, name, *trees in tasks:
            try:
                result = failed or getattr(operator, name)(*map(reader.read, trees))
            except Exception as error:
                result = failed = error
            self.shared.promise(number, result)
        if failed:
            raise failed

    def handle(self, what: str, things: tuple[Any, ...]) -> Any:
        match [what, *things]:
            case ["call", thing, tuple(args), dict(kwargs)]:
                return thing(*args, **kwargs)
            case ["run", function, tuple(args), str(exercise)]:
                return self._run(function, args, exercise)
            case ["get", thing, str(name)]:
                return getattr(thing, name)
            case ["set", thing, str(name), value]:
                setattr(thing, name, value)
                return None
            case ["op", str(name), *others]:
                return iterate(name, *others)
            case ["product", number, gradient]:
                return self.product(number, gradient)
            case ["copy", thing]:
                return copied(thing)
            case ["hook", thing, str(name), hook]:
                return getattr(thing, name)(hook)
            case ["begin", int(processor), *names]:
                self._seat.enter_context(together.on_processor(processor))
                return {name: self._namespace[name] for name in names if name in self._namespace}
            case ["scene", dict(replacements), tuple(off_limits)]:
                return self._set_scene(replacements, off_limits)
        raise FrameError("an unknown question")

    def _run(self, function: FunctionType, args: tuple[Any, ...], exercise: str) -> Any:
        """Call a test's function; calls of the exercise's answer in it are as a test's own, see ``guard.handing_over``."""
        with contextlib.ExitStack() as stack:
            for names in (self._namespace, *(each.__globals__ for each in trusted.within((function, *args)))):
                stack.enter_context(guard.handing_over(names, exercise))
            return function(*args)

    def _set_scene(self, replacements: Mapping[str, Any], off_limits: tuple[str, ...]) -> None:
        self._scene.close()
        if replacements:
            self._scene.enter_context(guard.replaced(self._namespace, replacements))
        if off_limits:
            self._scene.enter_context(guard.closed(off_limits))


@functools.cache
def _of_this_kernel() -> Student:
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    assert shell is not None
    return Student(Channel(socket.socket(fileno=DESCRIPTOR)), shell.user_ns)


def serve_kernel() -> None:
    """Answer the judge's questions about this kernel's names until it has no more."""
    with guard.quiet(guard.Clipped(0)):
        _of_this_kernel().serve()

"""What stands around an answer while it is checked: quiet streams, a time limit, closed doors, untouched inputs."""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType, FunctionType
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from dlcourse_utils.checks.compare import as_array
from dlcourse_utils.checks.outcome import CheckFailed, OffLimits, TimeUp

#: What a time limit counts, and the signal that ends it: real time. Where graders are proven beside each other it is processor time.
clock = (signal.ITIMER_REAL, signal.SIGALRM) if hasattr(signal, "setitimer") else None


class Clipped(io.TextIOBase):
    """A text stream that keeps its first characters and drops the rest, however much is written."""

    def __init__(self, limit: int = 2_000) -> None:
        self._limit = limit
        self._kept = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._kept += text[: self._limit - len(self._kept)]
        return len(text)

    def getvalue(self) -> str:
        return self._kept


@contextlib.contextmanager
def quiet(printed: Clipped) -> Iterator[None]:
    """Keep what is printed in ``printed``; drop warnings and whatever goes to stderr, from Python or from C.

    nbgrader gives no credit to a test cell that writes to stderr, and a warning is no mistake.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_stderr_descriptor_closed())
        stack.enter_context(contextlib.redirect_stdout(printed))
        stack.enter_context(contextlib.redirect_stderr(Clipped(0)))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _stderr_descriptor_closed() -> Iterator[None]:
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(nowhere)
        os.close(saved)


class _Bell:
    """What rings when time is up. While it is held it only remembers that it would have rung."""

    def __init__(self) -> None:
        self.held = 0
        self._missed: TimeUp | None = None

    def ring(self, end: TimeUp) -> None:
        if not self.held:
            raise end
        self._missed = end

    def catch_up(self) -> None:
        """Ring now for what was missed, unless held still."""
        if self._missed is not None and not self.held:
            missed, self._missed = self._missed, None
            raise missed

    def forget(self) -> None:
        """What was missed no longer matters."""
        self._missed = None


#: Held while two processes exchange messages, which must not break off in the middle.
bell = _Bell()


@contextlib.contextmanager
def time_limit(seconds: float, left: float | None = None) -> Iterator[None]:
    """Raise ``TimeUp`` in the block after ``seconds``, and again every half second should the block swallow it.

    ``left`` is for a block that goes on with a limit of which a part is used up.
    Where there is no such alarm (Windows, a thread that is not the main one) the block runs on, and nbgrader's own limit on the cell holds.
    """
    if clock is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(signum: int, frame: FrameType | None) -> None:
        bell.ring(TimeUp(f"Still running after {seconds:g} s. Look for a loop that never ends, or for work that grows faster than it must."))

    timer, alarm = clock
    old_handler = signal.signal(alarm, ring)
    old_delay, old_interval = signal.setitimer(timer, seconds if left is None else max(left, 0.001), 0.5)
    _limits.append(seconds)
    try:
        yield
    finally:
        _limits.pop()
        bell.forget()
        signal.setitimer(timer, 0)
        signal.signal(alarm, old_handler)
        signal.setitimer(timer, old_delay, old_interval)


#: The seconds of each time limit that holds at the moment, outermost first.
_limits: list[float] = []


def time_left() -> tuple[float, float] | None:
    """(all, what is left) of the seconds of the innermost time limit; None where there is none."""
    return (_limits[-1], signal.getitimer(clock[0])[0]) if _limits and clock is not None else None


def use_up(seconds: float) -> None:
    """Count time that another process spent on this one's behalf, where the clock does not see it."""
    if _limits and clock is not None and clock[0] != signal.ITIMER_REAL:
        left, interval = signal.getitimer(clock[0])
        signal.setitimer(clock[0], max(left - seconds, 0.001), interval)


@contextlib.contextmanager
def closed(names: tuple[str, ...]) -> Iterator[None]:
    """Make the library functions called ``names`` (``"torch.autograd.grad"``) refuse politely.

    Raises:
        ValueError: a name leads to nothing.
    """
    with contextlib.ExitStack() as stack:
        for name in names:
            owner, attribute = _resolve(name)

            def refuse(*args: Any, _name: str = name, **kwargs: Any) -> None:
                raise OffLimits(f"`{_name}` is off limits here: this exercise is about writing it yourself.")

            stack.enter_context(mock.patch.object(owner, attribute, refuse))
        yield


def _resolve(name: str) -> tuple[Any, str]:
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        with contextlib.suppress(ImportError, AttributeError):
            owner: Any = importlib.import_module(".".join(parts[:cut]))
            for part in parts[cut:-1]:
                owner = getattr(owner, part)
            getattr(owner, parts[-1])
            return owner, parts[-1]
    raise ValueError(f"off_limits: there is no '{name}'.")


@contextlib.contextmanager
def replaced(namespace: dict[str, Any], names: Mapping[str, Any]) -> Iterator[None]:
    """Put other values in place of a notebook's names, and the old ones back. Names that the block itself defines stay."""
    missing = object()
    before = {name: namespace.get(name, missing) for name in names}
    namespace.update(names)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is missing:
                del namespace[name]
            else:
                namespace[name] = value


@contextlib.contextmanager
def untouched(values: tuple[Any, ...]) -> Iterator[None]:
    """Fail when the block changes one of the arrays or tensors, or draws from a global random generator."""
    before = [as_array(value, "an argument") for value in values]
    generators = _generator_states()
    yield
    for number, (value, old) in enumerate(zip(values, before, strict=True), start=1):
        if _differs(as_array(value, "an argument"), old):
            raise _changed(number)
    for name, state in _generator_states().items():
        if generators.get(name, state) != state:
            raise CheckFailed(f"{name}'s global random generator was used. Draw from the generator or the seed that you are given, or do without.")


@contextlib.contextmanager
def handed_over(arguments: tuple[Any, ...]) -> Iterator[None]:
    """Around a call of an answer: an array or tensor among its arguments that it overwrites is put back, and the check fails.

    So whatever a test computes from its values, it computes from its own. What learns is there to be changed: tensors that want a gradient,
    modules, optimizers, and what these were given when they were made.
    """
    before = [(value, _numbers(value)) for value in _plain_parts(arguments)]
    written = []
    try:
        yield
    finally:
        for value, old in before:
            if _numbers(value) != old:
                _put_back(value, *old)
                written.append(value)
    if written:
        raise overwritten(arguments, written)


@contextlib.contextmanager
def handing_over(namespace: dict[str, Any], exercise: str) -> Iterator[None]:
    """While a check runs: each call of the exercise's function, or of a method of its class, stands within ``handed_over``."""
    bare = exercise.replace("_", "").lower()
    name = next((name for name in (exercise, *namespace) if name.lower() in (exercise, bare) and name in namespace), "")
    answer = namespace.get(name)
    with contextlib.ExitStack() as stack:
        if isinstance(answer, FunctionType):
            stack.enter_context(replaced(namespace, {name: _handing_over(answer)}))
        elif isinstance(answer, type):
            for method, function in list(vars(answer).items()):
                if isinstance(function, FunctionType) and (method == "__call__" or not method.startswith("__")):
                    stack.enter_context(mock.patch.object(answer, method, _handing_over(function, own=1)))
        yield


def _handing_over(function: Callable[..., Any], own: int = 0) -> Callable[..., Any]:
    """The function as the test calls it; ``own`` is how many of its arguments are not the test's but the object itself."""
    within = False

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal within
        if within:  # the answer calls itself: what it hands over is its own
            return function(*args, **kwargs)
        within = True
        try:
            with handed_over((*args[own:], *kwargs.values())):
                return function(*args, **kwargs)
        finally:
            within = False

    return call


def _plain_parts(value: Any) -> list[Any]:
    """The arrays of numbers and the tensors without a gradient in a value, in lists and dicts too."""
    torch = sys.modules.get("torch")
    if isinstance(value, np.ndarray):
        return [value] if value.dtype.kind in "biufc" and value.flags.writeable else []
    if isinstance(value, list | tuple):
        return [part for item in value for part in _plain_parts(item)]
    if isinstance(value, dict):
        return [part for item in value.values() for part in _plain_parts(item)]
    if torch is None or not isinstance(value, torch.Tensor) or value.requires_grad or torch._C._functorch.is_functorch_wrapped_tensor(value):
        return []
    return [value]


def _numbers(value: Any) -> tuple[tuple[int, ...], bytes]:
    """The shape of an array or tensor, and its numbers."""
    if isinstance(value, np.ndarray):
        return value.shape, value.tobytes()
    return tuple(value.shape), as_array(value).tobytes()


def _put_back(value: Any, shape: tuple[int, ...], numbers: bytes) -> None:
    if isinstance(value, np.ndarray):
        value[...] = np.frombuffer(numbers, value.dtype).reshape(shape)
        return
    import torch

    old = torch.frombuffer(bytearray(numbers), dtype=torch.float32 if value.dtype == torch.bfloat16 else value.dtype).reshape(shape)
    if old.shape != value.shape:
        value.data = old.to(value.dtype)
        return
    for axis, stride in enumerate(value.stride()):
        if stride == 0:  # an expanded tensor: one place in memory stands for many
            value, old = value.narrow(axis, 0, 1), old.narrow(axis, 0, 1)
    value.data.copy_(old)


def _differs(new: NDArray[Any], old: NDArray[Any]) -> bool:
    return new.shape != old.shape or not np.array_equal(new, old, equal_nan=old.dtype.kind in "fc")


def overwritten(arguments: tuple[Any, ...], written: Sequence[Any]) -> CheckFailed:
    """What to say when an answer wrote to these values among its arguments."""
    places = (n for n, argument in enumerate(arguments, start=1) if any(part is value for part in _plain_parts(argument) for value in written))
    return _changed(next(places, 1))


def _changed(number: int) -> CheckFailed:
    return CheckFailed(f"Argument {number} was changed in place. Work on a copy, so that the caller's data stays as it was.")


def _generator_states() -> dict[str, Any]:
    kind, keys, position, *rest = np.random.get_state()
    states: dict[str, Any] = {"Python": random.getstate(), "NumPy": (kind, np.asarray(keys).tobytes(), position, *rest)}
    torch = sys.modules.get("torch")
    if torch is not None:
        states["PyTorch"] = torch.get_rng_state().numpy().tobytes()
    return states

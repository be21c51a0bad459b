"""The judge's side: runs test cells with stand-ins in place of the answers, which live in the student's process.

``Court`` is what ``dlcourse_utils.checks`` knows as the place where answers run.
"""

from __future__ import annotations

import contextlib
import functools
import math
import signal
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from types import FunctionType
from typing import Any, ClassVar

import numpy as np
import scipy.special
import torch

from dlcourse_utils.checks import guard
from dlcourse_utils.instructor.engine.judge import together
from dlcourse_utils.instructor.engine.judge import trusted as trusted_values
from dlcourse_utils.instructor.engine.judge.errors import AnswersLost
from dlcourse_utils.instructor.engine.judge.frames import Channel, FrameError
from dlcourse_utils.instructor.engine.judge.peer import Peer, copied, iterate, library_functions
from dlcourse_utils.instructor.engine.judge.standins import ITERATION, ClassStandin, FunctionStandin, ObjectStandin, Standin
from dlcourse_utils.instructor.engine.judge.trusted import Trusted
from dlcourse_utils.instructor.engine.judge.values import Tracking, Tree, Writer

#: Seconds that an answer may be late beyond its check's time limit, and that it may take where there is none.
_GRACE, _PATIENCE = 3.0, 60.0
#: Seconds where the limit counts processor time, which says little about when an answer comes.
_LONG = 600.0
#: What may be asked of a test's module or optimizer by name: what is public.
_PUBLIC = (torch.nn.Module, torch.optim.Optimizer)


class Court(Peer):
    """The side that judges.

    Args:
        channel: to the student's process.
        why: asked for the reason in plain words when the student's process is lost; by default what the channel saw.
    """

    standins: ClassVar[dict[str, type[Standin]]] = {"function": FunctionStandin, "class": ClassStandin, "object": ObjectStandin}
    answers_are: Tracking = "copied"
    tells_places = False

    def __init__(self, channel: Channel, why: Callable[[str], str] = str) -> None:
        super().__init__(channel)
        self._why = why
        self._functions = _library_functions()

    # --- around test cells ---

    @contextlib.contextmanager
    def sitting(self, namespace: dict[str, Any], names: Collection[str]) -> Iterator[None]:
        """Around a test cell: stand-ins for these names of the student's are in its namespace; those that are not defined there are not here either.

        Where the student's process is lost each stands for nothing, and says so when it is called.
        """
        with together.on_processor() as processor:
            try:
                found = self.ask("begin", processor, *names)
            except AnswersLost:
                found = {name: FunctionStandin(self._ask_away) for name in names}
            if not isinstance(found, dict):
                found = {}
            for name in names:
                if name in found:
                    namespace[name] = found[name]
                else:
                    namespace.pop(name, None)
            try:
                yield
            finally:
                self._dismiss()

    def _dismiss(self) -> None:
        if not self.lost:
            try:
                self._send("end", 0, "", None)
            except Exception as error:
                self.lose(error)

    @contextlib.contextmanager
    def prepared(self, trusted: Mapping[str, Any], off_limits: tuple[str, ...]) -> Iterator[None]:
        """See ``checks.place.Place``."""
        with guard.closed(off_limits):
            pass  # a name that leads to nothing is the test's fault
        set_up = bool(trusted or off_limits)
        if set_up:
            with contextlib.suppress(AnswersLost):  # the check will say so
                self.ask("scene", {name: Trusted(value) for name, value in trusted.items()}, tuple(off_limits))
        try:
            yield
        finally:
            if set_up:
                with contextlib.suppress(AnswersLost):
                    self.ask("scene", {}, ())

    def run(self, exercise: str, function: Callable[..., Any], *args: Any) -> Any:
        """See ``checks.place.Place``."""
        whole = (Trusted(value, must=True) if isinstance(value, FunctionType) else value for value in args)
        return self._lending("run", Trusted(function, must=True), tuple(whole), exercise)

    def handing_over(self, namespace: dict[str, Any], exercise: str) -> contextlib.AbstractContextManager[None]:
        """See ``checks.place.Place``: each call that goes across is such a one."""
        return contextlib.nullcontext()

    # --- what Peer leaves open ---

    def _ask_away(self, what: str, *things: Any, track: Tracking = "mirrored") -> Any:
        if what != "call" or isinstance(things[0], ClassStandin):  # what a class is given when it is made, an optimizer's weights, it may keep
            return super()._ask_away(what, *things, track=track)
        return self._lending(what, *things)

    def _lending(self, what: str, thing: Any, args: tuple[Any, ...], more: Any) -> Any:
        """Ask for a call; an array or tensor among its arguments is as before afterwards."""
        since = self.shared.lending()
        try:
            result = super()._ask_away(what, thing, args, more, track="lent")
        finally:
            written = self.shared.take_back(since)
        if written:
            raise guard.overwritten((*args, *(more.values() if what == "call" else ())), written)
        return result

    def lose(self, error: Exception) -> AnswersLost:
        super().lose(error)
        self.lost = self._why(self.lost)
        return AnswersLost(self.lost)

    def patience(self) -> float | None:
        left = guard.time_left()
        if guard.clock is not None and guard.clock[0] != signal.ITIMER_REAL:
            return _LONG
        return _PATIENCE if left is None else left[1] + _GRACE

    def extras(self) -> Any:
        left = guard.time_left()
        return None if left is None else list(left)

    def take_extras(self, extras: Any) -> None:
        match extras:
            case [str(printed), float(seconds)] if math.isfinite(seconds):
                sys.stdout.write(printed[:2_000])
                guard.use_up(seconds)
            case _:
                raise FrameError("no message")

    def _refer(self, thing: Any, writer: Writer) -> Tree:
        if isinstance(thing, Trusted):
            return trusted_values.write(thing, writer, lambda kind: self.shared.add(kind).number)
        return super()._refer(thing, writer)

    def name_of(self, thing: Any) -> str | None:
        return self._functions.get(id(thing))

    def handle(self, what: str, things: tuple[Any, ...]) -> Any:
        match [what, *things]:
            case ["call", thing, tuple(args), dict(kwargs)] if self._is_mine(thing):
                return thing(*args, **kwargs)
            case ["get", thing, str(name)] if self._is_mine(thing):
                if name.startswith("_") or not isinstance(thing, _PUBLIC):
                    raise AttributeError(f"'{type(thing).__name__}' object has no attribute '{name}'")
                return getattr(thing, name)
            case ["op", name, thing, *others] if self._is_mine(thing) and name in ITERATION:
                return iterate(name, thing, *others)
            case ["copy", thing] if isinstance(thing, torch.nn.Module) and self._is_mine(thing):
                return copied(thing)
            case ["product", int(number), gradient]:
                return self.product(number, gradient)
            case ["set", thing, str(name), _] if self._is_mine(thing):
                raise AttributeError(f"'{type(thing).__name__}' object: '{name}' cannot be set here")
        raise FrameError("a question that is not to be asked")

    def _is_mine(self, thing: Any) -> bool:
        held = self.shared.of(thing)
        return held is not None and held.mine


@functools.cache
def _library_functions() -> dict[int, str]:
    return library_functions(torch, torch.nn.functional, torch.nn, torch.special, torch.linalg, np, scipy.special, math)

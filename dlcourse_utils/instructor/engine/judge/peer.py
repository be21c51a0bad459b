"""One side of the conversation between the judge and the student's process.

One message at a time: who asks waits, and meanwhile answers what the other side asks in turn (a test's function that an answer calls, a gradient).
Each answer carries the number of its question. What comes with every message: what has changed of what both sides see, the global random
generators, whether gradients are recorded, how much time is left, what was printed.
"""

from __future__ import annotations

import contextlib
import copy
import operator
from collections.abc import Mapping
from typing import Any

import torch

from dlcourse_utils.checks.guard import bell
from dlcourse_utils.checks.outcome import Whereabouts, whereabouts
from dlcourse_utils.instructor.engine.judge import errors
from dlcourse_utils.instructor.engine.judge.errors import AnswersLost
from dlcourse_utils.instructor.engine.judge.frames import Channel, FrameError, Gone
from dlcourse_utils.instructor.engine.judge.randomness import Randomness
from dlcourse_utils.instructor.engine.judge.references import References, standin_class
from dlcourse_utils.instructor.engine.judge.standins import ClassStandin, MethodStandin, OperandStandin, Standin
from dlcourse_utils.instructor.engine.judge.values import Reader, Tracking, Writer

#: How often questions may be asked within questions.
_MOST_NESTED = 40
#: The question in the middle of a backward pass. It comes often, and what has changed by then can be told afterwards.
_PRODUCT = "product"
_OPERANDS: dict[str, type[Standin]] = {"object": OperandStandin}
_NOTHING_NEW: dict[str, type[Standin]] = {}
_METHODS: dict[str, type[Standin]] = {"function": MethodStandin}


class Peer(References):
    """What both sides do alike; ``judging`` and ``studying`` say what each makes of the other's things and may be asked for."""

    #: What becomes of the arrays in what this side answers.
    answers_are: Tracking = "mirrored"
    #: Whether the other side may read where in this one's code an exception was raised.
    tells_places = True

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel
        self._random = Randomness()
        self._asked = 0
        self._nested = 0  # questions of the other side's that are being answered
        self._depth = 0  # those, and questions of this side's
        self._raised: dict[int, BaseException] = {}
        self._promised = 0
        self._waiting: list[tuple[int, Any, str, tuple[Any, ...]]] = []
        #: Why nothing can be asked any more.
        self.lost = ""

    # --- what the two sides do differently ---

    def patience(self) -> float | None:
        """Seconds to wait for the next message; None: for ever."""
        return None

    def extras(self) -> Any:
        """What else to say with a message."""
        return None

    def take_extras(self, extras: Any) -> None:
        """What else was said with a message."""

    def working(self) -> contextlib.AbstractContextManager[None]:
        """Around the work on a question of the other side's."""
        return contextlib.nullcontext()

    def handle(self, what: str, things: tuple[Any, ...]) -> Any:
        """Answer a question of the other side's."""
        raise NotImplementedError

    def compute(self, tasks: list[Any], reader: Reader) -> None:
        """Do the arithmetic that came with a question of the other side's."""
        if tasks:
            raise FrameError("arithmetic, where none is done")

    # --- asking ---

    def ask(self, what: str, *things: Any, track: Tracking = "mirrored", kinds: Mapping[str, type[Standin]] = _NOTHING_NEW) -> Any:
        """Ask the other side, and wait for its answer; ``kinds`` says what stands in for a new function, class or object in it, other than ever.

        Raises:
            AnswersLost: it has ended, is late, or makes no sense.
            BaseException: what it raised.
        """
        if self.lost:
            raise AnswersLost(self.lost)
        bell.held += 1
        self._depth += 1
        self._asked += 1
        number = self._asked
        try:
            self._send("ask", number, what, things, track=track, quick=what == _PRODUCT)
            while True:
                message, buffers = self._channel.receive(self.patience())
                kind, answered, reader = self._open(message, buffers, kinds)
                if kind == "ask":
                    self._serve(answered, message, reader)
                elif kind in ("answer", "raised") and answered == number:
                    value = reader.read(message[3])
                    break
                else:
                    raise FrameError("an answer to nothing that was asked")
            if kind == "raised":
                value = self._rebuild(value)
        except (Gone, FrameError, MemoryError) as error:
            raise self.lose(error) from None
        finally:
            bell.held -= 1
            self._depth -= 1
            self._forget_raised()
        bell.catch_up()
        if kind == "raised":
            raise value
        return value

    def lose(self, error: Exception) -> AnswersLost:
        """Note that nothing can be asked any more; returns what to raise."""
        self.lost = str(error) or type(error).__name__
        self._channel.close()
        return AnswersLost(self.lost)

    def _ask_away(self, what: str, *things: Any, track: Tracking = "mirrored") -> Any:
        """What stand-ins ask by."""
        if what == "compute":
            return self._compute(*things)
        made = what == "call" and isinstance(things[0], ClassStandin | MethodStandin)
        named = what == "get" and isinstance(things[0], OperandStandin)
        return self.ask(what, *things, track=track, kinds=_OPERANDS if made else _METHODS if named else _NOTHING_NEW)

    def _compute(self, name: str, *things: Any) -> Any:
        """An operand for what ``things`` will give: arithmetic waits for the next question and goes with it."""
        self._promised -= 1
        result = standin_class(OperandStandin, "operand")(self._ask_away)
        self.shared.learn(self._promised, result)
        self._waiting.append((self._promised, result, name, things))
        return result

    # --- messages ---

    def _send(self, kind: str, number: int, what: str, value: Any, *, track: Tracking = "mirrored", quick: bool = False) -> None:
        gone, dropped = self.shared.take_losses()
        nodes, self._dropped_nodes = self._dropped_nodes, []
        writer = Writer(self.shared, self._refer, track=track)
        changes = [] if quick else [writer.change(held, thing, state) for held, thing, state in self.shared.changed()]
        waiting, self._waiting = self._waiting, []
        computed = [[number, name, *map(writer.write, things)] for number, _, name, things in waiting]
        body = writer.write(value)
        state = [torch.is_grad_enabled(), [] if quick else self._random.changes(writer), self.extras()]
        self._channel.send([kind, number, what, body, changes, [gone, dropped, nodes], state, computed], writer.buffers)

    def _open(self, message: Any, buffers: list[memoryview], kinds: Mapping[str, type[Standin]] = _NOTHING_NEW) -> tuple[str, int, Reader]:
        match message:
            case [str(kind), int(number), str(), _, list(changes), [list(gone), list(dropped), list(nodes)], [bool(), list(randomness), extras], list()]:
                pass
            case _:
                raise FrameError("no message")
        reader = Reader(self.shared, buffers, self._build)
        reader.kinds = {**self.standins, **kinds}
        for lost in gone:
            self.shared.forget_yours(_number(lost))
        for lost in dropped:
            self.shared.forget_mine(_number(lost))
        for lost in nodes:
            self._nodes.pop(_number(lost), None)
        for change in changes:
            reader.change(change)
        self._random.follow(randomness, reader)
        self.take_extras(extras)
        return kind, number, reader

    def _serve(self, number: int, message: Any, reader: Reader) -> None:
        """Answer one question."""
        held = bell.held
        self._nested += 1
        self._depth += 1
        kind, result, things = "answer", None, ()
        try:
            if self._nested > _MOST_NESTED:
                raise RecursionError("maximum recursion depth exceeded between the test and the answer")
            with self.working(), torch.set_grad_enabled(message[6][0]):
                bell.held = 0
                bell.catch_up()
                self.compute(message[7], reader)
                things = reader.read(message[3])
                if type(things) is not tuple:
                    raise FrameError("a question without things")
                result = self.handle(message[2], things)
        except (FrameError, Gone):
            raise
        except BaseException as error:
            kind, result = "raised", self._describe(error)
        finally:
            bell.held = held
            self._nested -= 1
        try:  # while the things are still there: what was done to them is told with the answer
            self._send(kind, number, "", result, track=self.answers_are, quick=message[2] == _PRODUCT)
        except FrameError as error:
            self._send("raised", number, "", [*errors.describe(ValueError(f"the result cannot be passed on: {error}")), 0])
        del things
        self._depth -= 1
        self._forget_raised()

    # --- exceptions ---

    def _describe(self, error: BaseException) -> list[Any]:
        own = getattr(error, "_away_number", 0)
        if not own:
            own = -(len(self._raised) + 1)
            self._raised[-own] = error
        return [*errors.describe(error, place=self.tells_places), own]

    def _rebuild(self, description: Any) -> BaseException:
        try:
            *texts, number = description
            error = errors.rebuild(texts)
            if type(number) is not int:
                raise ValueError
        except (TypeError, ValueError):
            raise FrameError("an exception that is none") from None
        if number < 0:  # the other side's
            error._away_number = -number  # type: ignore[attr-defined]
            if self.tells_places:
                del error.whereabouts  # type: ignore[attr-defined]  # a test's: where it went through the answer is what counts
            return error
        original = self._raised.get(number)
        if original is None:
            return error
        here = whereabouts(original, "")
        there: Whereabouts = error.whereabouts  # type: ignore[attr-defined]
        original.whereabouts = Whereabouts(here.by_hand, there.place)  # type: ignore[attr-defined]
        return original

    def _forget_raised(self) -> None:
        if self._depth == 0:
            self._raised.clear()


def iterate(name: str, *things: Any) -> Any:
    """What ``ITERATION`` names, done."""
    return {"iter": iter, "next": next, "len": len, "getitem": operator.getitem}[name](*things)  # type: ignore[operator]


def copied(thing: Any) -> Any:
    """A deep copy."""
    return copy.deepcopy(thing)


def library_functions(*libraries: Any) -> dict[int, str]:
    """The id of each public function and class of these modules -> its dotted name."""
    found: dict[int, str] = {}
    for library in libraries:
        for name, thing in vars(library).items():
            if not name.startswith("_") and callable(thing):
                found.setdefault(id(thing), f"{library.__name__}.{name}")
    return found


def _number(value: Any) -> int:
    if type(value) is not int:
        raise FrameError("a number that is none")
    return value

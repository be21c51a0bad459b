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
from torch.autograd.graph import GradientEdge

from dlcourse_utils.checks.guard import bell
from dlcourse_utils.checks.outcome import Whereabouts, whereabouts
from dlcourse_utils.instructor.engine.judge import arrays, errors, graph, modules
from dlcourse_utils.instructor.engine.judge.errors import AnswersLost
from dlcourse_utils.instructor.engine.judge.frames import Channel, FrameError, Gone
from dlcourse_utils.instructor.engine.judge.randomness import Randomness
from dlcourse_utils.instructor.engine.judge.shared import Shared, snapshot
from dlcourse_utils.instructor.engine.judge.standins import ClassStandin, FunctionStandin, MethodStandin, OperandStandin, Standin
from dlcourse_utils.instructor.engine.judge.values import Reader, Tree, Writer, set_torch_state

#: How often questions may be asked within questions.
_MOST_NESTED = 40
_STANDINS: dict[str, type[Standin]] = {"function": FunctionStandin, "class": ClassStandin, "object": FunctionStandin}
_OPERANDS = _STANDINS | {"object": OperandStandin}
_METHODS = _STANDINS | {"function": MethodStandin}


class Peer:
    """What both sides do alike; ``judging`` and ``studying`` say what each makes of the other's things and may be asked for."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.shared = Shared()
        self._random = Randomness()
        self._asked = 0
        self._nested = 0  # questions of the other side's that are being answered
        self._depth = 0  # those, and questions of this side's
        self._nodes: dict[int, tuple[torch.Tensor, list[torch.Tensor | GradientEdge]]] = {}
        self._node_numbers = 0
        self._dropped_nodes: list[int] = []
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

    def name_of(self, thing: Any) -> str | None:
        """A name by which the other side finds a library's function; None: it is to have a stand-in."""
        return None

    def by_name(self, name: str) -> Any:
        """A library's function by that name."""
        raise FrameError("a name, where none is taken")

    def module_class(self, name: str, base: str, exact: bool) -> type[torch.nn.Module]:
        """The class of a twin of the other side's module."""
        return modules.away_class(name, base)

    # --- asking ---

    def ask(self, what: str, *things: Any, track: bool = True, kinds: Mapping[str, type[Standin]] = _STANDINS) -> Any:
        """Ask the other side, and wait for its answer; ``kinds`` says what stands in for a new function, class or object in it.

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
            self._send("ask", number, what, things, track=track)
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
        except (Gone, FrameError) as error:
            self.lose(error)
            raise AnswersLost(self.lost) from None
        finally:
            bell.held -= 1
            self._depth -= 1
            self._forget_raised()
        bell.catch_up()
        if kind == "raised":
            raise value
        return value

    def lose(self, error: Exception) -> None:
        """Note that nothing can be asked any more."""
        self.lost = str(error) or type(error).__name__
        self._channel.close()

    def _ask_away(self, what: str, *things: Any) -> Any:
        """What stand-ins ask by."""
        if what == "compute":
            return self._compute(*things)
        made = what == "call" and isinstance(things[0], ClassStandin | MethodStandin)
        named = what == "get" and isinstance(things[0], OperandStandin)
        return self.ask(what, *things, kinds=_OPERANDS if made else _METHODS if named else _STANDINS)

    def _compute(self, name: str, *things: Any) -> Any:
        """An operand for what ``things`` will give: arithmetic waits for the next question and goes with it."""
        self._promised -= 1
        result = _standin_class(OperandStandin, "operand")(self._ask_away)
        self.shared.learn(self._promised, result)
        self._waiting.append((self._promised, result, name, things))
        return result

    # --- messages ---

    def _send(self, kind: str, number: int, what: str, value: Any, *, track: bool = True) -> None:
        gone, dropped = self.shared.take_losses()
        nodes, self._dropped_nodes = self._dropped_nodes, []
        writer = Writer(self.shared, self._refer, track=track)
        changes = [writer.change(held, thing, state) for held, thing, state in self.shared.changed()]
        waiting, self._waiting = self._waiting, []
        computed = [[number, name, *map(writer.write, things)] for number, _, name, things in waiting]
        body = writer.write(value)
        state = [torch.is_grad_enabled(), self._random.changes(writer), self.extras()]
        self._channel.send([kind, number, what, body, changes, [gone, dropped, nodes], state, computed], writer.buffers)

    def _open(self, message: Any, buffers: list[memoryview], kinds: Mapping[str, type[Standin]] = _STANDINS) -> tuple[str, int, Reader]:
        match message:
            case [str(kind), int(number), str(), _, list(changes), [list(gone), list(dropped), list(nodes)], [bool(), list(randomness), extras], list()]:
                pass
            case _:
                raise FrameError("no message")
        reader = Reader(self.shared, buffers, self._build)
        reader.kinds = kinds
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
            self._send(kind, number, "", result)
        except FrameError as error:
            self._send("raised", number, "", errors.describe(ValueError(f"the result cannot be passed on: {error}")) + [0])
        del things
        self._depth -= 1
        self._forget_raised()

    # --- exceptions ---

    def _describe(self, error: BaseException) -> list[Any]:
        own = getattr(error, "_away_number", 0)
        if not own:
            own = -(len(self._raised) + 1)
            self._raised[-own] = error
        return [*errors.describe(error), own]

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

    # --- references ---

    def _refer(self, thing: Any, writer: Writer) -> Tree:
        """The tree of what is no plain data and has not crossed before."""
        if isinstance(thing, torch.Tensor) and arrays.tensor_can_cross(thing):
            return self._refer_node(thing, writer)
        if isinstance(thing, torch.Generator) and thing.device.type == "cpu":
            writer.buffers.append(snapshot(thing))
            return ["G", self.shared.add(thing).number, len(writer.buffers) - 1]
        name = self.name_of(thing)
        if name is not None:
            return ["P", name]
        if isinstance(thing, torch.nn.Module):
            return self._refer_module(thing, writer)
        kind = "class" if isinstance(thing, type) else "object" if not callable(thing) or _has_state(thing) else "function"
        held = self.shared.add(thing)
        own_class = 0 if kind == "class" else self._class_number(type(thing))
        name = thing.__name__ if kind != "object" and isinstance(getattr(thing, "__name__", None), str) else type(thing).__name__
        return ["o", held.number, kind, name[:100], own_class]

    def _class_number(self, kind: type) -> int:
        """The number of a class that has crossed, negative when it is the other side's; 0 of one that has not."""
        held = self.shared.of(kind)
        return 0 if held is None else held.number if held.mine else -held.number

    def _refer_node(self, tensor: torch.Tensor, writer: Writer) -> Tree:
        back = graph.node_of(tensor)
        if back is not None:
            return ["H", back.number]
        inputs: list[torch.Tensor | GradientEdge] = []
        trees = []
        leaves, nodes = graph.sources(tensor)
        for leaf in leaves:
            if self.shared.of(leaf) is not None or self.shows_leaves:
                inputs.append(leaf)
                trees.append(writer.write(leaf))
        for node, edge in nodes:
            inputs.append(edge)
            trees.append(["H", node.number])
        self._node_numbers += 1
        self._nodes[self._node_numbers] = tensor, inputs
        return ["h", self._node_numbers, *writer.data(tensor), trees]

    #: Whether leaves that a result was computed from cross with it, even if they have not before.
    shows_leaves = False

    def _refer_module(self, module: torch.nn.Module, writer: Writer) -> Tree:
        name = modules.library_name(type(module))
        try:
            carried = modules.attributes(module, lambda value: modules.plain(value) or self.name_of(value) is not None) if name else []
            exact = name is not None
        except ValueError:
            carried, exact = [], False
        number = self.shared.add(module).number
        return [
            *("m", number, type(module).__name__, modules.nearest_library_class(module), exact, self._class_number(type(module)), module.training),
            [[name, writer.write(value)] for name, value in carried],
            [[name, writer.write(value)] for name, value in module._parameters.items()],
            [[name, writer.write(value), name not in module._non_persistent_buffers_set] for name, value in module._buffers.items()],
            [[name, writer.write(part)] for name, part in module._modules.items()],
        ]

    def _build(self, tree: list[Any], reader: Reader) -> Any:
        """The twin of something that has not crossed before."""
        match tree:
            case ["h", int(number), dtype, layout, buffer, list(inputs)]:
                found = [reader.read(each) for each in inputs]
                if not all(isinstance(each, torch.Tensor) for each in found):
                    raise FrameError("a gradient by something that is no tensor")
                value = arrays.read_tensor(dtype, layout, reader.buffer(buffer))
                return graph.join(graph.Node(number, self._product, self._dropped_nodes_append), value, found)
            case ["H", int(number)]:
                if number not in self._nodes:
                    raise FrameError("a reference to nothing")
                return self._nodes[number][0]
            case ["G", int(number), buffer]:
                twin = self.shared.yours(number)
                if isinstance(twin, torch.Generator):
                    return twin
                generator = torch.Generator()
                set_torch_state(generator, reader.buffer(buffer))
                self.shared.learn(number, generator)
                return generator
            case ["P", str(name)]:
                return self.by_name(name)
            case ["m", int(number), str(name), str(base), bool(exact), int(own_class), bool(training), list(), list(), list(), list()]:
                twin = self.shared.yours(number)
                return twin if isinstance(twin, torch.nn.Module) else self._build_module(tree, reader)
            case ["o", int(number), ("function" | "class" | "object") as kind, str(name), int(own_class)]:
                twin = self.shared.yours(number)
                if isinstance(twin, Standin):
                    return twin
                standin = _standin_class(reader.kinds[kind], name if name.isidentifier() else "object")(self._ask_away, number if kind == "class" else own_class)
                self.shared.learn(number, standin)
                return standin
            case _:
                raise FrameError("a value of no known kind")

    def _build_module(self, tree: list[Any], reader: Reader) -> torch.nn.Module:
        _, number, name, base, exact, own_class, training, carried, parameters, buffers, parts = tree
        name = name if name.isidentifier() else "Module"
        kind = self.shared.mine(-own_class) if own_class < 0 else None  # a class of mine that was carried over
        known = isinstance(kind, type) and issubclass(kind, torch.nn.Module)
        module = modules.bare(modules.away_from(kind, name) if known else self.module_class(name, base, exact))
        if isinstance(module, modules.Away):
            module.__dict__["_away_ask"], module.__dict__["_away_kind"] = self._ask_away, own_class
        for attribute, value in carried:
            _check_name(module, attribute)
            module.__dict__[attribute] = reader.read(value)
        for attribute, value in parameters:
            _check_name(module, attribute)
            module._parameters[attribute] = reader.read(value)
        for attribute, value, persistent in buffers:
            _check_name(module, attribute)
            module._buffers[attribute] = reader.read(value)
            if not persistent:
                module._non_persistent_buffers_set.add(attribute)
        for attribute, value in parts:
            module._modules[attribute] = reader.read(value)
        _check_parts(module)
        module.__dict__["training"] = training
        self.shared.learn(number, module)
        return module

    def _dropped_nodes_append(self, number: int) -> None:
        self._dropped_nodes.append(number)

    def _product(self, number: int, gradient: torch.Tensor) -> Any:
        found = self.ask("product", number, gradient, track=False)
        if not isinstance(found, list) or not all(each is None or isinstance(each, torch.Tensor) for each in found):
            self.lose(FrameError("gradients that are none"))
            raise AnswersLost(self.lost)
        return found

    def product(self, number: int, gradient: Any) -> Any:
        """Answer a question for a gradient."""
        if number not in self._nodes or not isinstance(gradient, torch.Tensor):
            raise FrameError("a gradient of nothing")
        result, inputs = self._nodes[number]
        return graph.product(result, inputs, gradient)


def iterate(name: str, *things: Any) -> Any:
    """What ``ITERATION`` names, done."""
    return {"iter": iter, "next": next, "len": len, "getitem": operator.getitem}[name](*things)  # type: ignore[operator]


def copied(thing: Any) -> Any:
    """A deep copy."""
    return copy.deepcopy(thing)


def library_functions(*libraries: Any) -> dict[int, str]:
    """The id of each public function and class of these modules -> its dotted name."""
    found = {}
    for library in libraries:
        for name, thing in vars(library).items():
            if not name.startswith("_") and callable(thing):
                found.setdefault(id(thing), f"{library.__name__}.{name}")
    return found


def _has_state(thing: Any) -> bool:
    return not isinstance(thing, type) and hasattr(thing, "__dict__") and not hasattr(thing, "__name__")


def _number(value: Any) -> int:
    if type(value) is not int:
        raise FrameError("a number that is none")
    return value


def _check_name(module: torch.nn.Module, name: Any) -> None:
    if type(name) is not str or name.startswith("__") or name.startswith("_away") or hasattr(torch.nn.Module, name) or not name.replace(".", "_").isidentifier():
        raise FrameError("a module with a part that cannot be called so")


def _check_parts(module: torch.nn.Module) -> None:
    tensors = [*module._parameters.values(), *module._buffers.values()]
    fine = all(value is None or isinstance(value, torch.Tensor) for value in tensors)
    parts = all(part is None or isinstance(part, torch.nn.Module) for part in module._modules.values())
    names = all(type(name) is str and not hasattr(torch.nn.Module, name) and "." not in name for name in module._modules)
    if not (fine and parts and names):
        raise FrameError("a module of something that is none")


_standin_classes: dict[tuple[type[Standin], str], type[Standin]] = {}


def _standin_class(base: type[Standin], name: str) -> type[Standin]:
    if len(_standin_classes) > 1000:
        _standin_classes.clear()
    return _standin_classes.setdefault((base, name), type(name, (base,), {"__slots__": ()}))


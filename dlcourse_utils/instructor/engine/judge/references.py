"""What crosses as a reference: functions, classes, objects, modules, generators, and tensors that were computed with gradients."""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import torch
from torch.autograd.graph import GradientEdge

from dlcourse_utils.instructor.engine.judge import arrays, graph, modules
from dlcourse_utils.instructor.engine.judge.errors import AnswersLost
from dlcourse_utils.instructor.engine.judge.frames import FrameError
from dlcourse_utils.instructor.engine.judge.shared import Shared, snapshot
from dlcourse_utils.instructor.engine.judge.standins import ClassStandin, FunctionStandin, Standin
from dlcourse_utils.instructor.engine.judge.values import Reader, Tracking, Tree, Writer, set_torch_state


class References:
    """Makes the trees of what is no plain data, and the twins of what they describe."""

    #: What stands in for a function, a class or an object of the other side's.
    standins: ClassVar[dict[str, type[Standin]]] = {"function": FunctionStandin, "class": ClassStandin, "object": FunctionStandin}
    #: Whether leaves that a result was computed from cross with it, even if they have not before.
    shows_leaves = False

    def __init__(self) -> None:
        self.shared = Shared()
        self._nodes: dict[int, tuple[torch.Tensor, list[torch.Tensor | GradientEdge]]] = {}
        self._node_numbers = 0
        self._dropped_nodes: list[int] = []

    def ask(self, what: str, *things: Any, track: Tracking = "mirrored") -> Any:
        """Ask the other side."""
        raise NotImplementedError

    def _ask_away(self, what: str, *things: Any) -> Any:
        """What stand-ins ask by."""
        raise NotImplementedError

    def lose(self, error: Exception) -> AnswersLost:
        """Note that nothing can be asked any more; returns what to raise."""
        raise NotImplementedError

    def name_of(self, thing: Any) -> str | None:
        """A name by which the other side finds a library's function; None: it is to have a stand-in."""
        return None

    def by_name(self, name: str) -> Any:
        """A library's function by that name."""
        raise FrameError("a name, where none is taken")

    def module_class(self, name: str, base: str, exact: bool) -> type[torch.nn.Module]:
        """The class of a twin of the other side's module."""
        return modules.away_class(name, base)

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

    def _refer_module(self, module: torch.nn.Module, writer: Writer) -> Tree:
        name = modules.library_name(type(module))
        try:
            carried = modules.attributes(module, lambda value: modules.plain(value) or self.name_of(value) is not None) if name else []
            exact = name is not None
        except ValueError:
            carried, exact = [], False
        number = self.shared.add(module).number
        with writer.mirroring():
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
                value = reader.tensor([dtype, layout, buffer])
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
            case ["m", int(number), str(), str(), bool(), int(), bool(), list(), list(), list(), list()]:
                twin = self.shared.yours(number)
                return twin if isinstance(twin, torch.nn.Module) else self._build_module(tree, reader)
            case ["o", int(number), ("function" | "class" | "object") as kind, str(name), int(own_class)]:
                twin = self.shared.yours(number)
                if isinstance(twin, Standin):
                    return twin
                base: Any = reader.kinds[kind]
                standin: Standin = standin_class(base, name if name.isidentifier() else "object")(self._ask_away, number if kind == "class" else own_class)
                self.shared.learn(number, standin)
                return standin
            case _:
                raise FrameError("a value of no known kind")

    def _build_module(self, tree: list[Any], reader: Reader) -> torch.nn.Module:
        _, number, name, base, exact, own_class, training, carried, parameters, buffers, parts = tree
        name = name if name.isidentifier() else "Module"
        kind = self.shared.mine(-own_class) if own_class < 0 else self.shared.yours(own_class)  # a class that was carried over, from here or to here
        if isinstance(kind, type) and issubclass(kind, torch.nn.Module):
            module = modules.bare(modules.away_from(kind, name))
        else:
            module = modules.bare(self.module_class(name, base, exact))
        if isinstance(module, modules.Away):
            module.__dict__.update(_away_ask=self._ask_away, _away_kind=own_class, _away_whole=exact)
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
        found = self.ask("product", number, gradient, track="copied")
        if not isinstance(found, list) or not all(each is None or isinstance(each, torch.Tensor) for each in found):
            raise self.lose(FrameError("gradients that are none"))
        return found

    def product(self, number: int, gradient: Any) -> Any:
        """Answer a question for a gradient."""
        if number not in self._nodes or not isinstance(gradient, torch.Tensor):
            raise FrameError("a gradient of nothing")
        result, inputs = self._nodes[number]
        return graph.product(result, inputs, gradient)


def _has_state(thing: Any) -> bool:
    return not isinstance(thing, type) and hasattr(thing, "__dict__") and not hasattr(thing, "__name__")


def _check_name(module: torch.nn.Module, name: Any) -> None:
    if type(name) is not str or name.startswith(("__", "_away")) or hasattr(torch.nn.Module, name) or not name.replace(".", "_").isidentifier():
        raise FrameError("a module with a part that cannot be called so")


def _check_parts(module: torch.nn.Module) -> None:
    tensors = [*module._parameters.values(), *module._buffers.values()]
    fine = all(value is None or isinstance(value, torch.Tensor) for value in tensors)
    parts = all(part is None or isinstance(part, torch.nn.Module) for part in module._modules.values())
    names = all(type(name) is str and not hasattr(torch.nn.Module, name) and "." not in name for name in module._modules)
    if not (fine and parts and names):
        raise FrameError("a module of something that is none")


@functools.lru_cache(1000)
def standin_class(base: Any, name: str) -> Any:
    """The class of stand-ins for instances of a class called ``name``."""
    return type(name, (base,), {"__slots__": ()})

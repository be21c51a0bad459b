"""Values as trees of JSON and buffers, and back.

Plain data is rebuilt as exact base types: a subclass of ``float`` arrives as a float, one of ``ndarray`` as an array. What is no plain data crosses
as a reference, of which the receiver makes a stand-in. In a tree a list is always ``[tag, …]``; None, truth values, text, floats and small integers
stand for themselves.
"""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
import scipy.sparse
import torch

from dlcourse_utils.instructor.engine.judge import arrays
from dlcourse_utils.instructor.engine.judge.frames import MOST_BYTES, Buffer, FrameError
from dlcourse_utils.instructor.engine.judge.shared import LENT, Held, Shared, snapshot

Tree = Any
#: What becomes of an array that crosses: the other side has a mirror of it, a copy, or for one call what it may read and not change.
Tracking = Literal["mirrored", "lent", "copied"]

#: How deep lists in lists may be, and how many values one message may have.
MOST_DEPTH, MOST_VALUES = 60, 1_000_000
#: Bits of an integer.
_MOST_BITS = 100_000


class Writer:
    """Turns values into trees; what does not fit into JSON goes into ``buffers``.

    Args:
        shared: what has crossed so far.
        refer: makes the tree of what is no plain data and has not crossed yet.
        track: whether arrays are mirrored; if not, they are copies, or lent for the time of a call.
    """

    def __init__(self, shared: Shared, refer: Callable[[Any, Writer], Tree], *, track: Tracking = "mirrored") -> None:
        self.buffers: list[Buffer] = []
        self.track = track
        self._shared = shared
        self._refer = refer
        self._depth = 0

    def write(self, value: Any) -> Tree:
        """The tree of a value.

        Raises:
            FrameError: it is nested too deeply.
        """
        kind = type(value)
        if value is None or kind is bool or kind is float or kind is str:
            return value
        if kind is int:
            return value if -(2**63) <= value < 2**63 else ["i", hex(value)]
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise FrameError("nested too deeply to be passed on")
        try:
            return self._write(value)
        finally:
            self._depth -= 1

    def _write(self, value: Any) -> Tree:
        kind = type(value)
        if kind is tuple:
            return ["t", *map(self.write, value)]
        if kind is list:
            return ["l", *map(self.write, value)]
        held = self._shared.of(value)
        if held is not None and not held.mine:
            return ["R", held.number]
        if isinstance(value, torch.Tensor):
            return self._tensor(value)
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, np.generic):
            return ["n", value.dtype.name, self._buffer(value.tobytes())] if value.dtype.name in arrays.NUMPY else self._refer(value, self)
        if isinstance(value, torch.Size):
            return ["S", *map(self.write, value)]
        if isinstance(value, tuple | list):
            return ["t" if isinstance(value, tuple) else "l", *map(self.write, value)]
        if isinstance(value, dict):
            return ["C" if isinstance(value, collections.Counter) else "d", *([self.write(k), self.write(v)] for k, v in value.items())]
        if isinstance(value, frozenset | set):
            return ["z" if isinstance(value, frozenset) else "s", *map(self.write, value)]
        if isinstance(value, int | float | str):
            return self.write(_as_base(value))
        if isinstance(value, complex):
            return ["c", value.real, value.imag]
        if isinstance(value, bytes | bytearray):
            return ["y", self._buffer(bytes(value))]
        if isinstance(value, torch.dtype):
            return ["D", str(value).removeprefix("torch.")]
        if isinstance(value, torch.device):
            return ["V"]
        if isinstance(value, slice):
            return ["L", self.write(value.start), self.write(value.stop), self.write(value.step)]
        if isinstance(value, range):
            return ["q", self.write(value.start), self.write(value.stop), self.write(value.step)]
        if value is Ellipsis:
            return ["E"]
        if scipy.sparse.issparse(value) and value.ndim == 2:
            return ["W", *map(self.write, arrays.sparse_parts(value))]
        return self._refer(value, self)

    def _number(self, array: Any) -> int | None:
        match self.track:
            case "mirrored":
                return self._shared.add(array).number
            case "lent":
                return self._shared.lend(array).number
        return None

    def _buffer(self, data: Buffer) -> int:
        self.buffers.append(data)
        return len(self.buffers) - 1

    def data(self, tensor: torch.Tensor) -> Tree:
        """A tensor's numbers and layout."""
        layout, data = arrays.write(arrays.numbers(tensor))
        return [arrays.dtype_of(tensor), layout, self._buffer(data)]

    def _array(self, value: np.ndarray[Any, Any]) -> Tree:
        if not arrays.can_cross(value):
            return self._refer(value, self)
        layout, data = arrays.write(np.asarray(value))
        number = self._number(value) if type(value) is np.ndarray else None
        return ["a", number, value.dtype.name, layout, self._buffer(data), value.flags.writeable]

    def _tensor(self, value: torch.Tensor) -> Tree:
        if not arrays.tensor_can_cross(value) or not value.is_leaf:
            return self._refer(value, self)
        number = self._shared.add(value).number if value.requires_grad else self._number(value)
        grad = self.data(value.grad) if value.grad is not None and arrays.tensor_can_cross(value.grad) else None
        return ["x", number, *self.data(value), value.requires_grad, isinstance(value, torch.nn.Parameter), grad]

    def change(self, held: Held, thing: Any, state: Any) -> Tree:
        """What is to be told of a mirrored thing that has changed."""
        before, held.state = held.state, state
        key = [held.mine, held.number]
        if isinstance(thing, torch.Tensor):
            same = (before.shape, before.dtype, before.data) == (state.shape, state.dtype, state.data)
            grad = None if before.grad == state.grad else [None if state.grad is None or thing.grad is None else self.data(thing.grad)]
            return ["x", *key, None if same else self.data(thing), state.requires_grad, grad]
        if isinstance(thing, np.ndarray):
            layout, data = arrays.write(np.ascontiguousarray(thing))
            return ["a", *key, thing.dtype.name, layout, self._buffer(data)]
        if isinstance(thing, torch.Generator):
            return ["g", *key, self._buffer(state)]
        with self.mirroring():
            slots = [[name, self.write(value)] for name, value in (thing._parameters | thing._buffers).items()] if before.slots != state.slots else None
        return ["m", *key, state.training, slots]

    @contextlib.contextmanager
    def mirroring(self) -> Iterator[None]:
        """Around what a module holds, which lives as long as the module."""
        track, self.track = self.track, "mirrored"
        yield
        self.track = track


class Reader:
    """Turns a message's trees back into values.

    Args:
        shared: what has crossed so far.
        buffers: the message's.
        build: makes the stand-in of a reference that has not come before.

    ``read`` raises ``FrameError`` for whatever has no meaning.
    """

    def __init__(self, shared: Shared, buffers: list[memoryview], build: Callable[[list[Any], Reader], Any]) -> None:
        self.shared = shared
        #: What stands in for a new function, class or object.
        self.kinds: Mapping[str, type[Any]] = {}
        self._buffers = buffers
        self._build = build
        self._depth = 0
        self._count = 0
        self._taken: set[int] = set()
        self._bytes = 0

    def read(self, tree: Tree) -> Any:
        """The value of a tree."""
        self._count += 1
        if self._count > MOST_VALUES:
            raise FrameError("more values than a message may have")
        if type(tree) is not list:
            if isinstance(tree, dict):
                raise FrameError("an object where a value should be")
            return tree.encode("utf-8", "replace").decode() if type(tree) is str and not tree.isascii() else tree
        self._depth += 1
        if self._depth > 2 * MOST_DEPTH:
            raise FrameError("nested too deeply")
        try:
            return self._read(tree)
        except (TypeError, ValueError, IndexError, OverflowError, KeyError, AttributeError) as error:
            raise FrameError(f"a value that means nothing ({type(error).__name__})") from None
        finally:
            self._depth -= 1

    def _read(self, tree: list[Any]) -> Any:
        tag, *parts = tree
        known = _READERS.get(tag)  # by the tag: a long match statement would try each of its patterns
        return self._build(tree, self) if known is None else known(self, parts)

    def items(self, parts: list[Any]) -> list[Any]:
        """The values of several trees."""
        return [self.read(part) for part in parts]

    def _pairs(self, parts: list[Any]) -> dict[Any, Any]:
        return {self.read(key): self.read(value) for key, value in parts}

    def _reference(self, parts: list[Any]) -> Any:
        (number,) = parts
        held = self.shared.held(number, mine=True)
        if held is None:
            raise FrameError("a reference to nothing")
        return held.get()

    def _array(self, parts: list[Any]) -> Any:
        number, dtype, layout, buffer, writeable = parts
        twin = self.shared.yours(number)
        if isinstance(twin, np.ndarray):
            return twin
        array = self.array(_numpy(dtype), layout, buffer)
        array.flags.writeable = bool(writeable)
        self._learn(number, array)
        return array

    def _tensor(self, parts: list[Any]) -> Any:
        number, *data, requires_grad, parameter, grad = parts
        twin = self.shared.yours(number)
        if isinstance(twin, torch.Tensor):
            return twin
        tensor = self.tensor(data)
        tensor = torch.nn.Parameter(tensor, bool(requires_grad)) if parameter else tensor.requires_grad_(bool(requires_grad))
        tensor.grad = None if grad is None else self.tensor(grad)
        self._learn(number, tensor)
        return tensor

    def _integer(self, parts: list[Any]) -> int:
        (text,) = parts
        if len(text) > _MOST_BITS // 4:
            raise FrameError("an integer without end")
        return int(text, 16)

    def buffer(self, number: Any) -> memoryview:
        """One of the message's buffers, each of which is there for one value."""
        if type(number) is not int or not 0 <= number < len(self._buffers) or number in self._taken:
            raise FrameError("a buffer that is not there")
        self._taken.add(number)
        return self._buffers[number]

    def array(self, dtype: np.dtype[Any], layout: Any, buffer: Any) -> np.ndarray[Any, Any]:
        """An array from its layout and its buffer; of all in a message the elements together are bounded, however few bytes they share."""
        found = arrays.read(dtype, layout, self.buffer(buffer))
        self._bytes += found.nbytes
        if self._bytes > MOST_BYTES:
            raise FrameError("more numbers than a message may have")
        return found

    def tensor(self, tree: Tree) -> torch.Tensor:
        """A tensor from its numbers and layout."""
        dtype, layout, buffer = tree
        in_numpy, in_torch = arrays.dtypes(dtype)
        return arrays.as_tensor(self.array(in_numpy, layout, buffer), in_torch)

    def _learn(self, number: Any, thing: Any) -> None:
        if type(number) is int:
            self.shared.learn(number, thing)

    def change(self, tree: Tree) -> None:
        """Do to my side of a mirrored thing what was done to the other's; nothing where it is gone."""
        try:
            kind, theirs, number, *news = tree
            held = self.shared.held(number, mine=not theirs)
            thing = None if held is None else held.get()
            if held is None or thing is None or held.state is None:
                return
            if held.state is LENT:
                self.shared.keep_original(held.number, thing)
            self._apply(kind, thing, news)
            held.state = LENT if held.state is LENT else snapshot(thing)
        except (TypeError, ValueError, IndexError, KeyError, AttributeError, RuntimeError) as error:
            raise FrameError(f"a change that means nothing ({type(error).__name__})") from None

    def _apply(self, kind: str, thing: Any, news: list[Any]) -> None:
        match [kind, thing, *news]:
            case ["x", torch.Tensor(), data, bool(requires_grad), grad]:
                if data is not None:
                    arrays.put(thing, self.tensor(data))
                if thing.is_leaf:
                    thing.requires_grad_(requires_grad)
                if grad is not None:
                    new = None if grad[0] is None else self.tensor(grad[0])
                    thing.grad = None if new is None or new.shape != thing.shape or new.dtype != thing.dtype else new
            case ["a", np.ndarray(), dtype, layout, buffer]:
                new_array = self.array(_numpy(dtype), layout, buffer)
                if (new_array.shape, new_array.dtype) != (thing.shape, thing.dtype):
                    raise FrameError("an array that has become another")
                arrays.put(thing, new_array)
            case ["g", torch.Generator(), buffer]:
                set_torch_state(thing, self.buffer(buffer))
            case ["m", torch.nn.Module(), bool(training), slots]:
                object.__setattr__(thing, "training", training)
                for name, value in slots or ():
                    _fill(thing, name, self.read(value))
            case _:
                raise FrameError("a change of something else")


#: What reads a tree, by its tag; what is not here is no plain data.
_READERS: dict[Any, Callable[[Reader, list[Any]], Any]] = {
    "l": Reader.items,
    "t": lambda reader, parts: tuple(reader.items(parts)),
    "s": lambda reader, parts: set(reader.items(parts)),
    "z": lambda reader, parts: frozenset(reader.items(parts)),
    "S": lambda reader, parts: torch.Size(reader.items(parts)),
    "d": Reader._pairs,
    "C": lambda reader, parts: collections.Counter(reader._pairs(parts)),
    "R": Reader._reference,
    "a": Reader._array,
    "x": Reader._tensor,
    "n": lambda reader, parts: reader.array(_numpy(parts[0]), [[], None, 0], parts[1])[()],
    "i": Reader._integer,
    "c": lambda reader, parts: complex(*parts),
    "y": lambda reader, parts: bytes(reader.buffer(*parts)),
    "D": lambda reader, parts: arrays.dtypes(*parts)[1],
    "V": lambda reader, parts: torch.device("cpu", *parts),
    "L": lambda reader, parts: slice(*reader.items(parts)),
    "q": lambda reader, parts: range(*reader.items(parts)),
    "E": lambda reader, parts: Ellipsis,
    "W": lambda reader, parts: arrays.sparse(*reader.items(parts)),
}


def set_torch_state(generator: torch.Generator, state: memoryview) -> None:
    """Set a generator to a state that has come; torch itself refuses what is none."""
    if len(state) != 5056:
        raise FrameError("a generator's state of the wrong size")
    generator.set_state(torch.from_numpy(np.frombuffer(state, np.uint8).copy()))


def _fill(module: torch.nn.Module, name: Any, value: Any) -> None:
    if value is not None and not isinstance(value, torch.Tensor):
        raise FrameError("something that is no tensor in a module")
    if name in module._parameters and (value is None or isinstance(value, torch.nn.Parameter)):
        module._parameters[name] = value
    elif name in module._buffers:
        module._buffers[name] = value
    elif type(name) is str and name.isidentifier() and not hasattr(type(module), name):
        if isinstance(value, torch.nn.Parameter):
            module._parameters[name] = value
        else:
            module._buffers[name] = value


def _as_base(value: float | str) -> Any:
    """An instance of a subclass as what it is underneath."""
    if isinstance(value, int):
        return int.__add__(value, 0)
    return float.__pos__(value) if isinstance(value, float) else str.__add__(value, "")


def _numpy(name: Any) -> np.dtype[Any]:
    if name == "bfloat16":
        raise FrameError("an unknown dtype")
    return arrays.dtypes(name)[0]


__all__ = ["Reader", "Tracking", "Tree", "Writer", "set_torch_state"]

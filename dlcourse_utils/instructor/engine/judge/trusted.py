"""Functions and classes of a test's that are carried over whole: what a check puts in place of answers, and what it runs next to them.

An answer may call them, or they an answer, thousands of times in a training loop, so they run where the answer does. Only what keeps nothing to
itself goes this way: code, and the constants, library functions and answers that it names. Every other callable stays with the judge and is called there.

The code is Python's own form of it (``marshal``) and goes from the judge to the student's process only.
"""

from __future__ import annotations

import builtins
import dis
import importlib
import marshal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch

from dlcourse_utils.instructor.engine.judge.errors import TEST
from dlcourse_utils.instructor.engine.judge.standins import Standin
from dlcourse_utils.instructor.engine.judge.values import Reader, Tree, Writer

_CONSTANTS = (
    bool,
    int,
    float,
    str,
    type(None),
    np.ndarray,
    np.generic,
    torch.Tensor,
    torch.dtype,
    torch.device,
    bytes,
    complex,
    slice,
    range,
    frozenset,
    Standin,
)
_NOT_OF_THE_BODY = ("__dict__", "__weakref__", "__doc__", "__module__", "__annotations__", "__static_attributes__", "__firstlineno__")
_LIBRARIES = ("torch", "numpy", "scipy", "math", "itertools", "functools", "operator", "collections", "builtins")


@dataclass(frozen=True)
class Trusted:
    """A value to be carried over; ``must``: it is an error if it cannot go whole."""

    value: Any
    must: bool = False


class _Impure(Exception):
    """The function holds on to something that must stay one thing."""


def write(trusted: Trusted, writer: Writer, numbered: Callable[[type], int]) -> Tree:
    """The tree of a trusted value: a function or a class whole, if it may go so; everything else as ever.

    Args:
        trusted: the value.
        writer: of the message.
        numbered: gives a class a number, by which its instances are known again.

    Raises:
        TypeError: it must go whole, and cannot.
    """
    value = trusted.value
    if not isinstance(value, FunctionType) and not (isinstance(value, type) and not _is_library(value)):
        return writer.write(value)
    kept = len(writer.buffers)
    try:
        return _Carrier(writer, numbered).write(value)
    except _Impure:
        if trusted.must:
            raise TypeError(
                f"{value.__name__} cannot run next to the answers: it names what must stay one thing. Give it only constants, libraries and answers."
            ) from None
        del writer.buffers[kept:]
        return writer.write(value)


class _Carrier:
    """Writes what is carried over whole."""

    def __init__(self, writer: Writer, numbered: Callable[[type], int]) -> None:
        self._writer, self._numbered = writer, numbered
        self._within: list[Any] = []

    def write(self, value: Any) -> Tree:
        """The tree of a value that functions name.

        Raises:
            _Impure: it must stay one thing, and so where it is.
        """
        if _is_constant(value):
            return self._writer.write(value)
        if isinstance(value, ModuleType):
            if not _is_library(value):
                raise _Impure
            return ["M", value.__name__]
        if isinstance(value, FunctionType | type) and _is_library(value):
            return ["P", f"{value.__module__}.{value.__qualname__}"]
        if isinstance(value, FunctionType | type):
            if value in self._within:
                return ["I"] if value is self._within[-1] and isinstance(value, type) else self._refuse()
            self._within.append(value)
            tree = self._class(value) if isinstance(value, type) else self._function(value)
            self._within.pop()
            return tree
        named = self._writer.write(value) if callable(value) else None
        return named if isinstance(named, list) and named[0] == "P" else self._refuse()

    @staticmethod
    def _refuse() -> Tree:
        raise _Impure

    def _function(self, function: FunctionType) -> Tree:
        self._writer.buffers.append(marshal.dumps(_of_the_test(function.__code__)))
        code = len(self._writer.buffers) - 1
        named = {name: function.__globals__[name] for name in sorted(_names(function.__code__)) if name in function.__globals__}
        cells = []
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                cells.append(["I"] if name == "__class__" else self.write(cell.cell_contents))
            except ValueError:  # an empty cell
                raise _Impure from None
        return [
            *("F", function.__name__, code),
            [self.write(value) for value in function.__defaults__ or ()],
            [[name, self.write(value)] for name, value in (function.__kwdefaults__ or {}).items()],
            cells,
            [[name, self.write(value)] for name, value in named.items()],
        ]

    def _class(self, kind: type) -> Tree:
        body = {name: value for name, value in vars(kind).items() if name not in _NOT_OF_THE_BODY}
        bases = [self.write(base) for base in kind.__bases__ if base is not object]
        return ["K", self._numbered(kind), kind.__name__, bases, [[name, self.write(value)] for name, value in body.items()]]


def _is_constant(value: Any) -> bool:
    """Whether a copy of a value is as good as the value."""
    return all(map(_is_constant, value)) if type(value) is tuple else isinstance(value, _CONSTANTS)


def _names(code: CodeType) -> set[str]:
    """The global names that code reads.

    Raises:
        _Impure: it writes some.
    """
    found = [step for step in dis.get_instructions(code) if step.opname.endswith(("_GLOBAL", "_NAME")) and not step.opname.startswith("IMPORT")]
    if any(step.opname in ("STORE_GLOBAL", "DELETE_GLOBAL") for step in found):
        raise _Impure
    return {step.argval for step in found}.union(*(_names(inner) for inner in code.co_consts if isinstance(inner, CodeType)))


def _of_the_test(code: CodeType) -> CodeType:
    """The same code, of which an error says that it is the test's and no answer's."""
    inner = tuple(_of_the_test(each) if isinstance(each, CodeType) else each for each in code.co_consts)
    return code.replace(co_filename=TEST, co_consts=inner)


def _is_library(thing: Any) -> bool:
    name = thing.__name__ if isinstance(thing, ModuleType) else thing.__module__ or ""
    return str(name).split(".")[0] in _LIBRARIES


def read(tree: list[Any], reader: Reader, learn: Callable[[int, type], None]) -> Any:
    """The function, class or module that was written; ``learn`` notes a class's number."""
    match tree:
        case ["M", str(name)]:
            return importlib.import_module(name)
        case ["F", *_]:
            return _read_function(tree, reader, CellType())
        case ["K", number, name, bases, body]:
            known = reader.shared.yours(number)
            if isinstance(known, type):
                return known
            own = CellType()
            parts = {key: _read_function(value, reader, own) if value[:1] == ["F"] else reader.read(value) for key, value in body}
            own.cell_contents = kind = type(name, tuple(map(reader.read, bases)), parts | {"__module__": "__main__"})
            learn(number, kind)
            return kind
    raise ValueError("nothing that can be carried")


def within(values: Iterable[Any]) -> list[FunctionType]:
    """The functions among these values that were carried over, and those that they name."""
    found: list[FunctionType] = []
    for value in values:
        if isinstance(value, FunctionType) and value.__globals__.get("__carried__"):
            found += [value, *within(value.__globals__.values())]
    return found


def _read_function(tree: list[Any], reader: Reader, own: CellType) -> FunctionType:
    _, name, code, defaults, keywords, cells, named = tree
    names = {"__builtins__": builtins, "__name__": "__main__", "__carried__": True} | {key: reader.read(value) for key, value in named}
    closure = tuple(own if cell == ["I"] else CellType(reader.read(cell)) for cell in cells)
    function = FunctionType(marshal.loads(reader.buffer(code)), names, name, tuple(map(reader.read, defaults)), closure)
    function.__kwdefaults__ = {key: reader.read(value) for key, value in keywords}
    return function

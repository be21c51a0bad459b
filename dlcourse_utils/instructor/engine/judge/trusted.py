"""Functions that a check puts in place of answers, carried over whole.

An answer may call them thousands of times, in a training loop, so they run where the answer does. Only functions that keep nothing to themselves go
this way: code, and the constants, library functions and answers that it names. Every other callable stays with the judge and is called there.

The code is Python's own form of it (``marshal``) and goes from the judge to the student's process only.
"""

from __future__ import annotations

import builtins
import importlib
import marshal
from dataclasses import dataclass
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch

from dlcourse_utils.instructor.engine.judge import modules
from dlcourse_utils.instructor.engine.judge.standins import Standin
from dlcourse_utils.instructor.engine.judge.values import Reader, Tree, Writer

_CONSTANTS = (np.ndarray, np.generic, torch.Tensor, torch.dtype, torch.device, bytes, complex, slice, range, frozenset)
_LIBRARIES = ("torch", "numpy", "scipy", "math", "itertools", "functools", "operator", "collections")


@dataclass(frozen=True)
class Trusted:
    """A value on its way to stand in place of an answer."""

    value: Any


class _Impure(Exception):
    """The function holds on to something that must stay one thing."""


def write(value: Any, writer: Writer) -> Tree:
    """The tree of a trusted value: a function whole, if it may go so; everything else as ever."""
    kept = len(writer.buffers)
    if isinstance(value, FunctionType):
        try:
            return _function(value, writer, ())
        except _Impure:
            del writer.buffers[kept:]
    return writer.write(value)


def _function(function: FunctionType, writer: Writer, within: tuple[FunctionType, ...]) -> Tree:
    if function in within:
        raise _Impure
    within = (*within, function)
    writer.buffers.append(marshal.dumps(function.__code__))
    code = len(writer.buffers) - 1
    named = {name: function.__globals__[name] for name in sorted(_names(function.__code__)) if name in function.__globals__}
    try:
        cells = [cell.cell_contents for cell in function.__closure__ or ()]
    except ValueError:
        raise _Impure from None
    return [
        *("F", function.__name__, code),
        [_value(value, writer, within) for value in function.__defaults__ or ()],
        [[name, _value(value, writer, within)] for name, value in (function.__kwdefaults__ or {}).items()],
        [_value(value, writer, within) for value in cells],
        [[name, _value(value, writer, within)] for name, value in named.items()],
    ]


def _names(code: CodeType) -> set[str]:
    return {*code.co_names}.union(*(_names(inner) for inner in code.co_consts if isinstance(inner, CodeType)))


def _value(value: Any, writer: Writer, within: tuple[FunctionType, ...]) -> Tree:
    if isinstance(value, ModuleType):
        if value.__name__.split(".")[0] not in _LIBRARIES:
            raise _Impure
        return ["M", value.__name__]
    tree = writer.write(value) if modules.plain(value) or isinstance(value, (*_CONSTANTS, Standin)) else None
    if tree is not None or value is None:
        return tree
    named = writer.write(value) if callable(value) and not isinstance(value, FunctionType) else None
    if isinstance(named, list) and named[0] == "P":
        return named
    if isinstance(value, FunctionType):
        module = value.__module__ or ""
        if module.split(".")[0] in _LIBRARIES:
            return ["P", f"{module}.{value.__qualname__}"]
        return _function(value, writer, within)
    raise _Impure


def read(tree: list[Any], reader: Reader) -> Any:
    """The function or module that was written."""
    match tree:
        case ["M", str(name)]:
            return importlib.import_module(name)
        case ["F", str(name), code, defaults, keywords, cells, named]:
            names = {"__builtins__": builtins, "__name__": "__main__"} | {key: reader.read(value) for key, value in named}
            closure = tuple(CellType(reader.read(cell)) for cell in cells)
            function = FunctionType(marshal.loads(reader.buffer(code)), names, name, tuple(map(reader.read, defaults)), closure)
            function.__kwdefaults__ = {key: reader.read(value) for key, value in keywords}
            return function
    raise ValueError("no function")


"""Stand-ins: what a test sees of a function, a class or an object that lives in the student's process, and the other way round.

They say nothing about themselves that was not asked for by name. No object of the student's compares, counts as a number or a truth value, or turns
into an array: an object must not be asked whether it is right. Only *operands* do arithmetic, and they are what a class of the student's own makes when the
test calls it, what their methods return, and what comes of their arithmetic; no expected value is ever one of the two sides. What comes of
arithmetic is an operand, whatever it really is: no number that a test could compare. So it need not be waited for, and is sent with the next question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from dlcourse_utils.instructor.engine.judge.graph import call_transformed, is_transformed

#: Asks the other side: what to do, with which things.
Ask = Callable[..., Any]


class Standin:
    """Something of the other side's."""

    __slots__ = ("__weakref__", "_away_ask", "_away_kind")

    def __init__(self, ask: Ask, kind: int = 0) -> None:
        object.__setattr__(self, "_away_ask", ask)
        object.__setattr__(self, "_away_kind", kind)

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("__", "_away")):
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'", name=name, obj=self)
        return self._away_ask("get", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._away_ask("set", self, name, value)

    def __bool__(self) -> bool:
        return True

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self._away_ask("copy", self)

    def __iter__(self) -> Iterator[Any]:
        return self._away_ask("op", "iter", self)  # type: ignore[no-any-return]

    def __next__(self) -> Any:
        return self._away_ask("op", "next", self)

    def __len__(self) -> int:
        return self._away_ask("op", "len", self)  # type: ignore[no-any-return]

    def __getitem__(self, key: Any) -> Any:
        return self._away_ask("op", "getitem", self, key)


class FunctionStandin(Standin):
    """A function or another thing to be called."""

    __slots__ = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if any(map(is_transformed, args)):
            return call_transformed(lambda *plain: self._away_ask("call", self, plain, kwargs), args)
        return self._away_ask("call", self, args, kwargs)


class ClassStandin(FunctionStandin):
    """A class."""

    __slots__ = ()

    def __instancecheck__(self, thing: Any) -> bool:
        kind = getattr(thing, "_away_kind", 0)
        return isinstance(kind, int) and kind != 0 and kind == self._away_kind


class MethodStandin(FunctionStandin):
    """A method of an operand."""

    __slots__ = ()


class ObjectStandin(FunctionStandin):
    """An object of the student's, as the judge sees it."""

    __slots__ = ()

    def __bool__(self) -> bool:
        raise TypeError(f"a {type(self).__name__} is neither true nor false here")


class OperandStandin(ObjectStandin):
    """An object that does arithmetic."""

    __slots__ = ()


_BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul")
_UNARY = ("neg", "pos", "abs", "invert")
#: What may be asked of any object by name.
ITERATION = frozenset(("iter", "next", "len", "getitem"))
#: What may be asked of operands: Python's ``operator`` functions.
ARITHMETIC = frozenset((*_BINARY, *_UNARY))


def _binary(name: str, *, reflected: bool) -> Callable[[Any, Any], Any]:
    def method(self: Any, other: Any) -> Any:
        return self._away_ask("compute", name, *((other, self) if reflected else (self, other)))

    return method


def _unary(name: str) -> Callable[[Any], Any]:
    return lambda self: self._away_ask("compute", name, self)


for _name in _BINARY:
    setattr(OperandStandin, f"__{_name}__", _binary(_name, reflected=False))
    setattr(OperandStandin, f"__r{_name}__", _binary(_name, reflected=True))
for _name in _UNARY:
    setattr(OperandStandin, f"__{_name}__", _unary(_name))

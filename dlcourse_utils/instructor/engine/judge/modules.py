"""Modules across: what one is made of, and a twin of it that shares its parameters.

A module of torch's own becomes such a module on the student's side. Every other, and on the judge's side every one, becomes a stand-in: its
parameters, buffers, parts and mode are there, and a call goes across.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any, cast

from torch import nn

from dlcourse_utils.instructor.engine.judge.frames import FrameError

_OWN = set(nn.Module().__dict__)
_PLAIN = (bool, int, float, str, type(None))


def library_name(module_class: type) -> str | None:
    """The dotted name of one of torch's own classes of modules; None for every other class."""
    name = f"{module_class.__module__}.{module_class.__qualname__}"
    return name if module_class.__module__.startswith("torch.nn.") and _from_library(name) is module_class else None


def library_class(name: Any) -> type[nn.Module]:
    """The class of that name.

    Raises:
        FrameError: torch has no such module.
    """
    found = _from_library(name) if type(name) is str and name.startswith("torch.nn.") else None
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise FrameError("a module that torch does not have")
    return found


def _from_library(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return None


def nearest_library_class(module: nn.Module) -> str:
    """The name of the first of torch's own classes that a module is an instance of."""
    return next(name for kind in type(module).__mro__ if (name := library_name(kind)))


def attributes(module: nn.Module, writable: Callable[[Any], bool]) -> list[tuple[str, Any]]:
    """What a module of torch's own carries besides parameters, buffers, parts and mode; ``writable`` says whether a value can cross.

    Raises:
        ValueError: there is something that cannot, such as a hook; then only a stand-in will do.
    """
    found = [(name, value) for name, value in module.__dict__.items() if name not in _OWN]
    hooks = any(value for name, value in module.__dict__.items() if name in _OWN and "hook" in name and isinstance(value, dict))
    if hooks or not all(writable(value) for _, value in found):
        raise ValueError("the module carries more than plain data")
    return found


def plain(value: Any) -> bool:
    """Whether a value is a number, text, or a tuple or list of such."""
    return isinstance(value, _PLAIN) or (type(value) in (tuple, list) and all(map(plain, value)))


def bare(kind: type[nn.Module]) -> nn.Module:
    """An instance with nothing in it."""
    module: nn.Module = kind.__new__(kind)
    nn.Module.__init__(module)
    return module


class Away:
    """Mixed into a class of torch's: a module whose work is done on the other side.

    ``_away_whole``: it is one of torch's own, and all that it carries came along; what is not here is not there.
    """

    _away_ask: Callable[..., Any]
    _away_whole: bool

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._away_ask("call", self, args, kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._away_ask("call", self, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        try:
            return nn.Module.__getattr__(self, name)  # type: ignore[arg-type]
        except AttributeError:
            if name.startswith("_") or self.__dict__["_away_whole"]:
                raise
        return self._away_ask("get", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        nn.Module.__setattr__(self, name, value)  # type: ignore[arg-type]
        if name in self.__dict__ and name not in _OWN and not name.startswith("_away"):
            self._away_ask("set", self, name, value)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self._away_ask("copy", self)

    def register_forward_pre_hook(self, hook: Callable[..., Any], **options: Any) -> Any:
        return self._away_ask("hook", self, "register_forward_pre_hook", hook)

    def register_forward_hook(self, hook: Callable[..., Any], **options: Any) -> Any:
        return self._away_ask("hook", self, "register_forward_hook", hook)


def away_class(name: str, base: str) -> type[nn.Module]:
    """The class of stand-ins for modules called ``name`` that are, to ``isinstance``, what ``base`` names."""
    return away_from(library_class(base), name)


def away_from(base: type[nn.Module], name: str) -> type[nn.Module]:
    """The class of stand-ins for instances of ``base``."""
    return _away_from(cast("Any", base), name)


@functools.lru_cache(1000)
def _away_from(base: Any, name: str) -> type[nn.Module]:
    return type(name, (Away, base), {"__module__": "__main__"})

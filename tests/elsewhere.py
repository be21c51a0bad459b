"""A device that is not the CPU, pretended on the CPU: what would break on a GPU breaks here, without one.

Tensors live in the CPU's memory, but those that were moved or made elsewhere say so and are held to it: an operation that mixes the two
places is refused as CUDA would, numpy gets nothing from elsewhere, and a generator draws only for its own place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode

from dlcourse_utils import device

PLACE = torch.device("cuda")

#: Where the later arguments may lie elsewhere: an index is brought along, copies and new data are what changes a place, of others only the shape counts.
_FREE = {"__getitem__", "__setitem__", "copy_", "__set__", "_has_compatible_shallow_copy_type", "view_as", "reshape_as", "expand_as"}
_TO_NUMPY = {"numpy", "__array__"}


class Generator(torch.Generator):
    """A generator that knows for which place it draws."""

    def __new__(cls, device: Any = "cpu") -> Generator:
        generator = super().__new__(cls)
        generator.place = PLACE if _is_place(device) else torch.device("cpu")
        return generator

    def __init__(self, device: Any = "cpu") -> None:
        pass

    @property
    def device(self) -> torch.device:
        return self.place


class Elsewhere(TorchFunctionMode):
    """Keeps account of which memory counts as elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self._memory: dict[int, StorageWeakRef] = {}

    def holds(self, tensor: Tensor) -> bool:
        """Whether the tensor lies elsewhere."""
        found = self._memory.get(tensor.untyped_storage().data_ptr())
        return found is not None and not found.expired()

    def _put(self, value: Any) -> Any:
        for tensor in _tensors(value):
            storage = tensor.untyped_storage()
            self._memory[storage.data_ptr()] = StorageWeakRef(storage)
        return value

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        name, kwargs = getattr(func, "__name__", ""), dict(kwargs or {})
        if func == Tensor.device.__get__:
            return PLACE if self.holds(args[0]) else func(*args)
        if name in ("to", "cpu"):
            return self._move(func, args, kwargs)
        if name in _TO_NUMPY and self.holds(args[0]):
            raise TypeError("can't convert a tensor that lies elsewhere to numpy: call .cpu() first")
        if kwargs.get("device") is not None or kwargs.get("generator") is not None:
            return self._make(func, args, kwargs)
        given = list(_tensors((args[:1], kwargs) if name in _FREE else (args, kwargs)))
        places = {self.holds(tensor) for tensor in given if tensor.ndim and tensor.numel()}
        if len(places) > 1:
            raise RuntimeError(f"{name}: expected all tensors to be on the same device, but some are elsewhere and some on the CPU")
        result = func(*args, **kwargs)
        return self._put(result) if any(map(self.holds, given)) else result

    def _move(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tensor, away = args[0], self.holds(args[0])
        goes = False if func.__name__ == "cpu" else away
        for target in (*args[1:], *kwargs.values()):
            if isinstance(target, Tensor):
                goes = self.holds(target)
            elif isinstance(target, torch.device | str):
                goes = _is_place(target)
        here = [_on_cpu(value) for value in args], {key: _on_cpu(value) for key, value in kwargs.items()}
        result = func(*here[0], **here[1])
        if goes != away and result.untyped_storage().data_ptr() == tensor.untyped_storage().data_ptr():
            result = result.clone()
        return self._put(result) if goes else result

    def _make(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        away = _is_place(kwargs.get("device")) or any(map(self.holds, _tensors(args)))
        generator = kwargs.get("generator")
        if generator is not None and (generator.device == PLACE) != away:
            raise RuntimeError(f"{func.__name__}: the generator is on another device than what it is to fill")
        result = func(*args, **{key: _on_cpu(value) for key, value in kwargs.items()})
        return self._put(result.detach().clone().requires_grad_(result.requires_grad)) if away else result


def _is_place(value: Any) -> bool:
    return value in (PLACE, str(PLACE))


def _on_cpu(value: Any) -> Any:
    return torch.device("cpu") if isinstance(value, torch.device | str) and _is_place(value) else value


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _tensors(part)
    elif isinstance(value, dict):
        yield from _tensors(tuple(value.values()))


def pretend(monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    """Let ``device.pick()`` choose a device that is not the CPU; use what it returns as a context manager."""
    monkeypatch.setattr(device, "pick", lambda prefer=None: PLACE)
    monkeypatch.setattr(torch, "Generator", Generator)
    return Elsewhere()

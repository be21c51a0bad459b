"""What has crossed and is seen from both sides: which thing is which, and whether it has changed since.

A thing has an owner, who made it and numbered it, and a twin on the other side. The owner holds it until it hears that the twin is no more.
Arrays, tensors, generators and modules are *mirrored*: before each message a side looks which have changed, and sends the new state along. So an
argument that is changed in place is changed for the caller, too.

The owner may not have heard yet that a twin is no more. So it says anew what a thing is whenever that thing crosses; where the twin lives, it is used.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from dlcourse_utils.instructor.engine.judge import arrays
from dlcourse_utils.instructor.engine.judge.arrays import numbers, tensor_can_cross

#: The state of what was lent for a call: what the other side does to it is done here, too, and undone when the call is over.
LENT = object()
#: Plain arrays that one side mirrors at a time; of more, the oldest go their own ways.
_MOST_ARRAYS = 128


@dataclass
class Held:
    """One thing. ``mine``: this side made it. ``get``: the thing itself, None when it is no more.

    ``state`` is what the other side knows of it, None where it does not change.
    """

    number: int
    mine: bool
    get: Callable[[], Any]
    state: Any = None


class Shared:
    """Everything that has crossed, in both directions."""

    def __init__(self) -> None:
        self._dropped: dict[int, None] = {}  # a set in order of age, like the next
        self._mine: dict[int, Held] = {}
        self._yours: dict[int, Held] = {}
        self._by_identity: dict[int, Held] = {}
        self._next = 0
        self._arrays: dict[int, None] = {}
        self._gone: list[int] = []
        self._lent: list[int] = []
        self._originals: dict[int, Any] = {}  # of what is lent and was overwritten

    def add(self, thing: Any) -> Held:
        """Number a thing of mine that is about to cross, if it has no number yet."""
        known = self.of(thing)
        if known is not None:
            return known
        self._next += 1
        return self.promise(self._next, thing)

    def promise(self, number: int, thing: Any) -> Held:
        """Note a thing of mine under a number that the other side chose for it."""
        held = Held(number, True, lambda: thing, snapshot(thing))
        self._mine[number] = self._by_identity[id(thing)] = held
        if isinstance(thing, np.ndarray) or (isinstance(thing, torch.Tensor) and not thing.requires_grad):
            self._arrays[number] = None
        return held

    def learn(self, number: int, twin: Any) -> Held:
        """Note the twin of a thing of the other side's."""
        held = Held(number, False, weakref.ref(twin, lambda reference: self._drop(number, reference)), snapshot(twin))
        self._yours[number] = self._by_identity[id(twin)] = held
        self._dropped.pop(number, None)  # an earlier twin's end; there is one again
        return held

    def _drop(self, number: int, reference: Any) -> None:
        held = self._yours.get(number)
        if held is not None and held.get is reference:  # else another twin has taken its place
            self._dropped[number] = None

    def of(self, thing: Any) -> Held | None:
        """What is known of a thing, if it has crossed."""
        held = self._by_identity.get(id(thing))
        return held if held is not None and held.get() is thing else None

    def mine(self, number: int) -> Any:
        """A thing of mine by its number, None where there is none."""
        held = self._mine.get(number)
        return None if held is None else held.get()

    def yours(self, number: int) -> Any:
        """The twin of a thing of the other side's, None where there is none."""
        held = self._yours.get(number)
        return None if held is None else held.get()

    def held(self, number: int, *, mine: bool) -> Held | None:
        """What is known under a number."""
        return (self._mine if mine else self._yours).get(number)

    def forget_mine(self, number: int) -> None:
        """Let go of a thing of mine."""
        self._arrays.pop(number, None)
        self._forget(self._mine.pop(number, None))

    def forget_yours(self, number: int) -> None:
        """Let go of a twin."""
        self._forget(self._yours.pop(number, None))

    def _forget(self, held: Held | None) -> None:
        if held is None:
            return
        thing = held.get()
        if thing is not None and self._by_identity.get(id(thing)) is held:
            del self._by_identity[id(thing)]

    def lend(self, thing: Any) -> Held:
        """Number an array of mine that the other side may have during one call; see ``take_back``."""
        known = self.of(thing)
        if known is not None:
            return known
        self._next += 1
        held = Held(self._next, True, lambda: thing, LENT)
        self._mine[held.number] = self._by_identity[id(thing)] = held
        self._lent.append(held.number)
        return held

    def lending(self) -> int:
        """Where the list of what is lent ends before a call; see ``take_back``."""
        return len(self._lent)

    def keep_original(self, number: int, thing: Any) -> None:
        """Before something that is lent is overwritten."""
        if number not in self._originals:
            self._originals[number] = arrays.copy_of(thing)

    def take_back(self, since: int) -> list[Any]:
        """After a call: what was lent for it is as it was, and shared no longer. Returns what the call would have left otherwise."""
        lent, self._lent = self._lent[since:], self._lent[:since]
        written = []
        for number in lent:
            thing, original = self.mine(number), self._originals.pop(number, None)
            if original is not None and not arrays.same(thing, original):
                arrays.put(thing, original)
                written.append(thing)
            self._gone.append(number)
            self.forget_mine(number)
        return written

    def take_losses(self) -> tuple[list[int], list[int]]:
        """To be told to the other side: numbers of mine that are mirrored no longer, and numbers of its own whose twins are no more."""
        gone, self._gone = self._gone, []
        while len(self._arrays) > _MOST_ARRAYS:
            gone.append(next(iter(self._arrays)))
            self.forget_mine(gone[-1])
        dropped, self._dropped = [*self._dropped], {}
        for number in dropped:
            self.forget_yours(number)
        if len(self._by_identity) > 2 * (len(self._mine) + len(self._yours)) + 64:  # entries of things that died
            self._by_identity = {key: held for key, held in self._by_identity.items() if held.get() is not None}
        return gone, dropped

    def changed(self) -> Iterator[tuple[Held, Any, Any]]:
        """(what is known, the thing, its new state) of each mirrored thing that is not as the other side knows it."""
        for held in [*self._mine.values(), *self._yours.values()]:
            if held.state is None or held.state is LENT:
                continue
            thing = held.get()
            if thing is None or (type(held.state) is TensorState and held.state.still(thing)):
                continue
            state = snapshot(thing)
            if state is not None and state != held.state:
                yield held, thing, state


@dataclass(slots=True)
class TensorState:
    """A tensor at one moment; ``grad`` likewise. ``memory`` is where its numbers are, as an array, and ``place`` that array's address."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    data: bytes
    requires_grad: bool
    grad: TensorState | None
    memory: NDArray[Any] = field(compare=False)
    place: int = field(compare=False)
    strides: tuple[int, ...] = field(compare=False)

    def still(self, tensor: torch.Tensor) -> bool:
        """Whether the tensor is as it was, told quickly; False where that cannot be."""
        grad = tensor.grad
        return self._same_numbers(tensor) and (grad is None if self.grad is None else grad is not None and self.grad._same_numbers(grad))

    def _same_numbers(self, tensor: torch.Tensor) -> bool:
        return (
            tensor.data_ptr() == self.place
            and tensor.requires_grad is self.requires_grad
            and tensor.shape == self.shape
            and tensor.dtype == self.dtype
            and tensor.stride() == self.strides
            and self.memory.tobytes() == self.data
        )


class ModuleState(NamedTuple):
    """A module at one moment: its mode, and which tensors stand in its slots."""

    training: bool
    slots: tuple[tuple[str, int], ...]


_MIRRORED = (torch.Tensor, np.ndarray, torch.nn.Module, torch.Generator)


def snapshot(thing: Any) -> Any:
    """The state of a mirrored thing, to be compared with a later one; None where it cannot have one."""
    if not isinstance(thing, _MIRRORED):
        return None
    if isinstance(thing, torch.Tensor):
        return _of_tensor(thing, thing.grad) if thing.is_leaf and tensor_can_cross(thing) else None
    if isinstance(thing, np.ndarray):
        return thing.tobytes() if thing.flags.writeable else None
    if isinstance(thing, torch.nn.Module):
        return ModuleState(thing.training, tuple((name, id(value)) for name, value in slots(thing).items()))
    return thing.get_state().numpy().tobytes()


def slots(module: torch.nn.Module) -> dict[str, torch.Tensor | None]:
    """A module's own parameters and buffers."""
    return {**module._parameters, **module._buffers}


def _of_tensor(tensor: torch.Tensor, grad: torch.Tensor | None) -> TensorState:
    memory = numbers(tensor)
    of_grad = _of_tensor(grad, None) if grad is not None and tensor_can_cross(grad) else None
    return TensorState(tuple(tensor.shape), tensor.dtype, memory.tobytes(), tensor.requires_grad, of_grad, memory, tensor.data_ptr(), tensor.stride())

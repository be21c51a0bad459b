"""The global random generators, kept in step on both sides: what one draws, the other does not draw again."""

from __future__ import annotations

import ctypes
import random
import sys
from _random import Random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from dlcourse_utils.instructor.engine.judge.frames import FrameError
from dlcourse_utils.instructor.engine.judge.values import Reader, Writer, set_torch_state

_WORDS = 624


class Randomness:
    """What the other side knows of the states of Python's, numpy's and torch's generators; at first nothing."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}
        self._bits: dict[str, bytes] = {}

    def changes(self, writer: Writer) -> list[Any]:
        """The states that the other side does not know, to be sent."""
        found = []
        for name, state in self._states().items():
            if self._known.get(name) != state:
                self._known[name] = state
                words, *rest = state
                writer.buffers.append(words if isinstance(words, bytes) else np.array(words, np.uint32).tobytes())
                found.append([name, len(writer.buffers) - 1, *rest])
        return found

    def follow(self, changes: Any, reader: Reader) -> None:
        """Take the states over that were sent.

        Raises:
            FrameError: they are none.
        """
        try:
            for name, buffer, *rest in changes:
                _set(name, reader.buffer(buffer), rest)
            if changes:
                self._known = self._states()
        except (TypeError, ValueError, RuntimeError, OverflowError):
            raise FrameError("a random generator's state that is none") from None

    def _states(self) -> dict[str, Any]:
        return {
            "torch": (torch.get_rng_state().numpy().tobytes(),),
            "numpy": self._unless_still("numpy", _numpy_bits, _numpy_state),
            "python": self._unless_still("python", _python_bits, _python_state),
        }

    def _unless_still(self, name: str, bits: Callable[[], bytes], state: Callable[[], tuple[Any, bool]]) -> Any:
        """What a generator takes long to tell: it is asked only when its bits have changed, or a second normal number waits to be drawn."""
        now = bits()
        if now and now == self._bits.get(name):
            return self._known[name]
        told, waits = state()
        self._bits[name] = b"" if waits else now
        return told


def _numpy_bits() -> bytes:
    generator: Any = vars(np.random)["get_bit_generator"]()  # numpy's types do not know it
    return ctypes.string_at(generator.ctypes.state_address, 4 * (_WORDS + 1)) if isinstance(generator, np.random.MT19937) else b""


def _numpy_state() -> tuple[Any, bool]:
    _, words, *rest = np.random.get_state()
    return (np.asarray(words).tobytes(), *rest), bool(rest[1])


def _python_bits() -> bytes:
    return ctypes.string_at(_PLACE, 4 * (_WORDS + 1)) if _PLACE else b""


def _python_state() -> tuple[Any, bool]:
    version, internal, next_gauss = random.getstate()
    return (internal, version, next_gauss), next_gauss is not None


def _place_in_memory() -> int:
    """Where CPython keeps the words of its generator, behind an index; 0 where they are not there."""
    generator: Any = vars(random)["_inst"]
    place, size = id(generator) + object.__basicsize__, 4 * (_WORDS + 1)
    if sys.implementation.name != "cpython" or Random.__basicsize__ < object.__basicsize__ + size:
        return 0
    *words, index = generator.getstate()[1]
    return place if ctypes.string_at(place, size) == np.array([index, *words], np.uint32).tobytes() else 0


_PLACE = _place_in_memory()


def _set(name: Any, data: memoryview, rest: list[Any]) -> None:
    if name == "torch":
        set_torch_state(torch.default_generator, data)
        return
    words = np.frombuffer(data, np.uint32)
    match [name, *rest]:
        case ["numpy", int(position), int(has_gauss), float(gauss)] if len(words) == _WORDS and 0 <= position <= _WORDS:
            np.random.set_state(("MT19937", words, position, has_gauss, gauss))
        case ["python", 3, (float() | None) as next_gauss] if len(words) == _WORDS + 1 and words[-1] <= _WORDS:
            random.setstate((3, tuple(words.tolist()), next_gauss))
        case _:
            raise FrameError("a random generator's state that is none")

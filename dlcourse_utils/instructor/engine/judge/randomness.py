"""The global random generators, kept in step on both sides: what one draws, the other does not draw again."""

from __future__ import annotations

import ctypes
import random
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
        self._numpy_bits = b""

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
        version, internal, next_gauss = random.getstate()
        return {
            "torch": (torch.get_rng_state().numpy().tobytes(),),
            "numpy": self._numpy_state(),
            "python": (internal, version, next_gauss),
        }

    def _numpy_state(self) -> Any:
        """What numpy takes long to tell: it is asked only when the generator's bits have changed, or a second normal number waits to be drawn."""
        generator: Any = vars(np.random)["get_bit_generator"]()  # numpy's types do not know it
        known = self._known.get("numpy")
        bits = ctypes.string_at(generator.ctypes.state_address, 4 * (_WORDS + 1)) if isinstance(generator, np.random.MT19937) else b""
        if known is None or known[2] or not bits or bits != self._numpy_bits:
            _, words, *rest = np.random.get_state()
            self._numpy_bits, known = bits, (np.asarray(words).tobytes(), *rest)
        return known


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

"""A kernel's standard output and error with a bound: what floods them costs the flood, not the connection that the kernel is watched by."""

from __future__ import annotations

from typing import ClassVar

from ipykernel.iostream import OutStream

CUT_OFF = "\n… the rest of the output was cut off\n"


class Bounded(OutStream):
    """ipykernel's, which keeps the first ``most`` characters that a cell writes and drops the rest."""

    most: ClassVar[int] = 1_000_000
    _cell: object = None
    _room = 0

    def write(self, string: str) -> int:
        cell = self.parent_header.get("msg_id")
        if cell != self._cell:
            self._cell, self._room = cell, self.most
        if self._room >= 0:
            kept, self._room = string[: self._room], self._room - len(string)
            super().write(kept if self._room >= 0 else kept + CUT_OFF)
        return len(string)

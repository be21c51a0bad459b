"""Both sides of a conversation on one processor: a message then wakes nobody on another one, which is half of what it costs.

They take turns, so neither loses by it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

#: Where a processor cannot be chosen.
ANY = -1


@contextlib.contextmanager
def on_processor(number: int | None = None) -> Iterator[int]:
    """Stay on this processor, or on the one that the process is on already; yields its number."""
    if not hasattr(os, "sched_setaffinity") or number == ANY:
        yield ANY
        return
    free = os.sched_getaffinity(0)
    here: int = ctypes.CDLL(None).sched_getcpu() if number is None else number
    try:
        os.sched_setaffinity(0, {here})
    except OSError:  # it is not ours to run on, or a question of a stranger's
        here = ANY
    try:
        yield here
    finally:
        os.sched_setaffinity(0, free)

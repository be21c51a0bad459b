"""The processes in a room, and how much memory they take together: a limit on each process bounds no number of them."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
_PROC = Path("/proc")
#: Bubblewrap's own processes in a room, which hold it open.
_HOLDERS = frozenset({"1", "2"})
_LOOKS, _SECONDS_BETWEEN_LOOKS = 100, 0.02


def resident(process: Path = _PROC / "self") -> int:
    """Bytes that a process has in memory, with those that it shares; 0 where it has ended."""
    with contextlib.suppress(OSError):
        return int((process / "statm").read_text().split()[1]) * _PAGE
    return 0


def exceed(most: int, proc: Path = _PROC) -> bool:
    """Whether the processes in a ``/proc`` have more than ``most`` bytes in memory, those that several share counted once.

    Without the sharing the system says at once; with it, in up to 40 ms a process. So it is asked only where it can matter, the largest first.
    """
    sizes = {proc / name: resident(proc / name) for name in os.listdir(proc) if name.isdigit()}
    if sum(sizes.values()) <= most:
        return False
    shares = itertools.accumulate(_share(process, size) for process, size in sorted(sizes.items(), key=lambda item: -item[1]))
    return any(total > most for total in shares)


def end_strangers(proc: Path = _PROC) -> None:
    """Kill what runs in a room besides its holders and the kernel, which is the one whose parent is not in there; wait until its memory is free."""
    for _ in range(_LOOKS):
        running = [name for name in strangers(proc) if resident(proc / name) and _parent(proc / name) not in ("", "0")]
        for name in running:
            with contextlib.suppress(OSError):
                process = os.open(proc / name, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    signal.pidfd_send_signal(process, signal.SIGKILL)
                finally:
                    os.close(process)
        if not running:
            break
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _parent(process: Path) -> str:
    """The process id of its parent; "0" where that is in no sight, empty where the process has ended."""
    with contextlib.suppress(OSError, IndexError):
        return (process / "status").read_text().partition("\nPPid:")[2].split()[0]
    return ""


def strangers(proc: Path = _PROC) -> list[str]:
    """The processes in a room's ``/proc`` that do not hold it."""
    return [name for name in os.listdir(proc) if name.isdigit() and name not in _HOLDERS]


def _share(process: Path, size: int) -> int:
    """A process's share of the memory it has; all of ``size`` where it hides that."""
    with contextlib.suppress(OSError, IndexError):
        text = (process / "smaps_rollup").read_text()
        return int(text.partition("\nPss:")[2].split()[0]) * 1024
    return size

"""Try each of the sandbox's walls from inside: ``python -m dlcourse_utils.instructor.engine.probe`` prints what held, as JSON.

It runs in a process of its own, since what it forks must not share this one's threads.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from dlcourse_utils.instructor.engine.sandbox import Limits, NoWallError, Room, run_inside


def walls() -> dict[str, bool]:
    """What each wall keeps out, and whether it did when it was tried.

    Raises:
        NoWallError: there is no sandbox here at all.
    """
    done = subprocess.run([sys.executable, "-m", __name__], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise NoWallError(done.stderr.strip() or f"the probe ended with status {done.returncode}")
    found: dict[str, bool] = json.loads(done.stdout)
    return found


def _main() -> int:
    limits = Limits()
    try:
        room = Room(limits)
    except NoWallError as error:
        print(error, file=sys.stderr)
        return 1
    answer, tell = os.pipe()
    with socket.create_server(("127.0.0.1", 0)) as server, tempfile.NamedTemporaryFile() as file, contextlib.closing(room):
        outside = {"port": server.getsockname()[1], "file": file.name}
        if os.fork() == 0:  # who walks into a room stays there
            os.waitpid(run_inside(room, limits, lambda: _tell(tell, _try_all(outside, limits))), 0)
            os._exit(0)
        os.close(tell)
        with open(answer, "rb") as told:
            found = told.readline()  # not to its end: what was forked inside holds it open
    if not found:
        print("the probe inside the sandbox ended without an answer", file=sys.stderr)
        return 1
    print(found.decode())
    return 0


def _tell(pipe: int, found: Mapping[str, bool]) -> None:
    os.write(pipe, json.dumps(found).encode() + b"\n")


def _try_all(outside: Mapping[str, object], limits: Limits) -> dict[str, bool]:
    state = Path("/proc/self/status").read_text()
    rights = [line.split()[1] for line in state.splitlines() if line.startswith(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"))]
    processes = [name for name in os.listdir("/proc") if name.isdigit()]
    disk = os.statvfs("/tmp")
    return {
        "no network": _fails(lambda: socket.create_connection(("127.0.0.1", int(str(outside["port"]))), timeout=2)),
        "no files but Python's in sight": not os.path.exists(str(outside["file"])),
        "no hidden tests in sight": not os.listdir(Path(__file__).parents[1]),
        "nothing can be written but a folder of its own": all(_fails(Path(place, "x").touch) for place in ("/", "/usr", "/dev", sys.prefix)),
        "no other processes in sight": len(processes) <= 4,
        "no rights": set(rights) == {"0" * 16} and "NoNewPrivs:\t1" in state,
        "an ordinary user": os.getuid() != 0 and _fails(lambda: os.setuid(0)),
        "memory is limited": _fails(lambda: bytearray(2 * limits.memory)),
        "disk is limited": disk.f_blocks * disk.f_frsize <= limits.disk,
        "processes are limited": _too_many_processes(limits),
    }


def _fails(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except (OSError, MemoryError):
        return True
    return False


def _too_many_processes(limits: Limits) -> bool:
    """Whether a fork is refused before there are more than the limit; the room's end collects them."""
    try:
        for _ in range(limits.processes + 1):
            if os.fork() == 0:
                signal.pause()
    except BlockingIOError:
        return True
    return False


if __name__ == "__main__":
    sys.exit(_main())

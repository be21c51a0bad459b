"""The warm server as its owner sees it: started once, told what to import, asked for kernels. Imports nothing large, so that it can start early.

``server`` is what runs in it.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import dlcourse_utils


@dataclass(frozen=True)
class Order:
    """A kernel to start: its arguments, the connection (ports, key), its environment, and what it may do.

    Or a judges' clerk, who needs the environment and the set-up; see ``judge.process``.
    """

    arguments: list[str]
    connection: dict[str, Any]
    environment: dict[str, str]
    walled: bool
    limits: dict[str, int]
    clerk: bool = False
    setup: tuple[str, ...] = ()

    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"


class Server:
    """The process that forks kernels; it ends with this process.

    Kernels may be asked for from several threads.
    """

    _one: Server | None = None
    _lock = threading.Lock()

    @classmethod
    def instance(cls) -> Server:
        """The one of this process, started anew when it has ended. It returns at once, while the server's imports take seconds."""
        with cls._lock:
            if cls._one is None or cls._one._process.poll() is not None:
                cls._one = cls()
                atexit.register(cls._one.close)
            return cls._one

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="dlcourse-grading-")
        self._path = str(Path(self._folder.name, "server"))
        self._imported: set[str] = set()
        self._asked = False
        package = str(Path(dlcourse_utils.__file__).parents[1])
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        places = dict.fromkeys(("IPYTHONDIR", "MPLCONFIGDIR", "JUPYTER_RUNTIME_DIR"), self._folder.name)
        paths = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        backend = "module://matplotlib_inline.backend_inline"  # read when matplotlib is imported
        pages = "glibc.malloc.hugetlb=1"  # large pages are copied faster by a fork; other C libraries do not read this
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(self._path)
            listening.listen(64)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "dlcourse_utils.instructor.engine.server", str(listening.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=[listening.fileno()],
                cwd=self._folder.name,
                env=os.environ | one | places | {"PYTHONPATH": paths, "PYTHONHASHSEED": "0", "MPLBACKEND": backend, "GLIBC_TUNABLES": pages},
                start_new_session=True,
            )

    def need(self, modules: Iterable[str]) -> None:
        """Have these modules imported before the next kernel is forked; each once."""
        with self._lock:
            new = [name for name in dict.fromkeys(modules) if name not in self._imported]
            self._imported.update(new)
            if new:
                assert self._process.stdin is not None
                with contextlib.suppress(BrokenPipeError):  # the server has ended: who asks it for a kernel is told
                    self._process.stdin.write(f"{' '.join(new)}\n".encode())
                    self._process.stdin.flush()

    def connect(self) -> socket.socket:
        """A connection for one kernel. It is answered when the imports are done, the first time after seconds."""
        self._asked = True
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._path)
        return connection

    def close(self) -> None:
        """End the server and every kernel that it forked."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        if not self._asked:
            self._process.terminate()  # it has forked nothing: there is no need to wait for its imports
        self._process.wait()
        self._folder.cleanup()

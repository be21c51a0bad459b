"""Never run the same thing twice: what each cell of a graded notebook put out, kept by what that depends on.

A cell's outputs depend on the set-up and the answers above it, on its own source, on the course's package and its libraries, and on the grading
seed; not on the tests above it, which only read. So after one test was changed only that one is run again.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
import threading
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import dlcourse_utils

Kept = dict[str, Any]


class Memory:
    """Results on disk, one file for each distinct set of answers; several processes and threads may use one folder.

    Args:
        folder: where the files lie; made when something is first kept.
    """

    #: Results that another run might not repeat (a kernel was lost, time ran out): good for this process only.
    _unsteady: ClassVar[dict[tuple[Path, str], Kept]] = {}
    _lock = threading.Lock()

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, answers: str) -> Kept:
        """Key of a cell -> what was kept of it."""
        with self._lock:
            found = dict(self._unsteady.get((self.folder, answers), {}))
        try:
            kept: Kept = json.loads(self._file(answers).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # none yet, or cut off
            return found
        return kept | found

    def keep(self, answers: str, results: Kept, *, steady: bool) -> None:
        """Add results to those of the same answers."""
        if not steady:
            with self._lock:
                self._unsteady[self.folder, answers] = results
            return
        file = self._file(answers)
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        new.write_text(json.dumps(self.get(answers) | results), encoding="utf-8")
        new.replace(file)

    def take(self, answers: str) -> tuple[Kept, bool]:
        """What was kept, and whether another run would repeat it; what might not be repeated is forgotten."""
        found = self.get(answers)
        with self._lock:
            return found, self._unsteady.pop((self.folder, answers), None) is None

    def _file(self, answers: str) -> Path:
        return self.folder / answers[:2] / f"{answers}.json"


def keys(cells: Iterable[tuple[str, bool]], *, walled: bool, judge: str) -> tuple[str, list[str]]:
    """The key of all answers together, and one key for each cell.

    Args:
        cells: (source, whether it is a test) of the cells that are run, in order.
        walled: whether they are run in the sandbox; what was found outside counts for nothing inside.
        judge: where tests are run, likewise.
    """
    above = _digest([world(), os.environ.get("DLCOURSE_SEED", "0"), str(walled), judge])
    found = []
    for source, test in cells:
        key = _digest([above, "test" if test else "", source])
        found.append(key)
        above = above if test else key
    return above, found


@functools.cache
def world() -> str:
    """A digest of what every result depends on besides the notebook."""
    package = Path(dlcourse_utils.__file__).parent
    files = sorted(path for path in package.rglob("*.py") if "instructor" not in path.parts or "engine" in path.parts)
    versions = [f"{name} {metadata.version(name)}" for name in ("torch", "numpy", "scipy", "scikit-learn", "ipykernel")]
    return _digest([sys.version, *versions, *(path.read_text(encoding="utf-8") for path in files)])


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()

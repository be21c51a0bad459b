"""Tidy a submission's folder before nbgrader touches it, so that nothing in it can stop the class.

``admit`` is the ``pre_convert_hook`` of nbgrader's Autograde. What is not a student's work (links, pipes, sockets, a file too large to copy, a
time stamp that holds no time) is moved to ``refused/STUDENT/ASSIGNMENT`` beside ``submitted/``; nothing is deleted.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from nbgrader.utils import parse_utc

from dlcourse_utils.instructor.engine.reading import MOST_BYTES

STAMP = "timestamp.txt"


def admit(assignment: str, student: str, notebooks: list[str]) -> None:
    """Leave one notebook of the right name in the submission that nbgrader is about to grade, and name it in its list."""
    folder = Path(notebooks[0]).parent
    notebooks[:] = [str(tidy(folder, folder.name))]


def tidy(folder: Path, name: str) -> Path:
    """Refuse what is no work, and see to it that there is a notebook called ``name``: a copy of one that was renamed, or an empty file.

    Returns the notebook's path.
    """
    for path in list(_no_work(folder)):
        target = refused(folder) / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        path.rename(target)
    notebook = folder / f"{name}.ipynb"
    if not notebook.is_file():
        others = sorted(folder.glob("*.ipynb"), key=lambda path: (not path.stem.startswith(name), -path.stat().st_mtime, path.name))
        if others:
            shutil.copy2(others[0], notebook)
        else:
            notebook.touch()
    return notebook


def refused(folder: Path) -> Path:
    """Where what was refused of a submission lies."""
    return folder.parents[1].with_name("refused") / folder.parent.name / folder.name


def oddities(folder: Path, name: str) -> Iterator[str]:
    """What is odd about a tidied folder, in plain words."""
    kept = refused(folder)
    for path in sorted(path for path in kept.rglob("*") if not path.is_dir() or path.is_symlink()):
        reason = "it holds no time, or not the time at which it was handed in" if path.name == STAMP else _kind(path)
        yield f"'{path.relative_to(kept)}' was moved to {kept.parents[1].name}/: {reason}."
    notebook = folder / f"{name}.ipynb"
    if notebook.is_file() and notebook.stat().st_size:
        for other in sorted(folder.glob("*.ipynb")):
            if other != notebook and other.is_file() and other.stat().st_size == notebook.stat().st_size and other.read_bytes() == notebook.read_bytes():
                yield f"It was handed in as '{other.name}'."


def _no_work(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        for path in (Path(place, entry) for entry in (*folders, *files)):
            found = path.lstat()
            if stat.S_ISDIR(found.st_mode):
                continue
            if not stat.S_ISREG(found.st_mode) or found.st_size > MOST_BYTES or (path == folder / STAMP and not _is_time(path)):
                yield path


def _is_time(path: Path) -> bool:
    try:
        text = path.read_text(encoding="utf-8").strip()
        return not text or parse_utc(text) is not None
    except (ValueError, OverflowError):
        return False


def _kind(path: Path) -> str:
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        return f"it is a link, to '{os.readlink(path)}'"
    if not stat.S_ISREG(found.st_mode):
        return "it is no file but a pipe, a socket or a device"
    return f"it is larger than {MOST_BYTES // 10**6} MB"

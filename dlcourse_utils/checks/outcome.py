"""How one check ended, and how that is put to a student in words."""

from __future__ import annotations

import linecache
import re
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

_PACKAGE = str(Path(__file__).resolve().parents[1])

#: ``todo``: the answer is not written yet.
Status = Literal["ok", "wrong", "todo"]


class CheckFailed(Exception):
    """An answer is not as it should be; the message says what was expected, what came and where."""


class OffLimits(Exception):
    """An answer called a library function that the exercise asks the student to write."""


class TimeUp(BaseException):
    """A check ran out of time. Not an ``Exception``, so that an answer's own ``except Exception`` does not swallow it."""


@dataclass(frozen=True)
class Whereabouts:
    """Where an exception began. An exception that comes from an answer in another process carries its own, as ``whereabouts``.

    Attributes:
        by_hand: whether a ``raise`` statement is where it began, rather than an operation that a library lacks.
        place: the deepest line of the student's own code, quoted; empty where it did not pass through it.
    """

    by_hand: bool
    place: str


@dataclass(frozen=True)
class Outcome:
    """The end of one ``with check(...)`` block."""

    name: str
    points: float
    status: Status
    explanation: str = ""


def explain(error: BaseException, test_file: str) -> tuple[Status, str]:
    """What to tell the student about an exception that left a check's block.

    Args:
        error: the exception.
        test_file: the file name of the test cell's code; its lines are never shown.
    """
    where = whereabouts(error, test_file)
    if isinstance(error, NotImplementedError) and where.by_hand:
        return "todo", ""
    if isinstance(error, CheckFailed | OffLimits | TimeUp):
        return "wrong", str(error)
    if isinstance(error, NameError) and error.name:
        return "wrong", f"`{error.name}` is not defined. Run the cell that defines it, then this one again."
    if isinstance(error, SystemExit):
        return "wrong", "The answer called `exit()` or `quit()`, which would end the notebook. Leave it out."
    text = f"{type(error).__name__}: {_first_line(error)}"
    if where.place:
        text += f"\n{where.place}"
    if "NoneType" in text:
        text += "\nSomething is None. A function that ends without `return` gives None."
    return "wrong", text


def whereabouts(error: BaseException, test_file: str) -> Whereabouts:
    """Where an exception that left a check's block began; for ``test_file`` see ``explain``."""
    told = getattr(error, "whereabouts", None)
    if isinstance(told, Whereabouts):
        return told
    return Whereabouts(_raised_by_hand(error.__traceback__), _place_in_answer(error.__traceback__, test_file))


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else "(no message)"


def _raised_by_hand(tb: TracebackType | None) -> bool:
    frames = traceback.extract_tb(tb)
    line = linecache.getline(frames[-1].filename, frames[-1].lineno or 0).strip() if frames else ""
    return not line or (line.startswith("raise") and not _is_library(frames[-1].filename))


def _place_in_answer(tb: TracebackType | None, test_file: str) -> str:
    for frame in reversed(traceback.extract_tb(tb)):
        own = frame.filename != test_file and not frame.filename.startswith(_PACKAGE) and not _is_library(frame.filename)
        if own and frame.lineno:
            line = linecache.getline(frame.filename, frame.lineno).strip()
            return f"in `{frame.name}`, line {frame.lineno} of its cell: {line}" if line else f"in `{frame.name}`"
    return ""


def _is_library(filename: str) -> bool:
    return bool(re.search(r"[\\/](site-packages|dist-packages|lib[\\/]python\d)", filename)) or filename.startswith("<frozen")

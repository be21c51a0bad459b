"""A small notebook, or an exercise of a lecture, whose tests are judged from another process, without a kernel."""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import io
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dlcourse_utils import checks
from dlcourse_utils.checks import place
from dlcourse_utils.instructor.course import find_root, grade_id, lectures, role
from dlcourse_utils.instructor.engine.judge.court import Court
from dlcourse_utils.instructor.engine.judge.frames import Channel
from dlcourse_utils.instructor.engine.judge.student import Student

IMPORTS = "import numpy as np, torch\nfrom torch import nn\n"


@contextlib.contextmanager
def court(setup: str, answers: str, defines: Sequence[str] = ()) -> Iterator[tuple[Court, dict[str, Any]]]:
    """(the court, the test's namespace): ``setup`` has run on both sides, ``answers`` only in the other process.

    ``defines`` are the names that the test has from there; by default all that the answers define.
    """
    here, there = socket.socketpair()
    names: dict[str, Any] = {"__name__": "__main__", "checks": checks}
    exec(setup, names)
    defined = dict(names)
    student = os.fork()
    if student == 0:
        try:
            here.close()
            faulthandler.disable()  # it would tell of what is done here on purpose
            with contextlib.suppress(Exception):  # a cell that ends in an error leaves what it has defined by then
                exec(compile(answers, "<answers>", "exec"), defined)
            Student(Channel(there), defined).serve()
        finally:
            os._exit(0)
    there.close()
    judging = Court(Channel(here))
    before, place.answers = place.answers, judging
    try:
        with judging.sitting(names, defines or _defined(answers)):
            yield judging, names
    finally:
        place.answers = before
        judging.lose(Exception("the end"))
        with contextlib.suppress(ProcessLookupError):
            os.kill(student, signal.SIGKILL)
        os.waitpid(student, 0)


def _defined(source: str) -> list[str]:
    from dlcourse_utils.instructor.depends import defined

    return sorted(defined(source))


def apart(test: str, answers: str, setup: str = "", defines: Sequence[str] = ()) -> tuple[float, str]:
    """The score and the report of a test cell that is judged from another process."""
    with court(IMPORTS + setup, answers, defines) as (_, names):
        return _run(test, names)


def together(test: str, answers: str, setup: str = "") -> tuple[float, str]:
    """The same within one interpreter."""
    names: dict[str, Any] = {"__name__": "__main__", "checks": checks}
    exec(IMPORTS + setup, names)
    exec(compile(answers, "<answers>", "exec"), names)
    return _run(test, names)


def _run(test: str, names: dict[str, Any]) -> tuple[float, str]:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(test, "<test>", "exec"), names)
    return float(names["score"]), printed.getvalue()


@dataclass(frozen=True)
class Graded:
    """One exercise of a lecture: the set-up above it, the reference answer, the test cell, and the names that the answer defines for it."""

    setup: str
    answer: str
    test: str
    defines: tuple[str, ...]
    points: float


@functools.cache
def exercise(lecture: str, name: str) -> Graded:
    """An exercise, hidden tests included; its score is left in ``score``."""
    (found,) = lectures(find_root(), [lecture])
    cells = [cell for cell in found.notebook.cells if cell.cell_type == "code"]
    place = next(i for i, cell in enumerate(cells) if grade_id(cell) == name)
    setup = "\n".join(cell.source for cell in cells[:place] if role(cell) == "setup")
    answer, test = cells[place].source, cells[place + 1]
    body, report, _ = test.source.rpartition("check.report()")
    stub = answer.partition("### END SOLUTION")[0]
    return Graded(setup, answer, f"{body}score = {report}", tuple(sorted(_defined(stub))), float(test.metadata.nbgrader["points"]))

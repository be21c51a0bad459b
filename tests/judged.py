"""A small notebook whose tests are judged from another process, without a kernel."""

from __future__ import annotations

import contextlib
import faulthandler
import io
import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

from dlcourse_utils import checks
from dlcourse_utils.checks import place
from dlcourse_utils.instructor.engine.judge.court import Court
from dlcourse_utils.instructor.engine.judge.frames import Channel
from dlcourse_utils.instructor.engine.judge.student import Student


@contextlib.contextmanager
def court(setup: str, answers: str) -> Iterator[tuple[Court, dict[str, Any]]]:
    """(the court, the test's namespace): ``setup`` has run on both sides, ``answers`` only in the other process."""
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
        judging.fill(names, _defined(answers))
        yield judging, names
    finally:
        place.answers = before
        judging.dismiss()
        judging.lose(Exception("the end"))
        with contextlib.suppress(ProcessLookupError):
            os.kill(student, signal.SIGKILL)
        os.waitpid(student, 0)


def _defined(source: str) -> list[str]:
    from dlcourse_utils.instructor.depends import defined

    return sorted(defined(source))


def apart(test: str, answers: str, setup: str = "") -> tuple[float, str]:
    """The score and the report of a test cell that is judged from another process."""
    with court(f"import numpy as np, torch\nfrom torch import nn\n{setup}", answers) as (_, names):
        return _run(test, names)


def together(test: str, answers: str, setup: str = "") -> tuple[float, str]:
    """The same within one interpreter."""
    names: dict[str, Any] = {"__name__": "__main__", "checks": checks}
    exec(f"import numpy as np, torch\nfrom torch import nn\n{setup}", names)
    exec(compile(answers, "<answers>", "exec"), names)
    return _run(test, names)


def _run(test: str, names: dict[str, Any]) -> tuple[float, str]:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(test, "<test>", "exec"), names)
    return float(names["score"]), printed.getvalue()

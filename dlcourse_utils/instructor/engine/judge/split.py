"""Proving graders both ways: a forked notebook that splits in two, so that its test cells are judged from outside the answers' process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable, Collection
from typing import Any

from dlcourse_utils.checks import place
from dlcourse_utils.instructor.engine.judge.court import Court
from dlcourse_utils.instructor.engine.judge.frames import Channel
from dlcourse_utils.instructor.engine.judge.student import Student

Json = dict[str, Any]


class Apart:
    """Runs cells as they run while grading with ``judge = separate``: set-up in both processes, answers in the other, tests in this one.

    Args:
        run: runs a cell's source in this process's notebook and returns its outputs.
        namespace: the notebook's names; the other process starts with the same.
        answers: the names that answers define.
    """

    def __init__(self, run: Callable[[str], list[Json]], namespace: dict[str, Any], answers: Collection[str]) -> None:
        self._run, self._namespace, self._answers = run, namespace, sorted(answers)
        here, there = socket.socketpair()
        orders, ordered = socket.socketpair()
        self._student = os.fork()
        if self._student == 0:
            here.close()
            orders.close()
            self._obey(ordered, Student(Channel(there), namespace))
        there.close()
        ordered.close()
        self._orders = orders.makefile("rw")
        orders.close()
        self._court = Court(Channel(here))
        place.answers = self._court

    def run(self, role: str, source: str) -> list[Json]:
        """Run one cell and return its outputs. Where the other process has ended, this one ends in the same way."""
        if role == "test":
            return self._judge(source)
        outputs: list[Json] = self._order({"run": source})
        return outputs if outputs or role == "solution" else self._run(source)

    def _judge(self, source: str) -> list[Json]:
        self._order({"serve": True})
        with self._court.sitting(self._namespace, self._answers):
            outputs = self._run(source)
        if self._court.lost == "the process ended":
            self._end_alike()
        return outputs

    def _order(self, order: Json) -> Any:
        try:
            self._orders.write(json.dumps(order) + "\n")
            self._orders.flush()
            line = "[]" if "serve" in order else self._orders.readline()
        except OSError:
            line = ""
        if not line:
            self._end_alike()
        return json.loads(line)

    def close(self) -> None:
        """End the other process and count its processor time as this one's."""
        self._orders.close()
        self._court.lose(Exception("the end"))
        os.waitpid(self._student, 0)

    def _end_alike(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._student, signal.SIGTERM)  # one that is alive and makes no sense
        _, status = os.waitpid(self._student, 0)
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            signal.signal(-code, signal.SIG_DFL) if -code not in (signal.SIGKILL, signal.SIGSTOP) else None
            os.kill(os.getpid(), -code)
        os._exit(code)

    def _obey(self, ordered: socket.socket, student: Student) -> None:
        status = 1
        try:
            with ordered.makefile("rw") as lines:
                ordered.close()
                for line in lines:
                    order = json.loads(line)
                    if "run" in order:
                        outputs = [output for output in self._run(order["run"]) if output["output_type"] == "error"]
                        lines.write(json.dumps(outputs) + "\n")
                        lines.flush()
                    else:
                        student.serve()
            status = 0
        finally:
            os._exit(status)

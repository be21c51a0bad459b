"""Run a lecture's solved notebook with some answers exchanged, and read the scores as nbgrader would.

A new kernel takes seconds to start; this forks an interpreter that has the imports done (see ``warm``), so that a run takes about as long
as its test cells do. What a test cell puts out is what a kernel would make of it, and ``nbgrader.utils.determine_grade`` reads the score::

    with Runner() as runner:
        (outcome,) = runner.run(lecture, [Job({"sdpa": "def sdpa(q, k, v, mask=None): ..."})])
        outcome.lost(["test-sdpa"]), outcome.message(["test-sdpa"])
"""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from nbformat import NotebookNode
from nbgrader.utils import determine_grade

import dlcourse_utils
from dlcourse_utils.instructor.course import SHOWN_ONLY, CourseError, Lecture, grade_id, role
from dlcourse_utils.instructor.depends import affected, defined

#: Which test cells a job runs: those of the exercises it replaces, those too that can see a replacement because a name leads there, or all.
Scope = Literal["own", "seen", "all"]

#: Where test cells run: in the process that the answers run in, or in another.
Judge = Literal["in-process", "separate"]

_ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Job:
    """One notebook to run: the solved one with ``replacements`` (exercise id -> the source of its whole solution cell), on one grading seed.

    ``seconds`` is the processor time after which it is killed, in whole seconds. With ``brief`` it ends at the first check that fails: what has not
    run then counts as lost, and the message is that check's. ``threads`` are torch's, whatever the lecture's setup asks for. ``judge`` says where
    tests run: in the answers' process, or in one of their own.
    """

    replacements: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    scope: Scope = "all"
    seconds: float = 60.0
    brief: bool = False
    threads: int = 1
    judge: Judge = "in-process"


@dataclass(frozen=True)
class TestCell:
    """A test cell after the run, its outputs as a kernel would have left them. Not reached: no outputs and no points."""

    __test__ = False  # for pytest, which collects by name

    cell: NotebookNode
    reached: bool

    @property
    def id(self) -> str:
        return str(grade_id(self.cell))

    @cached_property
    def points(self) -> float:
        return float(self.cell.metadata.nbgrader["points"])

    @cached_property
    def score(self) -> float:
        """The points nbgrader gives.

        Raises:
            CourseError: the cell ends in more points than it has, which would end nbgrader's autograde.
        """
        if not self.reached:
            return 0.0
        try:
            return float(determine_grade(self.cell)[0])
        except ValueError as error:
            raise CourseError(
                f"the test cell '{self.id}' gives more points than its metadata has. Make the points of checks.exercise(…) equal them."
            ) from error

    @property
    def message(self) -> str:
        """What the cell printed, and the error it ended in if it did."""
        parts = []
        for output in self.cell.outputs:
            if output.output_type == "stream":
                parts.append(output.text)
            elif output.output_type == "error":
                parts.append(f"{output.ename}: {output.evalue}")
        return _ANSI.sub("", "\n".join(part.rstrip("\n") for part in parts))


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        tests: the test cells from the first replaced exercise on, by grade_id, that are in the job's scope; those above it cannot be touched by it.
        ended: empty, or why the notebook did not run to its end: "timed out after 60 s in cell …", "died with signal SIGSEGV in cell …".
        errors: what other cells raised, as "cell: error".
        seconds: wall time.
        cpu_seconds: processor time, with that of every process it started and waited for.
    """

    tests: Mapping[str, TestCell]
    ended: str
    errors: tuple[str, ...]
    seconds: float
    cpu_seconds: float

    def lost(self, test_ids: Iterable[str] | None = None) -> float:
        """Points lost in these test cells, or in all."""
        ids = self.tests if test_ids is None else [test for test in test_ids if test in self.tests]
        return round(sum(self.tests[test].points - self.tests[test].score for test in ids), 6)

    def message(self, test_ids: Iterable[str]) -> str:
        """All that a student would read below these test cells."""
        return "\n".join(self.tests[test].message for test in test_ids if test in self.tests).strip("\n")


class Runner:
    """A pool of forked interpreters. Use it as a context manager; it works where ``fork`` does, so not on Windows.

    Args:
        workers: how many notebooks run at a time; as many as there are cores by default.
        wall_seconds: how long one notebook may take before it is killed, should it wait for something; a job has a limit of processor time besides.

    Raises:
        CourseError: this system cannot fork.
    """

    def __init__(self, *, workers: int | None = None, wall_seconds: float = 600.0) -> None:
        if not hasattr(os, "fork"):
            raise CourseError("proving graders forks processes, which Windows cannot. Run this in WSL or on Linux or macOS.")
        self.workers = workers or _cores()
        self.wall_seconds = wall_seconds
        self._folder = tempfile.TemporaryDirectory(prefix="dlcourse-cases-")
        package = str(Path(dlcourse_utils.__file__).parents[1])
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")])),
            "PYTHONHASHSEED": "0",
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # as in a kernel
            "IPYTHONDIR": self._folder.name,
            "OMP_NUM_THREADS": "1",  # a forked child must not meet its parent's threads
            "OPENBLAS_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",  # a job with more threads on a busy machine would spend its processor time on waiting
        }
        self._server = subprocess.Popen(
            [sys.executable, "-c", "from dlcourse_utils.instructor.warm import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=self._folder.name,
            env=environment,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End every process and remove what they wrote."""
        self._server.terminate()
        self._server.communicate()
        self._folder.cleanup()

    def run(self, lecture: Lecture, jobs: Sequence[Job]) -> list[Outcome]:
        """Run the jobs and return their outcomes in the same order. For errors see ``results``."""
        return [outcome for _, outcome in sorted(self.results(lecture, jobs), key=lambda pair: pair[0])]

    def results(self, lecture: Lecture, jobs: Sequence[Job]) -> Iterator[tuple[int, Outcome]]:
        """Run the jobs and yield (number of the job, outcome) as they end.

        Raises:
            CourseError: a job replaces an unknown exercise, or a setup or solution cell of the lecture itself fails.
        """
        cells = [cell for cell in lecture.notebook.cells if cell.cell_type == "code" and role(cell) not in SHOWN_ONLY]
        ids = [str(cell.id) for cell in cells]
        solutions = [index for index, cell in enumerate(cells) if role(cell) == "solution"]
        apart = any(job.judge == "separate" for job in jobs)
        answers = sorted(set().union(*(defined(cells[index].source) for index in solutions))) if apart else []
        starts, skips = [], []
        for job in jobs:
            for name in job.replacements:
                if name not in [ids[index] for index in solutions]:
                    raise CourseError(f"{lecture.source}: there is no exercise '{name}'.")
            starts.append(min((ids.index(name) for name in job.replacements), default=min(solutions, default=0)))
            skips.append(self._out_of_scope(lecture, cells, job))
        request = {
            "cells": [{"id": cell.id, "role": role(cell), "source": cell.source} for cell in cells],
            "jobs": [
                {
                    "start": start,
                    "replace": dict(job.replacements),
                    "seed": job.seed,
                    "skip": skip,
                    "seconds": job.seconds,
                    "brief": job.brief,
                    "threads": job.threads,
                    "judge": job.judge,
                    "answers": answers,
                }
                for job, start, skip in zip(jobs, starts, skips, strict=True)
            ],
            "workers": self.workers,
            "wall_seconds": self.wall_seconds,
        }
        broken = ""
        for reply in self._ask(request):
            if "broken" in reply:
                broken = f"{lecture.source}: the cell '{reply['broken']}' fails with the reference solutions. {reply['error']}"
            else:
                number = reply["job"]
                yield number, _outcome([cell for cell in cells[starts[number] :] if cell.id not in skips[number]], reply)
        if broken:
            raise CourseError(broken)

    @staticmethod
    def _out_of_scope(lecture: Lecture, cells: Sequence[NotebookNode], job: Job) -> list[str]:
        """The test cells that the job leaves out."""
        if job.scope == "all":
            return []
        kept = {test for exercise in lecture.exercises if exercise.id in job.replacements for test in exercise.test_ids}
        if job.scope == "seen":
            kept |= affected([(str(cell.id), cell.source) for cell in cells], job.replacements)
        return [str(cell.id) for cell in cells if role(cell) == "test" and cell.id not in kept]

    def _ask(self, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        finished = False
        try:
            self._server.stdin.write(json.dumps(request) + "\n")
            self._server.stdin.flush()
            for line in self._server.stdout:
                reply = json.loads(line)
                if "done" in reply:
                    finished = True
                    if reply["done"]:
                        raise RuntimeError(f"the process that forks the cases ended with status {reply['done']}; its error is above")
                    return
                yield reply
            raise RuntimeError("the warm interpreter ended; its error is above")
        finally:
            if not finished:  # replies are still to come that nobody would read
                self.close()


def _outcome(cells: Sequence[NotebookNode], reply: Mapping[str, Any]) -> Outcome:
    outputs = {cell["id"]: cell["outputs"] for cell in reply["cells"]}
    tests = {}
    errors = []
    for cell in cells:
        put_out = outputs.get(cell.id, [])
        if role(cell) == "test":
            tests[str(cell.id)] = TestCell(_with_outputs(cell, put_out), cell.id in outputs)
        else:
            errors += [f"{cell.id}: {output['ename']}: {output['evalue']}" for output in put_out]
    return Outcome(tests, reply["ended"], tuple(errors), reply["seconds"], reply["cpu_seconds"])


def _with_outputs(cell: NotebookNode, outputs: list[dict[str, Any]]) -> NotebookNode:
    cell = copy.copy(cell)
    cell["outputs"] = [NotebookNode(output) for output in outputs]
    return cell


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def namespace(lecture: Lecture, include: Collection[str] = ()) -> dict[str, Any]:
    """The names that a lecture defines, from running its setup and solution cells and those called ``include`` in this process.

    With ``include=["experiment-mistakes"]`` a test can call the function that the cell defines, with seeds of its own.

    Raises:
        CourseError: ``include`` names a cell that is not there.
    """
    cells = {str(cell.id): cell for cell in lecture.notebook.cells if cell.cell_type == "code"}
    unknown = sorted(set(include) - set(cells))
    if unknown:
        raise CourseError(f"{lecture.source}: there is no cell '{unknown[0]}'.")
    names: dict[str, Any] = {"__name__": "__main__"}
    for name, cell in cells.items():
        if name in include or role(cell) in ("setup", "solution"):
            exec(compile(cell.source, f"{lecture.name}:{name}", "exec"), names)
    return names

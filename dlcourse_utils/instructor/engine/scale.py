"""``dlcourse bench scale``: what a submission costs in a large class beside a small one, and how much memory grading takes."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from dlcourse_utils.instructor.classroom import environment
from dlcourse_utils.instructor.course import CourseError
from dlcourse_utils.instructor.engine.bench import answers
from dlcourse_utils.instructor.engine.hostile import find_tests

#: The first is only to know what the start costs.
SIZES = (2, 50, 1_000)
_SECONDS_BETWEEN_LOOKS = 2.0


@dataclass(frozen=True)
class Cost:
    """Grading one class by one command. ``memory_mb`` is the most that its processes had together, what they share counted once."""

    submissions: int
    wall_s: float
    cpu_s: float
    memory_mb: float


def measure(checkout: Path, root: Path, workers: int, *, sandbox: bool, on_class: Callable[[Cost], object]) -> list[Cost]:
    """Grade classes of the tests' mini course, whose cells take no time, of each size.

    Raises:
        CourseError: the tests are missing, or grading failed.
    """
    miniclass = find_tests(checkout, "miniclass")
    costs = []
    for size in SIZES:
        shutil.rmtree(root, ignore_errors=True)
        _, lecture = miniclass.make(root)
        for number, content in zip(range(size), answers(lecture), strict=False):
            miniclass.hand_in(lecture, f"s{number:04}", content)
        wall = "on" if sandbox else "off"
        command = ["autograde", lecture.name, "--course", str(root / "course"), "--workers", str(workers), "--sandbox", wall]
        costs.append(_cost([sys.executable, "-m", "dlcourse_utils.instructor.cli", *command], size, root))
        on_class(costs[-1])
    return costs


def _cost(command: Sequence[str], size: int, root: Path) -> Cost:
    with (root / "said.txt").open("wb") as said:
        started = time.monotonic()
        running = subprocess.Popen(command, stdout=said, stderr=said, env=os.environ | environment(root / "home"))
        before, most = os.times(), 0.0
        while running.returncode is None:
            most = max(most, _memory(running.pid))
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(_SECONDS_BETWEEN_LOOKS)
    after = os.times()
    if running.returncode != 0:
        raise CourseError(f"grading {size} submissions ended with status {running.returncode}; {root / 'said.txt'} says why.")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Cost(size, round(time.monotonic() - started, 1), round(cpu, 1), round(most / 2**20))


def _memory(pid: int) -> float:
    """Bytes of a process and all below it; a page that several share counts once."""
    total = 0.0
    with contextlib.suppress(psutil.Error):
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                total += process.memory_full_info().pss
    return total


def each(costs: Sequence[Cost]) -> dict[int, float]:
    """CPU seconds that one more submission costs, by the size of the class: without what it takes to start."""
    first = costs[0]
    return {cost.submissions: (cost.cpu_s - first.cpu_s) / (cost.submissions - first.submissions) for cost in costs[1:]}

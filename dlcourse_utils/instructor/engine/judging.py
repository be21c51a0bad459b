"""``dlcourse bench judge``: what it costs that tests run in a process of their own, lecture by lecture."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dlcourse_utils.instructor.classroom import private_environment
from dlcourse_utils.instructor.course import Lecture
from dlcourse_utils.instructor.engine.bench import hand_in, timed

_TURNS = ("in-process", "separate", "separate", "in-process")


@dataclass(frozen=True)
class Cost:
    """CPU seconds of the engine a submission, its start included; ``more``: what a separate judge costs on top, as a share."""

    lecture: str
    submissions: int
    in_process_cpu_s: float
    separate_cpu_s: float
    more: float


def measure(checkout: Path, lectures: Sequence[Lecture], submissions: int, workers: int, *, sandbox: bool, on_lecture: Callable[[Cost], object]) -> list[Cost]:
    """Grade the same class of each lecture both ways by turns, twice each, by one command in a fresh course.

    Raises:
        CourseError: grading failed.
    """
    costs = []
    root = checkout / "build" / "bench-judge"
    students = [f"s{number:03}" for number in range(submissions)]
    for lecture in lectures:
        took: dict[str, list[float]] = {way: [] for way in _TURNS}
        with private_environment():
            for way in _TURNS:
                shutil.rmtree(root, ignore_errors=True)
                hand_in(checkout, root / "room", lecture, students)
                options = ["--workers", str(workers), "--sandbox", "on" if sandbox else "off", "--judge", way, "--course", str(root / "room" / "course")]
                _, cpu = timed(["-m", "dlcourse_utils.instructor.cli", "autograde", lecture.name, *options], root / "room" / "course", root)
                took[way].append(cpu / submissions)
        in_process, separate = statistics.mean(took["in-process"]), statistics.mean(took["separate"])
        costs.append(Cost(lecture.name, submissions, round(in_process, 3), round(separate, 3), round(separate / in_process - 1, 3)))
        on_lecture(costs[-1])
    return costs

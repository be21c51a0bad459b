"""The hostile submissions graded by plain nbgrader, for comparison (``dlcourse hostile --plain``).

Plain nbgrader runs a student's code with the rights of whoever grades. So here the grader itself runs in a room such as the engine gives to a
kernel: no network, no files but a course of its own, no rights, and bounds on memory, processes, files and time. Each submission is graded in a
room and a course that no other has touched, beside a classmate who was graded before and one who is graded after it.

``python -m dlcourse_utils.instructor.engine.plain CHECKOUT ROOT WORKERS STUDENT…`` does it and prints a row each as a line of JSON; it is a process
of its own because what it forks must not share another's threads.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
from nbgrader.api import Gradebook, MissingEntry

import dlcourse_utils
from dlcourse_utils.instructor.classroom import private_environment
from dlcourse_utils.instructor.course import CourseError, Lecture, lectures
from dlcourse_utils.instructor.engine import usage
from dlcourse_utils.instructor.engine.bench import PLAIN
from dlcourse_utils.instructor.engine.hostile import CELL_SECONDS, CLASSMATES, Row, find_tests
from dlcourse_utils.instructor.engine.sandbox import Limits, Room, run_inside

#: What the grader, its kernels and what those start may use; all of it together no more memory than this either.
_LIMITS = Limits(memory=4 * 2**30, disk=2**30, files=1_024)
#: An instructor's patience: wall time for one hostile submission and one classmate's.
_SECONDS = 120
#: Where the course lies in a room, and the home of who grades there.
_INSIDE, _HOME = Path("/tmp/checkout"), Path("/tmp/home")


def grade(checkout: Path, root: Path, *, workers: int, on_row: Callable[[Row], object]) -> list[Row]:
    """Grade the hostile class one by one, from a course in ``root``, which is made anew.

    Raises:
        CourseError: ``tests/hostile`` is missing, or a room cannot be had.
    """
    submissions, miniclass = find_tests(checkout, "hostile.submissions"), find_tests(checkout, "miniclass")
    shutil.rmtree(root, ignore_errors=True)
    _, lecture = miniclass.make(root)
    (root / "course" / "nbgrader_config.py").write_text(f"{PLAIN}c.Execute.timeout = {CELL_SECONDS}\n", encoding="utf-8")
    solved = nbformat.writes(miniclass.solved(lecture))
    with private_environment():
        for student in CLASSMATES:  # the second is graded anew in each room
            miniclass.hand_in(lecture, student, solved)
        command = [sys.executable, "-m", "nbgrader", "autograde", lecture.name, "--student", CLASSMATES[0]]
        subprocess.run(command, cwd=root / "course", check=True, capture_output=True)

    rows = {}
    students = [hostile.student for hostile in submissions.CASES]
    command = [sys.executable, "-m", __name__, str(checkout), str(root), str(workers), *students]
    with (root / "log").open("a") as log, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            row = Row(**json.loads(line))
            rows[row.case] = row
            on_row(row)
    try:
        return [rows[hostile.case] for hostile in submissions.CASES]
    except KeyError as missing:
        raise CourseError(f"plain nbgrader could not be tried on {missing}; {root / 'log'} says why.") from None


def _main(checkout: str, root: str, workers: str, *students: str) -> None:
    """Fork a process for each student, ``workers`` of them at a time."""
    submissions = find_tests(Path(checkout), "hostile.submissions")
    running = 0
    for student in students:
        if running == int(workers):
            os.wait()
            running -= 1
        running += 1
        if os.fork() == 0:
            try:
                (hostile,) = (case for case in submissions.CASES if case.student == student)
                print(json.dumps(asdict(_graded(Path(root), hostile, submissions))), flush=True)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)
    while running:
        os.wait()
        running -= 1


def _graded(root: Path, hostile: Any, submissions: ModuleType) -> Row:
    """What plain nbgrader makes of one submission."""
    course = io.BytesIO()
    with tarfile.open(fileobj=course, mode="w") as packed:
        packed.add(root / "course", "course")
    (outside,) = lectures(root)
    lecture = Lecture(_INSIDE, outside.name)
    found, tell = os.pipe()
    with contextlib.closing(Room(_LIMITS)) as room:
        started = time.monotonic()
        grader = _walk_in(room, lambda: _be_nbgrader(course.getvalue(), lambda: submissions.hand_in(lecture, hostile), lecture.name))
        processes = Path(room.root, "proc")
        while not os.waitpid(grader, os.WNOHANG)[0] and time.monotonic() - started < _SECONDS and not usage.exceed(_LIMITS.memory, processes):
            time.sleep(0.1)
        seconds = time.monotonic() - started
        time.sleep(1.0)  # for what ends with the grader
        left = len(usage.strangers(processes))
        _walk_in(room, lambda: _tell(tell, lecture, (hostile.student, *CLASSMATES), submissions.MARK))
        os.close(tell)
        with open(found, "rb") as told:
            said: dict[str, Any] = json.loads(told.readline())
    left += said["files"]
    full = {exercise.id: exercise.points for exercise in outside.exercises}
    given, *others = said["points"]
    classmate_ok = all(points == full for points in others)
    ok = given == hostile.deserved and classmate_ok and not left and seconds < _SECONDS
    total = None if given is None else sum(given.values())
    return Row(hostile.case, sum(hostile.deserved.values()), total, classmate_ok, left, round(seconds, 2), ok)


def _walk_in(room: Room, work: Callable[[], None]) -> int:
    """Fork a process that walks into the room, has ``work`` done there without rights, and ends with it; who walks in stays in."""
    walker = os.fork()
    if walker == 0:
        try:
            os.waitpid(run_inside(room, _LIMITS, work), 0)
        finally:
            os._exit(0)
    return walker


def _be_nbgrader(course: bytes, hand_in: Callable[[], None], assignment: str) -> None:
    """In the room: unpack the course, hand in, and become ``nbgrader autograde``."""
    _INSIDE.mkdir()
    _HOME.mkdir()
    with tarfile.open(fileobj=io.BytesIO(course)) as packed:
        packed.extractall(_INSIDE, filter="data")
    hand_in()
    os.chdir(_INSIDE / "course")
    nothing = os.open(os.devnull, os.O_RDWR)
    said = os.open(_HOME / "log.txt", os.O_CREAT | os.O_WRONLY)
    for number, descriptor in enumerate((nothing, said, said)):
        os.dup2(descriptor, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    path = os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"])
    environment = {"HOME": str(_HOME), "USER": "grader", "PATH": path, "PYTHONPATH": str(Path(dlcourse_utils.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    os.execve(sys.executable, [sys.executable, "-m", "nbgrader", "autograde", assignment], environment)


def _tell(pipe: int, lecture: Lecture, students: Sequence[str], mark: str) -> None:
    """In the room: end what still runs, and say what the gradebook has for each student and how many files with the mark lie in the home."""
    for _ in range(100):
        left = set(usage.strangers()) - {str(os.getpid())}
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)
        if not left:
            break
        time.sleep(0.02)
    found = {"points": list(_points(lecture, students)), "files": len(list(_HOME.rglob(f"{mark}*")))}
    os.write(pipe, json.dumps(found).encode() + b"\n")


def _points(lecture: Lecture, students: Sequence[str]) -> Iterator[dict[str, float] | None]:
    """Each student's points by exercise id; None where the gradebook has no row of theirs."""
    with Gradebook(f"sqlite:///{lecture.root / 'course' / 'gradebook.db'}") as gradebook:
        for student in students:
            try:
                scores = {grade.name: float(grade.score or 0.0) for grade in gradebook.find_submission_notebook(lecture.name, lecture.name, student).grades}
            except MissingEntry:
                yield None
            else:
                yield {exercise.id: sum(scores[test] for test in exercise.test_ids) for exercise in lecture.exercises}


if __name__ == "__main__":
    _main(*sys.argv[1:])

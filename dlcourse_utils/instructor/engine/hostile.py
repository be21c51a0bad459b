"""``dlcourse hostile``: grade the submissions in ``tests/hostile`` that attack or stumble, and compare each grade with the deserved one."""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

import nbformat
from tqdm import tqdm

from dlcourse_utils.instructor import course
from dlcourse_utils.instructor.classroom import Classroom, table
from dlcourse_utils.instructor.course import CourseError, lectures
from dlcourse_utils.instructor.engine.execute import no_sandbox
from dlcourse_utils.instructor.grading import Grade, grade_all

#: Seconds that a cell may run here: a loop is a loop.
CELL_SECONDS = 10
#: Graded first and last, and right.
CLASSMATES = ("a-classmate", "z-classmate")


@dataclass(frozen=True)
class Row:
    """What became of one submission. ``given`` is None where it has no grade; ``leftovers`` are the processes and files that it left behind, here with
    the rest of the class; ``classmate_ok``: the others got theirs.
    """

    case: str
    deserved: float
    given: float | None
    classmate_ok: bool
    leftovers: int
    seconds: float
    ok: bool


def grade(checkout: Path, root: Path, *, workers: int, on_grade: Callable[[Grade], object] = lambda grade: None) -> list[Row]:
    """Grade the hostile class in ``root``, which is made anew, in the sandbox.

    Raises:
        CourseError: there is no sandbox, or ``tests/hostile`` is missing.
    """
    submissions, miniclass = find_tests(checkout, "hostile.submissions"), find_tests(checkout, "miniclass")
    shutil.rmtree(root, ignore_errors=True)
    classroom, lecture = miniclass.make(root)
    classroom = Classroom(root, log=classroom.log, sandbox="on", cell_seconds=CELL_SECONDS)
    (lecture,) = lectures(root)
    for hostile in submissions.CASES:
        submissions.hand_in(lecture, hostile)
    for student in CLASSMATES:
        path = classroom.path("submitted", lecture, student) / f"{lecture.name}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(nbformat.writes(miniclass.solved(lecture)), encoding="utf-8")
    graded = grade_all(classroom, lecture, classroom.handed_in(lecture), workers=workers, on_grade=on_grade)
    grades = {grade.student: grade for grade in graded}
    left = _leftovers(submissions.MARK)
    full = sum(exercise.points for exercise in lecture.exercises)
    classmate_ok = all(grades[student].total == full for student in CLASSMATES)
    rows = []
    for hostile in submissions.CASES:
        given = grades[hostile.student]
        ok = dict(given.points) == hostile.deserved and classmate_ok and not left
        seconds = round(sum(given.seconds.values()), 2)
        rows.append(Row(hostile.case, sum(hostile.deserved.values()), given.total, classmate_ok, left, seconds, ok))
    return rows


def find_tests(checkout: Path, name: str) -> ModuleType:
    """A module of the tests, which are no part of the package.

    Raises:
        CourseError: they are not there.
    """
    folder = checkout / "tests"
    if not (folder / "hostile" / "submissions.py").is_file():
        raise CourseError(f"{folder / 'hostile'}: no such folder. Run this in a checkout of the course, tests included.")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return importlib.import_module(name)


def _leftovers(mark: str) -> int:
    """Processes with ``mark`` in their arguments, and files of that name where a later kernel would find them."""
    processes = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            processes += mark.encode() in path.read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
    return processes + len(list((Path.home() / ".ipython").rglob(f"{mark}*")))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``dlcourse hostile``."""
    parser.add_argument("--plain", action="store_true", help="grade them by plain nbgrader instead, walled in as a whole, for comparison: half an hour")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="how many submissions to run at a time (default: 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write a row for each submission there, too")


def run(args: argparse.Namespace) -> int:
    """Grade, print the table; 1 when a row of the engine's is wrong."""
    if no_sandbox():
        raise CourseError(no_sandbox())
    checkout = course.find_root()
    count = len(find_tests(checkout, "hostile.submissions").CASES)
    with tqdm(total=count if args.plain else count + len(CLASSMATES), desc="hostile", unit="submission") as bar:
        if args.plain:
            from dlcourse_utils.instructor.engine import plain

            rows = plain.grade(checkout, checkout / "build" / "plain", workers=args.workers, on_row=lambda row: bar.update())
        else:
            rows = grade(checkout, checkout / "build" / "hostile", workers=args.workers, on_grade=lambda grade: bar.update())
    header = ["case", "deserved", "given", "classmates", "left", "seconds", "verdict"]
    print(table(header, [dict(zip(header, _cells(row), strict=True)) for row in rows]))
    wrong = sum(not row.ok for row in rows)
    print(f"\n{len(rows)} submissions, {wrong} wrong rows.")
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    return int(wrong > 0 and not args.plain)


def _cells(row: Row) -> list[str]:
    return [
        row.case,
        f"{row.deserved:g}",
        "none" if row.given is None else f"{row.given:g}",
        "ok" if row.classmate_ok else "WRONG",
        str(row.leftovers),
        f"{row.seconds:g}",
        "ok" if row.ok else "WRONG",
    ]

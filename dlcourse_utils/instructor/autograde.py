"""``dlcourse autograde``: grade what was collected, and print what each student got and what was odd.

What grades is imported late: it takes seconds, in which the warm server does its own imports beside it.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from dlcourse_utils.instructor import course
from dlcourse_utils.instructor.course import CourseError, Lecture
from dlcourse_utils.instructor.engine.forkserver import Server

if TYPE_CHECKING:
    from dlcourse_utils.instructor.grading import Grade


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``dlcourse autograde``."""
    parser.add_argument("name", help="the lecture, such as 01 or 01-perceptron")
    parser.add_argument(
        "--course", type=Path, metavar="DIR", help="the folder that holds the gradebook and what was collected (default: course/ of this checkout)"
    )
    parser.add_argument("--student", action="append", metavar="ID", help="grade this student only; may be given again")
    parser.add_argument("--force", action="store_true", help="grade again what is graded already; only what has changed since is run")
    parser.add_argument("--dry-run", action="store_true", help="show what grading again would change, and write nothing")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="how many submissions to run at a time (default: one a core)")
    parser.add_argument(
        "--scheduler", default="", metavar="ADDRESS", help="run submissions on the Dask cluster with this scheduler, such as tcp://10.0.0.1:8786"
    )
    parser.add_argument("--sandbox", choices=["on", "off"], default="on", help="'off' only where every submission is trusted (default: on)")
    parser.add_argument("--judge", choices=["in-process", "separate"], help="where tests run (default: what the course's settings say)")


def run(args: argparse.Namespace) -> int:
    """Grade, print a table of students and exercises; 1 when a submission could not be graded."""
    root = course.find_root(args.course)
    if args.course and args.course.resolve() not in (root, root / "course"):
        raise CourseError(f"{args.course}: no course. Name a folder called course, with nbgrader_config.py and source/ in it.")
    (lecture,) = course.lectures(root, [args.name])
    if os.name == "posix" and not args.scheduler and _waiting(lecture, args.student):
        Server.instance()
    from dlcourse_utils.instructor.assign import load_config
    from dlcourse_utils.instructor.classroom import Classroom, table
    from dlcourse_utils.instructor.grading import differences, grade_all

    configured = str(load_config(root).CourseDirectory.db_url)
    gradebook = "" if configured.startswith("sqlite:") else configured
    classroom = Classroom(root, log=root / "build" / "log" / f"autograde-{lecture.name}.log", sandbox=args.sandbox, gradebook=gradebook, judge=args.judge)
    handed_in = classroom.handed_in(lecture)
    students = args.student or handed_in
    for student in students:
        if student not in handed_in:
            raise CourseError(f"{student}: nothing of theirs in {classroom.folder / 'submitted'}. Collect it first, or spell the name as it is written there.")
    if not students:
        raise CourseError(f"{classroom.folder / 'submitted'}: nobody has handed in {lecture.name} there. Collect it first.")
    with tqdm(total=len(students), desc=lecture.name, unit="submission") as bar:
        if args.dry_run:
            rows = differences(classroom, lecture, students, workers=args.workers, scheduler=args.scheduler, on_student=lambda student: bar.update())
        else:
            grades = grade_all(
                classroom, lecture, students, force=args.force, workers=args.workers, scheduler=args.scheduler, on_grade=lambda grade: bar.update()
            )
    if args.dry_run:
        print(table(["student", "exercise", "now", "then"], rows, left=2) if rows else "Grading again would change nothing.")
        return 0
    print(table(["student", *(exercise.id for exercise in lecture.exercises), "total", "seconds"], [_row(grade) for grade in grades]))
    print(_times(lecture, grades))
    for grade in grades:
        if grade.note:
            print(f"\n{grade.student}: {grade.note}")
    failed = sum(not grade.graded for grade in grades)
    print(f"\n{len(grades) - failed} graded, {failed} could not be graded. Written answers wait for a person. What nbgrader said is in {classroom.log}")
    return int(failed > 0)


def _waiting(lecture: Lecture, students: Collection[str] | None) -> bool:
    """Whether there is work of one of these students, or of any, that was never graded: then kernels will be needed."""
    folder = lecture.root / "course"
    graded = {path.parents[1].name for path in folder.glob(f"autograded/*/{lecture.name}/{lecture.name}.ipynb")}
    handed_in = {path.parent.name for path in folder.glob(f"submitted/*/{lecture.name}")}
    return bool((handed_in & set(students) if students else handed_in) - graded)


def _row(grade: Grade) -> dict[str, str]:
    points = {name: f"{value:g}" for name, value in grade.points.items()}
    return {"student": grade.student, **points, "total": f"{grade.total:g}", "seconds": f"{sum(grade.seconds.values()):.1f}"}


def _times(lecture: Lecture, grades: Sequence[Grade]) -> str:
    """The median seconds of each exercise's tests, to see which is slow."""
    medians = []
    for exercise in lecture.exercises:
        took = [sum(grade.seconds[test] for test in exercise.test_ids) for grade in grades if grade.seconds]
        medians += [f"{exercise.id} {statistics.median(took):.2f}"] if took else []
    return f"\nSeconds of the tests, in the middle: {', '.join(medians) or 'none was run'}."

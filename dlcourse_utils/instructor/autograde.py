"""``dlcourse autograde``: grade what was collected, one submission after another, whatever is among it.

Each file is looked at before nbgrader sees it. One that cannot be graded gives its student a row with 0 points and a note, and nobody else notices.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbgrader.api import MissingEntry
from tqdm import tqdm

from dlcourse_utils.instructor import course
from dlcourse_utils.instructor.classroom import Classroom, StepError, private_environment, table
from dlcourse_utils.instructor.course import CourseError, Lecture, grade_id, role

#: What nbgrader keeps beside a submission's notebook: when it was made, and what feedback is addressed by.
_PAPERS = ("timestamp.txt", "submission_secret.txt")
_UNGRADED = "dlcourse-ungraded"


class SubmissionError(CourseError):
    """A submission that cannot be graded; the message names the file and the cure."""


@dataclass(frozen=True)
class Grade:
    """What one student got: points by exercise id, and what there is to say about the file. ``graded`` is False where it could not be graded."""

    student: str
    points: Mapping[str, float]
    note: str = ""
    graded: bool = True

    @property
    def total(self) -> float:
        return sum(self.points.values())


def read_submission(path: Path, lecture: Lecture) -> NotebookNode:
    """The notebook that a student handed in.

    Raises:
        SubmissionError: it is missing, empty, cut off, no notebook, or another notebook.
    """
    again = "Ask for it again, saved in JupyterLab before it is submitted."
    if not path.is_file():
        others = sorted(other.name for other in path.parent.glob("*.ipynb"))
        if others:
            raise SubmissionError(f"{path}: not there, but there is {', '.join(others)}. Rename the right one to {path.name} and grade again.")
        raise SubmissionError(f"{path}: the notebook is missing. {again}")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise SubmissionError(f"{path}: not a notebook, but some other kind of file. {again}") from None
    if not text.strip():
        raise SubmissionError(f"{path}: the file is empty. {again}")
    try:
        content = json.loads(text)
    except json.JSONDecodeError:
        if text.lstrip().startswith("{") and not text.rstrip().endswith("}"):
            raise SubmissionError(f"{path}: the file ends in the middle. {again}") from None
        raise SubmissionError(f"{path}: not a notebook (no JSON). {again}") from None
    try:
        if not isinstance(content, dict) or "nbformat" not in content:
            raise ValueError
        notebook: NotebookNode = nbformat.reads(text, as_version=4)
        ids = _ids_in(notebook)
    except Exception:  # whatever a file of a strange shape makes nbformat stumble over
        raise SubmissionError(f"{path}: not a notebook (JSON of another kind). {again}") from None
    known = {name for exercise in lecture.exercises for name in (exercise.id, *exercise.test_ids)}
    if not ids & known:
        raise SubmissionError(f"{path}: another notebook; it has none of the exercises of {lecture.name}. Ask for the right one.")
    return notebook


def remarks(notebook: NotebookNode, lecture: Lecture) -> str:
    """What the instructor should know about a submission that can be graded: answers that were deleted. Other cells are put back."""
    lost = [exercise.id for exercise in lecture.exercises if exercise.id not in _ids_in(notebook)]
    names = ", ".join(f"'{name}'" for name in lost)
    return f"no answer cell for {names}; graded as left blank" if lost else ""


def _ids_in(notebook: NotebookNode) -> set[str]:
    """The grade_ids of a notebook that may hold anything in their place."""
    found = [cell.metadata.get("nbgrader") for cell in notebook.cells]
    return {meta["grade_id"] for meta in found if isinstance(meta, dict) and isinstance(meta.get("grade_id"), str)}


class Grader:
    """Grades the submissions of one lecture.

    Raises:
        CourseError: the gradebook does not know the lecture, or knows other points for it.
    """

    def __init__(self, classroom: Classroom, lecture: Lecture) -> None:
        self.classroom = classroom
        self.lecture = lecture
        cure = f"Run 'nbgrader generate_assignment {lecture.name} --force' in {classroom.folder}, or use the formgrader's button, and release it again."
        with classroom.gradebook() as gradebook:
            try:
                entered = {cell.name: cell.max_score for cell in gradebook.find_notebook(lecture.name, lecture.name).grade_cells}
            except MissingEntry:
                raise CourseError(f"{lecture.name}: the gradebook in {classroom.folder} does not know this assignment. {cure}") from None
        written = {grade_id(cell): float(cell.metadata.nbgrader["points"]) for cell in lecture.notebook.cells if role(cell) in ("test", "written")}
        if entered != written:
            raise CourseError(f"{lecture.name}: the gradebook in {classroom.folder} holds an older version of this assignment. {cure}")

    def grade(self, student: str, *, force: bool = False) -> Grade:
        """Grade one submission, unless it is graded already and ``force`` is not set. Never fails because of what was handed in."""
        path = self.classroom.path("submitted", self.lecture, student) / f"{self.lecture.name}.ipynb"
        try:
            note = remarks(read_submission(path, self.lecture), self.lecture)
            if force or not self._finished(student):
                self.classroom.autograde(self.lecture, student)
        except StepError as error:
            return self._give_nothing(student, f"{path}: nbgrader could not grade it ({error}). {self.classroom.log} says more; mend the file and grade again.")
        except SubmissionError as error:
            return self._give_nothing(student, str(error))
        return Grade(student, self._points(student), f"{path}: {note}" if note else "")

    def _finished(self, student: str) -> bool:
        """Whether the submission that lies there was graded to the end.

        nbgrader writes the notebook before it runs it, and once more when the scores are in the gradebook: only in the second are cells numbered.
        It skips whatever has a notebook, so that without this look an interrupted grading would never be taken up again.
        """
        submitted, graded = (self.classroom.path(step, self.lecture, student) for step in ("submitted", "autograded"))
        name = f"{self.lecture.name}.ipynb"
        try:
            notebook = nbformat.read(graded / name, as_version=4)
            same = all(_bytes(submitted / paper) == _bytes(graded / paper) for paper in _PAPERS)
            newer = (submitted / name).stat().st_mtime > (graded / name).stat().st_mtime
        except Exception:  # missing, or cut off by whatever ended the last run
            return False
        ran = any(cell.get("execution_count") for cell in notebook.cells)
        return ran and same and not newer

    def _points(self, student: str) -> dict[str, float]:
        with self.classroom.gradebook() as gradebook:
            submission = gradebook.find_submission_notebook(self.lecture.name, self.lecture.name, student)
            scores = {grade.name: float(grade.score or 0.0) for grade in submission.grades}
        return {exercise.id: sum(scores[test] for test in exercise.test_ids) for exercise in self.lecture.exercises}

    def _give_nothing(self, student: str, note: str) -> Grade:
        """Record 0 points and the reason, in the gradebook and as a notebook from which nbgrader makes the feedback page."""
        lecture = self.lecture
        target = self.classroom.path("autograded", lecture, student)
        shutil.rmtree(target, ignore_errors=True)
        with self.classroom.gradebook() as gradebook:
            gradebook.update_or_create_student(student)
            gradebook.update_or_create_submission(lecture.name, student, timestamp=self.classroom.timestamp(lecture, student))
            submission = gradebook.find_submission_notebook(lecture.name, lecture.name, student)
            for grade in submission.grades:
                grade.auto_score, grade.needs_manual_grade = 0, False
            for comment in submission.comments:
                comment.auto_comment = note
            gradebook.db.commit()
        target.mkdir(parents=True)
        for paper in _PAPERS:
            source = self.classroom.path("submitted", lecture, student) / paper
            if source.is_file():
                shutil.copy(source, target)
        text = nbformat.v4.new_markdown_cell(f"**This submission could not be graded.**\n\n{_for_student(note)}", id=_UNGRADED)
        nbformat.write(nbformat.v4.new_notebook(cells=[text]), target / f"{lecture.name}.ipynb")
        return Grade(student, {exercise.id: 0.0 for exercise in lecture.exercises}, note, graded=False)


def _for_student(note: str) -> str:
    """The note without the instructor's paths."""
    path, _, reason = note.partition(": ")
    return f"`{Path(path).name}`: {reason}"


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def grade_all(
    classroom: Classroom, lecture: Lecture, students: Sequence[str], *, force: bool = False, on_grade: Callable[[Grade], object] = lambda grade: None
) -> list[Grade]:
    """Grade the submissions of these students, in order. ``on_grade`` is called after each, to move a progress bar.

    Raises:
        CourseError: the gradebook does not know the lecture.
    """
    grades = []
    with private_environment():
        grader = Grader(classroom, lecture)
        for student in students:
            grades.append(grader.grade(student, force=force))
            on_grade(grades[-1])
    return grades


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``dlcourse autograde``."""
    parser.add_argument("name", help="the lecture, such as 01 or 01-perceptron")
    parser.add_argument(
        "--course", type=Path, metavar="DIR", help="the folder that holds the gradebook and what was collected (default: course/ of this checkout)"
    )
    parser.add_argument("--student", action="append", metavar="ID", help="grade this student only; may be given again")
    parser.add_argument("--force", action="store_true", help="grade again what is graded already")


def run(args: argparse.Namespace) -> int:
    """Grade, print a table of students and exercises; 1 when a submission could not be graded."""
    root = course.find_root(args.course)
    if args.course and args.course.resolve() not in (root, root / "course"):
        raise CourseError(f"{args.course}: no course. Name a folder called course, with nbgrader_config.py and source/ in it.")
    (lecture,) = course.lectures(root, [args.name])
    classroom = Classroom(root, log=root / "build" / "log" / f"autograde-{lecture.name}.log")
    handed_in = classroom.handed_in(lecture)
    students = args.student or handed_in
    for student in students:
        if student not in handed_in:
            raise CourseError(f"{student}: nothing of theirs in {classroom.folder / 'submitted'}. Collect it first, or spell the name as it is written there.")
    if not students:
        raise CourseError(f"{classroom.folder / 'submitted'}: nobody has handed in {lecture.name} there. Collect it first.")
    with tqdm(total=len(students), desc=lecture.name, unit="submission") as bar:
        grades = grade_all(classroom, lecture, students, force=args.force, on_grade=lambda grade: bar.update())
    print(table(["student", *(exercise.id for exercise in lecture.exercises), "total"], [_row(grade) for grade in grades]))
    for grade in grades:
        if grade.note:
            print(f"\n{grade.student}: {grade.note}")
    failed = sum(not grade.graded for grade in grades)
    print(f"\n{len(grades) - failed} graded, {failed} could not be graded. Written answers wait for a person. What nbgrader said is in {classroom.log}")
    return int(failed > 0)


def _row(grade: Grade) -> dict[str, str]:
    points = {name: f"{value:g}" for name, value in grade.points.items()}
    return {"student": grade.student, **points, "total": f"{grade.total:g}"}

"""Grade what was collected, whatever is among it, and say in words what was odd.

A file that cannot be read gives its student a row with 0 points and a note, and nobody else notices.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.utils import determine_grade

from dlcourse_utils.instructor.classroom import Classroom, StepError, private_environment
from dlcourse_utils.instructor.course import CourseError, Lecture, grade_id, role
from dlcourse_utils.instructor.engine.admit import tidy
from dlcourse_utils.instructor.engine.cluster import Cluster, ClusterError
from dlcourse_utils.instructor.engine.execute import no_sandbox
from dlcourse_utils.instructor.engine.notes import Notes

#: What nbgrader keeps beside a submission's notebook: when it was made, and what feedback is addressed by.
_PAPERS = ("timestamp.txt", "submission_secret.txt")
_UNGRADED = "dlcourse-ungraded"


@dataclass(frozen=True)
class Grade:
    """What one student got: points by exercise id, and what there is to say about the file. ``graded`` is False where it could not be read.
    ``seconds`` are those that each cell took when it was run, by grade_id.
    """

    student: str
    points: Mapping[str, float]
    note: str = ""
    graded: bool = True
    seconds: Mapping[str, float] = field(default_factory=dict, compare=False)

    @property
    def total(self) -> float:
        return sum(self.points.values())


class Grader:
    """Grades the submissions of one lecture; a cluster, if there is one, runs them.

    Raises:
        CourseError: the gradebook does not know the lecture, or knows other points for it; or there is no sandbox.
    """

    def __init__(self, classroom: Classroom, lecture: Lecture, cluster: Cluster | None = None) -> None:
        self.classroom = classroom
        self.lecture = lecture
        self.cluster = cluster
        if classroom.sandbox == "on" and no_sandbox():
            raise CourseError(no_sandbox())
        cure = f"Run 'nbgrader generate_assignment {lecture.name} --force' in {classroom.folder}, or use the formgrader's button, and release it again."
        self._opened = classroom.gradebook()
        with self._gradebook() as gradebook:
            try:
                entered = {cell.name: cell.max_score for cell in gradebook.find_notebook(lecture.name, lecture.name).grade_cells}
            except MissingEntry:
                raise CourseError(f"{lecture.name}: the gradebook in {classroom.folder} does not know this assignment. {cure}") from None
        written = {grade_id(cell): float(cell.metadata.nbgrader["points"]) for cell in lecture.notebook.cells if role(cell) in ("test", "written")}
        if entered != written:
            raise CourseError(f"{lecture.name}: the gradebook in {classroom.folder} holds an older version of this assignment. {cure}")
        self._released = classroom.released(lecture)

    def close(self) -> None:
        self._opened.close()

    @contextlib.contextmanager
    def _gradebook(self) -> Iterator[Gradebook]:
        """The one gradebook; nothing of what was read in it, and no transaction, outlasts the block."""
        try:
            yield self._opened
        finally:
            self._opened.db.remove()

    def run(self, student: str) -> dict[str, float]:
        """Run a submission, so that grading it will find the results; the gradebook is not touched. Several threads may do this at once.

        Returns:
            The points that it would get, by exercise id.
        """
        tidy(self.classroom.path("submitted", self.lecture, student), self.lecture.name)
        notebook = self.classroom.executed(self.lecture, student, self._released, self.cluster)
        scores = {str(grade_id(cell)): float(determine_grade(cell)[0]) for cell in notebook.cells if role(cell) == "test"}
        return self._by_exercise(scores)

    def grade(self, student: str, *, force: bool = False) -> Grade:
        """Grade one submission, unless it is graded already and ``force`` is not set. Never fails because of what was handed in."""
        path = tidy(self.classroom.path("submitted", self.lecture, student), self.lecture.name)
        with _alone(path.parent):
            try:
                if force or not self.finished(student):
                    with self._gradebook() as gradebook:
                        self.classroom.autograde(self.lecture, student, gradebook)
            except StepError as error:
                return self._give_nothing(
                    student, f"{path}: nbgrader could not grade it ({error}). {self.classroom.log} says more; mend the file and grade again."
                )
            notes = Notes.of(self._graded(student))
        note = " ".join(remark.text for remark in notes.remarks)
        return Grade(student, self.points(student), f"{path}: {note}" if note else "", notes.readable, notes.seconds)

    def _graded(self, student: str) -> NotebookNode:
        notebook: NotebookNode = nbformat.read(self.classroom.path("autograded", self.lecture, student) / f"{self.lecture.name}.ipynb", as_version=4)
        return notebook

    def finished(self, student: str) -> bool:
        """Whether the submission that lies there was graded to the end.

        nbgrader writes the notebook before it runs it, and once more when the scores are in the gradebook: only in the second are cells numbered.
        It skips whatever has a notebook, so that without this look an interrupted grading would never be taken up again.
        """
        submitted, graded = (self.classroom.path(step, self.lecture, student) for step in ("submitted", "autograded"))
        name = f"{self.lecture.name}.ipynb"
        try:
            notebook = self._graded(student)
            same = all(_bytes(submitted / paper) == _bytes(graded / paper) for paper in _PAPERS)
            newer = (submitted / name).stat().st_mtime > (graded / name).stat().st_mtime
        except Exception:  # missing, or cut off by whatever ended the last run
            return False
        ran = any(cell.get("execution_count") for cell in notebook.cells)
        return ran and same and not newer

    def points(self, student: str) -> dict[str, float]:
        """What the gradebook has for a student, by exercise id; empty where it has nothing."""
        with self._gradebook() as gradebook:
            try:
                submission = gradebook.find_submission_notebook(self.lecture.name, self.lecture.name, student)
            except MissingEntry:
                return {}
            scores = {grade.name: float(grade.score or 0.0) for grade in submission.grades}
        return self._by_exercise(scores)

    def _by_exercise(self, scores: Mapping[str, float]) -> dict[str, float]:
        return {exercise.id: sum(scores[test] for test in exercise.test_ids) for exercise in self.lecture.exercises}

    def _give_nothing(self, student: str, note: str) -> Grade:
        """Record 0 points and the reason, in the gradebook and as a notebook from which nbgrader makes the feedback page."""
        lecture = self.lecture
        target = self.classroom.path("autograded", lecture, student)
        shutil.rmtree(target, ignore_errors=True)
        with self._gradebook() as gradebook:
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


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One grader at a time has a submission; another one waits. Not on Windows."""
    if os.name != "posix":
        yield
        return
    import fcntl

    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)  # given back when the folder is closed, also by the end of a process that was killed
        yield
    finally:
        os.close(opened)


def _for_student(note: str) -> str:
    """The note without the instructor's paths."""
    path, _, reason = note.partition(": ")
    return f"`{Path(path).name}`: {reason}"


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def grade_all(
    classroom: Classroom,
    lecture: Lecture,
    students: Sequence[str],
    *,
    force: bool = False,
    workers: int = 1,
    scheduler: str = "",
    on_grade: Callable[[Grade], object] = lambda grade: None,
) -> list[Grade]:
    """Grade the submissions of these students. ``workers`` of them are run at a time, or as many as the cluster behind ``scheduler`` has room for;
    only this thread writes to the gradebook.

    What a killed run had finished is not run again, and what it had not is graded by the next. ``on_grade`` is called after each, to move a
    progress bar.

    Raises:
        CourseError: the gradebook does not know the lecture, there is no sandbox, or no cluster.
    """
    grades = {}
    with _grader(classroom, lecture, scheduler) as grader:
        finished = [] if force else [student for student in students if grader.finished(student)]
        with _ahead(grader, [student for student in students if student not in finished], workers) as running:
            for student in chain(finished, _as_they_end(running)):
                grades[student] = grader.grade(student, force=force)
                on_grade(grades[student])
    return [grades[student] for student in students]


def differences(
    classroom: Classroom,
    lecture: Lecture,
    students: Sequence[str],
    *,
    workers: int = 1,
    scheduler: str = "",
    on_student: Callable[[str], object] = lambda student: None,
) -> list[dict[str, str]]:
    """What grading again would change, as rows (student, exercise, now, then); nothing is written to the gradebook.

    Raises:
        CourseError: as for ``grade_all``, or a submission cannot be run.
    """
    rows = []
    with _grader(classroom, lecture, scheduler) as grader, _ahead(grader, students, workers) as running:
        for future in as_completed(running):
            student, then = running[future], future.result()
            now = grader.points(student)
            changed = [name for name in then if now.get(name) != then[name]]
            rows += [{"student": student, "exercise": name, "now": f"{now[name]:g}" if now else "none", "then": f"{then[name]:g}"} for name in changed]
            on_student(student)
    return sorted(rows, key=lambda row: students.index(row["student"]))


@contextlib.contextmanager
def _grader(classroom: Classroom, lecture: Lecture, scheduler: str) -> Iterator[Grader]:
    with (
        private_environment(),
        contextlib.closing(Cluster(scheduler)) if scheduler else contextlib.nullcontext() as cluster,
        contextlib.closing(Grader(classroom, lecture, cluster)) as grader,
    ):
        yield grader


@contextlib.contextmanager
def _ahead(grader: Grader, students: Sequence[str], workers: int) -> Iterator[dict[Future[dict[str, float]], str]]:
    """Run these students' submissions in threads of their own; yields future -> student. Leaving the block drops what has not begun.

    With a cluster a thread only waits for a worker, and there are as many as the workers have.
    """
    with ThreadPoolExecutor(grader.cluster.size if grader.cluster else workers) as pool:
        try:
            yield {pool.submit(grader.run, student): student for student in students}
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _as_they_end(running: Mapping[Future[dict[str, float]], str]) -> Iterator[str]:
    for future in as_completed(running):
        error = future.exception()
        if isinstance(error, ClusterError):
            raise error
        yield running[future]  # whether it could be run or not: grading it will find the same cause, and note it

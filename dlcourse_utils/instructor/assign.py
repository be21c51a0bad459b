"""The student version of a lecture: nbgrader's own generate_assignment, run where it can touch nothing of the real course."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbgrader.converters import GenerateAssignment
from nbgrader.converters.base import NbGraderException
from nbgrader.coursedir import CourseDirectory
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

from dlcourse_utils.instructor.course import CourseError, Lecture


def load_config(root: Path) -> Config:
    """The settings in ``course/nbgrader_config.py`` of the checkout ``root``.

    Raises:
        CourseError: the file is missing.
    """
    folder = root / "course"
    if not (folder / "nbgrader_config.py").is_file():
        raise CourseError(f"{folder / 'nbgrader_config.py'}: no such file. nbgrader needs it to find and grade the course.")
    return PyFileConfigLoader("nbgrader_config.py", path=str(folder)).load_config()


def source_notebook(lecture: Lecture) -> bytes:
    """The lecture's source as the ``.ipynb`` that nbgrader reads: solutions and hidden tests in it, no outputs."""
    return notebook_bytes(lecture.notebook)


def notebook_bytes(notebook: NotebookNode) -> bytes:
    """A notebook as it lies on disk: keys sorted, one trailing newline."""
    text: str = nbformat.writes(notebook)
    return (text + "\n").encode()


def student_notebook(lecture: Lecture) -> bytes:
    """What ``nbgrader generate_assignment`` releases for the lecture, byte for byte.

    It runs on a copy of the source in a temporary course with the real course's settings and without a gradebook.

    Raises:
        CourseError: nbgrader refuses the source.
    """
    with tempfile.TemporaryDirectory(prefix="dlcourse-") as folder:
        course = Path(folder).resolve()
        source = course / "source" / lecture.name / f"{lecture.name}.ipynb"
        source.parent.mkdir(parents=True)
        source.write_bytes(source_notebook(lecture))

        config = load_config(lecture.root)
        config.CourseDirectory.root = str(course)
        config.CourseDirectory.db_url = f"sqlite:///{(course / 'gradebook.db').as_posix()}"
        config.CourseDirectory.assignment_id = lecture.name
        config.GenerateAssignment.no_database = True
        config.SaveCells.enabled = False

        complaints = _Complaints()
        log = logging.Logger("dlcourse.build")
        log.addHandler(complaints)
        try:
            GenerateAssignment(coursedir=CourseDirectory(config=config, log=log), config=config, log=log).start()
        except NbGraderException as error:
            raise CourseError(f"{lecture.source}: nbgrader cannot make the student version: {complaints.reason or error}") from error
        return (course / "release" / lecture.name / f"{lecture.name}.ipynb").read_bytes()


class _Complaints(logging.Handler):
    """Keeps what nbgrader logs as the cause of a failure: its exceptions only point at the log."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.reason = ""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage().strip()
        if text.startswith("Traceback"):
            self.reason = text.splitlines()[-1]

"""A mini course with its assignment in the gradebook, and what its students hand in."""

from __future__ import annotations

from pathlib import Path

import minicourse
import nbformat

from dlcourse_utils.instructor import assign
from dlcourse_utils.instructor.classroom import Classroom, private_environment
from dlcourse_utils.instructor.course import Lecture, grade_id, lectures, role


def make(root: Path) -> tuple[Classroom, Lecture]:
    """A mini course in ``root``, released."""
    (lecture,) = lectures(minicourse.write(root))
    lecture.source.with_suffix(".ipynb").write_bytes(assign.source_notebook(lecture))
    classroom = Classroom(root, log=root / "log")
    with private_environment():
        classroom.generate(lecture)
    return classroom, lecture


def solved(lecture: Lecture) -> nbformat.NotebookNode:
    """What a student with the right answers hands in."""
    released = lecture.root / "course" / "release" / lecture.name / f"{lecture.name}.ipynb"
    notebook = nbformat.read(released, as_version=4)
    answers = {grade_id(cell): cell.source for cell in lecture.notebook.cells if role(cell) == "solution"}
    for cell in notebook.cells:
        cell.source = answers.get(grade_id(cell), cell.source)
    return notebook


def cell_of(notebook: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    return next(cell for cell in notebook.cells if grade_id(cell) == name)


def text(notebook: nbformat.NotebookNode) -> str:
    return nbformat.writes(notebook)


def without(notebook: nbformat.NotebookNode, *ids: str) -> str:
    notebook.cells = [cell for cell in notebook.cells if grade_id(cell) not in ids]
    return text(notebook)


def hand_in(lecture: Lecture, student: str, content: str, name: str | None = None) -> Path:
    """Put a file where collecting would."""
    folder = lecture.root / "course" / "submitted" / student / lecture.name
    folder.mkdir(parents=True)
    path = folder / (name or f"{lecture.name}.ipynb")
    path.write_text(content, encoding="utf-8")
    return path

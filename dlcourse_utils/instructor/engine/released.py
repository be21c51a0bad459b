"""The notebook as it was released, and what the gradebook knows of its cells."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.coursedir import CourseDirectory

from dlcourse_utils.instructor.course import CourseError, grade_id


@dataclass(frozen=True)
class Released:
    """A released notebook, and grade_id -> source of its labelled cells, hidden tests included."""

    notebook: NotebookNode
    sources: dict[str, str]


def released(coursedir: CourseDirectory, assignment: str, name: str) -> Released:
    """Read it.

    Raises:
        CourseError: the released notebook is missing, or is not the one that the gradebook knows.
    """
    path = Path(coursedir.format_path(coursedir.release_directory, ".", assignment)) / f"{name}.ipynb"
    cure = f"Run 'nbgrader generate_assignment {assignment} --force', or use the formgrader's button."
    if not path.is_file():
        raise CourseError(f"{path}: no such file, and submissions are graded in the released notebook. {cure}")
    sources = _sources(coursedir.db_url, assignment, name, path.stat().st_mtime_ns)
    notebook: NotebookNode = nbformat.read(path, as_version=4)
    if not {grade_id(cell) for cell in notebook.cells} - {None} <= set(sources):
        raise CourseError(f"{path}: not the notebook that the gradebook knows. {cure}")
    return Released(notebook, sources)


@functools.lru_cache(maxsize=16)
def _sources(db_url: str, assignment: str, name: str, written: int) -> dict[str, str]:
    """What the gradebook holds; nbgrader changes that and writes the released notebook at once."""
    with Gradebook(db_url) as gradebook:
        return {str(cell.name): str(cell.source) for cell in gradebook.find_notebook(name, assignment).source_cells}

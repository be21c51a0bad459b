"""nbgrader's Autograde for a whole class: the gradebook is opened once, not nine times a submission."""

from __future__ import annotations

import shutil
from pathlib import Path

from nbgrader.api import Gradebook
from nbgrader.converters import Autograde
from nbgrader.converters.base import BaseConverter
from nbgrader.utils import find_all_files


class ClassAutograde(Autograde):
    """As nbgrader's, with a ``gradebook`` that is open and stays open; the preprocessors use it, too (``open_gradebook``).

    The caller knows that the gradebook has the assignment, and that the submission's notebook is there.
    """

    gradebook: Gradebook

    def init_assignment(self, assignment_id: str, student_id: str) -> None:
        """Enter the submission into the gradebook; copy what lies beside the notebook, the source's files over the student's."""
        BaseConverter.init_assignment(self, assignment_id, student_id)
        time = self.coursedir.get_existing_timestamp(self._format_source(assignment_id, student_id))
        self.gradebook.update_or_create_student(student_id)
        self.gradebook.update_or_create_submission(assignment_id, student_id, **({"timestamp": time} if time else {}))
        source = self.coursedir.format_path(self.coursedir.source_directory, ".", assignment_id)
        target = Path(self._format_dest(assignment_id, student_id))
        for name in find_all_files(source, [*self.coursedir.ignore, "*.ipynb"]):
            copy = target / Path(name).relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.unlink(missing_ok=True)
            shutil.copy(name, copy)


def open_gradebook(converter: object) -> Gradebook | None:
    """The gradebook that a converter holds open; None where it is nbgrader's own."""
    return converter.gradebook if isinstance(converter, ClassAutograde) else None

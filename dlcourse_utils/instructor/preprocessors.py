"""What of ours stands among nbgrader's steps: how a submission is read, rebuilt and saved, and what of a graded one is shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import nbformat
from nbconvert.exporters import NotebookExporter
from nbformat import NotebookNode
from nbgrader.preprocessors import AssignLatePenalties, NbGraderPreprocessor, SaveAutoGrades

from dlcourse_utils.instructor import regions
from dlcourse_utils.instructor.course import grade_id, role
from dlcourse_utils.instructor.engine import admit, reading
from dlcourse_utils.instructor.engine.converter import open_gradebook
from dlcourse_utils.instructor.engine.notes import Notes, Remark
from dlcourse_utils.instructor.engine.rebuild import rebuild
from dlcourse_utils.instructor.engine.released import Released, released


class AnyNotebook(NotebookExporter):
    """Lets any file through to ``Rebuild``, which reads it by itself: nbgrader's reader gives up on what is not a valid notebook."""

    def from_file(self, file_stream: TextIO, resources: dict[str, Any] | None = None, **kw: Any) -> tuple[NotebookNode, dict[str, Any]]:
        try:
            notebook = nbformat.read(file_stream, as_version=4)
        except Exception:  # whatever a file of a strange shape makes nbformat stumble over
            notebook = nbformat.v4.new_notebook()
        convert: Callable[..., tuple[NotebookNode, dict[str, Any]]] = self.from_notebook_node
        return convert(notebook, resources=resources, **kw)


class Rebuild(NbGraderPreprocessor):
    """Put the released notebook with the student's answers in place of what was handed in. See ``engine.rebuild``.

    Raises:
        CourseError: the released notebook is missing, or is not the one that the gradebook knows.
    """

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        known = resources["nbgrader"]
        template = released(self.parent.parent.coursedir, known["assignment"], known["notebook"])
        notebook, notes = prepare(Path(resources["metadata"]["path"]), known["notebook"], template)
        notes.write(notebook, resources)
        return notebook, resources


def prepare(folder: Path, name: str, template: Released) -> tuple[NotebookNode, Notes]:
    """The notebook to grade of the submission in a tidied folder, and what there is to say about it."""
    submission = reading.read(folder / f"{name}.ipynb")
    notebook, remarks = rebuild(template, submission)
    return notebook, Notes([*remarks, *map(Remark, admit.oddities(folder, name))], readable=not submission.trouble)


class SaveGrades(SaveAutoGrades):
    """nbgrader's, with what was odd about an answer as the comment on it, and in the gradebook that is open if there is one."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        self._notes = Notes.of(nb)
        opened, known = open_gradebook(self.parent.parent), resources["nbgrader"]
        result: tuple[NotebookNode, dict[str, Any]]
        if opened is None:
            result = super().preprocess(nb, resources)
        else:
            self.gradebook, self.notebook_id, self.assignment_id, self.student_id = opened, known["notebook"], known["assignment"], known["student"]
            result = NbGraderPreprocessor.preprocess(self, nb, resources)
        return result

    def _add_comment(self, cell: NotebookNode, resources: dict[str, Any]) -> None:
        super()._add_comment(cell, resources)
        name = str(grade_id(cell))
        text = self._notes.about(name)
        if text:
            comment = self.gradebook.find_comment(name, self.notebook_id, self.assignment_id, self.student_id)
            comment.auto_comment = text
            self.gradebook.db.commit()


class LatePenalties(AssignLatePenalties):
    """nbgrader's, which need not look where the gradebook is open and says that the submission was in time."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        gradebook, known = open_gradebook(self.parent.parent), resources["nbgrader"]
        if gradebook is not None:
            submission = gradebook.find_submission(known["assignment"], known["student"])
            if submission.total_seconds_late <= 0 and not any(notebook.late_submission_penalty for notebook in submission.notebooks):
                return nb, resources
        result: tuple[NotebookNode, dict[str, Any]] = super().preprocess(nb, resources)
        return result


class HideTests(NbGraderPreprocessor):
    """Take hidden tests and mark schemes out of what students get back, and their code out of error reports."""

    def preprocess_cell(self, cell: NotebookNode, resources: dict[str, Any], index: int) -> tuple[NotebookNode, dict[str, Any]]:
        kind = role(cell)
        if kind in ("test", "written"):
            cell["source"] = "\n".join(regions.split(cell.source, regions.HIDDEN_TESTS, regions.MARK_SCHEME)[0])
        if kind == "test":
            for output in cell.get("outputs", []):
                if output.output_type == "error":  # a traceback quotes the lines around the failure
                    output["traceback"] = [f"{output.ename}: {output.evalue}"]
        return cell, resources

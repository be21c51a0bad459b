"""Two steps of ours among nbgrader's: what of a submission is run, and what of a graded one is shown."""

from __future__ import annotations

from typing import Any

from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor

from dlcourse_utils.instructor import regions
from dlcourse_utils.instructor.course import SHOWN_ONLY, role

#: A cell with this tag is passed over by nbclient, and so by everything that executes notebooks for nbgrader.
SKIP = "skip-execution"


class RunOnlyWhatIsGraded(NbGraderPreprocessor):
    """Leave out the cells that only show things, and let a submission's own tags decide nothing.

    A student's tag ``skip-execution`` on a test cell would keep it from running, and nbgrader gives full marks to a test
    that printed nothing; ``raises-exception`` changes what stops a run. Figures, experiments and widgets are what takes
    long in a notebook, and no test needs them.
    """

    def preprocess_cell(self, cell: NotebookNode, resources: dict[str, Any], index: int) -> tuple[NotebookNode, dict[str, Any]]:
        cell.metadata.pop("tags", None)
        if role(cell) in SHOWN_ONLY:
            cell.metadata["tags"] = [SKIP]
        return cell, resources


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

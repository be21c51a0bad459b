"""Three steps of ours among nbgrader's: which cells a submission has, which of them are run, and what of a graded one is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell
from nbgrader.api import Gradebook
from nbgrader.preprocessors import NbGraderPreprocessor, OverwriteCells
from nbgrader.utils import compute_checksum

from dlcourse_utils.instructor import regions
from dlcourse_utils.instructor.course import SHOWN_ONLY, role

#: A cell with this tag is passed over by nbclient, and so by everything that executes notebooks for nbgrader.
SKIP = "skip-execution"


class RestoreCells(OverwriteCells):
    """Give a submission the cells that were released, whatever became of them.

    Every released cell that is missing is put back, after the one it followed; each that is there gets its released nbgrader
    metadata again; of one that is there twice, as JupyterLab's *Split Cell* makes it, the last counts; what was never
    released loses its metadata. A written answer that was not touched is known by the text that was released.
    nbgrader itself puts back graded cells only, and gives up on the whole submission when the cell before one of them
    is gone too, or when a cell's metadata is not what it expects.
    """

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        released = self._released(resources)
        here: set[str] = set()
        for cell in reversed(nb.cells):
            meta = cell.metadata.pop("nbgrader", None)
            name = meta.get("grade_id") if isinstance(meta, dict) else None
            if isinstance(name, str) and name in released and name not in here:
                here.add(name)
                cell.metadata["nbgrader"] = released[name].metadata.nbgrader
        place = 0
        for name, cell in released.items():
            if name in here:
                place = next(i for i, there in enumerate(nb.cells) if there.metadata.get("nbgrader", {}).get("grade_id") == name) + 1
            else:
                self.log.warning("Cell '%s' was missing and is put back", name)
                nb.cells.insert(place, cell)
                place += 1
        written = {name: compute_checksum(cell) for name, cell in released.items() if role(cell) == "written"}
        nb, resources = super().preprocess(nb, resources)
        for cell in nb.cells:
            name = cell.metadata.get("nbgrader", {}).get("grade_id")
            if name in written:  # nbgrader's own checksum is that of the source, mark scheme and all, and would never tell an untouched answer
                cell.metadata.nbgrader["checksum"] = written[name]
        return nb, resources

    def _released(self, resources: dict[str, Any]) -> dict[str, NotebookNode]:
        """The cells in the gradebook, in the released order, by grade_id."""
        known = resources["nbgrader"]
        with Gradebook(known["db_url"]) as gradebook:
            notebook = gradebook.find_notebook(known["notebook"], known["assignment"])
            points = {cell.name: cell.max_score for cell in notebook.grade_cells}
            answers = {cell.name for cell in notebook.solution_cells}
            cells = {}
            for cell in notebook.source_cells:
                meta: dict[str, Any] = {"grade_id": cell.name, "grade": cell.name in points, "solution": cell.name in answers, "locked": cell.locked}
                meta |= {"task": False, "schema_version": 3, "checksum": cell.checksum, "cell_type": cell.cell_type}
                meta |= {"points": points[cell.name]} if cell.name in points else {}
                new: Callable[..., NotebookNode] = new_code_cell if cell.cell_type == "code" else new_markdown_cell
                source = "\n".join(regions.split(cell.source, regions.MARK_SCHEME)[0])
                cells[str(cell.name)] = new(source, metadata={"nbgrader": meta})
        return cells


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

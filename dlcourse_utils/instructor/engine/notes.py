"""What there is to say about one submission: kept in the graded notebook, told at its top and in a file beside it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

#: The file beside an autograded notebook that says what was odd about the submission; there is none where nothing was.
REMARKS = "remarks.txt"

_KEY = "dlcourse"
_CELL = "remarks"


def harmless(text: str) -> str:
    """Markdown in which no HTML opens and no link leads to a script: nbgrader's templates would let it through to feedback and formgrader."""
    text = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)
    text = re.sub(r"\](?=\(\s*(?!https?://|attachment:|#))", "] ", text)
    return re.sub(r"\](?=:\s*(?!https?://))", "] ", text)


@dataclass(frozen=True)
class Remark:
    """Something odd about a submission, in plain words; ``exercise`` is the answer it is about, empty when it is about the whole."""

    text: str
    exercise: str = ""


@dataclass
class Notes:
    """Remarks on a submission, whether its file could be read, the seconds that each cell took, whether it ran behind the sandbox's wall, and where
    its tests ran, see ``Execute.judge``.
    """

    remarks: list[Remark] = field(default_factory=list)
    readable: bool = True
    seconds: dict[str, float] = field(default_factory=dict)
    sandbox: bool = False
    judge: str = ""

    @classmethod
    def of(cls, notebook: NotebookNode) -> Notes:
        """The notes that a graded notebook carries; empty ones if it has none."""
        found = dict(notebook.metadata.get(_KEY, {}))
        remarks = [Remark(**remark) for remark in found.pop("remarks", [])]
        return cls(remarks, **found)

    def write(self, notebook: NotebookNode, resources: dict[str, Any]) -> None:
        """Put the notes into the notebook, and hand the file beside it to nbconvert's writer."""
        notebook.metadata[_KEY] = asdict(self)
        notebook["cells"] = [cell for cell in notebook.cells if cell.get("id") != _CELL]
        if self.remarks:
            lines = "\n".join(f"- {harmless(remark.text)}" for remark in self.remarks)
            notebook.cells.insert(0, new_markdown_cell(f"**About this submission**\n\n{lines}", id=_CELL))
            outputs = resources.get("outputs") or {}
            resources["outputs"] = {**outputs, REMARKS: "".join(f"{remark.text}\n" for remark in self.remarks).encode()}

    def about(self, exercise: str) -> str:
        """What is to stand as a comment on an answer: all there is to say, where the file could not be read."""
        return " ".join(harmless(remark.text) for remark in self.remarks if remark.exercise == exercise or not self.readable)

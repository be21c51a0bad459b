"""The notebook that is graded: the released one, with a student's answers in it.

Nothing of the student's file is run as it came. Released cells come back as they were released, in their order, hidden tests included;
answers are found by their label; cells of the student's own stay where they stood, and those that an answer needs are run.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from dlcourse_utils.instructor.course import SHOWN_ONLY, CourseError, grade_id, role
from dlcourse_utils.instructor.depends import defined
from dlcourse_utils.instructor.engine import helpers
from dlcourse_utils.instructor.engine.notes import Remark, harmless
from dlcourse_utils.instructor.engine.reading import Cell, Submission
from dlcourse_utils.instructor.engine.released import Released

#: A cell with this tag is passed over by whatever executes notebooks for nbgrader.
SKIP = "skip-execution"

#: In the metadata of an answer's cell: the names that the released cell defines, which tests may use.
DEFINES = "dlcourse_defines"

_AT_THE_TOP = -1


@dataclass
class _Matches:
    """Which submitted cell stands for which released one."""

    cells: dict[int, Cell] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)
    own: list[tuple[int, Cell]] = field(default_factory=list)  # each with the released cell it stands below


def rebuild(released: Released, submission: Submission) -> tuple[NotebookNode, list[Remark]]:
    """The notebook to grade, and what there is to say about the submission.

    Raises:
        CourseError: a released answer cell is no Python.
    """
    notebook = copy.deepcopy(released.notebook)
    matches = _match(notebook.cells, submission.cells)
    remarks = [Remark(submission.trouble)] if submission.trouble else list(_remarks(notebook.cells, matches))
    exercises = [str(grade_id(cell)) for cell in notebook.cells if role(cell) == "solution"]
    for index, cell in enumerate(notebook.cells):
        name, kind = grade_id(cell), role(cell)
        cell.metadata.pop("tags", None)
        if cell.cell_type == "code":
            cell["outputs"], cell["execution_count"] = [], None
        if kind == "solution":
            cell.metadata[DEFINES] = _defined(cell)
        if kind in ("solution", "written") and index in matches.cells:
            found = matches.cells[index].source
            cell["source"] = found if kind == "solution" or found == cell.source else harmless(found)
            if matches.cells[index].attachments and cell.cell_type == "markdown":
                cell["attachments"] = dict(matches.cells[index].attachments)
        elif kind in ("setup", "test"):
            cell["source"] = released.sources[str(name)]
        elif kind in SHOWN_ONLY:
            cell.metadata["tags"] = [SKIP]
    answers = [cell.source for cell in notebook.cells if role(cell) == "solution"]
    own = [cell.source if cell.kind == "code" else "" for _, cell in matches.own]
    needed = helpers.needed(answers, own, exercises)
    extra = [_own_cell(number, cell, run=number in needed) for number, (_, cell) in enumerate(matches.own)]
    below = {place: [extra[i] for i, (anchor, _) in enumerate(matches.own) if anchor == place] for place, _ in matches.own}
    notebook["cells"] = below.get(_AT_THE_TOP, []) + [new for i, cell in enumerate(notebook.cells) for new in (cell, *below.get(i, []))]
    return notebook, remarks


def _defined(cell: NotebookNode) -> list[str]:
    try:
        return sorted(defined(cell.source))
    except SyntaxError as error:
        raise CourseError(
            f"the released cell '{grade_id(cell)}' is no Python (line {error.lineno}: {error.msg}). Mend it in the lecture's source and release it again."
        ) from error


def _match(released: Sequence[NotebookNode], submitted: Sequence[Cell]) -> _Matches:
    """By label; else by the cell's id, which JupyterLab keeps; an answer that has lost both is known by the name it defines."""
    by_label = {name: index for index, cell in enumerate(released) if (name := grade_id(cell))}
    by_id = {str(cell.get("id", "")): index for index, cell in enumerate(released)}
    place: dict[int, int] = {}  # submitted -> released
    for known, key in ((by_label, "grade_id"), (by_id, "id")):
        for number, cell in enumerate(submitted):
            index = known.get(getattr(cell, key))
            if index is not None and number not in place and index not in place.values() and not (key == "id" and cell.grade_id in by_label):
                place[number] = index
    for name, index in by_label.items():
        if role(released[index]) == "solution" and index not in place.values():
            found = [n for n, cell in enumerate(submitted) if n not in place and cell.kind == "code" and helpers.defines(cell.source, name)]
            place |= {found[0]: index} if found else {}
    matches = _Matches()
    anchor = _AT_THE_TOP
    texts = {cell.source.strip() for cell in released if role(cell) == "text"}
    for number, cell in enumerate(submitted):
        if number in place:
            anchor = place[number]
            matches.cells[anchor] = cell
            matches.order.append(anchor)
            if role(released[anchor]) == "text" and _bare(cell.source) != _bare(released[anchor].source):
                matches.own.append((anchor, cell))  # perhaps an answer that was written into the question
        elif cell.source.strip() not in texts:
            matches.own.append((anchor, cell))
    return matches


def _own_cell(number: int, cell: Cell, *, run: bool) -> NotebookNode:
    metadata = {} if run or cell.kind == "markdown" else {"tags": [SKIP]}
    new: Callable[..., NotebookNode] = new_code_cell if cell.kind == "code" else new_markdown_cell
    source = cell.source if cell.kind == "code" else harmless(cell.source)
    fields = {"attachments": dict(cell.attachments)} if cell.attachments and cell.kind == "markdown" else {}
    return new(source, id=f"own-{number + 1}", metadata=metadata, **fields)


def _remarks(released: Sequence[NotebookNode], matches: _Matches) -> Iterator[Remark]:
    names = {str(grade_id(cell)): role(cell) for cell in released if grade_id(cell)}
    if not any(role(released[index]) in ("solution", "test") for index in matches.cells):
        yield Remark("another notebook: it has none of these exercises. Ask for the right one.")
        return
    for index, cell in enumerate(released):
        if role(cell) in ("setup", "solution", "test", "written"):
            yield from _of_one(cell, matches.cells.get(index))
    graded = [index for index in matches.order if grade_id(released[index])]
    if graded != sorted(graded):
        yield Remark("Cells were in another order; the released order was graded.")
    for name, kind in names.items():
        copies = sum(cell.grade_id == name for _, cell in matches.own)
        if copies and kind in ("solution", "written"):
            yield Remark(f"'{name}' was there {copies + 1} times, as when a cell is split or copied. The first is the answer; the others stay below it.", name)
    for _, mine in matches.own:
        if mine.grade_id and mine.grade_id not in names:
            yield Remark(f"A cell was labelled '{mine.grade_id[:60]}', which was never released. It counts as a cell of the student's own.")


def _of_one(cell: NotebookNode, found: Cell | None) -> Iterator[Remark]:
    """What became of one released cell."""
    name, kind = str(grade_id(cell)), role(cell)
    answer = kind in ("solution", "written")
    about = name if answer else ""
    if found is None:
        yield Remark(f"no answer cell for '{name}'; graded as left blank." if answer else f"'{name}' was deleted; it was put back.", about)
        return
    if found.grade_id != name:
        yield Remark(f"'{name}' had lost its label; it was known by {'its id' if found.id == cell.get('id') else 'the name it defines'}.", about)
    elif any(found.label.get(key, cell.metadata.nbgrader[key]) != cell.metadata.nbgrader[key] for key in _label_keys(cell)):
        yield Remark(f"'{name}' had its label changed; the released one counts.", about)
    if found.kind != cell.cell_type:
        yield Remark(f"'{name}' was turned into a {found.kind} cell; it counts as the {cell.cell_type} cell that it was.", about)
    if not answer and _bare(found.source) != _bare(cell.source):
        yield Remark(f"'{name}' was changed; the released cell was run in its place.")
    asked = sorted({SKIP, "raises-exception"} & set(found.tags))
    if asked:
        yield Remark(f"'{name}' had the tag {' and '.join(asked)}, which was ignored.", about)


def _label_keys(cell: NotebookNode) -> list[str]:
    return [key for key in ("grade", "solution", "locked", "task", "points", "schema_version") if key in cell.metadata.nbgrader]


def _bare(source: str) -> str:
    """Text without what editors change by themselves: the ends of lines, and of the cell."""
    return "\n".join(line.rstrip() for line in source.strip().splitlines())

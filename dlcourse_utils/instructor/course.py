"""The course on disk: where it lies, its lectures, and what each cell of a lecture is for.

Everything that builds, proves, grades or reports asks here, so that "what is an exercise" has one answer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from nbformat import NotebookNode

Role = Literal["text", "setup", "figure", "experiment", "widget", "solution", "test", "written", "scratch"]

#: Code cells with these grade_id prefixes show things; no test needs them, so grading and proving leave them out.
SHOWN_ONLY: tuple[Role, ...] = ("figure", "experiment", "widget")

_HEADER = re.compile(
    r"Exercise (?P<number>\d+\.\d+[a-z]?) · `(?P<id>\w+)`.*?"
    r"(?P<points>\d+) points? · difficulty (?P<difficulty>[1-5]) of 5 · about (?P<minutes>\d+) minutes",
    re.DOTALL,
)


class CourseError(Exception):
    """Something a person has to mend; the message names the file and the cure. Commands print it without a traceback."""


@dataclass(frozen=True)
class Exercise:
    """One graded exercise, as its header, its solution cell and its test cells describe it."""

    id: str
    number: str
    points: float
    difficulty: int
    minutes: int
    test_ids: tuple[str, ...]


@dataclass(frozen=True)
class Lecture:
    """One lecture's source folder, ``course/source/NN-name``."""

    root: Path
    name: str

    @property
    def folder(self) -> Path:
        return self.root / "course" / "source" / self.name

    @property
    def source(self) -> Path:
        """The jupytext percent file from which every notebook of the lecture is built."""
        return self.folder / f"{self.name}.py"

    @property
    def cases(self) -> Path:
        return self.folder / "cases.py"

    @property
    def student_notebook(self) -> Path:
        return self.root / "notebooks" / f"{self.name}.ipynb"

    @property
    def solved_notebook(self) -> Path:
        return self.root / "solutions" / f"{self.name}.ipynb"

    @cached_property
    def notebook(self) -> NotebookNode:
        """The source as a notebook, solutions and hidden tests in it. Do not change it; copy it first."""
        return read_source(self.source)

    @cached_property
    def exercises(self) -> tuple[Exercise, ...]:
        return exercises(self.notebook, self.source)


def find_root(start: Path | None = None) -> Path:
    """The checkout that holds the course: the nearest folder at or above ``start`` with ``course/source`` in it."""
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / "course" / "source").is_dir():
            return folder
    raise CourseError(f"{start}: no course here. Run this inside the checkout (the folder that holds course/source).")


def lectures(root: Path, names: Iterable[str] = ()) -> list[Lecture]:
    """The lectures called ``names`` (all when empty), in order. ``1``, ``01`` and ``01-perceptron`` name the same one.

    Raises:
        CourseError: a name fits no lecture.
    """
    known = sorted(path.parent.name for path in (root / "course" / "source").glob("*/*.py") if path.stem == path.parent.name)
    names = list(names)
    if not names:
        return [Lecture(root, name) for name in known]
    chosen = []
    for name in names:
        wanted = name.rstrip("/").rsplit("/", 1)[-1].removesuffix(".py").removesuffix(".ipynb")
        fits = [k for k in known if wanted in (k, k.split("-", 1)[0], k.split("-", 1)[-1]) or wanted.zfill(2) == k.split("-", 1)[0]]
        if not fits:
            raise CourseError(f"{name}: no such lecture. There are: {', '.join(known)}.")
        chosen.append(Lecture(root, fits[0]))
    return chosen


def read_source(path: Path) -> NotebookNode:
    """A percent-format source as a notebook whose cell ids are the same every time it is read.

    A graded, solution or locked cell is called by its grade_id; any other by its text, numbered where texts repeat.

    Raises:
        CourseError: the file is missing, is no percent script, or repeats a grade_id.
    """
    import jupytext  # it and nbgrader take seconds to import, and most of this file does without
    from nbgrader.nbgraderformat import MetadataValidator

    if not path.is_file():
        raise CourseError(f"{path}: no such file. A lecture's source is course/source/NN-name/NN-name.py.")
    notebook: NotebookNode = jupytext.read(path, fmt="py:percent")
    if not notebook.cells:
        raise CourseError(f"{path}: no cells. Start each cell with '# %%' or '# %% [markdown]'.")
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        given = grade_id(cell)
        base = re.sub(r"[^A-Za-z0-9_-]", "-", given) if given else f"{cell.cell_type[:4]}-{hashlib.sha1(cell.source.encode()).hexdigest()[:8]}"
        if given and base in seen:
            raise CourseError(f"{path}: two cells have the grade_id '{given}'. Give one of them another; nbgrader needs each to be unique.")
        seen[base] = seen.get(base, 0) + 1
        cell["id"] = base if seen[base] == 1 else f"{base}-{seen[base]}"
        cell.metadata.pop("lines_to_next_cell", None)
        if role(cell) == "figure":
            cell.metadata["jupyter"] = {"source_hidden": True}  # readers see the picture; one click shows how it is drawn
    notebook.metadata.pop("jupytext", None)
    notebook.metadata["kernelspec"] = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    notebook.metadata["language_info"] = {"name": "python"}
    notebook["nbformat"], notebook["nbformat_minor"] = 4, 5
    try:
        MetadataValidator().validate_nb(notebook)
    except Exception as error:
        raise CourseError(f"{path}: nbgrader does not accept a cell's metadata: {error}") from error
    return notebook


def grade_id(cell: NotebookNode) -> str | None:
    """The cell's nbgrader id, or None for a cell nbgrader does not know."""
    found: str | None = cell.metadata.get("nbgrader", {}).get("grade_id")
    return found


def role(cell: NotebookNode) -> Role:
    """What a cell is for, read from its nbgrader metadata; ``scratch`` is a code cell nbgrader does not know."""
    meta = cell.metadata.get("nbgrader")
    if not meta:
        return "text" if cell.cell_type == "markdown" else "scratch"
    if meta["grade"]:
        return "written" if meta["solution"] else "test"
    if meta["solution"]:
        return "solution"
    prefix = meta["grade_id"].split("-", 1)[0]
    return next((shown for shown in SHOWN_ONLY if shown == prefix), "setup")


def exercises(notebook: NotebookNode, path: Path) -> tuple[Exercise, ...]:
    """The graded exercises of a notebook in order: header above, solution cell, then one or more test cells.

    Raises:
        CourseError: a solution cell has no header or no tests, a test has no solution, or points differ.
    """
    headers = {match["id"]: match for cell in notebook.cells if cell.cell_type == "markdown" for match in _HEADER.finditer(cell.source)}
    solutions = [grade_id(cell) for cell in notebook.cells if role(cell) == "solution"]
    tests: dict[str, list[tuple[str, float]]] = {str(name): [] for name in solutions}
    for cell in notebook.cells:
        if role(cell) == "test":
            test = str(grade_id(cell))
            name = exercise_of(test, list(tests))
            if name is None:
                raise CourseError(f"{path}: the test cell '{test}' belongs to no exercise. Call it 'test-' and the grade_id of a solution cell.")
            tests[name].append((test, float(cell.metadata.nbgrader["points"])))
    found = []
    for name, cells in tests.items():
        header = headers.get(name)
        if header is None:
            raise CourseError(
                f"{path}: exercise '{name}' has no header. Write above it: **Exercise 1.1 · `{name}`** 3 points · difficulty 1 of 5 · about 10 minutes"
            )
        if not cells:
            raise CourseError(f"{path}: exercise '{name}' has no test cell. Add one with the grade_id 'test-{name}'.")
        points = sum(p for _, p in cells)
        if points != float(header["points"]):
            raise CourseError(f"{path}: exercise '{name}' promises {header['points']} points and its test cells give {points:g}. Make them equal.")
        found.append(Exercise(name, header["number"], points, int(header["difficulty"]), int(header["minutes"]), tuple(t for t, _ in cells)))
    return tuple(found)


def exercise_of(test_id: str, exercise_ids: Sequence[str]) -> str | None:
    """The exercise that a test cell's grade_id (``test-<id>``, ``test-<id>-2``, …) belongs to."""
    match = re.fullmatch(r"test-(\w+?)(-\d+)?", test_id)
    return match[1] if match and match[1] in exercise_ids else None

"""``dlcourse build``: from a lecture's source to what students open, what instructors read, and the syllabus."""

from __future__ import annotations

import argparse
import contextlib
import copy
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from tqdm import tqdm

from dlcourse_utils.instructor import course
from dlcourse_utils.instructor.assign import notebook_bytes, source_notebook, student_notebook
from dlcourse_utils.instructor.course import CourseError, Lecture
from dlcourse_utils.instructor.solve import Solved, solve
from dlcourse_utils.instructor.syllabus import syllabus

_CURE = "Run `dlcourse build` and commit what it writes."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument("name", nargs="*", help="lectures, such as 01 or 01-perceptron (default: all)")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when what lies in notebooks/ or solutions/ is not what the sources build")
    parser.add_argument("--no-solutions", action="store_true", help="leave solutions/ alone: nothing is executed")


def run(args: argparse.Namespace) -> int:
    """Build or check; 0 when all is well."""
    root = course.find_root()
    lectures = course.lectures(root, args.name)
    if not lectures:
        raise CourseError(f"{root / 'course' / 'source'}: no lectures yet. A lecture is course/source/NN-name/NN-name.py.")
    if args.check:
        return _report(list(check(root, lectures, solutions=not args.no_solutions)))
    return _build_all(root, lectures, solutions=not args.no_solutions)


def _build_all(root: Path, lectures: list[Lecture], *, solutions: bool) -> int:
    """Build every lecture, going on after one that fails; its old files stay as they were."""
    failures = []
    notes = []
    with tqdm(total=sum(_steps(lecture, solutions) for lecture in lectures), unit="cell", disable=None) as bar:
        for lecture in lectures:
            bar.set_description(lecture.name)
            try:
                solved = build(lecture, solutions=solutions, bar=bar)
            except CourseError as error:
                failures.append(str(error))
            else:
                notes.append(f"{lecture.name}: built" + (f", {solved.cpu_seconds:.1f} CPU-seconds to run" if solved else ""))
        try:
            _write(root / "course" / "syllabus.md", syllabus(course.lectures(root)).encode())
        except CourseError as error:
            if str(error) not in failures:
                failures.append(str(error))
    print("\n".join(notes))
    for failure in failures:
        print(f"dlcourse build: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _steps(lecture: Lecture, solutions: bool) -> int:
    with contextlib.suppress(CourseError):  # a source that cannot be read is reported when it is built
        return 1 + (len(lecture.notebook.cells) if solutions else 0)
    return 1


def build(lecture: Lecture, *, solutions: bool = True, bar: tqdm | None = None) -> Solved | None:
    """Build one lecture's notebooks. All of them are made before the first is written, so a failure leaves the old ones.

    Returns:
        The executed notebook, or None when ``solutions`` is false.

    Raises:
        CourseError: the source cannot be read, released or run.
    """
    step = bar.update if bar is not None else (lambda: None)
    source = source_notebook(lecture)
    _ = lecture.exercises  # headers, tests and points must fit together before anything is released
    student = student_notebook(lecture)
    step()
    solved = solve(lecture, on_cell=step) if solutions else None

    _write(lecture.source.with_suffix(".ipynb"), source)
    _write(lecture.student_notebook, student)
    if solved is not None:
        _write(lecture.solved_notebook, notebook_bytes(solved.notebook))
    return solved


def _write(path: Path, content: bytes) -> None:
    """Put ``content`` in place at once, so that no reader and no interruption ever meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def check(root: Path, lectures: list[Lecture], *, solutions: bool = True) -> Iterator[str]:
    """What lies in the checkout and is not what the sources build, one line each.

    Student notebooks and the syllabus are compared byte by byte, solved ones by their cells and metadata: whether their
    outputs still hold is what nbval finds out by running them.
    """
    for lecture in lectures:
        if not lecture.student_notebook.is_file():
            yield f"{_shown(root, lecture.student_notebook)}: missing"
        elif lecture.student_notebook.read_bytes() != student_notebook(lecture):
            yield f"{_shown(root, lecture.student_notebook)}: is not what {_shown(root, lecture.source)} builds"
        if solutions:
            yield from _check_solved(root, lecture)

    everything = course.lectures(root)
    names = {lecture.name for lecture in everything}
    for folder in ("notebooks", "solutions") if solutions else ("notebooks",):
        for path in sorted((root / folder).rglob("*")):
            if (
                path.is_file()
                and ".ipynb_checkpoints" not in path.parts
                and not (path.suffix == ".ipynb" and path.stem in names and path.parent == root / folder)
            ):
                yield f"{_shown(root, path)}: belongs to no lecture; delete it"

    plan = root / "course" / "syllabus.md"
    if not plan.is_file():
        yield f"{_shown(root, plan)}: missing"
    elif plan.read_text(encoding="utf-8") != syllabus(everything):
        yield f"{_shown(root, plan)}: is not what the sources say"


def _check_solved(root: Path, lecture: Lecture) -> Iterator[str]:
    path = lecture.solved_notebook
    if not path.is_file():
        yield f"{_shown(root, path)}: missing"
        return
    try:
        solved = nbformat.reads(path.read_text(encoding="utf-8"), as_version=nbformat.NO_CONVERT)
    except (nbformat.reader.NotJSONError, UnicodeDecodeError, nbformat.ValidationError):
        yield f"{_shown(root, path)}: is not a notebook"
        return
    if _without_outputs(solved) != _without_outputs(lecture.notebook):
        yield f"{_shown(root, path)}: is not what {_shown(root, lecture.source)} builds"
    elif any(cell.cell_type == "code" and cell.source.strip() and cell.execution_count is None for cell in solved.cells):
        yield f"{_shown(root, path)}: was not run to its end"


def _without_outputs(notebook: NotebookNode) -> NotebookNode:
    bare = copy.deepcopy(notebook)
    for cell in bare.cells:
        if cell.cell_type == "code":
            cell["outputs"], cell["execution_count"] = [], None
    return bare


def _shown(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _report(stale: list[str]) -> int:
    for line in stale:
        print(line)
    if stale:
        print(_CURE)
    return 1 if stale else 0

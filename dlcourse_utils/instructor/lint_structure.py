"""Release rules on a lecture's cells: what must be there, in which order, with which numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nbformat import NotebookNode

from dlcourse_utils.instructor import regions
from dlcourse_utils.instructor.course import CourseError, Lecture, exercise_of, grade_id, role
from dlcourse_utils.instructor.findings import Finding, Rule, at, calls, code
from dlcourse_utils.instructor.syllabus import total_points

_HEADER = re.compile(r"\*\*Exercise (\d+\.\d+)([a-z]?) · `(\w+)`")
#: An explanation says more than a heading does.
_EXPLANATION_CHARACTERS = 80


def exercises_add_up(lecture: Lecture) -> Iterator[Finding]:
    """A header that promises other points than its tests give, or a test of nothing, grades people wrongly. Since 2026-11-25."""
    try:
        _ = lecture.exercises
    except CourseError as error:
        yield Finding(lecture.source, "", str(error).removeprefix(f"{lecture.source}: "))


def title_agrees(lecture: Lecture) -> Iterator[Finding]:
    """Students plan by the title's points and minutes; they drift when an exercise changes. Since 2026-11-25."""
    first = lecture.notebook.cells[0]
    points, minutes = re.search(r"\b(\d+) points", first.source), re.search(r"\b(\d+) minutes", first.source)
    if role(first) != "text" or not points or not minutes:
        yield at(lecture, first, "the first cell does not say how many points and minutes the notebook takes. Write '… 90 minutes, 24 points'.")
        return
    try:
        total, least = total_points(lecture), sum(exercise.minutes for exercise in lecture.exercises)
    except CourseError:
        return  # exercises_add_up says why
    if float(points[1]) != total:
        yield at(lecture, first, f"the title says {points[1]} points and the cells give {total:g}. Write {total:g}.")
    if int(minutes[1]) < least:
        yield at(lecture, first, f"the title says {minutes[1]} minutes and the exercises alone take {least}. Write more.")


def code_cells_are_known(lecture: Lecture) -> Iterator[Finding]:
    """A code cell without nbgrader metadata can be edited or deleted by accident, and then a test lacks what it needs. Since 2026-11-25."""
    for cell in lecture.notebook.cells:
        if role(cell) == "scratch":
            yield at(lecture, cell, "this code cell has no nbgrader metadata. Add it as docs/authoring.md shows.")


def explained_before(lecture: Lecture) -> Iterator[Finding]:
    """An exercise that nothing led up to can only be solved by those who know it already. Since 2026-11-25."""
    explained = False
    for cell in lecture.notebook.cells[1:]:  # the title explains nothing yet
        header = _HEADER.search(cell.source) if role(cell) == "text" else None
        if header:
            later_part = header[2] not in ("", "a")
            if not explained and not later_part:
                yield at(lecture, cell, f"no explanation stands before exercise {header[1]}. Put a text cell with the idea and its formula above it.")
            explained = False
        elif role(cell) == "text":
            explained |= len(re.sub(r"^#.*$", "", cell.source, flags=re.MULTILINE).strip()) >= _EXPLANATION_CHARACTERS


def header_before_and_tests_after(lecture: Lecture) -> Iterator[Finding]:
    """A header or a test that is somewhere else leaves the student without the task or without an answer to it. Since 2026-11-25."""
    cells = lecture.notebook.cells
    for i, cell in enumerate(cells):
        if role(cell) != "solution":
            continue
        if i == 0 or f"`{grade_id(cell)}`" not in _headers(cells[i - 1]):
            yield at(lecture, cell, "its header is not in the text cell just above. Move '**Exercise … · `" + f"{grade_id(cell)}`**' there.")
        if i + 1 == len(cells) or role(cells[i + 1]) != "test" or exercise_of(str(grade_id(cells[i + 1])), [str(grade_id(cell))]) is None:
            yield at(lecture, cell, f"its test cell does not come right after it. Move 'test-{grade_id(cell)}' there.")


def _headers(cell: NotebookNode) -> list[str]:
    return [f"`{match[3]}`" for match in _HEADER.finditer(cell.source)] if role(cell) == "text" else []


def two_hints(lecture: Lecture) -> Iterator[Finding]:
    """Someone who is stuck needs a first push and then a second one, each only when asked for. Since 2026-11-25."""
    for cell in lecture.notebook.cells:
        if _headers(cell):
            hints = len(re.findall(r"<details>\s*<summary>Hint", cell.source))
            if hints < 2 or cell.source.count("</details>") < hints:
                yield at(lecture, cell, f"{hints} folded hints where two or more belong. Write <details><summary>Hint 1: …</summary> … </details>.")


def complete(lecture: Lecture) -> Iterator[Finding]:
    """A lecture without its widget, written question or measured claims is half a lecture. Since 2026-11-25."""
    explorers = [call for _, tree in code(lecture, "widget") for call, what in calls(tree) if what.endswith("explore")]
    if not any("twin" in {keyword.arg for keyword in call.keywords} for call in explorers):
        yield Finding(lecture.source, "", "no widget with a static twin. Add a 'widget-…' cell that calls widgets.explore(…, twin=[…]).")
    if not any(what in ("show", "claims.show") for _, tree in code(lecture, "experiment") for _, what in calls(tree)):
        yield Finding(lecture.source, "", "no table of claims. Add an 'experiment-…' cell that calls claims.show(…).")
    written = [cell for cell in lecture.notebook.cells if role(cell) == "written"]
    if not written:
        yield Finding(lecture.source, "", "no written question. Add its answer cell with the grade_id 'written'.")
    for cell in written:
        for region in (regions.SOLUTION, regions.MARK_SCHEME):
            if not any(line.strip() for line in regions.split(cell.source, region)[1]):
                yield at(lecture, cell, f"nothing between 'BEGIN {region}' and 'END {region}'. Whoever marks by hand needs it.")


RULES: tuple[Rule, ...] = (
    exercises_add_up,
    title_agrees,
    code_cells_are_known,
    explained_before,
    header_before_and_tests_after,
    two_hints,
    complete,
)

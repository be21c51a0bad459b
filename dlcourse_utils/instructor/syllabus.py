"""``course/syllabus.md``: every lecture, its exercises, their points, how long they take, how long it runs. Generated, never kept by hand."""

from __future__ import annotations

import re
from collections.abc import Iterable

from dlcourse_utils.instructor.course import Lecture, grade_id, role

_HEAD = """# Syllabus

Made by `dlcourse build` from the lectures' sources. Do not edit it; edit the sources.
"""


def title(lecture: Lecture) -> str:
    """The first heading of the lecture's notebook."""
    found = (re.search(r"^# +(.+)$", cell.source, re.MULTILINE) for cell in lecture.notebook.cells if cell.cell_type == "markdown")
    return next((match[1].strip() for match in found if match), lecture.name)


def written_points(lecture: Lecture) -> float:
    """What the lecture's written questions are worth together."""
    return float(sum(cell.metadata.nbgrader["points"] for cell in lecture.notebook.cells if role(cell) == "written"))


def total_points(lecture: Lecture) -> float:
    """All points a student can get in the lecture, written questions included."""
    return sum(exercise.points for exercise in lecture.exercises) + written_points(lecture)


def running_seconds(lecture: Lecture) -> int | None:
    """Seconds of one CPU core that the lecture says its whole solved notebook takes; None where it does not say."""
    texts = (cell.source for cell in lecture.notebook.cells if role(cell) == "text")
    found = next(filter(None, (re.search(r"about (\d+) seconds (?:on|of) one CPU core", text) for text in texts)), None)
    return int(found[1]) if found else None


def syllabus(lectures: Iterable[Lecture]) -> str:
    """The whole syllabus in Markdown.

    Raises:
        CourseError: a lecture's header, test cells and points do not fit together.
    """
    parts = [_HEAD]
    everything = 0.0
    for lecture in lectures:
        total = total_points(lecture)
        everything += total
        rows = [f"| {e.number} | `{e.id}` | {e.points:g} | {e.difficulty} of 5 | {e.minutes} |" for e in lecture.exercises]
        rows += [
            f"| written | `{grade_id(cell)}` | {cell.metadata.nbgrader['points']:g} | marked by hand | |"
            for cell in lecture.notebook.cells
            if role(cell) == "written"
        ]
        seconds = running_seconds(lecture)
        parts.append(
            f"\n## {title(lecture)}\n\n[`{lecture.name}`](../notebooks/{lecture.name}.ipynb): {total:g} points, "
            f"about {sum(e.minutes for e in lecture.exercises)} minutes of exercises"
            f"{f', about {seconds} seconds of one CPU core to run' if seconds else ''}\n\n"
            "| Exercise | Function | Points | Difficulty | Minutes |\n|---|---|---|---|---|\n" + "\n".join(rows) + "\n"
        )
    parts.append(f"\nAll lectures together: {everything:g} points.\n")
    return "".join(parts)

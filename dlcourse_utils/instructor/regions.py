"""The marked regions of a cell: what nbgrader takes out before students see it."""

from __future__ import annotations

SOLUTION, HIDDEN_TESTS, MARK_SCHEME = "SOLUTION", "HIDDEN TESTS", "MARK SCHEME"
#: Everything that students must not get.
SECRET = (SOLUTION, HIDDEN_TESTS, MARK_SCHEME)


def split(source: str, *names: str) -> tuple[list[str], list[str]]:
    """The lines of ``source`` outside and inside the regions called ``names``; the marker lines are in neither.

    A region that is opened and never closed runs to the end, so that nothing is shown by a forgotten marker.
    """
    outside: list[str] = []
    inside: list[str] = []
    opened: str | None = None
    for line in source.split("\n"):
        begins = next((name for name in names if f"BEGIN {name}" in line), None)
        if opened is None and begins:
            opened = begins
        elif opened is not None and f"END {opened}" in line:
            opened = None
        else:
            (outside if opened is None else inside).append(line)
    return outside, inside


def stubbed(source: str) -> str:
    """The code of an answer's cell as a student gets it: each solution replaced by a line that does nothing."""
    lines: list[str] = []
    hidden = False
    for line in source.split("\n"):
        if f"BEGIN {SOLUTION}" in line:
            hidden = True
            lines.append(line[: len(line) - len(line.lstrip())] + "pass")
        elif f"END {SOLUTION}" in line:
            hidden = False
        elif not hidden:
            lines.append(line)
    return "\n".join(lines)

"""Release rules on what was built: outputs, alt texts, and nothing that gives an answer away."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dlcourse_utils.instructor.course import Lecture
from dlcourse_utils.instructor.findings import Finding, Rule
from dlcourse_utils.instructor.leaks import leaks, secrets_of

#: A shorter alt text names a picture and does not say what is in it.
_ALT_CHARACTERS = 20
_BUILD = "Run `dlcourse build`."


def _cells(path: Path) -> list[dict[str, Any]] | None:
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return cells if isinstance(cells, list) else None


def notebooks_are_built(lecture: Lecture) -> Iterator[Finding]:
    """Rules on built notebooks find nothing wrong where there is none. Since 2026-11-25."""
    for path in (lecture.student_notebook, lecture.solved_notebook):
        if _cells(path) is None:
            yield Finding(path, "", f"missing, or not a notebook. {_BUILD}")


def no_outputs_in_sources(lecture: Lecture) -> Iterator[Finding]:
    """An output kept in a source shows students a result they should get themselves, and may hold the answer. Since 2026-11-25."""
    for path in (lecture.source.with_suffix(".ipynb"), lecture.student_notebook):
        for cell in _cells(path) or []:
            if cell.get("outputs") or cell.get("execution_count"):
                yield Finding(path, str(cell.get("id", "")), f"it holds an output or a run's number. {_BUILD}")


def figures_have_alt_text(lecture: Lecture) -> Iterator[Finding]:
    """A picture without words is nothing to someone who cannot see it. Since 2026-11-25."""
    for cell in _cells(lecture.solved_notebook) or []:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            alts = re.findall(r'<img(?: alt="([^"]*)")?', "".join(data.get("text/html", "")))
            if "image/png" in data:  # JupyterLab takes the alt text from the HTML, nbconvert from the metadata
                alts = [*(alts or [""]), output.get("metadata", {}).get("image/png", {}).get("alt", "")]
            if any(len(alt) < _ALT_CHARACTERS for alt in alts):
                yield Finding(
                    lecture.solved_notebook,
                    str(cell.get("id", "")),
                    'a picture has no alt text, or a short one. Use plotting.show(figure, alt="…"), and build again.',
                )


def nothing_on_stderr(lecture: Lecture) -> Iterator[Finding]:
    """A warning frightens in a lecture and costs all points in a test. Since 2026-11-25."""
    for cell in _cells(lecture.solved_notebook) or []:
        if any(output.get("name") == "stderr" for output in cell.get("outputs", [])):
            yield Finding(lecture.solved_notebook, str(cell.get("id", "")), "it writes to stderr. Find out why, and mend or silence that in setup.")


def no_answer_within_reach(lecture: Lecture) -> Iterator[Finding]:
    """A student who can open the answer, a hidden test or a case learns to open it. Since 2026-11-25."""
    package = lecture.root / "dlcourse_utils"
    files = sorted(path for path in package.rglob("*.py") if path.relative_to(package).parts[0] != "instructor")
    if lecture.student_notebook.is_file():
        files.append(lecture.student_notebook)
    secrets = secrets_of(lecture)
    for path in files:
        for leak in leaks(path.name, path.read_bytes(), secrets):
            yield Finding(path, "", f"{leak}. Take it out, or put it where only instructors look.")


RULES: tuple[Rule, ...] = (notebooks_are_built, no_outputs_in_sources, figures_have_alt_text, nothing_on_stderr, no_answer_within_reach)

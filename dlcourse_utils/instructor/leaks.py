"""What students must not get, line by line, and whether something they do get holds it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dlcourse_utils.instructor import regions
from dlcourse_utils.instructor.course import Lecture, grade_id
from dlcourse_utils.instructor.findings import code, defined

#: Shorter lines say too little to betray an answer, and stand in many programs by chance; a block's first line even more so.
_TELLING, _TELLING_BLOCK = 25, 40
#: In the helper package a line by itself must be longer: programs share phrases. Two such lines in a row are no chance.
_TELLING_ALONE = 70


@dataclass(frozen=True)
class Secrets:
    """What must not reach students: telling lines, each with where it comes from, and the names of the answers."""

    lines: Mapping[str, str]
    answers: frozenset[str]

    def __or__(self, other: Secrets) -> Secrets:
        return Secrets({**self.lines, **other.lines}, self.answers | other.answers)


def secrets_of(lecture: Lecture) -> Secrets:
    """The telling lines of the lecture's solutions, hidden tests, mark schemes and cases, and what its answers are called.

    Lines that students see anyway, in the same source, are no secrets.
    """
    secret: dict[str, str] = {}
    visible: set[str] = set()
    for cell in lecture.notebook.cells:
        outside, inside = regions.split(cell.source, *regions.SECRET)
        visible.update(line.strip() for line in outside)
        secret |= {line.strip(): f"the secret part of '{grade_id(cell)}'" for line in inside if _telling(line)}
    if lecture.cases.is_file():
        for line in lecture.cases.read_text(encoding="utf-8").splitlines():
            if _telling(line):
                secret.setdefault(line.strip(), "cases.py")
    answers = frozenset(name for _, tree in code(lecture, "solution") for name in defined(tree) if not name.startswith("_"))
    return Secrets({line: where for line, where in secret.items() if line not in visible}, answers)


def _telling(line: str) -> bool:
    text = line.strip()
    if text.startswith(("import ", "from ", "#", "@", '"""', "raise NotImplementedError")):
        return False
    return len(text) >= (_TELLING_BLOCK if text.endswith(":") else _TELLING)


def leaks(name: str, content: bytes, secrets: Secrets) -> Iterator[str]:
    """What a file that students get gives away, one sentence each."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return
    notebook = name.endswith(".ipynb")
    lines = [line.strip() for line in (_strings(json.loads(text)) if notebook else text.splitlines()) if line.strip()]
    for i, line in enumerate(lines):
        near = lines[max(i - 1, 0) : i] + lines[i + 1 : i + 2]
        if line in secrets.lines and (notebook or len(line) >= _TELLING_ALONE or any(other in secrets.lines for other in near)):
            yield f"'{line}' is from {secrets.lines[line]}"
        elif any(f"BEGIN {region}" in line for region in regions.SECRET):
            yield f"'{line}' opens what students must not get"
        elif not notebook and (match := re.match(r"(?:def|class) (\w+)", line)) and match[1] in secrets.answers:
            yield f"'{line}' has the name of an exercise's answer"


def _strings(node: object) -> Iterator[str]:
    """Every line of text in a notebook: its cells, their outputs, its metadata."""
    if isinstance(node, str):
        yield from node.splitlines()
    elif isinstance(node, dict | list):
        for child in node.values() if isinstance(node, dict) else node:
            yield from _strings(child)

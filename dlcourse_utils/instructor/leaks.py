"""What students must not get, line by line, and whether something they do get holds it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from dlcourse_utils.instructor import regions
from dlcourse_utils.instructor.course import Lecture, grade_id

#: Shorter lines say too little to betray an answer, and stand in many programs by chance; a block's first line even more so.
_TELLING, _TELLING_BLOCK = 25, 40


def secret_lines(lecture: Lecture) -> dict[str, str]:
    """The telling lines of the lecture's solutions, hidden tests, mark schemes and cases, each with where it comes from.

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
    return {line: where for line, where in secret.items() if line not in visible}


def _telling(line: str) -> bool:
    text = line.strip()
    if text.startswith(("import ", "from ", "#", "@", '"""', "raise NotImplementedError")):
        return False
    return len(text) >= (_TELLING_BLOCK if text.endswith(":") else _TELLING)


def lines_of(name: str, content: bytes) -> Iterator[str]:
    """The lines of a file, or of every cell and output of a notebook; none of what is not text."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return
    if name.endswith(".ipynb"):
        todo = [json.loads(text)]
        while todo:
            item = todo.pop()
            if isinstance(item, str):
                yield from item.splitlines()
            elif isinstance(item, dict):
                todo.extend(item.values())
            elif isinstance(item, list):
                # a cell's source is a list of its lines
                todo.extend(item)
    else:
        yield from text.splitlines()


def leaks(name: str, content: bytes, secrets: dict[str, str]) -> Iterator[str]:
    """What a file holds of ``secrets`` or of the regions' markers, one sentence each."""
    for line in lines_of(name, content):
        text = line.strip()
        if text in secrets:
            yield f"'{text}' is from {secrets[text]}"
        elif any(f"BEGIN {region}" in text for region in regions.SECRET):
            yield f"'{text}' opens what students must not get"


def leaks_in(files: Iterable[Path], secrets: dict[str, str]) -> Iterator[tuple[Path, str]]:
    """``leaks`` of files on disk."""
    for path in files:
        for leak in leaks(path.name, path.read_bytes(), secrets):
            yield path, leak

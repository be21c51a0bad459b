"""The cells of what a student handed in, taken out of the file with as little faith as can be.

nbformat wants a valid notebook; a student's answer deserves to be found in a broken one, too. Only the kind, the text, the label and the
tags of each cell are read, from any version of the format.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

#: A larger file is not read: no answer needs it, and reading it takes many times its size in memory.
MOST_BYTES = 100_000_000

_PICTURES = ("image/png", "image/jpeg", "image/gif")
_AGAIN = "Ask for it again, saved in JupyterLab before it is submitted."


@dataclass(frozen=True)
class Cell:
    """One cell of a submission. ``label`` is its nbgrader metadata as it came, empty where there is none; ``attachments`` are its pictures."""

    kind: Literal["code", "markdown"]
    source: str
    id: str = ""
    label: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    attachments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def grade_id(self) -> str:
        name = self.label.get("grade_id")
        return name if isinstance(name, str) else ""


@dataclass(frozen=True)
class Submission:
    """What could be read of a file: its cells in order, or ``trouble``: why there are none and what to do."""

    cells: tuple[Cell, ...] = ()
    trouble: str = ""


def read(path: Path) -> Submission:
    """Read a submitted notebook. It never raises because of what the file holds."""
    try:
        content = _bytes(path)
    except OSError as error:
        return Submission(trouble=f"the notebook is missing ({error.strerror or error}). {_AGAIN}")
    if not content.strip():
        return Submission(trouble=f"the file is empty, or none was handed in. {_AGAIN}")
    text = content.decode(json.detect_encoding(content), errors="replace")
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return Submission(trouble=f"{_what_else(text)} {_AGAIN}")
    cells = tuple(_cells(parsed))
    return Submission(cells) if cells else Submission(trouble=f"not a notebook (JSON of another kind). {_AGAIN}")


def _bytes(path: Path) -> bytes:
    """The content of a regular file; a link or a pipe in its place is not followed and does not block.

    Raises:
        OSError: it is no regular file, or too large.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(0, "it is no file")
        if found.st_size > MOST_BYTES:
            raise OSError(0, f"it is larger than {MOST_BYTES // 10**6} MB")
        return file.read()


def _what_else(text: str) -> str:
    if text.lstrip("\ufeff \t\r\n").startswith("{"):
        whole = text.rstrip().endswith("}")
        return "not a notebook (no JSON)." if whole else "the file ends in the middle."
    return "not a notebook, but some other kind of file." if "\ufffd" in text or "\0" in text else "not a notebook (no JSON)."


def _cells(content: object) -> Iterator[Cell]:
    """The cells of a notebook of any version: version 4 lists them, version 3 in worksheets and with other names."""
    if not isinstance(content, dict):
        return
    sheets = [content, *_dicts(content.get("worksheets"))]
    for cell in (cell for sheet in sheets for cell in _dicts(sheet.get("cells"))):
        meta = cell.get("metadata")
        meta = meta if isinstance(meta, dict) else {}
        label, tags = meta.get("nbgrader"), meta.get("tags")
        yield Cell(
            kind="code" if cell.get("cell_type") == "code" else "markdown",
            source=_text(cell.get("source", cell.get("input"))),
            id=_text(cell.get("id")),
            label=label if isinstance(label, dict) else {},
            attachments=_pictures(cell.get("attachments")),
            tags=tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else (),
        )


def _pictures(value: object) -> dict[str, dict[str, str]]:
    """What is pasted into a text: name -> kind -> base64."""
    found = {name: item for name, item in value.items() if isinstance(item, dict)} if isinstance(value, dict) else {}
    kept = {name: {kind: data for kind, data in item.items() if kind in _PICTURES and isinstance(data, str)} for name, item in found.items()}
    return {_text(name): item for name, item in kept.items() if item}


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text(value: object) -> str:
    """A string, or a list of its lines; half a surrogate pair, which no file can hold, becomes a question mark."""
    lines = value if isinstance(value, list) else [value]
    return "".join(line for line in lines if isinstance(line, str)).encode("utf-8", "replace").decode()

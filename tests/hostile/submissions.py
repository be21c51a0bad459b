"""Submissions to the mini course that attack or stumble, and the points that each deserves.

Each is a function that writes a student's folder. ``mean`` is worth 4 points and ``spread`` 3. What cheats inside the interpreter that tests run in
(patched comparisons and the like) is not here: no sandbox stops it.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nbformat
from miniclass import cell_of, solved
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

from dlcourse_utils.instructor.course import Lecture, grade_id

NAME = "01-mini.ipynb"
#: Stands in the arguments and the file names of whatever a submission tries to leave behind.
MARK = "dlcourse-hostile-left"

Write = Callable[[Path, NotebookNode], None]


@dataclass(frozen=True)
class Hostile:
    """What is handed in, under which name, and what it deserves: points by exercise."""

    case: str
    write: Write
    mean: float
    spread: float
    student: str

    @property
    def deserved(self) -> dict[str, float]:
        return {"mean": self.mean, "spread": self.spread}


CASES: list[Hostile] = []


def case(name: str, mean: float, spread: float, *, student: str = "") -> Callable[[Write], Write]:
    def add(write: Write) -> Write:
        CASES.append(Hostile(name, write, mean, spread, student or f"h{len(CASES):02}"))
        return write

    return add


def hand_in(lecture: Lecture, hostile: Hostile) -> None:
    folder = lecture.root / "course" / "submitted" / hostile.student / lecture.name
    folder.mkdir(parents=True)
    hostile.write(folder, solved(lecture))


def save(folder: Path, notebook: NotebookNode) -> None:
    (folder / NAME).write_text(json.dumps(notebook), encoding="utf-8")


# --- files that are no notebook, or a strange one ---


def content(name: str, data: bytes, mean: float = 0, spread: float = 0) -> None:
    case(name, mean, spread)(lambda folder, notebook: (folder / NAME).write_bytes(data))


content("an empty file", b"")
content("a zip", b"PK\x03\x04\xff\xfe\x00")
content("a letter", b"Dear all, my answers are in the attachment.")
content("a list", b"[1, 2, 3]")
content("a number", b"17")
content("brackets without end", b"[" * 200_000)
content("cells that are text", b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": ["a", 1, null]}')
content("another notebook", nbformat.writes(new_notebook(cells=[new_code_cell("1 + 1")])).encode())


@case("no notebook", 0, 0)
def _(folder: Path, notebook: NotebookNode) -> None:
    (folder / "notes.txt").write_text("I could not do it")


@case("a file that ends in the middle", 0, 0)
def _(folder: Path, notebook: NotebookNode) -> None:
    (folder / NAME).write_text(nbformat.writes(notebook)[:2000])


def encoded(name: str, encode: Callable[[str], bytes]) -> None:
    case(name, 4, 3)(lambda folder, notebook: (folder / NAME).write_bytes(encode(nbformat.writes(notebook))))


encoded("a byte order mark", lambda text: text.encode("utf-8-sig"))
encoded("UTF-16", lambda text: text.encode("utf-16"))
encoded("another line end", lambda text: text.replace("\n", "\r\n").encode())
encoded("a byte that is no text", lambda text: text.replace("an empty list has no mean", "caf\x00").encode().replace(b"\x00", b"\xe9"))
encoded("half a surrogate pair", lambda text: text.replace("an empty list has no mean", "\\ud800").encode())
encoded("a format of the future", lambda text: text.replace('"nbformat": 4', '"nbformat": 99').encode())
encoded("NaN in the metadata", lambda text: text.replace('"nbformat": 4', '"x": NaN, "nbformat": 4').encode())


@case("nbformat 3", 4, 3)
def _(folder: Path, notebook: NotebookNode) -> None:
    cells = json.loads(json.dumps(notebook.cells))
    for cell in cells:
        del cell["id"]
        if cell["cell_type"] == "code":
            cell["input"] = cell.pop("source")
    (folder / NAME).write_text(json.dumps({"nbformat": 3, "metadata": {}, "worksheets": [{"cells": cells}]}))


# --- folders ---


@case("renamed", 4, 3)
def _(folder: Path, notebook: NotebookNode) -> None:
    save(folder, notebook)
    (folder / NAME).rename(folder / "01-mini (1).ipynb")


@case("a student with a name", 4, 3, student="Zoë  O'Hara+1 (née $HOME)")
def _(folder: Path, notebook: NotebookNode) -> None:
    save(folder, notebook)


@case("a link to the solution", 0, 0)
def _(folder: Path, notebook: NotebookNode) -> None:
    (folder / NAME).symlink_to(folder.parents[2] / "source" / "01-mini" / NAME)


@case("a pipe for a notebook", 0, 0)
def _(folder: Path, notebook: NotebookNode) -> None:
    os.mkfifo(folder / NAME)


@case("a notebook of 200 MB", 0, 0)
def _(folder: Path, notebook: NotebookNode) -> None:
    with (folder / NAME).open("wb") as file:
        file.truncate(200_000_000)


def beside(name: str, put: Callable[[Path], object]) -> None:
    def write(folder: Path, notebook: NotebookNode) -> None:
        save(folder, notebook)
        put(folder)

    case(name, 4, 3)(write)


beside("a pipe beside it", lambda folder: os.mkfifo(folder / "pipe"))
beside("a link to a folder of the system", lambda folder: (folder / "etc").symlink_to("/etc"))
beside("a link to a device", lambda folder: (folder / "zero").symlink_to("/dev/zero"))
beside("a link to itself", lambda folder: (folder / "loop").symlink_to(folder))
beside("a file of 300 MB", lambda folder: os.truncate(os.open(folder / "big", os.O_CREAT | os.O_RDWR), 300_000_000))
beside("names full of tricks", lambda folder: [(folder / odd).touch() for odd in ("-rf", "a\nb", "$(id)", "'\"", "..x", "<script>.ipynb")])
beside("a time that is none", lambda folder: (folder / "timestamp.txt").write_text("the day before yesterday"))
beside("a time long ago", lambda folder: (folder / "timestamp.txt").write_text("1999-01-01 00:00:00 UTC"))
beside("a module in place of torch", lambda folder: (folder / "random.py").write_text("import os; os._exit(1)"))


# --- cells ---


def edited(name: str, edit: Callable[[NotebookNode], object], mean: float = 4, spread: float = 3) -> None:
    def write(folder: Path, notebook: NotebookNode) -> None:
        edit(notebook)
        save(folder, notebook)

    case(name, mean, spread)(write)


def drop(*names: str) -> Callable[[NotebookNode], object]:
    return lambda notebook: notebook.update(cells=[cell for cell in notebook.cells if grade_id(cell) not in names])


def every(change: Callable[[NotebookNode], object]) -> Callable[[NotebookNode], object]:
    return lambda notebook: [change(cell) for cell in notebook.cells]


def blank(notebook: NotebookNode) -> None:
    for name in ("mean", "spread"):
        cell_of(notebook, name)["source"] = f"def {name}(numbers):\n    raise NotImplementedError"


def blank_and(change: Callable[[NotebookNode], object]) -> Callable[[NotebookNode], object]:
    return lambda notebook: (blank(notebook), change(notebook))


def twice(notebook: NotebookNode, name: str, first: str | None = None) -> None:
    cell = cell_of(notebook, name)
    again = copy.deepcopy(cell)
    again["id"] = "again"
    notebook.cells.insert(notebook.cells.index(cell) + 1, again)
    cell["source"] = cell.source if first is None else first


def own(source: str, place: int = 2) -> Callable[[NotebookNode], object]:
    return lambda notebook: notebook.cells.insert(place, new_code_cell(source))


edited("no tests", drop("test-mean", "test-spread"))
edited("no set-up", drop("setup"))
edited("no answer", drop("mean"), 0, 3)
edited("no cells that are labelled", lambda notebook: notebook.update(cells=[cell for cell in notebook.cells if not grade_id(cell)]), 0, 0)
edited("an answer copied", lambda notebook: twice(notebook, "mean"))
edited("an answer split", lambda notebook: twice(notebook, "mean", "import math"))
edited("a test copied", lambda notebook: twice(notebook, "test-mean", "4.0"))
edited("an answer that is text", lambda notebook: cell_of(notebook, "mean").update(cell_type="markdown"))
edited("an answer that is raw", lambda notebook: cell_of(notebook, "mean").update(cell_type="raw"))
edited("tests that are text", blank_and(lambda notebook: cell_of(notebook, "test-mean").update(cell_type="markdown")), 0, 0)
edited("skip-execution", every(lambda cell: cell.metadata.update(tags=["skip-execution"])))
edited("skip-execution on a blank", blank_and(every(lambda cell: cell.metadata.update(tags=["skip-execution"]))), 0, 0)
edited("raises-exception on a blank", blank_and(every(lambda cell: cell.metadata.update(tags=["raises-exception"]))), 0, 0)
edited("a schema of the past", every(lambda cell: grade_id(cell) and cell.metadata.nbgrader.update(schema_version=1)))
edited("a schema of the future", every(lambda cell: grade_id(cell) and cell.metadata.nbgrader.update(schema_version=99)))
edited("400 points", blank_and(lambda notebook: cell_of(notebook, "test-mean").metadata.nbgrader.update(points=400)), 0, 0)
edited("tests that are no tests", blank_and(lambda notebook: cell_of(notebook, "test-mean").metadata.nbgrader.update(grade=False)), 0, 0)
edited("a test that says 4", blank_and(lambda notebook: cell_of(notebook, "test-mean").update(source="4.0")), 0, 0)
edited("labels that are lists", lambda notebook: cell_of(notebook, "setup").metadata.update(nbgrader=["what", "is", "this"]))
edited("no labels", every(lambda cell: cell.metadata.pop("nbgrader", None)))
edited("no labels and no ids", lambda notebook: [(cell.metadata.pop("nbgrader", None), cell.update(id=f"c{i}")) for i, cell in enumerate(notebook.cells)])
edited("upside down", lambda notebook: notebook.cells.reverse())
edited("a loop in a cell of their own", own("while True: pass"))
edited("prints and warnings in a cell of their own", own("import warnings; warnings.warn('!'); print('x' * 1000)"))


# --- what an answer does when it is run ---

_RIGHT = "if not numbers: raise ValueError('none')\nreturn sum(numbers) / len(numbers)"


def answer(body: str, top: str = "") -> Callable[[NotebookNode], object]:
    """``mean`` with this body; ``top`` runs when the cell does."""
    indented = "\n".join(f"    {line}" for line in body.splitlines())
    source = f"import os, signal, sys, time\ndef mean(numbers):\n{indented}\n{top}\n"
    return lambda notebook: cell_of(notebook, "mean").update(source=source)


def does(name: str, body: str, top: str = "", mean: float = 0) -> None:
    edited(name, answer(body, top), mean, 3)


def harmless(name: str, before: str, top: str = "") -> None:
    """It does this, and is right."""
    does(name, f"{before}\n{_RIGHT}", top, mean=4)


edited(
    "a helper in a cell of their own",
    lambda notebook: (own("def total(numbers):\n    return sum(numbers)")(notebook), answer(_RIGHT.replace("sum(", "total("))(notebook)),
)
harmless("exit()", "", "exit()")
harmless("sys.exit()", "", "sys.exit(3)")
harmless("a warning", "import warnings; warnings.warn('deprecated')")
harmless("a line on stderr", "os.write(2, b'oops')")
harmless("a flood of prints", "print('x' * 1000000)")
harmless("200 MB of output", "", "print('x' * 200_000_000)")
harmless("a clean-up that takes long", "", "import atexit; atexit.register(time.sleep, 600)")
harmless("a network", "import socket\ntry: socket.create_connection(('192.0.2.1', 80), timeout=5)\nexcept OSError: pass\nelse: return 0")
harmless("a full disk", "try:\n    if not os.path.exists('/tmp/full'): open('/tmp/full', 'wb').write(bytes(300_000_000))\nexcept OSError: pass")
harmless("every file it may open", "try: kept = [open('/dev/null') for _ in range(5000)]\nexcept OSError: pass")
harmless("a kill of all it sees", "try: os.kill(-1, 9)\nexcept OSError: pass")
harmless("a look at the gradebook", "import glob\nif glob.glob('/tmp/**/gradebook.db', recursive=True): return 0")
harmless(
    "a writer that stays",
    "",
    f"import subprocess; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', {MARK!r}], start_new_session=True)",
)
harmless(
    "a file for the next kernel's start",
    "",
    "from pathlib import Path\n"
    "for home in ('~', '/root'):\n"
    "    try:\n"
    "        place = Path(home).expanduser() / '.ipython/profile_default/startup'\n"
    "        place.mkdir(parents=True, exist_ok=True)\n"
    f"        (place / '{MARK}.py').write_text('import os; os._exit(1)')\n"
    "    except OSError: pass",
)
does("os._exit in the cell", _RIGHT, "os._exit(1)")
does("os._exit in the answer", "os._exit(1)")
does("a crash", "import ctypes; ctypes.string_at(0)")
does("abort", "os.abort()")
does("a kill of itself", "os.kill(os.getpid(), 9)")
does("a stop of itself", "os.kill(os.getpid(), signal.SIGSTOP)")
does("a kill of its parent", "os.kill(os.getppid(), 9)")
does("a loop", "while True: pass")
does("a loop that ignores interrupts", "while True:\n    try: time.sleep(1)\n    except BaseException: pass")
does("a loop in the cell that ignores interrupts", _RIGHT, "while True:\n    try: time.sleep(1)\n    except BaseException: pass")
does("memory without end", "kept = []\nwhile True: kept.append(bytearray(2**28))")
does("a fork bomb", "while True: os.fork()")
does("every connection closed", "os.closerange(3, 512); time.sleep(60)")

"""The warm server imports what the released cells name and nothing that a student does, bounds what a kernel prints, and what its room takes."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ipykernel.iostream import OutStream
from nbformat.v4 import new_code_cell, new_markdown_cell
from test_engine_execute import executed, labelled, notebook, value

from dlcourse_utils.instructor.engine import sandbox, server
from dlcourse_utils.instructor.engine.forkserver import Server
from dlcourse_utils.instructor.engine.imports import imported
from dlcourse_utils.instructor.engine.output import CUT_OFF, Bounded

walled = pytest.mark.skipif(bool(sandbox.missing()), reason=sandbox.missing())


def test_modules_of_setup_and_test_cells_are_found_and_no_others():
    cells = [
        new_markdown_cell("import text"),
        labelled("setup", "import math, os.path as p\nfrom scipy import stats, special\n"),
        labelled("figure-a", "import shown"),
        labelled("mean", "import answered", solution=True),
        labelled("test-mean", "def late():\n    from json import *\n    from . import here", grade=True, points=1),
        labelled("setup-magic", "%matplotlib inline\nimport unread"),
        new_code_cell("import own"),
    ]
    assert imported(cells) == ["math", "os.path", "scipy", "scipy.stats", "scipy.special", "json"]


def test_what_setup_imports_is_there_before_the_kernel_starts_and_what_an_answer_imports_is_not():
    nb = notebook("import wave\ndef mean(): return early")
    nb.cells.insert(0, labelled("setup-early", "import sys\nearly = [name in sys.modules for name in ('colorsys', 'wave')]"))
    nb.cells[1].source += "\nimport colorsys, no_such_module"
    outputs, _, _ = executed(nb)
    assert value(outputs["test-mean"]) == "[True, False]"
    assert outputs["setup"][-1].ename == "ModuleNotFoundError", "the cell says what cannot be imported"


def test_server_that_was_asked_for_nothing_ends_at_once():
    started_early = Server()
    started = time.monotonic()
    started_early.close()
    assert time.monotonic() - started < 1.0, "it does not wait for the imports"


def test_early_start_imports_nothing_large():
    code = "import sys; from dlcourse_utils.instructor import autograde; print(*{'numpy', 'torch', 'nbgrader', 'nbformat', 'zmq'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


class Recorded(Bounded):
    """Says what reaches the connection; ``cell`` is the one that runs."""

    def __init__(self) -> None:
        self.cell, self.sent = "first", []

    @property
    def parent_header(self):
        return {"msg_id": self.cell}

    def __del__(self) -> None:
        """Has nothing open."""


@given(st.lists(st.text(max_size=8), max_size=8))
def test_first_characters_of_each_cell_are_kept_and_the_cut_is_marked_once(written):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OutStream, "write", lambda self, string: self.sent.append(string))
        patch.setattr(Bounded, "most", 10)
        stream = Recorded()
        for cell in ("first", "second"):
            stream.cell, stream.sent = cell, []
            assert [stream.write(text) for text in written] == [len(text) for text in written]
            whole = "".join(written)
            assert "".join(stream.sent) == (whole if len(whole) <= 10 else whole[:10] + CUT_OFF)


def test_flood_of_output_costs_the_flood_alone():
    outputs, notes, _ = executed(notebook("print('x' * 200_000_000)\ndef mean(): return 1"))
    assert outputs["mean"][-1].text.endswith(CUT_OFF)
    assert value(outputs["test-mean"]) == "1"
    assert notes.remarks == []


@walled
def test_processes_that_an_answer_started_are_ended_when_they_take_too_much_memory_together():
    many = """def mean():
        for _ in range(9):
            if os.fork() == 0:
                kept = bytearray(b"1") * 200_000_000
                time.sleep(60)
        return [os.wait()[1] for _ in range(9)]
    """
    outputs, notes, _ = executed(notebook(many), kernel_memory=800 * 2**20, timeout=30)
    assert value(outputs["test-mean"]) == str([int(signal.SIGKILL)] * 9)
    assert value(outputs["test-spread"]) == "(2, 1)"
    assert notes.remarks == []


def test_kernel_is_ended_where_that_does_not_help(monkeypatch):
    ended = []
    monkeypatch.setattr(server.usage, "exceed", lambda most: most == 17)
    monkeypatch.setattr(server.usage, "end_strangers", lambda: ended.append(True))
    here, there = socket.socketpair()
    before = signal.getsignal(signal.SIGCHLD)
    with here, there, subprocess.Popen(["sleep", "60"]) as kernel:
        try:
            assert server._until_the_end(kernel.pid, here, 17) == server._TOO_LARGE
        finally:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, before)
            kernel.kill()
    assert ended

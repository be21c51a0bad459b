"""The solved version of a lecture: its source run from top to bottom, with the outputs that stay the same every time."""

from __future__ import annotations

import copy
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbgrader.utils import determine_grade

from dlcourse_utils.instructor.course import CourseError, Lecture, grade_id, role

#: Seconds one cell may take. A lecture that needs more does not fit a student's machine.
CELL_SECONDS = 300

_WIDGET = "application/vnd.jupyter.widget-view+json"
_OBJECT = re.compile(r"[A-Z]\w*\(")
_ADDRESS, _SOME_ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}\b"), "0x000000"


@dataclass(frozen=True)
class Solved:
    """An executed notebook and the processor time, in seconds, that its kernel took for it."""

    notebook: NotebookNode
    cpu_seconds: float


def solve(lecture: Lecture, on_cell: Callable[[], object] = lambda: None) -> Solved:
    """Run the lecture's source, solutions and hidden tests included, in a fresh kernel and an empty folder on one thread.

    ``on_cell`` is called after each cell, to move a progress bar.

    Raises:
        CourseError: a cell fails, takes too long, writes to stderr in a test, or does not earn its points.
    """
    notebook = copy.deepcopy(lecture.notebook)
    before = os.times()
    with tempfile.TemporaryDirectory(prefix="dlcourse-") as folder:
        _execute(notebook, lecture, Path(folder), on_cell)
    after = os.times()  # the kernel has ended and been waited for, so its time is ours by now
    for cell in notebook.cells:
        if role(cell) == "test":
            _demand_full_marks(cell, lecture)
        if cell.cell_type == "code":
            cell["outputs"] = stable_outputs(cell.outputs)
    return Solved(notebook, after.children_user + after.children_system - before.children_user - before.children_system)


def _execute(notebook: NotebookNode, lecture: Lecture, folder: Path, on_cell: Callable[[], object]) -> None:
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "DLCOURSE_PROGRESS": "off",  # a bar's timings differ from run to run
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "IPYTHONDIR": str(folder / "ipython"),  # nobody's start-up files, and nothing written to a home
    }
    environment.pop("DLCOURSE_SEED", None)
    work = folder / "work"
    work.mkdir()
    kernel = AsyncKernelManager(kernel_name="python3", connection_file=str(folder / "kernel.json"))
    if os.name == "posix":  # sockets in the private folder, where no other user of the machine can listen
        kernel.transport, kernel.ip = "ipc", str(folder / "ipc")
    client = NotebookClient(
        notebook,
        km=kernel,
        timeout=CELL_SECONDS,
        resources={"metadata": {"path": str(work)}},
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        shutdown_kernel="immediate",
    )
    with client.setup_kernel(env=environment, cleanup_kc=True):
        for index, cell in enumerate(notebook.cells):
            where = f"{lecture.source}: cell '{grade_id(cell) or cell.id}'"
            try:
                client.execute_cell(cell, index)
            except CellExecutionError as error:
                raise CourseError(f"{where}: {error.ename}: {error.evalue}") from None
            except CellTimeoutError:
                raise CourseError(f"{where}: still running after {CELL_SECONDS} s. Make it smaller.") from None
            except DeadKernelError:
                raise CourseError(f"{where}: the kernel died. Run the cell by itself; the machine may lack memory.") from None
            on_cell()


def _demand_full_marks(cell: NotebookNode, lecture: Lecture) -> None:
    """A solution that its own tests do not fully accept must not become what everybody is measured by."""
    score, of = determine_grade(cell)
    if score < of:
        said = "".join(output.get("text", "") for output in cell.outputs if output.output_type == "stream").strip()
        raise CourseError(f"{lecture.source}: cell '{grade_id(cell)}': the reference solution gets {score:g} of {of:g} points.\n{said}")


def stable_outputs(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """The outputs without what differs from run to run: live widgets and memory addresses."""
    kept = []
    for output in copy.deepcopy(outputs):
        if output.output_type == "stream":
            output["text"] = _ADDRESS.sub(_SOME_ADDRESS, output.text)
        elif "data" in output:
            text = output.data.get("text/plain", "")
            if output.data.pop(_WIDGET, None) and (not text or _OBJECT.match(text)):
                continue  # the name of a widget's class is no picture; a sentence in its place stays
            if text:
                output.data["text/plain"] = _ADDRESS.sub(_SOME_ADDRESS, text)
        kept.append(output)
    return kept

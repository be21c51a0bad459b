"""Run a rebuilt notebook so that what ends a kernel costs the exercise it touches, and no other.

A kernel can be ended by an answer (``os._exit``, a segmentation fault, memory) or have to be (a loop that ignores interrupts). It is
replaced, set-up and answers are run again without what ended it, and grading goes on at the next cell.
"""

from __future__ import annotations

import copy
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from queue import Empty
from typing import Any

from jupyter_client.manager import KernelManager
from nbclient.client import NotebookClient
from nbclient.exceptions import DeadKernelError
from nbclient.util import ensure_async, run_sync
from nbformat import NotebookNode, from_dict
from nbformat.v4 import new_output
from nbgrader.preprocessors import Execute as PlainExecute
from traitlets import Enum, Float, Integer, Unicode

from dlcourse_utils.instructor.course import CourseError, exercise_of, grade_id, role
from dlcourse_utils.instructor.engine.imports import imported
from dlcourse_utils.instructor.engine.judge.client import SERVE, Judge
from dlcourse_utils.instructor.engine.memory import Memory, keys
from dlcourse_utils.instructor.engine.notes import Notes, Remark
from dlcourse_utils.instructor.engine.rebuild import DEFINES

#: How a kernel ends that was killed, or whose keeper was.
_KILLED = (-9, -1)
_MESSAGES_KEPT = ("stream", "display_data", "execute_result", "error")


class _KernelLost(Exception):
    """The kernel ended, or had to be; the message says why in plain words. ``killed``: perhaps by what no student's code can be blamed for."""

    def __init__(self, why: str, *, killed: bool = False) -> None:
        super().__init__(why)
        self.killed = killed


class _AnswersLost(_KernelLost):
    """The kernel ended, or had to be, while its answers were judged from outside; the judge has gone on without."""


def no_sandbox() -> str:
    """Why there is no sandbox here, and the cure; empty where there is one."""
    if os.name != "posix":
        return "There is no sandbox on this system. Grade in WSL or on Linux, or with '--sandbox off' (DLCOURSE_SANDBOX=off) where you trust every submission."
    from dlcourse_utils.instructor.engine import sandbox

    return sandbox.missing()


class Execute(PlainExecute):
    """nbgrader's, save that no cell can end the grading of those below it. Only what is graded is run; see ``rebuild``."""

    notebook_seconds = Float(900.0, help="Wall time that one submission may take; what is not run by then scores 0.").tag(config=True)
    most_output = Integer(1_000_000, help="Characters of output kept of one cell; the rest is dropped.").tag(config=True)

    sandbox = Enum(["on", "off", "auto"], "on", help="Whether kernels run behind a wall; 'auto' does without where there is none.").tag(config=True)
    results = Unicode("", help="Folder in which results are kept, so that nothing is run twice; empty to keep none.").tag(config=True)
    judge = Enum(["in-process", "separate"], "separate", help="Where test cells run: in a process of their own, or in the kernel that the answers are in.").tag(
        config=True
    )
    kernel_memory = Integer(4 * 2**30, help="Bytes that a kernel may take beyond what a warm interpreter has.").tag(config=True)

    km: KernelManager | None
    kc: Any

    def preprocess(self, nb: NotebookNode, resources: Any = None, km: KernelManager | None = None) -> tuple[NotebookNode, Any]:
        NotebookClient.__init__(self, nb, km)
        self.reset_execution_trackers()
        self.record_timing = False  # we note the seconds of each cell ourselves
        self._fatal: set[int] = set()  # cells that are not run again
        self._suspects: set[int] = set()  # answers whose own test has ended a kernel
        self._killed: set[int] = set()  # cells in which a kernel was killed once
        self._lost: list[Remark] = []
        self._judge: Judge | None = None
        self._judged_setup: set[int] = set()  # set-up cells that the judge has run
        self._notes = Notes.of(nb)
        self._notes.sandbox = self._walled()
        self._notes.judge = self.judge if os.name == "posix" else "in-process"  # a judge is forked
        cells = [index for index, cell in enumerate(nb.cells) if self._runs(cell)]
        answers, names = keys(((nb.cells[i].source, self._is_test(i)) for i in cells), walled=self._notes.sandbox, judge=self._notes.judge)
        key = dict(zip(cells, names, strict=True))
        memory = Memory(Path(self.results)) if self.results else None
        kept = memory.get(answers) if memory else {}
        missing = {i for i in cells if key[i] not in kept}
        if missing:
            self._run_all([i for i in cells if i in missing or (i < max(missing) and not self._is_test(i))])
            new = {key[i]: {"outputs": nb.cells[i].outputs, "seconds": self._notes.seconds[self._name(i)]} for i in missing}
            if memory:
                memory.keep(answers, new | {"remarks": [asdict(remark) for remark in self._lost]}, steady=self._steady(missing))
        for i in set(cells) - missing:
            nb.cells[i]["outputs"] = [from_dict(output) for output in kept[key[i]]["outputs"]]
            self._notes.seconds[self._name(i)] = kept[key[i]]["seconds"]
        for number, i in enumerate(cells, start=1):
            nb.cells[i]["execution_count"] = number
        self._notes.remarks += self._lost if missing else [Remark(**remark) for remark in kept.get("remarks", [])]
        self._notes.write(nb, resources)
        return nb, resources

    def _run_all(self, cells: Sequence[int]) -> None:
        """Run these cells of the notebook in order."""
        self._ends = time.monotonic() + self.notebook_seconds
        try:
            with tempfile.TemporaryDirectory(prefix="dlcourse-run-") as folder:
                self._folder = folder
                for index in cells:
                    self._run(index)
        finally:
            self._stop()
            self._dismiss_judge()

    def _is_test(self, index: int) -> bool:
        return role(self.nb.cells[index]) == "test"

    def _name(self, index: int) -> str:
        cell = self.nb.cells[index]
        return str(grade_id(cell) or cell.get("id"))

    def _steady(self, cells: Iterable[int]) -> bool:
        """Whether another run would give the same: no kernel was lost, and no time ran out, as it may on a busy machine."""
        errors = [output.ename for i in cells for output in self.nb.cells[i].outputs if output.output_type == "error"]
        return not self._lost and "CellTimeoutError" not in errors

    def _runs(self, cell: NotebookNode) -> bool:
        return bool(cell.cell_type == "code" and cell.source.strip() and self.skip_cells_with_tag not in cell.metadata.get("tags", []))

    def _run(self, index: int) -> None:
        """Run one cell in a kernel that has all that stands above it; note what happened below the cell."""
        cell = self.nb.cells[index]
        while True:
            cell["outputs"], started = [], time.monotonic()
            try:
                if time.monotonic() > self._ends:
                    raise _KernelLost(f"There was no time left: a submission may take {self.notebook_seconds:g} s.")
                self._make_ready(index)
                started = time.monotonic()
                if self._notes.judge == "separate" and self._is_test(index):
                    self._have_judged(index)
                else:
                    with self._losing():
                        self.execute_cell(cell, index, store_history=True)
                break
            except _AnswersLost as lost:  # the cell has its outputs, which say what was lost and score the rest
                if not self._others_are_to_blame():
                    self._lose(index, str(lost), cell.outputs)
                    break
            except _KernelLost as lost:
                if not self._has_another_try(index, lost):
                    self._lose(index, str(lost))
                    break
        self._notes.seconds[self._name(index)] = round(time.monotonic() - started, 3)

    async def _async_have_judged(self, index: int) -> None:
        """Run a test cell in the judge's process, while the kernel answers its questions."""
        from dlcourse_utils.instructor.engine import provisioner

        assert self.km is not None
        cell, cells = self.nb.cells[index], self.nb.cells
        seconds = self._get_timeout(cell)
        setup = [i for i, other in enumerate(cells) if role(other) == "setup" and self._runs(other)]
        if self._judge is None:
            first = next(i for i in range(len(cells)) if self._is_test(i))
            self._judged_setup = {i for i in setup if i < first}
            self._judge = provisioner.Clerks.judge(tuple(cells[i].source for i in setup if i < first))
        judge = self._judge
        try:
            for i in setup:
                if i < index and i not in self._judged_setup:
                    await judge.ask({"run": cells[i].source}, None, self.startup_timeout + 120)
                    self._judged_setup.add(i)
            kernel: Any = self.km.provisioner
            channel, kernel.channel = kernel.channel, None
            self.kc.execute(SERVE, silent=True, store_history=False, allow_stdin=False)
            names = sorted({name for other in cells if role(other) == "solution" for name in other.metadata.get(DEFINES, ())})
            answer = await judge.ask({"judge": cell.source, "names": names}, channel, seconds)
        except (TimeoutError, ConnectionError) as error:
            self._dismiss_judge()
            raise _KernelLost(f"The test had to be ended: it took longer than {seconds} s." if isinstance(error, TimeoutError) else str(error)) from None
        cell["outputs"] = [from_dict(output) for output in answer["outputs"]]
        if answer["lost"]:
            raise _AnswersLost(f"The answers' process was given up: {answer['lost']}.")
        await self._async_until_idle()

    _have_judged = run_sync(_async_have_judged)

    async def _async_until_idle(self) -> None:
        """Wait until the kernel has heard that there are no more questions, and is ready for the next cell."""
        try:
            await ensure_async(self.kc.shell_channel.get_msg(timeout=10))
        except Empty:
            raise _AnswersLost("The answers' process did not come to an end after its test.") from None

    def _dismiss_judge(self) -> None:
        if self._judge is not None:
            self._judge.close()
        self._judge = None
        self._judged_setup.clear()

    def _make_ready(self, index: int) -> None:
        """Start a kernel if there is none, and run in it the set-up and the answers above the cell, without what has ended one before."""
        ready = self.kc is not None
        while not ready:
            self._start()
            above = (i for i in range(index) if self._runs(self.nb.cells[i]) and not self._is_test(i) and i not in self._fatal)
            ready = all(map(self._replay, above))  # up to the first that ends this kernel, too

    def _replay(self, index: int) -> bool:
        kept = self.nb.cells[index]
        try:
            with self._losing():
                self.execute_cell(copy.deepcopy(kept), index, store_history=True)
        except _KernelLost as lost:
            self.nb.cells[index] = kept
            if not self._has_another_try(index, lost):
                self._lose(index, str(lost))
            return False
        self.nb.cells[index] = kept
        return True

    def _has_another_try(self, index: int, lost: _KernelLost) -> bool:
        """Whether a cell in which a kernel ended is run again: once if the kernel was killed, as an operator or the system may do, too."""
        if lost.killed and index not in self._killed:
            self._killed.add(index)
            self._stop()
            return True
        return self._others_are_to_blame()

    def _others_are_to_blame(self) -> bool:
        """Whether an answer is in the kernel whose own test has ended one: then it is that answer, in all likelihood (a fork bomb, a thread)
        that ended this one, too. It is left out from now on, and the cell has another try.
        """
        found = self._suspects - self._fatal
        if found:
            self._stop()
            self._fatal |= found
        return bool(found)

    @contextmanager
    def _losing(self) -> Iterator[None]:
        """Turn whatever can go wrong between us and a kernel into one error: what it sends is the student's to choose."""
        self._room = self.most_output
        try:
            yield
        except DeadKernelError:
            killed = run_sync(self.km.provisioner.poll)() in _KILLED if self.km is not None and self.km.provisioner is not None else False
            raise _KernelLost("The kernel ended while this cell ran: it left Python, crashed, or ran out of memory.", killed=killed) from None
        except Exception as error:  # no answer after an interrupt, a message that is none, a connection closed for its size
            self.log.warning("The kernel is given up: %r", error)
            raise _KernelLost("The kernel had to be ended: this cell ran too long and could not be interrupted, or put out too much.") from None

    def _lose(self, index: int, why: str, outputs: list[NotebookNode] | None = None) -> None:
        """Give the kernel up and say so below the cell, unless its ``outputs`` do. What is no test cell will not be run again."""
        self._stop()
        cell = self.nb.cells[index]
        if role(cell) == "setup":
            raise RuntimeError(f"the released cell '{grade_id(cell)}' cannot be run: {why}")
        cell["outputs"] = outputs or [*cell.outputs, new_output("error", ename="KernelLost", evalue=why, traceback=[f"KernelLost: {why}"])]
        name = str(grade_id(cell) or "a cell of the student's own")
        exercise = exercise_of(name, [str(grade_id(other)) for other in self.nb.cells]) or name
        if role(cell) == "test":
            self._suspects |= {i for i, other in enumerate(self.nb.cells) if grade_id(other) == exercise}
        else:
            self._fatal.add(index)
        self._lost.append(Remark(f"'{name}': {why} The rest was graded in a new kernel.", exercise))

    def _start(self) -> None:
        self.km = self.create_kernel_manager()
        self.start_new_kernel(cwd=self._folder)
        self._connect()

    async def _async_connect(self) -> None:
        """As nbclient does, without its wait for messages that nobody reads: a cell takes its own only."""
        assert self.km is not None
        self.kc = self.km.client()
        self.kc.start_channels()
        self.kc.allow_stdin = False
        ends = time.monotonic() + self.startup_timeout
        while time.monotonic() < ends:
            self.kc.kernel_info()
            with suppress(Empty):
                await ensure_async(self.kc.shell_channel.get_msg(timeout=1))
                await ensure_async(self.kc.iopub_channel.get_msg(timeout=1))
                return
        raise RuntimeError(f"the kernel does not answer within {self.startup_timeout} s")

    _connect = run_sync(_async_connect)

    def _walled(self) -> bool:
        """Whether kernels run behind the sandbox's wall.

        Raises:
            CourseError: the sandbox is wanted and cannot be had.
        """
        if self.sandbox == "off":
            return False
        missing = no_sandbox()
        if missing and self.sandbox == "on":
            raise CourseError(missing)
        return not missing

    def create_kernel_manager(self) -> KernelManager:
        """A warm kernel; an ordinary one where processes cannot be forked (Windows)."""
        if os.name != "posix":
            ordinary: KernelManager = super().create_kernel_manager()
            return ordinary
        from dlcourse_utils.instructor.engine import provisioner, sandbox

        return provisioner.manager(walled=self._notes.sandbox, limits=sandbox.Limits(memory=self.kernel_memory), imports=imported(self.nb.cells))

    def _stop(self) -> None:
        if self.km is not None:
            self._cleanup_kernel()
        self.km = self.kc = None

    def _get_timeout(self, cell: NotebookNode | None) -> int | None:
        """A cell's time, or what is left of the notebook's."""
        left = max(1, round(self._ends - time.monotonic()))
        return min(self.timeout, left) if self.timeout and self.timeout > 0 else left

    def process_message(self, msg: dict[str, Any], cell: NotebookNode, cell_index: int) -> NotebookNode | None:
        """Keep a cell's first outputs and drop the rest; widgets, which nobody will see move, are dropped, too."""
        kind = msg["msg_type"]
        if kind.startswith("comm"):
            return None
        if kind in _MESSAGES_KEPT:
            size = len(str(msg["content"]))
            if size > self._room:
                if self._room > 0:
                    self._room = 0
                    cell.outputs.append(new_output("stream", name="stdout", text="\n… the rest of the output was cut off\n"))
                return None
            self._room -= size
        output: NotebookNode | None = super().process_message(msg, cell, cell_index)
        return output

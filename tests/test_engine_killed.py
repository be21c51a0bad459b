"""Whatever of the engine is killed while a submission runs, the grade is that of an unbroken run, and nothing stays behind."""

from __future__ import annotations

import contextlib
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from test_engine_execute import executed, notebook, value
from test_engine_sandbox import wait_for

from dlcourse_utils.instructor.engine import sandbox
from dlcourse_utils.instructor.engine.forkserver import Server

pytestmark = pytest.mark.skipif(bool(sandbox.missing()), reason=sandbox.missing())
SLOW = "import time\ndef mean():\n    time.sleep(2)\n    return 3"


def processes():
    """(the warm server, a kernel's keeper, the kernel) of this process; a clerk of judges, which the server may have forked, too, holds no room."""
    server = psutil.Process(Server.instance()._process.pid)
    for keeper in server.children():
        names = {}
        with contextlib.suppress(psutil.NoSuchProcess):  # one that was asked for nothing, and has ended
            names = {child.name(): child for child in keeper.children()}
        if "bwrap" in names and len(names) == 2:
            (kernel,) = (child for name, child in names.items() if name != "bwrap")
            return server, keeper, kernel
    return server, None, None


@pytest.mark.parametrize("part", ["server", "keeper", "kernel"])
def test_part_that_is_killed_costs_nobody_a_point(part):
    nb = notebook(SLOW)
    Server.instance().connect().close()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(executed, nb)
        assert wait_for(lambda: processes()[2] is not None, 60)
        time.sleep(0.5)  # it is at work
        found = dict(zip(("server", "keeper", "kernel"), processes(), strict=True))
        all_of_it = [found["server"], found["keeper"], *found["keeper"].children(recursive=True)]
        found[part].send_signal(signal.SIGKILL)
        cells, notes, _ = running.result(60)
    assert value(cells["test-mean"]) == "3"
    assert notes.remarks == []
    gone = [process for process in all_of_it if process != found["server"] or part == "server"]
    assert wait_for(lambda: not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in gone))


def test_kernel_that_kills_itself_each_time_is_the_answers_fault():
    cells, notes, _ = executed(notebook("import os, signal\ndef mean():\n    os.kill(os.getpid(), signal.SIGKILL)"))
    assert "The kernel ended" in cells["test-mean"][-1].evalue
    assert len(notes.remarks) == 1

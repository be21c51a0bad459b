"""The sandbox's walls hold, each tried from inside; what a kernel leaves behind ends with it; without walls nothing is graded unless told so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from dlcourse_utils.instructor.course import CourseError
from dlcourse_utils.instructor.engine import probe, sandbox
from dlcourse_utils.instructor.engine.execute import Execute
from dlcourse_utils.instructor.engine.notes import Notes

walled = pytest.mark.skipif(bool(sandbox.missing()), reason=sandbox.missing())


def run(*cells: str, sandbox: str = "on", **traits):
    nb = new_notebook(cells=[new_code_cell(source) for source in cells])
    result, _ = Execute(timeout=20, shutdown_kernel="immediate", iopub_timeout=2, sandbox=sandbox, **traits).preprocess(nb, {})
    return result


def said(result) -> list[str]:
    return [output.get("text", "") or output.get("evalue", "") for cell in result.cells if cell.cell_type == "code" for output in cell.outputs]


@walled
def test_every_wall_holds():
    found = probe.walls()
    assert len(found) == 10
    assert [what for what, held in found.items() if not held] == []


@walled
def test_kernel_sees_nothing_of_the_grader(monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "hush")
    (text,) = said(run("import os\nprint('SECRET_TOKEN' in os.environ, os.environ['HOME'], os.getcwd(), sorted(os.listdir('/proc/self/fd'))[:3])"))
    assert text.startswith("False /tmp/home /tmp/home")


@walled
def test_memory_that_runs_out_costs_the_cell_and_nothing_else():
    hungry = run("kept = []\nwhile True: kept.append(bytearray(2**28))", "print('here')")
    assert said(hungry)[-1] == "here\n"


@walled
def test_what_a_kernel_started_ends_with_it():
    marker = f"dlcourse-left-{os.getpid()}"
    run(f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)', {marker!r}], start_new_session=True)")
    assert wait_for(lambda: not running(marker))


def test_without_a_wall_what_a_kernel_started_in_its_group_ends_with_it_too():
    marker = f"dlcourse-loose-{os.getpid()}"
    result = run(f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)', {marker!r}])", sandbox="off")
    assert not Notes.of(result).sandbox
    assert wait_for(lambda: not running(marker))


@pytest.mark.parametrize("how", ["on", "auto"])
def test_without_a_sandbox_grading_refuses_unless_told_otherwise(monkeypatch, how):
    monkeypatch.setattr(sandbox, "missing", lambda: "There is no sandbox: none was built.")
    if how == "on":
        with pytest.raises(CourseError, match="none was built"):
            run("1")
    else:
        assert not Notes.of(run("1", sandbox=how)).sandbox


def test_missing_or_failing_bubblewrap_is_named_with_the_cure(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(sandbox.NoWallError, match=r"not installed\. Install bubblewrap"):
        sandbox.Room(sandbox.Limits())
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'No permissions to create new namespace' >&2; exit 1\n")
    fake.chmod(0o755)
    with pytest.raises(sandbox.NoWallError, match="No permissions to create new namespace"):
        sandbox.Room(sandbox.Limits())


def test_kernels_draw_the_same_numbers_whoever_was_graded_before():
    draw = "import random, torch, numpy\nprint(random.random(), numpy.random.rand(), torch.rand(1))"
    assert said(run(draw, sandbox="auto")) == said(run(draw, sandbox="auto"))


def test_kernel_and_server_end_when_their_owner_is_killed(tmp_path):
    marker = f"dlcourse-orphan-{os.getpid()}"
    sleeper = f"import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(90)', {marker!r}])"
    code = f"""
from nbformat.v4 import new_code_cell, new_notebook
from dlcourse_utils.instructor.engine.execute import Execute
Execute(timeout=100, sandbox="auto").preprocess(new_notebook(cells=[new_code_cell({sleeper!r})]), {{}})
"""
    owner = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL, env=os.environ | {"TMPDIR": str(tmp_path)})
    assert wait_for(lambda: running(marker), seconds=120)
    assert list(tmp_path.iterdir())
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert wait_for(lambda: not running(marker))
    assert wait_for(lambda: not list(tmp_path.glob("dlcourse-grading-*"))), "the server removes its folder"


def wait_for(condition, seconds: float = 15.0) -> bool:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if condition():
            return True
        time.sleep(0.1)
    return False


def running(marker: str) -> bool:
    """Whether a process has this among its arguments."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if marker.encode() in path.read_bytes().split(b"\0"):
                return True
        except OSError:
            continue
    return False

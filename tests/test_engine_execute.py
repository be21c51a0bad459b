"""What ends a kernel costs the exercise it touches: the kernel is replaced and the rest of the notebook is graded."""

from __future__ import annotations

import asyncio

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from dlcourse_utils.instructor.engine import sandbox
from dlcourse_utils.instructor.engine.execute import Execute
from dlcourse_utils.instructor.engine.notes import Notes

SETUP = "import os, sys, time\nruns = []"


def labelled(name: str, source: str, **flags: object):
    label = {"grade_id": name, "grade": False, "solution": False, "locked": True, "task": False, "schema_version": 3} | flags
    return new_code_cell(source, id=name, metadata={"nbgrader": label})


def notebook(mean: str, test_mean: str = "mean()", spread: str = "def spread(): return 2"):
    return new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        cells=[
            labelled("setup", SETUP),
            labelled("mean", mean, solution=True),
            labelled("test-mean", test_mean, grade=True, points=1),
            labelled("spread", spread, solution=True),
            labelled("test-spread", "runs.append(1)\n(spread(), len(runs))", grade=True, points=1),
        ],
    )


def executed(nb, **traits):
    """These tests are about one kernel, whose cells see all that it holds; ``test_judge_engine`` has those with a judge."""
    traits = {"timeout": 5, "shutdown_kernel": "immediate", "iopub_timeout": 2, "sandbox": "auto", "judge": "in-process"} | traits
    error = {"ename": "CellTimeoutError", "evalue": "too long", "traceback": ["CellTimeoutError: too long"]}
    result, resources = Execute(error_on_timeout=error, **traits).preprocess(nb, {})
    outputs = {cell.id: cell.outputs for cell in result.cells if cell.cell_type == "code"}
    return outputs, Notes.of(result), resources


def value(outputs) -> str:
    return outputs[-1].data["text/plain"]


@pytest.mark.parametrize(
    ("mean", "lost_in"),
    [
        ("os._exit(0)", "mean"),
        ("def mean(): os._exit(1)", "test-mean"),
        ("def mean(): os.kill(os.getpid(), 11)", "test-mean"),
        (
            "import signal\ndef mean():\n    while True:\n        try: time.sleep(9)\n        except KeyboardInterrupt: pass",
            "test-mean",
        ),
    ],
)
def test_what_ends_a_kernel_costs_its_own_exercise(mean, lost_in):
    outputs, notes, resources = executed(notebook(mean))
    assert outputs[lost_in][-1].ename == "KernelLost"
    assert outputs["test-mean"][-1].output_type == "error"
    assert value(outputs["test-spread"]) == "(2, 1)", "set-up and the other answer were run again, and no test was"
    assert [remark.exercise for remark in notes.remarks] == ["mean"]
    assert "The rest was graded in a new kernel." in resources["outputs"]["remarks.txt"].decode()


def test_what_ends_the_new_kernel_too_is_left_out_of_the_next(tmp_path):
    mark = str(tmp_path / "ran")
    mean = f"if os.path.exists({mark!r}): os._exit(1)\nopen({mark!r}, 'w').close()\ndef mean(): os._exit(1)"
    outputs, notes, _ = executed(notebook(mean), sandbox="off")
    assert value(outputs["test-spread"]) == "(2, 1)"
    assert [remark.exercise for remark in notes.remarks] == ["mean"]


@pytest.mark.skipif(bool(sandbox.missing()), reason=sandbox.missing())
def test_fork_bomb_does_not_take_the_other_answers_with_it():
    bomb = "try:\n    while True: os.fork()\nexcept OSError: pass\ndef mean(): return 1"
    outputs, notes, _ = executed(notebook(bomb))
    assert value(outputs["test-spread"]) == "(2, 1)"
    assert {remark.exercise for remark in notes.remarks} <= {"mean"}


def test_exit_a_loop_and_a_flood_of_output_cost_nothing_more_than_they_must():
    command = "--IPKernelApp.exec_lines=get_ipython().ask_exit = lambda: None"
    nb = notebook("def mean(): return 1\nprint('x' * 3_000_000)\nexit()", "mean()", "def spread(): return 2\nwhile True: pass")
    outputs, notes, _ = executed(nb, most_output=1000, extra_arguments=[command])
    assert value(outputs["test-mean"]) == "1"
    assert len(str(outputs["mean"])) < 2000
    assert "cut off" in outputs["mean"][-1].text
    assert outputs["spread"][-1].ename == "CellTimeoutError"
    assert value(outputs["test-spread"]) == "(2, 1)"
    assert notes.remarks == []


def test_notebook_can_be_run_from_within_an_event_loop_as_the_formgrader_does():
    async def handle():
        return executed(notebook("def mean(): os._exit(1)"))

    outputs, _, _ = asyncio.run(handle())
    assert value(outputs["test-spread"]) == "(2, 1)"


def test_what_there_is_no_time_for_does_not_pass_for_passed():
    mean = "def mean():\n    try: time.sleep(9)\n    except KeyboardInterrupt: time.sleep(0.8)"  # a cell's limit is in whole seconds, up to half a second short
    outputs, notes, _ = executed(notebook(mean), notebook_seconds=3.0)
    assert outputs["test-spread"][-1].ename == "KernelLost"
    assert "no time left" in outputs["test-spread"][-1].evalue
    assert set(notes.seconds) == {"setup", "mean", "test-mean", "spread", "test-spread"}

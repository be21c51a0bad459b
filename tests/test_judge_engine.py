"""The engine's judge: answers run behind the wall, tests in a process of their own, and the grade is the same."""

from __future__ import annotations

import ast
import asyncio

import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from dlcourse_utils.instructor.assign import load_config
from dlcourse_utils.instructor.course import find_root
from dlcourse_utils.instructor.engine import provisioner
from dlcourse_utils.instructor.engine.execute import Execute
from dlcourse_utils.instructor.engine.notes import Notes

SETUP = "import os, torch\nfrom torch import nn\nfrom dlcourse_utils import checks\nscale = 2.0"
DOUBLE = "def double(x): return scale * x"
TEST = """
check = checks.exercise("{name}", points=2)
with check("one", points=1):
    check.close({name}(torch.ones(3)), [2.0, 2.0, 2.0])
with check("two", points=1):
    x = torch.ones(3, requires_grad=True)
    {name}(x).sum().backward()
    check.close(x.grad, [2.0, 2.0, 2.0])
check.report()
"""


def labelled(name: str, source: str, **flags: object):
    label = {"grade_id": name, "grade": False, "solution": False, "locked": True, "task": False, "schema_version": 3} | flags
    return new_code_cell(source, id=name, metadata={"nbgrader": label, "dlcourse_defines": [name] if flags.get("solution") else []})


def scores(judge: str, **answers: str):
    cells = [labelled("setup", SETUP)]
    for name, source in answers.items():
        cells += [labelled(name, source, solution=True), labelled(f"test-{name}", TEST.format(name=name), grade=True, points=2)]
    notebook = new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}, cells=cells)
    error = {"ename": "CellTimeoutError", "evalue": "too long", "traceback": ["CellTimeoutError: too long"]}
    executed, _ = Execute(error_on_timeout=error, judge=judge, timeout=30, shutdown_kernel="immediate", sandbox="auto").preprocess(notebook, {})
    tests = [cell for cell in executed.cells if cell.id.startswith("test-")]
    found = [next((float(o.data["text/plain"]) for o in cell.outputs if o.output_type == "execute_result"), 0.0) for cell in tests]
    return found, ["".join(o.get("text", "") for o in cell.outputs) for cell in tests], Notes.of(executed)


def test_the_judge_has_limits_and_no_rights():
    source = """
import resource
print([resource.getrlimit(kind)[1] for kind in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE)])
print([line.split()[1] for line in open("/proc/self/status") if line.startswith(("CapEff", "NoNewPrivs"))])
"""
    judge = provisioner.Clerks.judge(())
    try:
        (printed,) = asyncio.run(judge.ask({"run": source}, None, 120))["outputs"]
    finally:
        judge.close()
    limits, rights = map(ast.literal_eval, printed["text"].splitlines())
    assert all(0 < limit < 2**40 for limit in limits)
    assert [int(value, 16) for value in rights] == [0, 1]


def test_a_judge_is_made_of_the_set_up_and_of_no_judge_before_it():
    for _ in range(2):
        judge = provisioner.Clerks.judge(("there = 1",))
        try:
            seen = asyncio.run(judge.ask({"run": "print(sorted({'there', 'mine'} & set(globals())))"}, None, 120))["outputs"]
            asyncio.run(judge.ask({"run": "mine = 2"}, None, 120))
        finally:
            judge.close()
        assert seen[0]["text"] == "['there']\n"


def test_a_clerk_that_was_killed_is_replaced():
    provisioner.Clerks.judge(()).close()
    server = psutil.Process(provisioner.Server.instance()._process.pid)
    for child in server.children():
        child.kill()
        child.wait(10)
    judge = provisioner.Clerks.judge(())
    try:
        assert asyncio.run(judge.ask({"run": "print(1)"}, None, 120))["outputs"][0]["text"] == "1\n"
    finally:
        judge.close()


def test_both_ways_give_the_same_scores_and_messages():
    answers = {
        "right": "def right(x): return scale * x",
        "wrong": "def wrong(x): return x.detach() + scale",
        "blank": "def blank(x): raise NotImplementedError",
    }
    together, apart = (scores(judge, **answers) for judge in ("in-process", "separate"))
    assert apart[:2] == together[:2]
    assert apart[0] == [2.0, 0.0, 0.0]
    assert apart[2].remarks == []
    assert (together[2].judge, apart[2].judge) == ("in-process", "separate")


@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), 11)", "globals().update(scale=1 / 0)"])
def test_a_process_that_ends_in_a_call_costs_its_exercise_and_no_other(end):
    found, messages, notes = scores("separate", bad=f"def bad(x): {end}", good="def good(x): return scale * x")
    assert found == [0.0, 2.0]
    assert "wrong one" in messages[0]
    assert [remark.exercise for remark in notes.remarks] == ([] if "scale" in end else ["bad"])


def test_a_judge_of_its_own_is_the_default(monkeypatch):
    monkeypatch.delenv("DLCOURSE_JUDGE", raising=False)
    assert Execute().judge == load_config(find_root()).Execute.judge == "separate"


def test_a_cheat_that_gets_full_marks_in_the_kernel_gets_none_from_outside():
    cheat = "from dlcourse_utils.checks.exercise import Exercise\nExercise.close = lambda *a, **k: None\ndef cheat(x): return x"
    assert scores("in-process", cheat=cheat)[0] == [2.0]
    assert scores("separate", cheat=cheat)[0] == [0.0]

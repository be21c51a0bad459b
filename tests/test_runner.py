"""The forked interpreters: a run is what a kernel would make of it, and nothing a notebook does gets out."""

from __future__ import annotations

import copy
import os
import re
import sys
from pathlib import Path

import minicourse
import nbformat
import psutil
import pytest
from nbgrader.preprocessors import Execute
from nbgrader.utils import determine_grade
from nbgrader.validator import Validator
from test_engine_sandbox import wait_for

from dlcourse_utils.instructor.course import CourseError, Lecture
from dlcourse_utils.instructor.runner import Job, Outcome, Runner, TestCell, namespace

META = '{{"grade": {grade}, "grade_id": "{id}", "locked": {locked}, {points}"schema_version": 3, "solution": {solution}, "task": false}}'

#: Test cells that put out something each in its own way.
OUTPUTS = {
    "print-and-number": 'print("a")\nprint("b")\n1.5',
    "number-hidden-by-semicolon": "1.5;",
    "nothing": "pass",
    "truth": "True",
    "text": '"fine"',
    "stderr": 'import sys\nprint("x", file=sys.stderr)\n1.5',
    "stderr-from-c": 'import os\n_ = os.write(2, b"raw\\n")',
    "warning": 'import warnings\nwarnings.warn("careful")',
    "error": 'print("before")\nraise ValueError("no")',
    "syntax-error": "def f(:",
    "display": 'from IPython.display import Markdown, display\ndisplay(Markdown("**m**"))\n0.5',
    "figure": "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()",
    "magic": "%env DLCOURSE_NONE=1",
    "magic-between-lines": "x = 2\n%env DLCOURSE_NONE=1\nx * 0.5",
    "semicolon": "x = 2\nx * 0.5;",
    "semicolon-before-a-comment": "x = 2\nx * 0.5;\n# fine",
    "semicolon-in-text": 'x = "a; b"\nx;  x = 2\nx * 0.5  # ;',
    "none": "None",
    "await": "import asyncio\nawait asyncio.sleep(0)\n1.0",
    "exit": "import sys\nsys.exit(1)",
}


def cell(name: str, source: str, points: int | None = None, *, solution: bool = False) -> str:
    meta = META.format(
        id=name,
        grade="true" if points else "false",
        locked="false" if solution else "true",
        points=f'"points": {points}, ' if points else "",
        solution="true" if solution else "false",
    )
    return f"# %% nbgrader={meta}\n{source}\n\n"


def lecture_of(root: Path, *cells: str) -> Lecture:
    folder = root / "course" / "source" / "01-own"
    folder.mkdir(parents=True)
    (folder / "01-own.py").write_text("".join(cells), encoding="utf-8")
    return Lecture(root, "01-own")


def seen(test: TestCell) -> tuple[float, str]:
    """The score and the message, without the name that a cell is compiled under, which has the kernel's process id and a hash in it."""
    return test.score, re.sub(r"(\S*/ipykernel_\d+/)?\d+\.py", "", test.message)


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Lecture:
    return Lecture(minicourse.write(tmp_path_factory.mktemp("mini")), minicourse.NAME)


@pytest.fixture
def impatient(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> Runner:
    monkeypatch.setattr(runner, "wall_seconds", 3)
    return runner


def test_cells_put_out_what_they_put_out_in_a_kernel(runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # where it is set, ipykernel does not capture what C code writes
    cells = [cell(f"test-answer-{number}", source, 2) for number, source in enumerate(OUTPUTS.values(), start=1)]
    lecture = lecture_of(tmp_path, cell("answer", "def answer(): ...", solution=True), *cells)
    (outcome,) = runner.run(lecture, [Job()])

    kernel = copy.deepcopy(lecture.notebook)
    Execute(timeout=60, allow_errors=True).preprocess(kernel, {"metadata": {"path": str(tmp_path)}})
    in_kernel = {str(c.id): TestCell(c, reached=True) for c in kernel.cells[1:]}

    for (kind, _), name in zip(OUTPUTS.items(), in_kernel, strict=True):
        assert seen(outcome.tests[name]) == seen(in_kernel[name]), kind
        assert [o.output_type for o in outcome.tests[name].cell.outputs] == [o.output_type for o in in_kernel[name].cell.outputs], kind


def test_a_case_gets_the_score_and_the_message_that_a_kernel_and_the_validator_give(runner: Runner, mini: Lecture, tmp_path: Path) -> None:
    answer = "def mean(numbers):\n    print('noise')\n    return sum(numbers)"
    (outcome,) = runner.run(mini, [Job({"mean": answer}, seed=0)])

    notebook = copy.deepcopy(mini.notebook)
    next(c for c in notebook.cells if c.id == "mean")["source"] = answer
    nbformat.write(notebook, tmp_path / "handed-in.ipynb")
    Execute(timeout=60, allow_errors=True).preprocess(notebook, {"metadata": {"path": str(tmp_path)}})
    in_kernel = {str(c.id): TestCell(c, reached=True) for c in notebook.cells if c.id in outcome.tests}

    assert {name: seen(test) for name, test in outcome.tests.items()} == {name: seen(test) for name, test in in_kernel.items()}
    assert outcome.lost(["test-mean"]) == 4

    failed = Validator().validate(str(tmp_path / "handed-in.ipynb"))["failed"]
    assert [f["source"].strip() for f in failed] == [in_kernel["test-mean"].cell.source.strip()]


def test_only_what_no_test_needs_is_left_out(runner: Runner, tmp_path: Path) -> None:
    lecture = lecture_of(
        tmp_path,
        cell("setup", "ran = ['setup']"),
        *(cell(f"{kind}-x", f"ran.append('{kind}')") for kind in ("figure", "experiment", "widget")),
        cell("first", "ran.append('first')", solution=True),
        cell("setup-late", "ran.append('late')"),
        cell("second", "ran.append('second')", solution=True),
        cell("test-second", "print(*ran)", 1),
    )
    first, second, nothing = runner.run(lecture, [Job({"first": "ran.append('other')"}), Job({"second": "ran.append('new')"}), Job()])
    assert first.message(["test-second"]) == "setup other late second"
    assert second.message(["test-second"]) == "setup first late new"
    assert nothing.message(["test-second"]) == "setup first late second"


def test_a_job_runs_its_own_tests_those_that_see_the_answer_or_all(runner: Runner, tmp_path: Path) -> None:
    lecture = lecture_of(
        tmp_path,
        "# %% [markdown]\n"
        + "".join(f"# Exercise 1.1 · `{name}` (1 point · difficulty 1 of 5 · about 1 minutes)\n" for name in ("first", "second", "third"))
        + "\n",
        cell("first", "def first(): return 1", solution=True),
        cell("test-first", "print('first')", 1),
        cell("second", "def second(): return first()", solution=True),
        cell("test-second", "print(second())", 1),
        cell("third", "def third(): return 3", solution=True),
        cell("test-third", "print(third())", 1),
    )
    answer = {"first": "def first(): return 7"}
    own, some, every = runner.run(lecture, [Job(answer, scope="own"), Job(answer, scope="seen"), Job(answer)])
    assert list(own.tests) == ["test-first"]
    assert list(some.tests) == ["test-first", "test-second"]
    assert some.message(["test-second"]) == "7"
    assert (own.lost(), some.lost(), every.lost()) == (0, 0, 0)
    assert list(every.tests) == ["test-first", "test-second", "test-third"]


def test_a_run_is_decided_by_its_seed(runner: Runner, tmp_path: Path) -> None:
    draw = "import os, random, numpy, torch\nprint(os.environ['DLCOURSE_SEED'], random.random(), numpy.random.rand(), torch.rand(()).item())"
    lecture = lecture_of(tmp_path, cell("answer", "x = 1", solution=True), cell("test-answer", draw, 1))
    one, again, other = (o.message(["test-answer"]).split() for o in runner.run(lecture, [Job(seed=1), Job(seed=1), Job(seed=2)]))
    assert one == again
    assert one[0] == "1"
    assert other[0] == "2"
    assert not set(one) & set(other)


def test_a_job_can_have_more_threads(runner: Runner, tmp_path: Path) -> None:
    count = "import torch\n(torch.ones(300, 300) @ torch.ones(300, 300)).sum()\nprint(torch.get_num_threads())"
    lecture = lecture_of(
        tmp_path, cell("setup", "import torch\ntorch.set_num_threads(1)"), cell("answer", "x = 1", solution=True), cell("test-answer", count, 1)
    )
    assert [o.message(["test-answer"]) for o in runner.run(lecture, [Job(), Job(threads=2), Job()])] == ["1", "2", "1"]


def test_a_brief_job_ends_at_the_first_check_that_fails_with_what_it_says(runner: Runner, mini: Lecture) -> None:
    (outcome,) = runner.run(mini, [Job({"mean": "def mean(numbers):\n    return sum(numbers)"}, brief=True)])
    assert outcome.lost() == 7
    assert not outcome.tests["test-spread"].reached
    assert outcome.message(["test-mean"]).startswith("Stopped: three numbers\n")
    assert outcome.message(["test-mean"]).endswith("Divide it by how many numbers there are.")
    assert [output.traceback for output in outcome.tests["test-mean"].cell.outputs] == [[]]
    (outcome,) = runner.run(mini, [Job(brief=True)])
    assert outcome.lost() == 0


def test_jobs_do_not_see_each_other(runner: Runner, tmp_path: Path) -> None:
    leave = "import os, builtins\nopen('left', 'w').close()\nbuiltins.left = True"
    look = "import os, builtins\nprint(os.path.exists('left'), hasattr(builtins, 'left'))"
    lecture = lecture_of(tmp_path, cell("answer", "pass", solution=True), cell("test-answer", look, 1))
    outcomes = runner.run(lecture, [Job({"answer": leave}), Job(), Job({"answer": leave}), Job()])
    assert [outcome.message(["test-answer"]) for outcome in outcomes] == ["True True", "False False"] * 2


@pytest.mark.parametrize(
    ("answer", "ended"),
    [
        ("while True: pass", "timed out after 3 s in cell 'answer'"),
        ("import os\nos._exit(0)", "left the interpreter with exit status 0 in cell 'answer'"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "died with signal SIGSEGV in cell 'answer'"),
        ("import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(1000)", "timed out after 3 s in cell 'answer'"),
    ],
    ids=["hangs", "exits", "crashes", "sleeps"],
)
def test_an_answer_that_ends_its_process_is_a_verdict(impatient: Runner, tmp_path: Path, answer: str, ended: str) -> None:
    lecture = lecture_of(tmp_path, cell("answer", "x = 1", solution=True), cell("test-answer", "pass", 2))
    bad, good = impatient.run(lecture, [Job({"answer": answer}), Job()])
    assert (bad.ended, bad.lost()) == (ended, 2)
    assert (good.ended, good.lost()) == ("", 0)


def test_what_an_answer_starts_ends_with_it(impatient: Runner, tmp_path: Path) -> None:
    lecture = lecture_of(tmp_path, cell("answer", "x = 1", solution=True), cell("test-answer", "pass", 2))
    sleeper = "import subprocess\nsubprocess.Popen(['sleep', '1000'])"
    before = set(psutil.Process().children(recursive=True))
    for outcome in impatient.run(lecture, [Job({"answer": sleeper}), Job({"answer": sleeper + "\nwhile True: pass"})]):
        assert isinstance(outcome, Outcome)
    assert set(psutil.Process().children(recursive=True)) == before
    assert not [p for p in psutil.process_iter(["cmdline", "status"]) if p.info["cmdline"] == ["sleep", "1000"] and p.info["status"] != "zombie"]


def test_leaving_early_leaves_nothing_behind(tmp_path: Path) -> None:
    lecture = lecture_of(tmp_path, cell("answer", "x = 1", solution=True), cell("test-answer", "pass", 2))
    before = set(psutil.Process().children(recursive=True))
    with Runner() as runner:
        folder = Path(runner._folder.name)
        results = runner.results(lecture, [Job(), *[Job({"answer": "import time; time.sleep(1000)"})] * 3])
        assert next(results)[0] == 0
        results.close()
    assert set(psutil.Process().children(recursive=True)) == before
    assert not folder.exists()


def test_an_owner_that_is_killed_takes_its_interpreters_along(tmp_path: Path) -> None:
    lecture_of(tmp_path, cell("answer", "x = 1", solution=True), cell("test-answer", "pass", 2))
    code = f"""
from pathlib import Path
from dlcourse_utils.instructor.course import Lecture
from dlcourse_utils.instructor.runner import Job, Runner
sleeper = "import time; Path('started').touch(); time.sleep(1000)".replace("Path", "__import__('pathlib').Path")
Runner(workers=1).run(Lecture(Path({str(tmp_path)!r}), "01-own"), [Job({{"answer": sleeper}})] * 3)
"""
    owner = psutil.Popen([sys.executable, "-c", code], env=os.environ | {"TMPDIR": str(tmp_path)})
    try:
        assert wait_for(lambda: any(tmp_path.glob("dlcourse-cases-*/*/started")), 60)
        started = owner.children(recursive=True)
    finally:
        owner.kill()
        owner.wait()
    assert len(started) >= 3  # the warm interpreter, one for the lecture, one for the job
    _, alive = psutil.wait_procs(started, timeout=20)
    assert alive == []


def test_an_unknown_exercise_is_named(runner: Runner, mini: Lecture) -> None:
    with pytest.raises(CourseError, match=r"01-mini\.py: there is no exercise 'median'"):
        runner.run(mini, [Job({"median": "pass"})])


def test_a_lecture_that_fails_by_itself_is_named_with_its_cell(runner: Runner, tmp_path: Path) -> None:
    lecture = lecture_of(tmp_path, cell("setup", "1 / 0"), cell("answer", "x = 1", solution=True), cell("test-answer", "pass", 2))
    with pytest.raises(CourseError, match=r"01-own\.py: the cell 'setup' fails .* ZeroDivisionError"):
        runner.run(lecture, [Job()])


def test_more_points_than_the_cell_has_are_an_error_of_the_lecture(runner: Runner, tmp_path: Path) -> None:
    lecture = lecture_of(tmp_path, cell("answer", "x = 1", solution=True), cell("test-answer", "3.0", 2))
    (outcome,) = runner.run(lecture, [Job()])
    with pytest.raises(CourseError, match="'test-answer' gives more points"):
        outcome.lost()


def test_nbgrader_reads_the_scores(runner: Runner, mini: Lecture) -> None:
    (outcome,) = runner.run(mini, [Job({"spread": "def spread(numbers):\n    return 1.0"})])
    test = outcome.tests["test-spread"]
    assert test.score == determine_grade(test.cell)[0] == 1
    assert outcome.lost() == 2


def test_an_experiment_can_be_called_with_other_seeds(mini: Lecture) -> None:
    names = namespace(mini, include=["experiment-dice"])
    assert names["strays"](seed=5) != names["strays"](seed=6)
    assert "picture" not in names
    with pytest.raises(CourseError, match="no cell 'experiment-cards'"):
        namespace(mini, include=["experiment-cards"])

"""Right answers in other dresses: they compute what they computed, and a grader that minds the dress is noticed."""

from __future__ import annotations

import contextlib
import inspect
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import minicourse
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlcourse_utils.instructor import cli
from dlcourse_utils.instructor.cases import explain, judge, parse
from dlcourse_utils.instructor.course import Lecture, find_root, lectures
from dlcourse_utils.instructor.fair import fair, noise, sample, style
from dlcourse_utils.instructor.runner import Job, Runner

LECTURES = lectures(find_root(Path(__file__).parent))

#: Names that are easily renamed wrongly: parameters, globals, closures, comprehensions, exceptions, attributes.
TANGLED = '''
import math
UNIT = 2

def other(first, second=0):
    return first - second

def answer(x: float, scale: float = 1.0, *rest, power=1, **more) -> float:
    """What it gives."""
    total = n = 0
    def add(x):
        nonlocal total
        total += x * UNIT
        inner = [n + total for n in range(2) if (seen := n) >= 0]
        return inner, seen
    add(scale)
    try:
        total / n
    except ZeroDivisionError as error:
        reason = str(error)
    class Box:
        total = 5
        def get(self, total=1):
            return total + Box.total
    import statistics as s
    f = lambda total: total + x
    return [total, n, reason, Box().get(), s.mean([x, scale]), f(3), other(x, scale), math.floor(x), rest, power, more]
'''


def run(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(code, names)
    return names


@pytest.mark.parametrize("dress", [style, noise])
@given(x=st.floats(-9, 9), scale=st.floats(0.5, 9))
def test_an_answer_in_another_dress_computes_what_it_computed(dress: Callable[[str], str], x: float, scale: float) -> None:
    with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        dressed, plain = (run(code)["answer"] for code in (dress(TANGLED), TANGLED))
        for arguments, keywords in (((x,), {}), ((x, scale, 7, 8), {"power": 3, "more": 1}), ((), {"scale": scale, "x": x})):
            assert dressed(*arguments, **keywords) == plain(*arguments, **keywords)


def test_style_renames_local_variables_and_nothing_that_others_see() -> None:
    text = style(TANGLED)
    assert "reason_own = str(error)" in text
    assert "inner_own = [" in text
    assert list(inspect.signature(run(text)["answer"]).parameters) == ["x", "scale", "rest", "power", "more"]


def test_style_renames_in_methods_and_leaves_attributes_and_fields() -> None:
    text = style("class A:\n    size: int = 1\n    def f(self, x):\n        half = x / 2\n        self.half = half\n        return half\n")
    assert "size: int = 1" in text
    assert "self.half = half_own" in text


def test_style_passes_the_arguments_of_other_answers_by_keyword() -> None:
    known = {"mean": ["numbers", "weights"]}
    assert "mean(numbers=x, weights=2)" in style("def f(x):\n    return mean(x, 2)\n", known)
    assert "mean(*x)" in style("def f(x):\n    return mean(*x)\n", known)
    assert "mean(x)" in style("def f(mean, x):\n    return mean(x)\n", known)


def test_style_takes_annotations_off_and_puts_them_where_there_are_none() -> None:
    assert str(inspect.signature(run(style("def f(x: int, y=1) -> int:\n    return x\n"))["f"])) == "(x, y=1)"
    assert "def f(x: object):" in style("def f(x):\n    return x\n")


def test_style_lets_a_helper_do_the_work() -> None:
    names = run(style("def f(x):\n    return f(x - 1) if x else 'end'\n"))
    assert {"f", "f_own"} <= names.keys()
    assert names["f"](3) == "end"


def test_noise_talks_on_every_channel_imports_again_and_stands_there_twice(capsys: pytest.CaptureFixture[str]) -> None:
    text = noise("import os\nimport math\n\ndef f(x):\n    return math.floor(x)\n", ["import json", "import re"])
    assert text.count("def f(x):") == 2
    assert [line for line in text.splitlines() if line.startswith("import")] == ["import re", "import json", "import math", "import os"] * 2
    with pytest.warns(UserWarning, match="called"):
        assert run(text)["f"](1.5) == 1
    out, err = capsys.readouterr()
    assert out.count("called") == err.count("called\n") == 3  # twice as the cell runs, once by the function


def test_the_sample_is_the_same_every_time(tmp_path: Path) -> None:
    lecture = Lecture(minicourse.write(tmp_path), minicourse.NAME)
    everything = fair(lecture, parse(lecture.cases, ["mean", "spread"]))
    assert len(everything) == 8
    assert sample(everything, 3) == sample(everything[::-1], 3)


def test_a_grader_that_minds_the_dress_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    source = minicourse.SOURCE.replace("check.use(mean=lambda numbers: sum(numbers) / len(numbers))", "check.use(mean=lambda x: sum(x) / len(x))")
    monkeypatch.chdir(minicourse.write(tmp_path, source=source))
    assert cli.main(["cases", "--fair", "--exercise", "spread", "--report", "report"]) == 1
    out = capsys.readouterr().out
    assert "fair | spread | the solution, in another style" in out
    assert "fair | spread | by the mean of the squares, in another style" in out
    assert "with noise" not in out
    assert "5 of 7 cases as deserved" in out


@pytest.mark.parametrize("lecture", LECTURES, ids=lambda lecture: lecture.name)
def test_a_sample_of_right_answers_in_other_dresses_loses_nothing(runner: Runner, lecture: Lecture) -> None:
    cases = sample(fair(lecture, parse(lecture.cases, [exercise.id for exercise in lecture.exercises])), 6)
    outcomes = runner.run(lecture, [Job({case.exercise: case.code}, scope="own") for case in cases])
    verdicts = [judge(lecture, case, outcome) for case, outcome in zip(cases, outcomes, strict=True)]
    failed = [explain(lecture, case, verdict) for case, verdict in zip(cases, verdicts, strict=True) if not verdict.ok]
    assert not failed, "\n\n".join(failed)

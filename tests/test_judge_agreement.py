"""Judged in the answers' interpreter or from outside: every case of every lecture gets the same score and is told the same."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace

import pytest

from dlcourse_utils.instructor.cases import Case, blanks, parse
from dlcourse_utils.instructor.course import Lecture, find_root, lectures
from dlcourse_utils.instructor.runner import Job, Outcome, Runner

LECTURES = lectures(find_root())
#: Exercises that take no time: sparse matrices; buffers and modes of a module; gradients; a function that the test hands over.
SAMPLE = {"03": "toeplitz", "04": "batch_norm2d", "05": "layer_norm", "09": "guided"}
#: Processor seconds of a solved notebook.
MOST = 300.0


def cases(lecture: Lecture) -> list[Case]:
    """All that a lecture's graders are proven with."""
    return [*parse(lecture.cases, [exercise.id for exercise in lecture.exercises]), *blanks(lecture)]


def disagreements(runner: Runner, lecture: Lecture, jobs: Sequence[Job]) -> list[str]:
    """What differs between the two ways, for each job."""
    outcomes = runner.run(lecture, [each for job in jobs for each in (job, replace(job, judge="separate"))])
    return [text for together, apart in zip(outcomes[::2], outcomes[1::2], strict=True) if (text := difference(together, apart))]


def difference(together: Outcome, apart: Outcome) -> str:
    """Where two outcomes differ, in words; empty where they do not."""
    mine, other = (
        [line for id, test in outcome.tests.items() for line in (f"{id} {test.score}", *test.message.splitlines())] + [outcome.ended, *outcome.errors]
        for outcome in (together, apart)
    )
    return "\n".join(difflib.unified_diff(mine, other, "in one interpreter", "from outside", lineterm="", n=2))


@pytest.mark.parametrize(("number", "exercise"), SAMPLE.items())
def test_some_cases_get_the_same_either_way(runner, number, exercise):
    (lecture,) = lectures(find_root(), [number])
    chosen = [case for case in cases(lecture) if case.exercise == exercise]
    assert disagreements(runner, lecture, [Job({case.exercise: case.code}, scope="own") for case in chosen[:: max(1, len(chosen) // 4)]]) == []


def test_a_difference_is_told(runner):
    (lecture,) = lectures(find_root(), ["05"])
    right, wrong = runner.run(lecture, [Job({"layer_norm": code}, scope="own") for code in (solution(lecture), "def layer_norm(x, g, b, eps=1e-5): return x")])
    assert difference(right, right) == ""
    assert "-test-layer_norm 2.0\n" in difference(right, wrong)


def solution(lecture: Lecture) -> str:
    return next(str(cell.source) for cell in lecture.notebook.cells if cell.id == "layer_norm")


@pytest.mark.proof
@pytest.mark.parametrize("lecture", LECTURES, ids=lambda lecture: lecture.name)
def test_every_case_and_the_solved_notebook_get_the_same_either_way(runner, lecture):
    jobs = [Job(seconds=MOST), *(Job({case.exercise: case.code}, scope="own") for case in cases(lecture))]
    assert disagreements(runner, lecture, jobs) == []

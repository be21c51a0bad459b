"""Answers that compute nothing, tried on every exercise: no hidden check may pass for one of them. ``hollow`` makes them."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import Literal

from tqdm import tqdm

from dlcourse_utils.instructor.course import Exercise, Lecture
from dlcourse_utils.instructor.hollow import KINDS
from dlcourse_utils.instructor.regions import HIDDEN_TESTS, split, stubbed
from dlcourse_utils.instructor.runner import Job, Outcome, Runner


@dataclass(frozen=True)
class ConstantVerdict:
    """What an answer that computes nothing got. ``passed`` names the hidden checks that it passed; ``seconds`` is processor time."""

    lecture: str
    exercise: str
    case: str
    kind: Literal["constant"]
    score: float
    passed: tuple[str, ...]
    seconds: float
    ok: bool


def try_constants(runner: Runner, lecture: Lecture, only: str | None = None, *, seed: int = 0, progress: bool = False) -> list[ConstantVerdict]:
    """Run the real test cells of each exercise against answers that compute nothing.

    Args:
        runner: what runs them.
        lecture: whose graders are tried.
        only: the one exercise to try; all by default.
        seed: the grading seed.
        progress: show a bar.
    """
    cells = {cell.id: cell.source for cell in lecture.notebook.cells}
    chosen = [exercise for exercise in lecture.exercises if only in (None, exercise.id)]
    tried = [(exercise, kind) for exercise in chosen for kind in KINDS if kind != "the visible answers" or _depends(cells[exercise.id])]
    jobs = [Job({exercise.id: _answer(exercise, kind, cells)}, seed, "own") for exercise, kind in tried]
    bar = tqdm(runner.results(lecture, jobs), desc=lecture.name, total=len(jobs), unit="constant", disable=None if progress else True)
    outcomes = dict(bar)
    return [_judge(lecture, *tried[number], outcomes[number], cells) for number in range(len(jobs))]


def _asked(source: str) -> list[ast.FunctionDef | ast.ClassDef]:
    """What a solution cell asks students to write."""
    return [node for node in ast.parse(stubbed(source)).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]


def _depends(source: str) -> bool:
    """Whether an answer depends on anything: to know by heart what a function without arguments gives is to answer it."""
    return any(isinstance(node, ast.ClassDef) or bool(ast.unparse(node.args)) for node in _asked(source))


def _answer(exercise: Exercise, kind: str, cells: dict[str, str]) -> str:
    """The solution cell, followed by what exchanges its names."""
    names = [node.name for node in _asked(cells[exercise.id])]
    lines = [cells[exercise.id], "from dlcourse_utils.instructor import hollow as _hollow"]
    if kind == "the visible answers":
        lines += [f"{name} = _hollow.by_heart({name})" for name in names]
        lines += [_visible(cells[test]).replace("check.report()", "") for test in exercise.test_ids]
        lines += ["_hollow.Lookup.learning = False"]
    else:
        lines += [f"{name} = _hollow.constant({kind!r}, {name})" for name in names]
    return "\n".join(lines)


def _visible(test: str) -> str:
    return "\n".join(split(test, HIDDEN_TESTS)[0])


def _judge(lecture: Lecture, exercise: Exercise, kind: str, outcome: Outcome, cells: dict[str, str]) -> ConstantVerdict:
    shown = re.compile("|".join(name for test in exercise.test_ids for name in _check_names(_visible(cells[test]))) or r"(?!)")
    passed = re.findall(r"^  ok    (.*)$", outcome.message(exercise.test_ids), re.MULTILINE)
    hidden = tuple(name for name in passed if not shown.fullmatch(name))
    score = exercise.points - outcome.lost(exercise.test_ids)
    return ConstantVerdict(lecture.name, exercise.id, kind, "constant", score, hidden, outcome.cpu_seconds, not hidden)


def _check_names(source: str) -> list[str]:
    """Patterns of the names of the checks in a piece of a test cell."""
    calls = [item.context_expr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.With) for item in node.items]
    names = [call.args[0] for call in calls if isinstance(call, ast.Call) and ast.unparse(call.func) == "check" and call.args]
    parts = [name.values if isinstance(name, ast.JoinedStr) else [name] for name in names]
    return ["".join(re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".*" for part in name) for name in parts]


def explain(verdict: ConstantVerdict) -> str:
    """For an answer that computes nothing and yet passed: what it passed, and the cure."""
    checks = "".join(f"\n    {name}" for name in verdict.passed)
    return f"{verdict.lecture}: constant | {verdict.exercise} | {verdict.case}\n  It passes these hidden checks; let each also compare a result:{checks}"

"""Cases: the right and the wrong answers in ``cases.py`` that the graders are proven with.

Each case is put into the otherwise solved notebook and the real test cells judge it. A wrong answer must lose points in its own exercise,
nowhere else, and be told its hint; a right one must lose nothing; a blank one scores nothing in its own exercise and costs nothing elsewhere.

What a blank answer does not touch, no answer does: it fails whoever calls it. So the later tests run for it alone, unless asked otherwise.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from nbgrader.preprocessors import ClearSolutions
from tqdm import tqdm
from traitlets.config.loader import Config, PyFileConfigLoader

from dlcourse_utils.instructor.course import CourseError, Exercise, Lecture
from dlcourse_utils.instructor.runner import Job, Judge, Outcome, Runner, Scope

Kind = Literal["wrong", "right", "blank", "fair"]
KINDS = get_args(Kind)

_CELL = re.compile(r"# %%(?P<header>.*)")
_HINT = re.compile(r"# hint:(?P<hint>.*)")
#: How a case begins.
FORM = "Write '# %% wrong | exercise | name' or '# %% right | exercise | name'."


@dataclass(frozen=True)
class Case:
    """One answer to prove a grader with. ``hint`` is empty unless it is wrong; ``place`` is "file:line"; a fair one is a right one in another dress."""

    exercise: str
    name: str
    kind: Kind
    code: str
    place: str
    hint: str = ""


@dataclass(frozen=True)
class Verdict:
    """What a case got, and whether it deserved it. ``seconds`` is processor time."""

    lecture: str
    exercise: str
    case: str
    kind: Kind
    lost_here: float
    lost_elsewhere: float
    message: str
    seconds: float
    ok: bool


def parse(path: Path, exercises: Collection[str]) -> list[Case]:
    """Read a file of cases.

    Args:
        path: the file; each cell starts with ``# %% wrong | exercise | name`` or ``# %% right | exercise | name``.
        exercises: the ids that a case may name.

    Raises:
        CourseError: the file or a cell of it is not in that form; the message has the file, the line and the cure.
    """
    if not path.is_file():
        raise CourseError(f"{path}: no such file. It holds the answers that the lecture's graders are proven with. {FORM}")
    cases: list[Case] = []
    for line, header, body in _cells(path):
        case = _case(path, line, header, body, exercises)
        twin = next((other for other in cases if (other.exercise, other.name) == (case.exercise, case.name)), None)
        if twin:
            raise CourseError(f"{case.place}: '{case.exercise}' has a case called '{case.name}' already, at {twin.place}. Give one another name.")
        cases.append(case)
    return cases


def _cells(path: Path) -> Iterator[tuple[int, str, str]]:
    """The (line number, header, code) of each case; comments may stand before them and in markdown cells."""
    lines = path.read_text(encoding="utf-8").splitlines()
    starts = [number for number, line in enumerate(lines) if _CELL.match(line)]
    for start, end in zip([-1, *starts], [*starts, len(lines)], strict=True):  # -1: what stands before the first cell
        match = _CELL.match(lines[start]) if start >= 0 else None
        header = match["header"].strip() if match else "[markdown]"
        body = "\n".join(lines[start + 1 : end])
        if not header.startswith("[markdown]"):
            yield start + 1, header, body
        elif stray := [statement.lineno for statement in _syntax(body, path, start + 1).body if not _is_text(statement)]:
            raise CourseError(f"{path}:{stray[0]}: this code belongs to no case, and it would never run. Move it into a case. {FORM}")


def _case(path: Path, line: int, header: str, body: str, exercises: Collection[str]) -> Case:
    place = f"{path}:{line}"
    parts = [part.strip() for part in header.split("|")]
    if len(parts) != 3 or not all(parts):
        raise CourseError(f"{place}: '# %% {header}' is no case. {FORM}")
    kind, exercise, name = parts
    if kind not in ("wrong", "right"):
        raise CourseError(f"{place}: '{kind}' is no kind of case; there are wrong and right. {FORM}")
    if exercise not in exercises:
        raise CourseError(f"{place}: there is no exercise '{exercise}'. There are: {', '.join(exercises)}.")
    hints = []
    for text in body.lstrip("\n").splitlines():
        match = _HINT.match(text)
        if not match:
            break
        hints.append(match["hint"].strip())
    hint = " ".join(hints)
    if kind == "wrong" and not hint:
        raise CourseError(f"{place}: the wrong case '{name}' has no hint. Start it with '# hint: …', a part of the message that must be shown for it.")
    if kind == "right" and hints:
        raise CourseError(f"{place}: the right case '{name}' has a hint, but no message is shown for it. Take the hint out, or call the case wrong.")
    if not _syntax(body, path, line).body:
        raise CourseError(f"{place}: the case '{name}' is empty. Write the whole solution cell; a blank answer is tried by itself.")
    return Case(exercise, name, "wrong" if kind == "wrong" else "right", body.strip("\n") + "\n", place, hint)


def _syntax(code: str, path: Path, above: int) -> ast.Module:
    """Parse code that stands below ``above`` lines of a file."""
    try:
        return ast.parse("\n" * above + code, filename=str(path))
    except SyntaxError as error:
        raise CourseError(f"{path}:{error.lineno}: Python cannot read this case: {error.msg}. Mend the line; it is {(error.text or '').strip()!r}.") from error


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def blanks(lecture: Lecture) -> list[Case]:
    """What each exercise's cell holds before a student has touched it, by nbgrader's own hand."""
    config = Config()
    if (lecture.root / "course" / "nbgrader_config.py").is_file():
        config = PyFileConfigLoader("nbgrader_config.py", path=str(lecture.root / "course")).load_config()
    notebook, _ = ClearSolutions(config=config).preprocess(copy.deepcopy(lecture.notebook), {})
    stubs = {cell.id: cell.source for cell in notebook.cells}
    return [Case(exercise.id, "blank", "blank", stubs[exercise.id], str(lecture.source)) for exercise in lecture.exercises]


def judge(lecture: Lecture, case: Case, outcome: Outcome) -> Verdict:
    """Whether the case got what it deserves."""
    exercise = _exercise(lecture, case)
    lost_here = outcome.lost(exercise.test_ids)
    lost_elsewhere = round(outcome.lost() - lost_here, 6)
    told = outcome.message(exercise.test_ids)
    deserved = {
        "wrong": lost_here > 0 and _plain(case.hint) in _plain(told),
        "right": lost_here == 0,
        "fair": lost_here == 0,
        "blank": lost_here == exercise.points,
    }[case.kind]
    message = "\n".join(part for part in (told, *outcome.errors, outcome.ended) if part)
    ok = deserved and lost_elsewhere == 0 and not outcome.ended
    return Verdict(lecture.name, case.exercise, case.name, case.kind, lost_here, lost_elsewhere, message, outcome.cpu_seconds, ok)


def _exercise(lecture: Lecture, case: Case) -> Exercise:
    return next(exercise for exercise in lecture.exercises if exercise.id == case.exercise)


def _plain(text: str) -> str:
    return " ".join(text.split())


def prove(
    runner: Runner, lecture: Lecture, cases: Sequence[Case], *, seed: int = 0, thorough: bool = False, judging: Judge = "in-process", progress: bool = False
) -> tuple[Outcome, list[Verdict]]:
    """Try the reference solutions and every case.

    Args:
        runner: what runs them.
        lecture: whose graders are tried.
        cases: the answers.
        seed: the grading seed.
        thorough: run the later tests that a name leads to from the answer for every case, not only for the blank ones.
        judging: where test cells run.
        progress: show a bar.

    Returns:
        The reference's outcome, which must have lost nothing, and the verdicts in the order of ``cases``.

    Raises:
        CourseError: the lecture's own cells fail, before any test.
    """
    scopes: list[Scope] = ["seen" if case.kind == "blank" or (thorough and case.kind != "fair") else "own" for case in cases]
    jobs = [Job(seed=seed, judge=judging), *(Job({case.exercise: case.code}, seed, scope, judge=judging) for case, scope in zip(cases, scopes, strict=True))]
    results = runner.results(lecture, jobs)
    outcomes = dict(tqdm(results, desc=lecture.name, total=len(jobs), unit="case", disable=None if progress else True))
    return outcomes[0], [judge(lecture, case, outcomes[number]) for number, case in enumerate(cases, start=1)]


def explain(lecture: Lecture, case: Case, verdict: Verdict) -> str:
    """For a case that failed: what was expected, what came, and the message it got."""
    points = _exercise(lecture, case).points
    expected = {
        "wrong": f"some of {points:g} points lost here, none elsewhere, and a message with: {_plain(case.hint)}",
        "right": "no points lost",
        "fair": "no points lost",
        "blank": f"all {points:g} points lost here, none elsewhere",
    }[case.kind]
    told = "\n".join(f"    {line}" for line in verdict.message.splitlines()) or "    (nothing)"
    return (
        f"{case.place}: {case.kind} | {case.exercise} | {case.name}\n"
        f"  expected: {expected}\n"
        f"  came:     {verdict.lost_here:g} lost here, {verdict.lost_elsewhere:g} elsewhere\n"
        f"  message:\n{told}"
    )

"""The page on which an instructor reads what the graders have been proven with: figures an exercise, and what survived and why it may."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

from dlcourse_utils.instructor.cases import Verdict
from dlcourse_utils.instructor.course import CourseError, Lecture
from dlcourse_utils.instructor.survivors import MutantVerdict

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; background: #fff }
table { border-collapse: collapse; width: 100% } th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #ccc }
th:first-child, td:first-child { text-align: left } caption { text-align: left; font-weight: bold; padding: 1.5rem 0 .5rem }
code { font-size: .85em; overflow-wrap: anywhere } dt { margin-top: .8rem }
"""
_HEADINGS = ("exercise", "wrong, caught", "right", "fair", "false fails", "mutants", "killed", "equivalent", "survived", "kill rate", "CPU seconds")


@dataclass(frozen=True)
class Row:
    """The figures of one exercise. ``kill_rate`` is of the mutants that are not equivalent, None where none was tried."""

    lecture: str
    exercise: str
    wrong: int
    caught: int
    right: int
    fair: int
    false_fails: int
    mutants: int
    killed: int
    equivalent: int
    survived: int
    kill_rate: float | None
    seconds: float


def rows(lectures: Sequence[Lecture], verdicts: Sequence[Verdict], fates: Sequence[MutantVerdict]) -> list[Row]:
    """One row for each exercise that was tried, in the order of the course."""
    found = []
    for lecture in lectures:
        for exercise in lecture.exercises:
            named = [verdict for verdict in verdicts if (verdict.lecture, verdict.exercise) == (lecture.name, exercise.id)]
            met = [fate for fate in fates if (fate.lecture, fate.exercise) == (lecture.name, exercise.id)]
            wrong, right, fair = ([verdict for verdict in named if verdict.kind == kind] for kind in ("wrong", "right", "fair"))
            killed, equivalent = sum(fate.fate in ("killed", "timed out") for fate in met), sum(fate.fate == "equivalent" for fate in met)
            seconds = sum(verdict.seconds for verdict in named) + sum(fate.seconds for fate in met)
            countable = len(met) - equivalent
            if named:
                found.append(
                    Row(
                        lecture=lecture.name,
                        exercise=exercise.id,
                        wrong=len(wrong),
                        caught=sum(verdict.ok for verdict in wrong),
                        right=len(right),
                        fair=len(fair),
                        false_fails=sum(not verdict.ok for verdict in (*right, *fair)),
                        mutants=len(met),
                        killed=killed,
                        equivalent=equivalent,
                        survived=countable - killed,
                        kill_rate=killed / countable if countable else None,
                        seconds=round(seconds, 2),
                    )
                )
    return found


def write(folder: Path, lectures: Sequence[Lecture], verdicts: Sequence[Verdict], fates: Sequence[MutantVerdict], summary: dict[str, Any]) -> None:
    """Write ``report.html`` and ``report.json`` into ``folder``, which is made where it is missing.

    Raises:
        CourseError: it cannot be written there.
    """
    table = rows(lectures, verdicts, fates)
    alive = [fate for fate in fates if fate.fate in ("equivalent", "survived")]
    report = {"summary": summary, "exercises": [asdict(row) for row in table], "survivors": [asdict(fate) for fate in alive]}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (folder / "report.html").write_text("\n".join(_page(table, alive, summary)) + "\n", encoding="utf-8")
    except OSError as error:
        raise CourseError(f"{folder}: cannot write the report here: {error.strerror}. Name another folder.") from error


def _page(table: Sequence[Row], alive: Sequence[MutantVerdict], summary: dict[str, Any]) -> Iterator[str]:
    yield '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    yield f"<title>What the graders are proven with</title><style>{_STYLE}</style></head>\n<body>\n<h1>What the graders are proven with</h1>"
    yield (
        f"<p>{summary['lectures']} lectures, {summary['exercises']} exercises, grading seed {summary['seed']}. "
        f"{summary['ok']} of {summary['cases']} named answers got what they deserve. Of {summary['mutants']} mutants {summary['killed']} were killed "
        f"({summary['timed_out']} by the clock), {summary['equivalent']} are equivalent, {summary['survived']} survived. "
        f"{summary['seconds']:.0f} s, {summary['cases_per_second']:g} answers a second.</p>"
    )
    for lecture in dict.fromkeys(row.lecture for row in table):
        headings = "".join(f'<th scope="col">{heading}</th>' for heading in _HEADINGS)
        yield f"<table><caption>{escape(lecture)}</caption>\n<tr>{headings}</tr>"
        yield from (_line(row) for row in table if row.lecture == lecture)
        yield "</table>"
    for title, fate in (("Survivors that nobody has explained", "survived"), ("Equivalent mutants, and why", "equivalent")):
        here = [verdict for verdict in alive if verdict.fate == fate]
        if here:
            yield f"<h2>{title}</h2>\n<dl>"
            for verdict in here:
                yield f"<dt>{escape(verdict.lecture)}, <b>{escape(verdict.exercise)}</b>, line {verdict.line}: <code>{escape(verdict.case)}</code></dt>"
                yield f"<dd>{escape(verdict.reason)}</dd>"
            yield "</dl>"
    yield "</body>\n</html>"


def _line(row: Row) -> str:
    rate = "–" if row.kill_rate is None else f"{100 * row.kill_rate:.0f} %"
    cells = (
        escape(row.exercise),
        f"{row.caught} of {row.wrong}",
        *(row.right, row.fair, row.false_fails),
        *(row.mutants, row.killed, row.equivalent, row.survived, rate, f"{row.seconds:.1f}"),
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"

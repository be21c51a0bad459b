"""The page on which an instructor reads what the graders have been proven with: figures an exercise, and what survived and why it may."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from html import escape
from pathlib import Path
from typing import Any

from dlcourse_utils.instructor.cases import Verdict
from dlcourse_utils.instructor.constants import ConstantVerdict
from dlcourse_utils.instructor.course import CourseError, Lecture
from dlcourse_utils.instructor.survivors import MutantVerdict

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 80rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; background: #fff }
table { border-collapse: collapse; width: 100%; table-layout: fixed; font-size: .9em; font-variant-numeric: tabular-nums }
caption { text-align: left; font-weight: bold; padding: 1.5rem 0 .5rem }
th, td { padding: .25rem .3rem; text-align: right; vertical-align: bottom; border-bottom: 1px solid #ccc }
td { white-space: nowrap } th:first-child { text-align: left; font-weight: normal; width: 11rem }
tr:first-child th, tr:last-child > * { font-weight: bold; border-bottom: 2px solid #666 } tr:first-child th { font-size: .875em }
h2 { margin-top: 2.5rem } dt { margin-top: .8rem } dd { margin-left: 1.5rem }
code, pre { font-size: .85em; overflow-wrap: anywhere; white-space: pre-wrap }
"""
_HEADINGS = ("wrong, caught", "right", "fair", "false fails", "mutants", "killed", "equivalent", "survived", "kill rate", "empty, refused", "CPU seconds")


@dataclass(frozen=True)
class Row:
    """The figures of one exercise, or of several together.

    ``caught`` are of the wrong answers, ``false_fails`` of the right and the fair ones, ``refused`` of the answers that compute nothing (``empty``).
    """

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
    empty: int
    refused: int
    seconds: float

    @property
    def kill_rate(self) -> float | None:
        """The share killed of the mutants that are not equivalent, None where none was tried."""
        countable = self.mutants - self.equivalent
        return self.killed / countable if countable else None


def rows(lectures: Sequence[Lecture], verdicts: Sequence[Verdict], fates: Sequence[MutantVerdict], empty: Sequence[ConstantVerdict]) -> list[Row]:
    """One row for each exercise that was tried, in the order of the course."""
    found = []
    for lecture in lectures:
        for exercise in lecture.exercises:
            place = lecture.name, exercise.id
            named = [verdict for verdict in verdicts if (verdict.lecture, verdict.exercise) == place]
            met = [fate for fate in fates if (fate.lecture, fate.exercise) == place]
            nothing = [verdict for verdict in empty if (verdict.lecture, verdict.exercise) == place]
            wrong, right, fair = ([verdict for verdict in named if verdict.kind == kind] for kind in ("wrong", "right", "fair"))
            if named:
                found.append(
                    Row(
                        *place,
                        wrong=len(wrong),
                        caught=sum(verdict.ok for verdict in wrong),
                        right=len(right),
                        fair=len(fair),
                        false_fails=sum(not verdict.ok for verdict in (*right, *fair)),
                        mutants=len(met),
                        killed=sum(fate.fate in ("killed", "timed out") for fate in met),
                        equivalent=sum(fate.fate == "equivalent" for fate in met),
                        survived=sum(fate.fate == "survived" for fate in met),
                        empty=len(nothing),
                        refused=sum(verdict.ok for verdict in nothing),
                        seconds=round(sum(sum(verdict.seconds for verdict in kind) for kind in (named, met, nothing)), 2),
                    )
                )
    return found


def total(table: Sequence[Row], lecture: str) -> Row:
    """The rows together, as one of ``lecture``."""
    figures = [field.name for field in fields(Row) if field.name not in ("lecture", "exercise")]
    return Row(lecture, "together", **{name: sum(getattr(row, name) for row in table) for name in figures})


def write(
    folder: Path,
    lectures: Sequence[Lecture],
    verdicts: Sequence[Verdict],
    fates: Sequence[MutantVerdict],
    empty: Sequence[ConstantVerdict],
    summary: dict[str, Any],
) -> None:
    """Write ``report.html`` and ``report.json`` into ``folder``, which is made where it is missing.

    Raises:
        CourseError: it cannot be written there.
    """
    table = rows(lectures, verdicts, fates, empty)
    names = dict.fromkeys(row.lecture for row in table)
    totals = [total([row for row in table if row.lecture == name], name) for name in names]
    failed: list[Verdict | ConstantVerdict] = [verdict for verdict in verdicts if not verdict.ok]
    failed += [verdict for verdict in empty if not verdict.ok]
    alive = [fate for fate in fates if fate.fate in ("equivalent", "survived") or not fate.ok]
    report = {
        "summary": summary,
        "lectures": [_plain(row) for row in totals],
        "exercises": [_plain(row) for row in table],
        "failed": [asdict(verdict) for verdict in failed],
        "survivors": [asdict(fate) for fate in alive],
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (folder / "report.html").write_text("\n".join(_page(table, totals, failed, alive, summary)) + "\n", encoding="utf-8")
    except OSError as error:
        raise CourseError(f"{folder}: cannot write the report here: {error.strerror}. Name another folder.") from error


def _plain(row: Row) -> dict[str, Any]:
    return {**asdict(row), "kill_rate": row.kill_rate}


def _page(
    table: Sequence[Row],
    totals: Sequence[Row],
    failed: Sequence[Verdict | ConstantVerdict],
    alive: Sequence[MutantVerdict],
    summary: dict[str, Any],
) -> Iterator[str]:
    yield '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    yield f"<title>What the graders are proven with</title><style>{_STYLE}</style></head>\n<body>\n<h1>What the graders are proven with</h1>"
    yield (
        f"<p>{summary['lectures']} lectures, {summary['exercises']} exercises, grading seed {summary['seed']}. "
        f"{summary['ok']} of {summary['cases']} named answers got what they deserve. Of {summary['mutants']} mutants {summary['killed']} were killed "
        f"({summary['timed_out']} by the clock), {summary['equivalent']} are equivalent, {summary['survived']} survived. "
        f"{summary['constants_passed']} of {summary['constants']} answers that compute nothing passed a hidden check. "
        f"{summary['seconds']:.0f} s, {summary['cases_per_second']:g} answers a second.</p>"
    )
    yield (
        "<p>Wrong answers are named misconceptions, caught when they lose points and are told why. Right answers are written differently, fair ones are right "
        "ones in another dress; each that loses a point is a false fail. Mutants are solutions with one small change. Empty answers compute nothing.</p>"
    )
    if len(totals) > 1:
        yield from _table("All lectures", "lecture", [(row.lecture, row) for row in totals], total(totals, "all"))
    for row in totals:
        yield from _table(row.lecture, "exercise", [(other.exercise, other) for other in table if other.lecture == row.lecture], row)
    if failed:
        yield "<h2>Answers that did not get what they deserve</h2>\n<dl>"
        for verdict in failed:
            told = verdict.message if isinstance(verdict, Verdict) else "It passed: " + ", ".join(verdict.passed)
            yield f"<dt>{_place(verdict)}: {verdict.kind}, {escape(verdict.case)}</dt><dd><pre>{escape(told)}</pre></dd>"
        yield "</dl>"
    for title, fates in (
        ("Survivors that nobody has explained", [fate for fate in alive if fate.fate == "survived"]),
        ("Listed as equivalent, and killed", [fate for fate in alive if fate.fate in ("killed", "timed out")]),
        ("Equivalent mutants, and why", [fate for fate in alive if fate.fate == "equivalent"]),
    ):
        if fates:
            yield f"<h2>{title}</h2>\n<dl>"
            for fate in fates:
                yield f"<dt>{_place(fate)}, line {fate.line}: <code>{escape(fate.case)}</code></dt><dd>{escape(fate.reason)}</dd>"
            yield "</dl>"
    yield "</body>\n</html>"


def _place(verdict: Verdict | ConstantVerdict | MutantVerdict) -> str:
    return f"{escape(verdict.lecture)}, <b>{escape(verdict.exercise)}</b>"


def _table(caption: str, first: str, lines: Sequence[tuple[str, Row]], sums: Row) -> Iterator[str]:
    headings = "".join(f'<th scope="col">{heading}</th>' for heading in (first, *_HEADINGS))
    yield f"<table><caption>{escape(caption)}</caption>\n<tr>{headings}</tr>"
    for name, row in (*lines, (sums.exercise, sums)):
        rate = "–" if row.kill_rate is None else f"{int(100 * row.kill_rate)} %"  # rounded down: 100 % is all of them
        cells = (
            f"{row.caught} of {row.wrong}",
            *(row.right, row.fair, row.false_fails, row.mutants, row.killed, row.equivalent, row.survived, rate),
            *(f"{row.refused} of {row.empty}", f"{row.seconds:.1f}"),
        )
        yield f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
    yield "</table>"

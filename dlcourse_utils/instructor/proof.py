"""``dlcourse cases``: prove the graders with named answers and, if asked, with right ones in other dresses, mutants of the solutions and answers
that compute nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from dlcourse_utils.instructor import cases, constants, proof_report, survivors
from dlcourse_utils.instructor.cases import FORM, KINDS, Case, Verdict, blanks, parse, prove
from dlcourse_utils.instructor.constants import ConstantVerdict, try_constants
from dlcourse_utils.instructor.course import CourseError, Lecture, find_root, lectures
from dlcourse_utils.instructor.fair import fair
from dlcourse_utils.instructor.mutants import mutants, sample
from dlcourse_utils.instructor.runner import Judge, Runner
from dlcourse_utils.instructor.survivors import MutantVerdict, try_mutants


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``dlcourse cases``."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="lectures, such as 01 or 01-perceptron (default: all)")
    parser.add_argument("--from", dest="file", type=Path, metavar="FILE", help="try the cases in this file instead of the lectures' own")
    parser.add_argument("--exercise", metavar="ID", help="only this exercise")
    parser.add_argument("--fair", action="store_true", help="also try the solutions and the right cases in other dresses: with noise, and in another style")
    parser.add_argument("--mutants", action="store_true", help="also try mutants: the reference solutions, each with one small change")
    parser.add_argument("--sample", type=int, metavar="N", help="of the mutants, only N an exercise, the same ones every time")
    parser.add_argument("--constants", action="store_true", help="also try answers that compute nothing: zeros, noise, the visible answers looked up, …")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every verdict to this file")
    parser.add_argument("--report", type=Path, metavar="FOLDER", help="write the figures and what survived, to report.html and report.json in this folder")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="the grading seed (default: 0)")
    parser.add_argument("--thorough", action="store_true", help="run the later tests for every case, not only for the blank answers")
    parser.add_argument("--judge", choices=get_args(Judge), default="in-process", help="where test cells run (default: in the answers' process)")
    parser.add_argument("--workers", type=int, metavar="N", help="how many notebooks run at a time (default: one a core)")


def run(args: argparse.Namespace) -> int:
    """Try the answers, print what failed, and return 1 when anything did."""
    chosen = lectures(find_root(), args.names)
    plan = _plan(chosen, args.file, args.exercise)
    started = time.monotonic()
    verdicts: list[Verdict] = []
    fates: list[MutantVerdict] = []
    empty: list[ConstantVerdict] = []
    lost: dict[str, float] = {}
    with Runner(workers=args.workers) as runner:
        for lecture, named in plan:
            answers = [*named, *(case for case in fair(lecture, named) if args.exercise in (None, case.exercise))] if args.fair else named
            reference, judged = prove(runner, lecture, answers, seed=args.seed, thorough=args.thorough, judging=args.judge, progress=True)
            lost[lecture.name] = reference.lost()
            verdicts += judged
            if reference.lost() or reference.ended:
                print(f"{lecture.name}: the reference solutions lose {reference.lost():g} points. {reference.ended}\n{reference.message(reference.tests)}\n")
            met = _mutants(runner, lecture, args) if args.mutants else []
            fates += met
            nothing = try_constants(runner, lecture, args.exercise, seed=args.seed, progress=True) if args.constants else []
            empty += nothing
            _print(lecture, answers, judged, met, nothing)
    summary = summarise(verdicts, fates, empty, lost, time.monotonic() - started, args.seed)
    print(_sentence(summary))
    if args.report:
        proof_report.write(args.report, [lecture for lecture, _ in plan], verdicts, fates, empty, summary)
    if args.json:
        _write(args.json, {"cases": [*map(asdict, verdicts), *map(asdict, fates), *map(asdict, empty)], "summary": summary})
    return 1 if summary["failed"] or any(lost.values()) else 0


def _mutants(runner: Runner, lecture: Lecture, args: argparse.Namespace) -> list[MutantVerdict]:
    wanted = [mutant for mutant in mutants(lecture) if args.exercise in (None, mutant.exercise)]
    chosen = wanted if args.sample is None else sample(wanted, args.sample)
    return try_mutants(runner, lecture, chosen, seed=args.seed, progress=True)


def _plan(chosen: Sequence[Lecture], file: Path | None, exercise: str | None) -> list[tuple[Lecture, list[Case]]]:
    """Which cases to try in which lecture."""
    owners: dict[str, Lecture] = {}
    for lecture in chosen:
        for known in lecture.exercises:
            if file and known.id in owners:
                raise CourseError(f"{owners[known.id].name} and {lecture.name} both have an exercise '{known.id}'. Name the lecture that {file} is for.")
            owners[known.id] = lecture
    if exercise and exercise not in owners:
        raise CourseError(f"--exercise {exercise}: no such exercise. There are: {', '.join(owners)}.")
    plan = []
    for lecture in chosen:
        ids = [known.id for known in lecture.exercises]
        found = [case for case in parse(file, owners) if case.exercise in ids] if file else [*parse(lecture.cases, ids), *blanks(lecture)]
        wanted = [case for case in found if exercise in (None, case.exercise)]
        if wanted:
            plan.append((lecture, wanted))
    if not plan:
        raise CourseError(f"{file or 'the chosen lectures'}: there is no case to try. {FORM}")
    return plan


def _print(lecture: Lecture, answers: Sequence[Case], verdicts: Sequence[Verdict], fates: Sequence[MutantVerdict], empty: Sequence[ConstantVerdict]) -> None:
    """Print one line an exercise, then what is wrong with each answer that did not get what it deserves."""
    print(lecture.name)
    for exercise in lecture.exercises:
        here = [verdict for verdict in verdicts if verdict.exercise == exercise.id]
        met = [fate for fate in fates if fate.exercise == exercise.id]
        nothing = [verdict for verdict in empty if verdict.exercise == exercise.id]
        if here:
            counts = "  ".join(f"{sum(v.kind == kind for v in here)} {kind}" for kind in KINDS if kind != "fair" or any(v.kind == kind for v in verdicts))
            counts += f"  {len(met)} mutants" if fates else ""
            failed = _failed(here, met, nothing)
            print(f"  {exercise.number:<6} {exercise.id:<28} {counts}  {f'{failed} NOT as deserved' if failed else 'as deserved'}")
    for case, verdict in zip(answers, verdicts, strict=True):
        if not verdict.ok:
            print(f"\n{cases.explain(lecture, case, verdict)}")
    for fate in fates:
        if not fate.ok:
            print(f"\n{survivors.explain(lecture, fate)}")
    for constant in empty:
        if not constant.ok:
            print(f"\n{constants.explain(constant)}")
    print()


def summarise(
    verdicts: Sequence[Verdict],
    fates: Sequence[MutantVerdict],
    empty: Sequence[ConstantVerdict],
    reference_lost: dict[str, float],
    seconds: float,
    seed: int,
) -> dict[str, Any]:
    """The figures that go under ``summary``; ``reference_lost`` is lecture -> points that the reference solutions lost."""
    return {
        "lectures": len({verdict.lecture for verdict in verdicts}),
        "exercises": len({(verdict.lecture, verdict.exercise) for verdict in verdicts}),
        "cases": len(verdicts),
        **{kind: sum(verdict.kind == kind for verdict in verdicts) for kind in KINDS},
        "mutants": len(fates),
        "killed": sum(fate.fate in ("killed", "timed out") for fate in fates),
        "timed_out": sum(fate.fate == "timed out" for fate in fates),
        **{end: sum(fate.fate == end for fate in fates) for end in ("equivalent", "survived")},
        "constants": len(empty),
        "constants_passed": sum(not verdict.ok for verdict in empty),
        "ok": sum(verdict.ok for verdict in verdicts),
        "failed": _failed(verdicts, fates, empty),
        "reference_lost": reference_lost,
        "seed": seed,
        "seconds": round(seconds, 2),
        "cases_per_second": round((len(verdicts) + len(fates) + len(empty)) / seconds, 2),
    }


def _failed(*kinds: Sequence[Verdict] | Sequence[MutantVerdict] | Sequence[ConstantVerdict]) -> int:
    return sum(not verdict.ok for verdicts in kinds for verdict in verdicts)


def _sentence(summary: dict[str, Any]) -> str:
    """The last line."""
    text = f"{summary['ok']} of {summary['cases']} cases as deserved"
    if summary["mutants"]:
        text += f", {summary['mutants']} mutants: {summary['killed']} killed, {summary['equivalent']} equivalent, {summary['survived']} survived"
    if summary["constants"]:
        text += f", {summary['constants_passed']} of {summary['constants']} answers that compute nothing passed a hidden check"
    return f"{text}, {summary['seconds']:.1f} s, {summary['cases_per_second']:g} a second"


def _write(path: Path, report: dict[str, Any]) -> None:
    try:
        path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise CourseError(f"{path}: cannot write the verdicts here: {error.strerror}. Name a file in a folder that exists.") from error

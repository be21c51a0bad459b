"""Which mutants the graders let through, and which of those may be: the ones that a lecture's ``equivalent.toml`` explains.

Each entry of the list names a changed line and says in one sentence why no grader can or should tell it from the original::

    [[equivalent]]
    exercise = "count_params"
    before = 'total = 0'
    after = ['total = 0.0']
    reason = "A whole number as a float is as good."
"""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tqdm import tqdm

from dlcourse_utils.instructor.course import CourseError, Lecture
from dlcourse_utils.instructor.mutants import Mutant, mutants
from dlcourse_utils.instructor.runner import Job, Outcome, Runner

Fate = Literal["killed", "timed out", "equivalent", "survived"]
Key = tuple[str, str, str]
#: The processor seconds that a mutant gets. Checks end sooner by their own limits, as they do for students; this ends what gets round them.
PATIENCE = 180
_FIELDS = {"exercise": str, "before": str, "after": list, "reason": str}


@dataclass(frozen=True)
class MutantVerdict:
    """What became of a mutant. It is ``ok`` when it was killed and not listed as equivalent, or survived and is listed.

    It is stopped at the first check that fails: ``message`` is that check's, and ``lost_here`` counts what was not run as lost.
    ``seconds`` is processor time; ``reason`` is the list's; ``line`` counts in the lecture's source; ``case`` is the changed line, before and after.
    """

    lecture: str
    exercise: str
    case: str
    kind: Literal["mutant"]
    line: int
    fate: Fate
    lost_here: float
    message: str
    reason: str
    seconds: float
    ok: bool


def equivalents(lecture: Lecture, known: Sequence[Mutant]) -> dict[Key, str]:
    """(exercise, line before, line after) -> the reason, as the lecture's ``equivalent.toml`` has it.

    Args:
        lecture: whose list is read; without the file nothing is listed.
        known: every mutant of the lecture.

    Raises:
        CourseError: an entry is not in the form, has no reason, is there twice, or names a mutant that no longer exists.
    """
    path = lecture.folder / "equivalent.toml"
    if not path.is_file():
        return {}
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8")).get("equivalent", [])
    except tomllib.TOMLDecodeError as error:
        raise CourseError(f"{path}: this is no TOML: {error}") from error
    keys = set(map(_key, known))
    listed: dict[Key, str] = {}
    for number, entry in enumerate(entries, start=1):
        where = f"{path}: entry {number}"
        if entry.keys() != _FIELDS.keys() or not all(isinstance(entry[field], kind) and entry[field] for field, kind in _FIELDS.items()):
            raise CourseError(f"{where}: it must have {', '.join(_FIELDS)}; 'after' is a list, none is empty.")
        for after in entry["after"]:
            key = (entry["exercise"], entry["before"], "" if after == "pass" else after)
            if key not in keys:
                raise CourseError(f"{where}: there is no such mutant of '{entry['exercise']}': {entry['before']} → {after}. Take it out of the list.")
            if key in listed:
                raise CourseError(f"{where}: it is there twice: {entry['before']} → {after}. Take one out.")
            listed[key] = entry["reason"]
    return listed


def judge(lecture: Lecture, mutant: Mutant, outcome: Outcome, listed: Mapping[Key, str]) -> MutantVerdict:
    """Whether a mutant met the end that it should."""
    reason = listed.get(_key(mutant), "")
    lost, alive = outcome.lost(), _alive(outcome)
    fate: Fate = "timed out" if "timed out" in outcome.ended else "killed" if not alive else "equivalent" if reason else "survived"
    ok = (alive and bool(reason)) or (not alive and not reason)
    message = "\n".join(part for part in (outcome.message(outcome.tests), *outcome.errors, outcome.ended) if part) if not alive else ""
    return MutantVerdict(lecture.name, mutant.exercise, mutant.change, "mutant", mutant.line, fate, lost, message, reason, outcome.cpu_seconds, ok)


def try_mutants(
    runner: Runner, lecture: Lecture, chosen: Sequence[Mutant] | None = None, *, seed: int = 0, seconds: int = PATIENCE, progress: bool = False
) -> list[MutantVerdict]:
    """Run the real test cells of its exercise against each mutant.

    Args:
        runner: what runs them.
        lecture: whose graders are tried.
        chosen: the mutants; all of the lecture's by default.
        seed: the grading seed.
        seconds: the processor time that a mutant gets; one that needs more is killed, and counts so.
        progress: show a bar.

    Returns:
        The verdicts in the order of ``chosen``. Mutants that look alike, of two lines with the same text, are one entry of the list;
        it stands as long as one of them is not known to be killed.

    Raises:
        CourseError: the lecture's list is out of order, or its own cells fail.
    """
    everything = mutants(lecture)
    chosen = everything if chosen is None else chosen
    listed = equivalents(lecture, everything)
    jobs = [Job({mutant.exercise: mutant.code}, seed, "own", seconds, brief=True) for mutant in chosen]
    bar = tqdm(runner.results(lecture, jobs), desc=lecture.name, total=len(jobs), unit="mutant", disable=None if progress else True)
    outcomes = dict(bar)
    killed = Counter(_key(mutant) for number, mutant in enumerate(chosen) if not _alive(outcomes[number]))
    standing = Counter(map(_key, everything)) - killed
    verdicts = []
    for number, mutant in enumerate(chosen):
        verdict = judge(lecture, mutant, outcomes[number], listed)
        spared = not verdict.ok and verdict.reason and _key(mutant) in standing
        verdicts.append(replace(verdict, reason="", ok=True) if spared else verdict)
    return verdicts


def _key(mutant: Mutant) -> Key:
    return mutant.exercise, mutant.before, mutant.after


def _alive(outcome: Outcome) -> bool:
    return not outcome.lost() and not outcome.ended


def explain(lecture: Lecture, verdict: MutantVerdict) -> str:
    """For a mutant that met the wrong end: where it is, and what to do."""
    place = f"{lecture.source}:{verdict.line}: mutant | {verdict.exercise}\n  {verdict.case}\n"
    if verdict.reason:
        return place + f"  It is listed as equivalent and was {verdict.fate}. Take it out of the list. {verdict.reason}\n{verdict.message}"
    before, after = verdict.case.split(" → ", 1)
    entry = "\n".join(
        f"    {line}"
        for line in (
            "[[equivalent]]",
            f'exercise = "{verdict.exercise}"',
            f"before = {_quoted(before)}",
            f"after = [{_quoted('pass' if after == '(dropped)' else after)}]",
            'reason = "…"',
        )
    )
    return place + f"  It lost nothing. Sharpen the checks, or if nobody could tell it from a right answer, write into equivalent.toml why:\n{entry}"


def _quoted(text: str) -> str:
    return f"'{text}'" if "'" not in text else json.dumps(text, ensure_ascii=False)

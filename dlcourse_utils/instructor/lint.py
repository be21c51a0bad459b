"""``dlcourse lint``: the release rules. Each is a small function; its docstring names the defect it keeps out, and since when."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from dlcourse_utils.instructor import course, lint_built, lint_code, lint_structure
from dlcourse_utils.instructor.course import CourseError, Lecture
from dlcourse_utils.instructor.findings import Finding, Rule

RULES: tuple[Rule, ...] = (*lint_structure.RULES, *lint_code.RULES, *lint_built.RULES)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument("name", nargs="*", help="lectures, such as 01 or 01-perceptron (default: all)")
    parser.add_argument("--rules", action="store_true", help="list the rules and what each keeps out")


def run(args: argparse.Namespace) -> int:
    """Print every offender; 0 when there is none."""
    if args.rules:
        for rule in RULES:
            print(f"{rule.__name__}: {rule.__doc__}")
        return 0
    root = course.find_root()
    lectures = course.lectures(root, args.name)
    lines = list(dict.fromkeys(finding.shown(root) for lecture in lectures for finding in findings(lecture)))
    print("\n".join(lines) if lines else f"{len(RULES)} rules, {len(lectures)} lectures: nothing found.")
    return 1 if lines else 0


def findings(lecture: Lecture, rules: tuple[Rule, ...] = RULES) -> Iterator[Finding]:
    """What the rules find in one lecture; a source that cannot be read is one finding."""
    try:
        _ = lecture.notebook
    except CourseError as error:
        yield Finding(lecture.source, "", str(error).removeprefix(f"{lecture.source}: "))
        return
    for rule in rules:
        yield from rule(lecture)

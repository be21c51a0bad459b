"""The ``dlcourse`` command: one subcommand for each thing an instructor or maintainer does."""

from __future__ import annotations

import argparse
import importlib
import sys

from dlcourse_utils.instructor.course import CourseError

#: subcommand -> (module with add_arguments(parser) and run(args) -> exit status, one line of help)
COMMANDS = {
    "build": ("dlcourse_utils.instructor.build", "make the student and the solved notebooks from the sources"),
    "lint": ("dlcourse_utils.instructor.lint", "check sources and built notebooks against the release rules"),
    "cases": ("dlcourse_utils.instructor.proof", "prove the graders with the right and the wrong answers in cases.py, and with mutants"),
    "release": ("dlcourse_utils.instructor.release", "make the zip that students get"),
    "autograde": ("dlcourse_utils.instructor.autograde", "grade what was handed in, one unreadable submission or not"),
    "bench": ("dlcourse_utils.instructor.engine.bench", "measure what grading costs, by plain nbgrader and by the engine"),
    "hostile": ("dlcourse_utils.instructor.engine.hostile", "grade submissions that attack or stumble, and compare with what they deserve"),
    "demo": ("dlcourse_utils.instructor.demo", "play a class through release, submit, collect, grade and feedback"),
    "lab": ("dlcourse_utils.instructor.lab", "open JupyterLab as a student or as the instructor"),
    "samples": ("dlcourse_utils.instructor.samples", "measure the generative models of lectures 07 to 09 at equal data"),
    "doctor": ("dlcourse_utils.instructor.doctor", "say what is wrong with the installation and what to do"),
}


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand; 0 is success, 1 means that it found something wrong, 2 that it could not start."""
    parser = argparse.ArgumentParser(prog="dlcourse", description=__doc__)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    argv = sys.argv[1:] if argv is None else argv
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]  # jsonschema does without, for it costs 2 s, and no notebook holds an IRI
    for name, (module, text) in COMMANDS.items():
        sub = subparsers.add_parser(name, help=text, description=text)
        if name in argv[:1]:  # import only what is asked for: torch and nbgrader take seconds
            importlib.import_module(module).add_arguments(sub)
    args = parser.parse_args(argv)
    try:
        return int(importlib.import_module(COMMANDS[args.command][0]).run(args))
    except CourseError as error:
        print(f"dlcourse {args.command}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

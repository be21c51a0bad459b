"""``dlcourse doctor``: what the students' doctor says, and whether each wall of the grading sandbox holds."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from dlcourse_utils import doctor
from dlcourse_utils.doctor import Finding
from dlcourse_utils.instructor.engine import probe
from dlcourse_utils.instructor.engine.sandbox import NoWallError


def check_walls() -> Iterator[Finding]:
    """Whether each wall of the grading sandbox holds, by trying it."""
    try:
        found = probe.walls()
    except NoWallError as error:
        _, _, reason = str(error).rpartition("NoWallError: ")
        yield Finding(False, "no sandbox for grading", f"{reason} Students need none.")
        return
    for wall, held in found.items():
        yield Finding(held, f"sandbox: {wall}", "This wall does not hold here. Grade on another machine, or only submissions that you trust.")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``dlcourse doctor``: none yet."""


def run(args: argparse.Namespace) -> int:
    """Print every finding as it is made; 1 when something is wrong."""
    return doctor.report(chain(doctor.findings(Path.cwd()), check_walls()))

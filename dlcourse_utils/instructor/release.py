"""``dlcourse release``: the zip that students get, with nothing in it that they must not get."""

from __future__ import annotations

import argparse
import functools
import operator
import re
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

from dlcourse_utils.instructor import build, course
from dlcourse_utils.instructor.course import CourseError
from dlcourse_utils.instructor.leaks import Secrets, leaks, secrets_of

#: The folder that the zip unpacks to.
FOLDER = "dlcourse"
#: Tables of pyproject.toml that speak of what students do not get: the instructor's commands and the tools of development.
_INSTRUCTORS = re.compile(r"project\.(scripts|gui-scripts|entry-points|optional-dependencies)|tool\.(ruff|mypy|pytest)|dependency-groups")
_AS_THEY_ARE = ("constraints.txt", "LICENSE", "LICENSE-text")
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold: the same content gives the same bytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument("--out", type=Path, default=Path("dist"), help="folder for the zip (default: dist)")


def run(args: argparse.Namespace) -> int:
    """Make the zip; 0 on success."""
    path = release(course.find_root(), args.out)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB. START.md in it says how to begin.")
    return 0


def release(root: Path, out: Path) -> Path:
    """Write the students' zip into ``out`` and return its path.

    Raises:
        CourseError: a student notebook is not what its source builds, a file is missing, or something in the zip gives an answer away.
    """
    lectures = course.lectures(root)
    stale = list(build.check(root, lectures, solutions=False))
    if stale:
        raise CourseError("\n".join([*stale, "Run `dlcourse build` first."]))
    files = contents(root)
    secrets = functools.reduce(operator.or_, map(secrets_of, lectures), Secrets({}, frozenset()))
    given_away = [f"{name}: {leak}." for name, content in files.items() for leak in leaks(name, content, secrets)]
    if given_away:
        raise CourseError("\n".join([*given_away, "Take it out of the sources of these files; nothing was released."]))

    version = tomllib.loads(files["pyproject.toml"].decode())["project"]["version"]
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{FOLDER}-{version}-student.zip"
    beside = path.with_suffix(".zip.new")
    try:
        with zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in sorted(files):
                entry = zipfile.ZipInfo(f"{FOLDER}/{name}", _LONG_AGO)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, files[name])
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def contents(root: Path) -> dict[str, bytes]:
    """What students get: path in the zip -> content.

    Raises:
        CourseError: a file that belongs in it is missing.
    """
    chosen = {f"notebooks/{lecture.name}.ipynb": lecture.student_notebook for lecture in course.lectures(root)}
    chosen |= {path.relative_to(root).as_posix(): path for path in _package(root / "dlcourse_utils")}
    chosen |= {name: root / name for name in (*_AS_THEY_ARE, "pyproject.toml", "environment.yml")}
    chosen |= {name: root / "course" / "bundle" / name for name in ("START.md", "nbgrader_config.py")}
    missing = [str(path) for path in chosen.values() if not path.is_file()]
    if missing:
        raise CourseError(f"{', '.join(missing)}: no such file, and students need it.")
    files = {name: path.read_bytes() for name, path in chosen.items()}
    project = files["pyproject.toml"].decode()
    files["pyproject.toml"] = student_project(project).encode()
    files["environment.yml"] = student_environment(files["environment.yml"].decode(), project).encode()
    return files


def _package(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and parts[0] != "instructor" and not {"__pycache__", ".ipynb_checkpoints"} & set(parts):
            yield path


def student_project(project: str) -> str:
    """``pyproject.toml`` without the instructor's commands, which are not in the zip, and with START.md for its readme."""
    tables = re.split(r"^(?=\[)", project, flags=re.MULTILINE)
    kept = [table for table in tables if not _INSTRUCTORS.match(table.lstrip("["))]
    return "".join(kept).replace('readme = "README.md"', 'readme = "START.md"').rstrip() + "\n"


def student_environment(environment: str, project: str) -> str:
    """``environment.yml`` without what only development needs."""
    extras = tomllib.loads(project)["project"].get("optional-dependencies", {})
    unwanted = {_package_name(requirement) for requirements in extras.values() for requirement in requirements}
    lines = environment.splitlines(keepends=True)
    return "".join(line for line in lines if not (line.strip().startswith("- ") and _package_name(line.strip()[2:]) in unwanted))


def _package_name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement.strip())
    return found[0].lower().replace("_", "-") if found else ""

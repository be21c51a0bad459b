"""``dlcourse lab``: JupyterLab on this course with nbgrader's extensions as a student or as the instructor has them.

A student works in ``work/``, where each released notebook is copied once and never overwritten. The instructor works in the checkout. What Jupyter
itself writes goes to ``build/lab/``, nothing to the user's home; submissions go through ``build/exchange/``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NoReturn

from dlcourse_utils.instructor.assign import load_config
from dlcourse_utils.instructor.classroom import environment
from dlcourse_utils.instructor.course import CourseError, find_root

Role = Literal["student", "instructor"]

#: Parts of nbgrader's menu that a role has no use for. The formgrader needs the instructor's server; the course list, a JupyterHub.
_HIDDEN: Mapping[Role, tuple[str, ...]] = {
    "student": ("formgrader", "create-assignment", "course-list"),
    "instructor": ("course-list",),
}
_QUIET = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}


def prepare(root: Path, role: Role) -> tuple[Path, dict[str, str]]:
    """Make the folders and the settings of a role.

    Returns:
        The folder that JupyterLab opens, and the environment variables that it needs on top of the present ones.

    Raises:
        CourseError: the course has no configuration, or there are no notebooks to give to a student.
    """
    private = environment(root / "build" / "lab" / role) | {"DLCOURSE_ROLE": role}
    exchange = root / "build" / "exchange"
    exchange.mkdir(parents=True, exist_ok=True)
    exchange.chmod(0o777)  # nbgrader takes no other
    config = Path(private["JUPYTER_CONFIG_DIR"])
    settings = [f"c = get_config()\nc.Exchange.root = {str(exchange)!r}\n"]
    if role == "student":
        course_id = str(load_config(root).CourseDirectory.course_id)
        settings.append(f"c.CourseDirectory.course_id = {course_id!r}\nc.Execute.timeout = 120  # seconds a cell, when it is validated\n")
    else:
        settings.append(f"load_subconfig('nbgrader_config.py', path={str(root / 'course')!r})\n")
    (config / "nbgrader_config.py").write_text("".join(settings), encoding="utf-8")
    (config / "labconfig").mkdir(exist_ok=True)
    hidden = {f"@jupyter/nbgrader:{name}": True for name in _HIDDEN[role]}
    (config / "labconfig" / "page_config.json").write_text(json.dumps({"disabledExtensions": hidden}))
    (config / "labconfig" / "default_setting_overrides.json").write_text(json.dumps(_QUIET))
    return (_desk(root) if role == "student" else root), private


def _desk(root: Path) -> Path:
    """The student's folder: every released notebook that is not there yet is copied to where nbgrader's Fetch would put it."""
    notebooks = sorted((root / "notebooks").glob("*.ipynb"))
    if not notebooks:
        raise CourseError(f"{root / 'notebooks'}: no notebooks. Run 'dlcourse build' first.")
    desk = root / "work"
    desk.mkdir(exist_ok=True)
    (desk / ".gitignore").write_text("*\n")  # answers stay out of the repository
    for notebook in notebooks:
        copy = desk / notebook.stem / notebook.name
        if not copy.exists():
            copy.parent.mkdir(exist_ok=True)
            shutil.copy(notebook, copy)
    return desk


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``dlcourse lab``."""
    parser.add_argument("--role", choices=["student", "instructor"], default="student", help="whose desk to open (default: student)")
    parser.add_argument("--port", type=int, metavar="N", help="port to listen on (default: 8888 or the next free one)")
    parser.add_argument("--no-browser", action="store_true", help="print the address instead of opening it")


def run(args: argparse.Namespace) -> NoReturn:
    """Become JupyterLab; Ctrl-C ends it."""
    root = find_root()
    folder, private = prepare(root, args.role)
    command = [sys.executable, "-m", "jupyterlab", f"--config={root / 'jupyter_config.py'}", f"--ServerApp.root_dir={folder}"]
    if args.port is not None:
        command += [f"--ServerApp.port={args.port}", "--ServerApp.port_retries=0"]
    if args.no_browser:
        command.append("--no-browser")
    print(f"JupyterLab opens {folder}. Stop it with Ctrl-C.", flush=True)
    os.chdir(folder)  # nbgrader looks for its settings and its assignments here
    os.execve(sys.executable, command, os.environ | private)

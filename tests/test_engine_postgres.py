"""Four graders write one PostgreSQL gradebook at once, a real server's, and nothing is lost."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import traceback
from pathlib import Path

import miniclass
import pytest
from miniclass import hand_in, solved, text, without
from test_autograde import SANDBOX
from test_engine_memory import gradebook_of

from dlcourse_utils.instructor import cli, grading
from dlcourse_utils.instructor.classroom import Classroom, private_environment

pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'dlcourse[postgresql]'")
PROGRAMS = next((path.parent for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)), None)
pytestmark = pytest.mark.skipif(PROGRAMS is None, reason="PostgreSQL is not installed: apt-get install postgresql")

GRADERS = 4


@pytest.fixture(scope="module")
def server():
    """The URL of an empty database on a server that listens to a socket in a folder of its own only, and ends with the tests."""
    unprivileged = {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}  # the server refuses to be root
    folder = Path(tempfile.mkdtemp(prefix="dlcourse-pg-", dir="/tmp"))  # a socket's path has to be short
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        if unprivileged:
            shutil.chown(folder, **unprivileged)
        made = [PROGRAMS / "initdb", "--pgdata", folder / "data", "--username", "grader", "--auth", "trust", "--no-sync", "--encoding", "UTF8"]
        subprocess.run(made, check=True, capture_output=True, cwd=folder, **unprivileged)
        settings = {"listen_addresses": "", "unix_socket_directories": folder, "fsync": "off"}
        options = [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]
        with (folder / "log").open("wb") as log:
            running = subprocess.Popen([PROGRAMS / "postgres", "-D", folder / "data", *options], stdout=log, stderr=log, cwd=folder, **unprivileged)
        stack.callback(running.wait, 30)
        stack.callback(running.terminate)
        ready = [PROGRAMS / "pg_isready", "--quiet", "--host", folder, "--username", "grader"]
        subprocess.run(["timeout", "60", "sh", "-c", 'until "$@"; do sleep 0.1; done', "sh", *ready], check=True)
        yield f"postgresql+psycopg://grader@/postgres?host={folder}"


@pytest.fixture(scope="module")
def hall(server, tmp_path_factory):
    """A class of eight whose gradebook is on the server; and what each deserves."""
    plain, lecture = miniclass.make(tmp_path_factory.mktemp("class"))
    classroom = Classroom(plain.root, log=plain.log, gradebook=server)
    with private_environment():
        classroom.generate(lecture)
    (plain.folder / "gradebook.db").unlink()
    deserved = {}
    for number in range(2 * GRADERS):
        student = f"s{number}"
        hand_in(lecture, student, without(solved(lecture), "mean") if number % 3 == 1 else text(solved(lecture)))
        deserved[student] = 3.0 if number % 3 == 1 else 7.0
    hand_in(lecture, "cut", "{")
    return classroom, lecture, deserved | {"cut": 0.0}


def test_four_graders_at_once_lose_nothing(hall):
    classroom, lecture, deserved = hall
    grading.differences(classroom, lecture, list(deserved))  # run them, so that the graders only write
    graders = []
    for first in range(GRADERS):
        grader = os.fork()
        if grader == 0:
            status = 1
            try:
                students = list(deserved)[first::2]  # two graders have each student
                grading.grade_all(classroom, lecture, students, force=True)
                status = 0
            except Exception:
                traceback.print_exc()
            finally:
                os._exit(status)
        graders.append(grader)
    assert [os.waitstatus_to_exitcode(os.waitpid(grader, 0)[1]) for grader in graders] == [0] * GRADERS
    found = {student: sum(score or 0.0 for _, score, _ in grades) for student, (grades, _) in gradebook_of(classroom, lecture).items()}
    assert found == deserved


def test_command_writes_to_the_gradebook_that_the_settings_name(hall, server, capsys):
    classroom, lecture, _ = hall
    settings = classroom.folder / "nbgrader_config.py"
    settings.write_text(f"{settings.read_text()}\nc.CourseDirectory.db_url = {server!r}\n")
    hand_in(lecture, "late", text(solved(lecture)))
    assert cli.main(["autograde", "01", "--course", str(classroom.folder), "--sandbox", SANDBOX, "--student", "late"]) == 0
    assert capsys.readouterr().out.splitlines()[2].split()[:4] == ["late", "4", "3", "7"]
    assert "late" in gradebook_of(classroom, lecture)
    assert not (classroom.folder / "gradebook.db").exists()

"""Each role's JupyterLab, started for real: it has the extensions that the role needs, and leaves nothing in the home and no process behind."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import minicourse
import psutil
import pytest

from dlcourse_utils.instructor import assign, lab
from dlcourse_utils.instructor.classroom import Classroom, private_environment
from dlcourse_utils.instructor.course import CourseError, lectures

ROOT = Path(__file__).parents[1]


class Server:
    """A running JupyterLab, asked through its own interface."""

    def __init__(self, port: int, token: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.headers = {"Authorization": f"token {token}"}

    def ask(self, path: str, body: dict | None = None) -> tuple[int, str]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, self.headers | {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def json(self, path: str, body: dict | None = None) -> dict:
        status, text = self.ask(path, body)
        assert status == 200, text
        return json.loads(text)

    def page_config(self) -> dict:
        _, page = self.ask("/lab")
        return json.loads(re.search(r'id="jupyter-config-data"[^>]*>(.*?)</script>', page, re.DOTALL)[1])


@contextlib.contextmanager
def running(root: Path, role: str) -> Iterator[Server]:
    """JupyterLab in that role, from start to end; checks what it leaves behind."""
    home = root.parent / f"home-{role}"
    home.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "JUPYTER", "IPYTHON", "MPLCONFIG"))}
    environment |= {"HOME": str(home), "JUPYTER_TOKEN": token, "PYTHONPATH": str(ROOT), "no_proxy": "127.0.0.1"}
    command = [sys.executable, "-m", "dlcourse_utils.instructor.cli", "lab", "--role", role, "--port", str(port), "--no-browser"]
    with (root / f"{role}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=root, env=environment, stdout=log, stderr=log, start_new_session=True)
    server = Server(port, token)
    try:
        for _ in range(240):
            if process.poll() is not None:
                break
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                server.ask("/api")
                break
            time.sleep(0.25)
        assert process.poll() is None, (root / f"{role}.log").read_text()
        yield server
    finally:
        started = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    _, alive = psutil.wait_procs(started, timeout=10)
    assert alive == []
    assert list(home.rglob("*")) == []


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """The mini course, built and released into the exchange of ``make lab``."""
    root = minicourse.write(tmp_path_factory.mktemp("lab") / "checkout")
    shutil.copy(ROOT / "jupyter_config.py", root)
    (lecture,) = lectures(root)
    lecture.source.with_suffix(".ipynb").write_bytes(assign.source_notebook(lecture))
    lecture.student_notebook.write_bytes(assign.student_notebook(lecture))
    classroom = Classroom(root, log=root / "log", exchange=root / "build" / "exchange")
    with private_environment():
        classroom.generate(lecture)
        classroom.release(lecture)
    return root


def test_student_can_open_validate_and_submit_and_has_no_formgrader(checkout):
    with running(checkout, "student") as server:
        assert server.json("/api/contents/01-mini/01-mini.ipynb?content=0")["type"] == "notebook"
        assert server.ask("/formgrader/manage_assignments")[0] == 404
        page = server.page_config()
        assert {"@jupyter/nbgrader:formgrader", "@jupyter/nbgrader:create-assignment", "@jupyter/nbgrader:course-list"} <= set(page["disabledExtensions"])
        assert "@jupyter/nbgrader:validate-assignment" not in page["disabledExtensions"]
        notification = server.json("/lab/api/settings/@jupyterlab/apputils-extension:notification")
        assert notification["schema"]["properties"]["fetchNews"]["default"] == "false"

        assignments = server.json("/assignments?course_id=dlcourse")
        assert [(entry["assignment_id"], entry["status"]) for entry in assignments["value"]] == [("01-mini", "fetched")]
        validated = server.json("/assignments/validate", {"path": "01-mini/01-mini.ipynb"})
        assert validated["success"], validated
        submitted = server.json("/assignments/submit", {"course_id": "dlcourse", "assignment_id": "01-mini"})
        assert submitted["success"], submitted
    assert len(list((checkout / "build" / "exchange" / "dlcourse" / "inbound").iterdir())) == 1


def test_instructor_has_the_formgrader_on_this_course(checkout):
    with running(checkout, "instructor") as server:
        names = {entry["name"] for entry in server.json("/api/contents")["content"]}
        assert {"course", "notebooks"} <= names
        status, page = server.ask("/formgrader/manage_assignments")
        assert status == 200
        assert 'url_prefix = "course"' in page
        assignments = server.json("/formgrader/api/assignments")
        assert [(entry["name"], entry["status"]) for entry in assignments] == [("01-mini", "released")]
        assert "@jupyter/nbgrader:formgrader" not in server.page_config()["disabledExtensions"]


def test_students_work_is_never_overwritten_and_new_lectures_are_added(checkout, tmp_path):
    root = shutil.copytree(checkout, tmp_path / "checkout", ignore=shutil.ignore_patterns("work", "build"))
    desk, _ = lab.prepare(root, "student")
    mine = desk / "01-mini" / "01-mini.ipynb"
    assert mine.read_bytes() == (root / "notebooks" / "01-mini.ipynb").read_bytes()
    mine.write_text("my answers")
    shutil.copy(root / "notebooks" / "01-mini.ipynb", root / "notebooks" / "02-next.ipynb")
    lab.prepare(root, "student")
    assert mine.read_text() == "my answers"
    assert (desk / "02-next" / "02-next.ipynb").is_file()


def test_roles_share_no_folder(checkout):
    folders = [
        {value for name, value in lab.prepare(checkout, role)[1].items() if name.startswith(("JUPYTER", "IPYTHON"))} for role in ("student", "instructor")
    ]
    assert not folders[0] & folders[1]


def test_course_without_notebooks_says_how_to_build_them(tmp_path):
    root = minicourse.write(tmp_path)
    with pytest.raises(CourseError, match="Run 'dlcourse build'"):
        lab.prepare(root, "student")

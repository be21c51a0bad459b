"""The student's JupyterLab in a real browser: a notebook is opened, run, explored and validated, as a student would."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import minicourse
import nbformat
import psutil
import pytest

from dlcourse_utils.instructor import assign
from dlcourse_utils.instructor.course import grade_id, lectures

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH"),
    pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM does not end a server in order there"),
]

ROOT = Path(__file__).parents[1]
PATIENCE = 90_000  # milliseconds: a busy machine starts a kernel late
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ANSWERS = {
    "mean": "def mean(numbers):\n    if not numbers:\n        raise ValueError\n    return sum(numbers) / len(numbers)\n",
    "spread": "def spread(numbers):\n    return mean([(number - mean(numbers)) ** 2 for number in numbers])\n",
    "written": "When one of them is far from all the others.",
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The mini course with its student notebook built."""
    root = minicourse.write(tmp_path_factory.mktemp("browser") / "checkout")
    shutil.copy(ROOT / "jupyter_config.py", root)
    (lecture,) = lectures(root)
    lecture.student_notebook.write_bytes(assign.student_notebook(lecture))
    return root


@pytest.fixture(scope="module")
def lab(checkout: Path) -> Iterator[str]:
    """The address of the student's JupyterLab on the mini course, with the token that opens it; ``/lab`` in it can be followed by a path."""
    home = checkout.parent / "home"
    home.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "JUPYTER", "IPYTHON", "MPLCONFIG"))}
    environment |= {"HOME": str(home), "JUPYTER_TOKEN": token, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "dlcourse_utils.instructor.cli", "lab", "--port", str(port), "--no-browser"]
    log = checkout / "lab.log"
    with log.open("wb") as output:
        server = subprocess.Popen(command, cwd=checkout, env=environment, stdout=output, stderr=output, start_new_session=True)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        deadline = time.monotonic() + PATIENCE / 1000
        while True:
            assert server.poll() is None, log.read_text()
            with contextlib.suppress(OSError):
                opener.open(f"http://127.0.0.1:{port}/api", timeout=30).close()
                break
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.25)
        yield f"http://127.0.0.1:{port}/lab?reset&token={token}"
    finally:
        started = psutil.Process(server.pid).children(recursive=True) if server.poll() is None else []
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(30)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            server.wait()
    _, alive = psutil.wait_procs(started, timeout=10)
    assert alive == []
    assert list(home.rglob("*")) == []


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[playwright.Browser]:
    """Chromium, with a home of its own."""
    home = tmp_path_factory.mktemp("browser-home")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")} | {"HOME": str(home)}
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS, env=environment)
        yield chromium
        chromium.close()


class Student:
    """What someone at the keyboard does with an open notebook."""

    def __init__(self, page: playwright.Page) -> None:
        self.page = page

    def open(self, lab: str, notebook: Path) -> None:
        self.page.goto(lab.replace("/lab?", f"/lab/tree/{notebook.parent.name}/{notebook.name}?"))
        self.page.wait_for_selector("#jupyterlab-splash", state="detached")
        self.page.wait_for_selector(".jp-NotebookPanel .jp-Notebook-cell")
        self.wait_until_idle()

    def run_all(self) -> None:
        """*Run, Run All Cells*, until the widget's cell, the last, has said something."""
        self.page.locator('.lm-MenuBar-itemLabel:text-is("Run")').click()
        self.page.locator('li[data-command="runmenu:run-all"]').click()
        self.page.wait_for_selector(".widget-html img[alt], .jp-RenderedText:has-text('This picture needs your')")
        self.wait_until_idle()

    def wait_until_idle(self) -> None:
        self.page.wait_for_selector('text="Python 3 (ipykernel) | Idle"')  # the status bar: unlike the toolbar's circle, it waits for the kernel

    def save(self) -> None:
        self.page.locator('.lm-MenuBar-itemLabel:text-is("File")').click()
        with self.page.expect_response(lambda response: response.request.method == "PUT" and "/api/contents/" in response.url):  # the file is whole
            self.page.locator('li[data-command="docmanager:save"]').click()
        self.page.wait_for_selector(".lm-TabBar-tab.jp-mod-current:not(.jp-mod-dirty)")

    def pictures(self) -> list[str | None]:
        """The alt text of every picture below the cells, as a screen reader gets it; None where there is none."""
        alts: list[str | None] = self.page.locator(".jp-OutputArea-output img").evaluate_all("images => images.map(image => image.getAttribute('alt'))")
        return alts

    def validate(self) -> str:
        """The *Validate* button; the text of the dialog that it ends with."""
        self.page.locator(".jp-NotebookPanel-toolbar .validate-button").click()
        dialog = self.page.locator(".nbgrader-SuccessDialog, .nbgrader-ErrorDialog")
        dialog.wait_for()
        text = dialog.inner_text()
        self.page.locator(".jp-Dialog .jp-mod-accept").click()
        return text


@pytest.fixture
def student(browser: playwright.Browser) -> Iterator[Student]:
    page = browser.new_page(viewport={"width": 1280, "height": 6000})  # so high that every cell is drawn: JupyterLab draws only those in view
    page.set_default_timeout(PATIENCE)
    yield Student(page)
    page.close()


def hand_out(checkout: Path, folder: str, answers: dict[str, str]) -> Path:
    """The student's notebook with these answers typed in and nothing run yet, in a folder of its own and so with a kernel of its own."""
    notebook = nbformat.read(checkout / "notebooks" / f"{minicourse.NAME}.ipynb", as_version=4)
    for cell in notebook.cells:
        cell.source = answers.get(grade_id(cell) or "", cell.source)
    path = checkout / "work" / folder / f"{minicourse.NAME}.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(notebook, path)
    return path


def outputs(path: Path) -> list[nbformat.NotebookNode]:
    return [output for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code" for output in cell.outputs]


def said(path: Path) -> str:
    return "".join(output.text for output in outputs(path) if output.output_type == "stream")


def errors(path: Path) -> list[nbformat.NotebookNode]:
    return [output for output in outputs(path) if output.output_type == "error" or output.get("name") == "stderr"]


def test_unfilled_notebook_runs_to_its_end_and_says_what_is_missing(checkout, lab, student):
    path = hand_out(checkout, "unfilled", {})
    student.open(lab, path)
    student.run_all()
    student.save()
    assert errors(path) == []
    assert said(path).count("not written yet") == 3  # both exercises, and the widget's picture
    assert "This cell uses your `mean`" in said(path)


def test_answers_are_run_explored_and_validated(checkout, lab, student):
    path = hand_out(checkout, "right", ANSWERS)
    student.open(lab, path)
    student.run_all()
    picture = student.page.locator(".widget-html img[alt]")
    assert picture.get_attribute("alt") == "Points at 1, 2 and 6.0; their mean is 3.00."
    handle = student.page.locator(".widget-slider .noUi-handle")
    handle.focus()
    handle.press("ArrowRight")  # one step of 0.5
    student.page.wait_for_selector('.widget-html img[alt="Points at 1, 2 and 6.5; their mean is 3.17."]')
    assert "Success! Your notebook passes all the tests." in student.validate()
    student.save()
    assert errors(path) == []
    assert said(path).count("1 of 1 visible checks pass") == 2


def test_every_picture_has_its_alt_text_even_in_a_file_from_elsewhere(checkout, lab, student):
    figure = "Three points on a line, at 1, 2 and 6; their mean is 3."
    twin = "third = 3: Points at 1, 2 and 3.0; their mean is 2.00. third = 9: Points at 1, 2 and 9.0; their mean is 4.00."
    path = hand_out(checkout, "pictures", ANSWERS)
    student.open(lab, path)
    student.run_all()
    student.page.wait_for_selector(f'img[alt="{twin}"]')
    student.save()
    assert student.pictures() == [figure, "Points at 1, 2 and 6.0; their mean is 3.00.", twin]

    notebook = nbformat.read(path, as_version=4)
    notebook.metadata["from"] = "elsewhere"  # what was not run here is not trusted: JupyterLab sanitises its HTML
    path = checkout / "work" / "elsewhere" / path.name
    path.parent.mkdir()
    nbformat.write(notebook, path)
    student.open(lab, path)
    student.page.wait_for_selector(f'img[alt="{twin}"]')
    assert student.page.locator(".jp-RenderedHTML.jp-mod-trusted").count() == 0
    assert student.pictures() == [figure, twin]


def test_wrong_answer_is_named_by_validate(checkout, lab, student):
    path = hand_out(checkout, "wrong", ANSWERS | {"mean": "def mean(numbers):\n    return sum(numbers)\n"})
    student.open(lab, path)
    text = student.validate()
    assert "The following cell failed" in text
    assert 'checks.exercise("mean"' in text
    assert 'checks.exercise("spread"' in text  # it builds on mean, and no hidden test stands in here

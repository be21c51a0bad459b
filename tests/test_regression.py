"""The net under the notebooks: nbval runs every solved one again and compares. And the proof that the net holds."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import minicourse
import nbformat
import pytest
from nbgrader.preprocessors import Execute

from dlcourse_utils.instructor.course import Lecture, find_root, lectures

ROOT = find_root(Path(__file__).parent)

pytestmark = pytest.mark.regression


def rerun(notebook: Path, folder: Path, *, package: Path = ROOT) -> tuple[int, str]:
    """nbval's exit status and report for a notebook, with ``dlcourse_utils`` taken from the folder ``package``."""
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "--nbval-cell-timeout=120"]
    command += ["--nbval-sanitize-with", str(ROOT / "tests" / "nbval_sanitize.cfg"), "-p", "no:cacheprovider", "-q", str(notebook)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")} | {"PYTHONPATH": str(package)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("lecture", lectures(ROOT), ids=lambda lecture: lecture.name)
def test_a_solved_notebook_still_gives_what_it_gave(lecture: Lecture, tmp_path: Path) -> None:
    status, report = rerun(lecture.solved_notebook, tmp_path)
    assert status == 0, report


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small solved notebook, executed just now."""
    folder = tmp_path_factory.mktemp("solved")
    lecture = Lecture(minicourse.write(folder), minicourse.NAME)
    notebook = lecture.notebook
    Execute(timeout=60).preprocess(notebook, {"metadata": {"path": str(folder)}})
    nbformat.write(notebook, lecture.solved_notebook)
    return lecture.solved_notebook


def test_an_untouched_copy_passes(solved: Path, tmp_path: Path) -> None:
    status, report = rerun(solved, tmp_path)
    assert status == 0, report


def test_pixels_that_another_machine_draws_otherwise_are_no_change(solved: Path, tmp_path: Path) -> None:
    text, pictures = re.subn("iVBOR[A-Za-z0-9+/=]+", "iVBORw0KGgo=", solved.read_text(encoding="utf-8"))
    assert pictures == 5  # the figure and the static twin, each as HTML and as PNG, and the live picture
    elsewhere = tmp_path / "elsewhere.ipynb"
    elsewhere.write_text(text, encoding="utf-8")
    status, report = rerun(elsewhere, tmp_path)
    assert status == 0, report


def test_a_changed_result_is_caught(solved: Path, tmp_path: Path) -> None:
    text = solved.read_text(encoding="utf-8")
    assert text.count("3 of 3 points") == 1
    planted = tmp_path / "planted.ipynb"
    planted.write_text(text.replace("3 of 3 points", "2 of 3 points"), encoding="utf-8")
    status, report = rerun(planted, tmp_path)
    assert status == 1
    assert "1 failed" in report


def test_a_broken_helper_is_caught(solved: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "dlcourse_utils", tmp_path / "dlcourse_utils", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "dlcourse_utils" / "checks" / "compare.py").open("a", encoding="utf-8") as compare:
        compare.write("\n\ndef difference(*args, **kwargs):\n    return 'planted'\n")
    status, report = rerun(solved, tmp_path, package=tmp_path)
    assert status == 1
    assert "planted" in report

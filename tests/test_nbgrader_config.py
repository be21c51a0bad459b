"""What the one nbgrader configuration does to a submission and to its feedback."""

from __future__ import annotations

import copy
import os
import re
import shutil
import sys
from pathlib import Path

import minicourse
import nbformat
import pytest
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from nbgrader.api import Gradebook
from nbgrader.converters import Autograde, GenerateAssignment, GenerateFeedback
from nbgrader.coursedir import CourseDirectory

from dlcourse_utils import plotting
from dlcourse_utils.instructor.assign import load_config, source_notebook
from dlcourse_utils.instructor.course import Lecture
from dlcourse_utils.instructor.engine.notes import REMARKS
from dlcourse_utils.instructor.preprocessors import HideTests
from dlcourse_utils.instructor.regions import HIDDEN_TESTS, MARK_SCHEME, SECRET, split

CLEVER = "def mean(numbers):\n    return 3.0"


def cell(grade_id: str, source: str, *, grade: bool = False, solution: bool = False) -> NotebookNode:
    nbgrader = {"grade_id": grade_id, "grade": grade, "solution": solution, "locked": not solution, "task": False, "schema_version": 3}
    return new_code_cell(source, metadata={"nbgrader": nbgrader})


def test_feedback_holds_no_hidden_test_and_quotes_no_code_of_a_test_cell() -> None:
    source = "seen = 1\n### BEGIN HIDDEN TESTS\nhidden = 2\n### END HIDDEN TESTS\ncheck.report()"
    test = cell("test-mean", source, grade=True)
    test.outputs = [new_output("error", ename="NameError", evalue="name 'q' is not defined", traceback=["----> 2 hidden = 2", "NameError: name 'q'"])]
    kept, _ = HideTests().preprocess_cell(test, {}, 0)
    assert kept.source == "seen = 1\ncheck.report()"
    assert kept.outputs[0].traceback == ["NameError: name 'q' is not defined"]


def test_a_marker_that_a_student_writes_breaks_nothing_of_their_feedback() -> None:
    mine = new_markdown_cell("I wrote ### BEGIN HIDDEN TESTS for fun")
    answer = cell("mean", CLEVER + "  # BEGIN HIDDEN TESTS", solution=True)
    for submitted in (mine, answer):
        before = submitted.source
        assert HideTests().preprocess_cell(submitted, {}, 0)[0].source == before


def test_a_picture_is_shown_with_its_alt_text_and_html_is_not(checkout: Path) -> None:
    bundle = {"text/html": plotting.as_html(b"pixels", "A line that rises."), "image/png": "cGl4ZWxz", "text/plain": "A line that rises."}
    picture = new_output("display_data", bundle, metadata={"image/png": {"alt": "A line that rises."}})
    markup = new_output("display_data", {"text/html": "<b onclick=boo()>x</b>", "text/plain": "x"})
    page, _ = HTMLExporter(config=load_config(checkout), template_name="classic").from_notebook_node(
        new_notebook(cells=[new_code_cell("draw()", outputs=[picture, markup])])
    )
    assert re.search(r'<img alt="A line that rises\."\s+src="data:image/png;base64,cGl4ZWxz"', page)
    assert "&lt;img" not in page
    assert "onclick=boo" not in page


@pytest.mark.parametrize(
    ("source", "outside", "inside"),
    [
        ("a\n### BEGIN HIDDEN TESTS\nb\n### END HIDDEN TESTS\nc", ["a", "c"], ["b"]),
        ("a\n### BEGIN HIDDEN TESTS\nb", ["a"], ["b"]),
        ("### BEGIN SOLUTION\na\n### END SOLUTION\n### BEGIN MARK SCHEME\nb\n### END MARK SCHEME", [], ["a", "b"]),
        ("a\nb", ["a", "b"], []),
    ],
)
def test_regions_are_cut_and_one_left_open_hides_the_rest(source: str, outside: list[str], inside: list[str]) -> None:
    assert split(source, *SECRET) == (outside, inside)


def test_only_the_named_regions_are_cut() -> None:
    assert split("### BEGIN SOLUTION\na\n### END SOLUTION", HIDDEN_TESTS, MARK_SCHEME)[1] == []


def test_another_course_folder_can_be_named_by_the_environment(tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLCOURSE_COURSE", str(tmp_path))
    config = load_config(checkout)
    assert config.CourseDirectory.root == str(tmp_path.resolve())
    assert config.CourseDirectory.db_url == f"sqlite:///{tmp_path.resolve().as_posix()}/gradebook.db?timeout=60"


def test_a_submission_with_deleted_split_and_changed_cells_is_graded_for_what_its_answers_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real loop on one submission: release, autograde, feedback."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")  # nbgrader calls alembic from it
    monkeypatch.delenv("DLCOURSE_COURSE", raising=False)
    monkeypatch.setenv("DLCOURSE_SANDBOX", "auto")
    lecture = Lecture(minicourse.write(tmp_path), minicourse.NAME)
    lecture.source.with_suffix(".ipynb").write_bytes(source_notebook(lecture))
    config = load_config(tmp_path)
    config.CourseDirectory.assignment_id = minicourse.NAME
    course = tmp_path / "course"

    def run(step: type) -> None:
        step(coursedir=CourseDirectory(config=config), config=config).start()

    run(GenerateAssignment)
    notebook = nbformat.read(course / "release" / minicourse.NAME / f"{minicourse.NAME}.ipynb", as_version=4)
    notebook.cells = [c for c in notebook.cells if c.id not in ("setup", "spread", "test-spread", "widget-third", "written")]
    notebook.cells.append(copy.deepcopy(next(c for c in notebook.cells if c.id == "mean")))
    notebook.cells[-1]["id"] = "half"
    notebook.cells.append(new_code_cell("pass", metadata={"nbgrader": {"grade_id": "figure-unknown", "grade": "yes"}}))
    notebook.cells.append(new_code_cell("pass", metadata={"nbgrader": ["no", "metadata"]}))
    for submitted in notebook.cells:
        submitted.metadata["tags"] = ["skip-execution"]
        if submitted.id == "test-mean":
            submitted.metadata.nbgrader["grade"], submitted.metadata.nbgrader["points"], submitted["source"] = False, 400, "400"
        if submitted.id in ("mean", "half"):
            submitted["source"] = CLEVER
        if submitted.id == "figure-row":
            submitted["source"] = "import time; time.sleep(999)"
    place = course / "submitted" / "ada" / minicourse.NAME
    place.mkdir(parents=True)
    nbformat.write(notebook, place / f"{minicourse.NAME}.ipynb")
    untouched, answered = (course / "submitted" / student / minicourse.NAME for student in ("untouched", "answered"))
    for other in (untouched, answered):
        shutil.copytree(course / "release" / minicourse.NAME, other)
    answer = nbformat.read(answered / f"{minicourse.NAME}.ipynb", as_version=4)
    next(c for c in answer.cells if c.id == "written")["source"] = "Because of outliers. <script>boo()</script> [x](javascript:boo())"
    next(c for c in answer.cells if c.id == "mean")["source"] = "from IPython.display import HTML, display\ndisplay(HTML('<b onclick=boo()>x</b>'))"
    nbformat.write(answer, answered / f"{minicourse.NAME}.ipynb")

    run(Autograde)
    graded = course / "autograded" / "ada" / minicourse.NAME
    assert {path.name for path in graded.iterdir()} == {f"{minicourse.NAME}.ipynb", REMARKS}, "no source and no cases beside it"
    told = (graded / REMARKS).read_text(encoding="utf-8")
    assert "'setup' was deleted; it was put back." in told
    assert "labelled 'figure-unknown', which was never released" in told
    assert not (course / "autograded" / "answered" / minicourse.NAME / REMARKS).exists(), "an ordinary submission is not remarked on"
    with Gradebook(config.CourseDirectory.db_url) as gradebook:
        scores = {grade.name: grade.auto_score for grade in gradebook.find_submission(minicourse.NAME, "ada").notebooks[0].grades}
        to_mark = {
            student: next(
                grade for grade in gradebook.find_submission(minicourse.NAME, student).notebooks[0].grades if grade.name == "written"
            ).needs_manual_grade
            for student in ("ada", "untouched", "answered")
        }
    assert to_mark == {"ada": False, "untouched": False, "answered": True}, "who wrote something is read by a person, and nobody else"
    assert set(scores) == {"test-mean", "test-spread", "written"}
    assert scores["test-mean"] == 1.0, "the visible check passes, the hidden ones do not"
    assert scores["test-spread"] == 0.0
    assert scores["written"] == 0, "nothing was written, so nobody needs to look at it"

    run(GenerateFeedback)
    page = (course / "feedback" / "ada" / minicourse.NAME / f"{minicourse.NAME}.html").read_text(encoding="utf-8")
    assert "1 of 4 points" in page
    assert "moves with its numbers" in page, "what failed is told"
    theirs = (course / "feedback" / "answered" / minicourse.NAME / f"{minicourse.NAME}.html").read_text(encoding="utf-8")
    assert "Because of outliers." in theirs
    for active in ("<script>boo", 'href="javascript', "<b onclick"):
        assert active not in theirs, "no HTML or script of a student's runs"
    for secret in ("hidden_row", "stretched_row", "HIDDEN TESTS", "MARK SCHEME", "outliers"):
        assert secret not in page

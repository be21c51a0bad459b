"""Whatever is among the submissions, everybody gets a row, and only those whose file is at fault lose by it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import minicourse
import nbformat
import pytest

from dlcourse_utils.instructor import assign, autograde, cli
from dlcourse_utils.instructor.classroom import Classroom, StepError, private_environment
from dlcourse_utils.instructor.course import CourseError, Lecture, grade_id, lectures, role

FULL = {"mean": 4.0, "spread": 3.0}
NOTHING = {"mean": 0.0, "spread": 0.0}


@pytest.fixture(scope="module")
def mini_class(tmp_path_factory):
    """Makes mini courses with their assignment in the gradebook."""
    first = minicourse.write(tmp_path_factory.mktemp("first"))
    (lecture,) = lectures(first)
    lecture.source.with_suffix(".ipynb").write_bytes(assign.source_notebook(lecture))
    with private_environment():
        Classroom(first, log=first / "log").generate(lecture)

    def copy() -> tuple[Classroom, Lecture]:
        root = shutil.copytree(first, tmp_path_factory.mktemp("class") / "root")
        return Classroom(root, log=root / "log"), lectures(root)[0]

    return copy


def solved(lecture: Lecture) -> nbformat.NotebookNode:
    """What a student with the right answers hands in."""
    released = lecture.root / "course" / "release" / lecture.name / f"{lecture.name}.ipynb"
    notebook = nbformat.read(released, as_version=4)
    answers = {grade_id(cell): cell.source for cell in lecture.notebook.cells if role(cell) == "solution"}
    for cell in notebook.cells:
        cell.source = answers.get(grade_id(cell), cell.source)
    return notebook


def hand_in(lecture: Lecture, student: str, text: str, name: str | None = None) -> Path:
    folder = lecture.root / "course" / "submitted" / student / lecture.name
    folder.mkdir(parents=True)
    path = folder / (name or f"{lecture.name}.ipynb")
    path.write_text(text, encoding="utf-8")
    return path


def text(notebook: nbformat.NotebookNode) -> str:
    return nbformat.writes(notebook)


def without(notebook: nbformat.NotebookNode, *ids: str) -> str:
    notebook.cells = [cell for cell in notebook.cells if grade_id(cell) not in ids]
    return text(notebook)


@pytest.fixture(scope="module")
def hall(mini_class):
    """A graded class: (classroom, lecture, grades by student)."""
    classroom, lecture = mini_class()
    right = text(solved(lecture))
    hand_in(lecture, "right", right)
    hand_in(lecture, "cut", right[: len(right) // 2])
    hand_in(lecture, "empty", "\n")
    hand_in(lecture, "letter", "Dear all, see attachment")
    hand_in(lecture, "list", json.dumps([1, 2, 3]))
    hand_in(lecture, "binary", "").write_bytes(b"PK\x03\x04\xff\xfe\x00")
    hand_in(lecture, "cells-as-text", json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": ["a"]}))
    hand_in(lecture, "other", text(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 + 1")])))
    hand_in(lecture, "renamed", right, name="01-mini (1).ipynb")
    hand_in(lecture, "nothing", "notes", name="notes.txt")
    hand_in(lecture, "no-test", without(solved(lecture), "test-mean"))
    hand_in(lecture, "no-answer", without(solved(lecture), "spread"))
    hand_in(lecture, "no-setup", without(solved(lecture), "setup"))
    hand_in(lecture, "when", right).with_name("timestamp.txt").write_text("the day before yesterday")
    odd = solved(lecture)
    for cell in odd.cells:
        if role(cell) == "setup":
            cell.metadata["nbgrader"] = ["what", "is", "this"]
    hand_in(lecture, "odd", text(odd))
    dies = solved(lecture)
    next(cell for cell in dies.cells if grade_id(cell) == "mean").source += "\nimport os; os._exit(1)"
    hand_in(lecture, "dies", text(dies))
    hand_in(lecture, "zoë last", right)
    grades = autograde.grade_all(classroom, lecture, classroom.handed_in(lecture))
    return classroom, lecture, {grade.student: grade for grade in grades}


@pytest.mark.parametrize(
    ("student", "said"),
    [
        ("cut", "01-mini.ipynb: the file ends in the middle."),
        ("empty", "01-mini.ipynb: the file is empty."),
        ("letter", "01-mini.ipynb: not a notebook (no JSON)."),
        ("list", "01-mini.ipynb: not a notebook (JSON of another kind)."),
        ("binary", "01-mini.ipynb: not a notebook, but some other kind of file."),
        ("cells-as-text", "01-mini.ipynb: not a notebook (JSON of another kind)."),
        ("other", "01-mini.ipynb: another notebook; it has none of the exercises of 01-mini."),
        ("renamed", "not there, but there is 01-mini (1).ipynb. Rename"),
        ("nothing", "01-mini.ipynb: the notebook is missing."),
        ("dies", "nbgrader could not grade it (DeadKernelError: Kernel died"),
    ],
)
def test_file_that_cannot_be_graded_gets_nothing_and_a_note_that_names_it(hall, student, said):
    classroom, lecture, grades = hall
    grade = grades[student]
    assert not grade.graded
    assert grade.points == NOTHING
    assert said in grade.note
    assert f"submitted/{student}/" in grade.note
    with classroom.gradebook() as gradebook:
        entry = gradebook.find_submission_notebook(lecture.name, lecture.name, student)
        assert entry.score == 0
        assert not entry.needs_manual_grade
        assert entry.comments[0].auto_comment == grade.note


def test_everybody_else_gets_what_the_answers_deserve(hall):
    _, _, grades = hall
    for student in ("right", "zoë last", "when"):
        assert grades[student] == autograde.Grade(student, FULL)
    assert len(grades) == 17


@pytest.mark.parametrize("student", ["no-test", "no-setup", "odd"])
def test_locked_cell_that_was_deleted_or_lost_its_metadata_costs_nothing(hall, student):
    assert hall[2][student] == autograde.Grade(student, FULL)


def test_deleted_answer_costs_its_own_exercise_and_is_remarked(hall):
    grade = hall[2]["no-answer"]
    assert grade.graded
    assert grade.points == {"mean": 4.0, "spread": 0.0}
    assert "no answer cell for 'spread'; graded as left blank" in grade.note


def test_feedback_of_an_ungraded_file_tells_the_student_why(hall):
    classroom, lecture, _ = hall
    for paper in ("timestamp.txt", "submission_secret.txt"):
        (classroom.path("autograded", lecture, "cut") / paper).write_text("2026-01-01 10:00:00 UTC")
    classroom.generate_feedback(lecture, "cut")
    page = (classroom.path("feedback", lecture, "cut") / "01-mini.html").read_text()
    assert "the file ends in the middle" in page
    assert str(classroom.root) not in page


@pytest.fixture(scope="module")
def small_hall(mini_class):
    """Two students, not graded yet."""
    classroom, lecture = mini_class()
    hand_in(lecture, "ada", text(solved(lecture)))
    hand_in(lecture, "bela", text(solved(lecture)))
    return classroom, lecture


def test_interrupted_grading_is_taken_up_again_and_finished_grading_is_not(small_hall, monkeypatch):
    classroom, lecture = small_hall
    autograde.grade_all(classroom, lecture, ["ada", "bela"])
    # what is left when the grader is killed between nbgrader's two writes: the notebook without its run
    left = classroom.path("autograded", lecture, "bela") / "01-mini.ipynb"
    notebook = nbformat.read(left, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    left.chmod(0o644)
    nbformat.write(notebook, left)
    again = []
    real = classroom.autograde
    monkeypatch.setattr(classroom, "autograde", lambda lecture, student: (again.append(student), real(lecture, student)))
    grades = autograde.grade_all(classroom, lecture, ["ada", "bela"])
    assert again == ["bela"]
    assert [grade.points for grade in grades] == [FULL, FULL]

    left.chmod(0o644)
    left.write_text(left.read_text()[:100])  # killed while writing
    autograde.grade_all(classroom, lecture, ["ada", "bela"])
    assert again == ["bela", "bela"]

    autograde.grade_all(classroom, lecture, ["ada"], force=True)
    assert again == ["bela", "bela", "ada"]


def test_new_submission_is_graded_anew_and_a_failed_regrade_does_not_leave_the_old_grade(small_hall, monkeypatch):
    classroom, lecture = small_hall
    autograde.grade_all(classroom, lecture, ["ada"])
    path = classroom.path("submitted", lecture, "ada") / "01-mini.ipynb"
    path.with_name("timestamp.txt").write_text("2026-11-01 10:00:00 UTC")
    path.write_text(without(solved(lecture), "mean"))
    (grade,) = autograde.grade_all(classroom, lecture, ["ada"])
    assert grade.points == {"mean": 0.0, "spread": 3.0}

    def fail(lecture, student):
        raise StepError("DeadKernelError: Kernel died")

    monkeypatch.setattr(classroom, "autograde", fail)
    (grade,) = autograde.grade_all(classroom, lecture, ["ada"], force=True)
    assert grade.points == NOTHING
    assert not grade.graded


def test_command_prints_the_table_the_notes_and_the_log_and_ends_with_1(small_hall, capsys):
    classroom, lecture = small_hall
    hand_in(lecture, "cut", "{")
    assert cli.main(["autograde", "01", "--course", str(classroom.folder), "--student", "bela", "--student", "cut"]) == 1
    said = capsys.readouterr().out
    lines = said.splitlines()
    assert lines[0].split() == ["student", "mean", "spread", "total"]
    assert lines[2].split() == ["bela", "4", "3", "7"]
    assert lines[3].split() == ["cut", "0", "0", "0"]
    assert "cut: " in said
    assert "1 graded, 1 could not be graded." in said
    assert "autograde-01-mini.log" in lines[-1]
    assert "Traceback" not in said
    shutil.rmtree(classroom.path("submitted", lecture, "cut"))
    assert cli.main(["autograde", "01", "--course", str(classroom.folder), "--student", "bela"]) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["01", "--student", "nobody"], "nobody: nothing of theirs"),
        (["07"], "no such lecture"),
    ],
)
def test_command_that_names_nobody_or_nothing_says_so(small_hall, capsys, arguments, said):
    assert cli.main(["autograde", *arguments, "--course", str(small_hall[0].folder)]) == 2
    assert said in capsys.readouterr().err


def test_folder_that_is_no_course_is_refused(small_hall, capsys):
    assert cli.main(["autograde", "01", "--course", str(small_hall[0].folder / "submitted")]) == 2
    assert "no course" in capsys.readouterr().err


def test_assignment_that_the_gradebook_does_not_know_or_knows_differently_is_refused(mini_class):
    classroom, lecture = mini_class()
    hand_in(lecture, "ada", "{}")
    lecture.source.write_text(lecture.source.read_text().replace('"points": 4', '"points": 5').replace("(4 points", "(5 points"))
    (changed,) = lectures(classroom.root)
    with pytest.raises(CourseError, match="older version of this assignment"):
        autograde.grade_all(classroom, changed, ["ada"])
    (classroom.folder / "gradebook.db").unlink()
    with pytest.raises(CourseError, match="does not know this assignment"):
        autograde.grade_all(classroom, lecture, ["ada"])

"""Whatever is among the submissions, everybody gets a row, and only those whose file is at fault lose by it."""

from __future__ import annotations

import json
import re
import shutil
import threading

import miniclass
import nbformat
import pytest
from miniclass import cell_of, hand_in, solved, text, without

from dlcourse_utils.instructor import autograde, cli, grading
from dlcourse_utils.instructor.classroom import Classroom, StepError
from dlcourse_utils.instructor.course import CourseError, Lecture, lectures, role
from dlcourse_utils.instructor.engine import sandbox

SANDBOX = "off" if sandbox.missing() else "on"
FULL = {"mean": 4.0, "spread": 3.0}
NOTHING = {"mean": 0.0, "spread": 0.0}


@pytest.fixture(scope="module")
def mini_class(tmp_path_factory):
    """Makes mini courses with their assignment in the gradebook."""
    first, _ = miniclass.make(tmp_path_factory.mktemp("first"))

    def copy() -> tuple[Classroom, Lecture]:
        root = shutil.copytree(first.root, tmp_path_factory.mktemp("class") / "root")
        return Classroom(root, log=root / "log"), lectures(root)[0]

    return copy


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
    cell_of(dies, "mean").source += "\nimport os; os._exit(1)"
    hand_in(lecture, "dies", text(dies))
    hand_in(lecture, "zoë last", right)
    grades = grading.grade_all(classroom, lecture, classroom.handed_in(lecture))
    return classroom, lecture, {grade.student: grade for grade in grades}


@pytest.mark.parametrize(
    ("student", "said"),
    [
        ("cut", "01-mini.ipynb: the file ends in the middle."),
        ("empty", "01-mini.ipynb: the file is empty"),
        ("letter", "01-mini.ipynb: not a notebook (no JSON)."),
        ("list", "01-mini.ipynb: not a notebook (JSON of another kind)."),
        ("binary", "01-mini.ipynb: not a notebook, but some other kind of file."),
        ("cells-as-text", "01-mini.ipynb: not a notebook (JSON of another kind)."),
        ("nothing", "01-mini.ipynb: the file is empty, or none was handed in."),
    ],
)
def test_file_that_cannot_be_read_gets_nothing_and_a_note_that_names_it(hall, student, said):
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
        assert entry.comments[0].auto_comment in grade.note


def test_everybody_else_gets_what_the_answers_deserve(hall):
    _, _, grades = hall
    for student in ("right", "zoë last"):
        assert grades[student] == grading.Grade(student, FULL)
    assert len(grades) == 17


@pytest.mark.parametrize(
    ("student", "said"),
    [
        ("no-test", "'test-mean' was deleted; it was put back."),
        ("no-setup", "'setup' was deleted; it was put back."),
        ("odd", "'setup' had lost its label"),
        ("renamed", "It was handed in as '01-mini (1).ipynb'."),
        ("when", "'timestamp.txt' was moved to refused/"),
    ],
)
def test_oddity_costs_nothing_and_is_noted(hall, student, said):
    grade = hall[2][student]
    assert grade.points == FULL
    assert said in grade.note


def test_answer_that_ends_the_kernel_costs_its_own_exercise(hall):
    grade = hall[2]["dies"]
    assert grade.points == {"mean": 0.0, "spread": 3.0}
    assert "'mean': The kernel ended while this cell ran" in grade.note


def test_another_notebook_is_graded_for_what_it_holds_of_this_one(hall):
    grade = hall[2]["other"]
    assert grade.points == NOTHING
    assert "another notebook: it has none of these exercises" in grade.note


def test_deleted_answer_costs_its_own_exercise_and_is_remarked(hall):
    grade = hall[2]["no-answer"]
    assert grade.graded
    assert grade.points == {"mean": 4.0, "spread": 0.0}
    assert "no answer cell for 'spread'; graded as left blank" in grade.note


def feedback(hall, student: str) -> str:
    classroom, lecture, _ = hall
    for paper in ("timestamp.txt", "submission_secret.txt"):
        (classroom.path("autograded", lecture, student) / paper).write_text("2026-01-01 10:00:00 UTC")
    classroom.generate_feedback(lecture, student)
    page = (classroom.path("feedback", lecture, student) / "01-mini.html").read_text()
    assert str(classroom.root) not in page
    return page


def test_feedback_of_an_unreadable_file_tells_the_student_why(hall):
    assert "the file ends in the middle" in feedback(hall, "cut")


def test_feedback_names_the_exercise_beside_each_score(hall):
    assert re.findall(r'<li><a href="#([\w-]+)">(.*?)</a>', feedback(hall, "right")) == [
        ("test-mean", "Tests of mean"),
        ("test-spread", "Tests of spread"),
        ("written", "Written response"),
        ("comment-written", "Comment"),
    ]


@pytest.fixture(scope="module")
def small_hall(mini_class):
    """Two students, not graded yet."""
    classroom, lecture = mini_class()
    hand_in(lecture, "ada", text(solved(lecture)))
    hand_in(lecture, "bela", text(solved(lecture)))
    return classroom, lecture


def test_interrupted_grading_is_taken_up_again_and_finished_grading_is_not(small_hall, monkeypatch):
    classroom, lecture = small_hall
    grading.grade_all(classroom, lecture, ["ada", "bela"])
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
    monkeypatch.setattr(classroom, "autograde", lambda lecture, student, book: (again.append(student), real(lecture, student, book)))
    grades = grading.grade_all(classroom, lecture, ["ada", "bela"])
    assert again == ["bela"]
    assert [grade.points for grade in grades] == [FULL, FULL]

    left.chmod(0o644)
    left.write_text(left.read_text()[:100])  # killed while writing
    grading.grade_all(classroom, lecture, ["ada", "bela"])
    assert again == ["bela", "bela"]

    grading.grade_all(classroom, lecture, ["ada"], force=True)
    assert again == ["bela", "bela", "ada"]


def test_new_submission_is_graded_anew_and_a_failed_regrade_does_not_leave_the_old_grade(small_hall, monkeypatch):
    classroom, lecture = small_hall
    grading.grade_all(classroom, lecture, ["ada"])
    path = classroom.path("submitted", lecture, "ada") / "01-mini.ipynb"
    path.with_name("timestamp.txt").write_text("2026-11-01 10:00:00 UTC")
    path.write_text(without(solved(lecture), "mean"))
    (grade,) = grading.grade_all(classroom, lecture, ["ada"])
    assert grade.points == {"mean": 0.0, "spread": 3.0}

    def fail(lecture, student, gradebook):
        raise StepError("DeadKernelError: Kernel died")

    monkeypatch.setattr(classroom, "autograde", fail)
    (grade,) = grading.grade_all(classroom, lecture, ["ada"], force=True)
    assert grade.points == NOTHING
    assert not grade.graded


def test_each_grade_is_written_as_soon_as_it_is_there(monkeypatch):
    written = threading.Event()

    class Slow:
        cluster = None

        def __init__(self, classroom, lecture, cluster):
            """Knows nobody yet."""

        def close(self):
            """Has nothing open."""

        def finished(self, student):
            return False

        def run(self, student):
            assert student == "ada" or written.wait(10), "the first was not written while the second ran"

        def grade(self, student, *, force):
            return grading.Grade(student, {})

    monkeypatch.setattr(grading, "Grader", Slow)
    grades = grading.grade_all(None, None, ["ada", "bela"], on_grade=lambda grade: written.set())
    assert [grade.student for grade in grades] == ["ada", "bela"]


def test_command_prints_the_table_the_notes_and_the_log_and_ends_with_1(small_hall, capsys):
    classroom, lecture = small_hall
    hand_in(lecture, "cut", "{")
    assert cli.main(["autograde", "01", "--course", str(classroom.folder), "--sandbox", SANDBOX, "--student", "bela", "--student", "cut"]) == 1
    said = capsys.readouterr().out
    lines = said.splitlines()
    assert lines[0].split() == ["student", "mean", "spread", "total", "seconds"]
    assert lines[2].split()[:4] == ["bela", "4", "3", "7"]
    assert lines[3].split()[:4] == ["cut", "0", "0", "0"]
    assert "Seconds of the tests, in the middle: mean" in said
    assert "cut: " in said
    assert "1 graded, 1 could not be graded." in said
    assert "autograde-01-mini.log" in lines[-1]
    assert "Traceback" not in said
    shutil.rmtree(classroom.path("submitted", lecture, "cut"))
    assert cli.main(["autograde", "01", "--course", str(classroom.folder), "--sandbox", SANDBOX, "--student", "bela"]) == 0


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


def test_warm_server_starts_early_only_where_something_was_never_graded(mini_class):
    classroom, lecture = mini_class()
    assert not autograde._waiting(lecture, None)
    hand_in(lecture, "ada", "{}")
    assert autograde._waiting(lecture, None)
    assert autograde._waiting(lecture, ["ada"])
    assert not autograde._waiting(lecture, ["bela"])
    done = classroom.path("autograded", lecture, "ada") / "01-mini.ipynb"
    done.parent.mkdir(parents=True)
    done.touch()
    assert not autograde._waiting(lecture, None)


def test_folder_that_is_no_course_is_refused(small_hall, capsys):
    assert cli.main(["autograde", "01", "--course", str(small_hall[0].folder / "submitted")]) == 2
    assert "no course" in capsys.readouterr().err


def test_assignment_that_the_gradebook_does_not_know_or_knows_differently_is_refused(mini_class):
    classroom, lecture = mini_class()
    hand_in(lecture, "ada", "{}")
    lecture.source.write_text(lecture.source.read_text().replace('"points": 4', '"points": 5').replace("(4 points", "(5 points"))
    (changed,) = lectures(classroom.root)
    with pytest.raises(CourseError, match="older version of this assignment"):
        grading.grade_all(classroom, changed, ["ada"])
    (classroom.folder / "gradebook.db").unlink()
    with pytest.raises(CourseError, match="does not know this assignment"):
        grading.grade_all(classroom, lecture, ["ada"])

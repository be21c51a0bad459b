"""Nothing is run twice, nothing stale is used, and a grader that is killed leaves a gradebook that the next run completes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import time

import miniclass
import pytest
from hypothesis import given
from hypothesis import strategies as st
from miniclass import cell_of, hand_in, solved, text, without
from test_engine_execute import executed, notebook, value

from dlcourse_utils.instructor import grading
from dlcourse_utils.instructor.engine import execute
from dlcourse_utils.instructor.engine.memory import Memory, keys

cells = st.lists(st.tuples(st.text(max_size=3), st.booleans()), min_size=1, max_size=6)


@given(cells, st.integers(0, 5), st.text(max_size=3))
def test_key_of_a_cell_changes_with_its_source_and_the_answers_above_it_and_with_nothing_else(notebook_cells, place, other):
    place %= len(notebook_cells)
    changed = [*notebook_cells]
    changed[place] = (other, notebook_cells[place][1])
    before, after = (keys(made, walled=True, judge="separate")[1] for made in (notebook_cells, changed))
    same = [old == new for old, new in zip(before, after, strict=True)]
    if other == notebook_cells[place][0]:
        assert all(same)
    elif notebook_cells[place][1]:
        assert same == [number != place for number in range(len(same))], "a test concerns itself only"
    else:
        assert same == [number < place for number in range(len(same))], "an answer concerns all that comes after"


def test_seed_and_wall_are_part_of_every_key(monkeypatch):
    made = [("x = 1", False)]
    before = keys(made, walled=True, judge="separate")
    assert keys(made, walled=False, judge="separate") != before
    assert keys(made, walled=True, judge="in-process") != before
    monkeypatch.setenv("DLCOURSE_SEED", "7")
    assert keys(made, walled=True, judge="separate") != before


def test_results_are_added_to_and_a_file_that_was_cut_off_counts_as_none(tmp_path):
    memory = Memory(tmp_path)
    assert memory.get("ab") == {}
    memory.keep("ab", {"one": 1}, steady=True)
    memory.keep("ab", {"two": 2}, steady=True)
    assert Memory(tmp_path).get("ab") == {"one": 1, "two": 2}
    (file,) = tmp_path.rglob("*.json")
    file.write_text(file.read_text()[:5])
    assert Memory(tmp_path).get("ab") == {}


def test_what_another_run_might_not_repeat_is_kept_for_this_process_only(tmp_path):
    Memory(tmp_path).keep("ab", {"one": 1}, steady=False)
    assert Memory(tmp_path).get("ab") == {"one": 1}
    assert list(tmp_path.rglob("*.json")) == []


@pytest.fixture
def cells_run(monkeypatch):
    """The numbers of the cells that are really run."""
    numbers: list[int] = []
    run = execute.Execute._run
    monkeypatch.setattr(execute.Execute, "_run", lambda self, index: (numbers.append(index), run(self, index)))
    return numbers


def test_only_a_changed_test_is_run_again(tmp_path, cells_run):
    keep = {"results": str(tmp_path)}
    first, notes, _ = executed(notebook("def mean(): return 3"), **keep)
    assert cells_run == [0, 1, 2, 3, 4]
    cells_run.clear()
    again, same, _ = executed(notebook("def mean(): return 3"), **keep)
    assert cells_run == []
    assert again == first
    assert same.seconds == notes.seconds
    changed, _, _ = executed(notebook("def mean(): return 3", "mean() + 1"), **keep)
    assert cells_run == [0, 1, 2], "set-up and the answer above it, and no other test"
    assert value(changed["test-mean"]) == "4"
    assert value(changed["test-spread"]) == value(first["test-spread"])


def gradebook_of(classroom, lecture):
    """All that grading writes, by student."""
    with classroom.gradebook() as gradebook:
        found = {}
        for submission in gradebook.assignment_submissions(lecture.name):
            (graded,) = submission.notebooks
            grades = sorted((grade.name, grade.auto_score, grade.needs_manual_grade) for grade in graded.grades)
            comments = sorted((comment.name, comment.auto_comment or "") for comment in graded.comments)
            found[submission.student_id] = (grades, comments)
        return found


@pytest.fixture(scope="module")
def half_hall(tmp_path_factory):
    """A class of four, and what the gradebook says when nobody is killed."""
    classroom, lecture = miniclass.make(tmp_path_factory.mktemp("class"))
    right = solved(lecture)
    hand_in(lecture, "ada", text(right))
    hand_in(lecture, "bela", without(solved(lecture), "mean"))
    hand_in(lecture, "cut", text(right)[:100])
    dies = solved(lecture)
    cell_of(dies, "mean").source += "\nimport os; os._exit(1)"
    hand_in(lecture, "dies", text(dies))
    before = shutil.copy(classroom.folder / "gradebook.db", classroom.root / "before.db")
    grading.grade_all(classroom, lecture, classroom.handed_in(lecture), workers=2)
    return classroom, lecture, before, gradebook_of(classroom, lecture)


def test_dry_run_tells_what_would_change_and_writes_nothing(half_hall):
    classroom, lecture, _, _ = half_hall
    students = classroom.handed_in(lecture)
    assert grading.differences(classroom, lecture, students) == []
    with classroom.gradebook() as gradebook:
        for grade in gradebook.find_submission_notebook(lecture.name, lecture.name, "ada").grades:
            grade.auto_score = 0.5
        gradebook.db.commit()
    rows = grading.differences(classroom, lecture, students)
    assert rows == [
        {"student": "ada", "exercise": "mean", "now": "0.5", "then": "4"},
        {"student": "ada", "exercise": "spread", "now": "0.5", "then": "3"},
    ]
    assert grading.differences(classroom, lecture, students) == rows


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_gradebook_of_a_grader_that_was_killed_again_and_again_is_that_of_one_that_was_not(half_hall, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # a killed grader leaves its folder
    classroom, lecture, before, unbroken = half_hall
    chance = random.Random(5)
    students = classroom.handed_in(lecture)
    shutil.copy(before, classroom.folder / "gradebook.db")
    for student in students:
        shutil.rmtree(classroom.folder / "autograded" / student)

    def start() -> int:
        grader = os.fork()
        if grader == 0:
            grading.grade_all(classroom, lecture, students)
            os._exit(0)
        return grader

    def forget_one() -> None:  # so that there is something to grade
        shutil.rmtree(classroom.folder / "autograded" / chance.choice(students), ignore_errors=True)

    os.waitpid(start(), 0)
    forget_one()
    started = time.monotonic()
    os.waitpid(start(), 0)
    span = time.monotonic() - started
    killed = 0
    for _ in range(100):  # a grader may be done before it is killed; 20 must not be
        if killed == 20:
            break
        forget_one()
        grader = start()
        time.sleep(chance.uniform(0.0, span))
        os.kill(grader, signal.SIGKILL)
        killed += os.waitstatus_to_exitcode(os.waitpid(grader, 0)[1]) == -signal.SIGKILL
    assert killed == 20
    grades = grading.grade_all(classroom, lecture, students)
    assert gradebook_of(classroom, lecture) == unbroken
    assert [grade.total for grade in grades] == [7.0, 3.0, 0.0, 3.0]

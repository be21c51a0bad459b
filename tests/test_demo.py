"""The demo plays every kind of submission through nbgrader's real loop, and a score that is not deserved does not pass unseen."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re

import minicourse
import pytest

from dlcourse_utils.instructor import course, demo
from dlcourse_utils.instructor.assign import load_config
from dlcourse_utils.instructor.grading import Grade


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """A whole demo on the mini course: (root, exit status, what it printed)."""

    root = minicourse.write(tmp_path_factory.mktemp("demo"))
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = demo.demonstrate(root, course.lectures(root))
    after = {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and "build" not in path.relative_to(root).parts}
    assert after == before, "the demo changed the checkout outside build/"
    return root, status, out.getvalue()


def rows(text: str) -> dict[str, list[str]]:
    """What was handed in -> the numbers at the end of its row."""
    found = re.findall(rf"^(?:{'|'.join(demo.NAMES)})  (.+?)((?:  +[\d.]+)+)$", text, re.MULTILINE)
    return {what.strip(): numbers.split() for what, numbers in found}


def test_every_kind_of_submission_gets_the_points_it_deserves(played):
    _, status, said = played
    assert status == 0, said
    assert rows(said) == {
        "all right": ["4", "3", "7", "7"],
        "blank": ["0", "0", "0", "0"],
        "mean: the sum": ["1", "3", "4", "4"],
        "spread: not squared": ["4", "0", "4", "4"],
        "right, written differently": ["4", "3", "7", "7"],
        "spread: loops for ever": ["4", "0", "4", "4"],
        "deleted test-spread": ["4", "3", "7", "7"],
        "truncated file": ["0", "0", "0", "0"],
        "empty file": ["0", "0", "0", "0"],
        "not a notebook": ["0", "0", "0", "0"],
    }
    assert "All 10 submissions got the points they deserve." in said


def test_feedback_and_gradebook_lie_where_it_says(played):
    root, _, said = played
    feedback = root / "build" / "demo" / "course" / "feedback"
    assert f"Feedback: {feedback}" in said
    assert len(list(feedback.glob("*/01-mini/01-mini.html"))) == 10
    assert len(list((root / "build" / "demo" / "exchange").glob("dlcourse/feedback/*.html"))) == 10
    page = (feedback / "chiara" / "01-mini" / "01-mini.html").read_text()
    assert "This is the sum. Divide it by how many numbers there are." in page
    assert (root / "build" / "demo" / "course" / "gradebook.db").is_file()


def test_score_that_is_not_deserved_is_named_in_words(tmp_path):
    root = minicourse.write(tmp_path)
    (lecture,) = course.lectures(root)
    plan = demo.Plan("all right", {}, {"mean": 4.0, "spread": 3.0})
    plans = {"amara": plan, "bruno": dataclasses.replace(plan, what="not there")}
    text, wrong = demo.compare(lecture, plans, [Grade("amara", {"mean": 4.0, "spread": 2.5})])
    assert wrong == [
        "01-mini, amara (all right), spread: given 2.5, deserves 3",
        "01-mini, bruno (not there), mean: given no grade, deserves 4",
        "01-mini, bruno (not there), spread: given no grade, deserves 3",
    ]
    assert "2.5, deserves 3" in text


def test_room_has_a_gradebook_of_its_own_where_the_real_one_is_on_a_server(tmp_path):
    root = minicourse.write(tmp_path / "real")
    with (root / "course" / "nbgrader_config.py").open("a") as settings:
        settings.write('c.CourseDirectory.db_url = "postgresql://grader@db.example.org/dlcourse"\n')
    demo.set_up(root, tmp_path / "room", course.lectures(root))
    assert load_config(tmp_path / "room").CourseDirectory.db_url == f"sqlite:///{tmp_path / 'room' / 'course' / 'gradebook.db'}?timeout=60"


def test_case_that_its_graders_do_not_catch_stops_the_demo(tmp_path):
    root = minicourse.write(tmp_path, cases=minicourse.CASES.replace("    return sum(numbers)\n", "    return sum(numbers) / len(numbers)\n"))
    (lecture,) = course.lectures(root)
    with pytest.raises(course.CourseError, match="Run 'dlcourse cases 01-mini'"):
        demo.plans(lecture, mistakes=2)


def test_lecture_without_a_right_case_stops_the_demo(tmp_path):
    root = minicourse.write(tmp_path, cases=minicourse.CASES.split("# %% right")[0])
    with pytest.raises(course.CourseError, match="needs a wrong and a right case"):
        demo.plans(course.lectures(root)[0], mistakes=2)


def test_class_is_large_enough_for_names_not_to_run_out():
    assert len(set(demo.NAMES)) == len(demo.NAMES) == 24

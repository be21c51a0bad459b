"""``dlcourse bench grading`` grades the whole class in one command of the engine, by turns with halves of it by plain nbgrader."""

from __future__ import annotations

import minicourse
import pytest

from dlcourse_utils.instructor import course
from dlcourse_utils.instructor.assign import load_config
from dlcourse_utils.instructor.course import CourseError
from dlcourse_utils.instructor.engine import bench, judging


def test_turns_are_halves_by_nbgrader_alone_and_the_whole_class_by_the_engine_in_a_fresh_course(tmp_path, monkeypatch):
    root = minicourse.write(tmp_path)
    (lecture,) = course.lectures(root)
    seconds = iter([(30.0, 24.0), (20.0, 10.0), (60.0, 48.0), (30.0, 15.0)])
    turns = []

    def timed(arguments, folder, log):
        ours = "Execute" in load_config(folder.parent) and "sandbox" in load_config(folder.parent).Execute
        turns.append((folder.parent.name, ours, "--student" in arguments, len(list((folder / "submitted").iterdir()))))
        assert not (folder / "autograded").exists()
        return next(seconds)

    monkeypatch.setattr(bench, "timed", timed)
    monkeypatch.setattr(bench, "_floor", lambda room, lecture, students: 0.5)
    costs = bench.compare(root, lecture, 5, workers=2, sandbox=True, judge="in-process")
    assert turns == [("plain", False, True, 5), ("engine-0", True, False, 5), ("plain", False, True, 5), ("engine-1", True, False, 5)]
    assert (costs.plain_s, costs.plain_cpu_s) == (20.0, 16.0), "three submissions took 10 s each, two 30 s"
    assert (costs.engine_s, costs.engine_cpu_s, costs.ratio) == (5.0, 2.5, 4.0)


def test_class_that_cannot_be_halved_is_refused(tmp_path):
    (lecture,) = course.lectures(minicourse.write(tmp_path))
    with pytest.raises(CourseError, match="1 submissions are too few"):
        bench.compare(tmp_path, lecture, 1, workers=1, sandbox=True, judge="in-process")


def test_both_ways_of_judging_are_timed_by_turns_each_in_a_fresh_course(tmp_path, monkeypatch):
    root = minicourse.write(tmp_path)
    seconds = iter([(9.0, 4.0), (9.0, 5.0), (9.0, 7.0), (9.0, 6.0)])
    turns = []

    def hand_in(checkout, room, lecture, students):
        assert len(students) == 2
        room.mkdir(parents=True)

    def timed(arguments, folder, log):
        turns.append(arguments[arguments.index("--judge") + 1])
        assert [path.name for path in folder.parent.parent.iterdir()] == ["room"]
        return next(seconds)

    monkeypatch.setattr(judging, "hand_in", hand_in)
    monkeypatch.setattr(judging, "timed", timed)
    (cost,) = judging.measure(root, course.lectures(root), 2, workers=1, sandbox=True, on_lecture=lambda cost: None)
    assert turns == ["in-process", "separate", "separate", "in-process"]
    assert (cost.in_process_cpu_s, cost.separate_cpu_s, cost.more) == (2.5, 3.0, 0.2)

"""What the course on disk is, and what is said when it is not sound."""

from __future__ import annotations

import re
from pathlib import Path

import minicourse
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlcourse_utils.instructor import cli, course
from dlcourse_utils.instructor.course import CourseError, Lecture


def mini(root: Path, source: str = minicourse.SOURCE) -> Lecture:
    return Lecture(minicourse.write(root, source), minicourse.NAME)


def test_the_root_is_found_from_any_folder_in_it(tmp_path: Path) -> None:
    lecture = mini(tmp_path)
    assert course.find_root(lecture.folder) == course.find_root(tmp_path) == tmp_path.resolve()


def test_outside_a_checkout_the_cure_is_named(tmp_path: Path) -> None:
    with pytest.raises(CourseError, match=r"no course here\. Run this inside the checkout"):
        course.find_root(tmp_path)


@pytest.mark.parametrize("name", ["1", "01", "mini", "01-mini", "01-mini.py", "notebooks/01-mini.ipynb", "course/source/01-mini/"])
def test_a_lecture_goes_by_many_names(tmp_path: Path, name: str) -> None:
    assert [lecture.name for lecture in course.lectures(mini(tmp_path).root, [name])] == [minicourse.NAME]


def test_an_unknown_lecture_is_named_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(CourseError, match=r"9: no such lecture\. There are: 01-mini\."):
        course.lectures(mini(tmp_path).root, ["9"])


def test_every_cell_has_the_role_its_metadata_says(tmp_path: Path) -> None:
    roles = {cell.id: course.role(cell) for cell in mini(tmp_path).notebook.cells if course.grade_id(cell)}
    assert roles == {
        "setup": "setup",
        "figure-row": "figure",
        "mean": "solution",
        "test-mean": "test",
        "spread": "solution",
        "test-spread": "test",
        "experiment-dice": "experiment",
        "experiment-table": "experiment",
        "widget-third": "widget",
        "written": "written",
    }


def test_exercises_are_read_from_header_solution_and_tests(tmp_path: Path) -> None:
    mean, spread = mini(tmp_path).exercises
    assert (mean.id, mean.number, mean.points, mean.difficulty, mean.minutes, mean.test_ids) == ("mean", "1.1", 4, 1, 10, ("test-mean",))
    assert (spread.id, spread.points) == ("spread", 3)


def test_cell_ids_are_stable_unique_and_legal_even_for_equal_texts(tmp_path: Path) -> None:
    twice = minicourse.SOURCE + "\n# %% [markdown]\n# Same.\n\n# %% [markdown]\n# Same.\n"
    one, two = ([cell.id for cell in mini(tmp_path / name, twice).notebook.cells] for name in ("a", "b"))
    assert one == two
    assert len(set(one)) == len(one)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", key) for key in one)


@pytest.mark.parametrize(
    ("sound", "broken", "words"),
    [
        ('"grade_id": "spread"', '"grade_id": "mean"', "two cells have the grade_id 'mean'"),
        ("**Exercise 1.2 · `spread`**", "**Exercise 1.2**", "exercise 'spread' has no header"),
        ("(3 points · difficulty 2", "(4 points · difficulty 2", "promises 4 points and its test cells give 3"),
        ('"grade_id": "test-spread"', '"grade_id": "test-other"', "'test-other' belongs to no exercise"),
        ('"schema_version": 3', '"schema_version": 2', "nbgrader does not accept a cell's metadata"),
    ],
)
def test_an_unsound_source_is_named_with_its_cure_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sound: str, broken: str, words: str
) -> None:
    lecture = mini(tmp_path, minicourse.SOURCE.replace(sound, broken, 1))
    monkeypatch.chdir(lecture.root)
    assert cli.main(["build", "--no-solutions"]) == 1
    said = capsys.readouterr().err
    assert f"{minicourse.NAME}.py: " in said
    assert words in said
    assert "Traceback" not in said


@pytest.mark.parametrize(("text", "words"), [("", "no cells"), (None, "no such file")])
def test_a_source_that_is_none_is_named(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "x.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(CourseError, match=words):
        course.read_source(path)


@given(st.from_regex(r"[a-z][a-z_0-9]{0,20}", fullmatch=True), st.integers(2, 99))
def test_every_numbered_test_of_an_exercise_belongs_to_it_alone(name: str, number: int) -> None:
    for test in (f"test-{name}", f"test-{name}-{number}"):
        assert course.exercise_of(test, [name, f"{name}_more", "other"]) == name
        assert course.exercise_of(test, [f"{name}_more"]) is None

"""The syllabus says what the sources say."""

from __future__ import annotations

from pathlib import Path

import minicourse
import pytest

from dlcourse_utils.instructor.course import CourseError, Lecture, lectures
from dlcourse_utils.instructor.syllabus import running_seconds, syllabus, title, total_points


def mini(root: Path, source: str = minicourse.SOURCE, name: str = minicourse.NAME) -> Lecture:
    return Lecture(minicourse.write(root, source, name=name), name)


def test_it_lists_lecture_exercises_points_difficulty_and_minutes(tmp_path: Path) -> None:
    text = syllabus([mini(tmp_path)])
    assert "## 1  Numbers in a row\n" in text
    assert "[`01-mini`](../notebooks/01-mini.ipynb): 11 points, about 25 minutes of exercises\n" in text
    assert "| 1.1 | `mean` | 4 | 1 of 5 | 10 |\n| 1.2 | `spread` | 3 | 2 of 5 | 15 |\n| written | `written` | 4 | marked by hand | |\n" in text
    assert text.endswith("\nAll lectures together: 11 points.\n")


@pytest.mark.parametrize("stated", ["Running time: about 40 seconds on one CPU core.", '"Run All" takes about 40 seconds of one CPU core, measured.'])
def test_it_says_how_long_a_lecture_runs_if_the_lecture_does(tmp_path: Path, stated: str) -> None:
    source = minicourse.SOURCE.replace("It follows no lecture.", f"It follows no lecture. {stated}")
    assert "about 25 minutes of exercises, about 40 seconds of one CPU core to run\n" in syllabus([mini(tmp_path, source)])


def test_every_lecture_of_the_course_says_how_long_it_runs(checkout: Path) -> None:
    assert [lecture.name for lecture in lectures(checkout) if running_seconds(lecture) is None] == []


def test_points_of_all_lectures_are_added(tmp_path: Path) -> None:
    first, second = mini(tmp_path / "1"), mini(tmp_path / "2", name="02-more")
    assert total_points(first) == 11
    text = syllabus([first, second])
    assert text.index("`01-mini`") < text.index("`02-more`")
    assert text.endswith("All lectures together: 22 points.\n")


def test_a_lecture_without_a_heading_is_called_by_its_name(tmp_path: Path) -> None:
    assert title(mini(tmp_path, minicourse.SOURCE.replace("# # 1  Numbers in a row", "# Numbers").replace("# ## ", "# "))) == minicourse.NAME


def test_points_that_do_not_add_up_are_reported_not_listed(tmp_path: Path) -> None:
    with pytest.raises(CourseError, match="promises 5 points"):
        syllabus([mini(tmp_path, minicourse.SOURCE.replace("(4 points · difficulty 1", "(5 points · difficulty 1"))])

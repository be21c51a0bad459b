"""From a source to the notebooks: what is released, what is solved, and what a failed build leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import minicourse
import nbformat
import pytest
from nbformat import NotebookNode, from_dict
from nbformat.v4 import new_output

from dlcourse_utils.instructor import assign, build, cli, course, solve
from dlcourse_utils.instructor.course import CourseError, Lecture, grade_id

ADDRESS = "object at 0x7f00deadbeef"
FAILING = 'raise RuntimeError("the cat sat on it")\nimport random\n'


def mini(root: Path, source: str = minicourse.SOURCE) -> Lecture:
    return Lecture(minicourse.write(root, source), minicourse.NAME)


def cells(path: Path) -> dict[str, NotebookNode]:
    return {cell.id: cell for cell in nbformat.read(path, as_version=4).cells}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Lecture:
    """The small lecture, built as the command builds it. Change nothing in it."""
    lecture = mini(tmp_path_factory.mktemp("built"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(lecture.root)
        assert cli.main(["build"]) == 0
    return lecture


def test_student_version_has_stubs_for_answers_and_no_hidden_test_answer_or_scheme(built: Lecture) -> None:
    student = cells(built.student_notebook)
    assert student["mean"].source.endswith('    raise NotImplementedError("Write your answer here, then delete this line.")')
    assert student["mean"].source.startswith('def mean(numbers: list[float]) -> float:\n    """The mean of')
    assert student["written"].source == "*Write your answer here, in place of this line.*"
    text = built.student_notebook.read_text()
    for secret in ("hidden_row", "stretched_row", "check.use", "middle_of_them", "HIDDEN", "SOLUTION", "MARK SCHEME", "outliers", "incomes"):
        assert secret not in text
    assert not any(cell.get("outputs") for cell in student.values())


def test_every_code_cell_is_kept_from_being_deleted(built: Lecture) -> None:
    for cell in cells(built.student_notebook).values():
        if cell.cell_type == "code":
            assert cell.metadata.deletable is False


def test_cell_ids_are_those_of_the_source_in_all_three_notebooks(built: Lecture) -> None:
    ids = [cell.id for cell in built.notebook.cells]
    assert list(cells(built.source.with_suffix(".ipynb"))) == ids
    assert list(cells(built.student_notebook)) == ids
    assert list(cells(built.solved_notebook)) == ids


def test_solved_notebook_keeps_the_whole_source_and_earns_full_marks(built: Lecture) -> None:
    solved = cells(built.solved_notebook)
    assert {key: cell.source for key, cell in solved.items()} == {cell.id: cell.source for cell in built.notebook.cells}
    assert "mean   4 of 4 points" in solved["test-mean"].outputs[0].text
    assert solved["figure-row"].outputs[0].metadata["image/png"].alt.startswith("Three points")
    assert "widget-view" not in built.solved_notebook.read_text()
    assert [output.output_type for output in solved["widget-third"].outputs] == ["display_data", "display_data"]  # the sentence, the twin


def test_building_twice_gives_the_same_bytes_and_check_is_then_clean(built: Lecture, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    again = mini(tmp_path)
    build.build(again)
    for one, two in ((built.student_notebook, again.student_notebook), (built.solved_notebook, again.solved_notebook)):
        assert one.read_bytes() == two.read_bytes()
        assert one.read_bytes().endswith(b"}\n")
    assert list(build.check(built.root, [built])) == []


def test_released_by_nbgrader_itself_is_the_committed_notebook_and_nothing_else(built: Lecture, tmp_path: Path) -> None:
    course = minicourse.write(tmp_path) / "course"
    (course / "source" / minicourse.NAME / f"{minicourse.NAME}.ipynb").write_bytes(built.source.with_suffix(".ipynb").read_bytes())
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}  # nbgrader calls alembic from it
    environment.pop("DLCOURSE_COURSE", None)
    subprocess.run(
        [sys.executable, "-m", "nbgrader", "generate_assignment", minicourse.NAME], cwd=course, env=environment, check=True, capture_output=True, timeout=120
    )
    released = [path for path in (course / "release").rglob("*") if path.is_file()]
    assert [path.name for path in released] == [f"{minicourse.NAME}.ipynb"]  # cases.py and the source lie beside the source notebook
    assert released[0].read_bytes() == built.student_notebook.read_bytes()
    assert (course / "gradebook.db").is_file()


def test_building_the_student_version_touches_no_gradebook_and_no_release(built: Lecture) -> None:
    assert sorted(path.name for path in (built.root / "course").iterdir()) == ["nbgrader_config.py", "source", "syllabus.md"]


def test_a_failing_cell_is_named_and_the_old_files_stay(
    built: Lecture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lecture = mini(tmp_path, minicourse.SOURCE.replace("import random\n", FAILING))
    lecture.student_notebook.write_text("old")
    lecture.solved_notebook.write_text("old")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["build"]) == 1
    said = capsys.readouterr().err
    assert f"{minicourse.NAME}.py: cell 'setup': RuntimeError: the cat sat on it" in said
    assert "Traceback" not in said
    assert lecture.student_notebook.read_text() == lecture.solved_notebook.read_text() == "old"
    assert not list(tmp_path.rglob("*.new"))


def test_a_solution_that_fails_its_own_tests_is_not_built(tmp_path: Path) -> None:
    lecture = mini(tmp_path, minicourse.SOURCE.replace("return sum(numbers) / len(numbers)", "return sum(numbers)"))
    with pytest.raises(CourseError, match=r"cell 'test-mean': the reference solution gets 1 of 4 points[\s\S]*This is the sum"):
        build.build(lecture)


def test_a_cell_that_does_not_end_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solve, "CELL_SECONDS", 2)
    lecture = mini(tmp_path, minicourse.SOURCE.replace("import random\n", "while True: pass\n"))
    with pytest.raises(CourseError, match="cell 'setup': still running after 2 s"):
        build.build(lecture)


def test_a_source_that_nbgrader_refuses_is_named_with_nbgraders_reason(tmp_path: Path) -> None:
    lecture = mini(tmp_path, minicourse.SOURCE.replace("    ### END SOLUTION\n", "", 1))
    with pytest.raises(CourseError, match=r"01-mini\.py: nbgrader cannot make the student version: RuntimeError: no end solution"):
        assign.student_notebook(lecture)


def test_a_course_without_its_configuration_is_told_so(tmp_path: Path) -> None:
    lecture = mini(tmp_path)
    (tmp_path / "course" / "nbgrader_config.py").unlink()
    with pytest.raises(CourseError, match=r"nbgrader_config\.py: no such file"):
        assign.student_notebook(lecture)


def test_a_mistake_in_one_lecture_leaves_the_others_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    mini(tmp_path, minicourse.SOURCE.replace('"grade_id": "spread"', '"grade_id": "mean"'))
    second = tmp_path / "second"
    minicourse.write(second, name="02-more")
    (second / "course" / "source" / "02-more").rename(tmp_path / "course" / "source" / "02-more")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["build", "--no-solutions"]) == 1
    assert "01-mini.py: two cells have the grade_id 'mean'" in capsys.readouterr().err
    assert (tmp_path / "notebooks" / "02-more.ipynb").is_file()
    assert not (tmp_path / "notebooks" / "01-mini.ipynb").exists()


def test_check_names_every_file_that_is_not_what_the_source_builds(
    built: Lecture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lecture = mini(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["build", "--check"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "notebooks/01-mini.ipynb: missing",
        "solutions/01-mini.ipynb: missing",
        "course/syllabus.md: missing",
        "Run `dlcourse build` and commit what it writes.",
    ]

    lecture.student_notebook.write_bytes(built.student_notebook.read_bytes() + b"\n")
    lecture.solved_notebook.write_text(built.solved_notebook.read_text().replace("goes to 0", "goes to 1"))
    (tmp_path / "course" / "syllabus.md").write_text("old")
    (tmp_path / "notebooks" / "00-gone.ipynb").write_text("{}")
    (tmp_path / "solutions" / "notes.txt").write_text("")
    assert list(build.check(tmp_path, [lecture])) == [
        "notebooks/01-mini.ipynb: is not what course/source/01-mini/01-mini.py builds",
        "solutions/01-mini.ipynb: is not what course/source/01-mini/01-mini.py builds",
        "notebooks/00-gone.ipynb: belongs to no lecture; delete it",
        "solutions/notes.txt: belongs to no lecture; delete it",
        "course/syllabus.md: is not what the sources say",
    ]


@pytest.mark.parametrize(("content", "words"), [("not json", "is not a notebook"), ("", "is not a notebook"), (None, "was not run to its end")])
def test_check_names_a_solved_notebook_that_is_none_or_was_not_run(built: Lecture, tmp_path: Path, content: str | None, words: str) -> None:
    lecture = mini(tmp_path)
    lecture.solved_notebook.write_bytes(assign.source_notebook(lecture) if content is None else content.encode())
    assert any(words in line for line in build.check(tmp_path, [lecture]))


def test_check_does_not_look_at_outputs(built: Lecture, tmp_path: Path) -> None:
    lecture = mini(tmp_path)
    notebook = json.loads(built.solved_notebook.read_text())
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = []
    lecture.solved_notebook.write_text(json.dumps(notebook))
    assert not [line for line in build.check(tmp_path, [lecture]) if line.startswith("solutions/")]


def test_outputs_lose_live_widgets_and_addresses_and_keep_their_sentence() -> None:
    widget = "application/vnd.jupyter.widget-view+json"
    outputs = [
        new_output("display_data", data={widget: {"model_id": "abc"}, "text/plain": "VBox(children=(...))"}),
        new_output("display_data", data={widget: {"model_id": "abc"}, "text/plain": "Interactive picture."}),
        new_output("execute_result", data={"text/plain": f"<{ADDRESS}>"}),
        new_output("stream", name="stdout", text=f"{ADDRESS} and 0xff"),
    ]
    kept = solve.stable_outputs([from_dict(output) for output in outputs])
    assert [output.get("data", {}).get("text/plain") for output in kept] == ["Interactive picture.", "<object at 0x000000>", None]
    assert kept[2].text == "object at 0x000000 and 0xff"
    assert widget not in str(kept)
    assert ADDRESS in outputs[2].data["text/plain"], "the given outputs are left as they were"


def test_processor_time_of_the_kernel_is_reported(built: Lecture, tmp_path: Path) -> None:
    busy = minicourse.SOURCE.replace("import random\n", "import random, time\nbegin = time.process_time()\nwhile time.process_time() - begin < 1.5: pass\n")
    assert 1.5 < solve.solve(mini(tmp_path, busy)).cpu_seconds < 20


def test_grading_metadata_is_nbgraders_own(built: Lecture) -> None:
    meta = cells(built.student_notebook)["test-mean"].metadata.nbgrader
    assert (meta.points, meta.grade, meta.locked, grade_id(cells(built.student_notebook)["test-mean"])) == (4, True, True, "test-mean")
    assert len(meta.checksum) == 32


def test_what_is_committed_is_what_the_sources_build(checkout: Path) -> None:
    assert list(build.check(checkout, course.lectures(checkout))) == []

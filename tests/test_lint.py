"""Each release rule catches the defect it names, and the sound lecture passes them all."""

from __future__ import annotations

import json
from pathlib import Path

import minicourse
import pytest

from dlcourse_utils.instructor import build, cli, course, lint
from dlcourse_utils.instructor.assign import student_notebook
from dlcourse_utils.instructor.course import Lecture

WIDGET_TAG = '# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "widget-third"'
WRITTEN = minicourse.SOURCE[minicourse.SOURCE.index("# %% [markdown] nbgrader=") : minicourse.SOURCE.index("# %% [markdown]\n# ## Summary")]
EXPLANATION = "# The mean of $n$ numbers is their sum, divided by how many there are: $\\bar x = \\frac{1}{n} \\sum_i x_i$.\n"
TEST_SPREAD = minicourse.SOURCE[
    minicourse.SOURCE.index('# %% nbgrader={"grade": true, "grade_id": "test-spread"') : minicourse.SOURCE.index("# %% [markdown]\n# ## How far")
]

# rule, what to change in the sound source, into what, words of the finding
BROKEN = [
    ("exercises_add_up", "(4 points · difficulty 1", "(5 points · difficulty 1", "promises 5 points"),
    ("exercises_add_up", '"grade_id": "test-mean"', '"grade_id": "test-median"', "belongs to no exercise"),
    ("title_agrees", "About 45 minutes, 11 points.", "About 45 minutes, 12 points.", "the cells give 11"),
    ("title_agrees", "About 45 minutes, 11 points.", "About 20 minutes, 11 points.", "the exercises alone take 25"),
    ("title_agrees", "About 45 minutes, 11 points.", "", "does not say how many points"),
    ("code_cells_are_known", "# %% [markdown]\n# ## Summary", "# %%\nunknown = 1\n\n# %% [markdown]\n# ## Summary", "no nbgrader metadata"),
    ("explained_before", EXPLANATION, "", "no explanation stands before exercise 1.1"),
    ("header_before_and_tests_after", "# **Exercise 1.2 · `spread`**", "# **Exercise 1.2 · `deviation`**", "its header is not"),
    ("header_before_and_tests_after", TEST_SPREAD, "# %% [markdown]\n# More.\n\n" + TEST_SPREAD, "does not come right after it"),
    ("two_hints", "# <details><summary>Hint 2: the squares</summary> It is a mean, too: of the squared distances. </details>\n", "", "1 folded hints"),
    ("complete", 'twin=[{"third": 3.0}, {"third": 9.0}], ', "", "no widget with a static twin"),
    ("complete", "claims.show(Claim(", "print(Claim(", "no table of claims"),
    ("complete", WRITTEN, "", "no written question"),
    ("complete", "BEGIN MARK SCHEME", "BEGIN", "nothing between 'BEGIN MARK SCHEME'"),
    ("cells_are_plain_python", "import random\n", "import random as\n", "not plain Python"),
    ("solutions_only_define", "def spread(numbers: list[float])", "half = 0.5\ndef spread(numbers: list[float])", "'half = 0.5' is neither"),
    ("solutions_are_typed_and_documented", "def spread(numbers: list[float]) -> float:", "def spread(numbers) -> float:", "type of numbers"),
    ("solutions_are_typed_and_documented", "def spread(numbers: list[float]) -> float:", "def spread(numbers: list[float]):", "what it returns"),
    ("solutions_are_typed_and_documented", '    """The mean squared distance of ``numbers`` from their mean."""\n', "", "spread() has no docstring"),
    (
        "solutions_are_typed_and_documented",
        "def spread(numbers: list[float])",
        "class Row:\n    pass\ndef spread(numbers: list[float])",
        "class Row has no docstring",
    ),
    ("tests_open_and_report", 'checks.exercise("spread", points=3)', 'checks.exercise("mean", points=3)', "open once with"),
    ("tests_open_and_report", 'checks.exercise("spread", points=3)', 'checks.exercise("spread", points=2)', "open once with"),
    (
        "tests_open_and_report",
        "### END HIDDEN TESTS\ncheck.report()\n\n# %% [markdown]\n# ## How",
        "### END HIDDEN TESTS\n3\n\n# %% [markdown]\n# ## How",
        "last line is not",
    ),
    ("checks_add_up", 'with check("two numbers", points=1)', 'with check("two numbers", points=2)', "its checks give 4 points and the cell 3"),
    ("checks_add_up", 'with check("two numbers", points=1)', 'with check("two numbers", points=len("a"))', "cannot be read"),
    (
        "tests_swallow_nothing",
        'with check("two numbers", points=1):\n',
        'try:\n    pass\nexcept ValueError:\n    pass\nwith check("two numbers", points=1):\n',
        "a try of its own",
    ),
    (
        "tests_swallow_nothing",
        'with check("two numbers", points=1):',
        'with check("two numbers", points=1), contextlib.suppress(ValueError):',
        "suppresses errors",
    ),
    ("tests_swallow_nothing", 'with check("two numbers", points=1):', "with check:", "lacks a name"),
    (
        "calls_stand_in_checks",
        'with check("two numbers", points=1):',
        'early = spread([1.0, 2.0])\nwith check("two numbers", points=1):',
        "spread() is called outside",
    ),
    (
        "calls_stand_in_checks",
        'with check("two numbers", points=1):',
        'def helper():\n    return spread([1.0])\nearly = helper()\nwith check("two numbers", points=1):',
        "helper() is called outside",
    ),
    (
        "tests_keep_stderr_clean",
        'with check("two numbers", points=1):\n',
        'with check("two numbers", points=1):\n    warnings.warn("careful")\n',
        "warnings.warn writes to stderr",
    ),
    (
        "tests_keep_stderr_clean",
        'with check("two numbers", points=1):\n',
        'with check("two numbers", points=1):\n    print(1, file=sys.stderr)\n',
        "sys.stderr writes to stderr",
    ),
    (
        "shown_only_names_stay",
        "check.close(spread([1.0, 3.0]), 1.0",
        "row_axes\n    check.close(spread([1.0, 3.0]), 1.0",
        "uses row_axes, which only 'figure-row' defines",
    ),
    ("figures_go_through_plotting", "plotting.show(row_figure,", "plt.show()\nplotting.show(row_figure,", "plt.show(…) shows a figure without alt text"),
    (
        "figures_go_through_plotting",
        'plotting.show(row_figure, alt="Three points on a line, at 1, 2 and 6; their mean is 3.")',
        'row_axes.set_title("x")',
        "its last line draws",
    ),
    ("changing_output_is_tagged", WIDGET_TAG, WIDGET_TAG.replace('tags=["nbval-ignore-output"] ', ""), "widgets.explore() prints something new"),
]


def lecture(tmp_path: Path, source: str = minicourse.SOURCE) -> Lecture:
    return Lecture(minicourse.write(tmp_path, source), minicourse.NAME)


def found(rule: str, where: Lecture) -> list[str]:
    [chosen] = [r for r in lint.RULES if r.__name__ == rule]
    return [finding.shown(where.root) for finding in lint.findings(where, (chosen,))]


@pytest.mark.parametrize(("rule", "sound", "broken", "words"), BROKEN, ids=[f"{row[0]}-{i}" for i, row in enumerate(BROKEN)])
def test_rule_catches_its_defect_and_names_file_cell_and_cure(tmp_path: Path, rule: str, sound: str, broken: str, words: str) -> None:
    assert minicourse.SOURCE.count(sound) >= 1, "the sound source no longer holds what this case breaks"
    lines = found(rule, lecture(tmp_path, minicourse.SOURCE.replace(sound, broken)))
    assert any(words in line for line in lines), lines
    assert all(line.startswith(f"course/source/{minicourse.NAME}/{minicourse.NAME}.py: ") for line in lines)


def test_every_rule_passes_the_sound_lecture_once_it_is_built(tmp_path: Path) -> None:
    sound = lecture(tmp_path)
    build.build(sound)
    assert [finding.shown(tmp_path) for finding in lint.findings(sound)] == []


def test_every_rule_has_a_dated_docstring_and_a_defect_it_was_seen_to_catch() -> None:
    built = {"notebooks_are_built", "no_outputs_in_sources", "figures_have_alt_text", "nothing_on_stderr", "no_answer_within_reach"}
    assert {rule.__name__ for rule in lint.RULES} == {row[0] for row in BROKEN} | built
    assert all("Since 20" in str(rule.__doc__) for rule in lint.RULES)


def test_a_function_that_trains_makes_its_caller_need_the_tag(tmp_path: Path) -> None:
    source = minicourse.SOURCE.replace("    dice = random.Random(seed)\n", "    training.fit(seed)\n    dice = random.Random(seed)\n")
    assert found("changing_output_is_tagged", lecture(tmp_path / "tagged", source)) == []
    untagged = source.replace(
        '# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "experiment-table"',
        '# %% nbgrader={"grade": false, "grade_id": "experiment-table"',
    )
    assert any("experiment-table: strays() prints" in line for line in found("changing_output_is_tagged", lecture(tmp_path / "untagged", untagged)))


def test_an_answer_called_in_a_lambda_or_a_helper_inside_a_check_is_fine(tmp_path: Path) -> None:
    later = 'def helper():\n    return spread([1.0, 3.0])\nlater = lambda: spread([1.0])\nwith check("two numbers", points=1):\n    helper()\n'
    assert found("calls_stand_in_checks", lecture(tmp_path, minicourse.SOURCE.replace('with check("two numbers", points=1):\n', later))) == []


def test_a_local_name_in_a_function_is_not_taken_for_one_of_a_figure(tmp_path: Path) -> None:
    local = 'def helper(row_axes):\n    return row_axes\n\nwith check("two numbers", points=1):\n'
    assert found("shown_only_names_stay", lecture(tmp_path, minicourse.SOURCE.replace('with check("two numbers", points=1):\n', local))) == []


def test_a_second_part_of_an_exercise_needs_no_second_explanation(tmp_path: Path) -> None:
    start = minicourse.SOURCE.index("# %% [markdown]\n# ## The spread")
    source = minicourse.SOURCE[:start] + minicourse.SOURCE[minicourse.SOURCE.index("# %% [markdown]\n# **Exercise 1.2") :]
    assert found("explained_before", lecture(tmp_path / "whole", source)) != []
    assert (
        found("explained_before", lecture(tmp_path / "part", source.replace("Exercise 1.2", "Exercise 1.1b").replace("Exercise 1.1 ", "Exercise 1.1a "))) == []
    )


def test_a_source_that_cannot_be_read_is_one_finding(tmp_path: Path) -> None:
    twice = lecture(tmp_path, minicourse.SOURCE.replace('"grade_id": "spread"', '"grade_id": "mean"'))
    [line] = [finding.shown(tmp_path) for finding in lint.findings(twice)]
    assert line.startswith("course/source/01-mini/01-mini.py: two cells have the grade_id 'mean'.")


def solved(where: Lecture, *outputs: dict[str, object]) -> None:
    cell = {"id": "figure-row", "cell_type": "code", "source": "", "metadata": {}, "execution_count": 1, "outputs": list(outputs)}
    where.solved_notebook.write_text(json.dumps({"cells": [cell]}))


WORDS = "A line that rises from 1 to 2."


@pytest.mark.parametrize(
    ("data", "alt"),
    [
        ({"image/png": "aGk=", "text/html": f'<img alt="{WORDS}" src="">'}, ""),
        ({"image/png": "aGk=", "text/html": f'<img alt="{WORDS}" src="">'}, "a picture"),
        ({"image/png": "aGk=", "text/html": '<img alt="" src="">'}, WORDS),
        ({"image/png": "aGk="}, WORDS),
        ({"text/html": ["<p>", '<img src=""></p>']}, ""),
    ],
    ids=["no metadata", "too short", "an empty alt", "no HTML", "HTML alone"],
)
def test_a_picture_without_words_is_found(tmp_path: Path, data: dict[str, object], alt: str) -> None:
    where = lecture(tmp_path)
    solved(where, {"output_type": "display_data", "data": data, "metadata": {"image/png": {"alt": alt}}})
    [line] = found("figures_have_alt_text", where)
    assert line.startswith("solutions/01-mini.ipynb: figure-row: a picture has no alt text")


def test_a_warning_in_a_solved_notebook_is_found(tmp_path: Path) -> None:
    where = lecture(tmp_path)
    solved(where, {"output_type": "stream", "name": "stderr", "text": ["UserWarning"]})
    [line] = found("nothing_on_stderr", where)
    assert "figure-row: it writes to stderr" in line


def test_an_output_in_a_student_notebook_or_a_missing_notebook_is_found(tmp_path: Path) -> None:
    where = lecture(tmp_path)
    assert len(found("notebooks_are_built", where)) == 2
    solved(where, {"output_type": "stream", "name": "stdout", "text": "3.0"})
    where.solved_notebook.rename(where.student_notebook)
    [line] = found("no_outputs_in_sources", where)
    assert line.startswith("notebooks/01-mini.ipynb: figure-row: it holds an output")


@pytest.mark.parametrize(
    ("secret", "origin"),
    [
        ("    return sum(numbers) / len(numbers)", "the secret part of 'mean'"),
        ("hidden_row = list(check.rng.normal(size=7))", "the secret part of 'test-mean'"),
        ("When one number is far from all the others, as with incomes: a single very rich person moves the mean and nobody else.", "of 'written'"),
        ("squares = mean([number * number for number in numbers])", "cases.py"),
        ("### BEGIN HIDDEN TESTS", "what students must not get"),
    ],
)
def test_one_line_of_an_answer_in_a_student_notebook_is_found(tmp_path: Path, secret: str, origin: str) -> None:
    where = lecture(tmp_path)
    where.student_notebook.write_bytes(student_notebook(where))
    assert found("no_answer_within_reach", where) == []
    notebook = json.loads(where.student_notebook.read_text())
    notebook["cells"][-1]["source"] = f"Summary\n{secret}\n"
    where.student_notebook.write_text(json.dumps(notebook))
    [line] = found("no_answer_within_reach", where)
    assert line.startswith("notebooks/01-mini.ipynb: ")
    assert origin in line


@pytest.mark.parametrize(
    ("text", "offenders"),
    [
        ("def helper(numbers):\n    middle_of_them = mean(numbers)\n    return mean([(number - middle_of_them) ** 2 for number in numbers])\n", 2),
        ("class mean:\n    pass\n", 1),
        ("# When one number is far\n", 0),
        ("def helper(numbers):\n    return sum(numbers) / len(numbers)\n", 0),  # a phrase that programs share
        ("    ### BEGIN SOLUTION\n", 1),
    ],
)
def test_an_answer_in_the_helper_package_is_found_and_a_shared_phrase_is_not_one(tmp_path: Path, text: str, offenders: int) -> None:
    where = lecture(tmp_path)
    package = tmp_path / "dlcourse_utils"
    (package / "instructor").mkdir(parents=True)
    (package / "instructor" / "engine.py").write_text(minicourse.SOURCE)
    (package / "helper.py").write_text(text)
    lines = found("no_answer_within_reach", where)
    assert len(lines) == offenders, lines
    assert all(line.startswith("dlcourse_utils/helper.py: ") for line in lines)


@pytest.mark.parametrize(
    ("loop", "sound"),
    [
        ('for _ in (1, 2):\n    with check("two numbers", points=0.5):\n        ', True),
        ('rows = {"a": 1, "b": 2}\nfor i, (name, row) in enumerate(rows.items()):\n    with check("two numbers", points=0.5):\n        ', True),
        ('for _ in range(2):\n    with check("two numbers", points=0.5):\n        ', True),
        ('for _ in zip(rows, (1, 2)):\n    with check("two numbers", points=0.5):\n        ', True),
        ('for _ in (1, 2, 3):\n    with check("two numbers", points=0.5):\n        ', False),
        ('for _ in check.seeds(2):\n    with check("two numbers", points=0.5):\n        ', False),
    ],
)
def test_checks_in_a_loop_over_a_literal_are_counted(tmp_path: Path, loop: str, sound: bool) -> None:
    source = minicourse.SOURCE.replace('with check("two numbers", points=1):\n    ', loop)
    assert source != minicourse.SOURCE
    assert (found("checks_add_up", lecture(tmp_path, source)) == []) is sound


def test_what_only_the_solution_defines_needs_no_types(tmp_path: Path) -> None:
    source = minicourse.SOURCE.replace(
        "for number in numbers])\n    ### END SOLUTION", "for number in numbers])\n\n\ndef halved(number):\n    return number / 2\n    ### END SOLUTION"
    )
    assert source != minicourse.SOURCE
    assert found("solutions_are_typed_and_documented", lecture(tmp_path, source)) == []


def test_the_command_prints_offenders_and_exits_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(lecture(tmp_path, minicourse.SOURCE.replace("About 45 minutes, 11 points.", "About 45 minutes, 12 points.")).root)
    assert cli.main(["lint", "1"]) == 1
    out = capsys.readouterr().out
    assert "01-mini.py: mark-" in out
    assert "Write 11." in out
    assert cli.main(["lint", "--rules"]) == 0
    assert cli.main(["lint", "9"]) == 2


LECTURES = course.lectures(minicourse.CHECKOUT)


@pytest.mark.parametrize("real", LECTURES, ids=[real.name for real in LECTURES])
def test_the_lectures_of_this_course_pass_every_rule(real: Lecture) -> None:
    assert [finding.shown(real.root) for finding in lint.findings(real)] == []

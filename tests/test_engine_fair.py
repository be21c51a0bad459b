"""What is graded is the released notebook with the student's answers, whatever became of the rest of the file."""

from __future__ import annotations

import copy
import datetime
import json
import os
from pathlib import Path

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from nbgrader.coursedir import CourseDirectory

from dlcourse_utils.instructor.course import CourseError, grade_id
from dlcourse_utils.instructor.engine import helpers
from dlcourse_utils.instructor.engine.admit import admit, oddities, refused
from dlcourse_utils.instructor.engine.collect import Collect
from dlcourse_utils.instructor.engine.reading import Cell, Submission, read
from dlcourse_utils.instructor.engine.rebuild import SKIP, rebuild
from dlcourse_utils.instructor.engine.released import Released

STUB = "raise NotImplementedError"
RIGHT = "def mean(numbers):\n    return sum(numbers) / len(numbers)"
HIDDEN = "check(mean)\n### BEGIN HIDDEN TESTS\nhidden(mean)\n### END HIDDEN TESTS"


def labelled(name: str, source: str, *, kind: str = "code", **flags: object) -> NotebookNode:
    label = {"grade_id": name, "grade": False, "solution": False, "locked": True, "task": False, "schema_version": 3} | flags
    new = new_code_cell if kind == "code" else new_markdown_cell
    return new(source, id=name, metadata={"nbgrader": label})


RELEASED = new_notebook(
    cells=[
        new_markdown_cell("# Means", id="title"),
        labelled("setup", "import math"),
        labelled("figure-row", "draw()"),
        labelled("mean", f"def mean(numbers):\n    {STUB}", solution=True, locked=False),
        labelled("test-mean", "check(mean)", grade=True, points=4),
        labelled("spread", f"def spread(numbers):\n    {STUB}", solution=True, locked=False),
        labelled("test-spread", "check(spread)", grade=True, points=3),
        new_markdown_cell("When is a mean of little use?", id="question"),
        labelled("written", "*Write here.*", kind="markdown", grade=True, solution=True, locked=False, points=4),
    ]
)
SOURCES = {str(grade_id(cell)): cell.source for cell in RELEASED.cells if grade_id(cell)} | {"test-mean": HIDDEN}


def handed_in(**answers: str) -> NotebookNode:
    notebook = copy.deepcopy(RELEASED)
    for cell in notebook.cells:
        cell.source = answers.get(cell.id, cell.source)
    return notebook


def cell_of(notebook: NotebookNode, name: str) -> NotebookNode:
    return next(cell for cell in notebook.cells if cell.id == name)


def graded(tmp_path: Path, notebook: NotebookNode | str) -> tuple[NotebookNode, list[str]]:
    path = tmp_path / "x.ipynb"
    path.write_text(notebook if isinstance(notebook, str) else json.dumps(notebook), encoding="utf-8")
    result, remarks = rebuild(Released(RELEASED, SOURCES), read(path))
    nbformat.validate(result)
    return result, [remark.text for remark in remarks]


def run(notebook: NotebookNode) -> list[str]:
    """The sources that would be executed, in order."""
    return [cell.source for cell in notebook.cells if cell.cell_type == "code" and SKIP not in cell.metadata.get("tags", [])]


WHOLE = ["import math", RIGHT, HIDDEN, f"def spread(numbers):\n    {STUB}", "check(spread)"]


def test_answers_are_put_into_the_released_notebook_and_nothing_is_remarked(tmp_path):
    result, remarks = graded(tmp_path, handed_in(mean=RIGHT, written="Because of outliers."))
    assert run(result) == WHOLE
    assert cell_of(result, "written").source == "Because of outliers."
    assert remarks == []


def test_a_released_cell_that_is_no_python_is_named():
    released = copy.deepcopy(RELEASED)
    cell_of(released, "mean")["source"] = "def mean(numbers:\n    pass"
    with pytest.raises(CourseError, match=r"'mean' is no Python.*release it again"):
        rebuild(Released(released, SOURCES), Submission())


def test_cells_of_their_own_prints_and_notes_cost_nothing_and_are_not_remarked(tmp_path):
    notebook = handed_in(mean=RIGHT)
    notebook.cells.insert(5, new_code_cell("print(mean([1, 2]))\nimport warnings; warnings.warn('!')"))
    notebook.cells.insert(1, new_markdown_cell("my notes"))
    notebook.cells.append(new_code_cell("while True: pass"))
    result, remarks = graded(tmp_path, notebook)
    assert run(result) == WHOLE
    assert [cell.source for cell in result.cells][1] == "my notes"
    assert remarks == []


def test_helper_in_a_cell_of_their_own_is_run_where_it_stood(tmp_path):
    notebook = handed_in(mean="def mean(numbers):\n    return total(numbers) / len(numbers)")
    notebook.cells.insert(1, new_code_cell("%time pass\nadd = sum"))
    notebook.cells.insert(4, new_code_cell("def total(numbers):\n    return add(numbers)"))
    result, _ = graded(tmp_path, notebook)
    assert run(result)[:4] == ["%time pass\nadd = sum", "import math", "def total(numbers):\n    return add(numbers)", notebook.cells[5].source]


@pytest.mark.parametrize(
    ("own", "runs"),
    [
        ("cache['a'] = 1", True),
        ("cache.size = 1", True),
        ("import numpy as np", True),
        ("x = 1", False),
        ("mean([1])", False),
        ("def mean(n): return 0", True),
        ("def (", False),
    ],
)
def test_only_what_an_answer_reads_is_needed(own, runs):
    assert helpers.needed(["def f(x):\n    return np.mean(cache[x])"], [own], ["mean"]) == ({0} if runs else set())


def without(*names: str) -> NotebookNode:
    notebook = handed_in(mean=RIGHT)
    notebook["cells"] = [cell for cell in notebook.cells if cell.id not in names]
    return notebook


def changed(name: str, **fields: object) -> NotebookNode:
    notebook = handed_in(mean=RIGHT)
    cell = cell_of(notebook, name)
    for key, value in fields.items():
        if key in ("source", "cell_type", "id"):
            cell[key] = value
        elif key == "tags":
            cell.metadata["tags"] = value
        else:
            cell.metadata.nbgrader[key] = value
    return notebook


def moved() -> NotebookNode:
    notebook = handed_in(mean=RIGHT)
    notebook.cells.append(notebook.cells.pop(3))
    return notebook


def unlabelled(*, keep_id: bool) -> NotebookNode:
    notebook = handed_in(mean=RIGHT)
    cell = cell_of(notebook, "mean")
    del cell.metadata["nbgrader"]
    if not keep_id:
        cell["id"] = "a1b2"
    return notebook


def as_version_3() -> str:
    notebook = json.loads(json.dumps(handed_in(mean=RIGHT)))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["input"] = cell.pop("source").splitlines(keepends=True)
        del cell["id"]
    return json.dumps({"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": notebook["cells"]}]})


@pytest.mark.parametrize(
    ("notebook", "said"),
    [
        (without("test-mean", "setup"), ["'setup' was deleted; it was put back.", "'test-mean' was deleted; it was put back."]),
        (changed("mean", cell_type="markdown"), ["'mean' was turned into a markdown cell"]),
        (changed("test-mean", cell_type="raw"), ["'test-mean' was turned into a markdown cell"]),
        (changed("test-mean", source="4.0"), ["'test-mean' was changed; the released cell was run"]),
        (changed("test-mean", tags=["skip-execution", "raises-exception"]), ["'test-mean' had the tag raises-exception and skip-execution"]),
        (changed("mean", tags=["skip-execution"]), ["'mean' had the tag skip-execution"]),
        (changed("mean", schema_version=99), ["'mean' had its label changed"]),
        (changed("test-mean", points=400), ["'test-mean' had its label changed"]),
        (changed("setup", grade_id="figure-unknown", id="q"), ["'setup' was deleted", "labelled 'figure-unknown', which was never released"]),
        (changed("setup", grade_id=["what"], id="q"), ["'setup' was deleted"]),
        (moved(), ["Cells were in another order"]),
        (unlabelled(keep_id=True), ["'mean' had lost its label; it was known by its id"]),
        (unlabelled(keep_id=False), ["'mean' had lost its label; it was known by the name it defines"]),
        (as_version_3(), []),
    ],
)
def test_oddity_costs_nothing_and_is_told(tmp_path, notebook, said):
    result, remarks = graded(tmp_path, notebook)
    assert run(result) == WHOLE
    assert len(remarks) == len(said)
    for remark, part in zip(remarks, said, strict=True):
        assert part in remark


@pytest.mark.parametrize(("name", "place"), [("mean", 4), ("mean", 9)])
def test_cell_that_was_split_or_copied_runs_in_all_its_parts_in_their_order(tmp_path, name, place):
    notebook = handed_in(mean="import math as m")
    part = copy.deepcopy(cell_of(notebook, name))
    part["id"], part["source"] = "part", RIGHT
    notebook.cells.insert(place, part)
    result, remarks = graded(tmp_path, notebook)
    assert [source for source in run(result) if source in ("import math as m", RIGHT)] == ["import math as m", RIGHT]
    assert run(result).index(RIGHT) == (2 if place == 4 else 5)
    assert "was there 2 times" in remarks[0]


def test_answer_that_was_deleted_is_graded_as_left_blank(tmp_path):
    result, remarks = graded(tmp_path, without("mean"))
    assert STUB in run(result)[1]
    assert remarks == ["no answer cell for 'mean'; graded as left blank."]


def test_answer_written_into_the_question_is_kept_for_the_reader(tmp_path):
    result, _ = graded(tmp_path, handed_in(question="When is a mean of little use?\n\nWith outliers."))
    assert [cell.source for cell in result.cells][-2:] == ["When is a mean of little use?\n\nWith outliers.", "*Write here.*"]


def test_no_html_of_theirs_opens_in_text_that_is_shown_to_readers(tmp_path):
    notebook = handed_in(written="<script>x</script> if a<b or a < b", mean="x = '<b>'")
    notebook.cells.insert(1, new_markdown_cell("<img onerror=x> <!-- --> </body>"))
    result, _ = graded(tmp_path, notebook)
    assert cell_of(result, "written").source == "&lt;script>x&lt;/script> if a&lt;b or a < b"
    assert result.cells[1].source == "&lt;img onerror=x> &lt;!-- --> &lt;/body>"
    assert cell_of(result, "mean").source == "x = '<b>'"


@pytest.mark.parametrize(
    ("link", "shown"),
    [
        ("[x](javascript:f())", "[x] (javascript:f())"),
        ("[x]( &#106;avascript:f())", "[x] ( &#106;avascript:f())"),
        ("[x][y]\n\n[y]: data:text/html,x", "[x][y]\n\n[y] : data:text/html,x"),
        ("![drawn](attachment:a.png) [x](https://x.org) [y](#top)", "![drawn](attachment:a.png) [x](https://x.org) [y](#top)"),
    ],
)
def test_no_link_of_theirs_leads_to_a_script(tmp_path, link, shown):
    assert cell_of(graded(tmp_path, handed_in(written=link))[0], "written").source == shown


def test_picture_that_was_pasted_into_an_answer_is_kept(tmp_path):
    notebook = handed_in(written="![drawn](attachment:a.png)")
    cell_of(notebook, "written")["attachments"] = {"a.png": {"image/png": "AAAA", "text/html": "<b>"}, "odd": 7}
    assert cell_of(graded(tmp_path, notebook)[0], "written").attachments == {"a.png": {"image/png": "AAAA"}}


def test_another_notebook_is_graded_as_blank_and_said_to_be_another(tmp_path):
    result, remarks = graded(tmp_path, new_notebook(cells=[new_code_cell("1 + 1")]))
    assert run(result) == [WHOLE[0], SOURCES["mean"], *WHOLE[2:]]
    assert remarks == ["another notebook: it has none of these exercises. Ask for the right one."]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b'{"cells": [', "ends in the middle"),
        (b"Dear all", "no JSON"),
        (b"PK\x03\x04\xff\xfe\x00", "some other kind of file"),
        (b"[1, 2]", "JSON of another kind"),
        (b'{"cells": ["a"]}', "JSON of another kind"),
        (b"[" * 100_000, "no JSON"),
    ],
)
def test_file_that_is_no_notebook_is_named_for_what_it_is(tmp_path, content, said):
    path = tmp_path / "x.ipynb"
    path.write_bytes(content)
    assert said in read(path).trouble


def test_byte_that_is_no_text_spoils_its_own_place_only(tmp_path):
    path = tmp_path / "x.ipynb"
    path.write_bytes(json.dumps({"cells": [{"cell_type": "code", "source": ["# caf?", "\ud800"]}]}).encode().replace(b"?", b"\xe9"))
    assert read(path) == Submission((Cell("code", "# caf\ufffd?"),))


json_values = st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(), v, max_size=3))
cells = st.dictionaries(
    st.sampled_from(["cell_type", "source", "input", "id", "metadata"]),
    json_values | st.fixed_dictionaries({"nbgrader": st.fixed_dictionaries({"grade_id": st.sampled_from(["mean", "test-mean", "setup"]) | json_values})}),
)


@given(st.fixed_dictionaries({"cells": st.lists(cells | json_values)}) | json_values)
def test_whatever_json_was_handed_in_the_released_cells_are_graded(tmp_path_factory, content):
    result, _ = graded(tmp_path_factory.getbasetemp(), json.dumps(content))
    names = [grade_id(cell) for cell in result.cells if grade_id(cell)]
    assert names == list(SOURCES)
    assert cell_of(result, "test-mean").source == HIDDEN


@pytest.fixture
def folder(tmp_path) -> Path:
    made = tmp_path / "submitted" / "ada" / "01-mini"
    made.mkdir(parents=True)
    return made


def test_what_is_no_work_is_moved_aside_and_told(folder, tmp_path):
    (folder / "01-mini.ipynb").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to(tmp_path)
    (folder / "timestamp.txt").write_text("the day before yesterday")
    (folder / "notes.txt").write_text("mine")
    names = [str(folder / "01-mini.ipynb")]
    admit("01-mini", "*", names)
    assert sorted(path.name for path in folder.iterdir()) == ["01-mini.ipynb", "notes.txt"]
    assert (folder / "01-mini.ipynb").read_bytes() == b""
    assert not (folder / "01-mini.ipynb").is_symlink()
    told = list(oddities(folder, "01-mini"))
    assert [line.split("'")[1] for line in told] == ["01-mini.ipynb", "link", "pipe", "timestamp.txt"]
    assert "a link, to '/etc/passwd'" in told[0]
    admit("01-mini", "*", names)  # once more changes nothing
    assert list(oddities(folder, "01-mini")) == told


def test_renamed_notebook_is_graded_under_its_right_name(folder):
    (folder / "01-mini (1).ipynb").write_text("{}")
    (folder / "other.ipynb").write_text("[]")
    names = [str(folder / "01-mini (1).ipynb"), str(folder / "other.ipynb")]
    admit("01-mini", "ada", names)
    assert names == [str(folder / "01-mini.ipynb")]
    assert (folder / "01-mini.ipynb").read_text() == "{}"
    assert list(oddities(folder, "01-mini")) == ["It was handed in as '01-mini (1).ipynb'."]


def test_time_of_a_submission_is_the_exchanges_and_links_are_left_behind(tmp_path):
    inbound = tmp_path / "exchange" / "inbound"
    forged = inbound / "ada+01-mini+1999-01-01 00:00:00 UTC+x"
    forged.mkdir(parents=True)
    (forged / "timestamp.txt").write_text("1999-01-01 00:00:00 UTC")
    (forged / "01-mini.ipynb").symlink_to("/etc/passwd")
    (forged / "note.txt").write_text("mine")
    coursedir = CourseDirectory(root=str(tmp_path / "course"), assignment_id="01-mini")
    collect = Collect(coursedir=coursedir)
    record = collect._path_to_record(str(forged))
    assert record["username"] == "ada"
    target = tmp_path / "course" / "submitted" / "ada" / "01-mini"
    target.parent.mkdir(parents=True)
    collect.do_copy(str(forged), str(target))
    assert sorted(path.name for path in target.iterdir()) == ["note.txt", "timestamp.txt"]
    stamped = coursedir.get_existing_timestamp(str(target))
    assert abs(stamped - datetime.datetime.now(datetime.UTC).replace(tzinfo=None)) < datetime.timedelta(minutes=1)
    assert (refused(target) / "timestamp.txt").read_text() == "1999-01-01 00:00:00 UTC"
    assert stamped == record["timestamp"], "collecting again copies nothing"


def test_folder_in_the_exchange_with_a_strange_name_stops_nobody(tmp_path):
    odd = tmp_path / "eve+01-mini+never"
    odd.mkdir()
    assert Collect(coursedir=CourseDirectory(root=str(tmp_path), assignment_id="01-mini"))._path_to_record(str(odd))["username"] == "eve"

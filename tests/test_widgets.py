"""An interactive picture works by keyboard and by hand, is there without widgets too, and never stops a notebook."""

from __future__ import annotations

import base64
import io
import sys

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from PIL import Image

from dlcourse_utils import plotting, widgets

SLIDERS: dict[str, widgets.Control] = {"w1": (-2.0, 2.0, 0.05, 1.0), "n": (1, 9, 2, 3), "kind": ["AND", "XOR"], "noise": False}
TWIN = [{"w1": 1.0}, {"w1": -0.5, "kind": "XOR"}]


def draw(w1: float, n: int, kind: str, noise: bool) -> tuple[plotting.Figure, str]:
    figure, ax = plotting.subplots(width=2, height=1.5)
    plotting.curves(ax, {kind: np.full(n, w1)})
    return figure, f"A level line at {w1} for {kind}, {n} points."


@pytest.fixture
def outputs(monkeypatch):
    """What reaches a notebook, and a way to the live controls."""
    shown: list[tuple[dict, dict]] = []
    for module in (plotting, widgets):
        monkeypatch.setattr(module, "get_ipython", lambda: object())
        monkeypatch.setattr(module, "display", lambda content, raw, metadata=None: shown.append((content, metadata or {})))
    return shown


@pytest.fixture
def box(monkeypatch):
    """The box of controls that ``explore`` made last."""
    import ipywidgets

    made = []
    real = ipywidgets.VBox

    def keep(children):
        made.append(real(children))
        return made[-1]

    monkeypatch.setattr(ipywidgets, "VBox", keep)
    yield made
    for one in made:
        for child in one.children:
            child.close()
        one.close()


def picture_of(box) -> str:
    return box[0].children[-1].value


def control(box, name: str):
    return next(child for child in box[0].children if child.description == name)


def test_each_kind_of_control_is_made_with_its_name_and_start(outputs, box):
    widgets.explore(draw, sliders=SLIDERS, twin=TWIN, title="A <line>")
    heading, w1, n, kind, noise, _ = box[0].children
    assert heading.value == "<strong>A &lt;line&gt;</strong>"
    assert [(type(c).__name__, c.description, c.value) for c in (w1, n, kind, noise)] == [
        ("FloatSlider", "w1", 1.0), ("IntSlider", "n", 3), ("Dropdown", "kind", "AND"), ("Checkbox", "noise", False),
    ]  # fmt: skip
    assert (w1.min, w1.max, w1.step, w1.readout_format) == (-2, 2, 0.05, ".2f")
    assert not w1.continuous_update
    assert not n.continuous_update


def test_a_change_draws_the_picture_and_its_alt_text_anew(outputs, box):
    widgets.explore(draw, sliders=SLIDERS, twin=TWIN)
    before = picture_of(box)
    control(box, "w1").value = -1.5
    after = picture_of(box)
    assert 'alt="A level line at 1.0 for AND, 3 points."' in before
    assert 'alt="A level line at -1.5 for AND, 3 points."' in after
    assert before.split("base64,")[1] != after.split("base64,")[1]


def test_rounding_errors_of_a_sliders_steps_do_not_reach_the_picture(outputs, box):
    widgets.explore(draw, sliders=SLIDERS, twin=TWIN)
    control(box, "w1").value = 0.44999999999999996  # what nine steps by the keyboard give
    assert 'alt="A level line at 0.45 for AND, 3 points."' in picture_of(box)


def test_the_static_twin_shows_every_setting_in_one_picture_with_one_alt_text(outputs, box):
    widgets.explore(draw, sliders=SLIDERS, twin=TWIN)
    (live, _), (twin, metadata) = outputs
    assert "application/vnd.jupyter.widget-view+json" in live
    assert "Interactive picture" in live["text/plain"]
    assert metadata["image/png"]["alt"] == "w1 = 1: A level line at 1.0 for AND, 3 points. w1 = -0.5, kind = XOR: A level line at -0.5 for XOR, 3 points."
    image = Image.open(io.BytesIO(base64.b64decode(twin["image/png"])))
    assert image.width > 2 * 180


def test_the_twin_alone_is_shown_where_ipywidgets_is_missing(outputs, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    widgets.explore(draw, sliders=SLIDERS, twin=TWIN)
    assert [sorted(content) for content, _ in outputs] == [["image/png", "text/html", "text/plain"]]


def test_alt_text_cannot_break_out_of_its_attribute(outputs, box):
    def sly(w1: float) -> tuple[plotting.Figure, str]:
        return plotting.subplots()[0], 'a "quoted" <b>text</b> that is long enough'

    widgets.explore(sly, sliders={"w1": (0, 1, 1, 0)}, twin=[{"w1": 1}])
    assert 'alt="a &quot;quoted&quot; &lt;b&gt;text&lt;/b&gt; that is long enough"' in picture_of(box)


def unwritten(x: float) -> float:
    raise NotImplementedError


def test_an_unwritten_answer_is_named_and_nothing_else_is_shown(outputs, capsys):
    widgets.explore(lambda w1: unwritten(w1), sliders={"w1": (0, 1, 1, 0)}, twin=[{"w1": 1}])
    assert capsys.readouterr().out == "This picture needs your `unwritten`, which is not written yet. Fill it in and run its cell. Then run this cell again.\n"
    assert outputs == []


def test_an_answer_that_fails_at_one_setting_says_so_in_place_of_the_picture(outputs, box, capsys):
    def half(w1: int) -> tuple[plotting.Figure, str]:
        if w1 == 2:
            raise ZeroDivisionError("division by <zero>")
        return plotting.subplots()[0], f"An empty picture at setting {w1}."

    widgets.explore(half, sliders={"w1": (0, 2, 1, 0)}, twin=[{"w1": 1}, {"w1": 2}])
    control(box, "w1").value = 2
    assert "raised ZeroDivisionError: division by &lt;zero&gt;" in picture_of(box)
    assert "<img" not in picture_of(box)
    assert capsys.readouterr().out.startswith("w1 = 2: This picture could not be drawn")
    assert outputs[-1][1]["image/png"]["alt"] == "w1 = 1: An empty picture at setting 1."
    control(box, "w1").value = 1
    assert "<img" in picture_of(box)


@pytest.mark.parametrize(
    ("sliders", "twin", "message"),
    [
        ({"w1": (0, 1, 0.1, 2)}, [{"w1": 1}], r"sliders\['w1'\]"),
        ({"w1": (0, 1, 0, 0)}, [{"w1": 1}], r"sliders\['w1'\]"),
        ({"w1": []}, [{"w1": 1}], r"sliders\['w1'\]"),
        ({"w1": (0, 1)}, [{"w1": 1}], r"sliders\['w1'\]"),
        ({"w1": (0, 1, 1, 0)}, [], "at least one setting"),
        ({"w1": (0, 1, 1, 0)}, [{"w2": 1}], "no control w2"),
    ],
)
def test_controls_and_twins_that_make_no_sense_are_refused(sliders, twin, message):
    with pytest.raises(ValueError, match=message):
        widgets.explore(draw, sliders=sliders, twin=twin)


@pytest.mark.parametrize(("n", "grid"), [(1, (1, 1)), (2, (2, 1)), (3, (3, 1)), (4, (2, 2)), (5, (3, 2)), (7, (3, 3))])
def test_pictures_stand_in_even_rows(n, grid):
    buffer = io.BytesIO()
    Image.new("RGB", (10, 8), "red").save(buffer, format="PNG")
    sheet = Image.open(io.BytesIO(widgets._side_by_side([buffer.getvalue()] * n)))
    assert sheet.size == (grid[0] * 10, grid[1] * 8)
    assert (np.asarray(sheet.convert("RGB")) == (255, 0, 0)).all(-1).sum() == 80 * n


MINI = [
    """\
from dlcourse_utils import plotting, training, widgets
def answer(w):
    raise NotImplementedError()
def draw(w):
    figure, ax = plotting.subplots(width=2, height=1.5)
    plotting.curves(ax, {"line": [0, w]})
    return figure, f"A line from 0 to {w:g} in one step."
""",
    'widgets.explore(draw, sliders={"w": (0.0, 2.0, 0.5, 1.0)}, twin=[{"w": 0.5}, {"w": 2.0}])',
    'widgets.explore(lambda w: (answer(w), ""), sliders={"w": (0.0, 2.0, 0.5, 1.0)}, twin=[{"w": 2.0}])',
    'figure, ax = plotting.subplots()\nplotting.show(figure, alt="An empty pair of axes, to try it.")\nfor _ in training.progress(range(3), "steps"): pass',
]


def test_a_notebook_runs_to_its_end_without_stderr_and_keeps_its_pictures_in_feedback(tmp_path, monkeypatch):
    for variable in ("HOME", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("DLCOURSE_PROGRESS", raising=False)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in MINI])
    NotebookClient(notebook, kernel_name="python3", timeout=60, resources={"metadata": {"path": str(tmp_path)}}, store_widget_state=False).execute()
    _, explored, waiting, pictured = (cell.outputs for cell in notebook.cells)
    assert not [output for cell in notebook.cells for output in cell.outputs if output.get("name") == "stderr"]
    alt = "w = 0.5: A line from 0 to 0.5 in one step. w = 2: A line from 0 to 2 in one step."
    assert [output.metadata.get("image/png", {}).get("alt") for output in explored] == [None, alt]
    assert waiting[0].text.startswith("This picture needs your `answer`")
    assert pictured[0].metadata["image/png"]["alt"] == "An empty pair of axes, to try it."
    assert "application/vnd.jupyter.widget-view+json" in pictured[1].data
    page, _ = HTMLExporter(template_name="classic").from_notebook_node(notebook)
    assert f'alt="{alt}"' in page
    assert "VBox(" not in page

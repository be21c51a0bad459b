"""Figures say what they say without colour, come with alt text, and are the same bytes every time."""

from __future__ import annotations

import contextlib
import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import PathCollection
from PIL import Image

from dlcourse_utils import plotting

ALT = "Two lines that rise from 1 to 2 and from 2 to 3."


def contrast(a: str, b: str) -> float:
    """Contrast ratio of two colours by WCAG 2.1, 1 (none) to 21 (black on white)."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        return float(np.dot([0.2126, 0.7152, 0.0722], [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]))

    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.fixture
def shown(monkeypatch):
    """What reaches a notebook."""
    outputs: list[tuple[dict, dict]] = []
    monkeypatch.setattr(plotting, "get_ipython", lambda: object())
    monkeypatch.setattr(plotting, "display", lambda content, raw, metadata: outputs.append((content, metadata)))
    return outputs


def lines() -> plotting.Figure:
    figure, ax = plotting.subplots()
    plotting.curves(ax, {"first": [1, 2], "second": [2, 3]}, xlabel="epoch", ylabel="loss")
    return figure


def test_show_hands_over_a_png_with_its_alt_text(shown):
    plotting.show(lines(), alt=ALT)
    [(content, metadata)] = shown
    assert metadata == {"image/png": {"alt": ALT}}  # for nbconvert
    assert content["image/png"].startswith("iVBOR")
    assert content["text/html"] == f'<img alt="{ALT}" src="data:image/png;base64,{content["image/png"]}">'  # for JupyterLab
    assert content["text/plain"] == ALT  # for VS Code


def test_show_is_quiet_outside_a_notebook(capsys):
    plotting.show(lines(), alt=ALT)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("alt", ["", "   ", "A figure.", " " * 30 + "loss"])
def test_a_figure_without_alt_text_is_refused(shown, alt):
    with pytest.raises(ValueError, match="cannot see it"):
        plotting.show(lines(), alt=alt)
    assert shown == []


@pytest.mark.parametrize("alt", [ALT, ""])
def test_the_figure_is_closed_whether_or_not_it_was_shown(alt):
    before = plt.get_fignums()
    figure, _ = plt.subplots()
    with contextlib.suppress(ValueError):
        plotting.show(figure, alt=alt)
    assert plt.get_fignums() == before


def test_figures_of_the_course_are_unknown_to_pyplot():
    before = plt.get_fignums()
    plotting.subplots(2)
    assert plt.get_fignums() == before


def test_the_same_drawing_gives_the_same_small_png():
    first, second = plotting.png(lines()), plotting.png(lines())
    assert first == second
    assert len(first) < 10_000
    image = Image.open(io.BytesIO(first))
    assert image.mode == "P"
    assert image.width <= 1100
    assert not {"Software", "Creation Time"} & set(image.info)


def test_colours_are_told_apart_from_white_and_are_as_many_as_the_marks():
    assert len(plotting.COLOURS) == len(set(plotting.COLOURS)) == len(set(plotting.LINES)) == len(set(plotting.MARKERS)) == len(set(plotting.HATCHES))
    assert min(contrast(colour, "#ffffff") for colour in plotting.COLOURS) > 2
    assert min(contrast(colour, "#ffffff") for colour in plotting.COLOURS[:2]) > 3


def test_a_picture_of_many_colours_keeps_their_look():
    across, up = np.meshgrid(np.linspace(0, 255, 200), np.linspace(0, 255, 150))
    many = np.stack([across, up, 255 - across], axis=-1).astype(np.uint8)
    few = np.asarray(Image.open(io.BytesIO(plotting.compressed(Image.fromarray(many)))).convert("RGB"))
    assert np.abs(few.astype(int) - many).max() <= 24


def test_curves_differ_in_dashes_and_markers_and_have_a_legend():
    _, ax = plotting.subplots()
    plotting.curves(ax, {f"line {i}": np.arange(1, 30) for i in range(7)}, log=True)
    assert len({str(line.get_linestyle()) + str(line._dash_pattern) for line in ax.lines}) == 7
    assert len({line.get_marker() for line in ax.lines}) == 7
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [f"line {i}" for i in range(7)]
    assert ax.get_yscale() == "log"
    assert ax.lines[0].get_xdata()[0] == 1


@pytest.mark.parametrize(("points", "markers"), [(1, 1), (4, 4), (15, 15), (60, 8), (400, 8)])
def test_every_curve_has_markers_however_few_its_points_are(points, markers):
    _, ax = plotting.subplots()
    plotting.curves(ax, {f"line {i}": np.arange(points) for i in range(7)})
    for line in ax.lines:
        first, step = line.get_markevery()
        assert markers <= len(range(first, points, step)) <= markers + 1


def test_a_curve_looks_the_same_whatever_was_drawn_before():
    _, ax = plotting.subplots()
    ax.plot([0, 1])
    plotting.curves(ax, {"training": [1, 2]})
    assert (ax.lines[1].get_linestyle(), ax.lines[1].get_color(), ax.lines[1].get_marker()) == ("-", plotting.COLOURS[0], "o")


def test_every_bar_carries_its_name_and_its_number():
    _, ax = plotting.subplots()
    plotting.bars(ax, {"SGD": 0.912, "Adam": [0.95, 0.97]}, ylabel="accuracy")
    assert [text.get_text() for text in ax.texts] == ["0.912", "0.96"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["SGD", "Adam"]
    assert [bar.get_height() for bar in ax.patches] == [0.912, pytest.approx(0.96)]


def test_heatmap_writes_every_number_in_a_colour_that_can_be_read():
    _, ax = plotting.subplots()
    plotting.heatmap(ax, [[0.0, 1.0], [0.25, 0.5]], rows=["a", "b"], columns=["c", "d"])
    assert [(text.get_text(), text.get_color()) for text in ax.texts] == [("0.00", "white"), ("1.00", "black"), ("0.25", "white"), ("0.50", "black")]


def test_decision_regions_ask_for_points_and_fill_every_class():
    asked = []

    def predict(points: np.ndarray) -> np.ndarray:
        asked.append(points)
        return np.where(points[:, 0] + points[:, 1] > 0, 1, -1)

    figure, ax = plotting.subplots()
    plotting.decision_regions(ax, predict, (-1, 1), (-2, 2), resolution=20)
    assert asked[0].shape == (400, 2)
    np.testing.assert_allclose([asked[0].min(0), asked[0].max(0)], [[-1, -2], [1, 2]])
    hatches = [hatch for drawn in ax.collections for hatch in getattr(drawn, "hatches", []) or [] if hatch]
    assert plotting.HATCHES[1] in hatches
    plotting.png(figure)


def test_a_class_keeps_its_look_where_the_other_does_not_occur():
    def picture(classes: tuple[int, int] | None) -> bytes:
        figure, ax = plotting.subplots()
        plotting.decision_regions(ax, lambda points: np.ones(len(points)), (0, 1), (0, 1), classes=classes, resolution=20)
        return plotting.png(figure)

    assert picture((-1, 1)) != picture((1, -1)) == picture(None)


def test_points_of_a_class_share_marker_and_name():
    _, ax = plotting.subplots()
    plotting.points(ax, [[0, 0], [1, 1], [0, 1]], [-1, 1, -1], classes={-1: "no", 1: "yes"})
    drawn = [item for item in ax.collections if isinstance(item, PathCollection)]
    assert [len(item.get_offsets()) for item in drawn] == [2, 1]
    assert len(drawn[0].get_paths()[0].vertices) != len(drawn[1].get_paths()[0].vertices)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["no", "yes"]


def test_network_diagram_joins_every_unit_with_every_unit():
    _, ax = plotting.subplots()
    plotting.network_diagram(ax, [2, 4, 1], names=["inputs", "hidden", "output"])
    assert len(ax.lines) == 2 * 4 + 4 * 1
    assert [text.get_text() for text in ax.texts] == ["inputs\n2", "hidden\n4", "output\n1"]


def test_network_diagram_abridges_a_wide_layer():
    _, ax = plotting.subplots()
    plotting.network_diagram(ax, [64, 10], at_most=5)
    assert len(ax.lines) == 4 * 4
    assert [text.get_text() for text in ax.texts] == ["⋮", "64", "⋮", "10"]


def test_a_sheet_shows_pictures_row_by_row_and_leaves_the_rest_white():
    _, ax = plotting.subplots()
    plotting.sheet(ax, np.arange(1, 6)[:, None, None] / 10 * np.ones((5, 2, 3)), columns=4)
    picture = np.asarray(ax.images[0].get_array().filled(np.nan))
    assert picture.shape == (5, 15)
    assert picture[0, [0, 4, 8, 12]].tolist() == [0.1, 0.2, 0.3, 0.4]
    assert picture[3, 0] == 0.5
    assert np.isnan(picture[2]).all()
    assert np.isnan(picture[3:, 3:]).all()

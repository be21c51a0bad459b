"""Figures in one style: readable, small, the same bytes every time, and never by colour alone.

Colours: M. Okabe and K. Ito, "Color Universal Design" (2008), told apart by people with any common colour vision.
"""

from __future__ import annotations

import base64
import html
import io
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from IPython.core.getipython import get_ipython
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from PIL import Image

#: Blue, vermilion, green, purple, orange, sky blue, black. Okabe and Ito's yellow is left out: too pale on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HATCHES = ("", "///", "...", "\\\\\\", "xxx", "ooo", "+++")

_STYLE: dict[str, Any] = {
    "axes.prop_cycle": cycler(color=COLOURS, linestyle=LINES),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 12,
    "axes.labelsize": 11,
    "axes.axisbelow": True,
    "axes.grid": True,
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same letters on every machine
    "font.size": 11,
    "grid.alpha": 0.3,
    "hatch.linewidth": 0.6,
    "image.cmap": "cividis",
    "legend.fontsize": 10,
    "legend.framealpha": 0.9,
    "lines.linewidth": 2,
    "lines.markersize": 6,
    "savefig.dpi": 100,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
}


def use_style() -> None:
    """Set the course's style for every figure made from now on. Importing this module does it."""
    plt.style.use(_STYLE)


use_style()


def subplots(ncols: int = 1, nrows: int = 1, *, width: float | None = None, height: float | None = None) -> tuple[Figure, Any]:
    """A figure and its axes: one ``Axes``, or an array of them as ``plt.subplots`` gives. ``width`` and ``height`` are inches of the whole figure.

    The figure is not registered with pyplot, so it reaches a notebook through ``show`` only.
    """
    figure = Figure(figsize=(width or min(4.6 * ncols, 11), height or 3.4 * nrows), layout="constrained")
    return figure, figure.subplots(nrows, ncols)


def png(figure: Figure, *, tight: bool = False) -> bytes:
    """The figure as a small PNG; the same drawing gives the same bytes. ``tight`` fits the picture to what is drawn."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=100, bbox_inches="tight" if tight else None, pil_kwargs={"compress_level": 0})
    return compressed(Image.open(drawn))


def compressed(picture: Image.Image) -> bytes:
    """The picture as a PNG of 256 colours chosen for it: under half the bytes, and no difference to be seen."""
    buffer = io.BytesIO()
    few = picture.convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def show(figure: Figure, alt: str) -> None:
    """Put the figure under the cell, with its alt text, and close it. Outside a notebook it only closes it.

    Raises:
        ValueError: the alt text is missing or says next to nothing.
    """
    try:
        show_png(png(figure), alt)
    finally:
        plt.close(figure)


def show_png(picture: bytes, alt: str) -> None:
    """Put a PNG under the cell. Who cannot see pictures, and a front end that shows none, gets the alt text.

    Raises:
        ValueError: the alt text is missing or says next to nothing.
    """
    if len(alt.strip()) < 20:
        raise ValueError(f"alt={alt!r}: say in a sentence what the picture shows, with its numbers, to someone who cannot see it.")
    if get_ipython() is not None:
        # JupyterLab shows the HTML: it gives a bare PNG no alt text. Paper takes the PNG, and nbconvert its alt text from the metadata.
        content = {"text/html": as_html(picture, alt), "image/png": _base64(picture), "text/plain": alt}
        display(content, raw=True, metadata={"image/png": {"alt": alt}})  # type: ignore[no-untyped-call]


def as_html(picture: bytes, alt: str) -> str:
    """A PNG as an ``<img>`` with its alt text that needs no file beside it."""
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{_base64(picture)}">'


def _base64(picture: bytes) -> str:
    return base64.b64encode(picture).decode("ascii")


def curves(ax: Axes, values: Mapping[str, ArrayLike], *, xlabel: str = "", ylabel: str = "", log: bool = False, x: ArrayLike | None = None) -> None:
    """One line a label, told apart by colour, dashes and markers. ``values`` are (n,); ``x`` is 1 to n if not given; ``log`` is the y axis."""
    for i, (label, given) in enumerate(values.items()):
        line = np.asarray(given, dtype=float)
        at = np.arange(1, len(line) + 1) if x is None else np.asarray(x, dtype=float)
        step = max(1, len(line) // 8)
        first = i * max(1, len(line) // 40) % step  # few markers, not all at the same place; on a short line every point has one
        ax.plot(at, line, label=label, color=_of(COLOURS, i), linestyle=_of(LINES, i), marker=_of(MARKERS, i), markevery=(first, step))
    ax.set(xlabel=xlabel, ylabel=ylabel, yscale="log" if log else "linear")
    if len(values) > 1:
        ax.legend()


def bars(ax: Axes, values: Mapping[str, ArrayLike], *, xlabel: str = "", ylabel: str = "", log: bool = False, fmt: str = "{:.3g}") -> None:
    """One bar a label with its number above. Several values a label (one a seed) give their mean, and a line from the least to the greatest."""
    for i, value in enumerate(values.values()):
        each = np.atleast_1d(np.asarray(value, dtype=float))
        mean = each.mean()
        ax.bar(i, mean, width=0.65, color=COLOURS[0])
        if len(each) > 1:
            for colour, width in (("white", 5), ("black", 2)):  # a white rim, to be seen on any bar
                ax.vlines(i, each.min(), each.max(), color=colour, linestyle="-", linewidth=width)
        ax.annotate(fmt.format(mean), (i, max(mean, each.max())), xytext=(0, 3), textcoords="offset points", ha="center", va="bottom", fontsize=10)
    ax.set_xticks(range(len(values)), list(values))
    ax.set(xlabel=xlabel, ylabel=ylabel, yscale="log" if log else "linear")
    ax.grid(axis="x", visible=False)
    ax.margins(y=0.15)


def heatmap(
    ax: Axes,
    values: ArrayLike,
    *,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    xlabel: str = "",
    ylabel: str = "",
    fmt: str = "{:.2f}",
) -> None:
    """A matrix as shaded cells, each with its number. ``values`` is (len(rows), len(columns))."""
    matrix = np.atleast_2d(np.asarray(values, dtype=float))
    ax.imshow(matrix, aspect="auto")
    middle = (np.nanmin(matrix) + np.nanmax(matrix)) / 2
    for (i, j), value in np.ndenumerate(matrix):
        ax.text(j, i, fmt.format(value), ha="center", va="center", color="white" if value < middle else "black", fontsize=10)
    ax.set_xticks(range(matrix.shape[1]), columns)
    ax.set_yticks(range(matrix.shape[0]), rows)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.grid(visible=False)


def sheet(ax: Axes, pictures: ArrayLike, *, columns: int = 10, cmap: str | None = "gray_r") -> None:
    """Small pictures (n, H, W) with values from 0 to 1, row by row, with a white line between them; ``cmap`` None is the style's."""
    given = np.asarray(pictures, dtype=float)
    n, height, width = given.shape
    rows = -(-n // columns)
    framed = np.full((rows * columns, height + 1, width + 1), np.nan)
    framed[:n, :-1, :-1] = given
    whole = framed.reshape(rows, columns, height + 1, width + 1).swapaxes(1, 2).reshape(rows * (height + 1), -1)
    ax.imshow(whole[:-1, :-1], cmap=cmap, vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.grid(visible=False)


def decision_regions(
    ax: Axes,
    predict: Callable[[NDArray[np.float64]], ArrayLike],
    xlim: tuple[float, float],
    ylim: tuple[float, float],
    *,
    classes: Sequence[float] | None = None,
    resolution: int = 200,
) -> None:
    """Shade and hatch where ``predict``, from points (n, 2) to labels (n,), gives which class, and draw the boundary between.

    ``classes`` are all labels there can be, in the order of ``COLOURS``; None takes those that occur.
    """
    across, up = np.meshgrid(np.linspace(*xlim, resolution), np.linspace(*ylim, resolution))
    labels = np.asarray(predict(np.column_stack([across.ravel(), up.ravel()]))).reshape(across.shape)
    known = np.unique(labels) if classes is None else np.asarray(classes)
    for i, label in enumerate(known):
        inside = (labels == label).astype(float)
        if inside.any():
            ax.contourf(across, up, inside, levels=[0.5, 1.5], colors=[_of(COLOURS, i)], alpha=0.25)
            ax.contourf(across, up, inside, levels=[0.5, 1.5], colors="none", hatches=[_of(HATCHES, i)])
            if not inside.all():
                ax.contour(across, up, inside, levels=[0.5], colors="black", linewidths=1.5)
    ax.set(xlim=xlim, ylim=ylim)
    ax.grid(visible=False)


def points(ax: Axes, x: ArrayLike, labels: ArrayLike, *, classes: Mapping[float, str] | None = None) -> None:
    """Points (n, 2), each class with its colour and marker, in the same order as ``decision_regions``; ``classes`` names them in a legend."""
    at, of = np.asarray(x, dtype=float), np.asarray(labels)
    known: Mapping[float, str] = dict.fromkeys(np.unique(of).tolist(), "") if classes is None else classes
    for i, (label, name) in enumerate(known.items()):
        here = at[of == label]
        ax.scatter(here[:, 0], here[:, 1], s=60, color=_of(COLOURS, i), marker=_of(MARKERS, i), edgecolor="white", label=name, zorder=3)
    if any(known.values()):
        ax.legend()


def network_diagram(ax: Axes, sizes: Sequence[int], *, names: Sequence[str] | None = None, at_most: int = 7) -> None:
    """A fully connected network: a column of circles a layer, with the layer's name and size below.

    A layer of more than ``at_most`` units is drawn with dots in its middle.
    """
    tallest = min(max(sizes), at_most)
    columns = []
    for layer, size in enumerate(sizes):
        heights = np.arange(min(size, at_most)) - (min(size, at_most) - 1) / 2
        if size > at_most:
            middle = len(heights) // 2
            ax.text(layer, heights[middle], "⋮", ha="center", va="center", fontsize=16)
            heights = np.delete(heights, middle)
        columns.append(heights)
        ax.scatter([layer] * len(heights), heights, s=220, color="white", edgecolor=COLOURS[0], linewidth=2, zorder=2)
        ax.text(layer, -tallest / 2 - 0.1, f"{names[layer]}\n{size}" if names else f"{size}", ha="center", va="top")
    for layer, (left, right) in enumerate(itertools.pairwise(columns)):
        for start, end in itertools.product(left, right):
            ax.plot([layer, layer + 1], [start, end], color="0.6", linestyle="-", linewidth=0.8, zorder=1)
    ax.set(xlim=(-0.5, len(sizes) - 0.5), ylim=(-tallest / 2 - (1.3 if names else 0.8), tallest / 2))
    ax.set_axis_off()


def _of(cycle: Sequence[Any], i: int) -> Any:
    return cycle[i % len(cycle)]

"""Interactive pictures that are there for everyone: live controls, and a static twin where widgets are not shown.

The live picture is an ``<img>`` inside an HTML widget, drawn anew on change. Feedback pages, GitHub and paper drop widgets;
there the twin, one picture of a few chosen settings side by side, says the same.
"""

from __future__ import annotations

import html
import io
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
from IPython.core.getipython import get_ipython
from IPython.display import display
from matplotlib.figure import Figure
from PIL import Image

from dlcourse_utils import plotting

Value = float | str | bool
Draw = Callable[..., tuple[Figure, str]]
#: A slider's (least, greatest, step, start), a list of choices that starts at its first, or the start of a tick box.
Control = tuple[float, float, float, float] | list[str] | bool

_STANDS_IN = "Interactive picture: run this cell in a notebook to move its sliders. The picture below shows some of their settings."


class _Picture(NamedTuple):
    png: bytes
    alt: str


def explore(draw: Draw, *, sliders: Mapping[str, Control], twin: Sequence[Mapping[str, Value]], title: str = "") -> None:
    """Show ``draw`` under live controls, and below it the static twin.

    Args:
        draw: a pure function of the controls' values, by keyword; returns a figure and its alt text. What it raises is shown as a
            plain sentence in place of the picture, so that an unfilled exercise does not stop Run All.
        sliders: what the reader may change: ``(least, greatest, step, start)``, a list of choices, or True or False.
        twin: the settings of the static picture; a control that a setting leaves out stands at its start.
        title: stands above the controls.

    Raises:
        ValueError: a control that is none of these, a start outside its range, a twin without settings or of unknown controls.
    """
    start = {name: _start(name, control) for name, control in sliders.items()}
    unknown = sorted({name for setting in twin for name in setting} - set(start))
    if unknown or not twin:
        raise ValueError(f"twin: give at least one setting, each of {', '.join(start)}." + (f" There is no control {', '.join(unknown)}." if unknown else ""))
    first = _render(draw, start)
    if isinstance(first, str):
        print(f"{first} Then run this cell again.")
        return
    _show_live(draw, sliders, start, first, title)
    _show_twin(draw, [start | dict(setting) for setting in twin], [_caption(setting) for setting in twin])


def _start(name: str, control: Control) -> Value:
    if isinstance(control, bool):
        return control
    if isinstance(control, list) and control:
        return control[0]
    if isinstance(control, tuple) and len(control) == 4 and control[0] <= control[3] <= control[1] and control[2] > 0:
        return control[3]
    raise ValueError(f"sliders[{name!r}]={control!r}: give (least, greatest, step, start) with the start between, a list of choices, or True or False.")


def _render(draw: Draw, values: Mapping[str, Value], caption: str = "") -> _Picture | str:
    """The picture for these values, or a sentence that says why there is none."""
    try:
        figure, alt = draw(**values)
        try:
            if caption:
                figure.text(0.5, 1.0, textwrap.fill(caption, 40), ha="center", va="bottom", fontweight="bold")
            return _Picture(plotting.png(figure, tight=bool(caption)), alt)
        finally:
            plt.close(figure)
    except Exception as error:  # whatever the reader's own functions do, the notebook goes on
        return _explain(error)


def _explain(error: Exception) -> str:
    where = _last_function(error)
    if isinstance(error, NotImplementedError):
        return f"This picture needs your {where}, which is not written yet. Fill it in and run its cell."
    return f"This picture could not be drawn: {where} raised {type(error).__name__}: {error}. Mend it and run its cell."


def _last_function(error: Exception) -> str:
    """The function of the notebook in which the error arose, or else the last one of all."""
    frames, trace = [], error.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame)
        trace = trace.tb_next
    own = [frame for frame in frames if frame.f_globals.get("__name__") == "__main__"] or frames
    return f"`{own[-1].f_code.co_qualname.split('.<locals>')[0]}`"


def _show_live(draw: Draw, sliders: Mapping[str, Control], start: Mapping[str, Value], first: _Picture, title: str) -> None:
    if get_ipython() is None:
        return
    try:
        import ipywidgets
    except ImportError:  # the twin alone will do
        return
    style, layout = {"description_width": "initial"}, {"width": "26em"}
    controls: dict[str, Any] = {}
    for name, control in sliders.items():
        given: dict[str, Any] = {"description": name.replace("_", " "), "value": start[name], "style": style, "layout": layout}
        if isinstance(control, bool):
            controls[name] = ipywidgets.Checkbox(indent=False, **given)
        elif isinstance(control, list):
            controls[name] = ipywidgets.Dropdown(options=control, **given)
        else:
            given |= {"min": control[0], "max": control[1], "step": control[2], "continuous_update": False}
            if all(isinstance(number, int) for number in control):
                controls[name] = ipywidgets.IntSlider(**given)
            else:
                controls[name] = ipywidgets.FloatSlider(readout_format=f".{max(0, math.ceil(-math.log10(control[2])))}f", **given)
    picture = ipywidgets.HTML(_as_html(first))

    def redraw(_: object) -> None:
        picture.value = _as_html(_render(draw, {name: _chosen(control.value) for name, control in controls.items()}))

    for control in controls.values():
        control.observe(redraw, names="value")
    heading = [ipywidgets.HTML(f"<strong>{html.escape(title)}</strong>")] if title else []
    bundle = ipywidgets.VBox([*heading, *controls.values(), picture])._repr_mimebundle_()
    display(bundle | {"text/plain": _STANDS_IN}, raw=True)  # type: ignore[no-untyped-call]


def _chosen(value: Value) -> Value:
    """A control's value without the rounding errors of a slider's steps: 0.45, where the browser adds up 0.44999999999999996."""
    return round(value, 10) if isinstance(value, float) else value


def _as_html(picture: _Picture | str) -> str:
    if isinstance(picture, str):
        return f'<p role="status">{html.escape(picture)}</p>'
    return plotting.as_html(picture.png, picture.alt)


def _show_twin(draw: Draw, settings: Sequence[Mapping[str, Value]], captions: Sequence[str]) -> None:
    pictures, alts = [], []
    for setting, caption in zip(settings, captions, strict=True):
        picture = _render(draw, setting, caption)
        if isinstance(picture, str):
            print(f"{caption}: {picture}")
        else:
            pictures.append(picture.png)
            alts.append(f"{caption}: {picture.alt}")
    if pictures:
        plotting.show_png(_side_by_side(pictures), " ".join(alts))


def _caption(setting: Mapping[str, Value]) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} = {value:g}" if isinstance(value, float) else f"{name.replace('_', ' ')} = {value}" for name, value in setting.items()
    )


def _side_by_side(pictures: Sequence[bytes], columns: int = 3) -> bytes:
    """PNGs on a white sheet, unscaled, in rows of at most ``columns`` that are as even as can be."""
    images = [Image.open(io.BytesIO(picture)).convert("RGB") for picture in pictures]
    width, height = max(image.width for image in images), max(image.height for image in images)
    rows = math.ceil(len(images) / columns)
    columns = math.ceil(len(images) / rows)
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    for i, image in enumerate(images):
        sheet.paste(image, (i % columns * width, i // columns * height))
    return plotting.compressed(sheet)

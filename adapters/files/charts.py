"""Diagrams as PNG pictures by matplotlib, which is imported when the first one is drawn and never on the event loop."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bots.people.stats import Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INCHES = (9.6, 6.0)
_DPI = 150
_MOST_LABELS = 8
_FEWEST_PLACES = 7
"""A single bar is no wider than that of a week."""
_MANY_POINTS = 31
_ONE_AT_A_TIME = threading.Lock()
"""matplotlib's fonts and settings are shared by all threads."""


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours of a picture; those of series differ in lightness too, for people who see few colours."""

    ground: str
    text: str
    soft: str
    grid: str
    series: tuple[str, str]


LIGHT = Palette("#ffffff", "#1c1e26", "#5d6270", "#e3e5eb", ("#3457d5", "#e07b39"))
DARK = Palette("#1a1c22", "#f0f1f5", "#a5aab8", "#343844", ("#8aa5ff", "#f2a66b"))


async def draw(title: str, panels: Sequence[Panel], *, dark: bool) -> bytes:
    """A PNG of 1440 x 900 pixels with the panels in two columns."""
    return await asyncio.to_thread(_png, title, panels, DARK if dark else LIGHT)


def _png(title: str, panels: Sequence[Panel], palette: Palette) -> bytes:
    with _ONE_AT_A_TIME:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine

        with rc_context({"font.family": ["DejaVu Sans"], "font.size": 10, "text.parse_math": False}):
            layout = ConstrainedLayoutEngine(w_pad=0.16, h_pad=0.14, wspace=0.05, hspace=0.07)
            figure = Figure(figsize=_INCHES, dpi=_DPI, facecolor=palette.ground, layout=layout)
            FigureCanvasAgg(figure)
            _fill(figure, title, panels, palette)
            out = io.BytesIO()
            figure.savefig(out, format="png")
            return out.getvalue()


def _fill(figure: Figure, title: str, panels: Sequence[Panel], palette: Palette) -> None:
    figure.suptitle(title, color=palette.text, fontsize=15, fontweight="bold", x=0.015, ha="left")
    rows = (len(panels) + 1) // 2
    for number, panel in enumerate(panels, 1):
        axes = figure.add_subplot(rows, 2, number, facecolor=palette.ground)
        _frame(axes, panel, palette)
        if panel.kind == "bars":
            _bars(axes, panel, palette)
        else:
            _lines(axes, panel, palette)


def _frame(axes: Axes, panel: Panel, palette: Palette) -> None:
    axes.set_title(panel.title, loc="left", color=palette.text, fontsize=11, pad=10)
    axes.tick_params(colors=palette.soft, length=0, labelsize=9)
    axes.grid(axis="y", color=palette.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(palette.grid)
    axes.tick_params(axis="x", pad=6)
    places = _labelled(len(panel.labels), newest=panel.dates)
    axes.set_xticks(places, [panel.labels[place] for place in places])
    room = max(len(panel.labels), _FEWEST_PLACES) / 2 + 0.1
    middle = (len(panel.labels) - 1) / 2
    axes.set_xlim(middle - room, middle + room)
    axes.yaxis.set_major_formatter(lambda value, _: _amount(value, panel.unit))
    axes.locator_params(axis="y", nbins=5, integer=not panel.unit)


def _labelled(count: int, *, newest: bool) -> list[int]:
    """Which of so many places have room for a label: the first one and others, or the last one and others."""
    step = -(-count // _MOST_LABELS)
    return list(range((count - 1) % step if newest else 0, count, step))


def _bars(axes: Axes, panel: Panel, palette: Palette) -> None:
    for values, colour in zip(panel.series.values(), palette.series, strict=False):
        axes.bar(range(len(values)), [value or 0 for value in values], width=0.72, color=colour)
        axes.set_ylim(0, max(1.0, *(value or 0 for value in values)) * 1.08)


def _lines(axes: Axes, panel: Panel, palette: Palette) -> None:
    highest = 0.0
    for (name, values), colour in zip(panel.series.items(), palette.series, strict=False):
        heights = [float("nan") if value is None else value for value in values]
        size = 4 if len(values) <= _MANY_POINTS else 2
        axes.plot(heights, color=colour, linewidth=size / 2, marker="o", markersize=size, label=name, clip_on=False)
        highest = max([highest, *(value for value in values if value is not None)])
    axes.set_ylim(0, max(highest, 0.01) * 1.12)
    axes.legend(
        loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False, labelcolor=palette.soft, fontsize=9
    )


def _amount(value: float, unit: str) -> str:
    """A number as short as it can be: "1.2k", "350 ms", "2 s"."""
    if unit == "s" and value > 0:
        return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:g}"

"""The plots of docs/performance.md, light and dark."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adapters.files.charts import DARK, LIGHT, Palette
from benchmarks.rivals.report import Known
from benchmarks.rivals.results import NAMES, Figures

_COLOURS = {
    "light": {"A": "#3457d5", "B": "#e07b39", "C": "#9a6fb0", "D": "#7a8290"},
    "dark": {"A": "#8aa5ff", "B": "#f2a66b", "C": "#c9a3dc", "D": "#9aa3b2"},
}
_MARKS = {"A": "o", "B": "s", "C": "^", "D": "D"}
"""Shapes too, for people who see few colours."""


def write(found: Known, folder: Path = Path("docs")) -> list[Path]:
    """against-light.png and against-dark.png."""
    paths = []
    for name, palette in (("light", LIGHT), ("dark", DARK)):
        paths.append(folder / f"against-{name}.png")
        paths[-1].write_bytes(_drawn(found, palette, _COLOURS[name]))
    return paths


def _drawn(found: Known, palette: Palette, colours: dict[str, str]) -> bytes:
    import io

    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context({"font.family": ["DejaVu Sans"], "font.size": 10, "text.parse_math": False}):
        figure = Figure(figsize=(12.0, 7.0), dpi=150, facecolor=palette.ground, layout=_roomy())
        FigureCanvasAgg(figure)
        axes = figure.subplots(2, 3)
        _grow(axes[0][0], found, "private", "First words in private, p95", lambda one: one.first(0.95), colours)
        _grow(axes[0][1], found, "private", "Complete in private, p95", lambda one: one.complete(0.95), colours)
        for each in axes[0][:2]:
            _in_decades(each)
        _grow(axes[0][2], found, "private", "Tokens a second as seen", lambda one: one.tokens_a_second, colours)
        _bars(axes[1][0], _cases(found), "First words, p95", lambda one: one.first(0.95), colours, palette)
        _bars(axes[1][1], _cases(found), "Complete, p95", lambda one: one.complete(0.95), colours, palette)
        _grow(axes[1][2], found, "growth", "Within one second: first words, p95", lambda one: one.first(0.95), colours)
        for each in axes.flat:
            _frame(each, palette)
        axes[0][2].yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        lines = [figure.axes[0].plot([], [], color=colours[name], marker=_MARKS[name])[0] for name in NAMES]
        labels = [f"{name}  {what}" for name, what in NAMES.items()]
        figure.legend(lines, labels, loc="outside lower center", ncols=4, frameon=False, labelcolor=palette.text)
        out = io.BytesIO()
        figure.savefig(out, format="png")
        return out.getvalue()


def _roomy() -> Any:
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return ConstrainedLayoutEngine(w_pad=0.16, h_pad=0.14, wspace=0.03, hspace=0.05)


def _grow(
    axes: Any, found: Known, part: str, title: str, value: Callable[[Figures], float], colours: dict[str, str]
) -> None:
    """One line for each contender over the number of people."""
    axes.set_title(title, loc="left")
    sizes = sorted({people for kind, people, _ in found if kind == part})
    for name in NAMES:
        points = [(people, value(found[part, people, name])) for people in sizes if (part, people, name) in found]
        points = [(people, y) for people, y in points if y and math.isfinite(y)]
        if points:
            axes.plot(*zip(*points, strict=True), color=colours[name], marker=_MARKS[name], clip_on=False)
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel("people at once")


def _in_decades(axes: Any) -> None:
    """A tenth is as far below one as ten is above it."""
    heights = [float(height) for line in axes.lines for height in line.get_ydata()]
    if not heights:
        return
    low, high = min(heights) / 1.5, max(heights) * 1.5
    axes.set_ylim(low, high)
    axes.set_yscale("log")
    axes.set_yticks([tick for tick in (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100) if low <= tick <= high])
    axes.minorticks_off()


def _cases(found: Known) -> dict[str, dict[str, Figures]]:
    cases = {
        "group\nof 4": ("group", 4),
        "busy,\n1 person": ("busy", 1),
        "Discord,\n8 channels": ("discord", 8),
        "Discord,\n4 in one": ("discord, together", 4),
    }
    told = {
        label: {name: found[*case, name] for name in NAMES if (*case, name) in found} for label, case in cases.items()
    }
    return {label: each for label, each in told.items() if each}


def _bars(
    axes: Any,
    cases: dict[str, dict[str, Figures]],
    title: str,
    value: Callable[[Figures], float],
    colours: dict[str, str],
    palette: Palette,
) -> None:
    axes.set_title(title, loc="left")
    for place, each in enumerate(cases.values()):
        _group(axes, place, {name: value(one) for name, one in each.items()}, colours, palette)
    axes.set_xticks(range(len(cases)), [*cases])
    axes.set_xlim(-0.6, len(cases) - 0.4)
    axes.margins(y=0.12)


def _group(
    axes: Any, place: int, values: dict[str, float], colours: dict[str, str], palette: Palette, width: float = 0.26
) -> None:
    for number, (name, height) in enumerate(values.items()):
        at = place + (number - (len(values) - 1) / 2) * width
        if math.isfinite(height):
            axes.bar(at, height, width * 0.9, color=colours[name])
        label = "> 180" if math.isinf(height) else f"{height:.2g}" if height < 10 else f"{height:.0f}"
        height = height if math.isfinite(height) else 0.0
        axes.annotate(
            label, (at, height), (0, 2), textcoords="offset points", ha="center", fontsize=8, color=palette.soft
        )


def _frame(axes: Any, palette: Palette) -> None:
    axes.set_facecolor(palette.ground)
    axes.set_title(axes.get_title(loc="left"), loc="left", fontsize=11, color=palette.text, pad=8)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g} s")
    axes.xaxis.label.set_color(palette.soft)
    axes.tick_params(colors=palette.soft, length=0, labelsize=9)
    axes.grid(axis="y", color=palette.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(palette.grid)

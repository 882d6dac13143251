"""Pictures of numbers: a PNG whatever the numbers are, drawn off the loop, light or dark."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Sequence

import pytest
from PIL import Image

from adapters.files.charts import DARK, LIGHT, Palette, draw
from bots.people.stats import Panel


def panel(values: Sequence[float | None], kind: str = "bars", unit: str = "") -> Panel:
    labels = [f"{number} $x^$" for number in range(len(values))]
    return Panel(
        title="Tokens a day",
        unit=unit,
        kind="lines" if kind == "lines" else "bars",
        labels=labels,
        dates=True,
        series={"p50": values, "p95": [value and value * 2 for value in values]},
    )


@pytest.mark.parametrize(
    "values",
    [[0.0], [None], [1.0], [0.0] * 90, [None] * 13 + [0.4], [1e12, 3.0], [0.0004, 0.2, None, 70.0], [5.0] * 24],
)
async def test_any_numbers_make_a_picture(values: Sequence[float | None]) -> None:
    png = await draw("What you used", [panel(values), panel(values, "lines", "s")], dark=False)
    with Image.open(io.BytesIO(png)) as image:
        assert (image.format, image.size) == ("PNG", (1440, 900))


@pytest.mark.parametrize(("dark", "palette"), [(False, LIGHT), (True, DARK)])
async def test_a_picture_is_light_or_dark(dark: bool, palette: Palette) -> None:
    png = await draw("What you used", [panel([1.0, 2.0])], dark=dark)
    with Image.open(io.BytesIO(png)) as image:
        assert image.convert("RGB").tobytes()[:3] == bytes.fromhex(palette.ground[1:])


LAZY = """
import sys
import adapters.app
import adapters.files.charts
import adapters.cli
assert "matplotlib" not in sys.modules
"""


def test_a_start_does_not_import_matplotlib() -> None:
    subprocess.run([sys.executable, "-c", LAZY], check=True, timeout=60)

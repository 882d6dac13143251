"""The font for formulas: small enough for a first load, with brackets of all heights and the letters of formulas."""

from __future__ import annotations

import io

from fontTools.ttLib import TTFont

from adapters.delivery.renderers.formulas.mathml import mathml
from adapters.web.files.math_font import MathFont


async def test_the_font_is_small_and_its_brackets_grow() -> None:
    font = MathFont()
    made = await font.read()
    assert await font.read() is made
    assert made[:4] == b"wOFF"
    assert len(made) < 500_000
    read = TTFont(io.BytesIO(made), lazy=True)
    taller = set(read["MATH"].table.MathVariants.VertGlyphCoverage.glyphs)
    signs = read.getBestCmap()
    assert {signs[ord(sign)] for sign in "(){}[]|√∑∫"} <= taller
    assert {ord(sign) for sign in "aΩ∂𝑥𝐀ℝ⟨≤→‾"} <= signs.keys()


def test_bars_are_signs_that_the_font_has_in_any_width() -> None:
    assert 'stretchy="true">‾</mo></mover>' in (mathml(r"\overline{x + y}", True) or "")
    assert 'stretchy="true">_</mo></munder>' in (mathml(r"\underline{x + y}", True) or "")
    assert 'stretchy="true">‾</mo></mover>' in (mathml(r"\bar{x}", True) or "")

"""The font for formulas: small enough for a first load, with brackets of all heights and the letters of formulas."""

from __future__ import annotations

import io

from fontTools.ttLib import TTFont

from adapters.web.math_font import MathFont


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

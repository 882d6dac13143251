"""The spaces of drawn mathematics."""

from __future__ import annotations

import re

import pytest

from adapters.delivery.renderers.formulas.mathml import mathml

_THIN = '<mspace width="0.167em"></mspace>'


def drawn(source: str) -> str:
    """The formula's elements without what is not looked at here."""
    made = mathml(source, False)
    assert made is not None
    inner = made[made.index(">") + 1 : -len("</math>")]
    return re.sub(r' stretchy="false"| movablelimits="true"', "", inner.replace(_THIN, "~"))


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        (r"\ln 2", "<mi>ln</mi>~<mn>2</mn>"),
        (r"n\log n", "<mi>n</mi>~<mi>log</mi>~<mi>n</mi>"),
        (r"\log(n)", "<mi>log</mi><mo>(</mo><mi>n</mi><mo>)</mo>"),
        (r"(a)\sin b", "<mo>(</mo><mi>a</mi><mo>)</mo>~<mi>sin</mi>~<mi>b</mi>"),
        (r"\sin^2 x", "<msup><mi>sin</mi><mn>2</mn></msup>~<mi>x</mi>"),
        (r"ab", "<mi>a</mi><mi>b</mi>"),
        (r"\det R", '<mo lspace="0em" rspace="0em">det</mo>~<mi>R</mi>'),
        (r"|x|", '<mo lspace="0em" rspace="0em">|</mo><mi>x</mi><mo lspace="0em" rspace="0em">|</mo>'),
        (r"(-1)", '<mo>(</mo><mo form="prefix">−</mo><mn>1</mn><mo>)</mo>'),
        (r"a = -b", '<mi>a</mi><mo>=</mo><mo form="prefix">−</mo><mi>b</mi>'),
        (r"a - b", "<mi>a</mi><mo>−</mo><mi>b</mi>"),
        (r"(a) - b", "<mo>(</mo><mi>a</mi><mo>)</mo><mo>−</mo><mi>b</mi>"),
        (r"b \pm c", "<mi>b</mi><mo>±</mo><mi>c</mi>"),
        (r"\mathrm{CH}", '<mrow><mi mathvariant="normal">C</mi><mi mathvariant="normal">H</mi></mrow>'),
    ],
)
def test_spaces_are_those_of_tex(source: str, wanted: str) -> None:
    assert drawn(source) == f"<mrow>{wanted}</mrow>"

"""What a formula says of lengths stays within its post; formulas that people write are drawn."""

from __future__ import annotations

import pytest

from adapters.delivery.renderers.formulas.mathml import mathml
from adapters.delivery.renderers.html import render_html


@pytest.mark.parametrize(
    "formula",
    [
        r"\smash{\rule{60em}{60em}}",
        r"\rule{1em}{99999em}",
        r"\vphantom{\rule{1em}{99999em}}",
        r"\rule{99999em}{1em}",
        r"\rule{99999px}{1px}",
        r"\rule{1em}{9999PX}",
        r"\rule{1em}{400%}" * 40,
        r"\hspace{-400em}x",
        r"\kern400em x",
        r"\raise40em{\text{UP}}",
        r"\lower40em{\text{DOWN}}",
        r"\raise9em{\raise9em{\raise9em{x}}}",
        r"\Huge\Huge x",
        r"\Huge{\Huge{\text{BIG}}}",
        r"\large\large\large\large\large\large\large x",
        r"\Huge{\rule{1em}{9em}}",
        r"\genfrac{(}{)}{99em}{0}{a}{b}",
    ],
)
def test_what_would_reach_out_of_its_post_is_shown_as_it_was_written(formula: str) -> None:
    assert mathml(formula, False) is None
    html = render_html(f"a ${formula}$ b")
    assert '<code class="formula">' in html
    assert "<math" not in html


@pytest.mark.parametrize(
    "formula",
    [
        r"a \quad b \qquad c \, d \! e \; f",
        r"\underline{\hspace{5cm}}",
        r"\rule{0pt}{2.6ex} x",
        r"\smash{\frac{1}{2}} + \vphantom{\int_0^1}",
        r"\raise.5ex{x} \mathrlap{/}=",
        r"\Huge x",
        r"\tiny x + \large y",
        r"\Bigg( \bigg( \Big( \big( x \big) \Big) \bigg) \Bigg)",
        r"\begin{pmatrix} 1 & 2 & 3 & 4 \\ 5 & 6 & 7 & 8 \end{pmatrix}",
        r"\begin{align} a &= b & c &= d \\ e &= f & g &= h \end{align}",
        r"\binom{n}{k} \not= \ddots \dddot{x} \iiint \ln x " * 8,
        r"\ln x + " * 100 + "1",
    ],
)
def test_what_people_write_is_drawn(formula: str) -> None:
    assert mathml(formula, True) is not None

"""LaTeX as MathML, which browsers draw without a script."""

from __future__ import annotations

import re
from functools import lru_cache
from html import escape, unescape
from typing import TYPE_CHECKING

from adapters.delivery.renderers.formulas.lengths import check_lengths
from adapters.delivery.renderers.formulas.spacing import space

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_LONGEST = 1_000
"""Code points; a longer formula is shown as it was written. The conversion takes about 15 ms for as many."""
_DEEPEST = 60
_REFUSED = re.compile(
    r"\\(?:def|newcommand|renewcommand|newenvironment|DeclareMathOperator|let|href|style|class|require)(?![A-Za-z])"
    r"|(?<!\\)%"
)
"""Macros can grow without bound; links and styles are not mathematics; after a percent sign nothing is shown."""
_ALIGNED = re.compile(r"\\(begin|end)\{(?:aligned|alignedat|align|gathered|split|eqnarray\*?|gather\*?|equation\*?)\}")
_NUMERIC = re.compile(r"&#x[0-9A-Fa-f]+;")
_TAGS = frozenset((
    "math", "mrow", "mi", "mn", "mo", "mtext", "mspace", "msup", "msub", "msubsup", "mfrac", "msqrt", "mroot",
    "mover", "munder", "munderover", "mtable", "mtr", "mtd", "mstyle", "mpadded", "mphantom", "menclose",
    "mmultiscripts", "mprescripts", "none",
))  # fmt: skip
_ATTRIBUTES = frozenset((
    "display", "mathvariant", "stretchy", "fence", "form", "separator", "linebreak", "width", "height", "depth",
    "lspace", "rspace", "voffset", "notation", "linethickness", "displaystyle", "scriptlevel", "columnalign",
    "columnspacing", "columnlines", "rowspacing", "rowlines", "minsize", "maxsize", "mathsize", "accent",
    "accentunder", "largeop", "movablelimits", "symmetric", "mathcolor", "mathbackground", "frame",
))  # fmt: skip
_VALUE = re.compile(r"[\w .%#+-]{1,64}")
# latex2mathml leaves these as they are after \big and its kin, though not after \left.
_BIG = {
    r"\{": "{", r"\}": "}", r"\lbrace": "{", r"\rbrace": "}", r"\|": "‖", r"\Vert": "‖", r"\lVert": "‖", r"\rVert": "‖",
    r"\vert": "|", r"\lvert": "|", r"\rvert": "|", r"\langle": "⟨", r"\rangle": "⟩", r"\lfloor": "⌊", r"\rfloor": "⌋",
    r"\lceil": "⌈", r"\rceil": "⌉",
}  # fmt: skip

_BARS = {"mover": "‾", "munder": "_"}
_TAG = re.compile(r"(?<!\\)((?:\\\\)*)\\tag(?![a-zA-Z])")
"""The number of a formula, which would stand at its end like a factor."""


@lru_cache(maxsize=128)
def mathml(source: str, display: bool) -> str | None:
    """`source` as a `<math>` element with `source` as its `alttext`; None where that is not possible in every part.

    Remembers the newest, because a growing answer is drawn again and again: `mathml.cache_clear()` forgets them.
    """
    if len(source) > _LONGEST or _REFUSED.search(source) or not source.strip():
        return None
    from latex2mathml.converter import convert_to_element

    named = _ALIGNED.sub(lambda found: rf"\{found[1]}{{align*}}", source)
    if "\\begin" not in named and re.search(r"(?<!\\)(?:\\\\)+(?!\\)", named):
        named = rf"\begin{{align*}}{named}\end{{align*}}"
    named = _TAG.sub(r"\1\\qquad\\tag", named)
    try:
        element = convert_to_element(named, display="block" if display else "inline")
        for operator in element.iter("mo"):
            operator.text = _BIG.get(operator.text or "", operator.text)
        _stretch_bars(element)
        space(element, _DEEPEST)
        check_lengths(element)
        written = _written(element, source, 0)
    except Exception:  # whatever that parser makes of a stranger's text: the formula is shown as it was written
        return None
    return written


def _stretch_bars(element: Element) -> None:
    """Writes the bars above and below as signs that fonts for mathematics have in any width."""
    for row in element.iter():
        if row.tag in _BARS and len(row) == 2 and unescape(row[1].text or "") in ("―", "¯"):
            row[1].text = _BARS[row.tag]
            row[1].set("stretchy", "true")


class _Unknown(Exception):
    """Something in the conversion is no mathematics that is known here."""


def _written(element: Element, source: str, depth: int) -> str:
    """The element, of which only what is listed above gets into the page."""
    if element.tag not in _TAGS or depth > _DEEPEST:
        raise _Unknown(element.tag)
    attributes = ""
    for name, value in element.attrib.items():
        if name == "xmlns" or not value:
            continue
        if name not in _ATTRIBUTES or not _VALUE.fullmatch(value):
            raise _Unknown(name)
        attributes += f' {name}="{value}"'
    if element.tag == "math":
        attributes += f' alttext="{escape(source)}"'
    text = _NUMERIC.sub(lambda found: unescape(found[0]), element.text or "")
    if element.tag != "mtext" and (text.startswith("\\") or text == "&"):
        raise _Unknown(text)
    inner = "".join(_written(child, source, depth + 1) for child in element)
    return f"<{element.tag}{attributes}>{escape(text, quote=False)}{inner}</{element.tag}>"

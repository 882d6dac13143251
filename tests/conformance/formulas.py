"""Formulas in Markdown, found without a parser, and how one may be told from what is shown."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

_CODE = re.compile(
    r"^ {0,3}(`{3,}|~{3,}).*?(?:^[ >]*\1[`~]*[ \t]*$|\Z)|(`+)(?!`).+?(?<!`)\2(?!`)", re.MULTILINE | re.DOTALL
)
_FORMULA = re.compile(
    r"(?<!\\)\\\[(?P<display>.+?)\\\]|(?<!\\)\\\((?P<inline>.+?)\\\)|\$\$(?P<dollars>.+?)\$\$"
    r"|(?<![\w$\\])\$(?P<dollar>[^\s$](?:[^$\n]*[^\s$\\])?)\$(?![\d\w$])|(?P<align>\\begin\{align\}.+?\\end\{align\})",
    re.DOTALL,
)
_QUOTED = re.compile(r"\n(?: *>)+")
_LAYOUT = {
    "frac", "dfrac", "tfrac", "sqrt", "left", "right", "boxed", "mathrm", "mathbf", "text", "begin", "end", "qquad",
    "quad", "bar", "vec", "pmatrix", "bmatrix", "align", "aligned",
    "mathbb", "operatorname",
}  # fmt: skip
"""Commands whose name is nothing to read."""
_SYMBOLS = {
    "times", "cdot", "pm", "neq", "ne", "leq", "geq", "le", "ge", "approx", "in", "cup", "cap", "setminus", "emptyset",
    "subseteq", "to", "rightarrow", "infty", "sum", "int", "nabla", "partial", "circ", "dots", "mid", "ldots", "cdots",
    "top", "perp", "langle", "rangle", "blacksquare", "prod", "Longrightarrow",
}  # fmt: skip
"""Commands that are a sign without letters."""


def formulas(markdown: str) -> list[str]:
    """The sources of the formulas outside of code, without their delimiters, in order."""
    prose = _CODE.sub("", markdown)
    found = [next(part for part in formula.groups() if part) for formula in _FORMULA.finditer(prose)]
    return [unquoted(formula) for formula in found]


def unquoted(text: str) -> str:
    """Without the marks of quotes at the beginning of further lines."""
    return _QUOTED.sub("\n", text)


def without_formulas(markdown: str) -> str:
    """The Markdown with a blank in place of each formula; code is not touched."""
    parts, position = [], 0
    for code in _CODE.finditer(markdown):
        parts += [_FORMULA.sub(" ", markdown[position : code.start()]), code[0]]
        position = code.end()
    return "".join([*parts, _FORMULA.sub(" ", markdown[position:])])


_ALIGNED = re.compile(r"\\(?:begin|end)\{(?:align|aligned|equation|gather|gathered|multline|split)\*?\}")
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\{(?:[pbBvV]?matrix|cases)\}")


def is_shown(formula: str, shown: str) -> bool:
    """Whether the formula is there: to the letter, or with every letter and digit of it as signs that Unicode has."""
    squeezed = "".join(shown.split())
    if "".join(formula.split()) in squeezed:
        return True
    formula = _ALIGNED.sub(" ", formula)
    if (drawn := _ENVIRONMENT.sub(" ", formula)) != formula:  # side by side, so in another order
        counted = Counter(_letters(re.sub(r"\\([A-Za-z]+)|\\.", lambda found: _sign(found[1] or ""), drawn)))
        return counted <= Counter(_letters(shown))
    wanted = _letters(re.sub(r"\\([A-Za-z]+)|\\.", lambda found: _sign(found[1] or ""), formula))
    return wanted in _letters(shown)


def _sign(command: str) -> str:
    if command in _LAYOUT or command in _SYMBOLS:
        return " "
    name = command.removeprefix("var").upper().replace("LAMBDA", "LAMDA")
    case = "CAPITAL" if command[:1].isupper() else "SMALL"
    try:
        return unicodedata.lookup(f"GREEK {case} LETTER {name}")
    except KeyError:
        return f" {command} "


def _letters(text: str) -> str:
    return "".join(char for char in unicodedata.normalize("NFKC", text) if char.isalnum())

"""Stars and underscores that are no emphasis, though CommonMark reads them so: they belong to code or to a word.

Models write `/* a comment */`, `n*(n-1)*(n-2)`, `*.py`, `src/*, lib/*` and `__init__` without code marks, and people
write `f*ck` and `Leser*innen`. CommonMark pairs such stars, whatever is between them, and takes them away, so that a
formula, a pattern or a name would be another one (decision 028).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_OPENS_COMMENT = re.compile(r"(?<![*\w/\\])/(\*{1,2})(?![*/])")
_CLOSES_COMMENT = re.compile(r"(\*{1,2})/(?![\w*/])")
_LONGEST_COMMENT = 1_000
_TIGHT_COMMENT = re.compile(r"(?<!\*)/(\*)[^\s*/]+(\*)/(?!\*)")
"""With neither blanks nor slashes in it: `x/*y*/z`."""
_NAME = r"[A-Za-z0-9\u0370-\u03ff][A-Za-z0-9_.\u0370-\u03ff]{0,39}+"
_OPERAND = rf"(?:{_NAME}(?:\([^()\s*]{{0,40}}\))?+|\((?!\*)[^()\n_`]{{1,60}}(?<!\*)\))"
_PRODUCT = re.compile(rf"(?<![\w*.)\]\\]){_OPERAND}(?:\*\*?(?!\*){_OPERAND})+(?![\w*(])")
_SHORT = re.compile(
    r"[A-Za-z\u0370-\u03ff]\d?|\d+(?:\.\d+)?[A-Za-z]?|\([^()]*[-+*/^,=\d][^()]*\)|\([A-Za-z\u0370-\u03ff]\d?\)"
)
_CODE = re.compile(r"\d+(?:\.\d+)?|[^\W_][\w.]*_[\w.]*[^\W_]|[\w.]+\([^()]*\)")
"""Operands that are no words."""
_EQUALS_BEFORE, _EQUALS_AFTER = re.compile(r"=[ ]?$"), re.compile(r"[ ]?=")
_PATTERNS = re.compile(
    r"(?<![\w*\\])\*(?=\.\w[\w.-]*+(?!\*))"  # *.py
    r"|(?<![\w*\\])\*\.\*(?![\w*])"  # *.*
    r"|(?<![\w*/\\])\*(?=/\d)"  # */5 of cron
)
_LETTER = r"[0-9A-Za-z\u00c0-\u024f\u0370-\u04ff]"
"""Of scripts that have blanks between words."""
_WITHIN_WORD = re.compile(rf"(?<![^\s])[^\s*\\]*{_LETTER}(\*)(?={_LETTER}[^\s*]*+(?!\S))")
"""The only star of what stands between two blanks, with a letter or digit on both sides."""
_UNDERSCORES = re.compile(r"(?<![\w\\])__([A-Za-z0-9]+(?:_[A-Za-z0-9]+)*+)__(?!\w)")
_NAMES = re.compile(
    "abs|add|aenter|aexit|aiter|all|and|anext|annotations|await|bool|bytes|call|ceil|class|code|complex|contains|"
    "copy|debug|deepcopy|del|delattr|delete|delitem|dict|dir|dirname|divmod|doc|enter|eq|exit|file|filename|"
    "float|floor|floordiv|format|func|function|future|ge|get|getattr|getattribute|getitem|getnewargs|getstate|"
    "globals|gt|hash|iadd|iand|ifloordiv|ilshift|imod|import|imatmul|imul|index|init|int|invert|ior|ipow|irshift|"
    "isub|iter|itruediv|ixor|kwdefaults|le|len|line|loader|lshift|lt|main|matmul|method|missing|mod|module|mro|"
    "mul|name|namespace|ne|neg|new|next|or|package|path|pos|post|pow|prepare|proto|qualname|radd|rand|rdivmod|"
    "reduce|repr|reversed|rfloordiv|rlshift|rmatmul|rmod|rmul|ror|round|rpow|rrshift|rshift|rsub|rtruediv|rxor|"
    "set|setattr|setitem|setstate|sizeof|slots|spec|str|sub|subclasshook|subclasses|trait|truediv|trunc|version|"
    "wrapped|xor|attribute|author|builtins|cached|credits|date|defaults|license|CLASS|DATE|DIR|FILE|FUNCTION|"
    "LINE|METHOD|NAMESPACE|PRETTY_FUNCTION|TIME|TRAIT|VERSION"
)
"""Between two underscores on both sides: what Python, C, PHP and JavaScript call their own."""


def literal_marks(text: str) -> frozenset[int]:
    """Where stars and underscores begin in `text` that are shown as they are. Takes time linear in the text."""
    places = set[int]()
    if "*" in text:
        places.update(_of_comments(text))
        places.update(_of_products(text))
        places.update(_of_patterns(text))
        places.update(_within_words(text))
    if "__" in text:
        for name in _UNDERSCORES.finditer(text):
            if _NAMES.fullmatch(name[1]) or "_" in name[1]:
                places.update((name.start(), name.end() - 2))
    return frozenset(places)


def _of_comments(text: str) -> Iterator[int]:
    for tight in _TIGHT_COMMENT.finditer(text):
        yield from (tight.start(1), tight.start(2))
    closing = None
    end = 0
    for opening in _OPENS_COMMENT.finditer(text):
        if opening.start() < end:
            continue
        if closing is None or closing.start() < opening.end():
            closing = _CLOSES_COMMENT.search(text, opening.end())
        if closing is None:
            return
        if closing.start() - opening.end() <= _LONGEST_COMMENT:
            end = closing.end()
            yield from (opening.start(1), closing.start(1))


def _of_products(text: str) -> Iterator[int]:
    """`a*b*c`, `2*(x+1)*y`, `area = width*height*depth`; `un*believ*able` is emphasis."""
    for product in _PRODUCT.finditer(text):
        operands = re.split(r"\*+", product[0])
        is_code = all(map(_SHORT.fullmatch, operands)) or (
            "**" not in product[0]
            and bool(
                any(map(_CODE.fullmatch, operands))
                or _EQUALS_BEFORE.search(text, max(0, product.start() - 2), product.start())
                or _EQUALS_AFTER.match(text, product.end())
            )
        )
        if is_code:
            yield from (product.start() + stars.start() for stars in re.finditer(r"\*+", product[0]))


def _of_patterns(text: str) -> Iterator[int]:
    for pattern in _PATTERNS.finditer(text):
        yield pattern.start()
        if len(pattern[0]) > 1:
            yield pattern.end() - 1


def _within_words(text: str) -> Iterator[int]:
    """Of several words that have a star within them and no other; one alone may begin emphasis: `un*real thing*`."""
    places = [found.start(1) for found in _WITHIN_WORD.finditer(text)]
    if len(places) > 1:
        yield from places

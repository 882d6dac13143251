"""Where a line may be broken: between words, best outside of emphasis, code and links, and never within a character."""

from __future__ import annotations

import re
import unicodedata

_INLINE = re.compile(r"\\boxed\{|[{}]|\\.|\$+|`+|!?\[|\]\(|\]|\)|\*+|_+|~~|<(?=https?:)|>|[ \t]+", re.DOTALL)
_FORMULAS = {"\\(": "\\)", "\\[": "\\]", "$$": "$$", "$": "$", "\\boxed{": "}"}
_AMOUNT = re.compile(r"\s|\d[\d.,]*(?:[\s)]|$)")
_JOINS_LEFT = frozenset("\u200d\ufe0e\ufe0f\u20e3")
_MODIFIERS = range(0x1F3FB, 0x1F400)
_TAGS = range(0xE0020, 0xE0080)
_FLAGS = range(0x1F1E6, 0x1F200)
_HANGUL = re.compile("[\u1100-\u115f\ua960-\ua97c\uac00-\ud7a3\u1160-\u11a7][\u1160-\u11ff]")
_FURTHEST = 64
"""Code points that a search for a boundary goes back; a longer cluster is not a character that anybody reads."""


def grapheme_boundary(text: str, position: int, lowest: int = 0) -> int:
    """The nearest place at or before `position` that is not within a character as a reader sees it.

    `position` itself, where there is none above `lowest` nearby. An approximation of Unicode Standard Annex 29.
    """
    for candidate in range(position, max(lowest, position - _FURTHEST), -1):
        if not _joined(text, candidate):
            return candidate
    return position


def _joined(text: str, position: int) -> bool:
    if not 0 < position < len(text):
        return False
    left, right = text[position - 1], text[position]
    if right < "\u0300":
        return left == "\\" or (left == "\r" and right == "\n") or (left == "\u200d" and not right.isascii())
    code = ord(right)
    if right in _JOINS_LEFT or code in _MODIFIERS or code in _TAGS or unicodedata.category(right)[0] == "M":
        return True
    if left == "\u200d" or left == "\\" or _HANGUL.match(left + right):
        return True
    return code in _FLAGS and _odd_flags_before(text, position)


def _odd_flags_before(text: str, position: int) -> bool:
    start = position
    while start > 0 and position - start < _FURTHEST and ord(text[start - 1]) in _FLAGS:
        start -= 1
    return (position - start) % 2 == 1


def word_boundary(text: str, lowest: int) -> int | None:
    """The last place after `lowest` where a word begins, in `text`, a part of one line; None where there is none.

    One outside of emphasis, inline code and links is preferred. One within a formula is taken only where the formula
    begins the text; its beginning, which may be below `lowest`, is better. Takes time linear in the text.
    """
    opened: dict[str, int] = {}
    any_word = outside = None
    before_formula = 0
    for found in _INLINE.finditer(text):
        token, end = found[0], found.end()
        if token[0] in " \t":
            if not _formula(opened):
                before_formula = end
            if end > lowest:
                any_word = end
                outside = outside if opened else end
        else:
            left = text[found.start() - 1 : found.start()]
            if token == "$" and "$" in opened and left.isspace():  # what an amount has opened is no formula
                del opened["$"]
                before_formula = found.start()
            _toggle(opened, token, left, text[end : end + 12])
    if not outside and before_formula and _formula(opened):
        return before_formula
    return outside or any_word


def _formula(opened: dict[str, int]) -> str:
    return next((name for name in opened if name in _FORMULAS), "")


def _toggle(opened: dict[str, int], token: str, left: str, right: str) -> None:
    """Keeps `opened`, what a reader of the line would take for still open."""
    code = next((name for name in opened if name[0] == "`"), None)
    if formula := _formula(opened):
        opened[formula] += (token == "{") - (token == "}")
        if token == _FORMULAS[formula] and (token != "}" or not opened[formula]):
            del opened[formula]
    elif not code and token in _FORMULAS:
        if token != "$" or (right[:1].strip() and not left.isalnum() and not _AMOUNT.match(right)):
            opened[token] = 1
    elif code or token[0] == "`":
        if not code:
            opened[token] = 1
        elif token == code:
            del opened[code]
    elif token in ("[", "!["):
        opened["["] = opened.get("[", 0) + 1
    elif token in ("](", "]", ")", ">"):
        name = {")": "](", ">": "<"}.get(token, "[")
        if opened.pop(name, 0) and token == "](":
            opened["]("] = 1
    elif token == "<":
        opened["<"] = 1
    elif token[0] in "*_~":
        if token in opened and left.strip():
            del opened[token]
        elif right[:1].strip() and not (token[0] == "_" and left.isalnum()):
            opened[token] = 1

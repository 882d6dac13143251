"""Emphasis in Chinese, Japanese and Korean, which CommonMark does not read: it takes a space beside `**` for granted.

In `**「重要」**です` the second `**` stands between punctuation and a letter, so CommonMark takes it for an opening one
(commonmark-spec issue 650). Here East Asian characters never keep a delimiter from opening or closing, and count as
punctuation where that allows it; beside all other characters the rules are CommonMark's. This is the draft of
`markdown-cjk-friendly`; its plugin for this parser needs an older version of it.

Stars between a letter or digit and a digit are a product or a power: `2*3*4`, `x**2 + y**2`. CommonMark takes
them for emphasis, so another number would be shown. In `src/__init__.py`, `library/__future__.html` and
`__init__(self)` underscores belong to a name, in `src/**/*.py` stars to a pattern: underscores do not open behind a
slash, nor close before one, a name's ending or a call. `code_marks` knows further ones.
"""

from __future__ import annotations

import re
from functools import cached_property
from unicodedata import category, east_asian_width

from markdown_it import MarkdownIt
from markdown_it.common.utils import isMdAsciiPunct, isPunctChar, isWhiteSpace
from markdown_it.parser_inline import ParserInline
from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline.state_inline import Scanned
from markdown_it.token import Token
from markdown_it.utils import EnvType

from adapters.delivery.markdown.code_marks import literal_marks


class EastAsianInline(ParserInline):
    """markdown-it's parser of inlines, with delimiters read as in the module's docstring."""

    def parse(self, src: str, md: MarkdownIt, env: EnvType, tokens: list[Token]) -> list[Token]:
        state = _State(src, md, env, tokens)
        self.tokenize(state)
        for rule in self.ruler2.getRules(""):
            rule(state)
        return state.tokens


class _State(StateInline):
    @cached_property
    def _literal(self) -> frozenset[int]:
        return literal_marks(self.src)

    def scanDelims(self, start: int, canSplitWord: bool) -> Scanned:
        scanned = super().scanDelims(start, canSplitWord)
        if start in self._literal:
            return Scanned(can_open=False, can_close=False, length=scanned.length)
        end = start + scanned.length
        before = self.src[start - 1] if start else " "
        after = self.src[end] if end < self.posMax else " "
        if self.src[start] == "*" and after.isascii() and after.isdigit() and before.isascii() and before.isalnum():
            return Scanned(can_open=False, can_close=False, length=scanned.length)
        if self._is_in_path(start, end, before, after):
            return Scanned(can_open=False, can_close=False, length=scanned.length)
        if self.src[start] == "*" and before == "/" and after in ",.;:!?)]}":  # src/*, lib/*
            scanned = Scanned(can_open=False, can_close=scanned.can_close, length=scanned.length)
        if self.src[start] == "_":
            is_name = after == "/" or (end - start == 2 and _GOES_ON.match(self.src, end))
            scanned = Scanned(
                can_open=scanned.can_open and before != "/",
                can_close=scanned.can_close and not is_name,
                length=scanned.length,
            )
        if not (_is_east_asian(before) or _is_east_asian(after)):
            return scanned
        opens, closes = _may_begin(before, after), _may_begin(after, before)
        if canSplitWord:
            return Scanned(opens, closes, scanned.length)
        # Within a word `_` is a letter of it.
        return Scanned(
            opens and (not closes or _is_punctuation(before)),
            closes and (not opens or _is_punctuation(after)),
            scanned.length,
        )

    def _is_in_path(self, start: int, end: int, before: str, after: str) -> bool:
        """Whether stars are a part of a pattern such as `src/**/*.py`."""
        if self.src[start] != "*":
            return False
        return (before == "/" and (after == "/" or _GOES_ON.match(self.src, end) is not None)) or (
            end - start == 2 and not before.isalnum() and self.src.startswith("/*", end)
        )


_GOES_ON = re.compile(r"\.[^\W_]|\(")
"""A name's ending, or a call."""


def _may_begin(outside: str, inside: str) -> bool:
    """Whether a delimiter between the two may open; with the two exchanged: whether it may close."""
    if isWhiteSpace(ord(inside)):
        return False
    if not _is_punctuation(inside) or _is_east_asian(inside):
        return True
    return isWhiteSpace(ord(outside)) or _is_punctuation(outside) or _is_east_asian(outside)


def _is_east_asian(character: str) -> bool:
    # Emoji are wide, too, and stand among words of every language.
    return east_asian_width(character) in "WFH" and category(character) != "So"


def _is_punctuation(character: str) -> bool:
    return isMdAsciiPunct(ord(character)) or isPunctChar(character)

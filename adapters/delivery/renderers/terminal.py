"""Markdown for a terminal, printed as it comes: what is printed is never taken back, but for the unfinished line."""

from __future__ import annotations

import re

from adapters.delivery.renderers.commonmark import replace_unsafe
from adapters.delivery.renderers.walk import columns

_C1 = re.compile("[\x80-\x9f]")
_FENCE = re.compile(r" {0,3}(?:> ?)*(`{3,}|~{3,})")
_HEADING = re.compile(r" {0,3}#{1,6} ")
_INLINE = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)|\*\*(?=\S)(.+?)(?<=\S)\*\*")
_BOLD, _DIM, _CODE, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[36m", "\x1b[0m"


def safe(text: str) -> str:
    """`text` without anything that a terminal would obey instead of showing."""
    return _C1.sub("\N{REPLACEMENT CHARACTER}", replace_unsafe(text.replace("\r\n", "\n").replace("\r", "\n")))


class TerminalStream:
    """Turns pieces of an answer into what is to be printed.

    Args:
        colour: with ANSI styles; without, the text passes as it is.
        width: columns of the terminal; a line that fits is styled anew once it is complete.
    """

    def __init__(self, *, colour: bool, width: int = 80) -> None:
        self._colour, self._width = colour, width
        self._line = ""
        self._fence = ""

    def feed(self, piece: str) -> str:
        """What to print for the next piece of text."""
        text = safe(piece)
        if not self._colour:
            return text
        *complete, rest = text.split("\n")
        printed = "".join(f"{self._finished(line)}\n" for line in complete)
        self._line += rest
        return printed + rest

    def finish(self) -> str:
        """What to print after the last piece."""
        return f"{self._finished('')}\n" if self._colour and self._line else ""

    def _finished(self, rest: str) -> str:
        line, begun = self._line + rest, self._line
        self._line = ""
        styled = self._styled(line)
        if not begun:
            return styled
        return f"\r\x1b[2K{styled}" if columns(line.expandtabs(8)) < self._width else rest

    def _styled(self, line: str) -> str:
        fence = _FENCE.match(line)
        if self._fence:
            if fence and fence[1].startswith(self._fence) and not line[fence.end() :].strip():
                self._fence = ""
                return f"{_DIM}{line}{_PLAIN}"
            return f"{_CODE}{line}{_PLAIN}" if line else ""
        if fence and not (fence[1][0] == "`" and "`" in line[fence.end() :]):
            self._fence = fence[1]
            return f"{_DIM}{line}{_PLAIN}"
        if _HEADING.match(line):
            return f"{_BOLD}{line}{_PLAIN}"
        return _INLINE.sub(lambda found: f"{_CODE if found[1] else _BOLD}{found[0]}{_PLAIN}", line)

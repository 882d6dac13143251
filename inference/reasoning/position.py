"""Where in Markdown a text has got to, and whether a closing mark there ends reasoning or is a word. Pure."""

from __future__ import annotations

import re
from typing import Any

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_TITLE = re.compile(r"\s{0,80}#{1,6}[ \t]")
_MARKER = re.compile(r"\s*(?:[-*+>|#]+|\d{1,9}[.)])\s*")
_BRACKETS = "([{<“‘«„"
_OPENING = _BRACKETS + "\"'*_~|"
_GO_ON = ".,;:!?)]}>»”’…、。，；：！？"
"""What is written behind the last word of a sentence or of its part, and never begins an answer."""
_ENDS_A_SENTENCE = ".!?…。！？"
_INTRODUCES = ":：-–—=/\\|,;"
_MOST_OF_A_LINE = 200
_TAIL = 16
# Bounded, so that little is held back.
_BLANKS: Any = re.compile(r"[ \t\r]{0,8}")


class Position:
    """The place that a text has reached. Feed it by `take`."""

    def __init__(self) -> None:
        self._head = ""
        self._blank = True
        self._ticks = 0
        self._fence = ""
        self._tail = ""
        self._first = ""
        """The head of the first line with words, once it has ended."""

    @property
    def inside(self) -> bool:
        """Whether it is in code."""
        return bool(self._fence) or self._ticks % 2 == 1

    @property
    def covers_mark(self) -> bool:
        """A mark alone on its line ends reasoning even in an unclosed fence: otherwise the answer would be hidden."""
        return self.inside and not self._blank

    @property
    def begins_line(self) -> bool:
        return self._blank and len(self._head) < 4 and "\t" not in self._head

    def ends_reasoning(self, blank: bool, next: str, *, spoken_of: bool) -> bool:
        """Whether a closing mark here ends reasoning that nothing opened (docs/decisions/018).

        Args:
            blank, next: what is `following` it.
            spoken_of: marks were words of the text before.
        """
        if self.inside or self._has_title:
            return False
        ends_line = not next.strip()
        if not ends_line and _goes_on(next, blank):
            return False
        if self._within_text:
            is_over = next in ("\n", "\n\n") and self._ends_a_thought(before_a_paragraph=next == "\n\n")
            return is_over and not spoken_of
        return ends_line or not spoken_of

    @property
    def _within_text(self) -> bool:
        """Words on this line, and then a blank or what opens a quotation: a mark that follows is one of the words."""
        before = self._tail.rstrip(_OPENING)
        return not self._blank and (not before or before[-1].isspace() or self._tail[-1] in _BRACKETS)

    def _ends_a_thought(self, *, before_a_paragraph: bool) -> bool:
        """Whether words end before the blank: a sentence, or before a new paragraph anything that leads to nothing."""
        last = self._tail.rstrip()[-1:]
        if self._tail[-1] in _OPENING or _MARKER.fullmatch(self._head):
            return False
        return last not in _INTRODUCES if before_a_paragraph else last in _ENDS_A_SENTENCE

    @property
    def _has_title(self) -> bool:
        """The text begins with a heading, as answers do and reasoning does not."""
        return _TITLE.match(self._first or self._head) is not None

    def take(self, text: str) -> None:
        first, *others = text.split("\n")
        self._grow(first)
        for line in others:
            self._end_line()
            self._grow(line)

    def _grow(self, text: str) -> None:
        self._head += text[: _MOST_OF_A_LINE - len(self._head)]
        self._blank = self._blank and not text.strip()
        self._ticks += text.count("`")
        self._tail = (self._tail + text[-_TAIL:])[-_TAIL:]

    def _end_line(self) -> None:
        match = _FENCE.match(self._head)
        if match and not self._fence:
            self._fence = match[1]
        elif match and match[1].startswith(self._fence) and not self._head[match.end() :].strip():
            self._fence = ""
        if not self._first and not self._blank:
            self._first = self._head
        self._head, self._tail, self._blank, self._ticks = "", "", True, 0


def following(text: str, at: int, *, over: bool) -> tuple[bool, str] | None:
    """What stands behind a mark that ends at `at`; None: more text must come first.

    Returns whether there is a blank, and then the next letter: "\n" for the end of the line, "\n\n" where a blank line
    follows, and "" where nothing does.
    """
    first = _BLANKS.match(text, at).end()
    if first == len(text):
        return (first > at, "") if over else None
    if text[first] != "\n":
        return first > at, text[first]
    second = _BLANKS.match(text, first + 1).end()
    if second == len(text) and not over:
        return None
    return first > at, "\n\n" if text[second : second + 1] == "\n" else "\n"


def _goes_on(next: str, blank: bool) -> bool:
    """Whether the sentence goes on behind the mark: with a sign, or after a blank with a word that is no beginning."""
    return next.islower() if blank else next in _GO_ON

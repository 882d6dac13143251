"""Markdown for a terminal, printed as it comes: what is printed is never taken back, but for the unfinished line."""

from __future__ import annotations

import re

from adapters.delivery.markdown.block_parser import BlockParser
from adapters.delivery.markdown.commonmark import replace_unsafe
from adapters.delivery.markdown.syntax import Places, closes_display, math_at, opens_display
from adapters.delivery.renderers.plain.tables import columns
from adapters.delivery.renderers.plain.unicode_math import unicode_math
from adapters.delivery.renderers.plain.unicode_matrix import matrix_lines

_C1 = re.compile("[\x80-\x9f]")
_HEADING = re.compile(r" {0,3}#{1,6} ")
_CONTAINERS = re.compile(r"[ \t>]*")
_TOKEN = re.compile(r"(?:://|www\.)\S+|`+|\*\*|\$|\\.")
_TICKS = re.compile(r"`+")
_DISPLAY = re.compile(r"([ \t]*)(?:\\\[(.+)\\\]|\$\$(.+)\$\$|(\\begin\{.+\}))[ \t]*", re.DOTALL)
_MOST_ROWS = 8
"""What is further up may have left the screen, and cannot be changed any more."""
_BOLD, _DIM, _CODE, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[36m", "\x1b[0m"


def safe(text: str) -> str:
    """`text` without anything that a terminal would obey instead of showing."""
    return _C1.sub("\N{REPLACEMENT CHARACTER}", replace_unsafe(text.replace("\r\n", "\n").replace("\r", "\n")))


class TerminalStream:
    """Turns pieces of an answer into what is to be printed.

    Args:
        colour: with ANSI styles, and mathematics in Unicode where that is exact; without, the text passes as it is.
        width: columns of the terminal; a line is styled anew once it is complete, unless it has very many rows, or
            letters of which it is not sure where a terminal breaks them.
    """

    def __init__(self, *, colour: bool, width: int = 80) -> None:
        self._colour, self._width = colour, width
        self._line: list[str] = []
        self._blocks = BlockParser()
        self._formula: list[str] = []
        """Its lines."""
        self._math = ""
        """What closes the mathematics on lines of its own that is open."""

    def feed(self, piece: str) -> str:
        """What to print for the next piece of text."""
        text = safe(piece)
        if not self._colour:
            return text
        *complete, rest = text.split("\n")
        printed = "".join(f"{self._finished(line)}\n" for line in complete)
        if rest:
            self._line.append(rest)
        return printed + rest

    def finish(self) -> str:
        """What to print after the last piece."""
        return f"{self._finished('')}\n" if self._colour and self._line else ""

    def _finished(self, rest: str) -> str:
        begun = bool(self._line)
        line = "".join([*self._line, rest])
        self._line.clear()
        styled = self._styled(line)
        if not begun:
            return styled
        if columns(line.expandtabs(8)) < self._width:
            return f"\r\x1b[2K{styled}"
        above = self._rows_above(line[: len(line) - len(rest)])
        return rest if above is None or styled == line else f"{above}\r\x1b[J{styled}"

    def _rows_above(self, printed: str) -> str | None:
        """What takes the cursor to the row in which the line began; None where it cannot be known or may be gone."""
        rows = (len(printed) - 1) // self._width
        if not printed.isprintable() or columns(printed) != len(printed) or rows > _MOST_ROWS:
            return None
        return f"\x1b[{rows}A" if rows else ""

    def _styled(self, line: str) -> str:
        fence = self._blocks.read_line(line)
        opened = self._blocks.fence
        if opened and opened is not fence:
            self._math = ""
            return f"{_DIM}{line}{_PLAIN}"
        if fence and not opened and line.strip(" \t>").strip(fence.marker[0]) == "":
            return f"{_DIM}{line}{_PLAIN}"
        if opened or self._blocks.indented_code:
            return f"{_CODE}{line}{_PLAIN}" if line else ""
        if self._is_display(line):
            return self._whole_formula(line) or f"{_CODE}{line}{_PLAIN}"
        if "\\begin" in line and (drawn := self._drawn(line)):
            return drawn
        if _HEADING.match(line):
            return f"{_BOLD}{_inline(line, _BOLD)}{_PLAIN}"
        return _inline(line, "")

    def _is_display(self, line: str) -> bool:
        """Whether the line belongs to mathematics of several lines."""
        inner = line[_CONTAINERS.match(line).end() :]  # type: ignore[union-attr]
        if self._math:
            closing, self._math = self._math, "" if not inner or closes_display(inner, self._math) else self._math
            return bool(inner and closing)
        closing = opens_display(inner)
        self._math = "" if closing in inner[2:] else closing
        self._formula.clear()
        return bool(self._math)

    def _whole_formula(self, line: str) -> str:
        """What takes the place of all its lines once it is closed; "" where its meaning is not exact in Unicode, or too
        much of it is on the screen."""
        self._formula.append(line)
        if self._math or len(self._formula) > _MOST_ROWS:
            return ""
        if any(not each.isprintable() or columns(each) >= self._width for each in self._formula):
            return ""
        shown = self._drawn("\n".join(self._formula))
        above = len(self._formula) - 1
        return f"\x1b[{above}A\r\x1b[J{shown}" if shown and above else shown

    def _drawn(self, formula: str) -> str:
        """Mathematics on lines of its own in characters of Unicode; "" where there is no exact form."""
        found = _DISPLAY.fullmatch(formula)
        if found is None:
            return ""
        source = next(part for part in found.groups()[1:] if part is not None)
        readable = unicode_math(source, display=True)
        lines = readable.split("\n") if readable is not None else matrix_lines(source, self._width - len(found[1]) - 1)
        return "\n".join(found[1] + line for line in lines or ())


def _inline(line: str, around: str) -> str:
    """The line as it is written, with code, mathematics and bold text styled; `around` is the style of the rest."""
    pieces: list[str] = []
    position, bold, places = 0, -1, Places()
    again = _PLAIN + around
    ticks = _closing_ticks(line)
    while found := _TOKEN.search(line, position):
        pieces.append(line[position : found.start()])
        token, end = found[0], found.end()
        if token[0] == "`" and found.start() in ticks:
            end = ticks[found.start()]
            pieces.append(f"{_CODE}{line[found.start() : end]}{again}")
        elif token[0] in "\\$" and (math := math_at(line, found.start(), places)):
            source, opening = math
            end = found.start() + len(source) + 2 * len(opening)
            readable = unicode_math(source)
            pieces.append(readable or f"{_CODE}{line[found.start() : end]}{again}")
        elif token == "**" and bold >= 0 and not line[found.start() - 1].isspace():
            pieces[bold] = f"{_BOLD}**"
            pieces.append(f"**{again}")
            bold = -1
        else:
            if token == "**" and bold < 0 and line[end : end + 1].strip():
                bold = len(pieces)
            pieces.append(token)
        position = end
    return "".join([*pieces, line[position:]])


def _closing_ticks(line: str) -> dict[int, int]:
    """Where the code ends that each run of backticks begins."""
    ends, following = dict[int, int](), dict[int, int]()
    for run in reversed(list(_TICKS.finditer(line))):
        if (length := len(run[0])) in following:
            ends[run.start()] = following[length]
        following[length] = run.end()
    return ends

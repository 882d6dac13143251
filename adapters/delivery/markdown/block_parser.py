"""Reads the block structure of Markdown line by line, as CommonMark does: quotes, lists, fences, tables, paragraphs.

A chunk that begins within a block is read as a person's client will read it: by itself. List indentation that it
inherits is dropped (the item that gave it its meaning is in an earlier message), quote markers are kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum

from adapters.delivery.markdown.commonmark import DEPTH
from adapters.delivery.markdown.syntax import (
    MARKER,
    closes_display,
    header_with_fitting_bars,
    opening_of,
    opens_display,
)

_WORDS = re.compile(r" {0,3}[^\W\d_]")
"""Begins a line that cannot be anything but words, or a row of a table."""
_LINE_END = re.compile(r"\r\n?|\n")
_CONTAINER = re.compile(r" *(?:>|[-+*]|\d{1,9}[.)])")
_FENCE = re.compile(r"(`{3,})([^`]*)$|(~{3,})(.*)$", re.DOTALL)
_RULE = re.compile(r"([-*_])[ \t]*(?:\1[ \t]*){2,}$")
_UNDERLINE = re.compile(r"(?:=+|-+)$")
_HEADING = re.compile(r"#{1,6}(?:[ \t]|$)")
_DELIMITER = re.compile(r"[ \t]*:?-+:?[ \t]*")
_BLOCK_START = re.compile(r"[-+*](?:[ \t]|$)|#{1,6}(?:[ \t]|$)|>|`{3}|~{3}|={1,}[ \t]*$|([-*_])[ \t]*(?:\1[ \t]*){2,}$")
_INDENTED_START = re.compile(r"(\d{0,9})(?:[-+*#>=_`~]|(?<=\d)[.)])")
"""The digits of a marker, and what may be the rest of it."""
_FENCE_BEGUN = re.compile(
    r"[ \t>]*+(?:(?:[-+*]|\d{1,9}[.)])[ \t][ \t>]*+)*+(?:(?:`+|~+)$|`{3,}[^`]*$|~{3,})", re.DOTALL
)
_LONGEST_FENCE = 16
"""A longer run of fence characters is shown as text: it would eat the room of every message that repeats it."""
_LONGEST_LANGUAGE = 32


class CutQuality(IntEnum):
    """How good a place is to end a chunk."""

    FORMULA = -1
    """Within mathematics on lines of its own."""
    NEVER = 0
    """Between a heading and its text, or behind the line that opens a fence."""
    LINE = 1
    ITEM = 2
    BLOCK = 3


@dataclass(frozen=True, slots=True)
class Fence:
    marker: str
    language: str
    indent: int
    depth: int
    """The number of containers around it."""


@dataclass(frozen=True, slots=True)
class Container:
    """A quote (`width` 0) or a list item, whose lines are indented by `width` columns.

    The first `dropped` of them are not shown: the item, or one around it, began in an earlier chunk.
    """

    width: int
    dropped: int = 0


class BlockParser:
    """The structure of one chunk, from its beginning to wherever `read` has come.

    Attributes:
        shown: what the lines look like in this chunk.
        cuts: the quality of every line's end, by its position from the chunk's beginning.
        indented_code: whether the newest line is code because of its indentation.
        length: how far it has read.
    """

    def __init__(
        self, before: BlockParser | None = None, at_line_start: bool = True, text: str = "", room: int = 1_000
    ) -> None:
        """Begins a chunk with `text` where `before` ended, at the start of a line or within one.

        `room` is how many code points may be spent on repeating a language or a table's header.
        """
        self.containers: list[Container] = []
        self.fence: Fence | None = None
        self.opened = ""
        self.shown = ""
        self.cuts: dict[int, CutQuality] = {}
        self.length = 0
        self._paragraph = False
        self._previous = ""
        self._after_heading = False
        self._opens_fence = False
        """The newest line does."""
        self.table = ""
        self._within_line = False
        self._resumes_code = False
        """The line that was cut is code because of its indentation."""
        self._drops = False
        self.indented_code = False
        self.formula = ""
        """What closes the mathematics that is open."""
        self._continues = False
        """The line goes on with a paragraph of the chunk before."""
        self._lazy = False
        """The line goes on with a paragraph without the markers of its containers."""
        self._hollow = 0
        """How many blank lines end the innermost list item, which has nothing in it yet; 0 where none do."""
        if before is not None:
            self._continue(before, at_line_start, text, room)

    def _continue(self, before: BlockParser, at_line_start: bool, text: str, room: int) -> None:
        self.containers = [Container(one.width, dropped=one.width) for one in before.containers]
        self._drops = bool(self.containers)
        self._within_line = not at_line_start
        quotes = self._prefix()
        if before.fence:
            self.fence = before.fence
            language = before.fence.language if len(before.fence.language) <= room else ""
            self.opened = f"{quotes}{self._fence_line(language)}\n"
        elif before.formula:
            self.formula, self._paragraph = before.formula, True
            self.opened = f"{quotes}{opening_of(before.formula)}\n"
        elif len(before.table) in range(1, room) and at_line_start and text.strip(" \t")[:1] not in ("", "\n", "\r"):
            self.table = before.table
            self.opened = "".join(f"{quotes}{row}\n" for row in before.table.split("\n"))
        self._continues = before._paragraph and not self.formula
        if self._within_line:
            self.opened += quotes
            self._resumes_code = before.indented_code
            first_line = _LINE_END.split(text, maxsplit=1)[0].lstrip(" \t")
            if self._resumes_code:
                self.opened += " " * 4
            elif not (self.fence or self.formula) and _BLOCK_START.match(first_line):
                self.opened += "\\"

    @property
    def markdown(self) -> str:
        return f"{self.opened}{self.shown}{self.closed}"

    @property
    def closed(self) -> str:
        """The line that closes the fence that is open at the end."""
        if not self.fence:
            return ""
        ended = not self.shown or self.shown.endswith(("\n", "\r"))
        return f"{'' if ended else chr(10)}{self._prefix()}{self._fence_line()}"

    def _prefix(self, depth: int | None = None) -> str:
        """What a line of the chunk's own begins with in order to be inside the containers."""
        return "".join(
            " " * (container.width - container.dropped) if container.width else "> "
            for container in self.containers[:depth]
        )

    def _fence_line(self, language: str = "") -> str:
        if not self.fence:
            return ""
        gap = " " if language.startswith("~") else ""  # otherwise it would lengthen the marker
        return f"{' ' * self.fence.indent}{self.fence.marker}{gap}{language}"

    def read(self, text: str) -> BlockParser:
        """Reads on: whole lines, and perhaps a last unfinished one, after which nothing more can be read."""
        position, shown = 0, []
        for end in _LINE_END.finditer(text):
            line = text[position : end.start()]
            self._opens_fence = False
            shown.append((line if self._is_plain(line) else self._line(line)) + end[0])
            position = end.end()
            self.cuts[self.length + position] = self._quality()
        if position < len(text):
            shown.append(self._line(text[position:]))
        self.shown += "".join(shown)
        self.length += len(text)
        return self

    def read_line(self, line: str) -> Fence | None:
        """Read a complete line, of which only the structure is remembered. Returns the fence open before it."""
        before = self.fence
        self.shown = ""
        self.cuts = dict([*self.cuts.items()][-1:])
        self.read(f"{line}\n")
        return before

    def copy(self) -> BlockParser:
        """What can read on without changing this one."""
        twin = BlockParser.__new__(BlockParser)
        twin.__dict__.update(self.__dict__)
        twin.containers, twin.cuts = self.containers[:], self.cuts.copy()
        return twin

    def _quality(self) -> CutQuality:
        if self.formula:
            return CutQuality.FORMULA
        if self._after_heading or self._opens_fence:
            return CutQuality.NEVER
        return CutQuality.LINE if self.fence or self._paragraph or self.table else CutQuality.BLOCK

    def _is_plain(self, text: str) -> bool:
        """Reads a line of words or code outside of containers, as most lines are, in less time than `_line` takes."""
        if self.containers or self._within_line or self.formula:
            return False
        if self.fence:
            return text.lstrip(" ")[:1] != self.fence.marker[0]
        if not _WORDS.match(text):
            return False
        self._paragraph, self._previous, self._after_heading = not self.table, text.strip(" \t"), False
        self._continues = self.indented_code = False
        return True

    def _line(self, text: str) -> str:
        line = text.expandtabs(4) if "\t" in text else text
        if self._within_line and self._resumes_code:
            self._within_line, self.indented_code, self._continues = False, True, False
            return text
        fence = self.fence
        escaped = self._within_line and self.opened.endswith("\\")
        within = self._within_line
        if self._within_line:
            self._within_line = False
            position, matched, kept = 0, len(self.containers), ""
        else:
            position, matched, kept = self._walk(line)
        skipped = 0
        if matched < len(self.containers):
            skipped = min(self.containers[matched].dropped, _indent(line, position))
        dropping = self._drops and (skipped or any(one.dropped for one in self.containers[:matched]))
        position += skipped
        self._lazy = False
        if escaped:
            self._paragraph, self._previous = True, ""
        added = self._lose_containers(line[position:], matched)
        if not (self.fence or self.formula or self._lazy or escaped):
            begin = position
            position = self._open_containers(line, position, skipped)
            kept += line[begin:position]
        continues, self._continues = self._continues and not within, self._continues and within and not line.strip()
        if continues and not self.fence and _indent(line, position) >= 4:
            return f"{added}{kept if dropping else line[:position]}{self._continuation(line[position:].lstrip(' '))}"
        escape = None if escaped else self._leaf(line[position:])
        if escape is not None:
            rest = line[position:]
            return f"{added}{kept}{rest[:escape]}\\{rest[escape:]}"
        if line is not text and self.containers and not (fence and fence is self.fence):
            text = _spaced(text, line, position + _indent(line, position))
        if dropping and line is not text and fence and fence is self.fence:
            return f"{added}{kept}{_from_column(text, position)}"
        return f"{added}{kept}{line[position:]}" if dropping else f"{added}{text}"

    def _continuation(self, words: str) -> str:
        """A line of a paragraph that began in the chunk before, where its indentation would make it code here."""
        begin = _INDENTED_START.match(words)
        if begin is None:
            self._leaf(words)
            return words
        self._paragraph, self._previous = True, ""
        return f"{begin[1]}\\{words[len(begin[1]) :]}"

    def _walk(self, line: str) -> tuple[int, int, str]:
        """How far the open containers reach into the line, how many they are, and what of them is shown."""
        position, matched, kept = 0, 0, ""
        for container in self.containers:
            indent = _indent(line, position)
            end = position
            if container.width:
                if position + indent < len(line):
                    if indent < container.width:
                        break
                    end += container.width
                else:  # a blank line may have less
                    end += min(container.width, indent)
            elif line.startswith(">", position + indent) and (indent <= 3 or self.cuts or self.opened):
                end += indent + 1
                end += line.startswith(" ", end)
            else:
                break
            kept += line[position + container.dropped : end]
            position = end
            matched += 1
        return position, matched, kept

    def _lose_containers(self, rest: str, matched: int) -> str:
        """Closes the containers that the line does not continue; returns the line that closes a fence in them."""
        if matched == len(self.containers):
            return ""
        if not (self.fence or self.formula) and self._paragraph and self._continues_paragraph(rest):
            self._lazy = True
            return ""
        added = ""
        goes_on = self._paragraph
        if self.fence and matched < self.fence.depth:
            added = f"{self._prefix()}{self._fence_line()}\n"
            self._close_fence()
            goes_on = True
        if goes_on and self.containers[matched].dropped and _CONTAINER.match(rest):
            # Who does not see the list that ended would read what is in it on. (After a lone \r, \n is no line's end.)
            added += f"{self._prefix(matched)}\r\n"
        if not self.fence:
            del self.containers[matched:]
            self._paragraph, self.table, self._hollow, self.formula = False, "", 0, ""
        return added

    def _close_fence(self) -> None:
        self.fence = None
        if self.cuts:
            self.cuts.popitem()  # a chunk that began here would begin with an empty block

    def _continues_paragraph(self, rest: str) -> bool:
        stripped = rest.lstrip(" ")
        if not stripped or len(rest) - len(stripped) >= 4:
            return bool(stripped)
        return not (stripped[0] == ">" or MARKER.match(stripped) or _starts_leaf(stripped))

    def _open_containers(self, line: str, position: int, skipped: int) -> int:
        """Reads markers from `position` on, in front of which `skipped` columns are not shown."""
        while self._level() < DEPTH:
            indent = _indent(line, position)
            start = position + indent
            if indent >= 4 or start >= len(line):
                break
            if line[start] == ">":
                end = start + 1 + line.startswith(" ", start + 1)
                self._open(Container(0))
            else:
                marker = MARKER.match(line, start)
                if not marker or _RULE.match(line, start):
                    break
                gap = _indent(line, marker.end())
                empty = marker.end() + gap >= len(line)
                if self._paragraph and (empty or marker[1] not in (None, "1")):
                    break
                end = marker.end() + (min(1, gap) if empty or gap >= 5 else gap)
                width = (marker.end() + 1 if empty else end) - position
                self._open(Container(width + skipped, dropped=skipped))
                self._hollow = 2 if empty else 0  # the rest of the marker's own line is the first one
            position, skipped = end, 0
        return position

    def _open(self, container: Container) -> None:
        self.containers.append(container)
        self._paragraph, self.table = False, ""
        self._upgrade(CutQuality.ITEM)

    def _level(self) -> int:
        return sum(2 if one.width else 1 for one in self.containers if one.dropped < one.width or not one.width)

    def _upgrade(self, quality: CutQuality) -> None:
        """The line that is being read begins something, so the place before it is a good one."""
        place = next(reversed(self.cuts), None)
        if place is not None and CutQuality.NEVER < self.cuts[place] < quality:
            self.cuts[place] = quality

    def _leaf(self, rest: str) -> int | None:
        """Reads what the containers hold; returns where a backslash has to go, if anywhere."""
        stripped = rest.strip(" \t")
        indent = _indent(rest, 0)
        previous, self._previous = self._previous, stripped
        self.indented_code = False
        if self.fence:
            marker = self.fence.marker
            if indent <= 3 and len(stripped) >= len(marker) and not stripped.strip(marker[0]):
                self._close_fence()
            return None
        if not stripped:
            self._blank()
            return None
        self._after_heading, self._hollow = False, 0
        if self.formula:
            is_fence = stripped.startswith(("```", "~~~"))
            if not is_fence or (indent <= 3 and _is_too_long(stripped)):
                self.formula = "" if closes_display(stripped, self.formula) else self.formula
                self._paragraph = bool(self.formula)
                return indent if is_fence else None  # as no fence it is a line of the formula
            self.formula, self._paragraph = "", False
        if self._lazy:
            self._previous = ""
            return _escape(stripped, indent)
        if self._level() >= DEPTH:
            self._paragraph = True
        elif indent >= 4 and not self._paragraph:
            self.table, self.indented_code = "", True  # code ends a table
        elif indent <= 3 and (fence := _FENCE.match(stripped)):
            return self._open_fence(fence, indent)
        elif indent <= 3 and self._paragraph and _UNDERLINE.match(stripped):
            self._paragraph, self.table, self._after_heading = False, "", True
        elif indent <= 3 and (closing := opens_display(stripped)):
            self._upgrade(CutQuality.BLOCK)
            self.formula = "" if closing in stripped[2:] else closing
            self._paragraph, self.table = bool(self.formula), ""
        elif indent <= 3 and (_HEADING.match(stripped) or _RULE.match(stripped)):
            self._upgrade(CutQuality.BLOCK)
            self._paragraph, self.table, self._after_heading = False, "", stripped[0] == "#"
        elif self._paragraph and _is_table(previous, stripped):
            self.table = f"{previous}\n{stripped}"
            self._paragraph = False
        else:
            self._paragraph = not self.table
        return None

    def _blank(self) -> None:
        self._paragraph, self.table, self.formula = False, "", ""
        if self._hollow:
            self._hollow -= 1
            if not self._hollow and self.containers:
                self.containers.pop()

    def _open_fence(self, found: re.Match[str], indent: int) -> int | None:
        marker, info = found[1] or found[3], found[2] or found[4] or ""
        if len(marker) > _LONGEST_FENCE:
            self._paragraph = not self.table
            return indent
        self.table = ""
        words = info.split(maxsplit=1)
        language = words[0] if words and len(words[0]) <= _LONGEST_LANGUAGE else ""
        self._upgrade(CutQuality.BLOCK)
        self._paragraph = False
        self.fence = Fence(marker, language, indent, len(self.containers))
        self._opens_fence = True
        return None


def may_be_fence(begun: str) -> bool:
    """Whether a line that begins so, as far as it is known, opens a fence or may yet."""
    return _FENCE_BEGUN.match(begun) is not None


def _escape(lazy: str, indent: int) -> int | None:
    """Where a lazy line needs a backslash: parsers forget its indentation when they look whether it ends the quote."""
    if indent >= 4 and (start := _INDENTED_START.match(lazy)):
        return indent + len(start[1])
    return indent if _FENCE.match(lazy) else None


def _is_too_long(stripped: str) -> bool:
    fence = _FENCE.match(stripped)
    return fence is not None and len(fence[1] or fence[3]) > _LONGEST_FENCE


def _starts_leaf(stripped: str) -> bool:
    fence = _FENCE.match(stripped)
    if fence:
        return len(fence[1] or fence[3]) <= _LONGEST_FENCE
    return bool(_HEADING.match(stripped) or _RULE.match(stripped) or opens_display(stripped))


def _is_table(header: str, delimiters: str) -> bool:
    if "|" not in header or "-" not in delimiters or MARKER.match(header):
        return False
    header = header_with_fitting_bars(header, delimiters)
    cells = delimiters.removeprefix("|").removesuffix("|").split("|")
    names = header.removeprefix("|").replace(r"\|", "").removesuffix("|").split("|")
    return len(names) == len(cells) and all(map(_DELIMITER.fullmatch, cells))


def _spaced(text: str, expanded: str, columns: int) -> str:
    """The line without tabs between the markers that it begins with: parsers count them differently when nested."""
    column = index = 0
    while column < columns:
        column += 4 - column % 4 if text[index] == "\t" else 1
        index += 1
    return f"{expanded[:columns]}{text[index:]}" if text[:index].strip() else text


def _from_column(text: str, column: int) -> str:
    """What stands from that column on, with its tabs; a tab that reaches beyond the column is as many blanks."""
    reached = index = 0
    while reached < column and index < len(text):
        reached += 4 - reached % 4 if text[index] == "\t" else 1
        index += 1
    return " " * (reached - column) + text[index:]


def _indent(line: str, position: int) -> int:
    end = position
    while line.startswith(" ", end):
        end += 1
    return end - position

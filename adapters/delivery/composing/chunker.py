"""Cuts Markdown that is still growing into chunks within a limit, each of them well formed by itself.

Where a chunk ends depends on the text alone, never on the pieces in which it arrived: the length is looked at only at
places that follow from the text before them. What was cut off is frozen and is never looked at again, so the cost of
the next piece depends on the live chunk, not on the length of the reply.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from adapters.delivery.composing.line_breaks import grapheme_boundary, word_boundary
from adapters.delivery.markdown.block_parser import BlockParser, CutQuality, may_be_fence

_SOURCE_FACTOR = 4
"""A chunk holds at most this many code points for each unit of its limit, however short it is after rendering."""

_PIECES = 64
"""So many are kept before they are joined."""

_LINE_END = re.compile(r"[\r\n]")
_LAST_PART = 8
"""How much of a chunk's limit, one part in so many, is read again when it is cut."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one message shows of an answer. The `source`s of all chunks, concatenated, are the answer.

    `markdown` is `opened`, the source, `closed`: `opened` reopens the fence, indents code that is cut within a line or
    repeats the table's header of the chunk before, `closed` closes the fence. In between, only the indentation of lists
    that began in an earlier chunk is left out, and a list's end within a reopened fence gets its closing line.
    """

    source: str
    markdown: str
    opened: str = ""
    closed: str = ""


class Chunker:
    """Takes an answer in pieces (`feed`, then `finish`); `frozen` chunks are final, `live()` is the one that grows.

    Args:
        limit: of chunk number `index`, in units of `measure`.
        measure: the length of a chunk's Markdown after rendering.
    """

    def __init__(self, limit: Callable[[int], int], measure: Callable[[str], int]) -> None:
        self._frozen: list[Chunk] = []
        self._limit_of = limit
        self._measure = measure
        self._pieces: list[str] = []
        """What has arrived since anybody asked: most pieces are tokens, and joining them costs more than they do."""
        self._text = ""
        """Of the live chunk, and what has arrived beyond it."""
        self._before: BlockParser | None = None
        self._at_line_start = True
        self._begin()

    def _begin(self) -> None:
        self._lines: BlockParser | None = None
        """The complete lines of the live chunk, as far as they were read."""
        self._earlier: BlockParser | None = None
        """The same, some way before the chunk's end: it will most likely be cut between there and here."""
        self._limit = max(1, self._limit_of(len(self._frozen)))
        self._fits = 0
        """A place up to which the text is known to fit."""
        self._next_look = max(1, self._limit // 2)

    def feed(self, piece: str) -> None:
        self._pieces.append(piece)
        if len(self._pieces) >= _PIECES:
            self._take_pieces()

    def finish(self) -> None:
        """The answer ends here, for now: after another `feed` the same text gives the same chunks."""
        self._take_pieces()
        self._look(ended=True)

    @property
    def frozen(self) -> list[Chunk]:
        self._take_pieces()
        return self._frozen

    def live(self) -> Chunk:
        """The growing chunk, within its limit: a little of the newest text may wait for the next look."""
        self._take_pieces()
        self._read_lines(len(self._text))
        chunk = self._chunk(len(self._text))
        if self._fits < len(self._text) and self._measure(chunk.markdown) > self._limit:
            chunk = self._chunk(self._fits)
        return chunk

    def _take_pieces(self) -> None:
        if self._pieces:
            self._text += "".join(self._pieces)
            self._pieces.clear()
            if len(self._text) >= self._next_look:
                self._look(ended=False)

    def _look(self, *, ended: bool) -> None:
        """Cuts at every due place; between two of them there is room for two units a code point."""
        text, start = self._text, 0
        while True:
            place = start + self._next_look
            if place > len(text):
                if not ended or start + self._fits == len(text):
                    break
                place = len(text)
            self._text = text[start:place]
            units = self._measure(self._chunk(len(self._text)).markdown)
            if units <= self._limit and len(self._text) < _SOURCE_FACTOR * self._limit:
                self._fits = len(self._text)
                self._read_lines(self._fits)
                if self._lines and self._limit - units > self._limit // _LAST_PART:
                    self._earlier = self._lines.copy()
                step = max(1, min(64, self._limit // 16), (self._limit - units) // 2)
                self._next_look = min(self._fits + step, _SOURCE_FACTOR * self._limit)
            else:
                start += self._freeze()
        self._text = text[start:]

    def _freeze(self) -> int:
        """Ends the live chunk at the best place; returns the length of its source."""
        end, blocks = self._best_end()
        rest = self._text[end:]
        self._frozen.append(_chunk_of(self._text[:end], blocks))
        self._before, self._at_line_start = blocks, self._text[end - 1] in "\r\n"
        blocks.shown, blocks.cuts = "", {}
        self._text = rest
        self._begin()
        return end

    def _best_end(self) -> tuple[int, BlockParser]:
        furthest = ceiling = self._furthest_fit()
        while True:
            end = self._good_end(ceiling) if ceiling > 1 else 1
            blocks = self._blocks(end)
            if end in (1, furthest) or self._measure(blocks.markdown) <= self._limit:
                return end, blocks
            ceiling = min(end - 1, ceiling - ceiling // 16)

    def _furthest_fit(self) -> int:
        low, high = max(1, self._fits), len(self._text)
        self._read_lines(low)
        if self._units(high) <= self._limit:
            return high
        while high - low > 1:
            middle = (low + high) // 2
            if self._units(middle) <= self._limit:
                low = middle
            else:
                high = middle
        return low

    def _good_end(self, furthest: int) -> int:
        """The best place in the second half: after a block, an item, a line, a word; otherwise after a character.

        Before mathematics, wherever that begins.
        """
        blocks = self._blocks(len(self._text))
        half = furthest // 2
        marker, closes = self._marker_at(furthest)
        for quality in (CutQuality.BLOCK, CutQuality.ITEM, CutQuality.LINE):
            for place, found in reversed(blocks.cuts.items()):
                if half < place <= furthest and found >= quality and not (closes and place == marker):
                    return place
        lines = [place for place in blocks.cuts if place <= furthest]
        if marker:
            earlier = [place for place in lines if place < marker and blocks.cuts[place] > CutQuality.NEVER]
            return earlier[-1] if closes and earlier else marker
        line = lines[-1] if lines else 0
        if len(lines) > 1 and blocks.cuts[line] == CutQuality.NEVER and self._blocks(line).fence:
            return lines[-2]  # its message would end with an empty block
        if lines and blocks.cuts[line] == CutQuality.FORMULA:
            begin = next((place for place in reversed(lines) if blocks.cuts[place] != CutQuality.FORMULA), 0)
            if begin:
                return begin
        begun = self._text[line:furthest]
        indent = len(begun) - len(begun.lstrip(" \t>"))
        word = word_boundary(begun, max(indent, half - line))
        if word and word > indent:
            return line + word
        if indent and (word or line + indent > half) and line and blocks.cuts[line] == CutQuality.LINE:
            return line  # a cut within the indentation would take it from the code behind it
        return grapheme_boundary(self._text, furthest)

    def _marker_at(self, place: int) -> tuple[int, bool]:
        """Where the line begins in which `place` is, if that is a fence's marker, or may yet be; 0 if it is none.

        Also whether it closes the fence: then the next chunk would begin with an empty block.
        """
        begin = max(self._text.rfind(end, 0, place) for end in "\r\n") + 1
        line = _LINE_END.split(self._text[begin:], maxsplit=1)[0]
        fence = self._blocks(begin).fence
        if fence is None:
            return (begin if place > begin and may_be_fence(line) else 0), False
        run, is_unfinished = line.strip(" \t>"), begin + len(line) == len(self._text)
        closes = bool(run or is_unfinished) and not run.strip(fence.marker[0])
        return (begin if closes else 0), closes

    def _units(self, length: int) -> int:
        return self._measure(self._chunk(length).markdown)

    def _chunk(self, length: int) -> Chunk:
        return _chunk_of(self._text[:length], self._blocks(length))

    def _blocks(self, length: int) -> BlockParser:
        """The structure of the live text up to there."""
        blocks = self._lines_before(length)
        return blocks.read(self._text[blocks.length : length])

    def _lines_before(self, length: int) -> BlockParser:
        """What was read of the lines before that place, to be read on."""
        for lines in (self._lines, self._earlier):
            if lines and lines.length <= length:
                return lines.copy()
        return self._new_blocks()

    def _read_lines(self, length: int) -> None:
        """Lines that are complete are read once for all that is asked about places after them."""
        complete = self._text.rfind("\n", 0, length) + 1
        if not self._lines or self._lines.length > complete:
            self._lines = self._lines_before(complete) if complete else None
        if self._lines:
            self._lines.read(self._text[self._lines.length : complete])

    def _new_blocks(self) -> BlockParser:
        return BlockParser(self._before, self._at_line_start, self._text, self._limit // 4)


def _chunk_of(source: str, blocks: BlockParser) -> Chunk:
    return Chunk(source, blocks.markdown, blocks.opened, blocks.closed)

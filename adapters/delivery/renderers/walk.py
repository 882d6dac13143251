"""Walks Markdown for platforms that have no paragraphs and lists of their own: everything becomes lines of text."""

from __future__ import annotations

import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from adapters.delivery.renderers.commonmark import parse, reveal_bidi

if TYPE_CHECKING:
    from markdown_it.token import Token

INLINE = {"strong": "bold", "em": "italic", "s": "strike"}


class Walker(ABC):
    """Lays out lines, their list markers and the space between blocks; a platform says what each thing looks like."""

    quote_prefix = ""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._prefixes: list[str] = []
        """What a further line begins with, one for each open container."""
        self._marker = ""
        """What the very next line has in place of prefix number `_marked`."""
        self._marked = 0
        self._lists: list[int | None] = []
        self._tight: list[bool] = []
        self._breaks = 0
        self._gap = ""
        """What an empty line between two blocks holds."""
        self._links = 0

    def at_line_start(self) -> bool:
        """Whether what is emitted next begins a line, but for its prefixes."""
        return bool(self._breaks or self._marker or not self._pieces) or self._pieces[-1].endswith("\n")

    @abstractmethod
    def open(self, kind: str, detail: str = "") -> None:
        """Begins bold, italic, strike, heading (detail: the level), quote or link (detail: the address)."""

    @abstractmethod
    def close(self, kind: str, detail: str = "") -> None: ...

    @abstractmethod
    def text(self, text: str) -> None:
        """Text without a line end."""

    @abstractmethod
    def code(self, code: str) -> None:
        """Code within a line."""

    @abstractmethod
    def code_block(self, code: str, language: str) -> None: ...

    def walk(self, markdown: str) -> None:
        tokens = parse(markdown)
        rows: list[list[str]] | None = None
        for token in tokens:
            match token.type:
                case "table_open":
                    rows = []
                case "table_close" if rows is not None:
                    self.code_block("\n".join(table_lines(rows)) + "\n", "")
                    self._end_block()
                    rows = None
                case "tr_open" if rows is not None:
                    rows.append([])
                case "inline" if rows is not None:
                    rows[-1].append(token.content)
                case _ if rows is None:
                    self._block(token)

    def emit(self, text: str) -> None:
        """Appends the text; its further lines begin with the prefixes of the open containers."""
        if self._breaks:
            self._pieces.append(f"\n{self._gap}" * (self._breaks - 1) + "\n")
        if self._breaks or not self._pieces:
            self._pieces.append("".join(self._prefixes[: self._marked] if self._marker else self._prefixes))
        if self._marker:
            self._pieces.append(self._marker + "".join(self._prefixes[self._marked + 1 :]))
        self._breaks, self._marker = 0, ""
        self._pieces.append(text.replace("\n", "\n" + "".join(self._prefixes)))

    def _block(self, token: Token) -> None:
        match token.type:
            case "inline":
                self._inline(token.children or [])
            case "paragraph_close":
                self._end_block()
            case "heading_open":
                self.open("heading", token.tag[1:])
            case "heading_close":
                self.close("heading", token.tag[1:])
                self._end_block()
            case "bullet_list_open" | "ordered_list_open":
                ordered = token.type == "ordered_list_open"
                self._lists.append(int(token.attrGet("start") or 1) if ordered else None)
            case "bullet_list_close" | "ordered_list_close":
                self._lists.pop()
                self._end_block()
            case "list_item_open":
                self._open_item()
            case "list_item_close":
                self._flush_marker()
                self._prefixes.pop()
                self._breaks = max(self._breaks, 1)
            case "blockquote_open":
                self.open("quote")
                self._prefixes.append(self.quote_prefix)
            case "blockquote_close":
                self._flush_marker()
                self._prefixes.pop()
                self.close("quote")
                self._end_block()
            case "fence" | "code_block":
                self.code_block(token.content, (token.info.split() or [""])[0])
                self._end_block()
            case "hr":
                self.text("———")
                self._end_block()

    def _open_item(self) -> None:
        self._flush_marker()
        number = self._lists[-1]
        marker = "- " if number is None else f"{number}. "
        if number is not None:
            self._lists[-1] = number + 1
        self._marked = len(self._prefixes)
        self._prefixes.append(" " * len(marker))
        self._marker = marker
        self._breaks = min(self._breaks, 1)

    def _flush_marker(self) -> None:
        """An item without content still shows its marker."""
        if self._marker:
            self.emit("")

    def _end_block(self) -> None:
        self._breaks = 1 if self._lists else 2
        self._gap = "".join(self._prefixes).rstrip()

    def _inline(self, children: Sequence[Token]) -> None:
        for child in children:
            name, _, edge = child.type.rpartition("_")
            match child.type:
                case "text":
                    if child.content:
                        self.text(reveal_bidi(child.content) if self._links else child.content)
                case "softbreak" | "hardbreak":
                    self.emit("\n")
                case "code_inline":
                    self.code(child.content)
                case "link_open":
                    self._links += 1
                    self.open("link", str(child.attrGet("href")))
                case "link_close":
                    self._links -= 1
                    self.close("link")
                case "image":
                    self._image(child)
                case _ if name in INLINE:
                    (self.open if edge == "open" else self.close)(INLINE[name])

    def _image(self, token: Token) -> None:
        """A link: nothing is loaded from another host."""
        address = str(token.attrGet("src"))
        label = reveal_bidi("".join(child.content for child in token.children or []) or address)
        if self._links:
            self.text(label)
            return
        self.open("link", address)
        self.text(label)
        self.close("link")


def table_lines(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The rows as lines of equal columns, with a rule under the header."""
    widths = [max(columns(row[n]) for row in rows if n < len(row)) for n in range(max(map(len, rows), default=0))]
    for number, row in enumerate(rows):
        cells = [cell + " " * (width - columns(cell)) for cell, width in zip(row, widths, strict=False)]
        yield " | ".join(cells).rstrip()
        if not number:
            yield "-+-".join("-" * width for width in widths)


def columns(text: str) -> int:
    """The width in columns of a monospaced font: wide East Asian characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )

"""Walks the tree for platforms that have no paragraphs and lists of their own: everything becomes lines of text."""

from __future__ import annotations

from abc import ABC, abstractmethod

from adapters.delivery.markdown.commonmark import reveal_bidi
from adapters.delivery.markdown.tree import (
    Block,
    Break,
    Code,
    CodeBlock,
    Footnote,
    Heading,
    HorizontalRule,
    Inlines,
    Item,
    Link,
    List,
    Math,
    MathBlock,
    Paragraph,
    Quote,
    Styled,
    Table,
    TextRun,
    read,
)
from adapters.delivery.renderers.plain.tables import WIDEST, table_lines
from adapters.delivery.renderers.plain.unicode_math import unicode_math
from adapters.delivery.renderers.plain.unicode_matrix import matrix_lines

BOXES = {False: "☐ ", True: "☑ "}


class Walker(ABC):
    """Lays out lines, their list markers and the space between blocks; a platform says what each thing looks like."""

    quote_prefix = ""
    widest = WIDEST
    """Columns of the widest table that is shown as one."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._prefixes: list[str] = []
        """What a further line begins with, one for each open container."""
        self._marker = ""
        """What the very next line has in place of prefix number `_marked`."""
        self._marked = 0
        self._lists = 0
        self._breaks = 0
        self._gap = ""
        """What an empty line between two blocks holds."""
        self._links = 0
        self._fresh = True
        """Nothing but prefixes is on the line yet."""

    def at_line_start(self) -> bool:
        """Whether what is emitted next begins a line, but for its prefixes."""
        return bool(self._breaks or self._marker) or self._fresh

    @abstractmethod
    def open(self, kind: str, detail: str = "") -> None:
        """Begins bold, italic, strike, heading (detail: the level) or quote."""

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

    @abstractmethod
    def link(self, link: Link) -> None:
        """A link that is not within another one."""

    def caption(self, block: CodeBlock) -> str:
        """What is shown above the block."""
        return block.caption

    def marker(self, list_: List, item: Item) -> str:
        """What an item's first line begins with."""
        return f"{item.marker} " if list_.ordered else "- "

    def walk(self, markdown: str) -> None:
        for block in read(markdown):
            self._block(block)

    def emit(self, text: str) -> None:
        """Appends the text; its further lines begin with the prefixes of the open containers."""
        if self._breaks:
            self._pieces.append(f"\n{self._gap}" * (self._breaks - 1) + "\n")
        if self._breaks or not self._pieces:
            self._pieces.append("".join(self._prefixes[: self._marked] if self._marker else self._prefixes))
        if self._marker:
            self._pieces.append(self._marker + "".join(self._prefixes[self._marked + 1 :]))
        fresh = self.at_line_start()
        self._breaks, self._marker = 0, ""
        self._pieces.append(text.replace("\n", "\n" + "".join(self._prefixes)))
        self._fresh = text.endswith("\n") if text else fresh

    def label(self, children: Inlines) -> None:
        """The label of a link, its direction controls spelled out."""
        self._links += 1
        self.inlines(children)
        self._links -= 1

    def inlines(self, children: Inlines) -> None:
        for child in children:
            match child:
                case TextRun(text):
                    self.text(reveal_bidi(text) if self._links else text)
                case Code(code):
                    self.code(reveal_bidi(code) if self._links else code)
                case Break():
                    self.emit("\n")
                case Math():
                    self._math(child)
                case Footnote(label, defines):
                    self.text(f"[{label}]{':' if defines else ''}")
                case Styled(style, _, inner):
                    self.open(style)
                    self.inlines(inner)
                    self.close(style)
                case Link(_, title, inner):
                    if self._links:
                        self.inlines(inner)
                    else:
                        self.link(child)
                    if title:
                        self.text(f" ({title})")

    def _math(self, math: Math) -> None:
        readable = unicode_math(math.source)
        if readable is None:
            self.code(math.written)
        else:
            self.text(self.formula(readable))

    def formula(self, readable: str) -> str:
        """How a formula is written here that Unicode has characters for."""
        return readable

    def _block(self, block: Block) -> None:
        match block:
            case Paragraph(children):
                self.inlines(children)
            case Heading(level, children):
                self.open("heading", str(level))
                self.inlines(children)
                self.close("heading", str(level))
            case Quote(children):
                self.open("quote")
                self._prefixes.append(self.quote_prefix)
                self._contents(children)
                self.close("quote")
            case List():
                self._list(block)
            case CodeBlock():
                self._captioned_code(block)
            case MathBlock():
                self._display(block)
            case Table():
                self._table(block)
            case HorizontalRule():
                self.text("———")
        self._end_block()

    def _contents(self, blocks: tuple[Block, ...]) -> None:
        """What a container holds, which is over then. One without content still shows its marker."""
        for block in blocks:
            self._block(block)
        if self._marker:
            self.emit("")
        self._prefixes.pop()

    def _list(self, block: List) -> None:
        self._lists += 1
        for item in block.items:
            if self._marker:
                self.emit("")
            marker = self.marker(block, item)
            self._marked = len(self._prefixes)
            self._prefixes.append(" " * len(marker))
            self._marker = marker + (BOXES[item.checked] if item.checked is not None else "")
            self._breaks = min(self._breaks, 1)
            self._contents(item.children)
            self._breaks = max(self._breaks, 1)
        self._lists -= 1

    def _captioned_code(self, block: CodeBlock) -> None:
        """The language is the platform's to show; what else stands after the fence is a line above."""
        if caption := self.caption(block):
            self.open("italic")
            self.text(caption)
            self.close("italic")
            self.emit("\n")
        self.code_block(block.code, block.language)

    def _display(self, block: MathBlock) -> None:
        readable = unicode_math(block.math.source, display=True) if block.math.closed else None
        if readable is None:
            lines = matrix_lines(block.math.source + block.after, self.widest) if block.math.closed else None
            if lines is not None:
                self.code_block("\n".join(lines) + "\n", "")
            else:
                self.code_block(f"{block.math.written}{block.after}\n", "latex")
            return
        for number, line in enumerate(self.formula(readable).split("\n")):
            if number:
                self.emit("\n")
            self.text(line)
        if block.after:
            self.text(block.after)

    def _table(self, table: Table) -> None:
        lines = None
        if not any(_has_label(cell) for row in table.rows for cell in row):
            words = [[cell_text(cell) for cell in row] for row in table.rows]
            if not any("```" in cell for row in words for cell in row):
                lines = table_lines(words, table.alignments, self.widest)
        if lines is not None:
            self.code_block("\n".join(lines) + "\n", "")
        else:
            self._records(table)

    def _records(self, table: Table) -> None:
        """Each row as lines of "header: value", with an empty line between two rows."""
        header, *rows = table.rows
        for number, row in enumerate(rows or [header]):
            if number:
                self.emit("\n\n")
            for column, (name, value) in enumerate(zip(header, row, strict=True)):
                if column:
                    self.emit("\n")
                if name and rows:
                    self.open("bold")
                    self.inlines(name)
                    self.close("bold")
                    self.text(": " if value else ":")
                self.inlines(value)

    def _end_block(self) -> None:
        self._breaks = 1 if self._lists else 2
        gap = "".join(self._prefixes).rstrip()
        # Without the blank, the sign is a mere letter on Discord, and the quote ends.
        self._gap = f"{gap} " if gap.endswith(">") else gap


def cell_text(children: Inlines) -> str:
    """What a cell says, in one line."""
    words = []
    for child in children:
        match child:
            case TextRun(text) | Code(text):
                words.append(text)
            case Break():
                words.append(" ")
            case Math(source):
                readable = unicode_math(source)
                words.append(child.written if readable is None else readable)
            case Footnote(label):
                words.append(f"[{label}]")
            case Styled(_, _, inner) | Link(_, _, inner):
                words.append(cell_text(inner))
    return "".join(words).replace("\n", " ")


def _has_label(children: Inlines) -> bool:
    """Whether there is an address, or a title, behind other words: lines of a table could not show it."""
    return any(
        (isinstance(child, Link) and (not child.bare or bool(child.title)))
        or (isinstance(child, Styled) and _has_label(child.children))
        for child in children
    )

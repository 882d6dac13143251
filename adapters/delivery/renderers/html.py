"""Markdown to HTML that is safe to put into a page: no scripts, no foreign images, no markup of the model's own."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from html import escape
from itertools import chain

from adapters.delivery.markdown.commonmark import reveal_bidi
from adapters.delivery.markdown.tree import (
    Alignment,
    Block,
    Break,
    Code,
    CodeBlock,
    Footnote,
    Heading,
    HorizontalRule,
    Inline,
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
from adapters.delivery.markdown.tree import plain as words_of
from adapters.delivery.renderers.formulas.mathml import mathml
from adapters.delivery.renderers.highlighting import Highlighter, plain
from adapters.delivery.renderers.plain.walker import BOXES

_WIDEST_MARKER = 10
"""Characters: nine digits, which Markdown allows, and a delimiter."""
_TAGS = {"bold": "strong", "italic": "em", "strike": "s"}
_CLOSING = re.compile(r"[.,;:!?)\]}’”»…،؛؟。，、；：！？）」』]+")
_MOST_MATH = 8_000
"""Code points of mathematics in one chunk; what is more stays as it was written."""


def render_html(markdown: str, highlighter: Highlighter = plain) -> str:
    """The chunk as HTML. Code is in `<div class="code">` with a bar (language, copy button); mathematics is MathML.

    Args:
        highlighter: makes HTML of the code of a block; called with (code, language), once for each block, in order.
    """
    return _Page(highlighter).blocks(read(markdown))


def pygments_css(dark: bool) -> str:
    """The style sheet for the classes in code blocks, without a background of its own."""
    from pygments.formatters.html import HtmlFormatter

    formatter = HtmlFormatter(style="github-dark" if dark else "default", nobackground=True)
    rules: str = formatter.get_style_defs(".code")  # type: ignore[no-untyped-call]
    return rules


class _Page:
    def __init__(self, highlighter: Highlighter) -> None:
        self._highlighter = highlighter
        self._links = 0
        self._math_left = _MOST_MATH

    def blocks(self, blocks: tuple[Block, ...]) -> str:
        return "".join(self._block(block) for block in blocks)

    def _block(self, block: Block) -> str:
        match block:
            case Paragraph(children, tight):
                words = self.inlines(children)
                return f"{words}\n" if tight else f'<p dir="auto">{words}</p>\n'
            case Heading(level, children):
                return f'<h{level} dir="auto">{self.inlines(children)}</h{level}>\n'
            case Quote(inner):
                return f'<blockquote dir="{_direction(inner)}">\n{self.blocks(inner)}</blockquote>\n'
            case List():
                return self._list(block)
            case CodeBlock(code, info):
                return self._code(code, block.language, info)
            case MathBlock(math, after):
                return f'<p class="formula" dir="auto">{self._math(math, display=True)}{escape(after)}</p>\n'
            case Table():
                return self._table(block)
            case HorizontalRule():
                return "<hr>\n"

    def _list(self, block: List) -> str:
        tag = "ol" if block.ordered else "ul"
        begin = _number(block.items[0]) if block.ordered else 1
        start = f' start="{begin}"' if begin != 1 else ""
        longest = max(len(item.marker) for item in block.items) if block.ordered else 0
        classes = [f"wide-{min(longest, _WIDEST_MARKER)}"] if longest > 3 else []
        if len({_direction(item.children) for item in block.items}) > 1:
            classes.append("both-ways")  # there is room for markers on both sides
        named = f' class="{" ".join(classes)}"' if classes else ""
        items = "".join(
            self._item(item, _numbered(item, expected) if block.ordered else "")
            for expected, item in enumerate(block.items, begin)
        )
        return f'<{tag} dir="{_direction((block,))}"{start}{named}>\n{items}</{tag}>\n'

    def _item(self, item: Item, number: str) -> str:
        inner = self.blocks(item.children).rstrip("\n")
        if item.checked is None:
            return f'<li dir="auto"{number}>{inner}</li>\n'
        box = f'<span class="box">{BOXES[item.checked]}</span>'
        opening = '<p dir="auto">'
        inner = f"{opening}{box}{inner[len(opening) :]}" if inner.startswith(opening) else box + inner
        return f'<li dir="auto" class="task"{number}>{inner}</li>\n'

    def _code(self, code: str, language: str, info: str) -> str:
        named = f' class="language-{escape(language)}"' if language else ""
        return (
            f'<div class="code"><div class="code-bar"><span class="lang">{escape(info)}</span>'
            '<button class="copy" type="button" aria-label="Copy code">Copy</button></div>'
            f'<pre dir="ltr"><code{named}>{self._highlighter(code, language)}</code></pre></div>\n'
        )

    def _table(self, table: Table) -> str:
        header, *rows = table.rows
        body = "".join(self._row(row, "td", table.alignments) for row in rows)
        head = f"<thead>\n{self._row(header, 'th', table.alignments)}</thead>\n"
        rest = f"<tbody>\n{body}</tbody>\n" if rows else ""
        return f'<table dir="{_direction((table,))}">\n{head}{rest}</table>\n'

    def _row(self, row: tuple[Inlines, ...], tag: str, alignments: tuple[Alignment, ...]) -> str:
        classes = [f' class="align-{alignment}"' if alignment else "" for alignment in alignments]
        cells = "".join(
            f'<{tag} dir="auto"{named}>{self.inlines(cell)}</{tag}>\n' for cell, named in zip(row, classes, strict=True)
        )
        return f"<tr>\n{cells}</tr>\n"

    def inlines(self, children: Inlines) -> str:
        pieces: list[str] = []
        for child in children:
            text = child.text if isinstance(child, TextRun) else ""
            if pieces and pieces[-1].startswith("<math") and (marks := _CLOSING.match(text)):
                # A browser may break a line behind any formula, and the mark would stand alone on the next one.
                pieces[-1] = f'<span class="kept">{pieces[-1]}{marks[0]}</span>'
                pieces.append(self._escaped(text[marks.end() :]))
            else:
                pieces.append(self._inline(child))
        return "".join(pieces)

    def _inline(self, child: Inline) -> str:
        match child:
            case TextRun(text):
                return self._escaped(text)
            case Code(code):
                return f"<code>{self._escaped(code)}</code>"
            case Break():
                return "<br>\n"
            case Math():
                return self._math(child, display=False)
            case Footnote(label, defines):
                return f'<sup class="footnote">[{escape(label)}]</sup>{":" if defines else ""}'
            case Styled(style, _, inner):
                return f"<{_TAGS[style]}>{self.inlines(inner)}</{_TAGS[style]}>"
            case Link():
                return self._link(child)

    def _escaped(self, text: str) -> str:
        return escape(reveal_bidi(text) if self._links else text)

    def _link(self, link: Link) -> str:
        self._links += 1
        label = self.inlines(link.children)
        self._links -= 1
        if self._links:  # no link within a link
            return label
        titled = f' title="{escape(link.title)}"' if link.title else ""
        return (
            f'<a href="{escape(link.address)}"{titled} rel="noopener noreferrer nofollow" target="_blank">'
            f"<bdi>{label}</bdi></a>"
        )

    def _math(self, math: Math, *, display: bool) -> str:
        self._math_left -= len(math.source)
        drawn = mathml(math.source, display) if self._math_left >= 0 and math.closed else None
        return drawn or f'<code class="formula">{escape(math.written)}</code>'


def _direction(blocks: Iterable[Block]) -> str:
    """Of what holds blocks. `auto` would not look into those that have a direction of their own."""
    for char in chain.from_iterable(_words(blocks)):
        kind = unicodedata.bidirectional(char)
        if kind in ("R", "AL"):
            return "rtl"
        if kind == "L":
            break
    return "auto"


def _words(blocks: Iterable[Block]) -> Iterator[str]:
    for block in blocks:
        match block:
            case Paragraph(children) | Heading(_, children):
                yield words_of(children)
            case Quote(children):
                yield from _words(children)
            case List(_, items):
                yield from chain.from_iterable(_words(item.children) for item in items)
            case Table(_, rows):
                yield from (words_of(cell) for row in rows for cell in row)


def _number(item: Item) -> int:
    return int(item.marker[:-1])


def _numbered(item: Item, expected: int) -> str:
    """What makes the page show the number as it was written."""
    number = _number(item)
    value = f' value="{number}"' if number != expected else ""
    return value if item.marker == f"{number}." else f'{value} data-marker="{escape(item.marker)} "'

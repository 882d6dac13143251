"""HTML read back as what a person sees: pieces of text, each with what it is (a link to where, code, bold, in a list).

Used for the page and for what cmark-gfm, the reference implementation, makes of the same Markdown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

import cmarkgfm
from cmarkgfm.cmark import Options

_MARKS = {"strong", "em", "del", "code", "pre", "blockquote", "ul", "ol", "li", "td", "th"} | {
    f"h{level}" for level in range(1, 7)
}
_SAME = {"s": "del", "b": "strong", "i": "em", "th": "th"}
_VOID = {"br", "hr", "img", "input", "wbr"}
_BLOCKS = {"p", "div", "ul", "ol", "li", "blockquote", "pre", "table", "tr", "td", "th", "hr", "section"} | {
    f"h{level}" for level in range(1, 7)
}

Run = tuple[tuple[str, ...], str]


@dataclass
class Reading(HTMLParser):
    """`runs`: the text in order, with its marks; a picture is a link to it, as it is here."""

    runs: list[Run] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[tuple[str, str]] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        classes = (given.get("class") or "").split()
        if self._hidden or "code-bar" in classes or tag == "button":
            self._hidden += tag not in _VOID
            return
        if tag in _BLOCKS:
            self._add("\n")
        match tag:
            case "br":
                self._add("\n")
            case "hr":
                self._add("———")
            case "input":
                self._add("☑" if "checked" in given else "☐")
            case "img":
                self._open.append(("img", f"a {given.get('src')}"))
                self._add(given.get("alt") or given.get("src") or "")
                self._open.pop()
            case "math":
                self._add(given.get("alttext") or "")
                self._hidden += 1
            case "a":
                self._open.append((tag, f"a {given.get('href')}"))
            case _ if tag not in _VOID:
                name = _SAME.get(tag, tag)
                self._open.append((tag, name if name in _MARKS else ""))

    def handle_endtag(self, tag: str) -> None:
        if self._hidden:
            self._hidden -= 1
            return
        for index in range(len(self._open) - 1, -1, -1):
            if self._open[index][0] == tag:
                del self._open[index:]
                break
        if tag in _BLOCKS:
            self._add("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self._add(data)

    def _add(self, text: str) -> None:
        marks = tuple(mark for _, mark in self._open if mark)
        if self.runs and self.runs[-1][0] == marks:
            self.runs[-1] = marks, self.runs[-1][1] + text
        else:
            self.runs.append((marks, text))


def read_html(html: str) -> list[Run]:
    """What the HTML shows: white space is one blank, but for code blocks, and pieces without anything are left out."""
    reading = Reading()
    reading.feed(html)
    reading.close()
    runs: list[Run] = []
    for marks, text in reading.runs:
        shown = text.rstrip("\n") if "pre" in marks else re.sub(r"[ \t\n]+", " ", text).strip(" ")
        if shown:
            runs.append((marks, shown))
    return runs


def reference_html(markdown: str) -> str:
    """What cmark-gfm makes of the Markdown, HTML of the author's included."""
    options = Options.CMARK_OPT_UNSAFE | Options.CMARK_OPT_STRIKETHROUGH_DOUBLE_TILDE
    html: str = cmarkgfm.github_flavored_markdown_to_html(markdown, options)
    return html


def has_raw_html(markdown: str) -> bool:
    """Whether cmark-gfm takes a part of it for HTML, which here is text."""
    safe: str = cmarkgfm.github_flavored_markdown_to_html(markdown)
    return "raw HTML omitted" in safe


def letters(text: str) -> str:
    """What may never be lost or added: letters and digits of every script, in order."""
    return "".join(char for char in text if char.isalnum())

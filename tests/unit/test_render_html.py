"""HTML from a model's Markdown: nothing but text, our own tags, and links that a person may follow."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.delivery.renderers.highlighting import plain
from adapters.delivery.renderers.html import pygments_css, render_html
from adapters.delivery.renderers.pygments_worker import highlight
from tests.unit.test_chunking import markdown_texts

ALLOWED = {
    "p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "strong", "em", "s", "code",
    "pre", "div", "span", "button", "table", "thead", "tbody", "tr", "th", "td", "a", "bdi", "sup",
}  # fmt: skip


NAMES = {"class", "href", "title", "rel", "target", "type", "aria-label", "start", "value", "dir", "data-marker"}
MATHEMATICS = {
    "math", "mrow", "mi", "mn", "mo", "mtext", "mspace", "msup", "msub", "msubsup", "mfrac", "msqrt", "mroot", "mover",
    "munder", "munderover", "mtable", "mtr", "mtd", "mstyle", "mpadded", "menclose",
}  # fmt: skip
MATHEMATICAL = {
    "display", "alttext", "mathvariant", "stretchy", "fence", "form", "linebreak", "width", "notation", "displaystyle",
    "columnalign", "columnspacing", "columnlines", "rowspacing", "minsize", "maxsize", "lspace", "rspace", "mathcolor",
    "scriptlevel", "voffset", "height", "depth", "linethickness",
}  # fmt: skip


class Checked(HTMLParser):
    """Fails at any tag or attribute that is not ours, and keeps the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ALLOWED | MATHEMATICS
        if tag not in ("br", "hr"):
            self.open.append(tag)
        for name, value in attrs:
            if tag in MATHEMATICS:
                assert name in MATHEMATICAL
                assert name == "alttext" or re.fullmatch(r"[\w .%#+-]+", value or "")
                continue
            assert name in NAMES
            if name == "href":
                assert re.match("(https?://|mailto:)", value or "", re.IGNORECASE)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@settings(derandomize=True)
@given(st.one_of(markdown_texts, st.text(alphabet="<>&\"'`[]()!:/ahttpsjvrcip\n ", max_size=200)))
def test_whatever_the_text_only_our_own_tags_come_out(text: str) -> None:
    html = render_html(text)
    html.encode()
    Checked(html)


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<think>hm</think>",
        "<b>bold</b>",
        "<img src=x onerror=y>",
        "@everyone",
        "<!-- x -->",
    ],
)
def test_markup_of_the_model_stays_readable(text: str) -> None:
    assert text in "".join(Checked(render_html(f"Say {text} now")).words)
    assert text in "".join(Checked(render_html(text)).words)


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "data:text/html,x", "file:///etc", "/relative", "#top", "x.y"]
)
def test_other_links_stay_text(address: str) -> None:
    html = render_html(f"[label]({address}) ![alt]({address}) <{address}>")
    assert "href" not in html
    assert address in "".join(Checked(html).words)


def test_links_and_pictures() -> None:
    rel = 'rel="noopener noreferrer nofollow" target="_blank"'
    assert f'<a href="https://example.org/a" {rel}><bdi>x</bdi></a>' in render_html("[x](https://example.org/a)")
    assert f'<a href="https://example.org/i.png" {rel}><bdi>alt</bdi></a>' in render_html(
        "![alt](https://example.org/i.png)"
    )
    assert "<img" not in render_html("[![alt](https://example.org/i.png)](https://example.org)")
    assert "[1]: https://example.org" in "".join(Checked(render_html("[1]: https://example.org")).words)


def test_direction_controls_cannot_reverse_a_link() -> None:
    html = render_html("[safe\u202egpj.exe](https://example.org)")
    assert "[U+202E]" in html
    assert "\u202e" not in html
    assert "\u202e" in render_html("plain \u202e text")


def in_colour(code: str, language: str) -> str:
    return highlight(code, language) or plain(code, language)


def test_code_has_a_bar_and_colours() -> None:
    html = render_html('```python title="a.py"\nx = "<b>"\n```', in_colour)
    assert '<span class="lang">python title=&quot;a.py&quot;</span>' in html
    assert '<button class="copy" type="button" aria-label="Copy code">Copy</button>' in html
    assert '<pre dir="ltr"><code class="language-python"><span class="n">x</span>' in html
    assert "&lt;b&gt;" in html
    assert "<span" not in render_html("```nosuchlanguage\nx\n```", in_colour).split("<pre")[1]
    assert '<pre dir="ltr"><code class="language-python">x = 1\n</code></pre>' in render_html("```python\nx = 1\n```")
    assert ".k" in pygments_css(dark=True)
    assert pygments_css(dark=True) != pygments_css(dark=False)


@settings(derandomize=True)
@given(
    st.text(alphabet="abx =\"'\\#{}()[]<>/*\t\n", max_size=200),
    st.sampled_from(["python", "c", "html", "json", "diff"]),
)
def test_code_is_never_changed(code: str, language: str) -> None:
    words = Checked(render_html(f"~~~~{language}\n{code}\n~~~~", in_colour)).words
    assert "".join(words).split("Copy", 1)[1].rstrip("\n") == f"{code}\n".rstrip("\n")


def test_a_table_has_no_inline_style() -> None:
    html = render_html("| a | b |\n|---|:-:|\n| 1 | 2 |")
    assert '<th dir="auto" class="align-center">b</th>' in html
    assert "style" not in html


HOSTILE = {
    "quotes": ">" * 100_000, "spaced quotes": "> " * 50_000, "asterisks": "*" * 100_000, "emphasis": "*a " * 30_000,
    "brackets": "[" * 50_000, "nested": "[" * 30_000 + "a" + "]" * 30_000, "images": "![[]()" * 30_000,
    "links": "[a](" * 30_000, "ticks": "".join("`" * n + " " for n in range(300)), "lists": "- " * 50_000,
    "entities": "&#1" * 30_000, "autolinks": "<http://a" * 30_000, "NUL": "\x00" * 50_000,
    "surrogates": "\ud800" * 50_000,
    "table": "a|" * 2_000 + "\n" + "-|" * 2_000 + "\n" + "|\n" * 2_000, "backslashes": "\\" * 50_000,
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_takes_linear_time(name: str) -> None:
    began = time.process_time()
    render_html(HOSTILE[name]).encode()
    assert time.process_time() - began < 6


def test_what_is_nested_too_deep_is_still_there() -> None:
    assert "deepest" in render_html("> " * 40 + "deepest")
    assert "deepest" in render_html("- " * 40 + "deepest\n\nand after")

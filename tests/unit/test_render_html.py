"""HTML from a model's Markdown: nothing but text, our own tags, and links that a person may follow."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.delivery.markdown.block_parser import BlockParser
from adapters.delivery.renderers.discord import render_discord
from adapters.delivery.renderers.formulas.mathml import mathml
from adapters.delivery.renderers.highlighting import plain
from adapters.delivery.renderers.html import pygments_css, render_html
from adapters.delivery.renderers.pygments_worker import highlight
from adapters.delivery.renderers.telegram import render_telegram
from adapters.web.channel.channel_log import ChannelLog
from adapters.web.channel.subscribers import Subscribers
from adapters.web.files.previews import Thumbnails
from adapters.web.files.uploads import Uploads
from adapters.web.posts.memory import MemoryPosts
from adapters.web.sessions.guest_data import GuestData
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


@pytest.mark.parametrize(
    ("markdown", "address"),
    [
        ("https://docs.python.org/3/library/__future__.html.", "https://docs.python.org/3/library/__future__.html"),
        ("**https://a.b/a*b*c**: x", "https://a.b/a*b*c"),
        ("_www.a.b/_c_/_", "http://www.a.b/_c_/"),
        ("(https://en.wikipedia.org/wiki/Mercury_(planet)).", "https://en.wikipedia.org/wiki/Mercury_(planet)"),
        ('"https://a.b/x?y=1&z=%20#k_l_m"!', "https://a.b/x?y=1&z=%20#k_l_m"),
        ("| a |\n|---|\n| https://a.b/_c_ |", "https://a.b/_c_"),
        ("- see https://münchen.example/ä_b_c, or not", "https://münchen.example/ä_b_c"),
        ("看https://a.b/c_d_e，然后", "https://a.b/c_d_e"),
        ("[x](https://a.b/_c_d)", "https://a.b/_c_d"),
        ("https://a.b/snake\\_case", "https://a.b/snake_case"),
        ("HTTPS://A.B/_c_", "HTTPS://A.B/_c_"),
        ("<https://a.b/?x=1&amp;y=2&copy=_3_>", "https://a.b/?x=1&y=2&copy=_3_"),
        ("[](https://a.b/_c_)", "https://a.b/_c_"),
        ("http://localhost:8080/__x__", "http://localhost:8080/__x__"),
        ("me_and_you@a-b.org", "mailto:me_and_you@a-b.org"),
        ("https://a.b/" + "_c" * 50_000, "https://a.b/" + "_c" * 50_000),
    ],
)
def test_bare_addresses_are_links_to_the_character(markdown: str, address: str) -> None:
    html = render_html(markdown)
    assert [unescape(found) for found in re.findall(r'href="([^"]*)"', html)] == [address]
    assert "<em>h" not in html.lower()


@pytest.mark.parametrize(
    "text", ["README.md", "ftp://a.b/c", "x.https", "https://", "www.", "www..", "a@b", "@name", "node.js"]
)
def test_what_is_no_address_stays_text(text: str) -> None:
    assert "href" not in render_html(f"see {text} here")


@pytest.mark.parametrize(
    ("markdown", "source"),
    [
        (r"so \(x^2\,dx\) is", r"x^2\,dx"),
        (r"$a_1*b_2*c_3$-axis", "a_1*b_2*c_3"),
        (r"\[ \{1,2\} \\ a*b \]", r" \{1,2\} \\ a*b "),
        ("text\n$$\nx_1\n= y\n- z\n$$.", "\nx_1\n= y\n- z\n"),
        (r"\boxed{a_1*b_1*c}", r"\boxed{a_1*b_1*c}"),
        ("> - \\[\n>   x\n>   \\]", "\nx\n"),
        ("\\begin{align}\na &= b \\\\\n&= c\n\\end{align}", "\\begin{align}\na &= b \\\\\n&= c\n\\end{align}"),
        ("| $|x|$ |\n|---|\n| \\(y\\) | z |", r"y"),
        (r"the $n$th, and **$x*y*z$**", "n"),
    ],
)
def test_mathematics_is_drawn_and_keeps_its_source(markdown: str, source: str) -> None:
    html = render_html(markdown)
    Checked(html)
    assert source in [unescape(found) for found in re.findall('<math[^>]*alttext="([^"]*)"', html)]


@pytest.mark.parametrize(
    "text",
    [
        "$5 and $6",
        "US$5 or 10$",
        "$HOME/$USER",
        "it costs $5, or 10$ there",
        r"\$x\$",
        "$ x $",
        "$$",
        "`$x$`",
        "$5-$6",
        "$5/**$6**",
        "$5-a *$b c*",
        "$5 ($6)",
        "$1/($2)",
    ],
)
def test_money_is_no_mathematics(text: str) -> None:
    assert "<math" not in render_html(text)


@pytest.mark.parametrize(
    "formula",
    [
        r"\text{<script>alert(1)</script>}", r"\href{javascript:alert(1)}{x}", r"\style{color:red}{x}", r"\class{a}{x}",
        r'\color{red" onload="x}{y}', r"\unknown{x}", r"x^", "{" * 400, r"\def\a{\a\a}\a", "x+" * 3_000,
        r"\frac{1}{" * 200,
        r"\ce{H2O}", "100% of x", "a & b", r'\mathmakebox["]{x}', r"\text{\x00\ud800}", r"\sqrt" * 5_000,
    ],
)  # fmt: skip
def test_a_formula_brings_nothing_of_its_own_into_the_page(formula: str) -> None:
    for written in (f"\\({formula}\\)", f"\\[\n{formula}\n\\]"):
        html = render_html(written)
        html.encode()
        shown = "".join(Checked(html).words)
        source = "".join(re.findall('alttext="([^"]*)"', html))
        assert "<math" in html or formula.split("\x00")[0][:50] in shown, "as it was written"
        assert not source or formula in unescape(source)


async def test_drawn_formulas_are_forgotten_when_somebody_is_erased() -> None:
    board = ChannelLog(MemoryPosts(), audience := Subscribers(), render_html)
    render_html(r"\(x^2\)")
    assert mathml.cache_info().currsize > 0
    await GuestData(board, audience, Uploads(Thumbnails()), MemoryPosts()).erase(["web:ada"], "2026-01-01")
    assert mathml.cache_info().currsize == 0


def test_a_formula_that_never_closes_is_shown_whole() -> None:
    text = "\\[\n\\int_0^1 a*b*c \\, dx\n"
    assert text.strip() in "".join(Checked(render_html(text)).words)
    assert "a*b*c" in "".join(Checked(render_html("$$\n" + "a*b*c " * 20_000)).words)


def test_numbers_of_lists_are_those_that_were_written() -> None:
    assert re.findall(r"<ol[^>]*>|<li[^>]*>", render_html("2. a\n3. b\n5. c").replace(' dir="auto"', "")) == [
        '<ol start="2">', "<li>", "<li>", '<li value="5">'
    ]  # fmt: skip
    assert 'data-marker="007) "' in render_html("007) a")
    assert '<ol dir="auto" start="0">' in render_html("0. a")
    assert "wide" not in render_html("9. a\n10. b")
    assert '<ol dir="auto" start="999" class="wide-5">' in render_html("999. a\n1000. b")
    assert 'class="wide-10"' in render_html("999999999. a")
    assert render_html("1. a\n1. b").count('value="1"') == 1


@pytest.mark.parametrize("written", ["![no *address*]()", "[no *address*]()"])
def test_what_leads_nowhere_is_no_link(written: str) -> None:
    assert render_html(written) == '<p dir="auto">no <em>address</em></p>\n'
    assert render_telegram(written).text == "no address"
    assert [entity.type for entity in render_telegram(written).entities] == ["italic"]
    assert render_discord(written) == "no *address*"


def test_an_escaped_link_is_no_mathematics() -> None:
    assert "<math" not in render_html(r"\[no link\](https://a.b)")
    assert "[no link](" in unescape(render_html(r"\[no link\](https://a.b)"))
    assert "<math" in render_html(r"\[x\] (https://a.b)")


def test_tasks_and_footnotes() -> None:
    html = render_html("- [ ] a\n- [x] **b**\n\nword[^1] [^a-z]\n\n[^1]: the *note*")
    assert '<span class="box">☐ </span>a' in html
    assert '<span class="box">☑ </span><strong>b' in html
    assert 'word<sup class="footnote">[1]</sup> [^a-z]' in html
    assert '<sup class="footnote">[1]</sup>: the <em>note</em>' in html


def test_every_block_finds_its_direction() -> None:
    html = render_html("# a\n\nb\n\n> c\n\n- d\n\n1. e\n\n| f |\n|---|\n| g |\n\n\\[x\\]")
    blocks = re.findall(r"<(?:p|h\d|blockquote|ul|ol|li|table|th|td)\b[^>]*>", html)
    assert len(blocks) > 9
    assert all(' dir="auto"' in block for block in blocks)
    assert '<pre dir="ltr">' in render_html("    code")
    for container in ("> {}", "- {}", "7. {}", "| {} |\n|---|"):
        assert ' dir="rtl"' in render_html(container.format("1. **שלום** and more"))
        assert ' dir="rtl"' not in render_html(container.format("hello שלום"))


def test_direction_controls_in_code_in_a_label_are_spelled_out() -> None:
    assert "[U+202E]" in render_html("[`a\u202eb`](https://example.org)")


def test_a_row_with_more_cells_than_the_header_keeps_them() -> None:
    words = "".join(Checked(render_html("| a | b |\n|---|---|\n| `x | y` | z | and | more |")).words)
    assert "x | y" in words
    assert "z | and | more" in words


@pytest.mark.parametrize("tables", [1, 20])
def test_rows_that_lack_cells_cost_no_more_than_what_was_written(tables: int) -> None:
    table = "|" + "a|" * 100 + "\n|" + "-|" * 100 + "\n" + "|\n" * 500 + "|last|\n\n"
    html = render_html(table * tables)
    assert html.count("<td") <= max(1_000, len(table) * tables // 4)
    assert html.count("last") == tables
    assert html.count("<th ") == 100 * tables


@pytest.mark.parametrize("header", ["`a|b` | c", "| **`a|b`** | c |", "| c | $a|b$ |", "c | \\(a|b\\)"])
def test_bars_in_code_of_a_header_divide_no_cells(header: str) -> None:
    written = f"x\n\n{header}\n|---|:-:|\n| 1 | 2 |\n"
    html = render_html(written)
    assert html.count("<th ") == html.count("<td ") == 2
    assert "a|b" in html
    assert "\N{BROKEN BAR}" not in html
    blocks = BlockParser().read(written)
    assert blocks.table
    assert "<th" not in render_html(f"{header} | d\n|---|---|\n")


def test_a_row_may_lack_cells() -> None:
    assert render_html("|a|b|\n|-|-|\n|c|\n|d|e|\n\nf").count("<td") == 4


def test_what_is_nested_too_deep_is_still_there() -> None:
    assert "deepest" in render_html("> " * 40 + "deepest")
    assert "deepest" in render_html("- " * 40 + "deepest\n\nand after")


@pytest.mark.parametrize("size", ["big", "Bigl", "bigg"])
@pytest.mark.parametrize(
    ("written", "drawn"),
    [(r"\{", "{"), (r"\|", "‖"), (r"\langle", "⟨"), (r"\lfloor", "⌊"), (r"\rceil", "⌉"), (r"\lVert", "‖")],
)
def test_large_delimiters_are_drawn(size: str, written: str, drawn: str) -> None:
    assert f">{drawn}</mo>" in str(mathml(rf"\{size}{written} x", False))


def test_underscores_of_an_address_open_no_emphasis_before_the_next() -> None:
    html = render_html("https://a.b/(x)_y, (see https://a.b/x_y_).")
    assert re.findall(r'href="([^"]*)"', html) == ["https://a.b/(x)_y", "https://a.b/x_y_"]


def test_marks_in_code_before_an_address_end_it_nowhere() -> None:
    html = render_html("**see `**x` https://a.b/ and https://a.b/c** d")
    assert re.findall(r'href="([^"]*)"', html) == ["https://a.b/", "https://a.b/c"]
    assert "<strong>see" in html


def test_underscores_in_code_before_an_address_open_nothing() -> None:
    html = render_html("_``__x__`` https://a.b/c_ and ``__y__`` https://a.b/__d__")
    assert re.findall(r'href="([^"]*)"', html) == ["https://a.b/c", "https://a.b/__d__"]


@pytest.mark.parametrize("marks", [".", "),", "?”", "。", "؟"])
def test_a_mark_behind_a_formula_stays_on_its_line(marks: str) -> None:
    html = render_html(f"so \\(x\\){marks} Next")
    assert re.search(rf'<span class="kept"><math.*</math>{re.escape(marks)}</span> Next', html)
    assert "kept" not in render_html(r"so \(\unknown{x}\), `x`, and \(y\) here")


@pytest.mark.parametrize("formula", [r"x=1 \tag{1}", r"\begin{align} y&=2 \\ x&=1\tag*{1} \end{align}", r"y \\\tag{1}"])
def test_the_number_of_a_formula_is_no_factor(formula: str) -> None:
    assert re.search(r'<mspace width="2em"></mspace><mtext>\(?1', mathml(formula, True) or "")

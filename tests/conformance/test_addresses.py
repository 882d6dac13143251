"""Bare and linked addresses beside everything that may stand next to them: to the character, on every platform.

An address is put together from parts, so what it is is known without reading it, and so is the text around it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from adapters.delivery.renderers.discord import render_discord
from adapters.delivery.renderers.html import render_html
from adapters.delivery.renderers.telegram import render_telegram
from adapters.delivery.renderers.terminal import TerminalStream
from tests.conformance.chats import Shown, in_terminal, on_discord, on_telegram
from tests.conformance.laws import missing
from tests.conformance.reading import letters, read_html


@dataclass(frozen=True)
class Address:
    """As it is written in Markdown, and what it means."""

    written: str
    meant: str


_HOSTS = (
    "e.org",
    "docs.python.org",
    "www.e.org",
    "e.org:8080",
    "localhost:3000",
    "127.0.0.1:8000",
    "user@host.org",
    "user:pass@host.org:80",
    "пример.рф",
    "例え.jp",
    "münchen.de:8080",
    "xn--e1afmkfd.xn--p1ai",
    "a-b.co.uk",
)
_WORDS = (
    "a",
    "x1",
    "_a_",
    "__init__",
    "_a",
    "a_b_c",
    "*a*b",
    "a*b*c",
    "**a**b",
    "~user",
    "~~a~~b",
    "w_(film)",
    "(x_(y)_z)",
    "a(b)_c_",
    "[x]",
    "[a[b]c]",
    "{id}",
    "{a_{b}_}",
    "$x$y",
    "$HOME",
    "`x`",
    "`_x_`",
    "%20",
    "%D7%90",
    "it's",
    "a,b",
    "a;b",
    "a:b",
    "a.b",
    "..",
    "a!b",
    "@me",
    "+",
    "-_-",
    "путь",
    "あ_い_う",
    "א_ב_ג",
    "हिन्दी",
    "c++",
    "!",
    "🦊",
    "#_a_",
    "?q=_a_&r=__b__",
    "&x=1",
    "&copy=1",
    "=",
    "--",
    "...b",
    "a|b",
)
_ESCAPED = (
    Address(r"\_a\_", "_a_"),
    Address(r"\*", "*"),
    Address(r"\(x\)", "(x)"),
    Address(r"(d\)", "(d)"),
    Address("&amp;", "&"),
    Address(r"\[x\]", "[x]"),
    Address("&amp;lt=1", "&lt=1"),
)
_ENDS = (
    "",
    "/",
    "a",
    "a_",
    "__init__",
    "(film)",
    "(a_(b))",
    "{id}",
    "[0]",
    "=",
    "%20",
    "`x`",
    "$x$",
    "é",
    "עברית",
    "字",
    r"\_",
)


def _joined(parts: list[Address | str]) -> Address:
    both = [part if isinstance(part, Address) else Address(part, part) for part in parts]
    return Address("".join(part.written for part in both), "".join(part.meant for part in both))


_parts = st.lists(st.one_of(st.sampled_from(_WORDS), st.sampled_from(_ESCAPED), st.just("/")), max_size=6)
addresses = st.builds(
    lambda scheme, host, parts, end: _joined(
        [scheme, host, "/", *parts, "/", end if end != r"\_" else Address(r"\_", "_")]
    ),
    st.sampled_from(["https://", "http://", "HTTPS://"]),
    st.sampled_from(_HOSTS),
    _parts,
    st.sampled_from(_ENDS),
)

_AROUND = (
    "{}",
    "see {} now",
    "({})",
    "[{}]",
    "{ {} }",
    '"{}"',
    "'{}'",
    "“{}”",
    "„{}“",
    "«{}»",
    "‹{}›",
    "‘{}’",
    "**{}**",
    "*{}*",
    "***{}***",
    "_{}_",
    "__{}__",
    "~~{}~~",
    "~{}~",
    "**see {}** then",
    "_Source: {}_",
    "**参见{}**中文",
    "{}.",
    "{},",
    "{}:",
    "{};",
    "{}!",
    "{}?",
    "{}...",
    "{}…",
    "({}).",
    '"{}",',
    "**{}**:",
    "_{}_,",
    "# {}",
    "## {} ##",
    "> {}",
    "> > {}",
    "- {}",
    "1. {}",
    "- [ ] {}",
    "- a\n  - {}\n",
    "| a | b |\n|---|---|\n| {} | z |\n",
    "| {} |\n|---|\n| z |\n",
    "x[^1]\n\n[^1]: {}",
    "参见{}。",
    "（{}）",
    "《{}》",
    "「{}」です",
    "见：{}，再见",
    "راجع {}، ثم",
    "هل {}؟",
    "ראה {}.",
    "\u200f{}\u200f",
    "देखें {}।",
    "<{}>",
    "`x` {} `y`",
    "**bold** {} *it*",
    "a_b {} c_d",
    "$5 {} $6",
    r"\(x\) {} \(y\)",
    "{}  \nnext",
    "{}\\\nnext",
    "{}\nnext",
    "word:{} x",
    "name={} x",
    "<br>{}<br>",
    '<a href="{}">x</a>',
    "[label]({})",
    "[_label_]({})",
    "[label](<{}>)",
    '[label]({} "title")',
    "![alt]({})",
    "[label]: {}",
    "x {}\n\n---\n\ny",
    "{}<b>",
    "-> {} <-",
    "\\*{}\\*",
)


def _is_clear(around: str, address: Address) -> bool:
    """Whether the marks around the address are none that it has itself, so that it is clear where it ends."""
    before = around.partition("{}")[0]
    if around == "<{}>" and address.written != address.meant:
        return False  # in an autolink a backslash is a backslash
    if address.written.endswith("$") and address.written.count("$") % 2:
        return False
    if any(mark in before and mark in address.written for mark in ("**", "~~", "*", "'", '"', "`", "$")):
        return False
    if before[-1:] in ("_", "~") or before.startswith("_"):
        return before[:1] not in address.written
    return not ("|" in around and "|" in address.written)


def _filled(around: str, address: str) -> str:
    return around.replace("{}", address, 1)


def _on_page(markdown: str) -> Shown:
    runs = read_html(render_html(markdown))
    links = [mark[2:] for marks, _ in runs for mark in marks if mark.startswith("a ")]
    return Shown("\n".join(text for _, text in runs), links)


def _in_terminal(markdown: str) -> Shown:
    stream = TerminalStream(colour=True)
    return in_terminal(stream.feed(markdown) + stream.finish())


READERS: dict[str, Callable[[str], Shown]] = {
    "page": _on_page,
    "discord": lambda markdown: on_discord(render_discord(markdown)),
    "telegram": lambda markdown: on_telegram(render_telegram(markdown)),
    "terminal": _in_terminal,
}


@pytest.mark.parametrize("around", _AROUND)
@settings(derandomize=True, max_examples=25, deadline=None)
@given(address=addresses)
def test_an_address_is_shown_to_the_character(around: str, address: Address) -> None:
    assume(_is_clear(around, address))
    markdown = _filled(around, address.written)
    for platform, read in READERS.items():
        shown = read(markdown)
        if platform == "terminal":  # which prints what was written
            assert address.written in shown.text, (platform, markdown, shown)
            continue
        if platform == "discord" and ("[label]" in markdown or "[alt]" in markdown or "[_label_]" in markdown):
            continue
        leads = platform == "page" or "|--" not in markdown  # a table of a chat is a code block
        assert "](" in around or address.meant in shown.text, (platform, markdown, shown)
        assert not leads or address.meant in shown.addresses, (platform, markdown, shown)
        beside = letters(around.removeprefix("1. ").replace(' "title"', ""))  # a number of a list, a tooltip
        assert missing(beside, letters(shown.text)) == "", (platform, markdown, shown)


def test_marks_that_were_opened_in_the_message_before_belong_to_no_address() -> None:
    """GitHub leaves them out as well."""
    for marks in ("***~~", "~~**", "~~", "~~**__", "__***", "__~~", "_**", "**__", "**_", "***___", "__**~~"):
        assert '<a href="https://e.org/a"' in render_html(f"https://e.org/a{marks} b")
    assert '<a href="https://e.org/a~"' in render_html("https://e.org/a~ b")
    assert '<a href="https://e.org/__a__"' in render_html("https://e.org/__a__~~** b")
    assert '<a href="https://e.org/__a__"' in render_html("https://e.org/__a__*** b")


@pytest.mark.parametrize("formula", [r"\boxed{\sum_{i=1}^{6} i}", r"\(a_{1}\)", "$a_{1}$", r"\boxed{a_{1}}"])
def test_an_underscore_of_a_formula_ends_no_emphasis_before_an_address(formula: str) -> None:
    assert '<a href="https://e.org/b"' in render_html(f"~~a _{formula} https://e.org/b_~~ c")


def test_a_line_break_by_a_backslash_ends_emphasis_around_an_address() -> None:
    assert '<a href="https://e.org/__b__"' in render_html("_https://e.org/a/_\\\nhttps://e.org/__b__")

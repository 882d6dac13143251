"""All examples of CommonMark and GFM: on the page as cmark-gfm reads them, on the chats with nothing lost."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import unquote

import pytest

from adapters.delivery.renderers.discord import render_discord
from adapters.delivery.renderers.html import render_html
from adapters.delivery.renderers.telegram import render_telegram
from adapters.delivery.renderers.terminal import TerminalStream
from tests.conformance.chats import Shown, in_terminal, on_discord, on_telegram
from tests.conformance.examples import Example, examples
from tests.conformance.laws import broken, lost_blocks, missing
from tests.conformance.reading import Run, has_raw_html, letters, read_html, reference_html

_DEFINITION = re.compile(r"^(?:[ >]|[-*+] )*\[[^\]]*\]:", re.MULTILINE)

DIFFERENT: dict[str, str] = {
    "commonmark-28": "what is no character's number stays as written",
    "commonmark-354": "symbols are punctuation since CommonMark 0.31; cmark-gfm is older",
    "commonmark-606": "what an escape makes invalid is no address, cmark-gfm makes one of its rest",
    "gfm-614": "what an escape makes invalid is no address, cmark-gfm makes one of its rest",
    "commonmark-356": "stars between digits are a product, not emphasis",
    "gfm-365": "stars between digits are a product, not emphasis",
    "commonmark-519": "a bare address within emphasis is followed, too",
    "gfm-527": "a bare address within emphasis is followed, too",
    "commonmark-484": "a label without words shows its address",
    "gfm-625": "an address ends at a bracket that it did not open",
    "gfm-204": "a cell beyond the header's belongs to the last one, GitHub hides it",
}
"""What is shown otherwise than cmark-gfm shows it, and why."""


def why_different(example: Example, reference: list[Run]) -> str:
    """Why the page may differ here; "" where it may not."""
    if has_raw_html(example.markdown):
        return "HTML of a model is text"
    if _DEFINITION.search(example.markdown):
        return "definitions of links stay visible: a later message could not see them"
    marks = [mark for marks, _ in reference for mark in marks if mark.startswith("a ")]
    if any(not re.match(r"a (?:https?|mailto):", mark, re.IGNORECASE) for mark in marks):
        return "only http, https and mailto are followed, other addresses stay as written"
    return DIFFERENT.get(example.name, "")


def _as_shown(runs: list[Run]) -> list[Run]:
    """Bold in bold is bold; pieces that then look alike are one; addresses may have characters or percents."""
    joined: list[Run] = []
    for marks, text in runs:
        marks = tuple(unquote(mark) if mark.startswith("a ") else mark for mark in marks)
        marks = tuple(dict.fromkeys(mark for mark in marks if mark not in ("th", "td"))) if "li" not in marks else marks
        if joined and joined[-1][0] == marks and "pre" not in marks:
            joined[-1] = marks, f"{joined[-1][1]} {text}"
        else:
            joined.append((marks, text))
    return [(marks, re.sub(r"\s+", "", text)) for marks, text in joined]


def test_the_page_shows_what_the_reference_shows() -> None:
    found = []
    for example in examples():
        reference, page = read_html(reference_html(example.markdown)), read_html(render_html(example.markdown))
        if _as_shown(page) != _as_shown(reference) and not why_different(example, reference):
            found.append(f"{example.name}\n{example.markdown}\nreference: {reference}\nthe page:  {page}")
    assert not found, f"{len(found)} differ:\n\n" + "\n\n".join(found[:60])


def test_the_page_loses_no_letter_where_it_differs() -> None:
    found = []
    for example in examples():
        shown = letters("".join(text for _, text in read_html(render_html(example.markdown))))
        wanted = letters("".join(text for _, text in read_html(reference_html(example.markdown))))
        if has_raw_html(example.markdown):
            wanted = letters("".join(text for _, text in read_html(reference_html(example.markdown.replace("<", "‹")))))
        if missing(wanted, shown):
            found.append(f"{example.name}\n{example.markdown}\nlost from: {missing(wanted, shown)}")
    assert not found, f"{len(found)} lose something:\n\n" + "\n\n".join(found[:60])


@pytest.mark.parametrize(
    ("read", "copies"),
    [
        (lambda text: on_discord(render_discord(text)), True),
        (lambda text: on_telegram(render_telegram(text)), True),
        (lambda text: in_terminal(_printed(text)), False),
    ],
    ids=["discord", "telegram", "terminal"],
)
def test_the_chats_lose_nothing(read: Callable[[str], Shown], copies: bool) -> None:
    found = []
    for example in examples():
        shown = read(example.markdown)
        if has_raw_html(example.markdown) or example.name in DIFFERENT:
            faults = []
        elif copies:
            faults = [*broken(example.markdown, shown), *lost_blocks(example.markdown, shown)]
        else:  # the terminal prints the Markdown itself, with styles
            as_written = missing(letters(example.markdown), letters(shown.text)) == ""
            faults = [] if as_written else [*broken(example.markdown, shown)]
        if faults:
            found.append(f"{example.name}\n{example.markdown}\n{faults}\n{shown}")
    assert not found, f"{len(found)} lose something:\n\n" + "\n\n".join(found[:60])


def _printed(markdown: str) -> str:
    stream = TerminalStream(colour=True)
    return stream.feed(markdown) + stream.finish()

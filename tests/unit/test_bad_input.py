"""Bad input costs work and memory linear in it, and its text is whole: on the page, on chats, and where it is cut."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable

import pytest

from adapters.delivery.composing.chunker import Chunker
from adapters.delivery.renderers.discord import render_discord
from adapters.delivery.renderers.formulas.mathml import mathml
from adapters.delivery.renderers.html import render_html
from adapters.delivery.renderers.telegram import render_telegram
from adapters.delivery.renderers.terminal import TerminalStream, safe
from tests.conformance.reading import letters, read_html
from tests.unit.hostile import HOSTILE, MOST_GROWTH, SMALL, growth_of_memory, growth_of_work


def _page(text: str) -> str:
    mathml.cache_clear()
    return render_html(text)


def _terminal(text: str) -> str:
    stream = TerminalStream(colour=True)
    pieces = [stream.feed(text[start : start + 1_000]) for start in range(0, len(text), 1_000)]
    return "".join(pieces) + stream.finish()


def _cut(text: str, limit: int = 2_000) -> list[str]:
    """Where a frame is made for every piece, as while it grows."""
    chunker = Chunker(lambda _: limit, len)
    for start in range(0, len(text), 500):
        chunker.feed(text[start : start + 500])
        chunker.live()
    chunker.finish()
    return [chunk.source for chunk in (*chunker.frozen, chunker.live())]


WORK: dict[str, Callable[[str], object]] = {
    "page": _page,
    "discord": render_discord,
    "telegram": render_telegram,
    "terminal": _terminal,
    "cut": _cut,
}


SOAK = bool(os.environ.get("SOAK"))
_COSTLY = ("table of 1,000 columns", "nested marks")
"""Linear, and long: half a minute each."""
_OF_THE_ISSUE = (
    "control characters", "nested brackets", "formula never closed", "display never closed", "address",
    "address of groups", "link to an address", "words", *(_COSTLY if SOAK else ()),
)  # fmt: skip
_ONCE_QUADRATIC = ("quoted addresses", "delimiters", "numbered", "pairs of ticks", "braces")
_CHANGED = {"fractions", "address of entities", "numbered", "tildes", "breaks"}
"""Where a command, an entity, a number of a list, a language or a `<br>` is no word that is shown."""


@pytest.mark.parametrize("name", HOSTILE if SOAK else [*_OF_THE_ISSUE, *_ONCE_QUADRATIC])
def test_work_grows_with_the_text(name: str) -> None:
    grown = {place: growth_of_work(work, HOSTILE[name]) for place, work in WORK.items()}
    assert {place: growth for place, growth in grown.items() if growth > MOST_GROWTH} == {}


@pytest.mark.parametrize("name", _OF_THE_ISSUE if SOAK else ("control characters", "formula never closed", "address"))
def test_memory_grows_with_the_text(name: str) -> None:
    grown = {place: growth_of_memory(work, HOSTILE[name]) for place, work in WORK.items()}
    assert {place: growth for place, growth in grown.items() if growth > MOST_GROWTH} == {}


def test_a_quadratic_reader_would_be_found() -> None:
    def quadratic(text: str) -> int:
        return sum(text[place:].count("y") + sum(map(ord, text[place:])) for place in range(0, len(text), 50))

    assert growth_of_work(quadratic, HOSTILE["one word"]) > MOST_GROWTH


@pytest.mark.parametrize("name", HOSTILE)
def test_the_whole_text_is_there(name: str) -> None:
    text = HOSTILE[name](SMALL)
    assert "".join(_cut(text)) == text
    assert "".join(_cut(text, 300)) == text
    plain = TerminalStream(colour=False)
    assert plain.feed(text) + plain.finish() == safe(text)
    wanted = Counter(letters(text))
    for place, shown in _shown(text).items():
        lost = wanted - Counter(letters(shown))
        assert not lost or name in _CHANGED, (place, lost)


def _shown(text: str) -> dict[str, str]:
    """All words and addresses, on each platform."""
    page = "".join("".join((*marks, words)) for marks, words in read_html(_page(text)))
    telegram = render_telegram(text)
    behind = "".join(entity.url + entity.language for entity in telegram.entities)
    return {
        "page": page,
        "discord": render_discord(text),
        "telegram": telegram.text + behind,
        "terminal": _terminal(text),
    }


@pytest.mark.parametrize("name", _OF_THE_ISSUE if SOAK else ("formula never closed", "address", "link to an address"))
def test_the_whole_of_100_kilobytes_is_there(name: str) -> None:
    text = HOSTILE[name](100_000)
    for place, shown in _shown(text).items():
        assert not Counter(letters(text)) - Counter(letters(shown)), place

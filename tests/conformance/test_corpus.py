"""Answers as models really write them, whole and cut, on every platform: every letter, address, formula and code."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.delivery.composing.chunker import Chunk, Chunker
from adapters.delivery.renderers.discord import render_discord
from adapters.delivery.renderers.html import render_html
from adapters.delivery.renderers.telegram import render_telegram, utf16_units
from adapters.delivery.renderers.terminal import TerminalStream
from tests.conformance.chats import Shown, in_terminal, on_discord, on_telegram
from tests.conformance.formulas import formulas, is_shown, unquoted, without_formulas
from tests.conformance.laws import broken, lost_blocks, missing, torn_blocks, unprinted_code
from tests.conformance.reading import has_raw_html, letters, read_html, reference_html

CORPUS = sorted(Path(__file__).parent.parent.joinpath("corpus").glob("*.md"))


def _printed(markdown: str) -> str:
    stream = TerminalStream(colour=True)
    return stream.feed(markdown) + stream.finish()


def _on_page(markdown: str) -> Shown:
    runs = read_html(render_html(markdown))
    addresses = [mark[2:] for marks, _ in runs for mark in marks if mark.startswith("a ")]
    return Shown("\n".join(text for _, text in runs), addresses, [text for marks, text in runs if "pre" in marks])


def _on_discord(markdown: str) -> Shown:
    return on_discord(render_discord(markdown))


def _on_telegram(markdown: str) -> Shown:
    return on_telegram(render_telegram(markdown))


PLATFORMS: dict[str, Callable[[str], Shown]] = {
    "page": _on_page,
    "discord": _on_discord,
    "telegram": _on_telegram,
    "terminal": lambda markdown: in_terminal(_printed(markdown)),
}
_RECORDS = re.compile(r"^\|(?:.{36,}|.*\]\(https?:.*)\|$", re.MULTILINE)
"""A row of a table that is too wide for a telephone, or has links: on chats its cells come in another order."""
MEASURES: dict[str, Callable[[str], int]] = {
    "discord": lambda markdown: len(render_discord(markdown)),
    "telegram": lambda markdown: utf16_units(render_telegram(markdown).text),
}


def test_there_are_sixty_answers() -> None:
    assert len(CORPUS) >= 60


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_an_answer_is_shown_whole(path: Path, platform: str) -> None:
    markdown = path.read_text("utf-8")
    shown = PLATFORMS[platform](markdown)
    assert [formula for formula in formulas(markdown) if not is_shown(formula, shown.text)] == []
    prose = without_formulas(markdown)
    if platform == "terminal":
        assert missing(letters(prose), letters(shown.text)) == ""
    elif platform in MEASURES and _RECORDS.search(prose):
        assert Counter(_letters(_as_text(prose))) <= Counter(letters(shown.text))
    elif has_raw_html(prose):
        assert missing(_letters(_as_text(prose)), letters(shown.text)) == ""
    else:
        assert list(broken(prose, shown)) == []
    if platform != "terminal":
        assert list(lost_blocks(markdown, shown)) == []


def _chunks(markdown: str, limit: int, measure: Callable[[str], int], dice: random.Random) -> list[Chunk]:
    """The answer, cut as it comes in pieces of any size."""
    chunker = Chunker(lambda _: limit, measure)
    position = 0
    while position < len(markdown):
        size = dice.choice((1, 3, 7, 40, 400))
        chunker.feed(markdown[position : position + size])
        position += size
    chunker.finish()
    return [*chunker.frozen, chunker.live()]


@pytest.mark.parametrize("platform", ["page", "discord", "telegram"])
@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_code_that_is_cut_is_copied_to_the_byte(path: Path, platform: str) -> None:
    markdown = path.read_text("utf-8")
    dice = random.Random(path.stem)
    for limit in (120, 300, 700, *(dice.randrange(100, 1_000) for _ in range(5))):
        chunks = _chunks(markdown, limit, MEASURES.get(platform, len), dice)
        shown = [PLATFORMS[platform](chunk.markdown) for chunk in chunks]
        assert list(torn_blocks(markdown, shown)) == [], limit


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_a_terminal_prints_code_to_the_byte(path: Path) -> None:
    markdown = path.read_text("utf-8")
    dice = random.Random(path.stem)
    for _ in range(5):
        stream, printed, position = TerminalStream(colour=True), "", 0
        while position < len(markdown):
            size = dice.choice((1, 3, 7, 40, 400))
            printed += stream.feed(markdown[position : position + size])
            position += size
        assert list(unprinted_code(markdown, in_terminal(printed + stream.finish()).text)) == []


@pytest.mark.parametrize("platform", MEASURES)
@pytest.mark.parametrize("limit", [300, 700, 2000])
@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_an_answer_that_is_cut_stays_whole(path: Path, limit: int, platform: str) -> None:
    markdown = path.read_text("utf-8")
    dice = random.Random(f"{path.stem}{limit}")
    chunks = _chunks(markdown, limit, MEASURES[platform], dice)
    assert "".join(chunk.source for chunk in chunks) == markdown
    assert all(MEASURES[platform](chunk.markdown) <= limit for chunk in chunks)
    shown = "\n".join(PLATFORMS[platform](chunk.markdown).text for chunk in chunks)
    prose = without_formulas(markdown)
    if _RECORDS.search(prose):
        assert Counter(_letters(_as_text(prose))) <= Counter(letters(shown))
    else:
        assert missing(_letters(prose), letters(shown)) == ""
    assert [formula for formula in formulas(markdown) if not is_shown(formula, shown)] == []
    assert _torn(markdown, chunks, limit) == []


def _as_text(prose: str) -> str:
    """HTML is text, but for a line's end in a table's cell."""
    return re.sub(r"<br ?/?>", " ", prose).replace("<", "‹")


def _letters(markdown: str) -> str:
    """All that the reference shows of it."""
    return letters("".join(text for _, text in read_html(reference_html(markdown))))


def _torn(markdown: str, chunks: list[Chunk], limit: int) -> list[str]:
    """Formulas that would fit into one message and were cut all the same."""
    short = [formula for formula in formulas(markdown) if len(formula) < limit // 2]
    return [formula for formula in short if not any(formula in unquoted(chunk.source) for chunk in chunks)]

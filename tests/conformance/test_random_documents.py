"""Random documents over every construct, nested in each other: nothing of them is lost, whole and cut, anywhere.

With SOAK=1 there are 20,000 of them.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Iterator
from html import unescape

import pytest

from adapters.delivery.composing.chunker import Chunker
from adapters.delivery.renderers.discord import render_discord
from adapters.delivery.renderers.html import render_html
from adapters.delivery.renderers.telegram import render_telegram, utf16_units
from adapters.delivery.renderers.terminal import TerminalStream
from tests.conformance.chats import Shown, in_terminal, on_discord, on_telegram
from tests.conformance.formulas import is_shown
from tests.conformance.laws import begins_with
from tests.conformance.random_documents import Atom, Document, document, put_together
from tests.conformance.reading import read_html

EACH = 500 if os.environ.get("SOAK") else 12
PARTS = 40 if os.environ.get("SOAK") else 4
MEASURES: dict[str, Callable[[str], int]] = {
    "page": len,
    "discord": lambda markdown: len(render_discord(markdown)),
    "telegram": lambda markdown: utf16_units(render_telegram(markdown).text),
}


def _on_page(markdown: str) -> tuple[Shown, str]:
    html = render_html(markdown)
    runs = read_html(html)
    links = [mark[2:] for marks, _ in runs for mark in marks if mark.startswith("a ")]
    blocks = [text for marks, text in runs if "pre" in marks]
    return Shown("".join(text for _, text in runs), links, blocks), unescape(html)


def _on_discord(markdown: str) -> tuple[Shown, str]:
    sent = render_discord(markdown)
    return on_discord(sent), sent


def _on_telegram(markdown: str) -> tuple[Shown, str]:
    sent = render_telegram(markdown)
    return on_telegram(sent), sent.text + "".join(entity.language for entity in sent.entities)


def _in_terminal(markdown: str) -> tuple[Shown, str]:
    """As it comes, in pieces whose sizes follow from the text."""
    dice, stream, printed, position = random.Random(len(markdown)), TerminalStream(colour=True), "", 0
    while position < len(markdown):
        size = dice.choice((1, 3, 7, 40, 400))
        printed += stream.feed(markdown[position : position + size])
        position += size
    printed += stream.finish()
    shown = in_terminal(printed)
    return shown, shown.text


READERS: dict[str, Callable[[str], tuple[Shown, str]]] = {
    "page": _on_page,
    "discord": _on_discord,
    "telegram": _on_telegram,
    "terminal": _in_terminal,
}


def _squeezed(text: str) -> str:
    return "".join(text.split())


def lost(atoms: list[Atom], platform: str, shown: Shown, raw: str) -> Iterator[str]:
    """What of the document is not shown as it was meant, in words.

    Args:
        raw: what was sent, with what is shown elsewhere than in the text: titles, languages.
    """
    text, everything = _squeezed(shown.text), _squeezed(raw)
    is_terminal = platform == "terminal"
    place = 0
    for atom in atoms:
        wanted = _squeezed(atom.written if is_terminal else atom.text)
        match atom.kind:
            case "word" | "code":
                count = text.count(_squeezed(atom.token))
                if wanted not in text or (count != 1 and not atom.tabular):
                    yield f"{atom.kind} {atom.text!r}, which is there {count} times"
                elif not atom.tabular and (found := text.find(wanted)) < place:
                    yield f"{atom.kind} {atom.text!r} is not in its place"
                elif not atom.tabular:
                    place = found
            case "address":
                leads = is_terminal or atom.text in shown.addresses or (atom.tabular and platform != "page")
                if not (leads and wanted in everything + "".join(shown.addresses)):
                    yield f"address {atom.text!r}"
            case "formula":
                if not is_shown(atom.text, shown.text):
                    yield f"formula {atom.text!r}"
            case "block":
                yield from _lost_block(atom.text, is_terminal, shown)
            case "number":
                if platform != "page" and wanted not in text:
                    yield f"number {atom.text!r}"
            case "title":
                if wanted not in everything:
                    yield f"title {atom.text!r}"
            case "info":
                if not _has_info(atom.written if is_terminal else atom.text, platform, shown, everything):
                    yield f"info {atom.text!r}"


def _lost_block(code: str, is_terminal: bool, shown: Shown) -> Iterator[str]:
    lines = [line.rstrip() for line in shown.text.split("\n")]
    for line in code.split("\n"):
        if is_terminal and not any(each.endswith(line.rstrip()) for each in lines):
            yield f"line of code {line!r}"
    has_block = is_terminal or any(code.rstrip() == block.rstrip() for block in shown.blocks)
    if not has_block and not (_is_by_lines(code) and _squeezed(code) in _squeezed(shown.text)):
        yield f"code {code!r}"


def _is_by_lines(code: str) -> bool:
    """Whether no block of Discord's can hold it: it has one, two and three backticks in a row."""
    return {1, 2, 3} <= {len(run) for run in re.findall("`+", code)}


def _has_info(info: str, platform: str, shown: Shown, everything: str) -> bool:
    """Whether what stands after a fence is there: whole, or all behind the language, which is the block's."""
    if platform in ("page", "terminal"):
        return _squeezed(info) in everything
    text = _squeezed(shown.text)
    found = re.match(r"[\w+#.-]{1,32}(?![\w+#.-])", info)
    language, rest = (found[0], info[found.end() :]) if found else ("", info)
    if not language or not (language.isascii() or platform == "telegram") or rest[:1] not in ("", *" :,;{("):
        return _squeezed(info.removeprefix(":")) in text
    return (language in everything or language in text) and _squeezed(rest.strip().removeprefix(":")) in text


def _faults(given: Document) -> list[str]:
    """Of the whole document, on all platforms."""
    faults = []
    for platform, read in READERS.items():
        shown, raw = read(given.markdown)
        faults += [f"{platform}: {fault}" for fault in lost(given.atoms, platform, shown, raw)]
        if platform == "page":
            runs = read_html(render_html(given.markdown))
            prose = "\n".join(text for marks, text in runs if not {"code", "pre"} & set(marks))
            faults += [
                f"page: raw {mark}" for mark in ("**", "~~", "](") if mark in re.sub(r"\]\(x\)|\\[()]", "", prose)
            ]
    return faults


def _faults_cut(given: Document, seed: int) -> list[str]:
    """Of the document as messages."""
    dice, faults = random.Random(seed), []
    for platform, measure in MEASURES.items():
        limit = dice.choice((200, 300, 500, 1_000))
        chunker = Chunker(lambda _, limit=limit: limit, measure)  # type: ignore[misc]
        position = 0
        while position < len(given.markdown):
            size = dice.choice((1, 7, 40, 400))
            chunker.feed(given.markdown[position : position + size])
            position += size
        chunker.finish()
        chunks = [*chunker.frozen, chunker.live()]
        assert "".join(chunk.source for chunk in chunks) == given.markdown
        assert all(measure(chunk.markdown) <= limit for chunk in chunks)
        shown = [READERS[platform](chunk.markdown)[0] for chunk in chunks]
        text = _squeezed("".join(one.text for one in shown))
        links = {address for one in shown for address in one.addresses}
        for atom in given.atoms:
            match atom.kind:
                case "word" | "code":
                    if (count := text.count(_squeezed(atom.token))) != 1 and not (atom.tabular and count):
                        faults.append(f"{platform} at {limit}: {atom.token!r} is there {count} times")
                case "address":
                    if atom.text not in links and not (atom.tabular and platform != "page"):
                        faults.append(f"{platform} at {limit}: address {atom.text!r}")
                case "formula":
                    if not any(is_shown(atom.text, one.text) for one in shown):
                        faults.append(f"{platform} at {limit}: formula {atom.text!r}")
                case "block":
                    parts = [block for one in shown for block in one.blocks]
                    if _is_by_lines(atom.text) and platform == "discord":
                        is_there = all(_squeezed(line) in text for line in atom.text.split("\n"))
                    else:
                        is_there = any(begins_with(atom.text, parts[first:]) for first in range(len(parts)))
                    if not is_there:
                        faults.append(f"{platform} at {limit}: code {atom.text!r}")
    return faults


def _smallest(given: Document, faults: Callable[[Document], list[str]]) -> str:
    """Fewer blocks of the document that have a fault, and what it is."""
    pieces = given.pieces
    for index in range(len(pieces) - 1, -1, -1):
        fewer = [*pieces[:index], *pieces[index + 1 :]]
        if fewer and faults(put_together(fewer)):
            pieces = fewer
    smallest = put_together(pieces)
    return f"{faults(smallest)} in\n{smallest.markdown}"


@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_of_a_random_document_is_lost(part: int) -> None:
    found = {
        seed: _smallest(given, _faults)
        for seed in range(part * EACH, (part + 1) * EACH)
        if _faults(given := document(seed))
    }
    assert not found, f"{len(found)} of {EACH}:\n\n" + "\n\n".join(f"{seed}: {text}" for seed, text in found.items())


@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_of_a_random_document_is_lost_where_it_is_cut(part: int) -> None:
    found = {}
    for seed in range(part * EACH, (part + 1) * EACH):
        given = document(seed)
        if _faults_cut(given, seed):
            found[seed] = _smallest(given, lambda fewer, seed=seed: _faults_cut(fewer, seed))  # type: ignore[misc]
    assert not found, f"{len(found)} of {EACH}:\n\n" + "\n\n".join(f"{seed}: {text}" for seed, text in found.items())


def test_a_loss_is_seen() -> None:
    """The laws themselves: what is taken out of a message is missed."""
    given = document(0)
    for platform, read in READERS.items():
        for atom in given.atoms:
            shown, raw = read(given.markdown.replace(atom.written, "", 1))
            if atom.kind not in ("number", "info", "formula"):
                assert list(lost(given.atoms, platform, shown, raw)), (platform, atom)

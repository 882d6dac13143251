"""A text is read once, however often it is measured, and then sent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adapters.delivery.channel import Frame
from adapters.delivery.markdown import commonmark, tree
from adapters.discord.outbound.content import body, content, units
from adapters.telegram.outbound.rendering import Renderer, length
from bots.messages import Action

MEASURED = Frame(markdown="**Once** upon a time, in `code` that no other test has\n\n- a list")
SENT = replace(MEASURED, growing=True, actions=(Action.STOP,))
ENDED = replace(MEASURED, footer="A model", actions=(Action.REGENERATE,))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that were read."""
    texts = list[str]()

    def parse(text: str, *arguments: object) -> object:
        texts.append(text)
        return whole(text, *arguments)

    whole = commonmark.parse
    monkeypatch.setattr(tree, "parse", parse)
    return texts


def test_on_telegram(reads: list[str]) -> None:
    render = Renderer()
    assert length(render(MEASURED)) > 0
    for frame in (SENT, ENDED):
        assert "Once upon" in render(frame).text
    assert reads == [MEASURED.markdown]


def test_on_discord(reads: list[str]) -> None:
    assert units(content(MEASURED)) > 0
    for frame in (SENT, ENDED):
        assert "Once" in body(frame)["content"]
    assert reads.count(MEASURED.markdown) == 1

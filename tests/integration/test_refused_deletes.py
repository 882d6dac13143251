"""A message that the platform refuses to delete keeps neither a button nor a word that is not true any more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.discord.outbound.channel import limits as discord_limits
from adapters.telegram.outbound.channel import limits
from bots import wording
from tests.integration.discord_parts import Party, labels
from tests.integration.discord_parts import party as discord_party
from tests.integration.telegram_parts import answer_to, party
from tests.servers.discord_people import Refusal
from tests.servers.telegram import TelegramServer, telegram, until
from tests.servers.telegram_world import ApiError, Message

pytestmark = pytest.mark.timeout(120)
LINES: tuple[dict[str, Any], ...] = (
    {"match": "reasons", "answer": "pondered " * 250 + "so</think>\n\nForty two.", "tokens_per_s": 150},
)
SLOW = tuple(line | {"tokens_per_s": 40} for line in LINES)
"""Discord can be sent five calls in five seconds: of an answer that is written at once it gets one message."""
UNITS = 1000


@pytest.fixture
async def server() -> AsyncIterator[TelegramServer]:
    async with telegram() as running:
        yield running


def refuse(server: TelegramServer, monkeypatch: pytest.MonkeyPatch, *, edits_too: bool = False) -> None:
    """What Telegram says of a message that is older than two days."""
    edit = server.world.edit

    def cannot(*_: Any) -> bool:
        raise ApiError(400, "Bad Request: message can't be deleted for everyone")

    def refused(chat_id: int, arguments: dict[str, Any], **how: Any) -> Any:
        if wording.superseded() in arguments.get("text", ""):
            raise ApiError(403, "Forbidden: not enough rights")
        return edit(chat_id, arguments, **how)

    monkeypatch.setattr(server.world, "delete", cannot)
    if edits_too:
        monkeypatch.setattr(server.world, "edit", refused)


async def reasoned(server: TelegramServer) -> list[Message]:
    """All messages of an answer that turned out to be reasoning when it had taken several."""
    ann = server.person("Ann", 700_001)
    ann.says("it reasons")
    first = await until(lambda: next((m for m in ann.private.answers if "Forty two" in m.text), None))
    await until(lambda: "Stop" not in first.buttons and "Regenerate" in first.buttons)
    return [message for message in ann.private.answers if message is not first]


async def test_on_telegram_it_says_where_the_answer_is(
    server: TelegramServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "adapters.telegram.outbound.reply_sender.limits", lambda *args: replace(limits(*args), message_units=UNITS)
    )
    refuse(server, monkeypatch)
    async with party(server, tmp_path, *LINES):
        rest = await reasoned(server)
        assert rest
        await until(lambda: all(message.text == wording.superseded() for message in rest))
        assert not any(message.buttons for message in rest)


async def test_where_it_cannot_be_edited_either_the_log_says_so(
    server: TelegramServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(
        "adapters.telegram.outbound.reply_sender.limits", lambda *args: replace(limits(*args), message_units=UNITS)
    )
    refuse(server, monkeypatch, edits_too=True)
    async with party(server, tmp_path, *LINES):
        rest = await reasoned(server)
        assert rest
        await until(lambda: caplog.text.count("a message that is over stays as it is") >= len(rest))
    assert caplog.text.count("a message that is over stays as it is") == len(rest)


async def test_a_settings_panel_that_is_too_old_is_closed_all_the_same(
    server: TelegramServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = server.person("Ann", 700_001)
    async with party(server, tmp_path):
        panel = await answer_to(ann.says("/settings"), ann.private)
        refuse(server, monkeypatch)
        ann.presses(panel, next(label for label in panel.buttons if "Close" in label))
        await until(lambda: panel.text == wording.settings_closed())
        assert not panel.buttons


def written(p: Party) -> list[dict[str, Any]]:
    """The bot's messages without its files."""
    return [message for message in p.answers() if not message["attachments"]]


async def test_on_discord_it_says_where_the_answer_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "adapters.discord.inbound.event_handler.limits",
        lambda *args, **how: replace(discord_limits(*args, **how), message_units=UNITS),
    )
    async with discord_party(tmp_path, *SLOW) as p:

        async def cannot(*_: Any) -> None:
            raise Refusal(400, 50021, "Cannot execute action on a system message")

        monkeypatch.setattr(p.discord, "delete", cannot)
        await p.ann.says(p.room, "@bot it reasons")
        await p.discord.until(lambda: len(written(p)) > 1)
        first = await p.discord.until(lambda: next((m for m in p.answers() if "Forty two" in m["content"]), None))
        rest = [message for message in written(p) if message is not first]
        assert rest
        await p.discord.until(lambda: all(wording.superseded() in message["content"] for message in rest))
        assert [labels(message) for message in rest] == [[]] * len(rest)

"""The usual bots that Partyline is compared with do what they should, or the comparison would be none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from benchmarks.rivals.contenders import Contender, scripted_server, usual_bot
from benchmarks.rivals.parts import questions, written_script
from benchmarks.rivals.people import DiscordPeople, People, TelegramPeople, until, until_over
from tests.servers.discord import DiscordServer
from tests.servers.telegram import telegram
from tests.servers.telegram_world import Rules

pytestmark = pytest.mark.timeout(180)
TOKENS = 15


@asynccontextmanager
async def on_telegram(source: str) -> AsyncIterator[tuple[TelegramPeople, Contender]]:
    async with telegram(Rules.strict()) as wire, usual_bot(wire, source, TOKENS) as bot:
        await until(lambda: "getUpdates" in wire.methods)
        yield TelegramPeople(wire), bot


@asynccontextmanager
async def on_discord(source: str) -> AsyncIterator[tuple[DiscordPeople, Contender]]:
    wire = DiscordServer()
    async with wire.serving():
        rooms = [wire.room(f"room {number}") for number in range(2)]
        async with usual_bot(wire, source, TOKENS) as bot:
            await until(lambda: bool(wire.identified))
            yield DiscordPeople(wire, rooms=rooms), bot


async def answered(people: People, bot: Contender, *, together: bool) -> None:
    asked = await people.ask(questions(2), together=together)
    assert len(await until_over(asked, bot, 120.0)) == 2
    for each in asked:
        first, complete, answer = each.seen()
        assert 0 < first < complete
        assert answer == " ".join(f"word{number:03}" for number in range(TOKENS))
    counts = people.counts()
    assert counts.calls >= 6  # a placeholder, an edit and the whole, for each
    assert counts.refused == counts.prolonged == 0


@pytest.mark.parametrize("together", [False, True])
async def test_the_usual_bot_answers_by_a_placeholder_and_edits(tmp_path: Path, together: bool) -> None:
    script = await asyncio.to_thread(written_script, tmp_path, TOKENS)
    async with scripted_server(script, 8) as source:
        async with on_telegram(source) as (people, bot):
            await answered(people, bot, together=together)
        async with on_discord(source) as (friends, bot):
            await answered(friends, bot, together=together)

"""`kill -9` of the whole program while people on Discord wait, and its next start."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.integration.discord_operator import Operator, answers
from tests.integration.discord_parts import is_complete
from tests.servers.discord import DiscordServer
from tests.servers.discord_world import Room

WORDS = 150


def words_of(message: dict[str, Any]) -> int:
    return int(message["content"].count("word"))


def only(discord: DiscordServer, room: Room, count: int = 1) -> dict[str, Any] | None:
    """The bot's last message, if it is complete and there are so many of them."""
    own = answers(discord, room)
    return own[-1] if len(own) == count and is_complete(own[-1]) else None


async def test_answers_go_on_in_their_own_messages(tmp_path: Path) -> None:
    async with DiscordServer().serving() as discord:
        ann, bob, cem, dan = (discord.person(name) for name in ("Ann", "Bob", "Cem", "Dan"))
        room, direct, other, fourth = discord.room(), discord.direct(bob), discord.room("other"), discord.room("fourth")
        operator = Operator(tmp_path, discord)

        def growing() -> list[dict[str, Any]]:
            found = [message for each in (room, direct, other) for message in answers(discord, each)]
            return found if len(found) == 3 and all(words_of(message) > 5 for message in found) else []

        async with operator.running() as process:
            await operator.ready(process)
            await ann.says(room, "@bot slow")
            await bob.says(direct, "slow")
            used = await cem.calls(other, "ask", prompt="epic")
            begun = await discord.until(growing)
            # Dan's answer is sent, and nobody lives to hear of it.
            discord.responds.clear()
            await dan.says(fourth, "@bot slow")
            begun += await discord.until(lambda: answers(discord, fourth))
            process.kill()
            await process.wait()
        discord.responds.set()
        assert not any(map(is_complete, begun))
        await ann.says(room, "@bot tide, missed")
        async with operator.running() as process:
            await operator.ready(process)
            await discord.until(lambda: all(map(is_complete, begun)))
            epic = await discord.until(lambda: only(discord, other, 2) and answers(discord, other))
            assert sum(map(words_of, epic)) == 450
            assert [words_of(message) for message in begun if message is not epic[0]] == [WORDS] * 3
            missed = await discord.until(lambda: only(discord, room, 2))
            assert missed["content"].startswith("The moon pulls.")
            await bob.says(direct, "tide")
            await discord.until(lambda: only(discord, direct, 2))
        assert [len(answers(discord, each)) for each in (room, direct, other, fourth)] == [2, 2, 2, 1]
        assert used.private == []
        assert "Traceback" not in operator.log.read_text()


async def test_messages_that_belong_together_are_one_question_again(tmp_path: Path) -> None:
    async with DiscordServer().serving() as discord:
        ann, bob = discord.person("Ann"), discord.person("Bob")
        room, other = discord.room(), discord.room("other")
        operator = Operator(tmp_path, discord, PARTYLINE_DISCORD__TOGETHER_S="2.0")
        async with operator.running() as process:
            await operator.ready(process)
            await ann.says(room, "@bot slow")
            await ann.says(room, "and that")
            begun = await discord.until(lambda: [each for each in answers(discord, room) if words_of(each) > 5])
            await bob.says(other, "@bot echo this")
            await bob.says(other, "and that")
            await asyncio.to_thread(until_kept, tmp_path, 4)
            process.kill()
            await process.wait()
        assert answers(discord, other) == []
        async with operator.running() as process:
            await operator.ready(process)
            whole = await discord.until(lambda: only(discord, other))
            assert whole["content"].startswith("echo this\nand that")
            assert whole["message_reference"]["message_id"] == other.messages[1]["id"]
            assert await discord.until(lambda: only(discord, room)) is begun[0]
            assert words_of(begun[0]) == WORDS
        assert (len(answers(discord, room)), len(answers(discord, other))) == (1, 1)


def until_kept(folder: Path, count: int) -> None:
    """Waits until so many events are recorded and not answered."""
    with closing(sqlite3.connect(folder / "partyline.sqlite3")) as connection:
        while connection.execute("SELECT count(*) FROM inbox WHERE NOT answered").fetchone()[0] < count:
            time.sleep(0.02)

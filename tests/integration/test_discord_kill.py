"""`kill -9` of the whole program while people on Discord wait, and its next start."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.integration.discord_operator import Operator, answers
from tests.integration.discord_parts import is_complete
from tests.servers.discord import DiscordServer
from tests.servers.discord_world import Room

WORDS = 150


def words_of(message: dict[str, Any]) -> int:
    return int(message["content"].count("word"))


async def test_three_answers_go_on_in_their_own_messages(tmp_path: Path) -> None:
    async with DiscordServer().serving() as discord:
        ann, bob, cem = (discord.person(name) for name in ("Ann", "Bob", "Cem"))
        room, direct, other = discord.room(), discord.direct(bob), discord.room("other")
        operator = Operator(tmp_path, discord)

        def growing() -> list[dict[str, Any]]:
            found = [message for each in (room, direct, other) for message in answers(discord, each)]
            return found if len(found) == 3 and all(words_of(message) > 5 for message in found) else []

        async with operator.running() as process:
            await operator.ready(process)
            await ann.says(room, "@bot slow")
            await bob.says(direct, "slow")
            used = await cem.calls(other, "ask", prompt="slow")
            begun = await discord.until(growing)
            process.kill()
            await process.wait()
        assert not any(map(is_complete, begun))
        await ann.says(room, "@bot tide, missed")
        async with operator.running() as process:
            await operator.ready(process)
            await discord.until(lambda: all(map(is_complete, begun)))
            assert [words_of(message) for message in begun] == [WORDS] * 3
            missed = await discord.until(lambda: finished(discord, room, 2))
            assert missed["content"].startswith("The moon pulls.")
            await bob.says(direct, "tide")
            await discord.until(lambda: finished(discord, direct, 2))
        assert [len(answers(discord, each)) for each in (room, direct, other)] == [2, 2, 1]
        assert used.private == []
        assert "Traceback" not in operator.log.read_text()


def finished(discord: DiscordServer, room: Room, count: int) -> dict[str, Any] | None:
    own = answers(discord, room)
    return own[-1] if len(own) == count and is_complete(own[-1]) else None


async def test_a_message_that_it_did_not_live_to_hear_of_is_not_sent_again(tmp_path: Path) -> None:
    async with DiscordServer().serving() as discord:
        room, ann = discord.room(), discord.person("Ann")
        operator = Operator(tmp_path, discord)
        async with operator.running() as process:
            await operator.ready(process)
            discord.responds.clear()
            await ann.says(room, "@bot slow")
            await discord.until(lambda: answers(discord, room))
            process.kill()
            await process.wait()
        discord.responds.set()
        async with operator.running() as process:
            await operator.ready(process)
            answer = await discord.until(lambda: finished(discord, room, 1))
            assert words_of(answer) == WORDS


async def test_messages_that_belong_together_are_one_question_again(tmp_path: Path) -> None:
    async with DiscordServer().serving() as discord:
        room, ann = discord.room(), discord.person("Ann")
        operator = Operator(tmp_path, discord, PARTYLINE_DISCORD__TOGETHER_S="1.0")
        async with operator.running() as process:
            await operator.ready(process)
            await ann.says(room, "@bot echo this")
            await ann.says(room, "and that")
            await asyncio.sleep(0.5)  # both are recorded, and not answered yet
            process.kill()
            await process.wait()
        assert answers(discord, room) == []
        async with operator.running() as process:
            await operator.ready(process)
            answer = await discord.until(lambda: finished(discord, room, 1))
            assert answer["content"].startswith("echo this\nand that")
            await ann.says(room, "@bot slow")
            await ann.says(room, "and that")
            begun = await discord.until(lambda: len(answers(discord, room)) == 2 and answers(discord, room)[1])
            await discord.until(lambda: words_of(begun) > 5)
            process.kill()
            await process.wait()
        async with operator.running() as process:
            await operator.ready(process)
            answer = await discord.until(lambda: finished(discord, room, 2))
            assert words_of(answer) == WORDS
            await ann.says(room, "@bot tide")
            await discord.until(lambda: finished(discord, room, 3))

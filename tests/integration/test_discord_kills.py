"""`kill -9` at any moment, over and over: what people on Discord see is whole, and there once."""

from __future__ import annotations

import asyncio
import os
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.integration.discord_parts import labels
from tests.killing import ANSWERS, Program, survives
from tests.servers.discord import TOKEN, DiscordServer
from tests.servers.discord_people import Person
from tests.servers.discord_world import Room

SOAK = bool(os.environ.get("SOAK"))
KILLS = 50 if SOAK else 2
ANSWERED_WITHIN_S = 900.0
"""The longest answer is twenty messages, and a life of the bot is long enough for one or two of them."""
LONGEST_S = 3.0
"""Two edits of a message are a second apart, so a bot that never lives longer would finish no answer."""


@dataclass
class Member:
    """Somebody who asks in a channel of their own, and asks again when the answer is complete."""

    discord: DiscordServer
    person: Person
    room: Room
    dice: random.Random
    questions: list[dict[str, Any]] = field(default_factory=list)

    async def ask(self, kind: str) -> None:
        text = f"@bot {kind} {len(self.questions)}"
        self.questions.append(await self.person.says(self.room, text))
        await self.discord.until(self.is_answered, timeout_s=ANSWERED_WITHIN_S)

    def is_answered(self) -> bool:
        begin = self.room.messages.index(self.questions[-1])
        return any("Regenerate" in labels(message) for message in self.room.messages[begin:])

    def check(self) -> None:
        """Raises AssertionError where something was lost or doubled."""
        at = [self.room.messages.index(question) for question in self.questions]
        for question, begin, end in zip(self.questions, at, [*at[1:], len(self.room.messages)], strict=True):
            answer = [m["content"] for m in self.room.messages[begin + 1 : end] if not m["attachments"]]
            kind = question["content"].split()[1]
            whole = re.sub(r"<think>.*</think>", "", ANSWERS[kind], flags=re.DOTALL)
            assert seen("\n".join(answer)) == seen(whole), question["content"]


def seen(text: str) -> list[str]:
    """The words of an answer without reasoning, small print and fences."""
    text = re.sub(r"\|\|.*?\|\|", "", text, flags=re.DOTALL)
    lines = [line for line in text.splitlines() if not line.startswith(("-# ", "```"))]
    return "\n".join(lines).replace("\\", "").split()


@dataclass
class Guild:
    """The wire."""

    discord: DiscordServer
    dice: random.Random
    done: asyncio.Event = field(default_factory=asyncio.Event)
    members: list[Member] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("Ann", "Bob", "Cem"):
            room = self.discord.room(name.lower())
            self.members.append(Member(self.discord, self.discord.person(name), room, self.dice))

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "DISCORD_TOKEN": TOKEN,
            "DISCORD_API_BASE": self.discord.address,
            "DISCORD_GATEWAY_URL": self.discord.gateway,
        }

    async def greet(self) -> None:
        """Only where it has been spoken to does the bot look for what it has missed."""
        await self.discord.until(lambda: self.discord.identified)
        for member in self.members:
            await member.ask("short")

    async def live(self) -> None:
        async with asyncio.TaskGroup() as group:
            for member in self.members:
                group.create_task(self._live(member))

    async def _live(self, member: Member) -> None:
        while not self.done.is_set():
            await member.ask(self.dice.choice(list(ANSWERS)))

    def finish(self) -> None:
        self.done.set()

    def waiting(self) -> list[str]:
        return [str(member.questions[-1]) for member in self.members if not member.is_answered()]

    async def check(self, database: str) -> None:
        for member in self.members:
            member.check()


@pytest.mark.timeout(7200 if SOAK else 300)
async def test_killed_at_any_moment(tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    dice, database = random.Random(seed), str(tmp_path / "partyline.sqlite3")
    async with DiscordServer().serving() as discord:
        guild = Guild(discord, dice)
        program = Program(tmp_path, database, guild.environment)
        async with program.running():
            await guild.greet()
        await survives(guild, program, database, KILLS, dice, LONGEST_S)
        assert sum(len(member.questions) for member in guild.members) > 3

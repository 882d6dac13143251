"""A program that is stopped in every way at every moment, and people on three platforms who do not mind.

The ways: SIGTERM, SIGKILL, SIGSTOP and then SIGKILL, SIGTERM and then SIGKILL while it drains. The moments: before it
says that it is ready, and at any time after that. People write, press and set at all of these moments, also in places
that the program has never seen.
"""

from __future__ import annotations

import asyncio
import random
import re
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from typing import Any

from tests.integration.discord_parts import labels
from tests.killing import ANSWERS, Program, Wire
from tests.servers.discord import TOKEN as DISCORD_TOKEN
from tests.servers.discord import DiscordServer
from tests.servers.discord_world import Room
from tests.servers.telegram import TOKEN as TELEGRAM_TOKEN
from tests.servers.telegram import TelegramServer, until
from tests.servers.telegram_people import Person
from tests.servers.telegram_world import Message

STOPS_WITHIN_S = 8.0
SETTLED_WITHIN_S = 240.0
ANSWERED_WITHIN_S = 1_800.0
_NOTICES = ("/help", "/settings", "/examples", "/stats light", "/temperature 0.4", "/top_p 0.8")


class Way(Enum):
    """How the program is stopped."""

    TERM = "SIGTERM"
    KILL = "SIGKILL"
    FREEZE = "SIGSTOP, then SIGKILL"
    DRAIN = "SIGTERM, then SIGKILL while it drains"


@dataclass
class Stops:
    """What was done to the program, and how long it took to end by itself, in seconds."""

    done: list[tuple[Way, bool]] = field(default_factory=list)
    took_s: list[float] = field(default_factory=list)

    async def stop(self, process: asyncio.subprocess.Process, way: Way, dice: random.Random, *, ready: bool) -> None:
        self.done.append((way, ready))
        match way:
            case Way.TERM:
                self.took_s.append(await ended_after_s(process))
            case Way.KILL:
                process.kill()
            case Way.FREEZE:
                process.send_signal(signal.SIGSTOP)
                await asyncio.sleep(dice.uniform(0.05, 0.5))
                process.kill()
            case Way.DRAIN:
                process.terminate()
                with suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), dice.uniform(0.0, 2.0))
                with suppress(ProcessLookupError):
                    process.kill()
        await process.wait()

    def summary(self) -> str:
        ways = {way.value: sum(each is way for each, _ in self.done) for way in Way}
        longest = max(self.took_s, default=0.0)
        return f"{len(self.done)} stops: {ways}; the longest stop took {longest:.1f} s"


async def ended_after_s(process: asyncio.subprocess.Process) -> float:
    """Asks it politely to end; the seconds until it has. Raises AssertionError: it took too long, or failed."""
    began = time.monotonic()
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), 4 * STOPS_WITHIN_S)
    except TimeoutError:
        raise AssertionError("it does not end on SIGTERM") from None
    took_s = time.monotonic() - began
    assert took_s <= STOPS_WITHIN_S, f"a stop took {took_s:.1f} s"
    assert process.returncode in (0, 128 + signal.SIGTERM, -signal.SIGTERM), process.returncode
    return took_s


async def outlives(
    party: Wire, program: Program, database: str, stops: int, dice: random.Random, longest_s: float
) -> Stops:
    """Everybody is answered once, though the program is stopped so many times meanwhile; what was done to it."""
    done = Stops()
    ways = [Way.TERM, Way.TERM, Way.DRAIN, Way.KILL, Way.FREEZE, Way.KILL]
    async with asyncio.TaskGroup() as group:
        people = group.create_task(party.live())
        for number in range(stops):
            ready = number % 7 != 6
            async with program.running(ready=ready) as process:
                await asyncio.sleep(dice.uniform(0.0, longest_s))
                await done.stop(process, dice.choice(ways), dice, ready=ready)
            await asyncio.sleep(dice.uniform(0.0, 0.3))
        party.finish()
        async with program.running() as process:
            try:
                async with asyncio.timeout(SETTLED_WITHIN_S):
                    await people
            except TimeoutError:
                raise AssertionError("\n".join(["these wait for ever:", *party.waiting()])) from None
            await done.stop(process, Way.TERM, dice, ready=True)
    await party.check(database)
    return done


class Party:
    """Several platforms at once."""

    def __init__(self, *wires: Wire) -> None:
        self._wires = wires

    @property
    def environment(self) -> Mapping[str, str]:
        return {name: value for wire in self._wires for name, value in wire.environment.items()}

    async def live(self) -> None:
        async with asyncio.TaskGroup() as group:
            for wire in self._wires:
                group.create_task(wire.live())

    def finish(self) -> None:
        for wire in self._wires:
            wire.finish()

    def waiting(self) -> list[str]:
        return [line for wire in self._wires for line in wire.waiting()]

    async def check(self, database: str) -> None:
        for wire in self._wires:
            await wire.check(database)


@dataclass
class Asked:
    """One thing that somebody did, and how many messages of the bot there were before it."""

    what: str
    begin: int


@dataclass
class Correspondent:
    """Somebody who writes to the bot in private on Telegram, and again when the answer is complete."""

    person: Person
    dice: random.Random
    asked: list[Asked] = field(default_factory=list)

    def __str__(self) -> str:
        newest = self.asked[-1]
        shown = [(each.text[-200:], list(each.buttons)) for each in self._shown(newest.begin, None)]
        return f"{self.person.user['id']} asked {newest.what}, and sees {shown}"

    async def ask(self) -> None:
        kind = self.dice.choice([*ANSWERS, *ANSWERS, *_NOTICES, "press"])
        chat = self.person.private
        if kind == "press" and self.asked and self.asked[-1].what in ANSWERS:
            newest = chat.answers[-1]
            if "Regenerate" in " ".join(newest.buttons):
                label = next(label for label in newest.buttons if "Regenerate" in label)
                self.asked.append(Asked(self.asked[-1].what, len(chat.messages)))
                self.person.presses(newest, label)
                await until(self.is_answered)
                return
        if kind == "press":
            kind = "short"
        begin = len(chat.messages) + 1
        self.person.says(f"{kind} {len(self.asked)}" if kind in ANSWERS else kind)
        self.asked.append(Asked(kind, begin))
        await until(self.is_answered)

    def is_answered(self) -> bool:
        newest = self.asked[-1]
        shown = self._shown(newest.begin, None)
        if newest.what in ANSWERS:
            return bool(shown) and any("Regenerate" in label for label in shown[-1].buttons)
        return bool(shown)

    def _shown(self, begin: int, end: int | None) -> list[Message]:
        """Of the files that come behind their answer nothing: somebody may have asked again by then."""
        here = self.person.private.messages[begin:end]
        return [each for each in here if each.is_own and not each.deleted and not each.file]

    def check(self) -> None:
        """Raises AssertionError where something was lost, doubled, or is not whole."""
        ends = [asked.begin for asked in self.asked[1:]]
        panels = [asked for asked in self.asked if asked.what == "/settings"]
        for asked, end in zip(self.asked, [*ends, None], strict=True):
            shown = self._shown(asked.begin, end)
            texts = [(each.id, each.text[:60], each.text[-60:], len(each.history)) for each in shown]
            if asked.what in ANSWERS:
                assert seen_on_telegram(shown) == whole(asked.what), (asked.what, asked.begin, texts)
            elif asked in panels[:-1] and not shown:  # the next panel took its place
                deleted = [
                    each for each in self.person.private.messages[asked.begin : end] if each.is_own and each.deleted
                ]
                assert len(deleted) == 1, (asked.what, len(deleted))
            else:
                assert len(shown) == 1, (asked.what, texts)
        files = [each.file for each in self.person.private.messages if each.is_own and each.file]
        pictures = sum(name == "stats.png" for name, _ in files)
        assert pictures <= sum(asked.what.startswith("/stats") for asked in self.asked), pictures


def whole(kind: str) -> list[str]:
    """The words of an answer, without its reasoning and fences."""
    return _words(re.sub(r"<think>.*</think>", "", ANSWERS[kind], flags=re.DOTALL))


def seen_on_telegram(messages: Sequence[Message]) -> list[str]:
    """The words of an answer without reasoning and the bot's own small print."""
    texts = []
    for message in messages:
        text = message.text
        for kind in ("italic", "expandable_blockquote"):
            for part, _ in message.entities(kind):
                text = text.replace(part, "", 1)
        texts.append(text)
    return _words("\n".join(texts))


def _words(text: str) -> list[str]:
    return "\n".join(line for line in text.splitlines() if not line.startswith("```")).split()


@dataclass
class Telegram:
    """Private chats on Telegram; every few questions somebody new writes for the first time."""

    server: TelegramServer
    dice: random.Random
    people: int = 3
    done: asyncio.Event = field(default_factory=asyncio.Event)
    correspondents: list[Correspondent] = field(default_factory=list)
    waited_s: list[float] = field(default_factory=list)
    """How long each of what was asked took to be answered."""

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "TELEGRAM_TOKEN": TELEGRAM_TOKEN,
            "TELEGRAM_API_BASE": self.server.address,
            "PARTYLINE_TELEGRAM__PRIVATE_INTERVAL_S": "0.2",
        }

    async def live(self) -> None:
        numbers = count(2_000)
        async with asyncio.TaskGroup() as group:
            for _ in range(self.people):
                group.create_task(self._live(numbers))

    async def _live(self, numbers: count[int]) -> None:
        while not self.done.is_set():
            number = next(numbers)
            somebody = Correspondent(self.server.person(f"Person {number}", number), self.dice)
            self.correspondents.append(somebody)
            for _ in range(self.dice.randint(1, 6)):
                began = time.monotonic()
                await somebody.ask()
                self.waited_s.append(time.monotonic() - began)
                if self.done.is_set():
                    return

    def finish(self) -> None:
        self.done.set()

    def waiting(self) -> list[str]:
        return [f"Telegram: {each}" for each in self.correspondents if not each.is_answered()]

    async def check(self, database: str) -> None:
        for somebody in self.correspondents:
            somebody.check()


@dataclass
class Discord:
    """A server on Discord: each person asks in channels that are new, some of them made while the program was away."""

    server: DiscordServer
    dice: random.Random
    people: int = 3
    done: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[tuple[Room, dict[str, Any]]] = field(default_factory=list)
    waited_s: list[float] = field(default_factory=list)
    """How long each of what was asked took to be answered."""

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "DISCORD_TOKEN": DISCORD_TOKEN,
            "DISCORD_API_BASE": self.server.address,
            "DISCORD_GATEWAY_URL": self.server.gateway,
        }

    async def live(self) -> None:
        # A bot that was never there has missed nothing.
        await self.server.until(lambda: self.server.identified, timeout_s=ANSWERED_WITHIN_S)
        rooms = count(1)
        async with asyncio.TaskGroup() as group:
            for number in range(self.people):
                group.create_task(self._live(number, rooms))

    async def _live(self, number: int, rooms: count[int]) -> None:
        person = self.server.person(f"Member {number}")
        while not self.done.is_set():
            room = self.server.room(f"room-{next(rooms)}")
            for _ in range(self.dice.randint(1, 4)):
                kind = self.dice.choice([*ANSWERS, "/help", "/temperature 0.4"])
                question = await person.says(room, f"@bot {kind}")
                self.asked.append((room, question))
                began = time.monotonic()
                await self.server.until(lambda: self.is_answered(room, question), timeout_s=ANSWERED_WITHIN_S)  # noqa: B023
                self.waited_s.append(time.monotonic() - began)
                if self.done.is_set():
                    return

    def is_answered(self, room: Room, question: dict[str, Any]) -> bool:
        shown = self._shown(room, question)
        if _kind(question).startswith("/"):
            return bool(shown)
        return any("Regenerate" in labels(message) for message in shown)

    def _shown(self, room: Room, question: dict[str, Any]) -> list[dict[str, Any]]:
        begin = room.messages.index(question) + 1
        later = room.messages[begin:]
        end = next((n for n, each in enumerate(later) if each["author"]["id"] != self.server.bot["id"]), len(later))
        return [each for each in later[:end] if not each["attachments"]]

    def finish(self) -> None:
        self.done.set()

    def waiting(self) -> list[str]:
        return [f"Discord: {each}" for room, each in self.asked if not self.is_answered(room, each)]

    async def check(self, database: str) -> None:
        for room, question in self.asked:
            shown = self._shown(room, question)
            kind = _kind(question)
            texts = [message["content"] for message in shown]
            if kind.startswith("/"):
                assert len(shown) == 1, (kind, texts)
            else:
                assert _seen_on_discord(texts) == whole(kind), (kind, texts)


def _kind(question: dict[str, Any]) -> str:
    return str(question["content"]).partition(" ")[2]


def _seen_on_discord(texts: Sequence[str]) -> list[str]:
    text = re.sub(r"\|\|.*?\|\|", "", "\n".join(texts), flags=re.DOTALL)
    return _words("\n".join(line for line in text.splitlines() if not line.startswith("-# ")).replace("\\", ""))

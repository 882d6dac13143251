"""People on the wire servers who ask and read along: when they saw the first words of an answer, and when all of it."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from benchmarks.rivals.contenders import Contender
from tests.servers.discord import DiscordServer
from tests.servers.discord_people import Person as DiscordPerson
from tests.servers.discord_people import buttons
from tests.servers.discord_world import Room
from tests.servers.telegram import TelegramServer
from tests.servers.telegram_people import Person as TelegramPerson
from tests.servers.telegram_world import Chat

_FOOTER = re.compile(r"\n+(-# )?[^\n]*\btokens? · [^\n]*$")
"""Partyline's small print below an answer."""
_LEAST_WORDS = 40
"""No placeholder and no place in a queue has so many characters."""
_EVERY_S = 0.05


@dataclass
class Question:
    """One message to the bot. Times are of the monotonic clock."""

    seed: int
    text: str
    asked_at: float
    shown: Callable[[], Sequence[tuple[float, str]]]
    """What was shown of the answer until now: when, and the text."""
    is_over: Callable[[Contender], bool]

    def seen(self) -> tuple[float, float, str]:
        """Seconds until the first words of the answer and until all of them, and the answer.

        A placeholder, a place in a queue or a thinking line is no word of it: only what the answer begins with counts.
        """
        frames = self._frames()
        answer = frames[-1][1]
        first = next(at for at, text in frames if text and answer.startswith(text.split()[0]))
        complete = next(at for at, text in frames if text == answer)
        return first - self.asked_at, complete - self.asked_at, answer

    def begun(self) -> float:
        """Seconds until the first words of an answer that has not ended; infinity where there is none yet."""
        frames = self._frames()
        if not frames or len(frames[-1][1]) < _LEAST_WORDS:
            return math.inf
        return self.seen()[0]

    def _frames(self) -> list[tuple[float, str]]:
        return [(at, _FOOTER.sub("", text).strip()) for at, text in self.shown()]


@dataclass
class Counts:
    """Calls that show something, those refused with 429, and those made within a penalty."""

    calls: int = 0
    refused: int = 0
    prolonged: int = 0

    def __sub__(self, other: Counts) -> Counts:
        return Counts(self.calls - other.calls, self.refused - other.refused, self.prolonged - other.prolonged)


class People(Protocol):
    """Everybody on one platform."""

    async def introduce(self, seeds: Sequence[int], contender: Contender) -> None:
        """Whoever will ask sets a seed, where the bot knows settings; questions name their seed to the others."""
        ...

    async def ask(self, seeds: Mapping[int, str], *, together: bool) -> list[Question]:
        """All at once: everybody in a chat of their own, or together in one."""
        ...

    def counts(self) -> Counts: ...


async def until_over(questions: Sequence[Question], contender: Contender, within_s: float) -> list[Question]:
    """Those that were answered to the end in that time."""
    left, over = list(questions), []
    until = time.monotonic() + within_s
    while left and time.monotonic() < until:
        await asyncio.sleep(_EVERY_S)
        over += [each for each in left if each.is_over(contender)]
        left = [each for each in left if each not in over]
    return over


@dataclass
class TelegramPeople:
    server: TelegramServer
    _people: dict[int, TelegramPerson] = field(default_factory=dict)

    def _person(self, seed: int) -> TelegramPerson:
        return self._people.setdefault(seed, self.server.person(f"Person {seed}", 10_000 + seed))

    async def introduce(self, seeds: Sequence[int], contender: Contender) -> None:
        people = [self._person(seed) for seed in seeds]
        if contender.finished is not None:
            return
        for seed, person in zip(seeds, people, strict=True):
            person.says(f"/settings seed {seed}")
        await until(lambda: all(person.private.answers for person in people))
        await asyncio.sleep(self.server.world.rules.private_interval_s * self.server.world.rules.private_burst)

    async def ask(self, seeds: Mapping[int, str], *, together: bool) -> list[Question]:
        group = self.server.group(f"Group {min(seeds)}") if together else None
        return [self._ask(seed, text, group) for seed, text in seeds.items()]

    def _ask(self, seed: int, text: str, group: Chat | None) -> Question:
        person, now = self._person(seed), time.monotonic()
        chat = group or person.private
        asked = person.says(f"@party_bot {text}" if group else text, group)

        def answers() -> list[Any]:
            under = [each.content.get("reply_to_message", {}).get("message_id") for each in chat.answers]
            return [each for each, question in zip(chat.answers, under, strict=True) if question == asked.id]

        def shown() -> list[tuple[float, str]]:
            return [frame for each in answers()[:1] for frame in zip(each.times, each.history, strict=True)]

        def is_over(contender: Contender) -> bool:
            if contender.finished is not None:
                return f"{chat.id} {asked.id}" in contender.finished
            return bool(found := answers()) and bool(found[0].buttons) and "Stop" not in found[0].buttons

        return Question(seed, text, now, shown, is_over)

    def counts(self) -> Counts:
        chats = self.server.world.chats.values()
        calls, refused = sum(len(chat.calls) for chat in chats), sum(chat.penalties for chat in chats)
        return Counts(calls, refused, sum(chat.calls_in_ban for chat in chats))


@dataclass
class DiscordPeople:
    server: DiscordServer
    _people: dict[int, DiscordPerson] = field(default_factory=dict)
    rooms: list[Room] = field(default_factory=list)
    """A bot hears of channels when it connects, so they are made before that."""

    def _person(self, seed: int) -> DiscordPerson:
        if seed not in self._people:
            self._people[seed] = self.server.person(f"Person {seed}")
        return self._people[seed]

    async def introduce(self, seeds: Sequence[int], contender: Contender) -> None:
        if contender.finished is not None:
            return
        used = [await self._person(seed).calls(self.rooms[0], "settings seed", value=str(seed)) for seed in seeds]
        await until(lambda: all(each.private for each in used))

    async def ask(self, seeds: Mapping[int, str], *, together: bool) -> list[Question]:
        rooms = [self.rooms.pop()] * len(seeds) if together else [self.rooms.pop() for _ in seeds]
        return [await self._ask(seed, text, room) for (seed, text), room in zip(seeds.items(), rooms, strict=True)]

    async def _ask(self, seed: int, text: str, room: Room) -> Question:
        now = time.monotonic()
        asked = await self._person(seed).says(room, f"@bot {text}")

        def answers() -> list[dict[str, Any]]:
            own = [each for each in room.messages if each["author"]["id"] == self.server.bot["id"]]
            return [each for each in own if str((each.get("message_reference") or {}).get("message_id")) == asked["id"]]

        def shown() -> list[tuple[float, str]]:
            return [frame for each in answers()[:1] for frame in zip(each["times"], each["history"], strict=True)]

        def is_over(contender: Contender) -> bool:
            if contender.finished is not None:
                return f"{room.id} {asked['id']}" in contender.finished
            labels = [button["label"] for found in answers()[:1] for button in buttons(found)]
            return bool(labels) and "Stop" not in labels

        return Question(seed, text, now, shown, is_over)

    def counts(self) -> Counts:
        calls = [call for call in self.server.calls if "/messages" in call.path and call.method in ("POST", "PATCH")]
        return Counts(len(calls), sum(call.status == 429 for call in calls))


async def until(seen: Callable[[], bool], within_s: float = 120.0, every_s: float = _EVERY_S) -> None:
    async with asyncio.timeout(within_s):
        while not seen():  # noqa: ASYNC110
            await asyncio.sleep(every_s)

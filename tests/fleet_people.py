"""People who talk to a fleet of bots, and what they hold it to: see `tests.fleet`."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from sqlalchemy import Connection, select

from adapters.storage.database.database import Database, open_database
from adapters.storage.sql.storage import SqlStorage
from adapters.storage.sql.tables import inbox, replies, usage
from adapters.storage.sql.web_posts import SqlPosts
from adapters.web.channel.channel import CHAT
from adapters.web.posts.posts import Post, StoredFile, decode, encode
from tests.fleet import Part
from tests.killing import Visitor
from tests.lifecycle import Discord, Telegram

FAILURES = (
    "I can't answer right now",
    "something went wrong",
    "The bot was restarted while",
    "I was away for too long",
    "This part cannot be shown",
    "at capacity",
    "the model reads at most",
)
_KINDS = ("short", "story", "code", "think")
_TOKENS = re.compile(r"([\d,]+) tokens? · ")


class Guest(Visitor):
    """Somebody on a bot's page, who sometimes writes several messages without waiting, and never leaves."""

    def __init__(self, bot: Part, port: int, number: int, dice: random.Random, done: asyncio.Event) -> None:
        super().__init__(port, number, dice, done)
        self.complaints: list[str] = []
        self.waited_s: dict[str, float] = {}
        self._bot = bot
        self._times: Counter[str] = Counter()
        self._began: dict[str, float] = {}

    @property
    def asked(self) -> int:
        return len(self._sent) + len(self._pressed)

    def waiting(self) -> list[str]:
        return [text for client_id, text in self._sent.items() if not self._answered(client_id)]

    async def _visit(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        interruptions, greeted = self._bot.interruptions, False
        while not self._content():
            try:
                message = await socket.receive(timeout=1.0)
            except TimeoutError:
                continue
            if message.type is not aiohttp.WSMsgType.TEXT:
                break
            greeted = True
            await self._hear(socket, json.loads(message.data))
            await self._go_on(socket)
        else:
            return
        if greeted and self._bot.interruptions == interruptions:
            self.complaints.append(f"{self._name} had to connect again ({socket.close_code})")

    async def _hear(self, socket: aiohttp.ClientWebSocketResponse, said: dict[str, Any]) -> None:
        match said["type"]:
            case "accepted":
                self._times[said["client_id"]] += 1
            case "rejected" | "error":
                self.complaints.append(f"{self._name} was told: {said}")
            case "post" if said["post"]["failure"]:
                self.complaints.append(f"{self._name} saw: {said['post']['failure']}")
        await super()._hear(socket, said)
        for client_id in self._sent:
            if client_id not in self.waited_s and self._answered(client_id):
                self.waited_s[client_id] = time.monotonic() - self._began[client_id]

    async def _go_on(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        if self._done.is_set() or len(self.waited_s) < len(self._sent):
            return
        newest = next(reversed(self._sent), None)
        if newest is not None and self._dice.random() < 0.2:
            await self._press(socket, self._accepted[newest])
        if self._dice.random() < 0.3:
            self._set += 1
            await socket.send_json({"type": "setting", "name": "seed", "value": str(self._set)})
        for _ in range(self._dice.choice((1, 1, 2, 3))):
            client_id = f"{self._name}-{len(self._sent)}"
            self._sent[client_id] = f"{self._dice.choice(_KINDS)} {client_id}"
            self._began[client_id] = time.monotonic()
            await self._send(socket, client_id)

    def check(self, posts: Sequence[Post], answers: Mapping[str, str | None]) -> None:
        super().check(posts, answers)
        place = {post.event_id: post.position for post in posts}
        places = [place[f"{self.id}/{client_id}"] for client_id in self._sent]
        assert places == sorted(places), f"{self._name}'s messages are in another order: {places}"
        assert self._times == dict.fromkeys(self._sent, 1), f"not accepted once: {self._times}"


@dataclass
class Pages:
    """The pages of all bots, each with guests of its own."""

    bots: Sequence[Part]
    ports: Sequence[int]
    dice: random.Random
    people: int
    done: asyncio.Event = field(default_factory=asyncio.Event)
    guests: list[Guest] = field(default_factory=list)

    async def live(self) -> None:
        places = list(zip(self.bots, self.ports, strict=True))
        for number in range(self.people):
            bot, port = places[number % len(places)]
            self.guests.append(Guest(bot, port, number, self.dice, self.done))
        async with asyncio.TaskGroup() as group:
            for guest in self.guests:
                group.create_task(guest.live())


@dataclass
class Crowd:
    """Everybody, on all platforms."""

    telegram: Telegram
    discord: Discord
    pages: Pages

    async def live(self) -> None:
        async with asyncio.TaskGroup() as group:
            for each in (self.telegram, self.discord, self.pages):
                group.create_task(each.live())

    def finish(self) -> None:
        for each in (self.telegram, self.discord, self.pages):
            each.done.set()

    def waiting(self) -> list[str]:
        """What is not answered yet, as a line each."""
        found = [*self.telegram.waiting(), *self.discord.waiting()]
        return found + [f"page: {each}" for guest in self.pages.guests for each in guest.waiting()]

    @property
    def asked(self) -> int:
        letters = sum(len(each.asked) for each in self.telegram.correspondents)
        return letters + len(self.discord.asked) + sum(guest.asked for guest in self.pages.guests)

    @property
    def longest_s(self) -> float:
        waited = [*self.telegram.waited_s, *self.discord.waited_s]
        return max([*waited, *(each for guest in self.pages.guests for each in guest.waited_s.values())], default=0.0)

    async def complaints(self, address: str) -> list[str]:
        """What was lost, doubled, broken off, excused or not counted; each as a line."""
        async with open_database(address) as database:
            posts: SqlPosts[Post, StoredFile] = SqlPosts(database, encode=encode, decode=decode, make_file=StoredFile)
            everything = await posts.load(1_000_000)
            storage = SqlStorage(database)
            answers = {post.id: await storage.answer_at(CHAT, post.id) for post in everything}
            found = [complaint for guest in self.pages.guests for complaint in guest.complaints]
            for guest in self.pages.guests:
                found += _failed(lambda guest=guest: guest.check(everything, answers))
                settings = await storage.preferences(guest.id)
                found += _failed(lambda guest=guest, settings=settings: guest.check_settings(settings))
            found += [f"grows for ever: {post}" for post in everything if post.frame.growing]
            found += self._on_telegram() + await self._on_discord()
            found += await database.read(_left)
            footers: Counter[str] = Counter()
            for person, text in [*self._footers(), *_page_footers(everything)]:
                footers[person] += sum(int(each.replace(",", "")) for each in _TOKENS.findall(text))
            return found + await _miscounted(database, footers)

    def _on_telegram(self) -> list[str]:
        found = []
        for somebody in self.telegram.correspondents:
            found += _failed(somebody.check)
            for message in somebody.person.private.messages:
                found += [f"Telegram: {text}" for text in {*message.history} if _excuse(text)]
        return found

    async def _on_discord(self) -> list[str]:
        found = []
        with suppress(AssertionError):
            await self.discord.check("")
            return self._excuses_on_discord()
        asked, self.discord.asked = self.discord.asked, []
        for each in asked:
            self.discord.asked = [each]
            try:
                await self.discord.check("")
            except AssertionError as error:
                found.append(f"Discord: {error}")
        self.discord.asked = asked
        return found + self._excuses_on_discord()

    def _excuses_on_discord(self) -> list[str]:
        texts = [
            text
            for room in self.discord.server.rooms.values()
            for message in room.messages
            for text in {*message["history"], message["content"]}
        ]
        return [f"Discord: {text}" for text in texts if _excuse(text)]

    def _footers(self) -> Iterator[tuple[str, str]]:
        for somebody in self.telegram.correspondents:
            for message in somebody.person.private.messages:
                if message.is_own and not message.deleted:
                    yield f"telegram:{somebody.person.user['id']}", _small_print(message.text)
        for room, question in self.discord.asked:
            for shown in self.discord._shown(room, question):
                yield f"discord:{question['author']['id']}", _small_print(shown["content"])


def _small_print(text: str) -> str:
    """The last line of a message."""
    return text.rstrip().rpartition("\n")[2]


def _page_footers(posts: Sequence[Post]) -> Iterator[tuple[str, str]]:
    for post in posts:
        if post.kind == "bot" and post.asker:
            yield post.asker, post.frame.footer


def _failed(check: Any) -> list[str]:
    try:
        check()
    except AssertionError as error:
        return [str(error)]
    return []


def _excuse(text: str) -> bool:
    return any(words in text for words in FAILURES)


def _left(connection: Connection) -> list[str]:
    """Events and replies that have not come to their end."""
    waiting = connection.execute(select(inbox).where(inbox.c.answered.is_(False))).all()
    worded = connection.execute(select(inbox).where(inbox.c.answered.is_(True), inbox.c.payload != "")).all()
    # What ends with a file is never kept as ended: whether it is answered says its event.
    ended = replies.c.state.in_(("done", "accepted")) & (replies.c.shown | (replies.c.state == "accepted"))
    unfinished = connection.execute(select(replies).where(~ended)).all()
    return [
        *(f"not answered: {row}" for row in waiting),
        *(f"answered, and its words are kept: {row}" for row in worded),
        *(f"a reply that is not done: {row}" for row in unfinished),
    ]


async def _miscounted(database: Database, footers: Mapping[str, int]) -> list[str]:
    """Where a person's usage is not what the small print under that person's answers says."""
    rows = await database.read(lambda connection: connection.execute(select(usage.c.person, usage.c.tokens)).all())
    used: Counter[str] = Counter()
    for row in rows:
        used[row.person] += row.tokens
    people = {*used, *footers}
    return [
        f"usage of {person}: {used[person]} tokens, and {footers.get(person, 0)} under the answers"
        for person in sorted(people)
        if used[person] != footers.get(person, 0)
    ]

"""Whoever floods the bot, in a process of their own, and people who only ask: see `benchmarks.floods`.

On Telegram the attacker's process holds the wire server, too, and a person in the same group. On the page it holds the
guests that flood.
"""

from __future__ import annotations

import asyncio
import io
import json
import multiprocessing
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from multiprocessing.connection import Connection
from typing import Any

import aiohttp
from PIL import Image
from yarl import URL

from adapters.web.security.identity import Identities, Identity
from tests.servers.discord import DiscordServer
from tests.servers.discord_world import Room
from tests.servers.telegram import TelegramServer, telegram, until
from tests.servers.telegram_people import Person
from tests.servers.telegram_world import Chat, Message, Rules

WORD = "word"
"""All answers are made of it."""
GIVEN_UP_S = 60.0
FAILURES = ("something went wrong", "I can't answer", "at capacity", "interrupted", "cannot be shown")
REFUSALS = ("messages a minute", "in a minute", "at capacity", "Please wait", "too many", "already have")
ARRIVING_S = 60.0
"""In which all newcomers come, one after the other."""
AGAIN_S = 1.0
"""How soon somebody asks again who floods by asking."""
KINDS = ("commands", "presses", "accounts", "uploads", "posts", "guests", "newcomers")
ON_TELEGRAM = ("commands", "presses", "accounts")
EVERY_S = {"commands": 20.0, "presses": 20.0, "accounts": 20.0}
"""How often the person in the same chat asks: a group can be sent 20 calls a minute, an answer takes two or more."""


@dataclass
class Seen:
    """What a person saw, and whoever floods.

    Args:
        tries: seconds to the first words of each try; None: refused, or not answered within a minute.
        between: how many messages of the bot came between a question and its first words.
        broken: sentences of failure that anybody read.
        sent, told: what the flood did, and how many sentences of refusal it read.
    """

    tries: list[float | None] = field(default_factory=list)
    between: list[int] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    sent: int = 0
    told: int = 0

    def add(self, text: str) -> None:
        self.broken += [text[:200] for each in FAILURES if each in text and each != "at capacity"]
        self.told += any(each in text for each in REFUSALS)


Ask = Callable[[str], Coroutine[Any, Any, float | None]]


async def asks(ask: Ask, seconds: float, every_s: float, seen: Seen) -> None:
    """Somebody who asks every few seconds, whatever has come of it."""
    async with asyncio.TaskGroup() as tasks:
        tries = []
        for number in range(max(2, round(seconds / every_s))):
            tries.append(tasks.create_task(ask(f"question {time.monotonic_ns()} {number}")))
            await asyncio.sleep(every_s)
    seen.tries += [each.result() for each in tries]


@dataclass
class OnDiscord:
    """Somebody on a server of their own."""

    server: DiscordServer
    room: Room

    async def ask(self, text: str) -> float | None:
        person = self.server.person("Ann")
        began = time.monotonic()
        asked = await person.says(self.room, f"@bot {text}")

        def answer(form: Callable[[dict[str, Any]], bool]) -> bool:
            own = (each for each in self.room.messages if each["author"]["id"] == self.server.bot["id"])
            mine = (each for each in own if (each.get("message_reference") or {}).get("message_id") == asked["id"])
            return any(form(each) for each in mine)

        with suppress(TimeoutError):
            await self.server.until(lambda: answer(lambda each: WORD in each["content"]), GIVEN_UP_S)
            took = time.monotonic() - began
            await self.server.until(lambda: answer(lambda each: not _grows(each)), GIVEN_UP_S)
            return took
        return None


def _grows(message: dict[str, Any]) -> bool:
    return any(button["label"] == "Stop" for row in message["components"] for button in row["components"])


@dataclass
class InAGroup:
    """Somebody in a Telegram group."""

    person: Person
    chat: Chat
    seen: Seen

    async def ask(self, text: str) -> float | None:
        before, began = len(self.chat.messages), time.monotonic()
        asked = self.person.says(f"/ask {text}", self.chat)

        def answer() -> Message | None:
            mine = (each for each in self.chat.messages[before:] if each.is_own and _replies_to(each, asked))
            return next((each for each in mine if WORD in each.text), None)

        with suppress(TimeoutError):
            async with asyncio.timeout(GIVEN_UP_S):
                found = await until(answer)
                took = time.monotonic() - began
                own = [each for each in self.chat.messages[before:] if each.is_own and not _replies_to(each, asked)]
                self.seen.between.append(len(own))
                await until(lambda: "Stop" not in found.buttons)
                return took
        return None


def _replies_to(message: Message, asked: Message) -> bool:
    return bool(message.content.get("reply_to_message", {}).get("message_id") == asked.id)


class Guest:
    """Somebody with the page open."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, seen: Seen) -> None:
        self.socket = socket
        self.seen = seen
        self._name, self._numbers = secrets.token_hex(8), count()
        self._posts: dict[str, str] = {}
        """By client id: the post, "" if it was rejected."""
        self._answers: dict[str, dict[str, Any]] = {}
        """The newest state of what replies to a post."""
        self._news = asyncio.Condition()

    async def read(self) -> None:
        async for message in self.socket:
            said = json.loads(message.data)
            for each in said["messages"] if said["type"] == "batch" else [said]:
                self._take(each)
            async with self._news:
                self._news.notify_all()

    def _take(self, said: dict[str, Any]) -> None:
        kind = said["type"]
        if kind == "accepted":
            self._posts[said["client_id"]] = said["id"]
        elif kind in ("rejected", "error"):
            self.seen.add(said["sentence"])
            self._posts[said.get("client_id", "")] = ""
        elif kind == "post" and said["post"].get("reply_to"):
            self._answers[said["post"]["reply_to"]] = said["post"]

    async def type(self, text: str) -> str:
        client_id = f"{self._name}-{next(self._numbers)}"
        await self.socket.send_json({"type": "message", "client_id": client_id, "text": text, "pictures": []})
        return client_id

    async def ask(self, text: str) -> float | None:
        began = time.monotonic()
        client_id = await self.type(text)
        with suppress(TimeoutError):
            async with asyncio.timeout(GIVEN_UP_S), self._news:
                await self._news.wait_for(lambda: client_id in self._posts)
                if not (post := self._posts[client_id]):
                    return None
                await self._news.wait_for(lambda: self._begun(post))
                took = time.monotonic() - began
                await self._news.wait_for(lambda: not self._answers[post]["growing"])
                if failure := self._answers[post].get("failure"):
                    self.seen.add(failure)
                return took if WORD in json.dumps(self._answers[post]) else None
        return None

    def _begun(self, post: str) -> bool:
        answer = self._answers.get(post)
        return answer is not None and (bool(answer.get("failure")) or WORD in json.dumps(answer))


REGULAR_SECRET = "s" * 32
"""With which the page signs identities."""
_DAYS_AGO_S = 2 * 86_400.0
_REGULAR = Identity("ab" * 32, int(time.time() - _DAYS_AGO_S))
REGULAR = _REGULAR.person
"""Somebody who has been on the page before; the operator has named them."""


@asynccontextmanager
async def guest(
    address: str, seen: Seen, *, is_regular: bool = False
) -> AsyncIterator[tuple[Guest, aiohttp.ClientSession]]:
    jar, patience = aiohttp.CookieJar(unsafe=True), aiohttp.ClientTimeout(GIVEN_UP_S)
    if is_regular:
        jar.update_cookies({"partyline": Identities(REGULAR_SECRET).cookie_of(_REGULAR)}, URL(address))
    async with aiohttp.ClientSession(cookie_jar=jar, timeout=patience) as session:
        async with session.get(address) as response:
            await response.read()
        path = "ws?batches" if is_regular else "ws"  # as the page, and as a program that wants to cost much
        async with session.ws_connect(address + path, max_msg_size=0) as socket:
            made = Guest(socket, seen)
            reading = asyncio.ensure_future(made.read())
            try:
                yield made, session
            finally:
                reading.cancel()


async def flood_on_telegram(kind: str, server: TelegramServer, chat: Chat, size: int, seen: Seen) -> None:
    """Goes on until it is cancelled."""
    hasty = server.person("Eve", 666)
    if kind == "commands":
        while True:
            hasty.says("/help", chat)
            seen.sent += 1
            await asyncio.sleep(1 / size)
    if kind == "presses":
        hasty.says("/settings", chat)
        panel = await until(lambda: next((each for each in chat.answers if "Close" in " ".join(each.buttons)), None))
        while True:
            labels = [each for each in panel.buttons if "Close" not in each]
            hasty.presses(panel, labels[seen.sent % len(labels)], chat)
            seen.sent += 1
            await asyncio.sleep(1 / size)
    groups = [chat, *(server.group(f"Group {number}") for number in range(9))]
    people = [server.person(f"Eve {number}", 700 + number) for number in range(size)]
    async with asyncio.TaskGroup() as tasks:
        for person in people:
            for group in groups:
                tasks.create_task(_asks_again(InAGroup(person, group, Seen()).ask, seen))


async def flood_the_page(kind: str, address: str, size: int, seen: Seen) -> None:
    if kind in ("guests", "newcomers"):
        every_s = ARRIVING_S / size if kind == "newcomers" else 0.0
        async with asyncio.TaskGroup() as tasks:
            for _ in range(size):
                tasks.create_task(_comes_and_asks(address, seen))
                await asyncio.sleep(every_s)
        return
    async with guest(address, seen) as (hasty, session):
        data = io.BytesIO()
        Image.effect_noise((800, 600), 90).save(data, "PNG")
        while True:
            if kind == "posts":
                await hasty.type("x" * 1000)
            else:
                form = aiohttp.FormData()
                form.add_field("picture", data.getvalue(), filename="a.png")
                async with session.post(address + "upload", data=form) as response:
                    seen.add(await response.text())
            seen.sent += 1
            await asyncio.sleep(1 / size)


async def _comes_and_asks(address: str, seen: Seen) -> None:
    while True:
        with suppress(aiohttp.ClientError, OSError, TimeoutError, TypeError):
            async with guest(address, seen) as (someone, _):
                await _asks_again(someone.ask, seen)
        await asyncio.sleep(AGAIN_S)


async def _asks_again(ask: Ask, seen: Seen) -> None:
    for number in count():
        seen.sent += 1
        await ask(f"again {number}")
        await asyncio.sleep(AGAIN_S)


class Attacker:
    """The process. `address` is that of its Telegram."""

    def __init__(self, kind: str, size: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_main, args=(kind, size, theirs), daemon=True)
        self.address = ""

    async def start(self) -> None:
        self._process.start()
        self.address = await self._reply()

    async def watch(self, seconds: float, page: str, *, floods: bool) -> Seen:
        """What was seen in that time; the flood has begun two seconds before."""
        self._pipe.send((seconds, page, floods))
        seen: Seen = await self._reply()
        return seen

    async def _reply(self) -> Any:
        while not self._pipe.poll():
            if not self._process.is_alive():
                raise RuntimeError("the attacker has ended")
            await asyncio.sleep(0.05)
        return self._pipe.recv()

    def end(self) -> None:
        self._process.kill()
        self._process.join()


def _main(kind: str, size: int, pipe: Connection) -> None:
    asyncio.run(_serve(kind, size, pipe))


async def _serve(kind: str, size: int, pipe: Connection) -> None:
    async with telegram(Rules.strict()) as server:
        pipe.send(server.address)
        chat = server.group()
        while True:
            seconds, page, floods = await asyncio.to_thread(pipe.recv)
            pipe.send(await _watched(kind, size, server, chat, seconds, page, floods=floods))


async def _watched(
    kind: str, size: int, server: TelegramServer, chat: Chat, seconds: float, page: str, *, floods: bool
) -> Seen:
    seen = Seen()
    flooding = None
    if floods:
        on_telegram = kind in ON_TELEGRAM
        work = (
            flood_on_telegram(kind, server, chat, size, seen) if on_telegram else flood_the_page(kind, page, size, seen)
        )
        flooding = asyncio.ensure_future(work)
        await asyncio.sleep(LEAD_S)
    if kind in ON_TELEGRAM:
        ann = InAGroup(server.person("Ann", 1), chat, seen)
        await asks(ann.ask, seconds, min(EVERY_S[kind], seconds / 2), seen)
    else:
        await asyncio.sleep(seconds)
    if flooding is not None:
        if flooding.done():
            flooding.result()
        flooding.cancel()
    chats = [*server.world.chats.values()] if floods else []
    toasts = [text for _, text in server.world.toasts]
    for text in [*toasts, *(message.text for each in chats for message in each.messages if message.is_own)]:
        seen.add(text)
    return seen


LEAD_S = 2.0
"""The flood begins before anybody is measured."""

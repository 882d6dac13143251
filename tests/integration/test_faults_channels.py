"""One fault costs one person, on Discord and on the page: every method of their channels fails for somebody.

As `test_faults`, where Telegram's channel, the storage and the inference service fail: everybody is at it at the same
time, in one program, asks again afterwards, and then the program is started anew without faults.
"""

from __future__ import annotations

import asyncio
import inspect
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import pytest

from adapters.app import phrases
from adapters.delivery.channel import Channel, Forbidden, MessageGone, UnknownOutcome
from adapters.delivery.outbox import Outboxes
from adapters.discord.channel import DiscordChannel
from adapters.storage.memory import MemoryStorage
from adapters.web.channel import WebChannel
from adapters.web.events import ACCOUNT
from adapters.web.memory import MemoryPosts
from adapters.web.server import WebServer
from bots.bot import Bot
from bots.preferences import Bounds
from inference.api import ModelInfo
from tests.fakes import script, scripted_inference
from tests.faults import Fault, Faults, methods
from tests.integration.discord_parts import is_complete, party
from tests.integration.test_faults import ANSWER, DOCUMENTED, DOES, SENTENCES, SETTLED_WITHIN_S, WORDS, unexpected
from tests.servers.discord import DiscordServer
from tests.servers.discord_people import Person
from tests.servers.discord_world import Room
from tests.servers.telegram import until
from tests.unit.web_parts import FakePanel, Page

pytestmark = pytest.mark.timeout(300)
LINE = {"match": "asks", "answer": ANSWER, "tokens_per_s": 50}
ERRORS = [*DOCUMENTED[Channel], unexpected]
CASES = [(method, error) for method, does in DOES[Channel].items() if does and method != "upload" for error in ERRORS]
"""Files fail in test_faults.py (Telegram), and for any channel in test_outbox.py
(`test_a_file_reaches_the_chat_once_though_connections_break`)."""


class Place(Protocol):
    """Where one person asks and reads."""

    number: str

    async def ask(self) -> None: ...

    def shown(self, index: int) -> list[tuple[str, bool]]:
        """What the bot has said to the question of that number, and whether it is complete."""
        ...


@dataclass
class Somebody:
    place: Place
    fault: Fault | None = None
    asked: int = 0

    async def ask(self) -> None:
        await self.place.ask()
        self.asked += 1
        with suppress(TimeoutError):  # `wrong` says what is missing then
            async with asyncio.timeout(10.0):
                await until(lambda: self.is_over(self.asked - 1))

    def is_over(self, index: int) -> bool:
        shown = self.place.shown(index)
        return bool(shown) and all(complete for _, complete in shown)

    @property
    def may_be_lost(self) -> bool:
        return self.fault is not None and isinstance(self.fault.error(), Forbidden | MessageGone)

    def wrong(self, index: int) -> list[str]:
        texts = [text for text, _ in self.place.shown(index)]
        about = f"{self.place.number} ({self.fault.method if self.fault else 'nothing'}), {index}: {texts}"
        if not self.is_over(index):
            return [f"never ended: {about}"]
        if len(texts) > 1:
            return [f"said twice: {about}"]
        is_told = self.fault is not None and any(sentence in texts[0] for sentence in SENTENCES)
        return [] if is_told or texts[0].count("whole") == WORDS else [f"neither whole nor a sentence: {about}"]


@dataclass
class InRoom:
    """On Discord, each in a room of their own."""

    discord: DiscordServer
    number: str
    room: Room
    person: Person
    questions: list[dict[str, Any]] = field(default_factory=list)

    async def ask(self) -> None:
        self.questions.append(await self.person.says(self.room, f"@bot {self.number} asks"))

    def shown(self, index: int) -> list[tuple[str, bool]]:
        begin = self.room.messages.index(self.questions[index]) + 1
        end = None if index + 1 == len(self.questions) else self.room.messages.index(self.questions[index + 1])
        own = [each for each in self.room.messages[begin:end] if each["author"]["id"] == self.discord.bot["id"]]
        return [(each["content"], is_complete(each)) for each in own if not each["attachments"]]


@dataclass
class OnPage:
    """On the page, where all share one channel."""

    number: str
    page: Page
    posts: MemoryPosts
    asked: int = 0

    async def ask(self) -> None:
        self.asked += 1
        await self.page.type(f"{self.number} asks", client_id=f"{self.number}-{self.asked}")

    def shown(self, index: int) -> list[tuple[str, bool]]:
        posts = self.posts._all()
        event = f"/{self.number}-{index + 1}"
        question = next((each for each in posts if (each.event_id or "").endswith(event)), None)
        own = [each for each in posts if question is not None and each.kind == "bot" and each.reply_to == question.id]
        return [(f"{each.frame.markdown} {each.frame.failure}", not each.frame.growing) for each in own]


def break_channel(patch: pytest.MonkeyPatch, kind: type, faults: Faults, whose: Callable[[Any], str]) -> None:
    """Its methods fail for those who have a fault in them; what is looked for was lost after it was sent."""
    for name in methods(Channel):
        found = getattr(kind, name)
        if not inspect.iscoroutinefunction(found):

            def at_once(self: Any, *args: Any, _name: str = name, _found: Any = found, **kwargs: Any) -> Any:
                faults.trip(_name, whose(self))
                return _found(self, *args, **kwargs)

            patch.setattr(kind, name, at_once)
        else:

            async def called(self: Any, *args: Any, _name: str = name, _found: Any = found, **kwargs: Any) -> Any:
                faults.trip(_name, whose(self))
                result = await _found(self, *args, **kwargs)
                fault = faults.of.get(whose(self))
                if _name == "send" and fault and fault.method == "find" and not fault.hits:
                    raise UnknownOutcome("nobody knows whether it was sent")
                return result

            patch.setattr(kind, name, called)


async def live(victims: Sequence[Somebody], others: Sequence[Somebody], faults: Faults) -> list[str]:
    """Everybody asks while it fails for the victims, and once more when it does not; what is wrong in between."""

    async def thrice(somebody: Somebody) -> None:
        for _ in range(3):
            await somebody.ask()

    async with asyncio.TaskGroup() as group:
        for somebody in others:
            group.create_task(thrice(somebody))
        # On the page all share one outbox: among many, nothing is edited before it is whole.
        first = [victim for victim in victims if victim.fault and victim.fault.method == "edit"]
        async with asyncio.TaskGroup() as edited:
            for victim in first:
                edited.create_task(victim.ask())
        for victim in victims:
            if victim not in first:
                group.create_task(victim.ask())
    wrong = [f"never called: {each.fault}" for each in victims if each.fault and not each.fault.hits]
    wrong += [fault for each in others for index in range(3) for fault in each.wrong(index)]
    faults.on = False
    async with asyncio.TaskGroup() as group:
        for somebody in [*victims, *others]:
            group.create_task(somebody.ask())
    return wrong


async def after_a_restart(everybody: Sequence[Somebody], storage: MemoryStorage, account: str) -> list[str]:
    deadline = time.monotonic() + SETTLED_WITHIN_S
    expected = [each for each in everybody if not each.may_be_lost]
    while time.monotonic() < deadline:
        is_left = await storage.pending(account)
        if not is_left and all(each.is_over(index) for each in expected for index in range(each.asked)):
            break
        await asyncio.sleep(0.05)
    wrong = [f"left: {event.payload}" for event in await storage.pending(account)]
    for each in everybody:
        first = each.asked - 1 if each.may_be_lost else 0
        wrong += [fault for index in range(first, each.asked) for fault in each.wrong(index)]
    return wrong


def numbers() -> tuple[list[str], list[str]]:
    return [str(700_001 + n) for n in range(len(CASES))], [str(800_001 + n) for n in range(3)]


async def test_on_discord(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = MemoryStorage()
    own, others = numbers()
    async with DiscordServer().serving() as discord:
        places = {
            number: InRoom(discord, number, discord.room(f"room-{number}"), discord.person(f"Person {number}"))
            for number in [*own, *others]
        }
        of_room = {place.room.id: number for number, place in places.items()}
        victims = [Somebody(places[n], Fault(*case)) for n, case in zip(own, CASES, strict=True)]
        well = [Somebody(places[n]) for n in others]
        faults = Faults({each.place.number: each.fault for each in victims if each.fault})
        with monkeypatch.context() as patch:
            break_channel(patch, DiscordChannel, faults, lambda channel: of_room[channel._id])
            async with party(tmp_path, LINE, discord=discord, storage=storage, slots=64):
                wrong = await live(victims, well, faults)
        async with party(tmp_path, LINE, discord=discord, storage=storage, slots=64):
            wrong += await after_a_restart([*victims, *well], storage, f"discord:{discord.bot['id']}")
    assert not wrong, "\n".join(wrong)


@asynccontextmanager
async def page_served(folder: Path, storage: MemoryStorage, posts: MemoryPosts) -> AsyncIterator[str]:
    async with (
        scripted_inference(script(folder, LINE), slots=64, max_waiting=200) as inference,
        Outboxes(phrases=phrases()) as outboxes,
    ):
        bot = Bot(inference, storage, bounds=Bounds(), now=time.time, new_id=lambda: uuid.uuid4().hex)
        server = WebServer(
            bot=bot,
            outboxes=outboxes,
            record=storage,
            inbox=storage,
            phrases=phrases(),
            posts=posts,
            panel=FakePanel(),
            info=lambda: ModelInfo(name="scripted", context_tokens=8192),
            examples=(),
            commands=(),
        )
        async with server.serving() as address:
            yield address


async def test_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, posts = MemoryStorage(), MemoryPosts()
    own, others = numbers()
    number_of: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        patch = stack.enter_context(monkeypatch.context())
        address = await stack.enter_async_context(page_served(tmp_path, storage, posts))
        places = {}
        for number in [*own, *others]:
            jar = aiohttp.CookieJar(unsafe=True)
            session = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=jar))
            page = Page(await stack.enter_async_context(session.ws_connect(address + "ws")))
            hello = await page.next("hello")
            number_of[hello["person"]] = number
            places[number] = OnPage(number, page, posts)
        victims = [Somebody(places[n], Fault(*case)) for n, case in zip(own, CASES, strict=True)]
        well = [Somebody(places[n]) for n in others]
        faults = Faults({each.place.number: each.fault for each in victims if each.fault})
        break_channel(patch, WebChannel, faults, lambda channel: number_of.get(channel._asker, ""))
        wrong = await live(victims, well, faults)
    async with page_served(tmp_path, storage, posts):
        wrong += await after_a_restart([*victims, *well], storage, ACCOUNT)
    assert not wrong, "\n".join(wrong)

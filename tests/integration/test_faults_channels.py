"""One fault costs one person, on Discord and on the page: every method of their channels fails for somebody.

As `test_faults`, where Telegram's channel, the storage and the inference service fail: everybody is at it at the same
time, in one program, asks again afterwards, and then the program is started anew without faults.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import pytest

from adapters.delivery.channel import Channel, Forbidden, Frame, Limits, MessageGone, Rejected, UnknownOutcome
from adapters.discord.outbound.channel import DiscordChannel, limits
from adapters.storage.memory.storage import MemoryStorage
from adapters.web.channel.channel import WebChannel
from adapters.web.posts.memory import MemoryPosts
from adapters.web.posts.posts import Post
from adapters.web.sessions.events import ACCOUNT
from tests.faults import Fault, Faults, methods
from tests.integration.discord_parts import is_complete, labels, party
from tests.integration.page_parts import page_served
from tests.integration.test_faults import ANSWER, DOCUMENTED, SENTENCES, SETTLED_WITHIN_S, WORDS, unexpected
from tests.servers.discord import DiscordServer
from tests.servers.discord_people import Person
from tests.servers.discord_world import Room
from tests.servers.telegram import until
from tests.unit.web_parts import Page

pytestmark = pytest.mark.timeout(300)
UNITS = 1000
"""Of a message, and one message is enough to come as a file, too: so long answers are not that long."""
LINES = (
    {"match": "waits", "answer": ANSWER, "tokens_per_s": 200, "first_token_s": 1.5},
    {"match": "asks at length", "answer": "long " * 400 + ANSWER, "tokens_per_s": 2000},
    {"match": "reasons", "answer": "pondered " * 250 + "so</think>\n\n" + ANSWER, "tokens_per_s": 40},
    {"match": "asks", "answer": ANSWER, "tokens_per_s": 50},
)
ERRORS = [*DOCUMENTED[Channel], unexpected]
ASKED = {"upload": "asks at length", "delete": "reasons", "typing": "waits"}
"""What makes the bot call a method, where "asks" does not: an answer of several messages comes as a file, too, and the
messages of one that turns out to be reasoning are deleted."""
NEVER_CALLED = {
    "discord": {},
    "page": {"typing": "the page shows by itself that an answer is awaited: its limits have no time of typing"},
}


def cases(platform: str) -> list[tuple[str, Callable[[], Exception]]]:
    return [(method, error) for method in sorted(methods(Channel) - NEVER_CALLED[platform].keys()) for error in ERRORS]


def test_what_is_never_called_is_a_fact_of_the_platform() -> None:
    assert NEVER_CALLED["page"].keys() == {"typing"}
    assert not WebChannel.limits.typing_s
    assert not NEVER_CALLED["discord"]


def short(limits: Limits) -> Limits:
    return replace(limits, message_units=UNITS, max_chunks=1)


class Place(Protocol):
    """Where one person asks and reads."""

    number: str

    async def ask(self, what: str) -> None: ...

    @property
    def files(self) -> list[str]:
        """The names of all that were posted for this person."""
        ...

    def shown(self, index: int) -> list[tuple[str, bool]]:
        """What the bot has said to the question of that number, and whether each message ends that."""
        ...


@dataclass
class Somebody:
    place: Place
    fault: Fault | None = None
    asked: int = 0

    async def ask(self) -> None:
        """The first time, what makes the bot call the method that fails."""
        is_first = self.fault is not None and not self.asked
        await self.place.ask(self.what if is_first else "asks")
        self.asked += 1
        with suppress(TimeoutError):  # `wrong` says what is missing then
            async with asyncio.timeout(10.0 if is_first and self.may_be_lost else 30.0):
                await until(lambda: self.is_over(self.asked - 1))

    @property
    def what(self) -> str:
        return ASKED.get(self.fault.method, "asks") if self.fault else "asks"

    def is_over(self, index: int) -> bool:
        """One of the messages has the answer's end, with its buttons; another one may have been left to stay."""
        return any(is_end for _, is_end in self.place.shown(index))

    @property
    def may_be_lost(self) -> bool:
        return self.fault is not None and isinstance(self.fault.error(), Forbidden | MessageGone)

    def wrong(self, index: int) -> list[str]:
        texts = [text for text, _ in self.place.shown(index)]
        told = [text for text in texts if "whole" in text or "long" in text or len(texts) == 1]
        about = f"{self.place.number} ({self.fault.method if self.fault else 'nothing'}), {index}: {texts}"
        if not self.is_over(index):
            return [f"never ended: {about}"]
        has_thought = index == 0 and self.what == "reasons"
        is_long = index == 0 and self.what == "asks at length"
        is_told = self.fault is not None and any(sentence in text for text in texts for sentence in SENTENCES)
        if len(told) > 1 and not is_long and not has_thought:
            return [f"said twice: {about}"]
        if not is_told and sum(text.count("whole") for text in texts) != WORDS:
            return [f"neither whole nor a sentence: {about}"]
        if is_long and sum(text.count("long") for text in texts) != 400:
            return [f"not whole: {about}"]
        if has_thought and any("pondered" in text for text in texts[1:]) and not self.may_stay:
            return [f"reasoning that was to be deleted stays: {about}"]
        return [f"no file, or more than one: {about} {self.place.files}"] if is_long and not self.has_file else []

    @property
    def may_stay(self) -> bool:
        """Whether the platform said that what was to be deleted is gone already."""
        return self.fault is not None and isinstance(self.fault.error(), MessageGone)

    @property
    def has_file(self) -> bool:
        refused = self.fault is not None and isinstance(self.fault.error(), Rejected)
        return self.place.files in ([["answer.md"], []] if refused else [["answer.md"]])


@dataclass
class InRoom:
    """On Discord, each in a room of their own."""

    discord: DiscordServer
    number: str
    room: Room
    person: Person
    questions: list[dict[str, Any]] = field(default_factory=list)

    async def ask(self, what: str) -> None:
        self.questions.append(await self.person.says(self.room, f"@bot {self.number} {what}"))

    @property
    def files(self) -> list[str]:
        return [file["filename"] for each in self.room.messages for file in each["attachments"]]

    def shown(self, index: int) -> list[tuple[str, bool]]:
        begin = self.room.messages.index(self.questions[index]) + 1
        end = None if index + 1 == len(self.questions) else self.room.messages.index(self.questions[index + 1])
        own = [each for each in self.room.messages[begin:end] if each["author"]["id"] == self.discord.bot["id"]]
        return [(each["content"], self._is_end(each)) for each in own if not each["attachments"]]

    @staticmethod
    def _is_end(message: dict[str, Any]) -> bool:
        is_told = any(sentence in message["content"] for sentence in SENTENCES)
        return is_complete(message) and (bool(labels(message)) or is_told)


@dataclass
class OnPage:
    """On the page, where all share one channel."""

    number: str
    page: Page
    posts: MemoryPosts
    asked: int = 0

    async def ask(self, what: str) -> None:
        self.asked += 1
        await self.page.type(f"{self.number} {what}", client_id=f"{self.number}-{self.asked}")

    @property
    def files(self) -> list[str]:
        ids = {question.id for index in range(self.asked) if (question := self._question(index))}
        posts = [each for each in self.posts._all() if each.kind == "file" and each.reply_to in ids]
        return [file.name for each in posts for file in each.attachments]

    def _question(self, index: int) -> Post | None:
        event = f"/{self.number}-{index + 1}"
        return next((each for each in self.posts._all() if (each.event_id or "").endswith(event)), None)

    def shown(self, index: int) -> list[tuple[str, bool]]:
        """Only the first message of an answer replies to its question; nobody else is answered in between, or all are
        asked on a page of their own."""
        question = self._question(index)
        if question is None:
            return []
        own = [each for each in self.posts._all() if each.kind == "bot" and each.asker == question.author]
        following = self._question(index + 1)
        until = following.position if following else float("inf")
        own = [each for each in own if question.position < each.position < until]
        return [(f"{each.frame.markdown} {each.frame.failure}", self._is_end(each.frame)) for each in own]

    @staticmethod
    def _is_end(frame: Frame) -> bool:
        return not frame.growing and bool(frame.actions or frame.failure or frame.notice)


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
        # Among many there is no call to spare for typing, and on the page, where all share one outbox, nothing more
        # than first words is shown before an answer is whole.
        first = list[Somebody]()
        for method in ("typing", "delete", "edit"):  # a penalty makes calls rare afterwards
            few = [victim for victim in victims if victim.fault and victim.fault.method == method]
            async with asyncio.TaskGroup() as tasks:
                for victim in few:
                    tasks.create_task(victim.ask())
            first += few
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


def numbers(count: int) -> tuple[list[str], list[str]]:
    return [str(700_001 + n) for n in range(count)], [str(800_001 + n) for n in range(3)]


async def test_on_discord(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, todo = MemoryStorage(), cases("discord")
    own, others = numbers(len(todo))
    monkeypatch.setattr(
        "adapters.discord.inbound.event_handler.limits", lambda *args, **kwargs: short(limits(*args, **kwargs))
    )
    async with DiscordServer().serving() as discord:
        places = {
            number: InRoom(discord, number, discord.room(f"room-{number}"), discord.person(f"Person {number}"))
            for number in [*own, *others]
        }
        of_room = {place.room.id: number for number, place in places.items()}
        victims = [Somebody(places[n], Fault(*case)) for n, case in zip(own, todo, strict=True)]
        well = [Somebody(places[n]) for n in others]
        faults = Faults({each.place.number: each.fault for each in victims if each.fault})
        with monkeypatch.context() as patch:
            break_channel(patch, DiscordChannel, faults, lambda channel: of_room[channel._id])
            async with party(tmp_path, *LINES, discord=discord, storage=storage, slots=64):
                wrong = await live(victims, well, faults)
        async with party(tmp_path, *LINES, discord=discord, storage=storage, slots=64):
            wrong += await after_a_restart([*victims, *well], storage, f"discord:{discord.bot['id']}")
    assert not wrong, "\n".join(wrong)


async def test_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, posts, todo = MemoryStorage(), MemoryPosts(), cases("page")
    own, others = numbers(len(todo))
    monkeypatch.setattr(WebChannel, "limits", short(WebChannel.limits))
    number_of: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        patch = stack.enter_context(monkeypatch.context())
        address = await stack.enter_async_context(page_served(tmp_path, storage, posts, *LINES))
        places = {}
        for number in [*own, *others]:
            jar = aiohttp.CookieJar(unsafe=True)
            session = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=jar))
            page = Page(await stack.enter_async_context(session.ws_connect(address + "ws")))
            hello = await page.next("hello")
            number_of[hello["person"]] = number
            places[number] = OnPage(number, page, posts)
        victims = [Somebody(places[n], Fault(*case)) for n, case in zip(own, todo, strict=True)]
        well = [Somebody(places[n]) for n in others]
        faults = Faults({each.place.number: each.fault for each in victims if each.fault})
        break_channel(patch, WebChannel, faults, lambda channel: number_of.get(channel._asker, ""))
        wrong = await live(victims, well, faults)
    async with page_served(tmp_path, storage, posts, *LINES):
        wrong += await after_a_restart([*victims, *well], storage, ACCOUNT)
    assert not wrong, "\n".join(wrong)

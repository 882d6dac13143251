"""A `/stop` stops all that its author has asked there before, wherever it waits, on every platform."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from adapters.delivery.channel import Frame
from adapters.discord.inbound.attachments import Contents
from adapters.storage.memory.storage import MemoryStorage
from adapters.telegram.inbound.intake import received
from adapters.web.channel.channel import CHAT
from adapters.web.posts.memory import MemoryPosts
from adapters.web.posts.posts import Post, PostFile, StoredFile
from adapters.web.server import WebServer
from adapters.web.sessions.events import ACCOUNT as PAGE
from adapters.web.sessions.events import PageEvent
from bots.messages import Picture
from bots.ports import Inbox, Received
from bots.wording import nothing_to_stop
from tests.integration.discord_parts import party as discord_party
from tests.integration.page_parts import page_served
from tests.integration.telegram_parts import answer_to, party
from tests.servers.telegram import TelegramServer, telegram, until
from tests.servers.telegram_world import Message
from tests.unit.web_parts import Page

PAGE_LINES: tuple[dict[str, Any], ...] = (
    {"match": "waits", "answer": "whole " * 90, "tokens_per_s": 20, "first_token_s": 1.5},
    {"match": "", "answer": "It was whole."},
)
TELEGRAM = "telegram:4711"
pytestmark = pytest.mark.timeout(120)
LINES: tuple[dict[str, Any], ...] = (
    {"match": "slow", "answer": "word " * 3000, "tokens_per_s": 50},
    {"match": "", "answer": "It was answered."},
)


@pytest.fixture
async def server() -> AsyncIterator[TelegramServer]:
    async with telegram() as running:
        yield running


def replies(chat: Any, asked: Message) -> list[str]:
    return [m.text for m in chat.answers if m.content.get("reply_to_message", {}).get("message_id") == asked.id]


async def nothing_is_left(storage: Inbox, account: str) -> None:
    while await storage.pending(account):  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def test_on_telegram_in_a_chat_that_is_flooded(
    server: TelegramServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.telegram.inbound.intake._AT_ONCE", 2)  # so each chat has one place
    storage, group = MemoryStorage(), server.group()
    ann, bob = server.person("Ann", 700_001), server.person("Bob", 700_002)
    async with party(server, tmp_path, *LINES, storage=storage):
        long = bob.says("@party_bot slow", group)
        growing = await until(lambda: next((m for m in group.answers if "word" in m.text), None))
        asked = [ann.says(f"@party_bot question {n}", group) for n in range(2)]
        chatter = ann.says("nothing for the bot", group)
        edited = ann.says("@party_bot another", group)
        ann.edits(edited, "@party_bot put otherwise", group)
        setting = ann.says("/temperature@party_bot 0.4", group)
        while len(await storage.pending(TELEGRAM)) < 7:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        said = await answer_to(ann.says("/stop@party_bot", group), group)
        assert said.text == "Stopped 4 answers."
        assert {event.person for event in await storage.pending(TELEGRAM)} >= {"telegram:700002"}
        assert not any(f"question {n}" in event.payload for event in await storage.pending(TELEGRAM) for n in range(2))
        later = ann.says("@party_bot and now?", group)
        bob.presses(growing, "Stop", group)
        assert "answered" in (await answer_to(later, group)).text
        await answer_to(setting, group)
        await nothing_is_left(storage, TELEGRAM)
        assert [replies(group, each) for each in (*asked, edited, chatter)] == [[], [], [], []]
        assert len(replies(group, long)) == 1


async def test_on_telegram_while_an_album_or_a_picture_arrives(
    server: TelegramServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrives, storage = asyncio.Event(), MemoryStorage()

    async def fetch(*_: Any) -> Picture:
        await arrives.wait()
        return Picture(b"a picture")

    monkeypatch.setattr("adapters.telegram.outbound.reply_sender.fetch", fetch)
    ann = server.person("Ann", 700_001)
    async with party(server, tmp_path, *LINES, storage=storage):
        slow = ann.says("slow")
        await until(lambda: next((m for m in ann.private.answers if "word" in m.text), None))
        picture = ann.shows(b"a picture", "what is this?")
        album = [ann.shows(b"a picture", "and these?" * (not n), media_group_id="7") for n in range(2)]
        said = await answer_to(ann.says("/stop"), ann.private)
        assert said.text == "Stopped 3 answers."
        assert "stopped" in (await answer_to(slow, ann.private)).text
        arrives.set()
        await nothing_is_left(storage, TELEGRAM)
        assert [replies(ann.private, each) for each in (picture, *album)] == [[], [], []]


async def test_on_telegram_what_was_left_by_a_process_that_died(server: TelegramServer, tmp_path: Path) -> None:
    """Whichever of the two is taken up first: what is shown of the question gets its end."""
    storage, ann = MemoryStorage(), server.person("Ann", 700_001)
    asked, stop = ann.says("slow"), ann.says("/stop")
    await storage.receive(
        [received(each, 4711, time.time()) for each in server.world.pending(None, 10)],
    )
    async with party(server, tmp_path, *LINES, storage=storage):
        assert (await answer_to(stop, ann.private)).text == "Stopped."
        await nothing_is_left(storage, TELEGRAM)
        assert len(replies(ann.private, asked)) == 1
        assert "word word" not in replies(ann.private, asked)[0]


async def test_on_discord_in_the_moment_in_which_more_of_a_message_may_come(tmp_path: Path) -> None:
    async with discord_party(tmp_path, *LINES, together_s=0.5) as p:
        question = await p.ann.says(p.room, "@bot slow")
        await p.ann.says(p.room, "@bot /stop")
        assert (await p.answer())["content"].endswith("Stopped.")
        await p.ann.says(p.room, "@bot and now?")
        assert "answered" in (await p.answer(number=-1))["content"]
        await nothing_is_left(p.storage, f"discord:{p.discord.bot['id']}")
        answers = [m for m in p.answers() if (m.get("message_reference") or {}).get("message_id") == question["id"]]
        assert answers == []


async def test_on_discord_while_a_file_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrives, begun = asyncio.Event(), asyncio.Event()

    async def read(*_: Any) -> Contents:
        begun.set()
        await arrives.wait()
        return Contents(text="print(1)")

    monkeypatch.setattr("adapters.discord.inbound.event_handler.read", read)
    async with discord_party(tmp_path, *LINES) as p:
        await p.ann.says(p.room, "@bot what is this?", attachments=[p.discord.attach("a.py", b"print(1)", "text/x")])
        await begun.wait()
        used = await p.ann.calls(p.room, "stop")
        said = await p.discord.until(lambda: used.private and used.private[-1]["content"])
        assert said.endswith("Stopped.")
        arrives.set()
        await nothing_is_left(p.storage, f"discord:{p.discord.bot['id']}")
        assert not any("answered" in message["content"] for message in p.answers())


class Slow(MemoryPosts):
    """A preview takes its time."""

    def __init__(self) -> None:
        super().__init__()
        self.arrives = asyncio.Event()

    async def file(self, file_id: str) -> StoredFile | None:
        await self.arrives.wait()
        return await super().file(file_id)


@asynccontextmanager
async def page_of(address: str) -> AsyncIterator[tuple[Page, str]]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        page = Page(await session.ws_connect(address + "ws"))
        yield page, (await page.next("hello"))["person"]


async def test_on_the_page_after_a_restart(tmp_path: Path) -> None:
    """The question waits for its picture then, and the stop for nothing."""
    storage, posts = MemoryStorage(), Slow()
    await posts.put_file(StoredFile(id="f", name="a.png", media_type="image/png", data=b"a picture"))
    left: list[Received] = []
    for number, text in enumerate(("Who painted that, and why?", "/stop")):
        files = (PostFile(id="f", name="a.png", media_type="image/png"),) if not number else ()
        post = Post(
            id=f"p{number}",
            position=number,
            kind="person",
            author="web:ann",
            name="Ann",
            frame=Frame(markdown=text),
            event_id=f"web:ann/{number}",
            attachments=files,
            created_at=time.time(),
        )
        await posts.append(post)
        left.append(PageEvent.of_post(post).received(time.time()))
    await storage.receive(left)
    async with page_served(tmp_path, storage, posts, *PAGE_LINES):
        stop = await until(lambda: storage._replies.get((CHAT, "web:ann/1")))
        assert stop is not None
        posts.arrives.set()
        await nothing_is_left(storage, PAGE)
        shown = [post.frame.markdown for post in posts._all() if post.kind == "bot" and post.reply_to == "p0"]
        assert not any("whole" in text for text in shown)
        reply = await storage.reply(CHAT, "web:ann/1")
        assert reply is not None
        assert nothing_to_stop() not in reply.ending


async def test_on_the_page_a_stop_waits_for_no_place_in_a_crowd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(WebServer.__init__.__kwdefaults__ or {}, "at_once", 1)
    storage, posts = MemoryStorage(), MemoryPosts()
    async with page_served(tmp_path, storage, posts, *PAGE_LINES) as address, page_of(address) as (page, _):
        await page.type("this waits for long", client_id="1")
        await until(lambda: next((p for p in posts._all() if p.kind == "bot" and p.frame.growing), None))
        await page.type("/stop", client_id="2")
        ended = await until(lambda: next((p for p in posts._all() if p.kind == "bot" and not p.frame.growing), None))
        assert ended is not None
        assert "whole" not in ended.frame.markdown
        await nothing_is_left(storage, PAGE)

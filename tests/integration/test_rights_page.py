"""The table of rights on the page, over real sockets."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from adapters.app import phrases
from adapters.delivery.outbox import Outboxes
from adapters.web.channel.channel import CHAT
from adapters.web.posts.memory import MemoryPosts
from adapters.web.server import WebServer
from adapters.web.sessions.settings_panel import PreferencesPanel
from bots.access.rights import Actor, Platform, Rule, Thing, Verb
from tests.rights import Attempt, Case, Results, World, a_bot, name_of, on, tried_out
from tests.unit.web_parts import browser_session

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

_TEXTS = {
    (Thing.CONVERSATION, Verb.ASK): "hello",
    (Thing.CONVERSATION, Verb.RESET): "/reset",
    (Thing.SETTINGS, Verb.SEE): "/settings",
    (Thing.DATA, Verb.SEE): "/privacy",
    (Thing.DATA, Verb.EXPORT): "/privacy export",
    (Thing.DATA, Verb.ERASE): "/privacy erase now",
    (Thing.LINK, Verb.CHANGE): "/link",
    (Thing.USAGE, Verb.SEE): "/stats",
    (Thing.EVERYBODY, Verb.SEE): "/stats all",
    (Thing.WORDS, Verb.SEE): "/help",
}
_PRESSES = {Verb.STOP: "stop", Verb.REGENERATE: "regenerate", Verb.CONTINUE: "continue"}


@dataclass
class Guest:
    """Somebody with the page open; what the server says is read as it comes."""

    address: str
    session: aiohttp.ClientSession
    socket: aiohttp.ClientWebSocketResponse
    id: str = ""
    heard: list[dict[str, Any]] = field(default_factory=list)
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    async def says(self, kind: str, **fields: object) -> str:
        client_id = f"c{next(self.numbers)}"
        await self.socket.send_json({"type": kind, "client_id": client_id, **fields})
        return client_id

    async def uploads(self) -> str:
        """Uploads a picture; its id, or the sentence that says why not."""
        form = aiohttp.FormData()
        form.add_field("picture", b"no picture", filename="a.png")
        async with self.session.post(self.address + "upload", data=form) as response:
            body = await response.json()
        return str(body["pictures"][0]["id"] if response.status == 200 else body["sentence"])

    async def listen(self) -> None:
        async for message in self.socket:
            heard = message.json()
            if heard["type"] != "post" or self.id in (heard["post"]["author"], heard["post"]["asker"]):
                self.heard.append(heard)

    def posts(self) -> list[dict[str, Any]]:
        """The states of posts, newest first."""
        return [each["post"] for each in reversed(self.heard) if each["type"] == "post"]

    def words(self, since: int) -> list[str]:
        return [text for each in self.heard[since:] for text in _words(each)]


def _words(message: dict[str, Any]) -> Sequence[str]:
    match message:
        case {"type": "rejected" | "error" | "said", "sentence": sentence}:
            return [sentence]
        case {"type": "settings", "sentence": sentence, "refused": True}:
            return [sentence]
        case {"type": "notice", "post": post}:
            return [post["html"], post["failure"], *(each["name"] for each in post["attachments"])]
    return []


class OnThePage(World):
    server: WebServer
    posts: MemoryPosts
    address: str
    stack: AsyncExitStack
    tasks: asyncio.TaskGroup
    says_that_it_is_stopped = False

    async def person(self, actor: Actor) -> Guest:
        session = await self.stack.enter_async_context(browser_session())
        async with session.get(self.address) as response:
            await response.read()
        socket = await self.stack.enter_async_context(session.ws_connect(self.address + "ws"))
        guest = Guest(self.address, session, socket)
        hello = await socket.receive_json()
        guest.id = hello["person"]
        self.tasks.create_task(guest.listen())
        return guest

    async def leave(self, person: Guest) -> None:
        await person.session.close()

    def id_of(self, person: Guest) -> str:
        return person.id

    def state(self, rule: Rule, people: Any, thing: Any) -> object:
        match rule.thing:
            case Thing.UPLOAD:
                return [each.id for each in self.server._uploads._waiting.values() if each.person in people]
            case Thing.NAME:
                return [self.posts._names.get(person) for person in people]
        return super().state(rule, people, thing)

    async def prepared(self, rule: Rule, owner: Guest) -> Any:
        match rule.thing, rule.verb:
            case Thing.ANSWER, Verb.STOP:
                return await self._answer(owner, "slow", lambda post: post["growing"] and "word" in post["html"])
            case Thing.ANSWER, _:
                return await self._answer(owner, "count", lambda post: "continue" in post["actions"])
            case _, Verb.RESET:
                await self._answer(owner, "hello", lambda post: "regenerate" in post["actions"])
            case _, Verb.ERASE:
                await self.storage.set_preferences(owner.id, {"temperature": "0.4"})
            case _, Verb.REMOVE:
                return await owner.uploads()
        return None

    async def _answer(self, owner: Guest, text: str, ready: Any) -> str:
        await owner.says("message", text=text, pictures=[])
        while True:
            for post in owner.posts():
                if post["asker"] == owner.id and ready(post):
                    await self.recorded(CHAT, post["id"])
                    return str(post["id"])
            await asyncio.sleep(0.01)

    async def act(self, rule: Rule, person: Guest, thing: Any) -> Attempt:
        since, more = len(person.heard), ""
        match rule.thing, rule.verb:
            case Thing.ANSWER, verb:
                await person.says("action", action=_PRESSES[verb], message_id=thing)
            case Thing.SETTINGS, Verb.CHANGE:
                await person.says("setting", name="temperature", value="0.3")
            case Thing.NAME, _:
                await person.says("name", name=f"Somebody {next(self.numbers)}")
            case Thing.UPLOAD, Verb.ADD:
                more = await person.uploads()
            case Thing.UPLOAD, _:
                await person.says("drop", picture=thing)
            case key:
                client_id = await person.says("message", text=_TEXTS[key], pictures=[])
                return _Posting(person, since, client_id).attempt()
        return Attempt(lambda: [more, *person.words(since)])


@dataclass
class _Posting:
    """A message that everybody sees as a post, unless it is refused."""

    person: Guest
    since: int
    client_id: str

    def attempt(self) -> Attempt:
        return Attempt(self.words)

    def words(self) -> list[str]:
        words = self.person.words(self.since)
        rejected = any(each["type"] == "rejected" for each in self.person.heard[self.since :])
        mine = [post for post in self.person.posts() if post["author"] == self.person.id]
        shown = [post for post in mine if post["client_id"] == self.client_id]
        assert not (rejected and shown), "it was refused, and shown to everybody"
        return words


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    async with (
        a_bot(folder) as (bot, storage, allowed, owners, inference),
        Outboxes(phrases=phrases()) as outboxes,
        AsyncExitStack() as stack,
    ):
        posts = MemoryPosts()
        server = WebServer(
            bot=bot,
            outboxes=outboxes,
            record=storage,
            inbox=storage,
            phrases=phrases(),
            posts=posts,
            panel=PreferencesPanel(bot),
            info=lambda: inference.info,
            port=0,
            keeps=bot.account.privacy.keeps,
        )
        address = await stack.enter_async_context(server.serving())
        async with asyncio.TaskGroup() as tasks:
            made = OnThePage(bot, storage, allowed, owners)
            made.server, made.posts, made.address, made.tasks = server, posts, address, tasks
            async with AsyncExitStack() as made.stack:
                yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return await tried_out(world(tmp_path_factory.mktemp("page")), Platform.PAGE)


@pytest.mark.parametrize("case", on(Platform.PAGE), ids=name_of)
async def test_the_table_holds(results: Results, case: Case) -> None:
    results.check(case)

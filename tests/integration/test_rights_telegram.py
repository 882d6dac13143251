"""The table of rights on Telegram, over the wire-level server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from adapters.app import phrases
from adapters.delivery.outbox import Outboxes
from adapters.telegram.client.addresses import Destination
from adapters.telegram.platform import serving
from bots.access.rights import Actor, Platform, Rule, Thing, Verb
from config.settings import TelegramSettings
from tests.integration.telegram_parts import QUICK, answer_to
from tests.rights import Attempt, Case, Results, World, a_bot, name_of, on, tried_out
from tests.servers.telegram import TOKEN, TelegramServer, telegram, until
from tests.servers.telegram_people import Person
from tests.servers.telegram_world import ME, Chat, Message

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

_BOT = int(str(ME["id"]))
_TEXTS = {
    (Thing.CONVERSATION, Verb.ASK): "hello",
    (Thing.CONVERSATION, Verb.RESET): "/reset",
    (Thing.SETTINGS, Verb.SEE): "/settings",
    (Thing.SETTINGS, Verb.CHANGE): "/temperature 0.3",
    (Thing.DATA, Verb.SEE): "/privacy",
    (Thing.DATA, Verb.EXPORT): "/privacy export",
    (Thing.DATA, Verb.ERASE): "/privacy erase now",
    (Thing.LINK, Verb.CHANGE): "/link",
    (Thing.USAGE, Verb.SEE): "/stats",
    (Thing.EVERYBODY, Verb.SEE): "/stats all",
    (Thing.WORDS, Verb.SEE): "/help",
}


@dataclass
class Place:
    """A message of the bot's in a group."""

    chat: Chat
    message: Message


class OnTelegram(World):
    server: TelegramServer

    async def person(self, actor: Actor) -> Person:
        return self.server.person(actor.name.title(), next(self.numbers))

    def id_of(self, person: Person) -> str:
        return f"telegram:{person.user['id']}"

    async def prepared(self, rule: Rule, owner: Person) -> Place | None:
        match rule.thing, rule.verb:
            case Thing.ANSWER, Verb.STOP:
                return await self._answer(owner, "slow", lambda answer: "word" in answer.text)
            case Thing.ANSWER, _:
                return await self._answer(owner, "count", lambda answer: "Continue" in answer.buttons)
            case Thing.PANEL, _:
                group = self.server.group()
                return Place(group, await answer_to(owner.says("/settings@party_bot", group), group))
            case _, Verb.RESET:
                await answer_to(owner.says("hello"), owner.private)
            case _, Verb.ERASE:
                await self.storage.set_preferences(self.id_of(owner), {"temperature": "0.4"})
        return None

    async def _answer(self, owner: Person, text: str, ready: Any) -> Place:
        group = self.server.group()
        answer = await answer_to(owner.says(f"@party_bot {text}", group), group, over=False)
        await until(lambda: ready(answer))
        await self.recorded(Destination(_BOT, group.id).chat, str(answer.id))
        return Place(group, answer)

    async def act(self, rule: Rule, person: Person, thing: Place | None) -> Attempt:
        if thing is not None:
            label = {Verb.STOP: "Stop", Verb.REGENERATE: "Regenerate", Verb.CONTINUE: "Continue"}.get(rule.verb)
            query = person.presses(thing.message, label or "precise", thing.chat)
            toasts = self.server.world.toasts
            return Attempt(
                lambda: [text for name, text in toasts if name == query],
                lambda: query not in self.server.world.queries,
            )
        asked = person.says(_TEXTS[rule.thing, rule.verb])

        def words() -> list[str]:
            own = [each for each in person.private.messages if each.is_own and each.id > asked.id]
            return [each.file[0] if each.file else each.text for each in own]

        return Attempt(words)


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    async with a_bot(folder) as (bot, storage, allowed, owners, _), telegram() as server:
        settings = TelegramSettings.model_validate({"token": TOKEN, "api_base": server.address} | QUICK)
        async with Outboxes(phrases=phrases()) as outboxes, serving(settings, bot, storage, outboxes):
            made = OnTelegram(bot, storage, allowed, owners)
            made.server = server
            yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return await tried_out(world(tmp_path_factory.mktemp("telegram")), Platform.TELEGRAM)


@pytest.mark.parametrize("case", on(Platform.TELEGRAM), ids=name_of)
async def test_the_table_holds(results: Results, case: Case) -> None:
    results.check(case)

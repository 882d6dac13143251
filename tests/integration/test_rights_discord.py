"""The table of rights on Discord, over the wire-level server."""

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
from adapters.discord.platform import serving
from bots.access.rights import Actor, Platform, Rule, Thing, Verb
from config.settings import DiscordSettings
from tests.integration.discord_parts import labels
from tests.rights import Attempt, Case, Results, World, a_bot, name_of, on, tried_out
from tests.servers.discord import TOKEN, DiscordServer
from tests.servers.discord_people import Interaction, Person
from tests.servers.discord_world import Room

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

_PERMISSIONS = {Actor.MODERATOR: 1 << 13, Actor.ADMIN: 1 << 5}
_BUTTONS = {
    (Thing.ANSWER, Verb.STOP): "Stop",
    (Thing.ANSWER, Verb.REGENERATE): "Regenerate",
    (Thing.ANSWER, Verb.CONTINUE): "Continue",
    (Thing.REASONING, Verb.OPEN): "Show thinking",
}
_COMMANDS: dict[tuple[Thing, Verb], tuple[str, dict[str, Any]]] = {
    (Thing.CONVERSATION, Verb.RESET): ("reset", {}),
    (Thing.SETTINGS, Verb.SEE): ("settings show", {}),
    (Thing.SETTINGS, Verb.CHANGE): ("settings temperature", {"value": 0.3}),
    (Thing.DATA, Verb.SEE): ("privacy", {}),
    (Thing.DATA, Verb.EXPORT): ("privacy", {"argument": "export"}),
    (Thing.DATA, Verb.ERASE): ("privacy", {"argument": "erase now"}),
    (Thing.LINK, Verb.CHANGE): ("link", {}),
    (Thing.USAGE, Verb.SEE): ("stats", {}),
    (Thing.EVERYBODY, Verb.SEE): ("stats", {"argument": "all"}),
    (Thing.WORDS, Verb.SEE): ("help", {}),
    (Thing.SERVER, Verb.CHANGE): ("partyline limits", {"setting": "max_tokens", "highest": "50"}),
}


@dataclass
class Place:
    """A room, and the bot's message that it is about."""

    room: Room
    message: dict[str, Any] | None = None


class OnDiscord(World):
    discord: DiscordServer
    says_that_it_is_stopped = False

    async def person(self, actor: Actor) -> Person:
        return self.discord.person(f"{actor.name.title()}{next(self.numbers)}", _PERMISSIONS.get(actor, 0))

    def id_of(self, person: Person) -> str:
        return f"discord:{person.id}"

    def state(self, rule: Rule, people: Any, thing: Place) -> object:
        if rule.thing is Thing.SERVER:
            return self.storage._preferences.get(f"place:discord:{thing.room.guild}")
        return super().state(rule, people, thing)

    async def prepared(self, rule: Rule, owner: Person) -> Place:
        # Where the bot is no member, commands work as well, and a server of its own disturbs nobody else.
        elsewhere = {"guild": self.discord.new_id()} if rule.thing is Thing.SERVER else {}
        room = self.discord.room(f"room{next(self.numbers)}", **elsewhere)
        match rule.thing, rule.verb:
            case Thing.ANSWER, Verb.STOP:
                return await self._answer(room, owner, "slow", lambda message: "word" in message["content"])
            case Thing.ANSWER, Verb.FOLLOW:
                first = await self._answer(room, owner, "count", lambda message: "Continue" in labels(message))
                # Who goes on from there stands elsewhere by now.
                await self.storage.set_head(f"discord:{room.id}", self.id_of(owner), None)
                return first
            case Thing.ANSWER, _:
                return await self._answer(room, owner, "count", lambda message: "Continue" in labels(message))
            case Thing.REASONING, _:
                await self.storage.set_preferences(self.id_of(owner), {"thinking": "hide"})
                return await self._answer(room, owner, "sum", lambda message: "Show thinking" in labels(message))
            case _, Verb.RESET:
                await self._answer(room, owner, "hello", lambda message: "Regenerate" in labels(message))
            case _, Verb.ERASE:
                await self.storage.set_preferences(self.id_of(owner), {"temperature": "0.4"})
        return Place(room)

    async def _answer(self, room: Room, owner: Person, text: str, ready: Any) -> Place:
        await owner.says(room, f"@bot {text}")

        def found() -> dict[str, Any] | None:
            own = (each for each in room.messages if each["author"]["id"] == self.discord.bot["id"])
            return next((each for each in own if ready(each)), None)

        message = await self.discord.until(found)
        await self.recorded(f"discord:{room.id}", message["id"])
        return Place(room, message)

    async def act(self, rule: Rule, person: Person, thing: Place) -> Attempt:
        key, room = (rule.thing, rule.verb), thing.room
        if key == (Thing.CONVERSATION, Verb.ASK):
            asked = await person.says(room, "@bot hello")
            return Attempt(lambda: [each["content"] for each in room.messages if each["id"] > asked["id"]])
        if key in _COMMANDS:
            name, options = _COMMANDS[key]
            return _seen(await person.calls(room, name, **options))
        assert thing.message is not None
        if key in _BUTTONS:
            return _seen(await person.presses(room, thing.message, _BUTTONS[key]))
        return _seen(await person.chooses(room, "Continue from here", thing.message))


def _seen(used: Interaction) -> Attempt:
    def words() -> list[str]:
        return [text for each in used.private for text in (each["content"], *_names(each))]

    return Attempt(words, lambda: used.kind != 0)


def _names(message: dict[str, Any]) -> list[str]:
    return [str(file["filename"]) for file in message["attachments"]]


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    async with a_bot(folder) as (bot, storage, allowed, owners, _), DiscordServer().serving() as discord:
        discord.room()
        values = {"token": TOKEN, "api_base": discord.address, "gateway_url": discord.gateway, "together_s": 0.0}
        async with (
            Outboxes(phrases=phrases()) as outboxes,
            serving(bot, outboxes, storage, DiscordSettings.model_validate(values)),
        ):
            made = OnDiscord(bot, storage, allowed, owners)
            made.discord = discord
            yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return await tried_out(world(tmp_path_factory.mktemp("discord")), Platform.DISCORD)


@pytest.mark.parametrize("case", on(Platform.DISCORD), ids=name_of)
async def test_the_table_holds(results: Results, case: Case) -> None:
    results.check(case)

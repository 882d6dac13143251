"""Events of the gateway that are not as they should be: each costs nobody else anything."""

from __future__ import annotations

import copy
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.discord.inbound.events import DiscordEvent
from adapters.storage.memory.storage import MemoryStorage
from tests.integration.discord_parts import Party, party
from tests.servers.discord import DiscordServer
from tests.servers.discord_people import Interaction

_MISSING = object()
_ODD: tuple[Any, ...] = (None, "x", -1, 2**70, True, [], {}, [None], _MISSING)


def changed(event: Any) -> Iterator[Any]:
    """The same event with one thing in it that is none of what it should be, for each thing in it."""
    for path in paths(event):
        for odd in _ODD:
            made = copy.deepcopy(event)
            inner = made
            for step in path[:-1]:
                inner = inner[step]
            if odd is _MISSING:
                del inner[path[-1]]
            else:
                inner[path[-1]] = odd
            yield made


def paths(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*before, key)
        yield from paths(inner, (*before, key))


async def events(there: Party) -> list[tuple[str, Any]]:
    """One of each kind, as they really come."""
    room, server = there.room, there.discord
    session = server._sessions[0]
    before = len(session.sent)
    await there.ann.says(room, "@bot sum")
    answer = await there.answer()
    await there.ann.says(room, "and why?", to=answer)
    await there.answer()
    bob = server.person("Bob", permissions=1 << 13)
    await bob.calls(room, "help")
    pressed: Interaction = await bob.presses(room, answer, "Regenerate")
    await server.until(lambda: pressed.kind)
    await there.answer()
    await server.delete(room, answer["id"])
    thread = server.room("thread", kind=11, parent=room.id)
    await server.dispatch("THREAD_CREATE", server.channel_of(thread))
    await server.invite(thread)
    found = [(each["t"], each["d"]) for each in session.sent[before:]]
    found += [(each["t"], each["d"]) for each in session.sent if each["t"] in ("GUILD_CREATE",)]
    found += [
        ("MESSAGE_DELETE_BULK", {"ids": ["1", "2"], "channel_id": room.id, "guild_id": room.guild}),
        ("MESSAGE_UPDATE", dict(room.messages[-1]) | {"channel_id": room.id}),
        ("CHANNEL_UPDATE", server.channel_of(room)),
        ("GUILD_MEMBER_UPDATE", server.member(bob.user) | {"guild_id": room.guild}),
    ]
    return list({name: (name, data) for name, data in found}.values())


class Broken(MemoryStorage):
    """Once something is raised that nobody has foreseen."""

    broke = False

    async def answered(self, account: str, event_id: str) -> None:
        if event_id.endswith("/token") and not self.broke:
            self.broke = True
            raise RuntimeError("a defect")
        await super().answered(account, event_id)


@pytest.mark.timeout(60)
async def test_what_was_left_is_taken_up_whatever_fails_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.discord.platform._AGAIN_S", 0.01)
    storage = Broken()
    async with DiscordServer().serving() as discord:
        room, ann, account = discord.room(), discord.person("Ann"), f"discord:{discord.bot['id']}"
        asked = DiscordEvent(
            id=discord.new_id(), text="sum", channel=room.id, guild=room.guild, author=ann.id, name="Ann"
        )
        event = asked.received(account, time.time())
        await storage.receive([event, replace(event, id=f"{discord.new_id()}/token", payload="secret")])
        async with party(tmp_path, discord=discord, storage=storage) as p:
            assert "four" in (await p.answer(room))["content"]
            assert storage.broke


@pytest.mark.timeout(300)
async def test_an_odd_event_costs_nobody_else_anything(tmp_path: Path) -> None:
    async with party(tmp_path) as there:
        server = there.discord
        kinds = await events(there)
        assert {"MESSAGE_CREATE", "INTERACTION_CREATE", "MESSAGE_DELETE", "GUILD_CREATE"} <= {name for name, _ in kinds}
        elsewhere = server.room("elsewhere")
        await there.ann.says(elsewhere, "@bot slow")
        await server.until(lambda: there.answers(elsewhere))
        for name, event in kinds:
            for odd in (None, [], "x", 7, *changed(json.loads(json.dumps(event)))):
                await server._sessions[0].tell(name, odd)
            if name == "GUILD_CREATE":  # what a server is told to be, it is
                await server._sessions[0].tell(name, event)
        quiet = server.room("quiet")
        await there.ann.says(quiet, "@bot sum")
        assert "four" in (await there.answer(quiet))["content"]
        assert server.identified == [0]
        assert server.resumed == []
        assert there.answers(elsewhere)


async def test_commands_of_an_unknown_kind_are_one_line_each_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with party(tmp_path) as p:
        launched = await p.discord.interact(p.ann, p.room, 2, {"id": "1", "name": "play", "type": 4})
        await p.discord.until(lambda: launched.private)
        for options in ([], [{"name": "wibble", "type": 3, "value": "x", "focused": True}]):
            await p.discord.interact(p.ann, p.room, 4, {"id": "1", "name": "code", "type": 1, "options": options})
        await p.discord.interact(p.ann, p.room, 4, {"id": "1", "name": "wibble", "type": 1, "options": []})
        await p.ann.says(p.room, "@bot hello")
        await p.answer()
        assert len(p.answers()) == 1, "what is completed asks for nothing"
    assert "unknown kind" in caplog.text
    assert not any(record.exc_info for record in caplog.records if record.levelno >= logging.INFO)

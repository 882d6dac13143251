"""What people wrote on Discord while the bot was down, in places where nobody had spoken to it before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.discord.inbound.guild_state import GuildState
from tests.integration.discord_parts import Party, is_complete, party
from tests.servers.discord import DiscordServer
from tests.servers.discord_world import FORUM, PRIVATE_THREAD, PUBLIC_THREAD, VOICE, Room

_DAY_S = 86_400.0


def channel(discord: DiscordServer) -> Room:
    return discord.room("new")


def public_thread(discord: DiscordServer) -> Room:
    return discord.room("talk", kind=PUBLIC_THREAD, parent=discord.room("above").id, owner="7")


def private_thread(discord: DiscordServer) -> Room:
    return discord.room("secret", kind=PRIVATE_THREAD, parent=discord.room("above").id, owner="7", invited=True)


def forum_post(discord: DiscordServer) -> Room:
    return discord.room("How?", kind=PUBLIC_THREAD, parent=discord.room("help", kind=FORUM).id, owner="7")


def voice_channel(discord: DiscordServer) -> Room:
    return discord.room("lounge", kind=VOICE)


def channel_of_a_server_that_let_it_in_meanwhile(discord: DiscordServer) -> Room:
    return discord.room("abroad", guild=discord.join())


def thread_that_was_archived_meanwhile(discord: DiscordServer) -> Room:
    discord.clock_s = 7200.0
    return public_thread(discord)


def private_thread_that_was_archived_meanwhile(discord: DiscordServer) -> Room:
    discord.clock_s = 7200.0
    return private_thread(discord)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.discord.inbound.catch_up._PAUSE_S", 0.0)


async def was_up(folder: Path, discord: DiscordServer, **settings: Any) -> Party:
    """The bot has run once, and nobody has spoken to it."""
    async with party(folder, discord=discord, **settings) as up:
        await until_it_knows(up)
    return up


async def until_it_knows(p: Party) -> None:
    """Waits until the bot has stored that it has heard everything."""
    while not (await GuildState(p.storage).last_seen(f"discord:{p.discord.bot['id']}")).until:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "place",
    [
        channel,
        public_thread,
        private_thread,
        forum_post,
        voice_channel,
        channel_of_a_server_that_let_it_in_meanwhile,
        thread_that_was_archived_meanwhile,
        private_thread_that_was_archived_meanwhile,
    ],
    ids=lambda place: place.__name__,
)
async def test_a_question_in_a_new_place_is_answered_once(
    tmp_path: Path, place: Callable[[DiscordServer], Room], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with DiscordServer().serving() as discord:
        up = await was_up(tmp_path, discord)
        room = place(discord)
        await up.ann.says(room, "@bot meanwhile")
        if "archived" in place.__name__:
            discord.archive(room)
            down_for(monkeypatch, discord.clock_s)
        for _ in range(2):
            async with party(tmp_path, discord=discord, storage=up.storage) as p:
                assert (await p.answer(room))["content"].startswith("meanwhile")
                await p.ann.says(p.room, "@bot live")
                assert (await p.answer())["content"].startswith("live")
        assert len(up.answers(room)) == 1


def down_for(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """The bot's clock goes on by as much as Discord's has."""
    import datetime

    from discord import utils

    real = utils.utcnow
    monkeypatch.setattr("discord.utils.utcnow", lambda: real() + datetime.timedelta(seconds=seconds))


async def test_what_was_said_before_it_was_ever_there_is_left_alone(tmp_path: Path) -> None:
    async with DiscordServer().serving() as discord:
        ann, room = discord.person("Ann"), discord.room()
        await ann.says(room, "@bot before")
        async with party(tmp_path, discord=discord) as p:
            await until_it_knows(p)
            await ann.says(room, "@bot live")
            assert (await p.answer(room))["content"].startswith("live")
            assert len(p.answers(room)) == 1


async def test_what_was_said_before_it_was_let_in_is_left_alone(tmp_path: Path) -> None:
    async with DiscordServer().serving() as discord:
        up = await was_up(tmp_path, discord)
        guild = discord.new_id()
        room = discord.room("abroad", guild=guild)
        await up.ann.says(room, "@bot before")
        discord.clock_s = 60.0
        discord.guilds.append(guild)
        discord.joined[guild] = discord.time()
        discord.clock_s = 120.0
        await up.ann.says(room, "@bot after")
        async with party(tmp_path, discord=discord, storage=up.storage) as p:
            assert (await p.answer(room))["content"].startswith("after")
            assert len(p.answers(room)) == 1


async def test_what_is_older_than_a_day_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with DiscordServer().serving() as discord:
        up = await was_up(tmp_path, discord)
        room = discord.room("new")
        await up.ann.says(room, "@bot old")
        discord.clock_s = _DAY_S + 60
        down_for(monkeypatch, discord.clock_s)
        await up.ann.says(room, "@bot fresh")
        async with party(tmp_path, discord=discord, storage=up.storage) as p:
            assert (await p.answer(room))["content"].startswith("fresh")
            assert len(p.answers(room)) == 1


async def test_nobody_is_answered_who_did_not_ask(tmp_path: Path) -> None:
    async with DiscordServer().serving() as discord:
        up = await was_up(tmp_path, discord)
        room = discord.room("new")
        await up.ann.says(room, "what does the bot think?")
        await up.ann.says(room, "@bot you there?")
        async with party(tmp_path, discord=discord, storage=up.storage) as p:
            assert (await p.answer(room))["content"].startswith("you there?")
            assert len(p.answers(room)) == 1


async def test_where_it_may_not_read_it_does_not_ask(tmp_path: Path) -> None:
    async with DiscordServer().serving() as discord:
        up = await was_up(tmp_path, discord)
        hidden, silent, allowed = (discord.room(name) for name in ("hidden", "silent", "new"))
        hidden.forbidden.add("view")
        silent.forbidden.add("history")
        for room in (hidden, silent, allowed):
            await up.ann.says(room, "@bot meanwhile")
        async with party(tmp_path, discord=discord, storage=up.storage) as p:
            await p.answer(allowed)
            read = [call.path for call in discord.calls if call.method == "GET"]
            assert not any(room.id in path for room in (hidden, silent) for path in read)


async def test_without_the_intent_for_contents_a_mention_in_a_new_place_is_answered(tmp_path: Path) -> None:
    discord = DiscordServer()
    discord.refused_intents = 1 << 15
    async with discord.serving():
        up = await was_up(tmp_path, discord)
        room = discord.room("new")
        await up.ann.says(room, "not readable")
        await up.ann.says(room, "@bot meanwhile")
        async with party(tmp_path, discord=discord, storage=up.storage) as p:
            assert (await p.answer(room))["content"].startswith("meanwhile")


async def test_a_role_that_lets_somebody_in_counts_for_what_was_missed(tmp_path: Path) -> None:
    async with DiscordServer().serving() as discord:
        role = discord.role("friends")
        up = await was_up(tmp_path, discord, roles=[role])
        room, bob = discord.room("new"), discord.person("Bob")
        up.ann.roles.append(role)
        await bob.says(room, "@bot from outside")
        await up.ann.says(room, "@bot from inside")
        async with party(tmp_path, discord=discord, storage=up.storage, roles=[role]) as p:
            assert (await p.answer(room))["content"].startswith("from inside")
            assert len(p.answers(room)) == 1


async def test_a_fault_while_the_roles_are_looked_up_is_no_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.discord.inbound.catch_up._RETRIES_S", (0.01, 0.01))
    async with DiscordServer().serving() as discord:
        role = discord.role("friends")
        up = await was_up(tmp_path, discord, roles=[role])
        up.ann.roles.append(role)
        rooms = [discord.room("one"), discord.room("two")]
        for room in rooms:
            await up.ann.says(room, "@bot from inside")
        discord.breaks = ["/members/"] * 2
        async with party(tmp_path, discord=discord, storage=up.storage, roles=[role]) as p:
            for room in rooms:
                assert (await p.answer(room))["content"].startswith("from inside")
                assert len(p.answers(room)) == 1
            assert discord.breaks == []


async def test_what_was_seen_live_while_it_was_looked_for_is_answered_once(tmp_path: Path) -> None:
    async with DiscordServer().serving() as discord:
        up = await was_up(tmp_path, discord)
        rooms = [discord.room(str(number)) for number in range(5)]
        for room in rooms:
            await up.ann.says(room, "@bot meanwhile")
        sessions = len(discord.identified)

        async def speak_at_once() -> None:
            await discord.until(lambda: len(discord.identified) > sessions)
            for room in rooms:
                await discord.person("Bob").says(room, "@bot live")

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(speak_at_once())
            async with party(tmp_path, discord=discord, storage=up.storage) as p:
                await discord.until(lambda: sum(is_complete(each) for room in rooms for each in p.answers(room)) == 10)
                assert [len(p.answers(room)) for room in rooms] == [2] * 5


async def test_a_lost_session_is_no_loss_in_a_new_place(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        await until_it_knows(p)
        p.discord.forgets = True
        await p.discord.close_connections()
        room = p.discord.room("new")
        await p.ann.says(room, "@bot two")
        assert (await p.answer(room))["content"].startswith("two")
        assert p.discord.identified == [0, 0]


async def test_a_fault_while_it_is_read_is_no_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.discord.inbound.catch_up._RETRIES_S", (0.01, 0.01))
    async with DiscordServer().serving() as discord:
        up = await was_up(tmp_path, discord)
        room = discord.room("new")
        await up.ann.says(room, "@bot meanwhile")
        discord.broken_reads = 2
        async with party(tmp_path, discord=discord, storage=up.storage) as p:
            assert (await p.answer(room))["content"].startswith("meanwhile")
            assert discord.broken_reads == 0


async def test_a_server_that_comes_back_late_is_read_too(tmp_path: Path) -> None:
    async with DiscordServer().serving() as discord:
        up = await was_up(tmp_path, discord)
        guild = discord.join()
        room = discord.room("abroad", guild=guild)
        await up.ann.says(room, "@bot meanwhile")
        discord.in_trouble.add(guild)
        async with party(tmp_path, discord=discord, storage=up.storage) as p:
            await p.ann.says(p.room, "@bot live")
            await p.answer()
            discord.in_trouble.clear()
            await discord.dispatch("GUILD_CREATE", discord.guild_now(guild) | {"unavailable": False})
            assert (await p.answer(room))["content"].startswith("meanwhile")


async def test_each_shard_reads_its_own_new_places(tmp_path: Path) -> None:
    discord = DiscordServer()
    discord.shards = 2
    while len({discord.shard_of(guild) for guild in discord.guilds}) < 2:
        discord.join()
    async with discord.serving():
        async with party(tmp_path, discord=discord) as up:
            await until_it_knows(up)
        of_shards = {discord.shard_of(guild): guild for guild in discord.guilds}
        rooms = [discord.room("new", guild=guild) for guild in of_shards.values()]
        for room in rooms:
            await up.ann.says(room, "@bot meanwhile")
        async with party(tmp_path, discord=discord, storage=up.storage) as p:
            for room in rooms:
                assert (await p.answer(room))["content"].startswith("meanwhile")
        assert [len(up.answers(room)) for room in rooms] == [1, 1]

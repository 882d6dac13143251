"""A bot on so many servers that Discord wants several connections of it."""

from __future__ import annotations

from pathlib import Path

from tests.integration.discord_parts import party
from tests.servers.discord import DiscordServer


async def test_every_shard_has_a_connection_of_its_own(tmp_path: Path) -> None:
    discord = DiscordServer()
    discord.shards, discord.identify_every_s = 2, 5.0
    while len({discord.shard_of(guild) for guild in discord.guilds}) < 2:
        discord.guilds.append(discord.new_id())
    rooms = {discord.shard_of(guild): discord.room(guild=guild) for guild in discord.guilds}
    async with discord.serving(), party(tmp_path, discord=discord) as p:
        await discord.until(lambda: discord.identified == [0, 1])
        direct = discord.direct(p.ann)
        for room in (*rooms.values(), direct):
            await p.ann.says(room, "@bot hello")
        for room in (*rooms.values(), direct):
            assert (await p.answer(room))["content"].startswith("hello")

        await discord.close_connections(shard=1)
        for room in rooms.values():
            await p.ann.says(room, "@bot again")
        await discord.until(lambda: all(len(p.answers(room)) == 2 for room in rooms.values()))
        for room in rooms.values():
            assert (await p.answer(room))["content"].startswith("again")
        assert (discord.identified, discord.resumed) == ([0, 1], [1])

        discord.forgets = True
        await discord.close_connections(shard=1)
        await p.ann.says(rooms[1], "@bot missed")
        await discord.until(lambda: len(p.answers(rooms[1])) == 3)
        assert (await p.answer(rooms[1]))["content"].startswith("missed")
        assert discord.identified == [0, 1, 1]
        assert discord.too_early == 0

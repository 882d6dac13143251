"""The connection to a Discord that comes and goes."""

from __future__ import annotations

import asyncio
import socket

from adapters.discord.client.connection import Connection
from tests.servers.discord import TOKEN, DiscordServer


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


async def test_it_tries_again_until_discord_is_there() -> None:
    discord, tries = DiscordServer(), asyncio.Event()
    discord.port = free_port()
    api = f"{discord.address}/api/v10"
    connection = Connection(token=TOKEN, api=api, gateway="", equip=lambda client: tries.set())
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(connection.run())
        await asyncio.sleep(0.1)
        assert not tries.is_set()
        async with discord.serving():
            await discord.until(lambda: discord.identified)
            assert tries.is_set()
            running.cancel()


async def test_a_token_that_is_not_known_ends_it() -> None:
    async with DiscordServer().serving() as discord:
        connection = Connection(
            token="another", api=f"{discord.address}/api/v10", gateway="", equip=lambda client: None
        )
        await connection.run()
        assert connection.refused.is_set()

"""What one call to a platform costs the process: `python -m benchmarks.calls`, processor time, not waiting.

A message of some length is edited again and again on the servers of the tests, which run in a process of their own:
on Telegram by httpx and by the quicker requests, on Discord, each from the frame to the response. `--profile FILE`
writes what cProfile sees of the quicker ones.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import multiprocessing
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from multiprocessing.connection import Connection
from typing import Any

import discord

from adapters.delivery.channel import Channel, Frame
from adapters.discord.client.addresses import api_address, bind
from adapters.discord.client.rest import RestClient
from adapters.discord.outbound.channel import DiscordChannel, Echoes
from adapters.discord.outbound.channel import limits as discord_limits
from adapters.telegram.client.addresses import Destination
from adapters.telegram.client.transport import BotApiRequest
from adapters.telegram.outbound.channel import Sightings, TelegramChannel
from adapters.telegram.outbound.channel import limits as telegram_limits
from adapters.telegram.platform import bot_api
from benchmarks.answers import ANSWER
from bots.messages import Action
from config.settings import TelegramSettings
from tests.servers.discord import TOKEN as DISCORD_TOKEN
from tests.servers.discord import DiscordServer
from tests.servers.telegram import TOKEN as TELEGRAM_TOKEN
from tests.servers.telegram import TelegramServer

CALLS, ROUNDS, LENGTH = 300, 3, 600


def _serve_telegram(told: Connection) -> None:
    async def main() -> None:
        server = TelegramServer()
        await server.start()
        told.send((server.address, server.person().private.id))
        await asyncio.Event().wait()

    asyncio.run(main())


def _serve_discord(told: Connection) -> None:
    async def main() -> None:
        server = DiscordServer()
        async with server.serving():
            told.send((server.address, server.gateway, server.room().id))
            await asyncio.Event().wait()

    asyncio.run(main())


@asynccontextmanager
async def telegram(*, quick: bool) -> AsyncIterator[Channel]:
    async with _serving(_serve_telegram) as (address, chat_id):
        settings = TelegramSettings.model_validate({"token": TELEGRAM_TOKEN, "api_base": address})
        here, calls = Destination(4711, chat_id), BotApiRequest(256)
        if quick:
            await calls.hasten()
        async with bot_api(settings, calls, BotApiRequest(1)) as api:
            yield TelegramChannel(api, here, telegram_limits(here, 0.01, 0.01), Sightings())


@asynccontextmanager
async def on_discord() -> AsyncIterator[Channel]:
    async with (
        _serving(_serve_discord) as (address, gateway, room),
        discord.Client(intents=discord.Intents.none()) as client,
    ):
        bind(api_address(address), gateway)
        await client.login(DISCORD_TOKEN)
        yield DiscordChannel(RestClient(client), room, discord_limits("discord:1"), Echoes())


@asynccontextmanager
async def _serving(target: Callable[[Connection], None]) -> AsyncIterator[tuple[Any, ...]]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=target, args=(theirs,), daemon=True)
    process.start()
    try:
        yield await asyncio.to_thread(ours.recv)
    finally:
        process.kill()
        process.join()


async def cost_s(channel: Channel, profile: cProfile.Profile | None = None) -> float:
    """Processor seconds of one edit, the median of some rounds."""
    text = (ANSWER * (LENGTH // len(ANSWER) + 1))[:LENGTH]
    message = await channel.send(Frame(markdown="Hello"), reply_to=None, nonce="1")
    number, used = 0, []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(CALLS):
            number += 1
            frame = Frame(markdown=f"{text} {number}", growing=True, actions=(Action.STOP,))
            channel.measure(frame)
            if profile:
                profile.enable()
            await channel.edit(message, frame)
            if profile:
                profile.disable()
        used.append((time.process_time() - began) / CALLS)
    return statistics.median(used)


async def measured(profile: str) -> None:
    ways: dict[str, Callable[[], AbstractAsyncContextManager[Channel]]] = {
        "Telegram, httpx": lambda: telegram(quick=False),
        "Telegram, quicker": lambda: telegram(quick=True),
        "Discord": on_discord,
    }
    for name, way in ways.items():
        async with way() as channel:
            print(f"{name}: {1000 * await cost_s(channel):.2f} ms of processor time for an edit", flush=True)
    if profile:
        seen = cProfile.Profile()
        async with telegram(quick=True) as channel:
            await cost_s(channel, seen)
        seen.dump_stats(profile)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--profile", default="", metavar="FILE")
    asyncio.run(measured(options.parse_args().profile))
    return 0


if __name__ == "__main__":
    sys.exit(main())

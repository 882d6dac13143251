"""Three bots, one service, one database, and every part of them failing: nobody who asked notices more than a wait.

SEED=… makes the moments again, ROUNDS=… is how often each fault comes, FAULTS=… names a word of those that come.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet import fleet
from tests.fleet_people import Crowd, Pages
from tests.integration.test_kill import free_port
from tests.killing import nothing_is_left
from tests.lifecycle import Discord, Telegram
from tests.servers.discord import DiscordServer
from tests.servers.postgresql import Server
from tests.servers.telegram import telegram

SOAK = bool(os.environ.get("SOAK"))
ROUNDS = int(os.environ.get("ROUNDS") or (3 if SOAK else 1))
ON_TELEGRAM, ON_DISCORD, ON_PAGES = (11, 11, 13) if SOAK else (2, 2, 3)
LONGEST_AWAY_S = 58.0 if SOAK else 6.0
MOST = None if SOAK or "ROUNDS" in os.environ else 6
"""Another sample of the faults each time; all of them take minutes."""
SETTLED_WITHIN_S = float(os.environ.get("SETTLE") or 300)


@pytest.fixture
def server() -> Iterator[Server]:
    """Of its own: it is killed."""
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    server = Server(folder)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


async def _settled(crowd: Crowd, people: asyncio.Task[None], database: str) -> None:
    """Everybody has had every answer. Raises AssertionError: somebody waits for ever."""
    try:
        async with asyncio.timeout(SETTLED_WITHIN_S):
            await people
            await nothing_is_left(database)
    except TimeoutError:
        raise AssertionError("\n".join(["these wait for ever:", *crowd.waiting()])) from None


@pytest.mark.timeout(7200 if SOAK else 600)
async def test_a_fleet_of_which_every_part_fails(tmp_path: Path, server: Server) -> None:
    seed = int(os.environ.get("SEED") or random.randrange(10**6))
    print(f"seed {seed}")
    dice = random.Random(seed)
    async with DiscordServer().serving() as discord, telegram() as bot_api:
        on_telegram = Telegram(bot_api, dice, people=ON_TELEGRAM)
        on_discord = Discord(discord, dice, people=ON_DISCORD)
        platforms = [on_telegram.environment, on_discord.environment, {}]
        ports = tuple(free_port() for _ in range(4))
        async with fleet(tmp_path, server, platforms, ports, dice, LONGEST_AWAY_S) as parts:
            crowd = Crowd(on_telegram, on_discord, Pages(parts.bots, ports[1:], dice, ON_PAGES))
            await parts.start()
            async with asyncio.TaskGroup() as group:
                people = group.create_task(crowd.live())
                await parts.suffer(ROUNDS, os.environ.get("FAULTS", ""), MOST)
                crowd.finish()
                await _settled(crowd, people, parts.database)
            await parts.stop()
            deserted = [each for part in parts.parts for each in part.deserted]
            complaints = await crowd.complaints(parts.database)
    print(f"{crowd.asked} questions, {sum(parts.done.values())} faults {dict(sorted(parts.done.items()))}")
    print(f"the longest answer took {crowd.longest_s:.0f} s, the longest stop {max(parts.stops_s):.1f} s")
    assert deserted == []
    assert complaints == [], "\n".join(complaints)

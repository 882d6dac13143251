"""Stopped at any moment, politely or not: everything is answered once and whole. SEED=… makes the moments again."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.integration.test_kill import free_port
from tests.killing import Page, Program
from tests.lifecycle import Discord, Party, Telegram, outlives
from tests.servers.discord import DiscordServer
from tests.servers.postgresql import Server
from tests.servers.telegram import telegram

SOAK = bool(os.environ.get("SOAK"))
STOPS = 150 if SOAK else 7
LONGEST_S = 3.0
"""Two edits of a message on Discord are a second apart: who never lives longer would finish no answer."""


async def stop_and_check(folder: Path, database: str, stops: int) -> None:
    seed = int(os.environ.get("SEED") or random.randrange(10**6))
    print(f"seed {seed}")
    dice = random.Random(seed)
    async with DiscordServer().serving() as discord, telegram() as bot_api:
        party = Party(Page(free_port(), dice, people=2), Discord(discord, dice), Telegram(bot_api, dice))
        program = Program(folder, database, party.environment)
        done = await outlives(party, program, database, stops, dice, LONGEST_S)
    print(done.summary())


@pytest.mark.timeout(7200 if SOAK else 420)
async def test_stopped_over_sqlite(tmp_path: Path) -> None:
    await stop_and_check(tmp_path, str(tmp_path / "partyline.sqlite3"), STOPS)


@pytest.mark.timeout(7200 if SOAK else 420)
async def test_stopped_over_postgresql(tmp_path: Path, postgresql: Server) -> None:
    await stop_and_check(tmp_path, postgresql.new_database(), STOPS if SOAK else 4)

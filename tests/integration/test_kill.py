"""`kill -9` at any moment: nothing is lost and nothing is doubled. SEED=540116 makes the moments of that seed again."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.killing import Page, Program, survives
from tests.servers.postgresql import Server

SOAK = bool(os.environ.get("SOAK"))
KILLS = 300 if SOAK else 8


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


async def kill_and_check(folder: Path, database: str, kills: int) -> None:
    seed = int(os.environ.get("SEED") or random.randrange(10**6))
    print(f"seed {seed}")
    dice = random.Random(seed)
    page = Page(free_port(), dice)
    await survives(page, Program(folder, database, page.environment), database, kills, dice)


@pytest.mark.timeout(7200 if SOAK else 300)
async def test_killed_over_sqlite(tmp_path: Path) -> None:
    database = tmp_path / "partyline.sqlite3"
    await kill_and_check(tmp_path, str(database), KILLS)
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.timeout(7200 if SOAK else 300)
async def test_killed_over_postgresql(tmp_path: Path, postgresql: Server) -> None:
    address = postgresql.new_database()
    await kill_and_check(tmp_path, address, KILLS if SOAK else KILLS // 2)
    await asyncio.to_thread(postgresql.check, address)

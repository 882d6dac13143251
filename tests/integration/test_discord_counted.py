"""What is used while the database is away is counted once it is back, and counts in the quotas."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from adapters.storage.database.database import open_database
from adapters.storage.database.sqlite_backend import LocalDatabase
from adapters.storage.sql.storage import SqlStorage
from tests.integration.discord_parts import party

pytestmark = pytest.mark.timeout(60)
WORDS = 60
SLOW = {"match": "count me", "answer": " ".join(["word"] * WORDS), "tokens_per_s": 40}


async def test_an_answer_that_ends_while_the_database_is_away_is_counted(tmp_path: Path) -> None:
    async with open_database(str(tmp_path / "partyline.sqlite3")) as database:
        assert isinstance(database, LocalDatabase)
        storage = SqlStorage(database, "one")
        async with storage.behind.running(), party(tmp_path, SLOW, storage=storage) as p:
            await p.ann.says(p.room, "@bot count me")
            await p.discord.until(lambda: any("word" in each["content"] for each in p.answers()))
            _refuse_writes(database, refuse=True)
            answer = await p.answer()
            _refuse_writes(database, refuse=False)
            assert answer["content"].count("word") == WORDS
            async with asyncio.timeout(20):
                while await storage.unanswered(f"discord:{p.discord.bot['id']}"):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        usage = await storage.usage([f"discord:{p.ann.id}"], "")
    assert [(used.answers, used.tokens >= WORDS) for used in usage.values()] == [(1, True)]


def _refuse_writes(database: LocalDatabase, *, refuse: bool) -> None:
    with database.engine.connect() as connection:
        connection.exec_driver_sql(f"PRAGMA query_only = {'ON' if refuse else 'OFF'}")

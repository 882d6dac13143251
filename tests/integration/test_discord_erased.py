"""Who is erased on Discord leaves nothing behind, the id of the direct channel included; no quota begins anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select

from adapters.storage.database.database import Database, open_database
from adapters.storage.sql.storage import SqlStorage
from adapters.storage.sql.tables import metadata
from tests.integration.discord_parts import party

pytestmark = pytest.mark.timeout(60)
HELLO = {"match": "hello", "answer": "hello back"}
TABLES = {name: table for name, table in metadata.tables.items() if name != "processes"}


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(str(tmp_path / "partyline.sqlite3")) as opened:
        yield opened


async def tables_with(database: Database, *words: str) -> set[str]:
    """The names of the tables in which any of these words stand."""
    rows = await database.read(
        lambda connection: {name: repr(connection.execute(select(table)).all()) for name, table in TABLES.items()}
    )
    return {name for name, content in rows.items() if any(word in content for word in words)}


async def settled(storage: SqlStorage, account: str) -> None:
    async with asyncio.timeout(20):
        while await storage.unanswered(account):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("asked", ["by a command", "by a message"])
async def test_the_id_of_a_direct_channel_goes_too(database: Database, tmp_path: Path, asked: str) -> None:
    storage = SqlStorage(database, "one")
    async with storage.behind.running(), party(tmp_path, HELLO, storage=storage) as p:
        direct, bob = p.discord.direct(p.ann), p.discord.person("Bob")
        await p.ann.says(direct, "hello")
        await p.answer(direct)
        await bob.says(p.room, "@bot hello")
        await p.answer()
        account = f"discord:{p.discord.bot['id']}"
        await settled(storage, account)
        assert {"turns", "replies", "deliveries", "preferences"} <= await tables_with(database, direct.id)
        if asked == "by a command":
            used = await p.ann.calls(direct, "privacy", argument="erase now")
            await p.discord.until(lambda: used.private)
        else:
            await p.ann.says(direct, "/privacy erase now")
            await p.discord.until(lambda: len(p.answers(direct)) == 2)
        await settled(storage, account)
    assert await tables_with(database, direct.id, p.ann.id) == set()
    assert {"turns", "preferences"} <= await tables_with(database, p.room.id)

"""Writes that wait at once share one transaction, and neither order nor failure of one is felt by another."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import Connection, event, insert, select

from adapters.storage.database.database import open_database
from adapters.storage.database.sqlite_backend import LocalDatabase
from adapters.storage.errors import Locked, Taken
from adapters.storage.sql.storage import SqlStorage
from adapters.storage.sql.tables import heads
from bots.ports import Received, ReplyRecord, Turn
from tests.servers.postgresql import Server


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[LocalDatabase]:
    async with open_database(str(tmp_path / "partyline.sqlite3")) as database:
        assert isinstance(database, LocalDatabase)
        yield database


Work = Callable[[Connection], object]


def put(turn: str, person: str = "p") -> Work:
    row = {"chat": "c", "person": person, "turn_id": turn}
    return lambda connection: connection.execute(insert(heads), row)


class Crowd:
    """Callers that all wait while one write is being made."""

    def __init__(self, database: LocalDatabase) -> None:
        self.database = database
        self.begins = self.commits = 0
        event.listen(database.engine, "begin", self._begin)
        event.listen(database.engine, "commit", self._commit)

    def _begin(self, _: Connection) -> None:
        self.begins += 1

    def _commit(self, _: Connection) -> None:
        self.commits += 1

    async def write(self, *works: Work) -> list[object]:
        async with busy(self.database):
            waiting = [asyncio.ensure_future(self.database.write(work)) for work in works]
            await asyncio.sleep(0)
        return await asyncio.gather(*waiting, return_exceptions=True)


@asynccontextmanager
async def busy(database: LocalDatabase) -> AsyncIterator[None]:
    """A write is being made all the time."""
    begun, over = Event(), Event()

    def hold(_: Connection) -> None:
        begun.set()
        over.wait(10)

    async with asyncio.TaskGroup() as group:
        group.create_task(database.write(hold))
        await asyncio.to_thread(begun.wait, 10)
        yield
        over.set()


async def turns_of(database: LocalDatabase) -> list[str]:
    return list(await database.read(lambda connection: connection.scalars(select(heads.c.turn_id)).all()))


async def test_who_waits_at_once_waits_for_the_disk_once(database: LocalDatabase) -> None:
    crowd = Crowd(database)
    results = await crowd.write(*(put("t", f"p{n}") for n in range(20)))
    assert not any(isinstance(each, Exception) for each in results)
    assert crowd.commits == 2
    assert len(await turns_of(database)) == 20


async def test_who_fails_fails_alone(database: LocalDatabase) -> None:
    def broken(connection: Connection) -> None:
        raise LookupError

    results = await Crowd(database).write(put("first"), put("second"), broken, put("third", "other"))
    assert [type(each) for each in results if isinstance(each, Exception)] == [Taken, LookupError]
    assert sorted(await turns_of(database)) == ["first", "third"]


async def test_a_lock_is_waited_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.storage.database.database.BUSY_TIMEOUT_S", 0.05)
    path = tmp_path / "partyline.sqlite3"
    async with open_database(str(path)) as database:
        assert isinstance(database, LocalDatabase)
        crowd = Crowd(database)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            writes = [database.write(put("t", f"p{n}")) for n in range(20)]
            results = await asyncio.gather(*writes, return_exceptions=True)
    assert {type(each) for each in results} == {Locked}
    assert crowd.begins <= 2


async def test_who_gives_up_before_his_turn_writes_nothing(database: LocalDatabase) -> None:
    async with busy(database):
        given_up = asyncio.ensure_future(database.write(put("never")))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait([given_up])
    await database.write(put("kept", "other"))
    assert await turns_of(database) == ["kept"]


async def test_two_processes_that_keep_the_same_events_in_another_order_do_not_wait_in_a_circle(
    postgresql: Server,
) -> None:
    address = await asyncio.to_thread(postgresql.emptied)
    async with open_database(address) as one, open_database(address) as two:
        storages = SqlStorage(one, "one"), SqlStorage(two, "two")
        for round_ in range(5):
            events = [Received(account="bot", id=f"{round_}/{n}", chat="c", payload="{}") for n in range(16)]
            both = zip(storages, (events, events[::-1]), strict=True)
            async with asyncio.timeout(30):
                kept = await asyncio.gather(*(storage.receive([each]) for storage, order in both for each in order))
            assert sorted(each.id for new in kept for each in new) == sorted(each.id for each in events)


async def test_what_is_written_behind_shares_a_transaction_too(database: LocalDatabase) -> None:
    storage = SqlStorage(database)
    replies = [ReplyRecord(chat="c", event_id=f"e{n}", answer_id=f"a{n}", person="p") for n in range(8)]
    for reply in replies:
        await storage.claim(reply)
    crowd = Crowd(database)
    async with storage.behind.running(), asyncio.TaskGroup() as group:
        for n, reply in enumerate(replies):
            answer = Turn(id=reply.answer_id, chat="c", person="p", role="assistant", text="said")
            group.create_task(storage.end(reply, answer))
            group.create_task(storage.record_delivery("c", reply.answer_id, 0, f"m{n}"))
    assert crowd.commits <= 2
    assert [await storage.answer_at("c", f"m{n}") for n in range(8)] == [reply.answer_id for reply in replies]

"""Several processes over one database: what one takes on is its own, until it dies."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Connection, delete, select

from adapters.storage import leases
from adapters.storage.database.database import Database, open_database
from adapters.storage.database.sqlite_backend import LocalDatabase
from adapters.storage.errors import DatabaseAway, DatabaseFailure, Down, Locked
from adapters.storage.leases import LEASE_S, LeaseLost, Watch, hold_lease, new_process
from adapters.storage.sql.storage import SqlStorage
from adapters.storage.sql.tables import inbox
from adapters.storage.sql.tables import processes as table
from bots.conversation.ledger import left_behind
from bots.conversation.reply_claim import ReplyClaim
from bots.ports import Received, ReplyRecord, Turn
from inference.api import Interrupted
from tests.servers.postgresql import Server

REPLY = ReplyRecord(chat="c", event_id="e", answer_id="a", person="p")
TURN = Turn(id="a", chat="c", person="p", role="assistant", text="begun", state="streaming")
T = TypeVar("T")
EVENTS = 1000 if os.environ.get("SOAK") else 200


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "partyline.sqlite3")
    server: Server = request.getfixturevalue("postgresql")
    return server.new_database()


@pytest.fixture
async def database(address: str) -> AsyncIterator[Database]:
    async with open_database(address) as database:
        yield database


def received(number: int) -> Received:
    return Received(account="bot", id=f"e{number}", chat="c", payload="", received_at=float(number))


async def lease_lives(database: Database) -> set[str]:
    return set(await database.read(lambda connection: connection.scalars(select(table.c.id)).all()))


async def test_what_a_living_process_has_is_not_for_others(database: Database) -> None:
    one, two = SqlStorage(database, "one"), SqlStorage(database, "two")
    async with hold_lease(database, "one"), hold_lease(database, "two"):
        assert await one.claim(REPLY) == REPLY
        assert await two.claim(replace(REPLY, answer_id="b")) is None
        await one.receive([received(1)])
        assert await two.receive([received(1)]) == []
        assert await two.unanswered("bot") == await two.orphaned("bot") == []
        assert await one.unanswered("bot") == [received(1)]


async def test_what_a_dead_process_had_is_taken_over_by_one(database: Database) -> None:
    one = SqlStorage(database, "one")
    async with hold_lease(database, "one"):
        await one.claim(REPLY)
        await one.receive([received(2), received(1)])
    heirs = [SqlStorage(database, name) for name in ("two", "three")]
    async with hold_lease(database, "two"), hold_lease(database, "three"):
        batches = await asyncio.gather(*(heir.orphaned("bot") for heir in heirs))
        assert sorted(map(len, batches)) == [0, 2]
        claims = await asyncio.gather(*(heir.claim(replace(REPLY, answer_id="x")) for heir in heirs))
        assert sorted(claims, key=bool) == [None, REPLY]


async def test_a_process_that_was_thought_dead_writes_no_more(database: Database) -> None:
    one, two = SqlStorage(database, "one"), SqlStorage(database, "two")
    await one.claim(REPLY)
    await one.begin(replace(REPLY, state="streaming"), [TURN], "a")
    async with hold_lease(database, "two"):
        assert await two.claim(REPLY)
        await one.end(replace(REPLY, state="done", ending="{}"), replace(TURN, text="old"))
        await database.write(lambda connection: one._grow_texts(connection, [replace(TURN, text="old")]))
        assert await two.turn("a") == TURN


async def test_what_others_die_over_is_brought(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bots.conversation.ledger.LOOK_EVERY_S", 0.01)
    one, two = SqlStorage(database, "one"), SqlStorage(database, "two")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(hold_lease(database, "two"))
        async with hold_lease(database, "one"):
            await one.receive([received(1)])
            batches = left_behind(two, "bot")
            assert await anext(batches) == []
        assert await anext(batches) == [received(1)]
        await batches.aclose()


async def test_a_process_that_stood_still_for_too_long_ends(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "BEAT_S", 0.01)
    with pytest.RaisesGroup(LeaseLost):
        async with hold_lease(database, "one"):
            await database.write(lambda connection: connection.execute(delete(table)))
            await asyncio.Event().wait()


async def test_a_process_that_died_on_this_machine_is_noticed_at_once(database: Database) -> None:
    name = "from adapters.storage.leases import new_process; print(new_process())"
    gone = await asyncio.create_subprocess_exec(sys.executable, "-c", name, stdout=asyncio.subprocess.PIPE)
    out, _ = await gone.communicate()
    storage = SqlStorage(database, out.decode().strip())
    born = table.insert().values(id=out.decode().strip(), beat=5)
    await database.write(lambda connection: connection.execute(born))
    await storage.receive([received(1)])
    me = await asyncio.to_thread(new_process)
    async with hold_lease(database, me):
        assert await lease_lives(database) == {me}
        assert await SqlStorage(database, me).unanswered("bot") == [received(1)]
    assert await lease_lives(database) == set()


async def test_the_clock_of_the_wall_plays_no_part(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "BEAT_S", 0.01)
    monkeypatch.setattr("time.time", lambda: -1e9)
    async with hold_lease(database, "one"), hold_lease(database, "two"):
        async with asyncio.timeout(10):
            while True:
                beats = await database.read(lambda connection: connection.scalars(select(table.c.beat)).all())
                if min(beats) > 5:
                    break
                await asyncio.sleep(0.01)
        assert await lease_lives(database) == {"one", "two"}


def test_a_beat_that_stands_still_for_a_lease_is_a_death() -> None:
    watch = Watch()
    for second in range(int(LEASE_S)):
        assert watch.dead({"still": 3, "beating": second}, float(second)) == []
    assert watch.dead({"still": 3, "beating": 99}, LEASE_S) == ["still"]


def test_who_did_not_look_for_a_while_begins_to_watch_again() -> None:
    watch = Watch()
    assert watch.dead({"other": 3}, 0.0) == []
    assert watch.dead({"other": 3}, 1000.0) == []
    for second in range(1001, 1010):
        assert watch.dead({"other": 3}, float(second)) == []
    assert watch.dead({"other": 3}, 1010.0) == ["other"]


@pytest.mark.timeout(180)
async def test_events_that_come_to_two_processes_are_answered_once(address: str, tmp_path: Path) -> None:
    async with open_database(address):
        pass
    command = [sys.executable, "-m", "tests.integration.answering", address, str(EVENTS)]
    both = [await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE) for _ in range(2)]
    outputs = [await process.communicate() for process in both]
    answers = [json.loads(line) for out, _ in outputs for line in out.splitlines()]
    assert len(answers) == EVENTS
    assert dict(answers) == {f"e{n}": f"question {n}" for n in range(EVENTS)}
    assert all(out for out, _ in outputs), "each had its share"
    async with open_database(address) as database:
        assert await lease_lives(database) == set()


async def beats_of(database: Database) -> dict[str, int]:
    query = select(table.c.id, table.c.beat)
    rows = await database.beat(lambda connection: connection.execute(query).all())
    return {row.id: row.beat for row in rows}


async def beating(database: Database, times: int = 3) -> None:
    """Returns when everybody has shown so many beats more."""
    before = await beats_of(database)
    async with asyncio.timeout(30):
        while True:
            now = await beats_of(database)
            if all(beat >= before.get(name, 0) + times for name, beat in now.items()):
                return
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("busy", ["reading", "writing"])
async def test_heartbeats_wait_for_nothing_else(address: str, busy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also not for a write that a lock on a table holds up, and on PostgreSQL for reads that take long."""
    monkeypatch.setattr(leases, "BEAT_S", 0.01)
    over = threading.Event()

    def long(_: Connection) -> None:
        over.wait(30)

    async with open_database(address) as database, asyncio.TaskGroup() as group:
        if busy == "writing" and address.startswith("postgresql"):
            calls = [database.write(long)]
        else:
            calls = [database.read(long) for _ in range(8)]
        async with hold_lease(database, "one"), hold_lease(database, "two"):
            for call in calls:
                group.create_task(call)
                await asyncio.sleep(0.05)  # each in a thread of its own
            await beating(database)
            over.set()


async def test_a_heart_that_hangs_beats_by_another_connection(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "BEAT_S", 0.01)
    monkeypatch.setattr(leases, "BEAT_WITHIN_S", 0.2)
    over = threading.Event()
    async with hold_lease(database, "one"), asyncio.TaskGroup() as group:
        group.create_task(database.beat(lambda _: over.wait(30)))
        await asyncio.sleep(0.05)
        await beating(database)
        over.set()


async def test_who_was_locked_out_for_more_than_a_lease_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"BEAT_S": 0.05, "LEASE_S": 0.5, "BEAT_WITHIN_S": 0.1}.items():
        monkeypatch.setattr(leases, name, value)
    path = tmp_path / "p.sqlite3"
    async with open_database(str(path)) as database, hold_lease(database, "one"), hold_lease(database, "two"):
        await beating(database)
        lock = await asyncio.to_thread(sqlite3.connect, path, isolation_level=None, check_same_thread=False)
        await asyncio.to_thread(lock.execute, "BEGIN IMMEDIATE")
        await asyncio.sleep(2 * leases.LEASE_S)
        await asyncio.to_thread(lock.execute, "ROLLBACK")
        await asyncio.to_thread(lock.close)
        await beating(database)
        assert set(await beats_of(database)) == {"one", "two"}


class Deaf(Database):
    """A database that makes no heartbeat while there is trouble."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.trouble: Exception | None = None
        self.asked = 0

    async def beat(self, work: Callable[[Connection], T]) -> T:
        self.asked += 1
        if self.trouble is not None:
            raise self.trouble
        return await self._database.beat(work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await self._database.read(work)

    async def write(self, work: Callable[[Connection], T], *, single: bool = False) -> T:
        return await self._database.write(work, single=single)

    async def wipe(self) -> bool:
        return await self._database.wipe()

    async def asked_again(self, times: int = 3) -> None:
        """Returns when it was asked so many times more."""
        before = self.asked
        async with asyncio.timeout(30):
            while self.asked < before + times:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"BEAT_S": 0.05, "LEASE_S": 0.6, "BEAT_WITHIN_S": 0.1}.items():
        monkeypatch.setattr(leases, name, value)


def a_lease_passes() -> None:
    """And nothing of this process has a turn meanwhile."""
    time.sleep(leases.LEASE_S)


@pytest.mark.usefixtures("short_lease")
@pytest.mark.parametrize("trouble", [Down("It is down."), Locked("It is locked."), TimeoutError()], ids=repr)
async def test_who_stood_still_says_nothing_until_a_heartbeat_is_made(database: Database, trouble: Exception) -> None:
    """The others had time to take over before there was any trouble."""
    deaf = Deaf(database)
    async with hold_lease(deaf, "one") as lease:
        await beating(database)
        deaf.trouble = trouble
        a_lease_passes()
        telling = asyncio.ensure_future(lease.held())
        await deaf.asked_again()
        assert not telling.done()
        deaf.trouble = None
        async with asyncio.timeout(30):
            assert await telling


@pytest.mark.usefixtures("short_lease")
@pytest.mark.parametrize("trouble", [DatabaseAway("It is away."), Locked("It is locked."), TimeoutError()], ids=repr)
async def test_whose_heartbeats_do_not_get_through_says_nothing(database: Database, trouble: Exception) -> None:
    """Those of others may, and then they take over."""
    deaf = Deaf(database)
    async with hold_lease(deaf, "one") as lease:
        await beating(database)
        deaf.trouble = trouble
        await asyncio.sleep(leases.LEASE_S)
        telling = asyncio.ensure_future(lease.held())
        await deaf.asked_again()
        assert not telling.done()
        deaf.trouble = None
        async with asyncio.timeout(30):
            assert await telling


@pytest.mark.usefixtures("short_lease")
async def test_while_the_server_is_down_answers_go_on(database: Database) -> None:
    deaf = Deaf(database)
    async with hold_lease(deaf, "one") as lease:
        await beating(database)
        deaf.trouble = Down("It is down.")
        await asyncio.sleep(2 * leases.LEASE_S)
        async with asyncio.timeout(30):
            await lease.held()


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("postgresql://u@nowhere.invalid/x", DatabaseAway),
        ("postgresql://u@127.0.0.1:9/x", Down),
        ("postgresql://u@/x?host=/nowhere", Down),
    ],
)
async def test_no_way_to_a_server_is_no_server_that_is_down(address: str, kind: type[DatabaseFailure]) -> None:
    """Others may have a way, and take over."""
    with pytest.raises(DatabaseAway) as caught:
        async with open_database(address):
            pass
    assert type(caught.value) is kind


async def test_who_has_lost_its_lease_says_nothing_more(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while it closes, however short ago it was sure."""
    monkeypatch.setattr(leases, "BEAT_S", 0.01)
    all_leases = []
    with pytest.RaisesGroup(LeaseLost):
        async with hold_lease(database, "one") as lease:
            all_leases.append(lease)
            await beating(database)
            await database.write(lambda connection: connection.execute(delete(table)))
            await asyncio.Event().wait()
    telling = asyncio.ensure_future(all_leases[0].held())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not telling.done()
    telling.cancel()


async def test_a_neighbour_that_cannot_be_looked_at_is_not_taken_for_dead(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = await asyncio.to_thread(new_process)
    neighbour = me.rpartition("/")[0] + "/another"
    monkeypatch.setattr(leases, "_fields", lambda number: [])
    async with hold_lease(database, neighbour), hold_lease(database, me):
        assert await lease_lives(database) == {me, neighbour}


async def test_what_was_taken_over_is_neither_marked_nor_ended_by_the_one_that_lost_it(database: Database) -> None:
    one, two = SqlStorage(database, "one"), SqlStorage(database, "two")
    await one.receive([received(1)])
    entry = ReplyClaim(one, REPLY, new=True)
    entry.claim_soon()
    async with hold_lease(database, "two"):
        assert await two.orphaned("bot") == [received(1)]
        assert await two.claim(REPLY) == REPLY
        with pytest.raises(Interrupted):
            await entry.claimed()
        with pytest.raises(Interrupted):
            await one.begin(replace(REPLY, state="streaming"), [TURN], "a")
        await one.answered("bot", "e1")
        query = select(inbox.c.answered)
        assert await database.read(lambda connection: connection.scalars(query).all()) == [False]
        await two.answered("bot", "e1")
        assert await database.read(lambda connection: connection.scalars(query).all()) == [True]


async def test_a_mark_that_failed_is_made_later(tmp_path: Path) -> None:
    path = tmp_path / "p.sqlite3"
    async with open_database(str(path)) as database:
        storage = SqlStorage(database)
        await storage.receive([replace(received(1), payload="words", person="p")])
        async with storage.behind.running():
            assert isinstance(database, LocalDatabase)
            with database.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA query_only = ON")
            await storage.answered("bot", "e1")
            with database.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA query_only = OFF")
        query = select(inbox.c.answered, inbox.c.payload, inbox.c.person)
        assert await database.read(lambda connection: connection.execute(query).all()) == [(True, "", "")]

"""The database fails while answers are written: they go on, and what they said is kept when it is back."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, select

from adapters.storage.database.database import Database, open_database
from adapters.storage.database.sqlite_backend import READERS, LocalDatabase
from adapters.storage.errors import DatabaseFailure, WriteRefused
from adapters.storage.sql.storage import SqlStorage
from adapters.storage.sql.tables import replies
from bots.messages import Ended, TextDelta
from bots.ports import Received, Turn
from inference.serving.service import LocalInference
from tests.fakes import Chat, said, script, scripted_inference
from tests.servers.postgresql import Server

SLOW = {"match": "slow", "answer": " ".join(f"word{n}" for n in range(200)), "tokens_per_s": 200}
AWAY_S = 30.0 if os.environ.get("SOAK") else 2.0


@pytest.fixture
async def inference(tmp_path: Path) -> AsyncIterator[LocalInference]:
    async with scripted_inference(script(tmp_path, SLOW)) as inference:
        yield inference


def on_every_connection(database: Database, statement: str) -> None:
    assert isinstance(database, LocalDatabase)
    with ExitStack() as stack:
        for _ in range(READERS + 1):
            stack.enter_context(database.engine.connect()).exec_driver_sql(statement)


async def states(database: Database) -> list[str]:
    return sorted(await database.read(lambda connection: connection.scalars(select(replies.c.state)).all()))


def event(number: int) -> Received:
    return Received(account="bot", id=f"e{number}", chat="c", payload="{}", received_at=float(number))


@pytest.mark.parametrize(
    ("trouble", "relief", "word"),
    [
        ("PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1000000", "full"),
        ("PRAGMA query_only = ON", "PRAGMA query_only = OFF", "cannot be written"),
    ],
)
async def test_a_full_or_protected_disk_in_the_middle(
    inference: LocalInference, tmp_path: Path, trouble: str, relief: str, word: str
) -> None:
    async with open_database(str(tmp_path / "p.sqlite3")) as database:
        storage = SqlStorage(database)
        chat = Chat(inference, storage=storage)
        async with storage.behind.running():
            events = []
            async for each in chat.events(chat.incoming("slow")):
                events.append(each)
                if len(events) == 20:
                    await asyncio.to_thread(on_every_connection, database, trouble)
                    with pytest.raises(DatabaseFailure, match=word):
                        await storage.receive([replace(event(1), payload="x" * 100_000)])
            assert said(events) == SLOW["answer"]
            assert isinstance(events[-1], Ended)
            await asyncio.to_thread(on_every_connection, database, relief)
        assert await states(database) == ["done"]
        assert await storage.receive([event(1)]) == [event(1)]


@pytest.mark.timeout(300)
async def test_a_server_that_is_away_for_a_while(inference: LocalInference, postgresql: Server) -> None:
    address = await asyncio.to_thread(postgresql.new_database)
    async with open_database(address) as database:
        storage = SqlStorage(database)
        chat = Chat(inference, storage=storage)
        async with storage.behind.running(), asyncio.TaskGroup() as group:
            answers = chat.events(chat.incoming("slow"))
            first = [await anext(answers) for _ in range(5)]
            await asyncio.to_thread(postgresql.stop)
            received = group.create_task(storage.receive([event(1)]))
            asked = group.create_task(chat.say("another", "bob"))
            rest = [each async for each in answers]
            assert said([*first, *rest]) == SLOW["answer"]
            assert isinstance(rest[-1], Ended)
            await asyncio.sleep(AWAY_S)
            assert not received.done()
            assert not asked.done()
            await asyncio.to_thread(postgresql.start)
        assert received.result() == [event(1)]
        assert said(asked.result()) == "another"
        assert await states(database) == ["done", "done"]
        turn = await storage.turn(await storage.head("test:room", "test:ann") or "")
        assert turn is not None
        assert turn.text == SLOW["answer"]


async def test_a_button_that_is_pressed_before_its_message_is_recorded_finds_the_answer(tmp_path: Path) -> None:
    """As while a lock on a table holds the writer up, and reads go on."""
    over = threading.Event()
    async with open_database(str(tmp_path / "p.sqlite3")) as database:
        storage = SqlStorage(database)
        async with storage.behind.running(), asyncio.TaskGroup() as group:
            group.create_task(database.write(lambda _: over.wait(30)))
            await asyncio.sleep(0.1)  # the writer has it
            await storage.record_delivery("c", "a", 0, "m")
            pressed = group.create_task(storage.answer_at("c", "m"))
            await asyncio.wait([pressed], timeout=0.2)
            over.set()
        assert pressed.result() == "a"


async def test_a_broken_page_is_found_at_the_start_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "p.sqlite3"
    async with open_database(str(path)) as database:
        storage = SqlStorage(database)
        for number in range(300):
            await storage.set_preferences(f"p{number}", {"seed": "x" * 500})
    await asyncio.to_thread(_break_a_page, path)
    with pytest.raises(DatabaseFailure, match="partyline data restore"):
        async with open_database(str(path)):
            pass


def _break_a_page(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'preferences'").fetchone()[0]
    content = bytearray(path.read_bytes())
    content[(root - 1) * 4096 : root * 4096] = b"\xa5" * 4096
    path.write_bytes(content)


async def test_a_text_is_written_at_most_as_often_as_frames_are_sent(
    inference: LocalInference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_database(str(tmp_path / "p.sqlite3")) as database:
        storage = SqlStorage(database)
        written: list[int] = []
        grow = storage.behind._grow_texts

        def counting(connection: Connection, texts: Sequence[Turn]) -> None:
            written.append(1)
            grow(connection, texts)

        monkeypatch.setattr(storage.behind, "_grow_texts", counting)
        async with storage.behind.running():
            events = await Chat(inference, storage=storage).say("slow")
        assert len([each for each in events if isinstance(each, TextDelta)]) > 20
        assert 1 <= len(written) <= 3


async def test_a_write_that_is_refused_for_good_keeps_no_other_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A table that is not there will not be there the next time either."""
    path = tmp_path / "p.sqlite3"
    async with open_database(str(path)) as database:
        storage = SqlStorage(database)
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("DROP TABLE deliveries")
        async with storage.behind.running():
            assert await storage.receive([event(1)])
            await storage.forget_delivery("c", "1")
            await storage.answered("bot", "e1")
            assert await storage.pending("bot") == []
    assert [record.getMessage()[:19] for record in caplog.records] == ["a write is left out"]


async def test_a_call_that_a_server_cannot_understand_is_refused_for_good(postgresql: Server) -> None:
    address = await asyncio.to_thread(postgresql.new_database)
    async with open_database(address) as database:
        with pytest.raises(WriteRefused, match="also if it is made again"):
            await database.write(lambda connection: connection.exec_driver_sql("SELECT * FROM nowhere"))
        assert await database.read(lambda connection: connection.exec_driver_sql("SELECT 1").scalar()) == 1

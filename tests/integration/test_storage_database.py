"""Opening a database that can be opened: new, known, and by several processes at once."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text

from adapters.storage.database.database import open_database
from adapters.storage.database.schema import HEAD, VERSION_TABLE, migration_config
from adapters.storage.sql.storage import SqlStorage
from adapters.storage.sql.tables import metadata

PROCESS = """
import asyncio, sys
from adapters.storage.database.database import open_database
from adapters.storage.sql.storage import SqlStorage

async def main(path, person, count):
    async with open_database(path) as database:
        storage = SqlStorage(database)
        for number in range(count):
            await storage.set_preferences(person, {"confirmed": str(number)})
            print(number, flush=True)

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "partyline.sqlite3"


def start(path: Path, person: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROCESS, str(path), person, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


async def create(path: Path) -> None:
    async with open_database(str(path)) as database:
        await SqlStorage(database).set_preferences("web:ann", {"seed": "1"})


async def test_a_new_file_is_made_with_its_folder_for_its_owner_alone(path: Path) -> None:
    await create(path)
    assert mode(path) == 0o600


async def test_what_was_kept_is_there_after_reopening(path: Path) -> None:
    await create(path)
    async with open_database(f"sqlite:///{path}") as database:
        assert await SqlStorage(database).preferences("web:ann") == {"seed": "1"}


async def test_sqlite_is_in_wal_mode_and_syncs_every_commit(path: Path) -> None:
    def found(connection: Connection) -> list[object]:
        return [connection.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous")]

    async with open_database(str(path)) as database:
        assert await database.read(found) == ["wal", 2]


async def test_the_migrations_make_the_tables(path: Path) -> None:
    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        return list(compare_metadata(context, metadata))

    async with open_database(str(path)) as database:
        assert await database.read(differences) == []


async def test_the_newest_migration_is_the_one_that_opening_expects(path: Path) -> None:
    async with open_database(str(path)) as database:
        config = await database.read(migration_config)
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


async def test_a_migration_that_breaks_leaves_nothing_behind(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_after(config: Config, revision: str) -> None:
        upgrade(config, revision)
        raise LookupError

    upgrade = command.upgrade
    monkeypatch.setattr(command, "upgrade", break_after)
    with pytest.raises(LookupError):
        await create(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []
    monkeypatch.undo()
    await create(path)


LIGHT = """
import asyncio, sys
import adapters.storage.memory.storage
assert "sqlalchemy" not in sys.modules
from adapters.storage.database.database import open_database

async def main(path):
    async with open_database(path):
        assert "alembic" not in sys.modules
        assert "sqlalchemy.dialects.postgresql" not in sys.modules
        assert "sqlalchemy.orm" not in sys.modules

asyncio.run(main(sys.argv[1]))
"""


async def test_a_start_imports_only_what_it_needs(path: Path) -> None:
    await create(path)
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", LIGHT, str(path)], check=True, timeout=60)


async def test_processes_that_start_at_once_all_start(path: Path) -> None:
    processes = [start(path, f"web:{number}", 5) for number in range(3)]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
    async with open_database(str(path)) as database:
        for number in range(3):
            assert await SqlStorage(database).preferences(f"web:{number}") == {"confirmed": "4"}


async def test_what_was_confirmed_survives_a_kill(path: Path) -> None:
    with start(path, "web:ann", 1_000_000) as process:
        assert process.stdout is not None
        for _ in range(20):
            confirmed = int(process.stdout.readline())
        process.kill()
        confirmed = max([confirmed, *map(int, process.stdout.read().split())])
    async with open_database(str(path)) as database:
        kept = await SqlStorage(database).preferences("web:ann")
    assert int(kept["confirmed"]) in (confirmed, confirmed + 1)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("fail", [False, True])
async def test_a_block_is_written_whole_or_not_at_all(path: Path, fail: bool) -> None:
    def write(connection: Connection) -> None:
        connection.execute(text("INSERT INTO heads VALUES ('c', 'p', 't')"))
        if fail:
            raise LookupError

    async with open_database(str(path)) as database:
        outcome = database.write(write)
        if fail:
            with pytest.raises(LookupError):
                await outcome
        else:
            await outcome
        assert await SqlStorage(database).head("c", "p") == (None if fail else "t")


def make_second_version(path: Path) -> None:
    """A database of version 0002 with an event that was answered and one that was not."""
    path.parent.mkdir()
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        command.upgrade(migration_config(connection), "0002")
        for number, answered in enumerate(("true", "false")):
            row = f"('a', 'e{number}', {number}, 'chat', 'secret', 0.0, {answered})"
            connection.execute(text(f"INSERT INTO inbox VALUES {row}"))
    engine.dispose()


async def test_what_answered_events_had_said_goes_with_the_upgrade(path: Path) -> None:
    await asyncio.to_thread(make_second_version, path)
    query = text("SELECT id, chat, payload FROM inbox ORDER BY id")
    async with open_database(str(path)) as database:
        rows = await database.read(lambda connection: connection.execute(query).all())
    assert [tuple(row) for row in rows] == [("e0", "", ""), ("e1", "chat", "secret")]

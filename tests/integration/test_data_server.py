"""`partyline data backup` and `restore` on PostgreSQL: what they replace, what they refuse, and what they leave."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest
from alembic import command

from adapters.cli import run
from adapters.storage.database.database import open_database
from adapters.storage.database.schema import HEAD
from adapters.storage.sql.storage import SqlStorage
from tests.servers.postgresql import Server


@pytest.fixture
def address(postgresql: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    address = postgresql.new_database()
    monkeypatch.setenv("PARTYLINE_DATABASE", address)
    monkeypatch.setenv("PATH", f"{postgresql.programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return address


def put(address: str, seed: str) -> None:
    async def work() -> None:
        async with open_database(address) as database:
            await SqlStorage(database).set_preferences("web:ann", {"seed": seed})

    asyncio.run(work())


def seed(address: str) -> str | None:
    async def work() -> str | None:
        async with open_database(address) as database:
            return (await SqlStorage(database).preferences("web:ann")).get("seed")

    return asyncio.run(work())


def test_a_backup_is_restored_and_never_replaced(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    put(address, "1")
    assert run(["data", "backup", "keep.dump"]) == 0
    kept = Path("keep.dump")
    assert kept.stat().st_mode & 0o777 == 0o600
    before = kept.read_bytes()
    put(address, "2")
    assert run(["data", "backup", "keep.dump"]) == 1
    assert "name another file" in capsys.readouterr().err
    assert kept.read_bytes() == before
    assert run(["data", "restore", "keep.dump", "--yes"]) == 0
    assert seed(address) == "1"


def test_a_backup_that_fails_leaves_no_file(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARTYLINE_DATABASE", address.replace("/partyline", "/nowhere"))
    assert run(["data", "backup", "keep.dump"]) == 1
    assert "pg_dump failed" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_backup_of_an_older_version_is_brought_up_to_date(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade = command.upgrade
    monkeypatch.setattr(command, "upgrade", lambda config, _: upgrade(config, "0003"))
    put_before_links(address)
    assert run(["data", "backup", "old.dump"]) == 0
    monkeypatch.setattr(command, "upgrade", upgrade)
    put(address, "2")
    assert run(["data", "restore", "old.dump", "--yes"]) == 0
    assert seed(address) == "1"


def put_before_links(address: str) -> None:
    """As an old program would."""

    async def work() -> None:
        async with open_database(address) as database:
            kept = "INSERT INTO preferences VALUES ('web:ann', 'seed', '1')"
            await database.write(lambda connection: connection.exec_driver_sql(kept))

    asyncio.run(work())


def test_what_is_no_backup_is_refused_before_anything_is_dropped(
    address: str, postgresql: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    put(address, "1")
    Path("words.dump").write_text("no backup")
    other = postgresql.new_database()
    program = str(postgresql.programs / "pg_dump")
    subprocess.run([program, "--format=custom", "--file=other.dump", f"--dbname={other}"], check=True)
    for name, complaint in (
        ("nowhere.dump", "There is no backup"),
        ("words.dump", "cannot be used"),
        ("other.dump", "no backup of Partyline"),
    ):
        assert run(["data", "restore", name, "--yes"]) == 1
        assert complaint in capsys.readouterr().err
    assert seed(address) == "1"


def test_a_backup_of_a_newer_version_is_refused(
    address: str, postgresql: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    put(address, "1")
    name = address.split("/")[3].partition("?")[0]
    postgresql.sql(name, "UPDATE partyline_version SET version_num = '9999'")
    assert run(["data", "backup", "new.dump"]) == 0
    postgresql.sql(name, f"UPDATE partyline_version SET version_num = '{HEAD}'")
    assert run(["data", "restore", "new.dump", "--yes"]) == 1
    assert "newer Partyline (version 9999)" in capsys.readouterr().err

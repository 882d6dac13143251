"""Databases that are refused, each with one sentence, and left as they were."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from adapters.storage.database.database import open_database
from adapters.storage.database.schema import VERSION_TABLE
from adapters.storage.errors import DatabaseFailure
from adapters.storage.sql.storage import SqlStorage


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "partyline.sqlite3"


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


async def create(path: Path) -> None:
    async with open_database(str(path)) as database:
        await SqlStorage(database).set_preferences("web:ann", {"seed": "1"})


async def refusal(path: Path) -> str:
    with pytest.raises(DatabaseFailure) as error:
        async with open_database(str(path)):
            pass
    sentence = str(error.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    assert str(path) in sentence
    return sentence


async def test_a_newer_database_is_refused(path: Path) -> None:
    await create(path)
    execute(path, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    sentence = await refusal(path)
    assert "newer" in sentence
    assert "9999" in sentence


async def test_another_program_s_database_is_refused_and_left_alone(path: Path) -> None:
    execute(path, "CREATE TABLE cookies (id)")
    assert "another program" in await refusal(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("cookies",)]


async def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert "cannot be made" in await refusal(tmp_path / "file" / "partyline.sqlite3")


def make_folder(path: Path) -> None:
    path.mkdir()


async def test_a_folder_in_the_file_s_place_is_refused(path: Path) -> None:
    make_folder(path)
    assert "PARTYLINE_DATABASE" in await refusal(path)


def content(path: Path) -> bytes:
    return path.read_bytes()


def write_words(path: Path) -> None:
    path.write_text("Dear diary, this is no database. " * 100)


def keep_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def keep_the_first_bytes(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


def overwrite_the_first_table(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100:4096] = b"\xff" * 3996
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (write_words, "not an SQLite database"),
        (keep_half, "damaged"),
        (keep_the_first_bytes, "damaged"),
        (overwrite_the_first_table, "damaged"),
    ],
)
async def test_a_broken_file_is_refused_and_left_alone(path: Path, damage: Callable[[Path], None], word: str) -> None:
    await create(path)
    damage(path)
    before = content(path)
    assert word in await refusal(path)
    assert content(path) == before


async def test_a_call_that_fails_later_is_a_sentence_without_the_text(path: Path) -> None:
    async with open_database(str(path)) as database:
        execute(path, "DROP TABLE preferences")
        with pytest.raises(DatabaseFailure) as error:
            await SqlStorage(database).set_preferences("web:ann", {"seed": "my secret"})
    assert str(path) in str(error.value)
    assert "secret" not in str(error.value) + str(error.value.__cause__)


async def test_a_locked_file_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.storage.database.database.BUSY_TIMEOUT_S", 0.05)
    await create(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "locked" in await refusal(path)

"""Which texts mean a database, and that none of the refusals shows a password."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from adapters.storage.database.address import hidden_password, parse_address
from adapters.storage.database.database import open_database
from adapters.storage.errors import DatabaseFailure


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("partyline.sqlite3", "partyline.sqlite3"),
        ("/var/lib/partyline/a b.db", "/var/lib/partyline/a b.db"),
        ("sqlite:///partyline.sqlite3", "partyline.sqlite3"),
        ("sqlite+aiosqlite:////var/lib/partyline.db", "/var/lib/partyline.db"),
    ],
)
def test_a_path_or_an_sqlite_url_is_a_file(text: str, path: str) -> None:
    address = parse_address(text)
    assert address.path == Path(path)
    assert address.url.drivername == "sqlite"


def test_a_tilde_is_the_home_folder() -> None:
    assert parse_address("~/partyline.sqlite3").path == Path.home() / "partyline.sqlite3"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_a_postgresql_url_gets_the_asynchronous_driver_and_a_name_without_secrets(scheme: str) -> None:
    address = parse_address(f"{scheme}://ann:hush@db.example:5433/party")
    assert address.url.drivername == "postgresql+psycopg"
    assert address.url.password == "hush"
    assert address.where == "The PostgreSQL database party on db.example"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("partyline.sqlite3", "partyline.sqlite3"),
        ("postgresql://ann@db/party", "postgresql://ann@db/party"),
        ("postgresql://ann%40cloud:hu%40sh@db/party", "postgresql://ann%40cloud:***@db/party"),
        (
            "postgresql://ann:hush@db:5433/party?connect_timeout=3",
            "postgresql://ann:***@db:5433/party?connect_timeout=3",
        ),
        ("postgresql://ann:hu/sh@db/party", "postgresql://ann:***@db/party"),
        ("postgresql://ann:hu sh@db/party", "postgresql://ann:***@db/party"),
        ("postgresql://db/party?user=ann&password=hush", "postgresql://db/party?user=ann"),
        ("postgresql://ann:hush@db:port/party", "postgresql://***"),
        ("postgresql://ann:hu@sh@db/party", "postgresql://***"),
        ("postgresql://ann:a@b/sh@db/party", "postgresql://***"),
        ("postgresql://ann/x:sh@db/party", "postgresql://***"),
    ],
)
def test_what_is_shown_of_an_address_holds_no_password(text: str, shown: str) -> None:
    assert hidden_password(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        ":memory:",
        "a\0b",
        "sqlite://",
        "sqlite:///file.db?mode=ro",
        "mysql://ann:hush@host/party",
        "postgresql://ann:hush@host",
        "postgresql://ann:hush@host:port/party",
        "://ann:hush@host",
        "postgresql://ann:hu@hush@host/party",
    ],
)
def test_anything_else_is_refused_with_one_sentence(text: str) -> None:
    with pytest.raises(DatabaseFailure) as refusal:
        parse_address(text)
    assert "PARTYLINE_DATABASE" in str(refusal.value)
    assert "hush" not in str(refusal.value)
    assert refusal.value.__cause__ is None


async def test_postgresql_without_its_driver_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(DatabaseFailure, match=r"partyline\[postgres\]") as refusal:
        async with open_database("postgresql://ann:hush@host/party"):
            pass
    assert "hush" not in str(refusal.value)

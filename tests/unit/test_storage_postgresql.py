"""What can be said about PostgreSQL without a server: the SQL that it would get."""

from __future__ import annotations

import pytest
from sqlalchemy import Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from adapters.storage.tables import heads, metadata, preferences
from adapters.storage.upsert import upsert

DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("table", metadata.tables.values(), ids=str)
def test_every_table_can_be_created(table: Table) -> None:
    assert "CREATE TABLE" in str(CreateTable(table).compile(dialect=DIALECT))
    for index in table.indexes:
        assert "CREATE" in str(CreateIndex(index).compile(dialect=DIALECT))


def test_an_upsert_replaces_what_is_not_the_key() -> None:
    row = {"chat": "c", "person": "p", "turn_id": "t"}
    sql = str(upsert("postgresql", heads, [row]).compile(dialect=DIALECT))
    assert "ON CONFLICT (chat, person) DO UPDATE SET turn_id = excluded.turn_id" in sql


@pytest.mark.parametrize("dialect", ["postgresql", "sqlite"])
def test_both_dialects_take_several_rows_at_once(dialect: str) -> None:
    rows = [{"person": "p", "name": name, "value": "v"} for name in ("a", "b")]
    assert set(upsert(dialect, preferences, rows).compile().params.values()) == {"p", "a", "b", "v"}

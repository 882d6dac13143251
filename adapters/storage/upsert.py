"""Insert or replace, which each dialect says through its own construct."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql.dml import Insert


def upsert(dialect: str, table: Table, rows: Sequence[Mapping[str, Any]]) -> Insert:
    """Inserts the rows; each replaces the one that is there under its primary key.

    A row that is unique in another respect too, and is not, fails with an `IntegrityError`.
    """
    keys = list(table.primary_key.columns)
    # The two constructs share their methods, but no type.
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql  # 50 ms that a start on SQLite does not spend

        statement = postgresql.insert(table).values(rows)
        return statement.on_conflict_do_update(index_elements=keys, set_=_others(table, statement.excluded))
    insert = sqlite.insert(table).values(rows)
    return insert.on_conflict_do_update(index_elements=keys, set_=_others(table, insert.excluded))


def add(dialect: str, table: Table, rows: Sequence[Mapping[str, Any]]) -> Insert:
    """Inserts the rows; the numbers of each are added to those of the one that is there under its primary key."""
    keys = list(table.primary_key.columns)
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql

        statement = postgresql.insert(table).values(rows)
        return statement.on_conflict_do_update(index_elements=keys, set_=_sums(table, statement.excluded))
    insert = sqlite.insert(table).values(rows)
    return insert.on_conflict_do_update(index_elements=keys, set_=_sums(table, insert.excluded))


def insert_new(dialect: str, table: Table, rows: Sequence[Mapping[str, Any]]) -> Insert:
    """Inserts the rows whose primary key is not there yet."""
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table).values(rows).on_conflict_do_nothing()
    return sqlite.insert(table).values(rows).on_conflict_do_nothing()


def _others(table: Table, proposed: Any) -> dict[str, Any]:
    return {column.name: proposed[column.name] for column in table.columns if not column.primary_key}


def _sums(table: Table, proposed: Any) -> dict[str, Any]:
    return {column.name: column + proposed[column.name] for column in table.columns if not column.primary_key}

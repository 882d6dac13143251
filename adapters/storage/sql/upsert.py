"""Insert or replace, which each dialect says through its own construct."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Table, or_
from sqlalchemy.dialects import sqlite

Row = Mapping[str, Any]

COUNTED = {"preserve_rowcount": True}
"""Without this, how many rows an INSERT made is forgotten."""


def upsert(connection: Connection, table: Table, *rows: Row, stays: str = "") -> None:
    """Inserts the rows; each replaces the one that is there under its primary key.

    A row that is unique in another respect too, and is not, fails with an `IntegrityError`.

    Args:
        stays: a flag that stays set where it was.
    """
    _execute(connection, _upsert(connection.dialect.name, table, stays), rows)


def add(connection: Connection, table: Table, *rows: Row) -> None:
    """Inserts the rows; the numbers of each are added to those of the one that is there under its primary key."""
    _execute(connection, _add(connection.dialect.name, table), rows)


def insert_new(connection: Connection, table: Table, row: Row) -> bool:
    """Inserts the row unless its primary key is there already; whether it did."""
    return bool(connection.execute(_insert_new(connection.dialect.name, table), row).rowcount)


def _execute(connection: Connection, statement: Any, rows: Sequence[Row]) -> None:
    # Drivers have a way for many rows, which takes longer for one.
    connection.execute(statement, rows[0] if len(rows) == 1 else rows)


def insertion(dialect: str, table: Table) -> Any:
    """The dialect's INSERT. The two share their methods, but no type."""
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql  # 50 ms that a start on SQLite does not spend

        return postgresql.insert(table)
    return sqlite.insert(table)


# Rows are no part of a statement, so each of these is made and compiled once.


@cache
def _upsert(dialect: str, table: Table, stays: str = "") -> Any:
    insert = insertion(dialect, table)
    proposed = {column.name: insert.excluded[column.name] for column in table.columns if not column.primary_key}
    if stays:
        proposed[stays] = or_(table.c[stays], insert.excluded[stays])
    return insert.on_conflict_do_update(index_elements=list(table.primary_key), set_=proposed)


@cache
def _add(dialect: str, table: Table) -> Any:
    insert = insertion(dialect, table)
    sums = {column.name: column + insert.excluded[column.name] for column in table.columns if not column.primary_key}
    return insert.on_conflict_do_update(index_elements=list(table.primary_key), set_=sums)


@cache
def _insert_new(dialect: str, table: Table) -> Any:
    return insertion(dialect, table).on_conflict_do_nothing().execution_options(**COUNTED)

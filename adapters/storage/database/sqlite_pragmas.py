"""What SQLite needs: a file in WAL mode, and transactions that begin when we say so."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from adapters.storage.errors import ELSEWHERE, DatabaseFailure

WRITES = {"begin_immediate": True}
"""The execution option of connections that write."""

_RETRY_S = 0.01
_CHECKED_BYTES = 64 * 1024 * 1024
"""A file of at most this size is looked through at every start, which takes a fraction of a second."""


def prepare_file(path: Path, busy_timeout_s: float) -> None:
    """Makes the folder and the file, readable by its owner alone: it will hold conversations. Blocks.

    Raises:
        StorageError: the folder or the file cannot be made.
        sqlite3.Error: the file is no database, or stays locked for `busy_timeout_s`.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError as error:
        raise DatabaseFailure(f"{path} cannot be made or written ({error.strerror}); {ELSEWHERE}.") from error
    with closing(sqlite3.connect(path, timeout=busy_timeout_s)) as connection:
        _switch_to_wal(connection, time.monotonic() + busy_timeout_s)
        if path.stat().st_size <= _CHECKED_BYTES:
            _check(connection)


def _check(connection: sqlite3.Connection) -> None:
    found = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != ("ok",):
        error = sqlite3.DatabaseError(found[0])
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error


def _switch_to_wal(connection: sqlite3.Connection, deadline: float) -> None:
    # Readers and the writer do not wait for each other in this mode, which the file keeps. When two processes switch
    # at once, SQLite refuses one of them without waiting.
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_S)
        else:
            return


def listen(engine: Engine) -> None:
    """Sets up every connection that the engine opens."""
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)


def _set_up(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    # Without this the sqlite3 module begins transactions by itself, and not before CREATE TABLE.
    connection.isolation_level = None
    cursor = connection.cursor()
    # In WAL mode NORMAL would survive kill -9, but only FULL also survives a power cut with everything that a
    # returned call has confirmed, and that is what the ports promise. What is deleted or replaced is overwritten: an
    # answer is kept again and again while it grows, and what somebody erases must not be in the gaps.
    for pragma in ("synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes then can fail half-way as busy, so writers take the lock at once;
    # single queries need no transaction.
    if connection.get_execution_options().get("begin_immediate"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")

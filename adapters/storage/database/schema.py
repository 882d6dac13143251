"""The version of a database's tables: read at every start, raised where it is old, refused where it is newer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, column, inspect, select, table, text

from adapters.storage.errors import ELSEWHERE, DatabaseFailure

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0011"
"""The newest migration; a test holds it against the folder."""

VERSION_TABLE = "partyline_version"
"""Alembic's table, under a name that leaves room for another program in the same PostgreSQL schema."""

_ADVISORY_LOCK = 7_827_341_190_457  # any number that only this program locks


def bring_up_to_date(connection: Connection, where: str) -> None:
    """Applies the missing migrations inside the connection's transaction: all of them or none.

    The transaction holds the database's write lock, so of two processes that start at once one migrates and the other
    finds it done. Alembic is imported only where there is something to do.

    Raises:
        StorageError: the database is newer than this program, or another program's.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
    version = current_version(connection, where)
    if version != HEAD:
        _upgrade(connection, version, where)


def current_version(connection: Connection, where: str) -> str | None:
    """The database's version, None for one without our tables.

    Raises:
        StorageError: an SQLite file in which another program keeps its tables.
    """
    names = inspect(connection).get_table_names()
    if VERSION_TABLE in names:
        return connection.execute(select(column("version_num")).select_from(table(VERSION_TABLE))).scalar()
    if names and connection.dialect.name == "sqlite":
        raise DatabaseFailure(f"{where} belongs to another program; {ELSEWHERE}.")
    return None


def _upgrade(connection: Connection, version: str | None, where: str) -> None:
    from alembic import command
    from alembic.script import ScriptDirectory

    config = migration_config(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if version is not None and version not in known:
        raise DatabaseFailure(
            f"{where} was written by a newer Partyline (its version is {version}, this program knows {HEAD}); "
            f"install the newer one or {ELSEWHERE}."
        )
    command.upgrade(config, "head")


def migration_config(connection: Connection) -> Config:
    """Alembic's configuration, without a file of its own, so that it works from an installed package."""
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", "adapters.storage:migrations")
    config.set_main_option("path_separator", "os")
    return config

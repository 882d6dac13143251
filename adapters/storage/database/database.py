"""Opens the database and runs work in it, off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from sqlalchemy import Connection, create_engine

from adapters.storage.database import sqlite_pragmas
from adapters.storage.database.address import Address, parse_address
from adapters.storage.database.batch_executor import BEATERS
from adapters.storage.database.schema import bring_up_to_date
from adapters.storage.database.sqlite_backend import READERS, LocalDatabase
from adapters.storage.errors import DatabaseFailure, in_one_sentence

if TYPE_CHECKING:
    from adapters.storage.database.postgres_backend import ServerDatabase

T = TypeVar("T")

BUSY_TIMEOUT_S = 10.0
"""How long a call waits for another process's write; the longest that may be expected is a migration."""


class Database(Protocol):
    """An open database. Work is a function of a connection that leaves nothing behind but in the database.

    `read` and `write` raise `DatabaseFailure` for whatever the database refuses.
    """

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Runs queries; each sees the newest state."""
        ...

    async def write(self, work: Callable[[Connection], T], *, single: bool = False) -> T:
        """Runs the work in a transaction: on disk when the call returns, undone where the work raises.

        It may run more than once, when an earlier run was undone.

        Args:
            single: the work is right also if each of its statements is a transaction of its own, which over a network
                is one round trip in place of three.
        """
        ...

    async def wipe(self) -> bool:
        """Take what was deleted out of files that are only kept for a while. False if somebody was using them."""
        ...

    async def beat(self, work: Callable[[Connection], T]) -> T:
        """Run the work by a connection and a thread that nothing else uses. Each statement is its own transaction.

        A second thread takes over while the first one waits.
        """
        ...


@asynccontextmanager
async def open_database(url: str) -> AsyncIterator[Database]:
    """Opens the database, creating it and bringing its tables up to date first, and closes it at the end.

    Args:
        url: the path of an SQLite file (its folder is made), `sqlite:///path` or `postgresql://user:password@host/name`.

    Raises:
        StorageError: one sentence that says what is wrong and what to do; it never holds the password.
    """
    address = parse_address(url)
    database: LocalDatabase | ServerDatabase
    if address.path:
        database = await asyncio.to_thread(_file, address, address.path)
    else:
        database = await asyncio.to_thread(_server, address)
    try:
        await database.write(lambda connection: bring_up_to_date(connection, address.where))
        yield database
    finally:
        await database.close()


def _file(address: Address, path: Path) -> LocalDatabase:
    with in_one_sentence(address.where):
        sqlite_pragmas.prepare_file(path, BUSY_TIMEOUT_S)
    waiting = {"timeout": BUSY_TIMEOUT_S}
    engine, beating = (
        create_engine(address.url, hide_parameters=True, pool_size=size, max_overflow=0, connect_args=waiting)
        for size in (READERS + 1, BEATERS)
    )
    sqlite_pragmas.listen(engine)
    sqlite_pragmas.listen(beating)
    return LocalDatabase(engine, beating, address.where)


def _server(address: Address) -> ServerDatabase:
    from adapters.storage.database.postgres_backend import opened  # 0.2 s that a start on SQLite does not spend

    try:
        return opened(address)
    except ModuleNotFoundError:
        raise DatabaseFailure("PostgreSQL needs one more package; run: pip install 'partyline[postgres]'.") from None

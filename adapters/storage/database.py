"""Opens the database and hands out connections: many that read, and for SQLite one at a time that writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from adapters.storage import sqlite
from adapters.storage.address import Address, parse_address
from adapters.storage.errors import StorageError, in_one_sentence
from adapters.storage.schema import bring_up_to_date

BUSY_TIMEOUT_S = 10.0
"""How long a call waits for another process's write; the longest that may be expected is a migration."""

_CONNECTIONS = 4  # each is a thread with SQLite; readers wait for each other rarely and briefly


class Database:
    """An open database. `read` and `write` raise `StorageError` for whatever the database refuses."""

    def __init__(self, engine: AsyncEngine, where: str) -> None:
        self.dialect = engine.dialect.name
        self._where = where
        self._readers = engine
        self._writers = engine.execution_options(**sqlite.WRITES)
        # SQLite's own waiting for a writer is polling without an order; in this process writers queue up instead.
        self._one_writer = asyncio.Lock() if self.dialect == "sqlite" else None

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for queries; on SQLite each query sees the newest state."""
        with in_one_sentence(self._where):
            async with self._readers.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that holds SQLite's write lock: on disk after the block, undone where the block raises."""
        async with AsyncExitStack() as stack:
            if self._one_writer:
                await stack.enter_async_context(self._one_writer)
            stack.enter_context(in_one_sentence(self._where))
            yield await stack.enter_async_context(self._writers.begin())


@asynccontextmanager
async def open_database(url: str) -> AsyncIterator[Database]:
    """Opens the database, creating it and bringing its tables up to date first, and closes it at the end.

    Args:
        url: the path of an SQLite file (its folder is made), `sqlite:///path` or `postgresql://user:password@host/name`.

    Raises:
        StorageError: one sentence that says what is wrong and what to do; it never holds the password.
    """
    address = parse_address(url)
    if address.path:
        with in_one_sentence(address.where):
            await asyncio.to_thread(sqlite.prepare_file, address.path, BUSY_TIMEOUT_S)
    engine = await asyncio.to_thread(_engine, address)  # it imports the driver and looks at the path
    try:
        database = Database(engine, address.where)
        async with database.write() as connection:
            await connection.run_sync(bring_up_to_date, address.where)
        yield database
    finally:
        await engine.dispose()


def _engine(address: Address) -> AsyncEngine:
    options = {"timeout": BUSY_TIMEOUT_S} if address.path else {}
    try:
        engine = create_async_engine(
            address.url, pool_size=_CONNECTIONS, max_overflow=0, hide_parameters=True, connect_args=options
        )
    except ModuleNotFoundError:
        raise StorageError("PostgreSQL needs one more package; run: pip install 'partyline[postgres]'.") from None
    if address.path:
        sqlite.listen(engine)
    return engine

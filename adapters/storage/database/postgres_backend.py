"""A PostgreSQL database: threads that read and one that writes, with a connection each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine

from adapters.storage.database.address import Address
from adapters.storage.database.batch_executor import BEATERS, BatchExecutor, Work
from adapters.storage.errors import in_one_sentence

T = TypeVar("T")

READERS, WRITERS = 2, 1
"""Threads, each with a connection. More that read would wait for the interpreter's lock; of two that write, the
first to begin could be the last to end, after its caller has given up."""
_PATIENCE = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""In s, the last in ms: a network that went away without a word would hold a thread for hours otherwise."""
_IMPATIENCE = _PATIENCE | {"connect_timeout": 3, "tcp_user_timeout": 3_000}
"""For heartbeats, which must find another way within the lease."""
_SINGLE = {"isolation_level": "AUTOCOMMIT"}
"""Without a transaction around it, a statement is one round trip and not three."""
_TRANSACTION = {"isolation_level": "READ COMMITTED"}
_SHORTLY = "SET LOCAL lock_timeout = '100ms'"
"""Two processes that keep the same events in another order would wait for each other; each is kept alone then."""


def opened(address: Address) -> ServerDatabase:
    """Raises ModuleNotFoundError: the driver is not installed."""
    engine, beating = server_engine(address, READERS + WRITERS), server_engine(address, BEATERS, _IMPATIENCE)
    return ServerDatabase(engine, beating, address.where)


def server_engine(address: Address, connections: int = 1, patience: Mapping[str, int] = _PATIENCE) -> Engine:
    """Its connections are outside of transactions. Raises ModuleNotFoundError."""
    return create_engine(
        address.url,
        hide_parameters=True,
        pool_size=connections,
        max_overflow=0,
        connect_args=dict(patience),
        **_SINGLE,
    )


class ServerDatabase:
    """Implements `Database`. What a cancelled caller was waiting for may still be written."""

    def __init__(self, engine: Engine, beating: Engine, where: str) -> None:
        self._where = where
        self._engine = engine
        self._beating = beating
        self._transactions = engine.execution_options(**_TRANSACTION)
        self._reads = BatchExecutor("reading", READERS, self._one_by_one)
        self._writes = BatchExecutor("writing", WRITERS, self._write)
        self._beats = BatchExecutor("beating", BEATERS, self._beat)

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await self._reads.submit(work)

    async def write(self, work: Callable[[Connection], T], *, single: bool = False) -> T:
        return await self._writes.submit(work, single=single)

    async def beat(self, work: Callable[[Connection], T]) -> T:
        return await self._beats.submit(work)

    async def wipe(self) -> bool:
        """The server overwrites by itself what nobody needs any more."""
        return True

    async def close(self) -> None:
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._reads.close()
        self._writes.close()
        self._beats.close()
        self._engine.dispose()
        self._beating.dispose()

    def _one_by_one(self, works: Sequence[Work]) -> list[Any]:
        with in_one_sentence(self._where), self._engine.connect() as connection:
            return [work.do(connection) for work in works]

    def _write(self, works: Sequence[Work]) -> list[Any]:
        if len(works) == 1 and works[0].single:
            return self._one_by_one(works)
        with in_one_sentence(self._where), self._transactions.begin() as connection:
            if len(works) > 1:
                connection.exec_driver_sql(_SHORTLY)
            return [work.do(connection) for work in works]

    def _beat(self, works: Sequence[Work]) -> list[Any]:
        with in_one_sentence(self._where), self._beating.connect() as connection:
            return [work.do(connection) for work in works]

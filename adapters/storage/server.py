"""A PostgreSQL database, over connections that the event loop serves."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from adapters.storage.address import Address
from adapters.storage.errors import in_one_sentence

T = TypeVar("T")


_CONNECTIONS = 8
"""The server syncs the commits of several connections together."""


def opened(address: Address) -> ServerDatabase:
    """Raises ModuleNotFoundError: the driver is not installed."""
    engine = create_async_engine(address.url, hide_parameters=True, pool_size=_CONNECTIONS, max_overflow=0)
    return ServerDatabase(engine, address.where)


class ServerDatabase:
    """Implements `adapters.storage.database.Database`."""

    def __init__(self, engine: AsyncEngine, where: str) -> None:
        self._where = where
        self._engine = engine
        # Without a transaction around it, a statement is one round trip and not three.
        self._single = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def read(self, work: Callable[[Connection], T]) -> T:
        with in_one_sentence(self._where):
            async with self._single.connect() as connection:
                return await connection.run_sync(work)

    async def write(self, work: Callable[[Connection], T], *, single: bool = False) -> T:
        if single:
            return await self.read(work)
        with in_one_sentence(self._where):
            async with self._engine.begin() as connection:
                return await connection.run_sync(work)

    async def close(self) -> None:
        await self._engine.dispose()

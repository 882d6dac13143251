"""A PostgreSQL database, over connections that the event loop serves."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.storage.errors import in_one_sentence

T = TypeVar("T")


class ServerDatabase:
    """Implements `adapters.storage.database.Database`."""

    def __init__(self, engine: AsyncEngine, where: str) -> None:
        self._where = where
        self._engine = engine
        # Without a transaction around it, a query is one round trip and not three.
        self._readers = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def read(self, work: Callable[[Connection], T]) -> T:
        with in_one_sentence(self._where):
            async with self._readers.connect() as connection:
                return await connection.run_sync(work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        with in_one_sentence(self._where):
            async with self._engine.begin() as connection:
                return await connection.run_sync(work)

    async def close(self) -> None:
        await self._engine.dispose()

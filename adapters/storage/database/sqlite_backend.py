"""An SQLite file: threads that read, and one that writes.

SQLite lets one transaction write at a time, and each waits for the disk. So whoever waits for a write shares one
transaction with all who wait: the disk is waited for once. Reads share a trip to a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, text

from adapters.storage.database import sqlite_pragmas
from adapters.storage.database.batch_executor import BEATERS, BatchExecutor, Work
from adapters.storage.errors import in_one_sentence

T = TypeVar("T")

READERS = 4
"""Threads, each with a connection; readers wait for each other rarely and briefly."""
_WIPE_WAIT_MS = 100


class LocalDatabase:
    """Implements `Database`. What a cancelled caller was waiting for may still be written."""

    def __init__(self, engine: Engine, beating: Engine, where: str) -> None:
        self.engine = engine
        self._beating = beating
        self._where = where
        self._transactions = engine.execution_options(**sqlite_pragmas.WRITES)
        self._reads = BatchExecutor("reading", READERS, self._read)
        self._writes = BatchExecutor("writing", 1, self._write)
        self._beats = BatchExecutor("beating", BEATERS, self._beat)

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await self._reads.submit(work)

    async def write(self, work: Callable[[Connection], T], *, single: bool = False) -> T:
        return await self._writes.submit(work)

    async def beat(self, work: Callable[[Connection], T]) -> T:
        return await self._beats.submit(work)

    async def wipe(self) -> bool:
        return await self._reads.submit(_wipe)

    async def close(self) -> None:
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._reads.close()
        self._writes.close()
        self._beats.close()
        self.engine.dispose()
        self._beating.dispose()

    def _read(self, works: Sequence[Work]) -> list[Any]:
        with in_one_sentence(self._where), self.engine.connect() as connection:
            return [work.do(connection) for work in works]

    def _write(self, works: Sequence[Work]) -> list[Any]:
        with in_one_sentence(self._where), self._transactions.begin() as connection:
            return [work.do(connection) for work in works]

    def _beat(self, works: Sequence[Work]) -> list[Any]:
        with in_one_sentence(self._where), self._beating.connect() as connection:
            return [work.do(connection) for work in works]


def _wipe(connection: Connection) -> bool:
    """Empty the write-ahead log. False if somebody who reads or writes kept it from that."""
    # The first one copies beside everybody; the second one has nothing left to copy. Nobody can write while that one
    # waits for whoever reads, so it waits for a moment only.
    patience = connection.execute(text("PRAGMA busy_timeout")).scalar_one()
    try:
        connection.execute(text(f"PRAGMA busy_timeout = {_WIPE_WAIT_MS}")).all()
        busy = [connection.execute(text(f"PRAGMA wal_checkpoint({mode})")).one()[0] for mode in ("PASSIVE", "TRUNCATE")]
    finally:
        connection.execute(text(f"PRAGMA busy_timeout = {patience}")).all()
    return not busy[-1]

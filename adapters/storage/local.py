"""An SQLite file: threads that read, and one that writes.

SQLite lets one transaction write at a time, and each waits for the disk. So whoever waits for a write shares one
transaction with all who wait: the disk is waited for once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Engine

from adapters.storage import sqlite
from adapters.storage.errors import Locked, in_one_sentence

T = TypeVar("T")

READERS = 4
"""Threads, each with a connection; readers wait for each other rarely and briefly."""
_TOGETHER = 64
"""The most that one transaction makes, so that who came first is not kept waiting by a crowd."""


class _Write(NamedTuple):
    work: Callable[[Connection], Any]
    done: asyncio.Future[Any]


class _Outcome(NamedTuple):
    done: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


class LocalDatabase:
    """Implements `adapters.storage.database.Database`. What a cancelled caller was waiting for may still be written."""

    def __init__(self, engine: Engine, where: str) -> None:
        self.engine = engine
        self._where = where
        self._transactions = engine.execution_options(**sqlite.WRITES)
        self._readers = ThreadPoolExecutor(READERS, "reading")
        self._writer = ThreadPoolExecutor(1, "writing")
        self._waiting: deque[_Write] = deque()
        self._called = False
        """The writer will still look at what waits."""

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    async def write(self, work: Callable[[Connection], T], *, single: bool = False) -> T:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._waiting.append(_Write(work, done))
        if not self._called:
            self._called = True
            # In the loop's next round: who asks in this one is taken along.
            loop.call_soon(self._writer.submit, self._write_together, loop)
        return await done

    async def close(self) -> None:
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._readers.shutdown()
        self._writer.shutdown()
        self.engine.dispose()

    def _read(self, work: Callable[[Connection], T]) -> T:
        with in_one_sentence(self._where), self.engine.connect() as connection:
            return work(connection)

    def _write_together(self, loop: asyncio.AbstractEventLoop) -> None:
        self._called = False
        while self._waiting:
            taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), _TOGETHER))]
            # A caller that has given up before this does not want it any more.
            if wanted := [write for write in taken if not write.done.cancelled()]:
                loop.call_soon_threadsafe(_settle, self._outcomes(wanted))

    def _outcomes(self, writes: Sequence[_Write]) -> list[_Outcome]:
        try:
            results = self._transaction([write.work for write in writes])
        except BaseException as error:
            # Where nobody gets the lock, each would wait for it in turn.
            if len(writes) == 1 or isinstance(error, Locked):
                return [_Outcome(write.done, error=error) for write in writes]
            # Everything is undone, and only who fails alone has failed.
            return [outcome for write in writes for outcome in self._outcomes([write])]
        return [_Outcome(write.done, result) for write, result in zip(writes, results, strict=True)]

    def _transaction(self, works: Sequence[Callable[[Connection], Any]]) -> list[Any]:
        with in_one_sentence(self._where), self._transactions.begin() as connection:
            return [work(connection) for work in works]


def _settle(outcomes: Sequence[_Outcome]) -> None:
    for done, result, error in outcomes:
        if done.cancelled():
            continue
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)

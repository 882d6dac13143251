"""Work that waits for threads of its own, off the event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection

from adapters.storage.errors import DatabaseAway, DatabaseFailure, Locked

T = TypeVar("T")

BEATERS = 2
"""Threads for heartbeats, each with a connection: one may hang in a network that went away without a word."""
_TOGETHER = 64
"""The most that is done in one trip, so that who came first is not kept waiting by a crowd."""


class Work(NamedTuple):
    do: Callable[[Connection], Any]
    single: bool = False
    """Right also if each of its statements is a transaction of its own."""


class _Asked(NamedTuple):
    work: Work
    done: asyncio.Future[Any]


class _Outcome(NamedTuple):
    done: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


class BatchExecutor:
    """Work that waits for one of some threads: what is asked for in one round of the event loop goes there in one trip.

    Args:
        do: does several works, all or none; where it fails, each is done by itself.
    """

    def __init__(self, name: str, threads: int, do: Callable[[Sequence[Work]], list[Any]]) -> None:
        self._threads = ThreadPoolExecutor(threads, name)
        self._do = do
        self._waiting: deque[_Asked] = deque()
        self._called = False
        """A thread will still look at what waits."""
        self._closed = False

    async def submit(self, do: Callable[[Connection], T], *, single: bool = False) -> T:
        """Raises what `do` raises, or StorageError: the database is closed."""
        if self._closed:
            raise DatabaseFailure("The database is closed.")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._waiting.append(_Asked(Work(do, single), done))
        if not self._called:
            self._called = True
            # In the loop's next round: who asks in this one is taken along.
            loop.call_soon(self._begin, loop)
        return await done

    def close(self) -> None:
        """Do what waits, and refuse what comes later: nobody would ever do it."""
        self._closed = True
        self._threads.shutdown()

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            self._threads.submit(self._do_what_waits, loop)
        except RuntimeError:  # closed since it was asked
            _settle([_Outcome(each.done, error=DatabaseFailure("The database is closed.")) for each in self._taken()])

    def _do_what_waits(self, loop: asyncio.AbstractEventLoop) -> None:
        self._called = False
        while taken := self._taken():
            # A caller that has given up before this does not want it any more.
            if wanted := [asked for asked in taken if not asked.done.cancelled()]:
                loop.call_soon_threadsafe(_settle, self._outcomes(wanted))

    def _taken(self) -> list[_Asked]:
        taken: list[_Asked] = []
        with suppress(IndexError):  # another thread may take the last one
            while len(taken) < _TOGETHER:
                taken.append(self._waiting.popleft())
        return taken

    def _outcomes(self, asked: Sequence[_Asked]) -> list[_Outcome]:
        try:
            results = self._do([each.work for each in asked])
        except BaseException as error:
            # Where nobody gets the lock or reaches the server, each would wait for it in turn.
            if len(asked) == 1 or isinstance(error, Locked | DatabaseAway):
                return [_Outcome(each.done, error=error) for each in asked]
            return [outcome for each in asked for outcome in self._outcomes([each])]
        return [_Outcome(each.done, result) for each, result in zip(asked, results, strict=True)]


def _settle(outcomes: Sequence[_Outcome]) -> None:
    for done, result, error in outcomes:
        if done.cancelled():
            continue
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)

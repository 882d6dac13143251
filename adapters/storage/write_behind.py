"""Writes that may come a little later, so that no answer waits for a database that is slow or away.

One task makes them, in order, and all that wait at once in one transaction. Of a growing text only the newest state
counts, and it is written at most once in `INTERVAL_S`; everything else is written at once. What fails is tried again
until it succeeds, because what it says has been shown already. What the database refuses for good is left out, with one
line in the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from sqlalchemy import Connection

from adapters.storage.errors import DatabaseFailure, WriteRefused
from bots.ports import Turn

log = logging.getLogger(__name__)

Write = Callable[[Connection], object]
INTERVAL_S = 1.0
"""Platforms take about one frame a second; what a crash costs is at most so much of a text."""
_WAIT_S = 1.0
"""How long a caller waits for its write, before it goes on without."""
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.1, 2.0
_LEAVE_WITHIN_S = 10.0


class WriteBehind:
    """Without `running`, writes are made by the caller.

    Args:
        write: runs work in a transaction.
        grow_texts: keeps texts that have grown, but none whose reply has ended meanwhile.
    """

    def __init__(
        self, write: Callable[[Write], Awaitable[Any]], grow_texts: Callable[[Connection, Sequence[Turn]], None]
    ) -> None:
        self._write = write
        self._grow_texts = grow_texts
        self._texts: dict[str, Turn] = {}
        self._writes: deque[tuple[Write, asyncio.Future[None]]] = deque()
        self._news = asyncio.Event()
        self._urgent = asyncio.Event()
        self._running = False
        self._keeps = False
        """Texts are being written at the moment."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Writes inside of this; on leaving, what is left is written, if that is possible soon."""
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self._run())
            self._running = True
            try:
                yield
            finally:
                self._running = False
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LEAVE_WITHIN_S):
                        await self._drained()
                task.cancel()

    def update_text(self, turn: Turn) -> None:
        """The newest state of a growing text."""
        self._texts[turn.id] = turn
        self._news.set()

    def pop_text(self, turn_id: str) -> Turn | None:
        """The text's newest state, for a caller that writes it now, if it is not written yet."""
        return self._texts.pop(turn_id, None)

    async def enqueue(self, work: Write) -> None:
        """Does the work after what came before it; returns when it is done, or after a moment."""
        if not self._running:
            await self._write(work)
            return
        made = asyncio.get_running_loop().create_future()
        self._writes.append((work, made))
        self._news.set()
        self._urgent.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(_WAIT_S):
                await asyncio.shield(made)

    async def caught_up(self, within_s: float | None) -> None:
        """Returns when what was to be written before this call is, or after so many seconds: who reads sees it."""
        if self._writes:
            with suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await asyncio.shield(self._writes[-1][1])

    async def _run(self) -> None:
        now = asyncio.get_running_loop().time
        texts_at = 0.0
        while True:
            await self._news.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(texts_at):
                    await self._urgent.wait()
            self._urgent.clear()
            await self._make_writes()
            if self._texts and (now() >= texts_at or not self._running):
                await self._keep_texts()
                texts_at = now() + INTERVAL_S
            if not self._texts and not self._writes:
                self._news.clear()

    async def _drained(self) -> None:
        while self._writes or self._texts or self._keeps:
            self._urgent.set()
            await asyncio.sleep(_FIRST_PAUSE_S / 10)

    async def _make_writes(self) -> None:
        while self._writes:
            works = [work for work, _ in self._writes]
            await self._until_made(works)
            for _ in works:
                _, made = self._writes.popleft()
                if not made.done():
                    made.set_result(None)

    async def _keep_texts(self) -> None:
        texts, self._texts = self._texts, {}
        self._keeps = True
        try:
            later = await self._kept(list(texts.values()))
        finally:
            self._keeps = False
        self._texts = {text.id: text for text in later} | self._texts

    async def _kept(self, texts: Sequence[Turn]) -> Sequence[Turn]:
        """Returns those that are to be kept later."""
        try:
            await self._write(lambda connection: self._grow_texts(connection, texts))
        except Exception as error:
            if _is_passing(error):
                log.warning("texts are kept later: %s", error)
                return texts
            if len(texts) > 1:
                return [later for text in texts for later in await self._kept([text])]
            _left_out("a text", error)
        return []

    async def _until_made(self, works: Sequence[Write]) -> None:
        pause = _FIRST_PAUSE_S
        while True:
            try:
                await self._write(lambda connection: [work(connection) for work in works])
            except Exception as error:
                if _is_passing(error):
                    log.warning("a write is made later: %s", error)
                    await asyncio.sleep(pause)
                    pause = min(_LAST_PAUSE_S, pause * 2)
                    continue
                if len(works) > 1:
                    # Everything is undone, and only what fails alone is left out.
                    for work in works:
                        await self._until_made([work])
                else:
                    _left_out("a write", error)
            return


def _is_passing(error: Exception) -> bool:
    return isinstance(error, DatabaseFailure) and not isinstance(error, WriteRefused)


def _left_out(what: str, error: Exception) -> None:
    # Of a defect the log has all; what the database refuses is a sentence.
    log.error("%s is left out: %s", what, error, exc_info=not isinstance(error, DatabaseFailure))

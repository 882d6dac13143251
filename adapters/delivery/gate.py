"""Spaces the calls of an account over all its chats."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count

from adapters.delivery.reply import Priority


class Gate:
    """Spaces the calls of an account over all its chats; who is more urgent goes first."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._next = 0.0
        self._order = count()
        self._waiting: list[tuple[Priority, int, asyncio.Future[None]]] = []

    async def passed(self, priority: Priority) -> bool:
        """Waits for the caller's turn; False where it came at once."""
        loop = asyncio.get_running_loop()
        if not self._waiting and loop.time() >= self._next:
            self._next = loop.time() + self._interval_s
            return False
        turn = loop.create_future()
        heapq.heappush(self._waiting, (priority, next(self._order), turn))
        if len(self._waiting) == 1:
            loop.call_at(self._next, self._admit, loop)
        await turn
        return True

    def _admit(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting:
            turn = heapq.heappop(self._waiting)[2]
            if not turn.done():
                turn.set_result(None)
                self._next = loop.time() + self._interval_s
                break
        if self._waiting:
            loop.call_at(self._next, self._admit, loop)

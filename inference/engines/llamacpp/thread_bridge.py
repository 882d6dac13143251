"""Chunks of text from a library's thread to the event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from typing import Any

# Text that arrives this much later is not seen to be late, but for the first words.
_PAUSE_S = 0.04
_AT_ONCE = 8


class ThreadBridge:
    """Chunks from a thread to the event loop, until None; the first ones at once, then a few at a time.

    To wake the loop for every token would take a core away from the threads that make the next one.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._chunks: deque[dict[str, Any] | None] = deque()
        self._fresh = asyncio.Event()
        self._wanted = False

    def put(self, chunk: dict[str, Any] | None) -> None:
        """Called in the thread."""
        self._chunks.append(chunk)
        if self._wanted:
            self._wanted = False
            self._loop.call_soon_threadsafe(self._fresh.set)

    async def all(self) -> AsyncGenerator[dict[str, Any], None]:
        """Yields what was put, in order, until None was."""
        count = 0
        while True:
            await self._some()
            while self._chunks:
                if (chunk := self._chunks.popleft()) is None:
                    return
                count += 1
                yield chunk
            if count >= _AT_ONCE:
                await asyncio.sleep(_PAUSE_S)

    async def _some(self) -> None:
        self._fresh.clear()
        self._wanted = True
        # Looked at only after it is known that somebody waits, so that no chunk slips in between.
        if not self._chunks:
            await self._fresh.wait()
        self._wanted = False

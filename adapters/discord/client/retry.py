"""What the database refuses is tried again for a while: a disk is cleared, a lock is let go, a server starts again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from bots.ports import StorageError

log = logging.getLogger(__name__)
T = TypeVar("T")

PATIENCE_S = 60.0
"""How long a person waits before they are told that it was in vain."""
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.5, 5.0


async def in_the_end(call: Callable[[], Awaitable[T]]) -> T:
    """Calls again for as long as the database refuses; for what nobody waits for."""
    while True:
        try:
            return await call()
        except StorageError as error:
            log.warning("it is tried again: %s", error)
        await asyncio.sleep(_LAST_PAUSE_S)


async def patiently(call: Callable[[], Awaitable[T]], since: float) -> T:
    """Calls again while the database refuses, until `PATIENCE_S` after `since`, in the loop's time; once at least.

    Raises:
        StorageError: it refused all the time.
    """
    clock = asyncio.get_running_loop().time
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            return await call()
        except StorageError:
            if clock() + pause_s > since + PATIENCE_S:
                raise
        await asyncio.sleep(pause_s)
        pause_s = min(_LAST_PAUSE_S, pause_s * 2)

"""Deletes what is older than it may be: in the background, in small batches."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

log = logging.getLogger(__name__)

BATCH = 500
EVERY_S = 3600.0
_PAUSE_S = 0.2
"""Between two batches, for everybody else who wants to write."""

Expire = Callable[[int], Awaitable[int]]


@asynccontextmanager
async def sweeping(expire: Expire, *, every_s: float = EVERY_S, pause_s: float = _PAUSE_S) -> AsyncIterator[None]:
    """Sweeps now and every hour while the context is open.

    Args:
        expire: deletes at most so many old things of each sort, and returns how many in all.
    """
    async with asyncio.TaskGroup() as tasks:
        sweeper = tasks.create_task(_sweep_on(expire, every_s, pause_s))
        try:
            yield
        finally:
            sweeper.cancel()


async def _sweep_on(expire: Expire, every_s: float, pause_s: float) -> None:
    while True:
        try:
            if count := await sweep(expire, pause_s):
                log.info("deleted %d things that were older than [retention] allows", count)
        except Exception:
            # The edge of a task that nobody waits for; a full disk must not end the bot.
            log.exception("what is too old was not deleted; it is tried again later")
        await asyncio.sleep(every_s)


async def sweep(expire: Expire, pause_s: float = _PAUSE_S) -> int:
    """Deletes until nothing is too old; returns how much was."""
    count = 0
    while deleted := await expire(BATCH):
        count += deleted
        await asyncio.sleep(pause_s)
    return count

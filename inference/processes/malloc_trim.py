"""Gives memory that was freed back to the system.

glibc keeps what is freed for later: after a day of pictures and long texts a process holds some hundred MB that it does
not use. Two kinds of it, by mallopt(3) and malloc_trim(3): it learns from each large block that is freed to take the
next one, up to 32 MB, from the heap of the thread that asks, whose free end `malloc_trim` does not give back; and small
pieces lie free between what is used. Elsewhere (musl, macOS) there is nothing to do.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""The names of mallopt's parameters, from malloc.h."""
_LARGE = 4 * 2**20
"""Bytes. Smaller blocks are what tensors of a forward pass on a processor take, again and again."""
_EVERY_S = 30.0
"""About 1 ms in a thread for each 10 MB that are given back; next to nothing if there is nothing."""


@asynccontextmanager
async def trimming(every_s: float = _EVERY_S) -> AsyncIterator[None]:
    """Trims the heap regularly while the context is open; for good, large blocks are no part of it."""
    libc = await asyncio.to_thread(ctypes.CDLL, None)
    if not hasattr(libc, "malloc_trim"):
        yield
        return
    return_large_blocks(libc)
    async with asyncio.TaskGroup() as tasks:
        trimmer = tasks.create_task(_trim_on(libc.malloc_trim, every_s))
        try:
            yield
        finally:
            trimmer.cancel()


def return_large_blocks(libc: ctypes.CDLL) -> None:
    """From now on large blocks go back to the system as soon as they are freed."""
    for parameter in (_MMAP_THRESHOLD, _TRIM_THRESHOLD):
        libc.mallopt(parameter, _LARGE)


async def _trim_on(trim: Callable[[int], int], every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        await asyncio.to_thread(trim, 0)

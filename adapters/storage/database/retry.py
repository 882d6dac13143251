"""Calls that wait for a server that is away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from adapters.storage.errors import DatabaseAway

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE_S = 120.0
"""A restart of PostgreSQL, or a minute without network, is no reason to fail; nor are two of them in a row."""
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.05, 1.0


def lasting(call: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Repeats the call while the server is away, for two minutes; only for calls that may be made twice.

    Raises:
        Away: it was away all the time.
    """

    @wraps(call)
    async def patient(*args: P.args, **kwargs: P.kwargs) -> T:
        clock = asyncio.get_running_loop().time
        give_up_at, pause_s = clock() + PATIENCE_S, _FIRST_PAUSE_S
        while True:
            try:
                return await call(*args, **kwargs)
            except DatabaseAway:
                if clock() + pause_s > give_up_at:
                    raise
            await asyncio.sleep(pause_s)
            pause_s = min(_LAST_PAUSE_S, pause_s * 2)

    return patient

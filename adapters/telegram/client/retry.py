"""Calls that do not go through the delivery's outbox: files, answered queries, the menu."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from telegram.error import BadRequest, NetworkError, RetryAfter

from adapters.telegram.client.errors import retry_after_s

T = TypeVar("T")

PAUSES_S = (0.3, 1.0, 3.0)
_LONGEST_PENALTY_S = 60.0


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """Calls again after a penalty or a broken connection, a few times. Raises TelegramError."""
    for pause_s in PAUSES_S:
        try:
            return await call()
        except RetryAfter as penalty:
            if retry_after_s(penalty) > _LONGEST_PENALTY_S:
                raise
            await asyncio.sleep(retry_after_s(penalty))
        except BadRequest:
            raise
        except NetworkError:
            await asyncio.sleep(pause_s)
    return await call()

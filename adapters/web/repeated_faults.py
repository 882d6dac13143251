"""What goes wrong again and again, as one line in the log, and waiting for a storage that is away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TypeVar

from adapters.storage.errors import WriteRefused
from bots.ports import StorageError

T = TypeVar("T")

_QUIET_S = 60.0
_REMEMBERED = 100
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.1, 2.0


class RepeatedFaults:
    """Log each fault once a minute, however often it comes back.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._said: OrderedDict[tuple[str, type[Exception]], float] = OrderedDict()

    def say(self, what: str, error: Exception) -> None:
        """Log one line for a storage that fails, a traceback for a defect; nothing where that was said just now."""
        key, now = (what, type(error)), self._clock()
        if now - self._said.get(key, float("-inf")) < _QUIET_S:
            return
        self._said[key] = now
        self._said.move_to_end(key)
        if len(self._said) > _REMEMBERED:
            self._said.popitem(last=False)
        if isinstance(error, StorageError):
            self._log.warning("%s: %s", what, error)
        else:
            self._log.error("%s", what, exc_info=error)


async def patiently(call: Callable[[], Awaitable[T]], what: str, faults: RepeatedFaults) -> T:
    """Make the call again while the storage is away, locked or full, for as long as that takes.

    Raises:
        Refused: the database never takes this, such as what is somebody else's already.
    """
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            return await call()
        except WriteRefused:
            raise
        except StorageError as error:
            faults.say(what, error)
        await asyncio.sleep(pause_s)
        pause_s = min(_LAST_PAUSE_S, pause_s * 2)

"""Which request ends engines or services, one after the other, where several were there each time.

Whoever was there twice is a suspect, and so are the others. They go on one after the other: each has the line until
something was said to it. Whoever has the line when the next one ends is the reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

_SUSPECT = 2
_MOST = 8
"""So often somebody may have been there who has nothing to do with it."""


class Suspects:
    """The requests of one engine or service."""

    def __init__(self) -> None:
        self.line = asyncio.Lock()
        self.under_way = 0

    @contextmanager
    def trial(self, alone: int) -> Iterator[Trial]:
        """A request is under way inside, also while it waits; `alone`: as the only one it may see so many ends."""
        trial = Trial(self, alone)
        self.under_way += 1
        try:
            yield trial
        finally:
            self.under_way -= 1
            trial.is_over()


class Trial:
    """What one request has seen."""

    def __init__(self, suspects: Suspects, alone: int) -> None:
        self.ends = 0
        self._suspects = suspects
        self._alone = alone
        self._has_line = False

    async def begins(self) -> None:
        """To be awaited before each attempt."""
        if self.ends >= _SUSPECT and self._suspects.under_way > 1:
            await self._suspects.line.acquire()
            self._has_line = True

    def is_over(self) -> None:
        """Something was said to the request, or nobody waits for that any more."""
        if self._has_line:
            self._has_line = False
            self._suspects.line.release()

    def goes_on(self) -> None:
        """So much was said that what ended before had other reasons."""
        self.is_over()
        self.ends = 0

    def ended(self) -> bool:
        """An engine or service has ended under it; whether it may be tried once more."""
        self.ends += 1
        most = self._alone if self._suspects.under_way == 1 else _MOST
        may_go_on = self.ends < most and not self._has_line
        self.is_over()
        return may_go_on

"""What runs beside the requests: a task group whose tasks end with the server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from types import TracebackType

from adapters.web.repeated_faults import RepeatedFaults

_log = logging.getLogger(__name__)

_AGAIN_S = 1.0
"""After a failure of what everybody depends on: a defect that stays must not keep the loop busy."""


class BackgroundTasks:
    """A task group that cancels what still runs when its block ends. No exception of a task ends the others."""

    def __init__(self) -> None:
        self.faults = RepeatedFaults(_log)
        self._group = asyncio.TaskGroup()
        self._running: set[asyncio.Task[None]] = set()
        self.is_closing = False
        """Nothing more is to begin by itself."""

    async def __aenter__(self) -> BackgroundTasks:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.is_closing = True
        for task in self._running:
            task.cancel()
        if kind is None or issubclass(kind, asyncio.CancelledError):
            await self._group.__aexit__(kind, error, trace)
        else:  # the block's own error goes out as it is, not in a group
            await self._group.__aexit__(None, None, None)

    def begin(self, work: Coroutine[None, None, None]) -> None:
        task = self._group.create_task(self._to_its_end(work))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def keep(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Runs what serves every page for as long as the server does: after an exception it begins again."""
        self.begin(self._again(work))

    async def _again(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        while True:
            try:
                return await work()
            except Exception as error:
                self.faults.say("a task of the page failed and goes on", error)
            await asyncio.sleep(_AGAIN_S)

    async def _to_its_end(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except Exception as error:  # the last edge: it costs this task alone
            self.faults.say("a task of the page failed", error)

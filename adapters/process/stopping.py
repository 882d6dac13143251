"""The stop of a program, from the signal to its end, within a time that a container's grace does not exceed.

    the signal ── platforms take nothing new ── answers have `inference.drain_s` ── everything is closed ── the end
         └────────────────────────── at most `drain_s` + CLOSE_WITHIN_S ─────────────────────────────────────┘

What is not finished then is left as `kill -9` leaves it, and the next start goes on with it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from types import FrameType, TracebackType
from typing import TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")
CLOSE_WITHIN_S = 3.5
"""All that comes after the drain: 6 s together with its default, so that a busy machine has two more until 8."""
PLATFORMS_WITHIN_S = 1.2
"""All platforms together."""
PART_WITHIN_S = 1.0
"""Any other part: what is kept is written, the model is closed."""
_LEAST_S = 0.2
_EXIT_WITHIN_S = 0.5
"""After everything is kept and closed: a thread that loads a model does not keep the process alive."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """The wish to stop: `wanted` is set by SIGTERM or SIGINT. A second signal ends the process at once."""

    def __init__(self, drain_s: float) -> None:
        self.wanted = asyncio.Event()
        self._within_s = drain_s + CLOSE_WITHIN_S
        self._timer: threading.Timer | None = None
        self._scope: asyncio.Timeout | None = None

    @asynccontextmanager
    async def ending(self) -> AsyncIterator[None]:
        """What is done inside of this ends when the stop is wanted: the start, which may wait for ever."""
        try:
            async with asyncio.timeout(0 if self.wanted.is_set() else None) as self._scope:
                yield
        except TimeoutError:
            if not self.wanted.is_set():
                raise
        finally:
            self._scope = None

    def want(self, number: signal.Signals) -> None:
        if self.wanted.is_set():
            self._exit(128 + number)
        self.wanted.set()
        self.end_within(self._within_s)
        if self._scope is not None:
            self._scope.reschedule(0)
        with suppress(BrokenPipeError):  # nobody reads the output any more
            print("Stopping: answers that are being written may finish; press Ctrl-C again to stop now.", flush=True)

    def end_within(self, seconds: float) -> None:
        """The process ends within that time, whatever a thread or a library waits for."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(seconds, self._exit, [0])
        self._timer.daemon = True
        self._timer.start()

    def over(self) -> None:
        """Everything is kept and closed."""
        if self.wanted.is_set():
            self.end_within(_EXIT_WITHIN_S)

    @staticmethod
    def _exit(code: int) -> None:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:  # also where nobody reads them any more
            os._exit(code)


@asynccontextmanager
async def stoppable(drain_s: float) -> AsyncIterator[Stop]:
    """SIGINT and SIGTERM are wishes to stop inside of this, also as process 1, which has no default for them."""
    stop, loop = Stop(drain_s), asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.want, number)
    try:
        yield stop
    finally:
        stop.over()


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM ends the program inside of this as Ctrl-C does, also as process 1, and before a loop runs."""
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


async def within(seconds: float, what: str, close: Callable[[], Awaitable[object]]) -> None:
    """Closes a part of the program; what takes longer is given up with a line in the log."""
    try:
        async with asyncio.timeout(seconds):
            await close()
    except TimeoutError:
        log.warning("%s did not end within %g s", what, seconds)


class Budget:
    """Seconds that several parts share, from when the first of them begins to end."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: float | None = None

    def left_s(self) -> float:
        now = asyncio.get_running_loop().time()
        self._until = self._until or now + self._seconds
        return max(_LEAST_S, self._until - now)


class Bounded(AbstractAsyncContextManager[T]):
    """A context whose end takes at most what is left of a budget, and is given up with a line in the log."""

    def __init__(self, what: str, context: AbstractAsyncContextManager[T], budget: Budget | None = None) -> None:
        self._what, self._context, self._budget = what, context, budget or Budget(PART_WITHIN_S)

    async def __aenter__(self) -> T:
        return await self._context.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        seconds = self._budget.left_s()
        try:
            async with asyncio.timeout(seconds):
                return await self._context.__aexit__(kind, error, trace)
        except TimeoutError:
            log.warning("%s did not end within %.1f s", self._what, seconds)
            return None

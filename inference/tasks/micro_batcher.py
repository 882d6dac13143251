"""What arrives within a few milliseconds is worked on together, in a thread of its own."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

I = TypeVar("I")  # noqa: E741
R = TypeVar("R")


class MicroBatcher(Generic[I, R]):
    """Collects items and hands them to `work`, at most `size` at once, one batch after the other.

    Args:
        work: called in `thread`; returns a result or an exception for each item, in their order. Where it raises, each
            item is tried alone, and fails alone.
        window_s: how long the first item waits for company. While a batch runs, the next one gathers anyway.
    """

    def __init__(
        self, work: Callable[[Sequence[I]], Sequence[R | Exception]], thread: Executor, *, size: int, window_s: float
    ) -> None:
        self.size = size
        self._work = work
        self._thread = thread
        self._window_s = window_s
        self._waiting: deque[tuple[I, asyncio.Future[R]]] = deque()
        self._busy = False

    async def put(self, item: I) -> R:
        """The result for this item. Whoever is cancelled takes nobody along."""
        loop = asyncio.get_running_loop()
        result: asyncio.Future[R] = loop.create_future()
        self._waiting.append((item, result))
        if not self._busy:
            self._busy = True
            loop.call_later(self._window_s, self._begin, loop)
        return await result

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        batch: list[tuple[I, asyncio.Future[R]]] = []
        while self._waiting and len(batch) < self.size:
            item, result = self._waiting.popleft()
            if not result.done():
                batch.append((item, result))
        self._busy = bool(batch)
        if not batch:
            return
        try:
            done = loop.run_in_executor(self._thread, self._work_on, [item for item, _ in batch])
        except RuntimeError as error:  # the thread was closed
            self._end(loop, [result for _, result in batch], [error] * len(batch))
            return
        results = [result for _, result in batch]
        done.add_done_callback(lambda future: self._end(loop, results, _outcomes(future, len(results))))

    def _work_on(self, items: Sequence[I]) -> Sequence[R | Exception]:
        try:
            return self._work(items)
        except Exception as error:
            if len(items) == 1:
                return [error]
        return [outcome for item in items for outcome in self._work_on([item])]

    def _end(
        self, loop: asyncio.AbstractEventLoop, waiting: Sequence[asyncio.Future[R]], results: Sequence[R | Exception]
    ) -> None:
        for future, result in zip(waiting, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
        self._begin(loop)


def _outcomes(future: asyncio.Future[Sequence[R | Exception]], count: int) -> Sequence[R | Exception]:
    """What the work returned; that its thread was closed is everybody's failure."""
    if future.cancelled():
        return [RuntimeError("closed")] * count
    error = future.exception()
    if error is None:
        return future.result()
    return [error if isinstance(error, Exception) else RuntimeError(repr(error))] * count

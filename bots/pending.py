"""Something that an answer needs from the model before it is asked: a person is told when it is away, and may stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, Generic, TypeVar

from bots.admission import Place
from bots.messages import Waiting
from inference.api import Inference

T = TypeVar("T")
_LOOK_EVERY_S = 1.0


class Pending(Generic[T]):
    """Work for the answer in this place. `result` is None as long as it is not done, and where it was stopped."""

    def __init__(self, inference: Inference, place: Place, work: Coroutine[Any, Any, T]) -> None:
        self._inference, self._place, self._work = inference, place, work
        self.result: T | None = None

    async def news(self) -> AsyncGenerator[Waiting, None]:
        """Does the work; yields once if the model is away meanwhile. Raises what the work raises."""
        if self._place.stopped:
            self._work.close()
            return
        task = self._place.pending = asyncio.ensure_future(self._work)
        told = False
        try:
            while not task.done():
                await asyncio.wait([task], timeout=_LOOK_EVERY_S)
                if not told and not task.done() and self._inference.is_away:
                    told = True
                    yield Waiting(0, None)
            if not task.cancelled():
                self.result = task.result()
        finally:
            self._place.pending = None
            task.cancel()
            await asyncio.wait([task])

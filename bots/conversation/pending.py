"""Something that an answer needs from the model before it is asked: a person hears what it waits for, and may stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import replace
from typing import Any, Generic, Literal, TypeVar

from bots.conversation.person_queue import QueueEntry
from bots.messages import QueueUpdate
from inference.api import Inference, Loading

T = TypeVar("T")
_FIRST_LOOK_S, _LOOK_EVERY_S = 0.3, 1.0
_STEPS = 20
"""In which a person hears of the share that is loaded: each is an edit of a message."""


class Pending(Generic[T]):
    """Work for the answer in this place. `result` is None as long as it is not done, and where it was stopped."""

    def __init__(
        self,
        inference: Inference,
        place: QueueEntry,
        work: Coroutine[Any, Any, T],
        what: Literal["model", "pictures"] = "model",
    ) -> None:
        self._inference, self._place, self._work, self._what = inference, place, work, what
        self.result: T | None = None

    async def news(self) -> AsyncGenerator[QueueUpdate, None]:
        """Does the work; yields what it waits for meanwhile, whenever that is another thing. Raises what it raises."""
        if self._place.stopped:
            self._work.close()
            return
        task = self._place.pending = asyncio.ensure_future(self._work)
        told: QueueUpdate | None = None
        pause_s = _FIRST_LOOK_S
        try:
            while not task.done():
                await asyncio.wait([task], timeout=pause_s)
                pause_s = _LOOK_EVERY_S
                news = None if task.done() else self._awaited()
                if news is not None and news != told:
                    told = news
                    yield news
            if not task.cancelled():
                self.result = task.result()
        finally:
            self._place.pending = None
            task.cancel()
            await asyncio.wait([task])

    def _awaited(self) -> QueueUpdate | None:
        loading = self._inference.loading() or (self._inference.loading(self._what) if self._what != "model" else None)
        if loading is not None and loading.state != "away":
            return QueueUpdate(0, None, _coarse(loading))
        return QueueUpdate(0, None) if loading or self._inference.is_away else None


def _coarse(loading: Loading) -> Loading:
    share = loading.share
    return loading if share is None else replace(loading, share=int(share * _STEPS) / _STEPS)

"""A process inside of a test that dies at a chosen moment: from then on nothing that it does has any effect."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from adapters.delivery.channel import Channel
from bots.ports import Storage, Turn

_CALLS = {"send", "find", "edit", "delete", "upload", "typing"}


class Life:
    """Ends at moment number `moments`: before or after a call to the storage or to the platform."""

    def __init__(self, moments: int) -> None:
        self.dead = asyncio.Event()
        self._left = moments

    async def moment(self) -> None:
        """Returns, or never returns."""
        if self._left == 0:
            self.dead.set()
        if self.dead.is_set():
            await asyncio.Event().wait()
        self._left -= 1

    def of(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def mortal(*args: Any, **kwargs: Any) -> Any:
            await self.moment()
            result = await call(*args, **kwargs)
            await self.moment()
            return result

        return mortal

    def storage(self, kept: Storage) -> Storage:
        """What is kept, in the hands of this process."""
        return cast(Storage, _MortalStorage(self, kept))

    def channel(self, channel: Channel) -> Channel:
        """The platform, as this process reaches it."""
        return cast(Channel, _MortalChannel(self, channel))


class _MortalStorage:
    def __init__(self, life: Life, kept: Storage) -> None:
        self._life, self._kept = life, kept

    def keep_soon(self, answer: Turn) -> None:
        if not self._life.dead.is_set():
            self._kept.keep_soon(answer)

    def __getattr__(self, name: str) -> Any:
        return self._life.of(getattr(self._kept, name))


class _MortalChannel:
    def __init__(self, life: Life, channel: Channel) -> None:
        self._life, self._channel = life, channel

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._channel, name)
        return self._life.of(found) if name in _CALLS else found

"""A process says nothing once another one may have taken its replies over.

`PermittedChannel` asks before each call of the outbox. The wire of a platform asks again before each of its requests:
one call may be several of these, and there are milliseconds of rendering before the first one, in which the process
may be stopped (SIGSTOP).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from adapters.delivery.channel import Channel, Frame, Limits

Permitted = Callable[[], Awaitable[bool]]
"""Returns when something may be said, which may be never; False where it returned at once."""


async def at_once() -> bool:
    """There is no other process."""
    return False


class PermittedChannel:
    """`channel`, of which each call that shows something waits for `permitted` first.

    Before it there may have been waits for the database, in any of which the process may have been stopped for longer
    than its lease lasts.
    """

    __slots__ = ("_channel", "_permitted")

    def __init__(self, channel: Channel, permitted: Permitted) -> None:
        self._channel, self._permitted = channel, permitted

    @property
    def limits(self) -> Limits:
        return self._channel.limits

    def measure(self, frame: Frame) -> int:
        return self._channel.measure(frame)

    def sending(self, reply_to: str | None, nonce: str) -> str | None:
        return self._channel.sending(reply_to, nonce)

    async def find(self, nonce: str) -> str | None:
        await self._permitted()
        return await self._channel.find(nonce)

    async def send(self, frame: Frame, *, reply_to: str | None, nonce: str) -> str:
        await self._permitted()
        return await self._channel.send(frame, reply_to=reply_to, nonce=nonce)

    async def edit(self, message_id: str, frame: Frame) -> str | None:
        await self._permitted()
        return await self._channel.edit(message_id, frame)

    async def delete(self, message_id: str) -> None:
        await self._permitted()
        await self._channel.delete(message_id)

    async def typing(self) -> None:
        await self._channel.typing()

    async def upload(self, name: str, data: bytes, *, reply_to: str | None, nonce: str, private: bool = False) -> str:
        await self._permitted()
        return await self._channel.upload(name, data, reply_to=reply_to, nonce=nonce, private=private)

"""A channel through which a process says nothing once another one may have taken its replies over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from adapters.delivery.channel import Channel, Frame, Limits


class PermittedChannel:
    """`channel`, of which each call that shows something waits for `permitted` first.

    One call of the outbox may be several of the platform, with waits for the database between them. A process may be
    stopped (SIGSTOP) in any of these waits for longer than its lease lasts.
    """

    __slots__ = ("_channel", "_permitted")

    def __init__(self, channel: Channel, permitted: Callable[[], Awaitable[bool]]) -> None:
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

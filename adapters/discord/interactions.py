"""The reply to an interaction: it begins with the interaction's token and goes on as the bot's own message.

A token lives for 15 minutes and an answer may wait and grow for longer, so the token is used for the first frame, for
what only the asker may see, and where the bot itself is not let in: it is then installed by the user alone.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from adapters.delivery.channel import Forbidden, Frame, Limits, MessageGone, Rejected
from adapters.discord.calls import Calls, Expired
from adapters.discord.channel import DiscordChannel, Echoes
from adapters.discord.content import NO_PINGS, WHISPERED, body, whispered

_FOLLOW_UP = "/webhooks/{webhook_id}/{webhook_token}"
_ORIGINAL = _FOLLOW_UP + "/messages/@original"
_MESSAGE = _FOLLOW_UP + "/messages/{message_id}"
_LOADING = 1 << 7

Deferred = Literal["shown", "private", "pressed"]
"""How an interaction was acknowledged: "is thinking" for all or for the asker alone, or a button that gave way."""


@dataclass(frozen=True, slots=True)
class Token:
    """What an interaction is answered with. The value is a secret as long as it lives, and empty when it is over."""

    application: str
    value: str = field(repr=False)
    deferred: Deferred = "shown"


class InteractionChannel(DiscordChannel):
    """A `Channel` that answers one interaction."""

    def __init__(
        self,
        calls: Calls,
        channel_id: str,
        limits: Limits,
        echoes: Echoes,
        sent: Callable[[str], None],
        *,
        token: Token,
    ) -> None:
        super().__init__(calls, channel_id, limits, echoes, sent)
        self._token = token
        self._deferred = token.deferred
        self._waits = token.deferred != "pressed"
        """The acknowledgement shows "is thinking" until it is filled."""
        self._fills = self._waits
        self._by_token: set[str] = set()
        """Messages that only the token may edit."""

    def goes_on(self) -> None:
        """The answer has messages already; an earlier process may have made one of the acknowledgement."""
        self._fills = False

    async def send(self, frame: Frame, *, reply_to: str | None, nonce: str) -> str:
        try:
            if self._deferred != "private" and frame.private:
                return await self._whisper(frame)
            if self._fills:
                return await self._fill(frame)
            if self._deferred == "private":
                return await self._follow_up(whispered(frame))
        except (Expired, MessageGone) as error:
            if self._deferred == "private":
                raise Forbidden("what was for the asker alone came too late") from error
            self._waits = self._fills = False
            self._deferred = "pressed"
        try:
            return await super().send(frame, reply_to=reply_to, nonce=nonce)
        except Forbidden:
            return await self._follow_up(body(frame))

    async def edit(self, message_id: str, frame: Frame) -> None:
        if message_id not in self._by_token:
            try:
                return await super().edit(message_id, frame)
            except Forbidden:
                self._by_token.add(message_id)
        try:
            await self._by_webhook("PATCH", _MESSAGE, message_id=message_id, body=body(frame))
        except Expired as error:
            raise Forbidden("the interaction is over and the bot may not edit here") from error

    async def typing(self) -> None:
        """ "Is thinking" is shown already."""

    async def _fill(self, frame: Frame) -> str:
        made = await self._by_webhook("PATCH", _ORIGINAL, body=body(frame))
        self._waits = self._fills = False
        message_id = str(made["id"])
        if self._deferred == "private":
            self._by_token.add(message_id)
        self._told(message_id)
        return message_id

    async def _whisper(self, frame: Frame) -> str:
        """The first follow-up takes the place of what is waiting and is as public as that, so it is removed first."""
        if self._fills:
            with suppress(MessageGone):
                await self._by_webhook("DELETE", _ORIGINAL)
            self._waits = self._fills = False
        return await self._follow_up(whispered(frame))

    async def _follow_up(self, what: dict[str, Any], file: tuple[str, bytes] | None = None) -> str:
        try:
            made = await self._by_webhook("POST", _FOLLOW_UP, body=what, file=file, query={"wait": "true"})
        except Expired as error:
            raise Forbidden("the interaction is over") from error
        message_id = str(made["id"])
        self._by_token.add(message_id)
        return message_id

    async def upload(self, name: str, data: bytes, *, reply_to: str | None, nonce: str, private: bool = False) -> str:
        if private or self._deferred == "private":
            return await self._follow_up(WHISPERED, (name, data))
        try:
            return await super().upload(name, data, reply_to=reply_to, nonce=nonce)
        except Rejected:
            return await self._follow_up({"allowed_mentions": NO_PINGS}, (name, data))

    async def close(self) -> None:
        """Takes back "is thinking" where nothing came to fill it; an earlier process may have filled it."""
        if not self._waits:
            return
        original = await self._by_webhook("GET", _ORIGINAL)
        if original.get("flags", 0) & _LOADING:
            await self._by_webhook("DELETE", _ORIGINAL)
        self._waits = False

    async def _by_webhook(self, method: str, path: str, **what: Any) -> Any:
        """A call with the token."""
        if not self._token.value:
            raise Expired("the token is over")
        ids: dict[str, Any] = {"webhook_id": self._token.application, "webhook_token": self._token.value}
        return await self._calls(method, path, **ids, **what)

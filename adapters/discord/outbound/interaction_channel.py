"""The reply to an interaction: it begins with the interaction's token and goes on as the bot's own message.

A token lives for 15 minutes and an answer may wait and grow for longer, so the token is used for the first frame, for
what only the asker may see, and where the bot itself is not let in. Where a person took it along to a place that it is
no member of, the response and five follow-ups are all the messages there may be. They may be edited without end, and
an edit may add files: so the files of a longer answer come with its last message.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from adapters.delivery.channel import Forbidden, Frame, Limits, MessageGone, Rejected
from adapters.discord.client.rest import TOO_MANY_FOLLOW_UPS, Expired, RestClient, RestError
from adapters.discord.outbound.channel import DiscordChannel, Echoes
from adapters.discord.outbound.content import NO_PINGS, WHISPERED, body, whispered

_FOLLOW_UP = "/webhooks/{webhook_id}/{webhook_token}"
_ORIGINAL = _FOLLOW_UP + "/messages/@original"
_MESSAGE = _FOLLOW_UP + "/messages/{message_id}"
_LOADING = 1 << 7
LIFETIME_S = 900.0
"""Of a token."""
MOST_MESSAGES = 5
"""Of one answer where only the token works; the sixth is left for a sentence for the asker alone."""

Deferred = Literal["shown", "private", "pressed"]
"""How an interaction was acknowledged: "is thinking" for all or for the asker alone, or a button that gave way."""


@dataclass(frozen=True, slots=True)
class InteractionToken:
    """What an interaction is answered with. The value is a secret as long as it lives, and empty when it is over.

    Args:
        borrowed: a person took the bot along to a place that it is no member of, so only the token works there.
        pressed: the id of the message whose button was pressed; only as the response itself it can be edited.
    """

    application: str
    value: str = field(repr=False)
    deferred: Deferred = "shown"
    borrowed: bool = False
    pressed: str = ""


class InteractionChannel(DiscordChannel):
    """A `Channel` that answers one interaction."""

    def __init__(
        self,
        calls: RestClient,
        channel_id: str,
        limits: Limits,
        echoes: Echoes,
        sent: Callable[[str], None],
        taken_back: Callable[[str], None] = lambda message_id: None,
        *,
        token: InteractionToken,
    ) -> None:
        super().__init__(calls, channel_id, limits, echoes, sent, taken_back)
        self._token = token
        self._deferred = token.deferred
        self._waits = token.deferred != "pressed"
        """The acknowledgement shows "is thinking" until it is filled."""
        self._fills = self._waits
        self._by_token: set[str] = set()
        """Messages that only the token may edit."""
        self.needs_token = token.borrowed
        """The bot itself may not write there."""
        self._is_spent = False
        """There may be no more follow-ups."""
        self._made: set[str] = set()
        self._last = ""
        """The message of the answer that was shown last; files may be added to it."""
        self._files: dict[str, list[dict[str, Any]]] = {}

    def goes_on(self, message_ids: Sequence[str]) -> None:
        """The answer has these messages already; an earlier process may have made one of the acknowledgement."""
        self._fills = False
        self._last = message_ids[-1]

    async def send(self, frame: Frame, *, reply_to: str | None, nonce: str) -> str:
        try:
            if self._deferred != "private" and frame.private:
                return await self._whisper(frame)
            if self._fills:
                return await self._fill(frame)
            if self._deferred == "private":
                return self._shows(await self._follow_up(whispered(frame)))
        except (Expired, MessageGone) as error:
            if self._deferred == "private":
                raise Forbidden("what was for the asker alone came too late") from error
            self._waits = self._fills = False
            self._deferred = "pressed"
        if not self.needs_token:
            try:
                return await super().send(frame, reply_to=reply_to, nonce=nonce)
            except Forbidden:
                self.needs_token = True
        return self._shows(await self._follow_up(body(frame)))

    def sending(self, reply_to: str | None, nonce: str) -> str | None:
        return None

    async def find(self, nonce: str) -> str | None:
        return None if self.needs_token else await super().find(nonce)

    async def edit(self, message_id: str, frame: Frame) -> str | None:
        if not self.needs_token and message_id not in self._by_token:
            try:
                return await super().edit(message_id, frame)
            except Forbidden:
                self.needs_token = True
        self._told(message_id)
        try:
            await self._edit_by_token(message_id, body(frame))
        except Expired as error:
            raise Forbidden("the interaction is over and the bot may not edit here") from error
        except MessageGone:
            if message_id in self._made or message_id in self._by_token:
                raise
            # A message of an earlier interaction: it stays as it is, and a new one goes on.
            return await self._send_again(frame)
        self._shows(message_id)
        return None

    async def delete(self, message_id: str) -> None:
        self._taken_back(message_id)
        if not self.needs_token and message_id not in self._by_token:
            try:
                return await super().delete(message_id)
            except Forbidden:
                self.needs_token = True
        try:
            await self._by_webhook("DELETE", _MESSAGE, message_id=message_id)
        except Expired as error:
            raise Forbidden("the interaction is over and the bot may not delete here") from error
        return None

    async def _edit_by_token(self, message_id: str, what: dict[str, Any], file: tuple[str, bytes] | None = None) -> Any:
        if message_id == self._token.pressed:
            return await self._by_webhook("PATCH", _ORIGINAL, body=what, file=file)
        return await self._by_webhook("PATCH", _MESSAGE, message_id=message_id, body=what, file=file)

    async def _send_again(self, frame: Frame) -> str:
        if self._waits:
            return await self._fill(frame)
        return self._shows(await self._follow_up(body(frame)))

    def _shows(self, message_id: str) -> str:
        self._last = message_id
        return message_id

    async def typing(self) -> None:
        """ "Is thinking" is shown already."""

    async def _fill(self, frame: Frame) -> str:
        made = await self._by_webhook("PATCH", _ORIGINAL, body=body(frame))
        self._waits = self._fills = False
        message_id = str(made["id"])
        if self._deferred == "private":
            self._by_token.add(message_id)
        self._made.add(message_id)
        self._told(message_id)
        return self._shows(message_id)

    async def _whisper(self, frame: Frame) -> str:
        """The first follow-up takes the place of what is waiting and is as public as that, so it is removed first."""
        if self._fills:
            with suppress(MessageGone):
                await self._by_webhook("DELETE", _ORIGINAL)
            self._waits = self._fills = False
        return await self._follow_up(whispered(frame))

    async def _follow_up(self, what: dict[str, Any], file: tuple[str, bytes] | None = None) -> str:
        """Raises Rejected, without a call from the second time on: there may be no more messages."""
        if self._is_spent:
            raise Rejected("the interaction has all its messages")
        try:
            made = await self._by_webhook("POST", _FOLLOW_UP, body=what, file=file, query={"wait": "true"})
        except Expired as error:
            raise Forbidden("the interaction is over") from error
        except RestError as error:
            self._is_spent = error.code == TOO_MANY_FOLLOW_UPS
            raise
        message_id = str(made["id"])
        self._by_token.add(message_id)
        self._made.add(message_id)
        self._told(message_id)
        return message_id

    async def upload(self, name: str, data: bytes, *, reply_to: str | None, nonce: str, private: bool = False) -> str:
        if private and self._deferred != "private":
            return await self._follow_up(WHISPERED, (name, data))
        if self._token.borrowed and self._last:
            return await self._attach(name, data)
        if self._deferred == "private":
            return await self._follow_up(WHISPERED, (name, data))
        if not self.needs_token:
            try:
                return await super().upload(name, data, reply_to=reply_to, nonce=nonce)
            except Rejected:
                pass
        try:
            return await self._follow_up({"allowed_mentions": NO_PINGS}, (name, data))
        except Rejected:
            if not self._last:
                raise
            return await self._attach(name, data)

    async def _attach(self, name: str, data: bytes) -> str:
        """Adds the file to the message that was shown last; once, though it may have to be tried again."""
        what = {"attachments": self._files.get(self._last, [])}
        try:
            made = await self._edit_by_token(self._last, what, (name, data))
        except Expired as error:
            raise Forbidden("the interaction is over") from error
        self._files[self._last] = [{"id": each["id"]} for each in made.get("attachments", [])]
        return self._last

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

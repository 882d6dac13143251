"""One Discord channel, thread or direct message as the delivery sees it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from adapters.delivery.channel import Forbidden, Frame, Limits, Rejected
from adapters.delivery.pacing.rate_budget import Rate
from adapters.discord.client.rest import ARCHIVED, NO_HISTORY, RestClient, RestError
from adapters.discord.outbound.content import MESSAGE_UNITS, NO_PINGS, body, content, units

UPLOAD_BYTES = 10 * 1024 * 1024
"""What every server allows; boosted ones allow more."""
_MESSAGES = "/channels/{channel_id}/messages"
_MESSAGE = _MESSAGES + "/{message_id}"
_RATE = Rate(5, 5.1)
"""Of new messages in a channel, and of edits: 5 in 5 s, and a little more keeps clear of the edge."""
CALLS_PER_MINUTE = 60 / _RATE.interval_s
"""What a channel takes, of each of the two."""
_ACCOUNT_RATE = Rate(45, 1.0)
"""Discord allows 50 requests a second to an account; some are left for what is no message."""
_SEARCHED = 50
_REMEMBERED_ECHOES = 1000


class Echoes:
    """Which of our nonces came back over the gateway, and as which message: the surest sign of what was sent."""

    def __init__(self) -> None:
        self._messages: OrderedDict[str, str] = OrderedDict()

    def heard(self, nonce: str, message_id: str) -> None:
        self._messages[nonce] = message_id
        if len(self._messages) > _REMEMBERED_ECHOES:
            self._messages.popitem(last=False)

    def message(self, nonce: str) -> str | None:
        return self._messages.get(nonce)


def limits(
    account: str, upload_bytes: int = UPLOAD_BYTES, *, private_files: bool = False, most_messages: int = 0
) -> Limits:
    return Limits(
        most_messages=most_messages,
        message_units=MESSAGE_UNITS,
        upload_bytes=upload_bytes,
        private_files=private_files,
        rate=_RATE,
        edit_rate=_RATE,
        typing_s=8.0,
        account=account,
        account_rate=_ACCOUNT_RATE,
    )


class DiscordChannel:
    """A `Channel` through the bot's own messages.

    Args:
        sent: told the id of every message that is sent or edited here; for whoever must know where an answer is.
        taken_back: told the id of every message that is about to be deleted here: no person has deleted it.
    """

    def __init__(
        self,
        calls: RestClient,
        channel_id: str,
        limits: Limits,
        echoes: Echoes,
        sent: Callable[[str], None] = lambda message_id: None,
        taken_back: Callable[[str], None] = lambda message_id: None,
    ) -> None:
        self._calls, self._id, self._limits, self._echoes, self._told = calls, channel_id, limits, echoes, sent
        self._taken_back = taken_back

    @property
    def limits(self) -> Limits:
        return self._limits

    def measure(self, frame: Frame) -> int:
        """UTF-16 units of the rendered message."""
        return units(content(frame))

    async def send(self, frame: Frame, *, reply_to: str | None, nonce: str) -> str:
        return await self._post(body(frame), reply_to, nonce)

    def sending(self, reply_to: str | None, nonce: str) -> str | None:
        return None

    async def find(self, nonce: str) -> str | None:
        """Looks at what the gateway has echoed, then at the newest messages; None where the history is closed to us."""
        if (message_id := self._echoes.message(nonce)) is not None:
            return message_id
        try:
            newest = await self._calls("GET", _MESSAGES, channel_id=self._id, query={"limit": _SEARCHED})
        except (Forbidden, Rejected):
            return None
        return next((str(message["id"]) for message in newest if str(message.get("nonce")) == nonce), None)

    async def edit(self, message_id: str, frame: Frame) -> str | None:
        self._told(message_id)
        await self._open("PATCH", _MESSAGE, message_id=message_id, body=body(frame))
        return None

    async def delete(self, message_id: str) -> None:
        self._taken_back(message_id)
        await self._open("DELETE", _MESSAGE, message_id=message_id)

    async def typing(self) -> None:
        await self._calls("POST", "/channels/{channel_id}/typing", channel_id=self._id)

    async def upload(self, name: str, data: bytes, *, reply_to: str | None, nonce: str, private: bool = False) -> str:
        """Raises Rejected where the bot may not attach files: the text has arrived, so the reply goes on."""
        try:
            return await self._post({"allowed_mentions": NO_PINGS}, reply_to, nonce, (name, data))
        except Forbidden as error:
            raise Rejected(f"no file may be attached here: {error}") from error

    async def _post(
        self, what: dict[str, Any], reply_to: str | None, nonce: str, file: tuple[str, bytes] | None = None
    ) -> str:
        """A message with this nonce that there is already takes the place of a new one, and shows this from now on."""
        what = what | {"nonce": nonce, "enforce_nonce": True}
        reference = {"message_reference": {"message_id": reply_to, "fail_if_not_exists": False}} if reply_to else {}
        try:
            made = await self._open("POST", _MESSAGES, body=what | reference, file=file)
        except RestError as error:
            if error.code != NO_HISTORY:
                raise
            made = await self._open("POST", _MESSAGES, body=what, file=file)
        message_id = str(made["id"])
        self._told(message_id)
        words = str(what.get("content", ""))
        if str(made.get("content", words)).strip() != words.strip():
            await self._open("PATCH", _MESSAGE, message_id=message_id, body=what)
        return message_id

    async def _open(self, method: str, path: str, **what: Any) -> Any:
        """The call, once more after opening the thread if that has been archived meanwhile."""
        try:
            return await self._calls(method, path, channel_id=self._id, **what)
        except RestError as error:
            if error.code != ARCHIVED:
                raise
        try:
            await self._calls("PATCH", "/channels/{channel_id}", channel_id=self._id, body={"archived": False})
        except RestError as error:
            raise Forbidden(f"the thread is locked: {error}") from error
        return await self._calls(method, path, channel_id=self._id, **what)

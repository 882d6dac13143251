"""Growing answers as drafts, in private chats: Telegram shows a draft for half a minute and keeps nothing of it.

To the delivery a draft is a message like others. With its last frame it becomes one, under the id that this has then.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from telegram import Bot
from telegram.error import InvalidToken, TelegramError

from adapters.delivery.channel import SENDING, Forbidden, Frame, Limits, MessageGone, Rejected
from adapters.telegram.client.addresses import Destination
from adapters.telegram.client.errors import channel_error
from adapters.telegram.outbound.channel import Sightings, TelegramChannel
from adapters.telegram.outbound.rendering import entities

log = logging.getLogger(__name__)

_FADES_S = 20.0
"""Telegram takes a draft away after 30 s."""
_DRAFT, _LATER = "draft:", ":later"


class Switch:
    """Whether the server takes drafts at all, as far as all channels of a bot have seen."""

    works = True


class DraftChannel(TelegramChannel):
    """Shows growing frames as drafts, unless the server refuses one: then this answer is written by edits.

    Args:
        switch: shared by all channels of the bot.
    """

    def __init__(
        self,
        bot: Bot,
        destination: Destination,
        limits: Limits,
        sightings: Sightings,
        asked: str | None,
        is_recorded: Callable[[str], Awaitable[bool]],
        switch: Switch,
    ) -> None:
        super().__init__(bot, destination, limits, sightings, asked, is_recorded)
        self._fading = replace(limits, growing_s=_FADES_S)
        self._asked = asked
        self._switch = switch
        self._refused = False
        self._drafts: dict[str, str | None] = {}
        """What is shown now, and the message that each replies to."""

    @property
    def limits(self) -> Limits:
        return self._fading if self._takes_drafts else super().limits

    async def send(self, frame: Frame, *, reply_to: str | None, nonce: str) -> str:
        name = _name(nonce) if reply_to is not None else f"{_name(nonce)}{_LATER}"
        if frame.growing and self._takes_drafts:
            self._drafts[name] = reply_to
            if await self._is_drafted(name, frame):
                return name
        self._drafts.pop(name, None)
        return await super().send(frame, reply_to=reply_to, nonce=nonce)

    def sending(self, reply_to: str | None, nonce: str) -> str | None:
        """A draft has its name from its nonce."""
        return None if self._takes_drafts else super().sending(reply_to, nonce)

    async def find(self, nonce: str) -> str | None:
        """A draft can be shown again; it is the same one."""
        drafts = () if nonce.startswith(SENDING) else (_name(nonce), f"{_name(nonce)}{_LATER}")
        for name in drafts:
            if name in self._drafts:
                return name
        return await super().find(nonce)

    async def edit(self, message_id: str, frame: Frame) -> str | None:
        if not message_id.startswith(_DRAFT):
            return await super().edit(message_id, frame)
        if frame.growing and self._takes_drafts and await self._is_drafted(message_id, frame):
            return None
        if message_id not in self._drafts:
            # An earlier process's, which may have gone further than it lived to record.
            self._drafts[message_id] = None if message_id.endswith(_LATER) else self._asked
            self._attempts[self._instead_of(message_id)] = self._left
        sent = await self._sent_instead_of(message_id, frame, self._drafts[message_id])
        del self._drafts[message_id]
        return sent

    async def delete(self, message_id: str) -> None:
        if not message_id.startswith(_DRAFT):
            await super().delete(message_id)

    @property
    def _takes_drafts(self) -> bool:
        return self._switch.works and not self._refused

    async def _is_drafted(self, name: str, frame: Frame) -> bool:
        text = self._render(frame)
        try:
            await self._bot.send_message_draft(
                chat_id=self._here.chat_id,
                draft_id=int(name.removeprefix(_DRAFT).removesuffix(_LATER)),
                text=text.text,
                message_thread_id=self._here.thread_id,
                entities=entities(text),
            )
        except TelegramError as error:
            failure = channel_error(error)
            if not isinstance(failure, Rejected | Forbidden | MessageGone):
                raise failure from error
            self._refused = True
            self._switch.works = not isinstance(error, InvalidToken)
            log.warning("%s: no drafts, the answer is written by edits: %s", self._here.chat, error)
            return False
        return True


def _name(nonce: str) -> str:
    """The same after a restart; Telegram takes any number but 0."""
    return f"{_DRAFT}{int(nonce[:7], 16) + 1}"

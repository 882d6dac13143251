"""Groups that became supergroups: one conversation under two ids, with two numberings of its messages.

Telegram tells it three times: in the old chat, in the new one, and to whoever still writes to the old one. Whatever is
heard first is kept, and what concerns either chat is the same chat from then on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import overload

from telegram import Update

from adapters.telegram.client.addresses import account
from adapters.telegram.updates.parsing import ButtonPress, IncomingMessage
from bots.ports import Preferences

log = logging.getLogger(__name__)

_TO, _FROM = "moved_to", "moved_from"
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class ChatMigration:
    """The ids of a chat as a group, and as a supergroup."""

    former: int
    now: int


def move_told_by(update: Update) -> ChatMigration | None:
    """The move that a service message tells of."""
    message = update.message
    if message is None:
        return None
    if message.migrate_to_chat_id is not None:
        return ChatMigration(message.chat.id, message.migrate_to_chat_id)
    if message.migrate_from_chat_id is not None:
        return ChatMigration(message.migrate_from_chat_id, message.chat.id)
    return None


class ChatMigrations:
    """The moves of one bot's chats, kept beside what else is set for a chat."""

    def __init__(self, kept: Preferences, bot_id: int) -> None:
        self._kept = kept
        self._bot_id = bot_id
        self._known: OrderedDict[int, ChatMigration | None] = OrderedDict()
        self._recording = asyncio.Lock()
        """What comes after a move waits until it is kept."""

    async def record(self, move: ChatMigration) -> None:
        async with self._recording:
            if await self._look_up(move.now) == move == await self._look_up(move.former):
                return
            await self._kept.set_preferences(self._name(move.now), {_FROM: str(move.former)})
            await self._kept.set_preferences(self._name(move.former), {_TO: str(move.now)})
            self._remember(move.now, move)
            self._remember(move.former, move)
            log.info("group %s is the supergroup %s now", move.former, move.now)

    @overload
    async def followed(self, request: IncomingMessage) -> IncomingMessage: ...
    @overload
    async def followed(self, request: IncomingMessage | ButtonPress) -> IncomingMessage | ButtonPress: ...
    async def followed(self, request: IncomingMessage | ButtonPress) -> IncomingMessage | ButtonPress:
        """The same request, answered where the chat is now, with the names that its messages have beyond Telegram."""
        asked_in = request.destination
        move = await self._move_of(asked_in.chat_id)
        if move is None:
            return request
        here = replace(asked_in, chat_id=move.now, former=move.former)
        if asked_in.chat_id == move.former:
            return replace(request, destination=replace(here, thread_id=None))
        return request.renamed(here)

    async def _move_of(self, chat_id: int) -> ChatMigration | None:
        if chat_id > 0:
            return None
        if chat_id in self._known and not self._recording.locked():
            return self._known[chat_id]
        async with self._recording:
            return await self._look_up(chat_id)

    async def _look_up(self, chat_id: int) -> ChatMigration | None:
        if chat_id not in self._known:
            kept = await self._kept.preferences(self._name(chat_id))
            if _FROM in kept:
                self._remember(chat_id, ChatMigration(int(kept[_FROM]), chat_id))
            else:
                self._remember(chat_id, ChatMigration(chat_id, int(kept[_TO])) if _TO in kept else None)
        return self._known[chat_id]

    def _remember(self, chat_id: int, move: ChatMigration | None) -> None:
        self._known[chat_id] = move
        self._known.move_to_end(chat_id)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def _name(self, chat_id: int) -> str:
        return f"{account(self._bot_id)}:{chat_id}"

"""Listens to messages: which are for the bot, what they reply to, and which belong together."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field, replace

import discord

from adapters.discord import reading
from adapters.discord.access import is_allowed, listens
from adapters.discord.answers import Answers
from adapters.discord.events import Event
from adapters.discord.places import Places
from bots.commands import read
from config.settings import DiscordSettings

_CHAIN = 4
"""Messages of a reply chain that are read from Discord where our own store has none of them."""


@dataclass(kw_only=True)
class Listener:
    """Turns the gateway's messages into events."""

    answers: Answers
    places: Places
    settings: DiscordSettings
    me: discord.ClientUser | None = None
    _pending: OrderedDict[tuple[str, str], list[Event]] = field(default_factory=OrderedDict)
    """Messages that may go on, by channel and author."""

    async def on_message(self, message: discord.Message) -> None:
        if self.me is None:
            return
        if message.author.id == self.me.id:
            if message.nonce is not None:
                self.answers.echoes.heard(str(message.nonce), str(message.id))
            return
        if not reading.is_said_by_a_person(message) or not await self._is_for_us(message, self.me):
            return
        fresh = self.settings.threads and not reading.is_in_thread(message.channel, self.me)
        event = reading.event_of_message(message, self.me, in_new_thread=fresh)
        event = await self._with_what_it_replies_to(message, event)
        if not event.text and not event.files and message.guild and self.me not in message.mentions:
            return  # without the intent for message contents such a message comes empty
        if await self.answers.record(event):
            await self.places.saw(self.answers.account, str(message.channel.id), str(message.id))
            self._take(event)

    async def on_raw_message_delete(self, deleted: discord.RawMessageDeleteEvent) -> None:
        await self.answers.gone(str(deleted.message_id))

    async def _is_for_us(self, message: discord.Message, me: discord.ClientUser) -> bool:
        here = reading.where(message)
        if not is_allowed(self.settings, here):
            return False
        if not (
            reading.addresses(message, me)
            or listens(self.settings, here)
            or (str(message.channel.id), str(message.author.id)) in self._pending
        ):
            return False
        return await self.places.answers_in(here)

    async def _with_what_it_replies_to(self, message: discord.Message, event: Event) -> Event:
        """An answer of ours is known to the bot; any other message, and what that replies to, is quoted."""
        if message.reference is None or message.reference.message_id is None:
            return event
        replied = str(message.reference.message_id)
        if await self.answers.storage.answer_at(f"discord:{message.channel.id}", replied):
            return replace(event, replies_to=replied)
        text, files = event.text, event.files
        if read(text) is not None:
            return event
        for other in await self._chain(message):
            text = reading.quoted(other, text)
            files = files or reading.files(other)
        return replace(event, text=text, files=files)

    async def _chain(self, message: discord.Message) -> list[discord.Message]:
        """The messages before this one in its reply chain, newest first."""
        chain: list[discord.Message] = []
        while message.reference is not None and message.reference.message_id is not None and len(chain) < _CHAIN:
            before = reading.replied_message(message)
            try:
                before = before or await message.channel.fetch_message(message.reference.message_id)
            except discord.DiscordException:
                break
            chain.append(before)
            message = before
        return chain

    def _take(self, event: Event) -> None:
        """A command is answered at once; other words wait a moment for what is written right after them."""
        key = event.channel, event.author
        if not self.settings.together_s or read(event.text) is not None:
            self.answers.answer([event])
            return
        if key in self._pending:
            self._pending[key].append(event)
        else:
            self._pending[key] = [event]
            self.answers.begin(self._wait_for_more(key))

    async def _wait_for_more(self, key: tuple[str, str]) -> None:
        """Until nothing has been added for the time that messages may lie apart."""
        count = 0
        while count < len(self._pending[key]):
            count = len(self._pending[key])
            await asyncio.sleep(self.settings.together_s)
        self.answers.answer(self._pending.pop(key))

"""Listens to messages: which are for the bot, and what they reply to."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field, replace

import aiohttp
import discord

from adapters.discord.access import is_allowed, listens
from adapters.discord.client.retry import patiently
from adapters.discord.inbound import parsing
from adapters.discord.inbound.aggregation import MessageAggregator
from adapters.discord.inbound.event_handler import DiscordEventHandler
from adapters.discord.inbound.events import DiscordEvent
from adapters.discord.inbound.guild_state import GuildState
from bots.access.rates import Rates
from bots.commands.registry import read
from bots.ports import StorageError
from config.settings import DiscordSettings

log = logging.getLogger(__name__)

_NO_ID = 2**63
"""Of no message; a mark at one like that could not be read as a time."""
_CHAIN = 4
"""Messages of a reply chain that are read from Discord where our own store has none of them."""
_READS = 60
"""So many of them for one person in a minute; without what else a message replies to, it is answered as it is."""


@dataclass(kw_only=True)
class MessageListener:
    """Turns the gateway's messages into events."""

    answers: DiscordEventHandler
    places: GuildState
    settings: DiscordSettings
    me: discord.ClientUser | None = None
    _gathering: MessageAggregator = field(init=False)
    _reads: Rates = field(default_factory=Rates)
    _unheard: list[discord.Message] = field(default_factory=list)
    """Of people; those that are still to be looked at, or to be kept."""

    def __post_init__(self) -> None:
        self._gathering = MessageAggregator(self.answers, self.settings.together_s)

    async def on_message(self, message: discord.Message) -> None:
        await self._heard(message, missed=False)

    async def on_missed(self, message: discord.Message) -> None:
        """A message that was found in its channel, and may have been answered.

        Raises:
            StorageError: it is not known whether it was.
            DiscordException, ClientError, OSError, TimeoutError: nor whether its author may ask.
        """
        if self.settings.roles and self.me is not None and self._is_addressed(message, self.me):
            await self._look_up_roles(message)
        await self._heard(message, missed=True)

    def unheard(self) -> list[int]:
        """The ids of the messages that are still to be looked at, or to be stored."""
        return [message.id for message in self._unheard]

    @staticmethod
    async def _look_up_roles(message: discord.Message) -> None:
        """A channel's history says who wrote a message, but not what roles they have."""
        if message.guild is not None and not isinstance(message.author, discord.Member):
            try:
                message.author = await message.guild.fetch_member(message.author.id)
            except (discord.NotFound, discord.Forbidden) as error:
                log.info("message %s: its author's roles are not known: %s", message.id, type(error).__name__)

    async def _heard(self, message: discord.Message, *, missed: bool) -> None:
        if self.me is None or not 0 < message.id < _NO_ID:
            return
        if message.author.id == self.me.id:
            if message.nonce is not None:
                self.answers.echoes.heard(str(message.nonce), str(message.id))
            return
        if parsing.is_said_by_a_person(message):
            since = asyncio.get_running_loop().time()
            self._unheard.append(message)
            try:
                async with self._gathering.line(str(message.channel.id), str(message.author.id)):
                    await self._hear(message, self.me, since, missed)
            finally:
                self._unheard.remove(message)

    async def _hear(self, message: discord.Message, me: discord.ClientUser, since: float, missed: bool) -> None:
        """The edge: whatever keeps the message from being kept becomes a sentence and a log line here."""
        try:
            event = self._event_of(message, me)
        except Exception:
            log.exception("message %s is left out, it cannot be read", message.id)
            return
        if event is None:
            return
        try:
            await self._take(message, event, since)
        except Exception as error:
            if missed and isinstance(error, StorageError):
                raise
            if self.answers.stopping.is_set():
                log.info("event %s is left for the next start: %r", event.id, error)
                return
            log.exception("event %s could not be kept", event.id)
            self.answers.apologise(event)

    def _event_of(self, message: discord.Message, me: discord.ClientUser) -> DiscordEvent | None:
        """None where it is not for the bot."""
        if not self._is_said_to(message, me):
            return None
        fresh = self.settings.threads and not parsing.is_in_thread(message.channel, me)
        event = parsing.event_of_message(message, me, in_new_thread=fresh)
        if not event.text and not event.files and message.guild and me not in message.mentions:
            return None  # without the intent for message contents such a message comes empty
        return event

    async def _take(self, message: discord.Message, event: DiscordEvent, since: float) -> None:
        if not await patiently(lambda: self.places.answers_in(parsing.where(message)), since):
            return
        whole = await patiently(lambda: self._with_what_it_replies_to(message, event), since)
        if await patiently(lambda: self._gathering.take(whole), since):
            await self._saw(message)

    async def _saw(self, message: discord.Message) -> None:
        """Moves the mark of the channel, but not past what is still to be kept: a restart looks behind the mark."""
        if any(each.channel.id == message.channel.id and each.id < message.id for each in self._unheard):
            return
        try:
            await self.places.saw(self.answers.account, str(message.channel.id), str(message.id))
        except StorageError as error:
            log.warning("channel %s: how far it was read could not be kept: %s", message.channel.id, error)

    async def on_raw_message_delete(self, deleted: discord.RawMessageDeleteEvent) -> None:
        await self.answers.gone(str(deleted.channel_id), str(deleted.message_id))

    async def on_raw_bulk_message_delete(self, deleted: discord.RawBulkMessageDeleteEvent) -> None:
        await self.answers.gone(str(deleted.channel_id), *map(str, deleted.message_ids))

    async def on_raw_message_edit(self, changed: discord.RawMessageUpdateEvent) -> None:
        """Discord tells of an edit in the same way that it tells of a preview which it has added to a link."""
        message = changed.message
        if message.edited_at is not None and self.me is not None and message.author.id != self.me.id:
            await self.answers.edited(str(changed.channel_id), str(changed.message_id))

    def _is_said_to(self, message: discord.Message, me: discord.ClientUser) -> bool:
        return is_allowed(self.settings, parsing.where(message)) and self._is_addressed(message, me)

    def _is_addressed(self, message: discord.Message, me: discord.ClientUser) -> bool:
        return parsing.is_said_by_a_person(message) and (
            parsing.addresses(message, me)
            or listens(self.settings, parsing.where(message))
            or self._gathering.goes_on(str(message.channel.id), str(message.author.id), str(message.id))
        )

    async def _with_what_it_replies_to(self, message: discord.Message, event: DiscordEvent) -> DiscordEvent:
        """An answer of ours is known to the bot; any other message, and what that replies to, is quoted."""
        if message.reference is None or message.reference.message_id is None or parsing.is_forward(message):
            return event
        if self.answers.bot.is_stranger(event.incoming()):
            return event
        replied = str(message.reference.message_id)
        answer_id = await self.answers.storage.answer_at(f"discord:{message.channel.id}", replied)
        if answer_id and await self.answers.storage.turn(answer_id):
            return replace(event, replies_to=replied)
        text, files = event.text, event.files
        if read(text) is not None:
            return event
        for other in await self._chain(message):
            text = parsing.quoted(other, text)
            files = files or parsing.files(other)
        return replace(event, text=text, files=files)

    async def _chain(self, message: discord.Message) -> list[discord.Message]:
        """The messages before this one in its reply chain, newest first."""
        chain: list[discord.Message] = []
        asker = message.author.id
        while message.reference is not None and message.reference.message_id is not None and len(chain) < _CHAIN:
            if parsing.is_forward(message):
                break
            before = parsing.replied_message(message)
            if before is None and not self._may_read(asker):
                break
            try:
                before = before or await message.channel.fetch_message(message.reference.message_id)
            except (discord.DiscordException, aiohttp.ClientError, OSError, TimeoutError) as error:
                log.info("message %s: what it replies to is not known: %s", message.id, type(error).__name__)
                break
            chain.append(before)
            message = before
        return chain

    def _may_read(self, asker: int) -> bool:
        """Count one look at a message for this person, if it is not one too many in a minute."""
        now = time.monotonic()
        if self._reads.wait_s(asker, _READS, now) > 0:
            return False
        self._reads.add(asker, now)
        return True

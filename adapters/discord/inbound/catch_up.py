"""Messages that were written while the bot was down, also in places where nobody had spoken to it before.

A server tells with every new session which message is the newest of each of its channels and active threads, so only
those with news are read. Direct channels and archived threads are not in that list: the former are looked into where
the bot was spoken to before, the latter are asked for, channel by channel. Nothing tells of a first direct message.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import aiohttp
import discord

from adapters.discord.access import Where, is_allowed
from adapters.discord.inbound.guild_state import GuildState, ReadMarker
from adapters.discord.inbound.parsing import above
from bots.ports import StorageError
from config.settings import DiscordSettings

log = logging.getLogger(__name__)

_PLACES = 200
"""Those with the newest messages."""
_ELSEWHERE = 100
"""Direct channels, and threads that were archived: those where the bot was spoken to last."""
_MESSAGES = 1000
"""Of one place, by everybody; the newest ones."""
_AGE = timedelta(days=1)
_OVERLAP = timedelta(minutes=2)
"""A connection may be dead for so long before that is noticed, and older messages may be kept after newer ones."""
_SOONEST_ARCHIVED = timedelta(hours=1)
"""No thread is archived for being silent before that."""
_ARCHIVED = 25
"""Threads of one channel, those that were archived last."""
_PAGE = 100
_PAUSE_S = 0.25
"""Before every call: Discord allows 50 a second, and answers use up to 45 of them."""
_RETRIES_S = (1.0, 5.0, 20.0)
_GONE = (discord.NotFound, discord.Forbidden)
_FAULTS = (discord.DiscordException, aiohttp.ClientError, OSError, TimeoutError)
_Place = discord.TextChannel | discord.VoiceChannel | discord.StageChannel | discord.Thread


@dataclass(frozen=True, slots=True)
class CatchUp:
    """Hands over (`take`) what people wrote since the bot was last there; the inbox knows what it had.

    Args:
        seen: how far everything was read, from before anything of the new session was heard.
    """

    client: discord.Client
    places: GuildState
    settings: DiscordSettings
    account: str
    seen: ReadMarker
    take: Callable[[discord.Message], Awaitable[None]]
    """May be called again with a message that it had. Raises StorageError, and what a look at that fails with."""

    async def read(self, shard: int | None) -> bool:
        """Read the places of one shard, or all of them; False if one of them could not be read.

        Raises StorageError, and may be called again.
        """
        guilds = [each for each in self.client.guilds if shard is None or each.shard_id == shard]
        whole = await self.read_guilds(guilds)
        if shard in (None, 0):
            whole &= await self._read_elsewhere()
        return whole

    async def read_guilds(self, guilds: Sequence[discord.Guild]) -> bool:
        """The same for these servers alone, without direct channels."""
        found = [place for guild in guilds for place in (*_channels(guild), *guild.threads) if self._has_news(place)]
        found.sort(key=lambda place: place.last_message_id or 0, reverse=True)
        if len(found) > _PLACES:
            log.warning("%d places have news since the bot was last there; %d are read", len(found), _PLACES)
        whole = True
        for place in found[:_PLACES]:
            whole &= await self._read(place.id, self._since(place))
        async for thread in self._archived(guilds):
            if self._has_news(thread):
                whole &= await self._read(thread.id, self._since(thread))
        return whole

    async def _read_elsewhere(self) -> bool:
        elsewhere = [int(each) for each in self.seen.newest if self.client.get_channel(int(each)) is None]
        elsewhere.sort(key=lambda each: int(self.seen.newest[str(each)]), reverse=True)
        whole = True
        for channel_id in elsewhere[:_ELSEWHERE]:
            since = discord.utils.snowflake_time(int(self.seen.newest[str(channel_id)])) - _OVERLAP
            whole &= await self._read(channel_id, max(since, _oldest()))
        for channel_id in elsewhere[_ELSEWHERE:]:
            await self.places.forget(self.account, str(channel_id))
        return whole

    async def _read(self, channel_id: int, since: datetime) -> bool:
        for pause_s in (*_RETRIES_S, None):
            try:
                for message in await self._written(channel_id, since):
                    await self.take(message)
                return True
            except _GONE:
                if str(channel_id) in self.seen.newest:
                    await self.places.forget(self.account, str(channel_id))
                return True
            except _FAULTS as error:
                if pause_s is None:
                    log.warning("channel %s could not be read after the start: %s", channel_id, type(error).__name__)
                    break
                await asyncio.sleep(pause_s)
            except StorageError:
                raise
            except Exception:
                if not self.client.is_closed():
                    log.exception("channel %s could not be read after the start", channel_id)
                break
        return False

    async def _written(self, channel_id: int, since: datetime) -> list[discord.Message]:
        """Oldest first."""
        await asyncio.sleep(_PAUSE_S)
        channel = self.client.get_channel(channel_id) or await self.client.fetch_channel(channel_id)
        found: list[discord.Message] = []
        if isinstance(channel, discord.abc.Messageable):
            after = discord.Object(discord.utils.time_snowflake(since))
            async for message in channel.history(after=after, limit=_MESSAGES, oldest_first=False):
                found.append(message)
                if len(found) % _PAGE == 0:
                    await asyncio.sleep(_PAUSE_S)
        return found[::-1]

    def _has_news(self, place: _Place) -> bool:
        if place.last_message_id is None or not (self.seen.until or str(place.id) in self.seen.newest):
            return False
        is_newer = place.last_message_id > discord.utils.time_snowflake(self._since(place))
        return is_newer and self._is_open(place)

    def _since(self, place: _Place) -> datetime:
        """What is older was heard, is too old, or was written before the bot was let in."""
        known = max(self.seen.until, int(self.seen.newest.get(str(place.id), 0)))
        since = [discord.utils.snowflake_time(known) - _OVERLAP, _oldest()]
        if place.guild.me is not None and place.guild.me.joined_at is not None:
            since.append(place.guild.me.joined_at)
        return max(since)

    def _is_open(self, channel: _Place | discord.ForumChannel) -> bool:
        """Whether the bot may read there, and is wanted there."""
        guild, me = channel.guild, channel.guild.me
        here = Where(guild=str(guild.id), channel=str(channel.id), above=above(channel), roles=self.settings.roles)
        if not is_allowed(self.settings, here):
            return False
        try:
            may = channel.permissions_for(me)
        except (discord.ClientException, AttributeError):
            return True  # a thread without its channel, or a server without the bot in it: the call will tell
        return may.view_channel and may.read_message_history

    async def _archived(self, guilds: Sequence[discord.Guild]) -> AsyncIterator[discord.Thread]:
        """Threads that may have been spoken in and archived while the bot was down."""
        until = discord.utils.snowflake_time(self.seen.until) if self.seen.until else discord.utils.utcnow()
        if discord.utils.utcnow() - until < _SOONEST_ARCHIVED:
            return
        channels: list[discord.TextChannel | discord.ForumChannel] = []
        for guild in guilds:
            channels += guild.text_channels
            channels += guild.forums
        for channel in list(filter(self._is_open, channels))[:_PLACES]:
            try:
                async for thread in _archived_in(channel, max(until, _oldest())):
                    yield thread
            except _FAULTS as error:
                log.info("archived threads of channel %s: %s", channel.id, type(error).__name__)


def _channels(guild: discord.Guild) -> Iterator[discord.TextChannel | discord.VoiceChannel | discord.StageChannel]:
    yield from guild.text_channels
    yield from guild.voice_channels
    yield from guild.stage_channels


async def _archived_in(
    channel: discord.TextChannel | discord.ForumChannel, since: datetime
) -> AsyncIterator[discord.Thread]:
    await asyncio.sleep(_PAUSE_S)
    async for thread in channel.archived_threads(limit=_ARCHIVED):
        if thread.archive_timestamp < since:
            break
        yield thread
    if isinstance(channel, discord.TextChannel):
        await asyncio.sleep(_PAUSE_S)
        async for thread in channel.archived_threads(limit=_ARCHIVED, private=True, joined=True):
            yield thread


def _oldest() -> datetime:
    return discord.utils.utcnow() - _AGE

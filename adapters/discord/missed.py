"""Messages that were written while the bot was down, in channels where it has been spoken to."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import discord

from adapters.discord.places import Places

log = logging.getLogger(__name__)

_CHANNELS = 100
_MESSAGES = 1000
"""Of one channel, by everybody; the newest ones."""
_AGE = timedelta(days=1)
_OVERLAP = timedelta(minutes=1)
"""Messages are looked at side by side: an older one may not have been kept when the newest was."""
_GONE = (discord.NotFound, discord.Forbidden)


@dataclass(frozen=True, slots=True)
class Missed:
    """Hands over (`take`) what channels have after the last message seen there; the inbox knows what it had.

    Args:
        seen: that message, by channel, from before anything of the new session was heard.
    """

    client: discord.Client
    places: Places
    account: str
    seen: Mapping[str, str]
    take: Callable[[discord.Message], Awaitable[None]]

    async def read(self, shard: int | None) -> None:
        """Reads the channels of one shard, or all of them. Raises StorageError, and may be called again."""
        newest = sorted(self.seen.items(), key=lambda item: int(item[1]), reverse=True)
        for channel_id, message_id in newest[:_CHANNELS]:
            if shard is None or shard == self._shard_of(int(channel_id)):
                await self._read(channel_id, int(message_id))
        for channel_id, _ in newest[_CHANNELS:]:
            await self.places.forget(self.account, channel_id)

    async def _read(self, channel_id: str, message_id: int) -> None:
        try:
            channel = self.client.get_channel(int(channel_id)) or await self.client.fetch_channel(int(channel_id))
            if isinstance(channel, discord.abc.Messageable):
                history = channel.history(after=_after(message_id), limit=_MESSAGES, oldest_first=False)
                for message in reversed([message async for message in history]):
                    await self.take(message)
        except _GONE:
            await self.places.forget(self.account, channel_id)
        except discord.DiscordException as error:
            log.warning("channel %s could not be read after the start: %s", channel_id, type(error).__name__)

    def _shard_of(self, channel_id: int) -> int:
        """Direct messages come by the first one, which also looks where nobody knows."""
        guild = getattr(self.client.get_channel(channel_id), "guild", None)
        return int(guild.shard_id) if guild is not None else 0


def _after(message_id: int) -> discord.Object:
    since = discord.utils.snowflake_time(message_id) - _OVERLAP, discord.utils.utcnow() - _AGE
    return discord.Object(discord.utils.time_snowflake(max(since)))

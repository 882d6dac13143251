"""Messages that were written while the bot was down, in channels where it has been spoken to."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

import discord

from adapters.discord.places import Places

log = logging.getLogger(__name__)

_CHANNELS = 100
_MESSAGES = 100
_AGE = timedelta(days=1)
_OVERLAP = timedelta(minutes=1)
"""Messages are looked at side by side: an older one may not have been kept when the newest was."""
_GONE = (discord.NotFound, discord.Forbidden)


async def read_missed(
    client: discord.Client, places: Places, account: str, take: Callable[[discord.Message], Awaitable[None]]
) -> None:
    """Hands over what each channel has after the last message that was seen there; the inbox knows what it had."""
    seen = await places.last_seen(account)
    newest = sorted(seen.items(), key=lambda item: int(item[1]), reverse=True)
    for channel_id, message_id in newest[:_CHANNELS]:
        try:
            await _read(client, int(channel_id), int(message_id), take)
        except _GONE:
            await places.forget(account, channel_id)
        except discord.DiscordException as error:
            log.warning("channel %s could not be read after the start: %s", channel_id, type(error).__name__)
    for channel_id, _ in newest[_CHANNELS:]:
        await places.forget(account, channel_id)


async def _read(
    client: discord.Client, channel_id: int, message_id: int, take: Callable[[discord.Message], Awaitable[None]]
) -> None:
    channel = client.get_channel(channel_id) or await client.fetch_channel(channel_id)
    if not isinstance(channel, discord.abc.Messageable):
        return
    since = discord.utils.snowflake_time(message_id) - _OVERLAP, discord.utils.utcnow() - _AGE
    after = discord.utils.time_snowflake(max(since))
    async for message in channel.history(after=discord.Object(after), limit=_MESSAGES, oldest_first=True):
        await take(message)

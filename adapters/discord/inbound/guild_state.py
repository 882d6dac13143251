"""What is kept of servers and channels: the bounds that admins have set, and how far each channel has been read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from adapters.discord.access import CHANNELS, Where, channels_of, is_answered_in
from adapters.discord.inbound.events import place
from bots.ports import Preferences

_UNTIL = "until"


@dataclass(frozen=True, slots=True)
class ReadMarker:
    """How far messages have been read.

    Args:
        until: a message id; all messages of servers with smaller ones were heard. 0 if that is not known.
        newest: by channel, the newest message that was for the bot.
    """

    until: int = 0
    newest: Mapping[str, str] = field(default_factory=dict)


class GuildState:
    """Over the store of preferences, under keys of their own; bounds are remembered, since every message asks."""

    def __init__(self, storage: Preferences) -> None:
        self._storage = storage
        self._bounds: dict[str, Mapping[str, str]] = {}
        self.looking = asyncio.Lock()
        """Held while it is looked up how far the channels have been read; no mark moves meanwhile."""

    async def bounds(self, guild: str) -> Mapping[str, str]:
        """What the admins of a server have set."""
        if guild not in self._bounds:
            self._bounds[guild] = await self._storage.preferences(place(guild))
        return self._bounds[guild]

    async def answers_in(self, where: Where) -> bool:
        """Whether the server's admins want answers there."""
        return not where.guild or is_answered_in(await self.bounds(where.guild), where)

    async def channels(self, guild: str) -> list[str]:
        """The ids of the only channels in which a server wants answers; none means all."""
        return channels_of(await self.bounds(guild))

    async def set_channels(self, guild: str, channels: list[str]) -> None:
        await self._storage.set_preferences(place(guild), {CHANNELS: ",".join(channels) or None})
        self.changed(guild)

    def changed(self, guild: str) -> None:
        """The bounds have been set anew."""
        self._bounds.pop(guild, None)

    async def saw(self, account: str, channel: str, message: str) -> None:
        """Up to this message the channel has been read."""
        if not self.looking.locked():
            await self._storage.set_preferences(_reading(account), {channel: message})

    async def heard(self, account: str, until: int) -> None:
        """Store that all messages of servers with ids up to this one were heard."""
        if not self.looking.locked():
            await self._storage.set_preferences(_reading(account), {_UNTIL: str(until)})

    async def last_seen(self, account: str) -> ReadMarker:
        newest = dict(await self._storage.preferences(_reading(account)))
        return ReadMarker(int(newest.pop(_UNTIL, 0)), newest)

    async def forget(self, account: str, channel: str) -> None:
        await self._storage.set_preferences(_reading(account), {channel: None})


def _reading(account: str) -> str:
    return f"read:{account}"

"""Until when everything was heard, for the next session to know since when it has to read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

import discord

from adapters.discord.inbound.guild_state import GuildState
from bots.ports import StorageError

log = logging.getLogger(__name__)

_EVERY_S = 15.0


class Attendance:
    """Stores the time up to which every message was heard, while all connections are up and nothing is still unread.

    Args:
        unheard: the ids of messages that have arrived and are not stored yet.
    """

    def __init__(self, places: GuildState, unheard: Callable[[], Iterable[int]]) -> None:
        self.account = ""
        self._places, self._unheard = places, unheard
        self._away: set[int] = set()
        """Shards without a connection."""
        self._behind: set[int] = set()
        """Shards with a new session whose missed messages have not all been read."""

    def expect(self, shards: int) -> None:
        """A new client, with so many connections to come."""
        self._away, self._behind = set(range(shards)), set(range(shards))

    def connected(self, shard: int) -> None:
        """A new session: nothing of the old one comes any more."""
        self._behind.add(shard)
        self._away.discard(shard)

    def resumed(self, shard: int) -> None:
        self._away.discard(shard)

    def left(self, shard: int) -> None:
        self._away.add(shard)

    async def caught_up(self, shard: int) -> None:
        """What was missed before the session of this shard has been read."""
        self._behind.discard(shard)
        await self._store()

    async def keep(self) -> None:
        """Store it again and again, until cancelled."""
        while True:
            await asyncio.sleep(_EVERY_S)
            await self._store()

    async def _store(self) -> None:
        if self._away or self._behind or not self.account:
            return
        until = min(discord.utils.time_snowflake(discord.utils.utcnow()), *self._unheard(), 2**63)
        try:
            await self._places.heard(self.account, until)
        except Exception as error:  # whatever it is: the next one may be
            known = isinstance(error, StorageError)
            log.warning("%s: until when messages were heard is not stored: %s", self.account, error, exc_info=not known)

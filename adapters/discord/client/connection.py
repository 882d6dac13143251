"""The gateway connection: one client after the other, until the platform closes."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import discord

from adapters.discord.client.addresses import bind
from adapters.discord.client.rest import own_pace, tracing
from inference.api import Unavailable

log = logging.getLogger(__name__)

_PRIVILEGED = discord.Intents(message_content=True)
_NOT_AUTHENTICATED = 4004
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.5, 60.0
_LASTED_S = 60.0
"""A connection that lasted so long was a good one: the next pause is short again."""
_CLOSE_S = 0.3
"""How long a gateway may take to say goodbye."""
_OF_THE_SESSION = {"READY", "RESUMED"}
"""Without them there is no connection."""
_NEEDED = discord.Intents(guilds=True, guild_messages=True, dm_messages=True)


@dataclass(kw_only=True)
class Connection:
    """Keeps a client connected.

    Args:
        equip: called with every new client before it connects.
    """

    token: str = field(repr=False)
    api: str
    gateway: str
    equip: Callable[[discord.Client], object]
    refused: asyncio.Event = field(default_factory=asyncio.Event)
    """Discord does not know the token."""
    _contents: bool = True
    """Whether the intent for message contents is asked for."""

    async def run(self) -> None:
        """Connects again whenever the library has given up, later each time; returns if the token is refused."""
        pause = _FIRST_PAUSE_S
        while not self.refused.is_set():
            began = time.monotonic()
            try:
                await self._connect()
            except discord.PrivilegedIntentsRequired:
                log.warning("the intent for message contents is off in the developer portal: going on without it")
                self._contents = False
                continue
            except Exception as error:
                # The edge: whatever ends a client, another follows, unless the token is wrong.
                if _is_refusal(error):
                    log.error("Discord does not accept the token")
                    self.refused.set()
                    return
                log.warning("the connection to Discord has ended: %s", type(error).__name__, exc_info=_defect(error))
            pause = _FIRST_PAUSE_S if time.monotonic() - began > _LASTED_S else min(_LAST_PAUSE_S, 2 * pause)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))

    async def _connect(self) -> None:
        shards, gateway = await self._asked()
        bind(self.api, self.gateway or gateway)
        async with _closed_soon(new_client(shards, contents=self._contents)) as client:
            self.equip(client)
            await client.start(self.token)

    async def _asked(self) -> tuple[int, str]:
        """How many shards Discord wants, and where its gateway is; where it does not say, one and the usual place."""
        headers = {"Authorization": f"Bot {self.token}"}
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session,
            session.get(f"{self.api}/gateway/bot", headers=headers) as response,
        ):
            if response.status == 401:
                raise discord.LoginFailure("HTTP 401")
            try:
                said = await response.json()
                return max(1, int(said.get("shards", 1))), str(said.get("url", ""))
            except (aiohttp.ContentTypeError, ValueError, AttributeError, TypeError):
                return 1, ""


@asynccontextmanager
async def _closed_soon(client: discord.Client) -> AsyncIterator[discord.Client]:
    """The client; it says goodbye to a gateway only if that listens."""
    await client.__aenter__()
    try:
        yield client
    finally:
        try:
            async with asyncio.timeout(_CLOSE_S):
                await client.close()
        except TimeoutError:
            await client.http.close()


def _is_refusal(error: Exception) -> bool:
    closed = isinstance(error, discord.ConnectionClosed) and error.code == _NOT_AUTHENTICATED
    return closed or isinstance(error, discord.LoginFailure)


def _defect(error: Exception) -> Exception | None:
    """What nobody has foreseen gets its traceback; a network that is away does not."""
    foreseen = OSError, aiohttp.ClientError, discord.DiscordException, asyncio.TimeoutError
    return None if isinstance(error, foreseen) else error


def new_client(shards: int = 1, *, contents: bool = True) -> discord.Client:
    """A client with the intents that the bot needs; several shards only where Discord asks for them."""
    discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False
    intents = _NEEDED | _PRIVILEGED if contents else _NEEDED
    kind = discord.AutoShardedClient if shards > 1 else discord.Client
    client = kind(
        intents=intents,
        http_trace=tracing(),
        shard_count=shards if shards > 1 else None,
        allowed_mentions=discord.AllowedMentions.none(),
        max_messages=None,
        chunk_guilds_at_startup=False,
        guild_ready_timeout=1.0,
    )
    own_pace(client.http)
    _guard(client)
    return client


def _guard(client: discord.Client) -> None:
    """An event that the library cannot read is left out. It would end the connection, which is everybody's."""
    parsers = client._connection.parsers
    for name in parsers.keys() - _OF_THE_SESSION:
        parsers[name] = _guarded(name, parsers[name])


def _guarded(name: str, parse: Callable[[Any], None]) -> Callable[[Any], None]:
    told: set[type[Exception]] = set()

    def guarded(data: Any) -> None:
        try:
            parse(data)
        except Exception as error:
            news = type(error) not in told
            told.add(type(error))
            log.warning("an event %s is left out, it cannot be read: %s", name, type(error).__name__, exc_info=news)

    return guarded


def quiet_library() -> None:
    """At level debug the library logs whole events and addresses, and with them the tokens of interactions."""
    logging.getLogger("discord").setLevel(max(logging.INFO, logging.getLogger().level))
    logging.getLogger("discord.app_commands.tree").addFilter(_in_one_line)


def _in_one_line(record: logging.LogRecord) -> bool:
    """What a client completes that is no option of ours says all with its name."""
    if record.exc_info and isinstance(record.exc_info[1], discord.app_commands.CommandSignatureMismatch):
        record.exc_info = None
    return True


def no_token() -> Unavailable:
    return Unavailable("Discord does not accept DISCORD_TOKEN; copy it anew from the developer portal")

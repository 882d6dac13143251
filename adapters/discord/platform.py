"""Discord as a platform of the program: puts the parts together and serves until it is closed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import discord
from yarl import URL

from adapters.delivery.permitted import Permitted, at_once
from adapters.delivery.ports import DeliveryPort
from adapters.discord.client.addresses import api_address, bind, invitation, serves_files, user_installation
from adapters.discord.client.connection import Connection, new_client, no_token, quiet_library
from adapters.discord.client.rest import RestClient
from adapters.discord.client.retry import in_the_end
from adapters.discord.commands.command_tree import Tree, add_commands, sync
from adapters.discord.commands.component_handler import answer_button
from adapters.discord.inbound.attachments import PICTURE_BYTES
from adapters.discord.inbound.attendance import Attendance
from adapters.discord.inbound.catch_up import CatchUp
from adapters.discord.inbound.event_handler import DiscordEventHandler
from adapters.discord.inbound.guild_state import GuildState, ReadMarker
from adapters.discord.inbound.interaction_intake import InteractionIntake
from adapters.discord.inbound.message_events import MessageListener
from adapters.discord.outbound.content import RenderedFrames
from adapters.discord.status_line import show_load
from adapters.files.downloads import download
from bots.bot import Bot
from bots.ports import Storage
from config.settings import DiscordSettings
from inference.api import Unavailable

log = logging.getLogger(__name__)

_START_S = 20.0
"""How long the start waits for Discord before the program says that it is ready without it."""
_AGAIN_S = 5.0
_FETCH_S = 60.0
_FINISH_S = 0.5
"""How long answers that have come to their end may take to be shown and recorded."""


class _Closed(Exception):
    """Ends the task group of a platform that is closed."""


class Platform:
    """The parts that outlive a single connection."""

    def __init__(
        self,
        bot: Bot,
        outboxes: DeliveryPort,
        storage: Storage,
        settings: DiscordSettings,
        tasks: asyncio.TaskGroup,
        permitted: Permitted = at_once,
    ) -> None:
        self._bot, self._tasks = bot, tasks
        self.client: discord.Client | None = None
        self.ready = asyncio.Event()
        self._settings = settings
        self._seen = ReadMarker()
        self._waiting: set[int] = set()
        """Shards with a new session that is not ready yet: their servers are still being told of."""
        self.answers = DiscordEventHandler(
            bot=bot,
            outboxes=outboxes,
            storage=storage,
            calls=RestClient(permitted=permitted),
            api=api_address(settings.api_base),
            fetch=self._fetch,
            begin=self._begin,
            now=time.time,
            ping_after_s=settings.ping_after_s,
        )
        places = GuildState(storage)
        self.listener = MessageListener(answers=self.answers, places=places, settings=settings)
        self.desk = InteractionIntake(answers=self.answers, places=places, settings=settings)
        self.attendance = Attendance(places, self.listener.unheard)

    def equip(self, client: discord.Client) -> Tree:
        """Makes a client the one that serves; returns its commands."""
        self.client = self.answers.calls.client = client
        heard, sharded = self.listener, isinstance(client, discord.AutoShardedClient)
        self.attendance.expect((client.shard_count or 1) if sharded else 1)
        of_shards = self.on_shard_connect, self.on_shard_ready, self.on_shard_resumed, self.on_shard_disconnect
        of_one = self.on_ready, self.on_resumed, self.on_disconnect
        gone = heard.on_raw_message_delete, heard.on_raw_bulk_message_delete, heard.on_raw_message_edit
        connection = of_shards if sharded else of_one
        for listener in (
            self.setup_hook,
            self.on_connect,
            self.on_guild_available,
            *connection,
            heard.on_message,
            *gone,
        ):
            client.event(listener)
        client.add_dynamic_items(answer_button(self.desk))
        tree = Tree(client, self.desk)
        add_commands(tree, self.desk, self._bot)
        return tree

    async def setup_hook(self) -> None:
        """Logged in, and not connected yet: events may come from here on."""
        if self.client is not None and self.client.user is not None:
            self.listener.me = self.client.user
            self.answers.account = self.attendance.account = f"discord:{self.client.user.id}"

    async def on_connect(self) -> None:
        """A new session, some seconds before it is ready; what comes live from here on moves the marks."""
        if not isinstance(self.client, discord.AutoShardedClient):
            await self.on_shard_connect(0)
        places, account = self.desk.places, self.answers.account
        async with places.looking:
            self._seen = await in_the_end(lambda: places.last_seen(account))

    async def on_ready(self) -> None:
        """A new session, at the start and whenever Discord could not resume the old one."""
        await self._read_missed(None)

    async def on_resumed(self) -> None:
        self.attendance.resumed(0)

    async def on_disconnect(self) -> None:
        self.attendance.left(0)

    async def on_shard_connect(self, shard: int) -> None:
        """One of several connections has a new session."""
        self._waiting.add(shard)
        self.attendance.connected(shard)

    async def on_shard_ready(self, shard: int) -> None:
        await self._read_missed(shard)

    async def on_shard_resumed(self, shard: int) -> None:
        self.attendance.resumed(shard)

    async def on_shard_disconnect(self, shard: int) -> None:
        self.attendance.left(shard)

    async def on_guild_available(self, guild: discord.Guild) -> None:
        """A server that was in trouble when the session began is told of later."""
        if self.client is not None and guild.shard_id not in self._waiting:
            missed = await self._missed(self.client)
            await in_the_end(lambda: missed.read_guilds([guild]))

    async def _read_missed(self, shard: int | None) -> None:
        self.ready.set()
        self._waiting.discard(shard or 0)
        if self.client is not None:
            missed = await self._missed(self.client)
            if await in_the_end(lambda: missed.read(shard)):
                await self.attendance.caught_up(shard or 0)

    async def _missed(self, client: discord.Client) -> CatchUp:
        places = self.desk.places
        async with places.looking:
            seen = self._seen
        return CatchUp(client, places, self._settings, self.answers.account, seen, self.listener.on_missed)

    async def recover(self) -> None:
        """Answers what processes that died have left, until it is cancelled, also after the database was away."""
        await self.ready.wait()
        while True:
            try:
                await in_the_end(self.answers.recover)
            except Exception:
                log.exception("what was left is looked for again")
            await asyncio.sleep(_AGAIN_S)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.create_task(_alone(work))

    async def _fetch(self, url: str) -> bytes:
        """Raises OSError."""
        api = self.answers.api
        try:
            async with asyncio.timeout(_FETCH_S):
                return await download(URL(url), PICTURE_BYTES, lambda address: serves_files(str(address), api))
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise OSError(type(error).__name__) from error


@asynccontextmanager
async def serving(
    bot: Bot,
    outboxes: DeliveryPort,
    storage: Storage,
    settings: DiscordSettings,
    stopping: asyncio.Event | None = None,
    permitted: Permitted = at_once,
) -> AsyncIterator[str]:
    """Serves Discord while the context is open; yields a line about it.

    Args:
        stopping: once it is set, what comes is recorded for the next start and not begun; what has begun goes on.
        permitted: waited for before each call of ours.

    Raises:
        Unavailable: Discord does not accept the token.
    """
    quiet_library()
    try:
        async with asyncio.TaskGroup() as tasks:
            bot.account.privacy.keeps(RenderedFrames())
            platform = Platform(bot, outboxes, storage, settings, tasks, permitted)
            platform.answers.stopping = stopping or asyncio.Event()
            connection = _connection(platform, settings)
            tasks.create_task(connection.run())
            tasks.create_task(_alone(platform.recover()))
            tasks.create_task(_alone(platform.attendance.keep()))
            tasks.create_task(_alone(platform.answers.tokens.keep_forgetting()))
            tasks.create_task(_alone(show_load(lambda: platform.client, lambda: platform.answers.busy)))
            yield await _first_line(platform, connection)
            await _wait(platform.answers.idle, _FINISH_S)
            raise _Closed
    except BaseExceptionGroup as group:
        if connection.refused.is_set() and group.subgroup(Unavailable):
            raise no_token() from None
        if (rest := group.split(_Closed)[1]) is not None:
            raise rest from None


def _connection(platform: Platform, settings: DiscordSettings) -> Connection:
    token = settings.token.get_secret_value()
    api = platform.answers.api
    return Connection(token=token, api=api, gateway=settings.gateway_url, equip=platform.equip)


async def _alone(work: Coroutine[Any, Any, None]) -> None:
    """The edge: one event's failure is a log line, and nobody else's."""
    try:
        await work
    except Exception:
        log.exception("work for Discord failed")


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def _first_line(platform: Platform, connection: Connection) -> str:
    waits: list[asyncio.Task[Any]] = [asyncio.ensure_future(e.wait()) for e in (platform.ready, connection.refused)]
    await asyncio.wait(waits, timeout=_START_S, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    if connection.refused.is_set():
        raise no_token()
    if platform.client is None or platform.client.user is None:
        return "Discord (not reached yet)"
    return f"Discord as {platform.client.user.name}"


async def sync_commands(
    bot: Bot, outboxes: DeliveryPort, storage: Storage, settings: DiscordSettings, guild: int
) -> list[str]:
    """Tells Discord the commands, on one server if `guild` is not 0; returns lines for the operator.

    Raises:
        Unavailable: Discord cannot be reached, does not accept the token, or refuses the commands.
    """
    quiet_library()
    bind(api_address(settings.api_base), settings.gateway_url)
    async with asyncio.TaskGroup() as tasks, new_client() as client:
        platform = Platform(bot, outboxes, storage, settings, tasks)
        try:
            await client.login(settings.token.get_secret_value())
            count = await sync(platform.equip(client), guild)
            application = str(client.application_id)
            return [
                f"Discord knows {count} commands{' on that server' if guild else ''}.",
                f"To invite the bot to a server: {invitation(application)}",
                f"To use its commands anywhere: {user_installation(application)}",
            ]
        except discord.LoginFailure:
            raise no_token() from None
        except (discord.DiscordException, OSError) as error:
            raise Unavailable(f"the commands did not reach Discord: {error}") from None
        except (LookupError, TypeError) as error:
            # The library reads JSON only under that very content type, and falls over everything else.
            said = 'did not answer as Discord does, with "Content-Type: application/json" and every field'
            raise Unavailable(f"the server at {platform.answers.api} {said}: {error!r}") from None

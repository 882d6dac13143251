"""The gateway of the wire-level Discord: a session for each shard, which may be resumed or lost."""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from tests.servers.discord_world import World

TOKEN = "bot.token.of-the-tests"


@dataclass(eq=False)
class Session:
    """What one shard has been told, and where it listens now."""

    shard: int
    intents: int
    sent: list[dict[str, Any]] = field(default_factory=list)
    socket: web.WebSocketResponse | None = None

    async def tell(self, event: str, data: dict[str, Any]) -> None:
        self.sent.append({"op": 0, "t": event, "d": data, "s": len(self.sent) + 1})
        if self.socket is not None:
            with suppress(ConnectionError):
                await self.socket.send_json(self.sent[-1])


class Gateway(World, ABC):
    """Connections of the bot, and what it is told over them.

    `shards` is how many of them it shall have; where `identify_every_s` is set, an identify that comes earlier after
    the one before it is counted in `too_early`. With `forgets`, a session cannot be resumed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shards = 1
        self.identify_every_s = 0.0
        self.forgets = False
        self.in_trouble: set[str] = set()
        """Servers that a new session is not told of."""
        self.intents: list[int] = []
        self.refused_intents = 0
        self.identified: list[int] = []
        """The shards, as they came."""
        self.resumed: list[int] = []
        self.too_early = 0
        self.presence: dict[str, Any] = {}
        self.changed = asyncio.Condition()
        """Notified after everything that a person could see."""
        self._sessions: dict[int, Session] = {}
        self._identified_at = float("-inf")

    @property
    @abstractmethod
    def gateway(self) -> str:
        """Its address."""

    def shard_of(self, guild: str) -> int:
        """Direct messages are the first one's."""
        return (int(guild) >> 22) % self.shards if guild else 0

    async def close_connections(self, shard: int | None = None) -> None:
        """The bots may resume, all of them or those of one shard."""
        for session in list(self._sessions.values()):
            if session.socket is not None and shard in (None, session.shard):
                await session.socket.close(code=4000)

    async def dispatch(self, event: str, data: dict[str, Any]) -> None:
        guild = data["id"] if event == "GUILD_CREATE" else data.get("guild_id", "")
        if (session := self._sessions.get(self.shard_of(guild))) is not None:
            room = self.rooms.get(data["channel_id"]) if event == "MESSAGE_CREATE" else None
            if room is None:
                await session.tell(event, data)
            elif self.is_member(room) and room.is_seen and "view" not in room.forbidden:
                await session.tell(event, self.readable(room, data, session.intents))
        await self.notify()

    async def notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def connected(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"op": 10, "d": {"heartbeat_interval": 5000}})
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._hear(socket, json.loads(message.data))
        finally:
            for session in self._sessions.values():
                if session.socket is socket:
                    session.socket = None
        return socket

    async def _hear(self, socket: web.WebSocketResponse, said: dict[str, Any]) -> None:
        match said["op"]:
            case 1:
                await socket.send_json({"op": 11})
            case 2:
                await self._identify(socket, said["d"])
            case 3:
                self.presence = said["d"]
                await self.notify()
            case 6 if self.forgets:
                await socket.send_json({"op": 9, "d": False})
            case 6:
                await self._resume(socket, said["d"])

    async def _resume(self, socket: web.WebSocketResponse, data: dict[str, Any]) -> None:
        session = self._sessions[int(data["session_id"])]
        self.resumed.append(session.shard)
        for event in session.sent[data["seq"] :]:
            await socket.send_json(event)
        session.socket = socket
        await session.tell("RESUMED", {})
        await self.notify()

    async def _identify(self, socket: web.WebSocketResponse, data: dict[str, Any]) -> None:
        if data["token"] != TOKEN:
            await socket.close(code=4004)
            return
        self.intents.append(data["intents"])
        if data["intents"] & self.refused_intents:
            await socket.close(code=4014)
            return
        before, self._identified_at = self._identified_at, asyncio.get_running_loop().time()
        self.too_early += self._identified_at - before < self.identify_every_s
        shard, shards = data.get("shard", [0, 1])
        assert shards == self.shards
        self.identified.append(shard)
        session = self._sessions[shard] = Session(shard, data["intents"], socket=socket)
        guilds = [guild for guild in self.guilds if self.shard_of(guild) == shard]
        await session.tell("READY", self._ready(shard, guilds))
        for guild in set(guilds) - self.in_trouble:
            await session.tell("GUILD_CREATE", self.guild_now(guild) | {"unavailable": False})
        await self.notify()

    def _ready(self, shard: int, guilds: list[str]) -> dict[str, Any]:
        return {
            "v": 10,
            "user": self.bot,
            "guilds": [{"id": guild, "unavailable": True} for guild in guilds],
            "session_id": str(shard),
            "resume_gateway_url": self.gateway,
            "application": {"id": self.bot["id"], "flags": 0},
            "shard": [shard, self.shards],
        }

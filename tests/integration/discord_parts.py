"""A bot on the wire-level Discord, and the people who talk to it."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.app import phrases
from adapters.delivery.outbox import Outboxes
from adapters.discord.platform import serving
from adapters.storage.memory.storage import MemoryStorage
from bots.access.allow_list import Access
from bots.bot import Bot
from bots.ports import Received, Storage, StorageError
from bots.profile.preferences import SettingBounds
from config.settings import DiscordSettings
from tests.fakes import script, scripted_inference
from tests.servers.discord import TOKEN, DiscordServer
from tests.servers.discord_people import Person, buttons
from tests.servers.discord_world import Room


class Troubled(MemoryStorage):
    """A database in which calls fail or hang as long as a test wants; each is told by its name and what it is about."""

    def __init__(self) -> None:
        super().__init__()
        self.fails: Callable[[str], bool] = lambda call: False
        self.works = asyncio.Event()
        self.works.set()

    async def receive(self, events: Sequence[Received]) -> Sequence[Received]:
        await self._trouble(f"receive {events[0].payload}")
        return await super().receive(events)

    async def unanswered(self, account: str) -> Sequence[Received]:
        await self._trouble(f"unanswered {account}")
        return await super().unanswered(account)

    async def answered(self, account: str, event_id: str) -> None:
        await self._trouble(f"answered {event_id}")
        await super().answered(account, event_id)

    async def preferences(self, person: str) -> Mapping[str, str]:
        await self._trouble(f"preferences {person}")
        return await super().preferences(person)

    async def answer_at(self, chat: str, message_id: str) -> str | None:
        await self._trouble(f"answer_at {message_id}")
        return await super().answer_at(chat, message_id)

    async def _trouble(self, call: str) -> None:
        await self.works.wait()
        if self.fails(call):
            raise StorageError("The disk is full.")


PLAIN: tuple[dict[str, Any], ...] = (
    {"match": "slow", "answer": "word " * 3000, "tokens_per_s": 50},
    {"match": "long", "answer": "word " * 700},
    {"match": "sum", "answer": "<think>two and two</think>\n\nfour"},
)


@dataclass
class Party:
    """Ann, and a room in which the bot is."""

    discord: DiscordServer
    storage: Storage
    room: Room
    ann: Person

    async def answer(self, room: Room | None = None, number: int = -1) -> dict[str, Any]:
        """Waits until the bot has finished what it writes in the room; its message of that number."""
        room = room or self.room
        return dict(await self.discord.until(lambda: self._finished(room, number)))

    async def set(self, name: str, value: str | int | float) -> None:
        """Ann changes a setting, and has read that it is changed."""
        used = await self.ann.calls(self.room, f"settings {name}", value=value)
        await self.discord.until(lambda: used.private)

    def _finished(self, room: Room, number: int) -> dict[str, Any] | None:
        own = self.answers(room)
        if not own or room.messages[-1] is not own[-1] or not is_complete(own[-1]):
            return None
        return own[number]

    def answers(self, room: Room | None = None) -> list[dict[str, Any]]:
        messages = (room or self.room).messages
        return [message for message in messages if message["author"]["id"] == self.discord.bot["id"]]


def is_complete(message: dict[str, Any]) -> bool:
    """Whether the bot is done with it, as a person sees that: nothing to stop, no placeholder."""
    growing = any(button["label"] == "Stop" for button in buttons(message))
    return not growing and message["content"] != "-# Writing…"


def labels(message: dict[str, Any]) -> list[str]:
    return [button["label"] for button in buttons(message)]


@asynccontextmanager
async def party(
    folder: Path,
    *lines: dict[str, Any],
    discord: DiscordServer | None = None,
    storage: Storage | None = None,
    slots: int = 8,
    max_tokens: int = 500,
    context_tokens: int = 65_536,
    access: Access | None = None,
    stopping: asyncio.Event | None = None,
    **settings: Any,
) -> AsyncIterator[Party]:
    """A bot that serves a Discord, here in this process; pass `discord` and `storage` on to another to restart it."""
    storage = storage or MemoryStorage()
    async with (
        _served(discord) as server,
        scripted_inference(script(folder, *lines, *PLAIN), slots=slots, context_tokens=context_tokens) as inference,
    ):
        room = next((room for room in server.rooms.values() if room.guild and room.kind == 0), None) or server.room()
        values = {"token": TOKEN, "api_base": server.address, "gateway_url": server.gateway, "together_s": 0.0}
        configured = DiscordSettings.model_validate(values | settings)
        bounds = SettingBounds(max_tokens=max_tokens, default_max_tokens=max_tokens)
        bot = Bot(inference, storage, bounds=bounds, now=time.time, new_id=lambda: uuid.uuid4().hex, access=access)
        async with (
            Outboxes(phrases=phrases()) as outboxes,
            serving(bot, outboxes, storage, configured, stopping) as line,
        ):
            assert line == "Discord as Partyline"
            yield Party(server, storage, room, server.person("Ann"))


@asynccontextmanager
async def _served(server: DiscordServer | None) -> AsyncIterator[DiscordServer]:
    if server is not None:
        yield server
        return
    async with DiscordServer().serving() as started:
        yield started

"""The Telegram adapter over a scripted model, talking HTTP to the Bot API server of the tests."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from adapters.app import phrases
from adapters.delivery.outbox import Outboxes
from adapters.storage.memory.storage import MemoryStorage
from adapters.telegram.platform import serving
from bots.access.allow_list import Access
from bots.bot import Bot
from bots.ports import Storage
from bots.profile.preferences import SettingBounds
from config.settings import TelegramSettings
from tests.fakes import script, scripted_inference
from tests.servers.telegram import TOKEN, TelegramServer, until
from tests.servers.telegram_world import Chat, Message

QUICK = {"private_interval_s": 0.02, "group_interval_s": 0.02}
SCRIPT: tuple[dict[str, Any], ...] = (
    {"match": "slow", "answer": "word " * 3000, "tokens_per_s": 60},
    {"match": "think", "answer": "<think>Let me see.</think>\n\nForty two."},
    {"match": "fibonacci", "answer": "```python\nprint(1, 1, 2, 3)\n```\n\nDone."},
    {"match": "long", "answer": "many " * 300, "tokens_per_s": 4000},
)


@asynccontextmanager
async def party(
    server: TelegramServer,
    folder: Path,
    *lines: dict[str, Any],
    storage: Storage | None = None,
    access: Access | None = None,
    **settings: Any,
) -> AsyncIterator[str]:
    """The bot, serving; the line that it says about itself."""
    storage = storage or MemoryStorage()
    numbers = itertools.count(time.monotonic_ns())
    async with (
        scripted_inference(script(folder, *(lines or SCRIPT))) as inference,
        Outboxes(phrases=phrases()) as outboxes,
    ):
        bot = Bot(
            inference,
            storage,
            bounds=SettingBounds(max_tokens=20_000, default_max_tokens=20_000),
            now=time.time,
            new_id=lambda: f"id{next(numbers)}",
            access=access,
        )
        chosen = TelegramSettings.model_validate({"token": TOKEN, "api_base": server.address} | QUICK | settings)
        async with serving(chosen, bot, storage, outboxes) as line:
            yield line


async def answer_to(message: Message, chat: Chat, *, over: bool = True) -> Message:
    """The bot's first message under this one, when it is complete (or just there)."""

    def found() -> Message | None:
        for answer in chat.answers:
            if answer.content.get("reply_to_message", {}).get("message_id") != message.id:
                continue
            if not over or ("Stop" not in answer.buttons and answer.text):
                return answer
        return None

    return await until(found)

"""The page over the real bot and a scripted model."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from adapters.app import phrases
from adapters.delivery.outbox import Outboxes
from adapters.web.posts.posts import Posts
from adapters.web.server import WebServer
from bots.bot import Bot
from bots.ports import Storage
from bots.profile.preferences import SettingBounds
from inference.api import ModelInfo
from tests.fakes import script, scripted_inference
from tests.unit.web_parts import FakePanel


@asynccontextmanager
async def page_served(folder: Path, storage: Storage, posts: Posts, *lines: dict[str, Any]) -> AsyncIterator[str]:
    """The page over a scripted model, without the rest of the program; its address."""
    async with (
        scripted_inference(script(folder, *lines), slots=64, max_waiting=200) as inference,
        Outboxes(phrases=phrases()) as outboxes,
    ):
        bot = Bot(inference, storage, bounds=SettingBounds(), now=time.time, new_id=lambda: uuid.uuid4().hex)
        server = WebServer(
            bot=bot,
            outboxes=outboxes,
            record=storage,
            inbox=storage,
            phrases=phrases(),
            posts=posts,
            panel=FakePanel(),
            info=lambda: ModelInfo(name="scripted", context_tokens=8192),
            examples=(),
            commands=(),
        )
        async with server.serving() as address:
            yield address

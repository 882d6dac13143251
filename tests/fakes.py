"""Parts that stand in for slow or outside ones; each passes the contract tests of what it stands in for."""

from __future__ import annotations

import itertools
import json
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from adapters.storage.memory.storage import MemoryStorage
from bots.bot import Bot
from bots.messages import Incoming, Person, Picture, ReplyEvent, TextDelta
from bots.ports import ReplyRecord, Storage, Turn
from bots.profile.preferences import SettingBounds
from inference.api import BadImage, Inference
from inference.engines.scripted import ScriptedEngine
from inference.http.client import RemoteInference
from inference.http.server.routes import InferenceServer, ServerBounds
from inference.queueing.admission import AdmissionBounds as ServiceBounds
from inference.serving.service import LocalInference

_NUMBERS = itertools.count(1)
"""Also two processes over one storage never give the same id twice."""


class FakeCaptioner:
    """Says how many bytes it saw; b"bad" is a picture that cannot be used."""

    name = "fake captioner"
    demo = False
    answers = False
    slots = 2
    loads = False

    def __init__(self) -> None:
        self.prompts: list[str] = []

    async def caption(self, image: bytes, prompt: str, owner: str) -> str:
        if image == b"bad":
            raise BadImage("the file is damaged or incomplete")
        self.prompts.append(prompt)
        return f"{prompt or 'a picture of'} {len(image)} bytes"

    def forget(self) -> None:
        self.prompts.clear()

    async def close(self) -> None:
        pass


def script(folder: Path, *lines: dict[str, Any]) -> Path:
    """Writes a script for the scripted engine; quick, unless a line says otherwise."""
    path = folder / "script.jsonl"
    quick = {"tokens_per_s": 2000, "first_token_s": 0.0}
    path.write_text("\n".join(json.dumps(quick | line) for line in lines))
    return path


@asynccontextmanager
async def scripted_inference(
    path: Path, *, slots: int = 8, context_tokens: int = 8192, captioner: bool = True, **bounds: Any
) -> AsyncIterator[LocalInference]:
    engine = ScriptedEngine(path, slots=slots, context_tokens=context_tokens)
    eyes = FakeCaptioner() if captioner else None
    inference = LocalInference(engine, eyes, bounds=ServiceBounds(**bounds), clock=time.monotonic)
    await inference.start()
    try:
        yield inference
    finally:
        await inference.close()


@asynccontextmanager
async def served(local: LocalInference, **bounds: Any) -> AsyncIterator[RemoteInference]:
    """The same service over HTTP, on loopback."""
    key = "a key"
    async with InferenceServer(local, key, ServerBounds(port=0, **bounds)).serving() as address:
        remote = RemoteInference(address, key, clock=time.monotonic)
        await remote.start()
        try:
            yield remote
        finally:
            await remote.close()


async def keep_turn(storage: Storage, turn: Turn) -> None:
    """Keeps the turn, or what has become of it, as that of a reply which is nobody's and leaves no other trace."""
    own = ReplyRecord(chat="nowhere", event_id=uuid.uuid4().hex, answer_id="nothing", person="nobody", created_at=1e12)
    assert await storage.claim(own)
    await storage.begin(own, [turn], turn.id)
    await storage.set_head(own.chat, own.person, None)


class Chat:
    """People who talk to a bot; each call is one message and returns the events of its answer."""

    def __init__(
        self, inference: Inference, bounds: SettingBounds | None = None, storage: Storage | None = None
    ) -> None:
        self.inference = inference
        self.storage: Storage = storage or MemoryStorage()
        self.bot = Bot(
            inference,
            self.storage,
            bounds=bounds or SettingBounds(),
            now=lambda: 0.0,
            new_id=lambda: f"id{next(_NUMBERS)}",
        )

    def incoming(
        self,
        text: str,
        person: str = "ann",
        pictures: Iterable[bytes] = (),
        reply_to: str | None = None,
        chat: str = "test:room",
        new: bool = True,
    ) -> Incoming:
        return Incoming(
            event_id=f"e{next(_NUMBERS)}",
            chat=chat,
            author=Person(f"test:{person}", person),
            text=text,
            pictures=tuple(Picture(data) for data in pictures),
            reply_to=reply_to,
            new=new,
        )

    async def say(self, text: str, person: str = "ann", **more: Any) -> list[ReplyEvent]:
        return [event async for event in self.events(self.incoming(text, person, **more))]

    async def events(self, incoming: Incoming) -> AsyncGenerator[ReplyEvent, None]:
        async with aclosing(self.bot.respond(incoming)) as events:
            async for event in events:
                yield event


def said(events: Iterable[ReplyEvent]) -> str:
    """The answer's text."""
    return "".join(event.text for event in events if isinstance(event, TextDelta))

"""One person's costly input costs nobody else their time: pictures, code, frames, bodies and heads from a client of its
own, while somebody else asks.

A sample of the inputs; with SOAK=1 all of them. `pytest -s` prints the figures.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import os
import socket
import statistics
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import aiohttp
import psutil
import pytest

from adapters.delivery.outbox import Outboxes
from bots.messages import ReplyEvent, Said, Started
from inference.engines.scripted import ScriptedEngine
from inference.picture_decoder import PictureDecoder
from inference.server.http import InferenceServer, ServerBounds
from inference.service import LocalInference
from tests import costly
from tests.fakes import script
from tests.unit.web_parts import ENDED, PHRASES, FakeBot, Page, Parts, visit

SOAK = bool(os.environ.get("SOAK"))
EVERY = 1 if SOAK else 12
KEY = "the key"
FLOOR_S = 1.0
"""Twice of a few milliseconds says more about the machine than about us."""
LATE_S = 1.0
"""The goal is 0.05 s, which a machine that does other things beside misses by itself; the figures are printed."""
TRIES = 4
HELD_S = 0.3
GROWTH = 1.1


class Coding(FakeBot):
    """Answers "code N" with a block of the costly ones."""

    def __init__(self, blocks: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self.blocks = blocks

    async def _script(self, incoming: object) -> AsyncIterator[ReplyEvent]:
        text = getattr(incoming, "text", "")
        if not text.startswith("code "):
            async for event in super()._script(incoming):  # type: ignore[arg-type]
                yield event
            return
        language, code = self.blocks[int(text.split()[1])]
        yield Started(answer_id=getattr(incoming, "event_id", ""))
        for start in range(0, len(code), 1000):
            yield Said((f"```{language}\n" if start == 0 else "") + code[start : start + 1000])
            await asyncio.sleep(0)
        yield Said("\n```")
        yield ENDED


class Eyes:
    """A captioner that decodes as the real one does, and has no model."""

    name, demo, slots = "eyes", False, 16

    def __init__(self) -> None:
        self._decoder = PictureDecoder()

    async def caption(self, image: bytes, prompt: str) -> str:
        picture = await self._decoder.decode(image)
        return f"{prompt or 'a picture of'} {picture.width} x {picture.height}"

    async def close(self) -> None:
        await self._decoder.close()


@dataclass
class Town:
    """The page and the service, whoever attacks them, and how somebody else fares meanwhile."""

    page: str
    service: str
    other: Page
    session: aiohttp.ClientSession
    late_s: float = 0.0
    asked: int = 0
    figures: list[tuple[str, float, float]] = field(default_factory=list)

    async def first_text(self) -> float:
        """Seconds until somebody else has the first words, on the page and from the service."""
        self.asked += 1
        began = time.perf_counter()
        words = f"hello{self.asked}"
        await self.other.type(words, client_id=words)
        await self.other.post(lambda post: post["kind"] == "bot" and words in post["html"])
        body = {"messages": [{"role": "user", "content": words}], "stream": True}
        async with self.session.post(f"{self.service}/v1/chat/completions", json=body) as response:
            async for line in response.content:
                if words.encode() in line:
                    break
        return time.perf_counter() - began

    async def under(self, attack: Callable[[Town], None]) -> tuple[float, float]:
        """The longest time to somebody else's first text while the attack runs, and by how much the loop was late."""
        self.late_s = 0.0
        attacking = asyncio.ensure_future(asyncio.to_thread(attack, self))
        took = [await self.first_text()]
        while not attacking.done() and len(took) < 20:
            took.append(await self.first_text())
        await attacking
        return max(took), self.late_s

    async def watch(self) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.005)
            self.late_s = max(self.late_s, time.perf_counter() - began - 0.005)


@asynccontextmanager
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    blocks = list(costly.code_blocks())
    engine = ScriptedEngine(script(tmp_path), slots=8)
    local = LocalInference(engine, Eyes(), clock=time.monotonic)
    await local.start()
    try:
        async with (
            Outboxes(phrases=PHRASES) as outboxes,
            Parts(outboxes=outboxes, bot=Coding(blocks)).server().serving() as page,
            InferenceServer(local, KEY, ServerBounds(port=0)).serving() as service,
            visit(page) as other,
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}) as session,
        ):
            yield Town(page, service, other, session)
    finally:
        await local.close()


Attack = Callable[[Town], None]


def attacks() -> Iterator[tuple[str, Attack]]:
    """All costly inputs, each as what a thread with a socket does."""
    for name, data in costly.pictures():
        yield f"caption: {name}", lambda town, data=data: _caption(town, data)  # type: ignore[misc]
        yield f"upload: {name}", lambda town, data=data: _upload(town, data)  # type: ignore[misc]
    for number, (language, code) in enumerate(costly.code_blocks()):
        words = f"{language}: {code[:9]!r}"
        yield words, lambda town, number=number: _socket(town, _typed(f"code {number}"))  # type: ignore[misc]
    for name, text in costly.socket_frames():
        yield f"frame: {name}", lambda town, text=text: _socket(town, text)  # type: ignore[misc]
    for name, to, request in (*costly.bodies(KEY), *costly.heads()):
        yield name, lambda town, to=to, request=request: _raw(town, to, request)  # type: ignore[misc]
    yield "900 connections that say nothing", _silent


def _typed(text: str) -> str:
    return json.dumps({"type": "message", "client_id": text, "text": text})


def _connect(address: str) -> socket.socket:
    host, _, port = address.rstrip("/").rpartition("//")[2].rpartition(":")
    made = socket.create_connection((host, int(port)), timeout=20)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def _raw(town: Town, to: str, request: bytes) -> None:
    """Sends what there is to send, and stays for a while or until the other side has gone."""
    with _connect(town.page if to == "page" else town.service) as connection:
        try:
            connection.sendall(request)
            connection.settimeout(HELD_S)
            while connection.recv(2**16):
                pass
        except OSError:  # closed by the other side, or nothing came
            pass


def _answered(address: str, request: bytes) -> None:
    with _connect(address) as connection:
        connection.sendall(request)
        connection.recv(1000)


def _caption(town: Town, data: bytes) -> None:
    body = json.dumps({"image": base64.b64encode(data).decode()}).encode()
    _answered(town.service, costly.post("/v1/captions", body, KEY))


def _upload(town: Town, data: bytes) -> None:
    head = b'--xxxx\r\nContent-Disposition: form-data; name="a"; filename="a.png"\r\n\r\n'
    form = "Content-Type: multipart/form-data; boundary=xxxx"
    _answered(town.page, costly.post("/upload", head + data + b"\r\n--xxxx--\r\n", "", form))


def _socket(town: Town, text: str) -> None:
    data = text.encode()
    with _connect(town.page) as connection:
        connection.sendall(
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        connection.recv(1000)
        size = struct.pack(">BBQ", 0x81, 0xFF, len(data))
        try:
            connection.sendall(size + bytes(4) + data)
            connection.settimeout(HELD_S)
            for _ in range(50):  # what is told to everybody, for a while
                if not connection.recv(2**16):
                    break
        except OSError:
            pass


def _silent(town: Town) -> None:
    connections = []
    for number in range(900):
        try:
            connections.append(_connect(town.page if number % 2 else town.service))
        except OSError:
            break
    time.sleep(HELD_S)
    for each in connections:
        each.close()


@pytest.mark.timeout(3600 if SOAK else 300)
async def test_nobody_waits_for_what_somebody_else_sends(tmp_path: Path) -> None:
    chosen = list(islice(attacks(), 0, None, EVERY))
    async with town(tmp_path) as here, asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(here.watch())
        alone = statistics.median([await here.first_text() for _ in range(9)])
        gc.collect()
        before = psutil.Process().memory_info().rss
        for name, attack in chosen:
            # A machine that is busy with other things is late now and then; an input that costs others is so each time.
            tries = [await here.under(attack)]
            while len(tries) < TRIES and (tries[-1][0] > max(FLOOR_S, 2 * alone) or tries[-1][1] > LATE_S):
                alone = max(alone, await here.first_text())
                tries.append(await here.under(attack))
            here.figures.append((name, *tries[-1]))
        gc.collect()
        after = psutil.Process().memory_info().rss
        watch.cancel()
    print(f"\n{len(chosen)} inputs; first text alone {alone * 1000:.0f} ms, memory {before >> 20} to {after >> 20} MB")
    for name, took_s, late_s in sorted(here.figures, key=lambda each: -each[1])[:12]:
        print(f"{name[:60]:60} first text {took_s * 1000:6.0f} ms, loop late {late_s * 1000:5.0f} ms")
    late = sorted(late_s for *_, late_s in here.figures)
    print(f"loop late: median {late[len(late) // 2] * 1000:.0f} ms, at most {late[-1] * 1000:.0f} ms")
    assert [each for each in here.figures if each[1] > max(FLOOR_S, 2 * alone)] == []
    assert late[-1] < LATE_S
    assert after < before * GROWTH + 30 * 2**20


def test_there_are_two_hundred() -> None:
    assert sum(1 for _ in attacks()) >= 200

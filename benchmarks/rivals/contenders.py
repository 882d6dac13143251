"""Starts the contenders as processes against a wire server, and tells which questions each has answered to the end."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil

from inference.processes.cores import available_cores
from tests.servers import discord as discord_server
from tests.servers import telegram as telegram_server
from tests.servers.discord import DiscordServer
from tests.servers.telegram import TelegramServer

SLOTS, CONTEXT = 8, 4096
"""Partyline's defaults, for everybody."""
READY_WITHIN_S = 120.0


@dataclass
class Contender:
    """A bot that runs. `finished`: the numbers of the questions that it says it has answered; None: it does not say."""

    process: Process
    finished: set[str] | None = None

    def cpu_s(self) -> float:
        """Processor time until now, with that of the processes that it has started."""
        own = psutil.Process(self.process.pid)
        times = [each.cpu_times() for each in (own, *own.children(recursive=True))]
        return float(sum(each.user + each.system for each in times))

    def memory_mib(self) -> float:
        return float(psutil.Process(self.process.pid).memory_info().rss) / 2**20


@dataclass
class Server:
    """llama.cpp by itself: its address for the usual bot, and calls into the library."""

    process: Process
    address: str
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def ask(self, questions: Mapping[int, str], tokens: int) -> dict[int, tuple[float, float, int]]:
        """Seconds to the first and to the last text of each, and its tokens, by seed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        async with self._turn:
            self.process.stdin.write(json.dumps({"questions": questions, "tokens": tokens}).encode() + b"\n")
            await self.process.stdin.drain()
            said = json.loads(await self.process.stdout.readline())
        return {int(seed): tuple(times) for seed, times in said.items()}

    async def count(self, text: str) -> int:
        """Tokens of a text."""
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.address}/tokenize", json={"content": text}) as response,
        ):
            return len((await response.json())["tokens"])


@asynccontextmanager
async def llama() -> AsyncIterator[Server]:
    arguments = (str(SLOTS), str(CONTEXT), str(available_cores()))
    async with _running("-m", "benchmarks.rivals.llama", *arguments, stdin=PIPE) as process:
        yield Server(process, await _line(process))


@asynccontextmanager
async def partyline(
    wire: TelegramServer | DiscordServer, folder: Path, tokens: int, **changes: str
) -> AsyncIterator[Contender]:
    """`partyline run` as it is without a configuration, but for the model and the length of an answer."""
    environ = {
        "PARTYLINE_MODEL": "demo",
        "PARTYLINE_CAPTIONER": "demo",
        "PARTYLINE_DATABASE": str(folder / "partyline.sqlite3"),
        "PARTYLINE_LIMITS__DEFAULT_MAX_TOKENS": str(tokens),
        "PARTYLINE_LOG_LEVEL": "error",
        **changes,
    }
    if isinstance(wire, TelegramServer):
        environ |= {"TELEGRAM_TOKEN": telegram_server.TOKEN, "TELEGRAM_API_BASE": wire.address}
    else:
        environ |= {"DISCORD_TOKEN": discord_server.TOKEN, "DISCORD_API_BASE": f"{wire.address}/api/v10"}
    async with _running("-m", "adapters.cli", "run", environ=environ) as process:
        yield Contender(process)


@asynccontextmanager
async def usual_bot(wire: TelegramServer | DiscordServer, source: str, tokens: int) -> AsyncIterator[Contender]:
    """The usual bot over a server's address, or over `threads`."""
    if isinstance(wire, TelegramServer):
        arguments = ["benchmarks.rivals.telegram_bot", wire.address, source, str(tokens)]
        environ = {"BOT_TOKEN": telegram_server.TOKEN}
    else:
        api = f"{wire.address}/api/v10"
        arguments = ["benchmarks.rivals.discord_bot", api, source, str(tokens), wire.gateway]
        environ = {"BOT_TOKEN": discord_server.TOKEN}
    async with _running("-m", *arguments, environ=environ) as process, asyncio.TaskGroup() as tasks:
        contender = Contender(process, set())
        listening = tasks.create_task(_listen(contender))
        try:
            yield contender
        finally:
            listening.cancel()


async def _listen(contender: Contender) -> None:
    assert contender.process.stdout is not None
    assert contender.finished is not None
    while line := (await contender.process.stdout.readline()).decode().split():
        contender.finished.add(" ".join(line))


@asynccontextmanager
async def busy_process() -> AsyncIterator[None]:
    """Something else that computes all the time, on one core."""
    async with _running("-c", "while True: pass"):
        yield


@asynccontextmanager
async def scripted_server(script: Path, slots: int) -> AsyncIterator[str]:
    """The address of a server without weights that answers at a speed of its own."""
    environ = {"PARTYLINE_SERVE__KEY": "unused", "PARTYLINE_SERVE__PORT": "0", "PARTYLINE_MODEL": f"scripted:{script}"}
    environ |= {"PARTYLINE_INFERENCE__SLOTS": str(slots), "PARTYLINE_CAPTIONER": "", "PARTYLINE_LOG_LEVEL": "error"}
    environ |= {"PARTYLINE_INFERENCE__MAX_WAITING": "2000", "PARTYLINE_INFERENCE__MAX_WAITING_PER_PERSON": "2000"}
    environ |= {"PARTYLINE_INFERENCE__MAX_ACTIVE_PER_PERSON": str(slots)}
    async with _running("-m", "adapters.cli", "serve", environ=environ) as process:
        while "ready" not in (line := await _line(process)):
            pass
        yield line.split()[-1]


async def _line(process: Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(READY_WITHIN_S):
        line = (await process.stdout.readline()).decode().strip()
    if not line:
        raise RuntimeError(f"a contender ended before it said anything: {process}")
    return line


@asynccontextmanager
async def _running(
    *arguments: str, environ: Mapping[str, str] | None = None, stdin: int = DEVNULL
) -> AsyncIterator[Process]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PARTYLINE_")}
    inherited |= {"PYTHONPATH": os.getcwd(), **(environ or {})}
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env=inherited, stdin=stdin, stdout=PIPE, limit=2**20
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()

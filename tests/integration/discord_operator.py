"""`partyline run` on a Discord, as an operator starts it, kills it and reads its log."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.fakes import script
from tests.servers.discord import TOKEN, DiscordServer
from tests.servers.discord_world import Room

LINES: tuple[dict[str, Any], ...] = (
    {"match": "slow", "answer": "word " * 150, "tokens_per_s": 40},
    {"match": "epic", "answer": "word " * 450, "tokens_per_s": 100},
    {"match": "tide", "answer": "The moon pulls. " * 20, "tokens_per_s": 20},
)


class Operator:
    """Starts the program in a folder."""

    def __init__(self, folder: Path, discord: DiscordServer, **environ: str) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("PARTYLINE_")} | {
            "PARTYLINE_MODEL": f"scripted:{script(folder, *LINES)}",
            "PARTYLINE_CAPTIONER": "",
            "DISCORD_TOKEN": TOKEN,
            "DISCORD_API_BASE": f"{discord.address}/api/v10",
            "DISCORD_GATEWAY_URL": discord.gateway,
            **environ,
        }

    @asynccontextmanager
    async def running(self, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
        code = "from adapters.cli import main; main()"
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", code, *(arguments or ("run",))),
                cwd=self.folder,
                env={**self.environ, "PYTHONPATH": os.getcwd()},
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            await process.wait()

    async def ready(self, process: asyncio.subprocess.Process) -> str:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            return (await process.stdout.readline()).decode()


def answers(discord: DiscordServer, room: Room) -> list[dict[str, Any]]:
    return [message for message in room.messages if message["author"]["id"] == discord.bot["id"]]

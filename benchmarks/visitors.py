"""Visitors who open the page at the same moment: how long the last one waits, and what a first load weighs.

`python -m benchmarks.visitors` starts the program on a channel full of long posts, and opens the page as many people
at once. Each of them loads the document and the socket, and is there when the settings
have come. The visitors share this machine with the server, so the figure holds both sides' work.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil

from adapters.delivery.channel import Frame
from adapters.storage.database.database import open_database
from adapters.storage.sql.web_posts import SqlPosts
from adapters.web.posts.posts import Post, StoredFile, decode, encode

VISITORS = 400
GOAL_S = 5.0
GOAL_BYTES = 1_000_000
_POSTS = 400
_LINKED = re.compile(r'(?:src|href)="(/static/[^"#]+)"')
_IMPORTED = re.compile(r'from "\./([^"]+)"')
_LARGE_FONT = "/static/math.woff"
"""Loaded where a formula is shown; the first load counts it."""


@dataclass(frozen=True)
class Arrival:
    seconds: float
    bytes: int


async def fill(database: Path) -> None:
    """As one guest left it who wrote as much as fits into a message, 400 times, with answers between."""
    async with open_database(str(database)) as opened:
        posts = SqlPosts[Post, StoredFile](opened, encode=encode, decode=decode, make_file=StoredFile)
        for number in range(_POSTS):
            author = "web:somebody" if number % 2 else ""
            await posts.append(
                Post(
                    id=f"p{number}",
                    position=0,
                    kind="person" if author else "bot",
                    author=author,
                    name="Somebody" if author else "Partyline",
                    frame=Frame(markdown="Many words, and `code`. " * 1000),
                    event_id=f"web:somebody/{number}" if author else "",
                    nonce="" if author else f"n{number}",
                )
            )


@asynccontextmanager
async def program(folder: Path) -> AsyncIterator[tuple[str, psutil.Process]]:
    """`partyline run` with the page alone; its address, and its process."""
    script = folder / "script.jsonl"
    script.write_text(json.dumps({"match": "", "answer": "Hello."}) + "\n")
    environment = os.environ | {
        "PARTYLINE_MODEL": f"scripted:{script}",
        "PARTYLINE_CAPTIONER": "",
        "PARTYLINE_DATABASE": str(folder / "page.sqlite3"),
        "PARTYLINE_WEB__ENABLED": "true",
        "PARTYLINE_WEB__PORT": "0",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "adapters.cli", "run", env=environment, stdout=asyncio.subprocess.PIPE
    )
    try:
        while process.stdout is not None and (line := (await process.stdout.readline()).decode()):
            if found := re.search(r"http://\S+", line):
                yield found[0], psutil.Process(process.pid)
                break
    finally:
        process.terminate()
        await process.wait()


async def files_of_the_page(session: aiohttp.ClientSession, address: str) -> list[str]:
    """What the document and its scripts name."""
    async with session.get(address) as response:
        found = list(dict.fromkeys(_LINKED.findall(await response.text())))
    for name in found:  # grows while it is read
        if name.endswith(".js"):
            async with session.get(address + name[1:]) as response:
                for imported in _IMPORTED.findall(await response.text()):
                    if f"/static/{imported}" not in found:
                        found.append(f"/static/{imported}")
    return [*found, _LARGE_FONT]


class Crowd:
    """Visitors who stay until all of them are there, or have failed."""

    def __init__(self, visitors: int) -> None:
        self._missing = visitors
        self._complete = asyncio.Event()

    async def arrive(self, address: str, files: list[str]) -> Arrival:
        started, size = time.perf_counter(), 0
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar, timeout=aiohttp.ClientTimeout(600)) as session:
            try:
                for name in ["/", *files]:
                    async with session.get(address + name[1:]) as response:
                        size += len(await response.read())
                socket = await session.ws_connect(address + "ws", max_msg_size=0)
                async for message in socket:
                    size += len(message.data)
                    if message.data.startswith('{"type":"settings"'):
                        break
                arrival = Arrival(time.perf_counter() - started, size)
            finally:
                self._missing -= 1
                if not self._missing:
                    self._complete.set()
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(_read(socket))
                await self._complete.wait()
                reading.cancel()
            await socket.close()
        return arrival


async def _read(socket: aiohttp.ClientWebSocketResponse) -> None:
    async for _ in socket:
        pass


async def crowd(address: str, visitors: int, files: list[str]) -> list[Arrival]:
    together = Crowd(visitors)
    return await asyncio.gather(*(together.arrive(address, files) for _ in range(visitors)))


async def measure(visitors: int) -> bool:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        await fill(folder / "page.sqlite3")
        async with program(folder) as (address, server):
            async with aiohttp.ClientSession() as session:
                files = await files_of_the_page(session, address)
            (alone,) = await crowd(address, 1, files)
            worked = server.cpu_times()
            started, own = time.perf_counter(), time.process_time()
            arrivals = await crowd(address, visitors, [])
            took, own = time.perf_counter() - started, time.process_time() - own
            now = server.cpu_times()
    waits = sorted(arrival.seconds for arrival in arrivals)
    last = waits[-1]
    print(f"a first load: {alone.bytes / 1000:,.0f} kB in {alone.seconds:.2f} s (wanted: at most 1,000 kB)")
    print(f"{visitors} at once: median {statistics.median(waits):.2f} s, last {last:.2f} s (wanted: {GOAL_S:g} s)")
    busy = now.user + now.system - worked.user - worked.system
    print(f"in {took:.2f} s the server worked {busy:.2f} s, the visitors {own:.2f} s (processor time)")
    return alone.bytes <= GOAL_BYTES and last <= GOAL_S


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visitors", type=int, default=VISITORS)
    options = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return 0 if asyncio.run(measure(options.visitors)) else 1


if __name__ == "__main__":
    sys.exit(main())

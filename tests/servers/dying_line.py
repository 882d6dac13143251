"""A line to a server on which connections die without a word, as in a laptop that sleeps; new ones work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class _Line:
    def __init__(self, port: int) -> None:
        self._port = port
        self._dead = asyncio.Event()
        self._writers: list[asyncio.StreamWriter] = []
        self.tasks: list[asyncio.Task[None]] = []

    def die(self) -> None:
        """Nothing passes any more over what is connected now, and neither side hears of it."""
        self._dead.set()
        self._dead = asyncio.Event()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, back]
        for source, target in ((reader, back), (there, writer)):
            self.tasks.append(asyncio.create_task(self._pump(source, target, self._dead)))

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, dead: asyncio.Event) -> None:
        while data := await source.read(65536):
            if dead.is_set():
                await asyncio.Event().wait()
            target.write(data)
            await target.drain()
        if dead.is_set():
            await asyncio.Event().wait()
        target.close()

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)


@asynccontextmanager
async def dying_line(behind: str) -> AsyncIterator[tuple[str, Callable[[], None]]]:
    """Yields the line's address, and what makes all that is connected now die."""
    line = _Line(urlsplit(behind).port or 0)
    server = await asyncio.start_server(line.connect, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", line.die
    finally:
        server.close()
        await line.close()

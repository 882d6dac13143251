"""A line between programs and a server, which may be a long one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path


class SlowLine:
    """A TCP port in front of a Unix socket. What programs send arrives `delay_s` later, so a round trip takes as long.

    While nobody listens on the socket, whoever connects is hung up on.
    """

    def __init__(self, target: Path) -> None:
        self.delay_s = 0.0
        self.port = 0
        self._target = target
        self._ends: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[SlowLine]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._ends:
                task.cancel()
            await asyncio.gather(*self._ends, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._carry(reader, writer))
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            try:
                there, back = await asyncio.open_unix_connection(str(self._target))
            except OSError:
                writer.transport.abort()
                return
            ways = [asyncio.ensure_future(each) for each in (self._slowly(reader, back), _at_once(there, writer))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
                writer.transport.abort()
                back.transport.abort()

    async def _slowly(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        now = asyncio.get_running_loop().time
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def arrive() -> None:
            while True:
                at, data = await under_way.get()
                await asyncio.sleep(max(0.0, at - now()))
                writer.write(data)
                await writer.drain()

        async with asyncio.TaskGroup() as group:
            arriving = group.create_task(arrive())
            while data := await reader.read(2**16):
                under_way.put_nowait((now() + self.delay_s, data))
            arriving.cancel()


async def _at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(2**16):
        writer.write(data)
        await writer.drain()

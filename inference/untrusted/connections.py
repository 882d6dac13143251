"""Listens for HTTP, and bounds what connections cost that send nothing, send slowly, or are many.

A connection that has not sent a whole request head in time is closed. Of those that have sent none yet only the newest
are kept, so that opening many locks nobody out: an honest client's head comes within milliseconds. Those that have sent
nothing at all go first: a head that is there is read a moment later. Where all places are taken, a connection that is
kept open between two requests makes room. Bodies are never unpacked: a compressed one is
refused, and so is one of chunks that are tiny. Of no connection more than some kilobytes are parsed in one go. A
WebSocket is read no faster than a person could need.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import StreamReader, web
from aiohttp.http_exceptions import HttpProcessingError

from inference.untrusted.hosts import one_place, plain_address, plain_network

log = logging.getLogger(__name__)

_requests = logging.getLogger(f"{__name__}.requests")


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether a line is about a fault of ours: aiohttp quotes a head that it cannot read in full, be it 5 MB of NUL."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


_requests.addFilter(_is_ours)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_KEEPALIVE_S = 75.0
_LINGERING_S = 2.0
_BACKLOG = 1024
_ACCEPTED_AT_ONCE = 16
"""Less than the fewest that are kept without a request: a head that is there already is read before others push out
the connection that it came by."""
_PIECE = 2**14
_SMALL_PIECE = 2**11
"""What is parsed in one go where each byte may cost much: heads, chunks and frames."""
_OTHER_FILES = 512
_WARNING_EVERY_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionBounds:
    """Limits of one listening port.

    Args:
        head_s: seconds for a request's line and headers, from the connection or from their first byte on.
        without_request: connections that have not sent a whole request head; the oldest makes room for a new one. More
            than one address may have: who is far away needs a round trip for the head.
        total: connections; of those that are idle, the one that has been so for longest makes room for a new one. Where
            there is none, the new one is closed at once.
        per_address: the same of one address that is not this machine's own.
        shared: addresses and networks of proxies, which `per_address` does not bound.
        socket_bytes: what a WebSocket brings at once, and again over `socket_s` seconds; the rest stays in the network.
            Counted before any of it is parsed, so it holds for frames that become no message too.
        framing_bytes: what the chunks of a body may have around them at once beyond a sixteenth of what is in them, and
            again over `framing_s` seconds; a connection with more is closed. 5 bytes are around the smallest chunk.
    """

    head_s: float = 10.0
    without_request: int = 512
    total: int = 2048
    per_address: int = 200
    shared: Collection[str] = ()
    socket_bytes: int = 2**20
    socket_s: float = 8.0
    framing_bytes: int = 2**13
    framing_s: float = 32.0


@asynccontextmanager
async def listening(
    app: web.Application, host: str, port: int, *, bounds: ConnectionBounds | None = None, **options: Any
) -> AsyncIterator[int]:
    """Serve `app` while the context is open; yields the port.

    Args:
        port: 0 takes a free one.
        options: for `web.AppRunner`.

    Raises:
        OSError: if the port is taken.
    """
    bounds = bounds or ConnectionBounds()
    _allow_files(bounds.total)
    gate = _Gate(bounds)
    app.middlewares.insert(0, gate.noticed)
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_requests,
        auto_decompress=False,
        keepalive_timeout=_KEEPALIVE_S,
        lingering_time=_LINGERING_S,
        **options,
    )
    await runner.setup()
    try:
        make = runner.server
        if make is None:
            raise RuntimeError("a runner without a server")
        loop = asyncio.get_running_loop()
        # What asyncio calls the backlog is also how many it accepts in one go.
        server = await loop.create_server(lambda: _Connection(make(), gate), host, port, backlog=_ACCEPTED_AT_ONCE)
        for each in server.sockets:
            with each.dup() as listener:
                listener.listen(_BACKLOG)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
    finally:
        await runner.cleanup()


def _allow_files(connections: int) -> None:
    """Raise this process's soft limit of open files, where it is lower than the connections that it takes need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def check_body(request: web.Request, limit: int) -> None:
    """Refuse a body from its headers alone.

    Raises:
        web.HTTPRequestEntityTooLarge: if its declared length is over `limit` bytes.
        web.HTTPUnsupportedMediaType: if it is compressed.
    """
    if (request.content_length or 0) > limit:
        raise web.HTTPRequestEntityTooLarge(limit, request.content_length or 0)
    if request.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise web.HTTPUnsupportedMediaType(text="Send the body without Content-Encoding.\n")


class _Gate:
    """All connections of a port, by transport."""

    def __init__(self, bounds: ConnectionBounds) -> None:
        self.bounds = bounds
        self._shared = [plain_network(each) for each in bounds.shared]
        self._open: dict[asyncio.BaseTransport, _Connection] = {}
        self._addresses: Counter[str] = Counter()
        self._silent: dict[_Connection, None] = {}
        """Nothing has come from them; oldest first."""
        self._begun: dict[_Connection, None] = {}
        """A part of a head has come from them, or a head that is not read yet; oldest first."""
        self._idle: dict[_Connection, None] = {}
        """Their requests are answered, or about to be; the one that has been so for longest first."""
        self._warned_at = float("-inf")
        self.buffer = memoryview(bytearray(_PIECE))
        """Of all connections: what is read into it is parsed before another one is read."""

    @web.middleware
    async def noticed(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        connection = self._open.get(request.transport) if request.transport else None
        if connection is None:
            return await handler(request)
        connection.request_begins(is_socket=request.headers.get("Upgrade", "").strip().lower() == "websocket")
        if "Transfer-Encoding" in request.headers:
            connection.brings_chunks(request.content)
        try:
            return await handler(request)
        finally:
            connection.request_ends()

    def counted(self, peer: object) -> str:
        """The peer's address; "" for this machine and for a proxy, from where everybody behind it comes."""
        address = str(peer[0]) if isinstance(peer, tuple) else ""
        found = plain_address(address)
        if found is not None and (found.is_loopback or any(found in each for each in self._shared)):
            return ""
        return one_place(address)

    def admit(self, connection: _Connection, transport: asyncio.BaseTransport, address: str) -> bool:
        if not self._makes_room(address):
            self._warn(address)
            return False
        self._open[transport] = connection
        if address:
            self._addresses[address] += 1
        return True

    def _makes_room(self, address: str) -> bool:
        """Whether there is a place for one more from there, if need be that of another."""
        if self._addresses[address] >= self.bounds.per_address:
            giver = next((each for each in self._idle if each.address == address), None)
        elif len(self._open) >= self.bounds.total:
            giver = next(iter(self._silent or self._begun or self._idle), None)
        elif len(self._silent) + len(self._begun) >= self.bounds.without_request:
            giver = next(iter(self._silent or self._begun))
        else:
            return True
        if giver is not None:
            giver.abort()
        return giver is not None

    def waits(self, connection: _Connection) -> None:
        self._silent[connection] = None

    def begins(self, connection: _Connection) -> None:
        self.works(connection)
        self._begun[connection] = None

    def rests(self, connection: _Connection) -> None:
        self._idle[connection] = None

    def works(self, connection: _Connection) -> None:
        for waiting in (self._silent, self._begun, self._idle):
            waiting.pop(connection, None)

    def leave(self, connection: _Connection, transport: asyncio.BaseTransport, address: str) -> None:
        self.works(connection)
        if self._open.pop(transport, None) is not None and address:
            self._addresses -= Counter({address: 1})

    def _warn(self, address: str) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._warned_at >= _WARNING_EVERY_S:
            self._warned_at = now
            log.warning("connections are refused, now one from %s: %d are open", address or "here", len(self._open))


class _Connection(asyncio.BufferedProtocol):
    """Stands before aiohttp's protocol, which does the work.

    Its buffer bounds what comes in one go: aiohttp parses all that it is given before anything else has its turn, and
    asyncio would give it 256 kB, which can be 40,000 chunks.
    """

    def __init__(self, inner: asyncio.Protocol, gate: _Gate) -> None:
        self._inner = inner
        self._gate = gate
        self._transport: asyncio.Transport | None = None
        self.address = ""
        self._admitted = False
        self._requests = 0
        self._begun = False
        """A head has begun to come."""
        self._is_socket = False
        self._came, self._came_at = 0.0, 0.0
        """Bytes of the socket that count, and when the last of them came."""
        self._chunked: StreamReader | None = None
        """The newest body that comes in chunks; read to its end also when its request is answered."""
        self._framing, self._framing_at = 0.0, 0.0
        """Bytes around chunks that count, and when the last of them came."""
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.address = self._gate.counted(transport.get_extra_info("peername"))
        self._admitted = self._gate.admit(self, transport, self.address)
        if not self._admitted:
            transport.abort()
            return
        self._gate.waits(self)
        self._await_head()
        self._inner.connection_made(transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        is_plain = self._requests and not self._is_socket and self._chunked is None
        return self._gate.buffer if is_plain else self._gate.buffer[:_SMALL_PIECE]

    def buffer_updated(self, nbytes: int) -> None:
        self._received(bytes(self._gate.buffer[:nbytes]))

    def _received(self, data: bytes) -> None:
        if self._admitted:
            if not self._requests and not self._begun:
                self._begun = True
                self._gate.begins(self)
                if self._deadline is None:
                    self._await_head()
            body, before = self._chunked, self._chunked.total_bytes if self._chunked is not None else 0
            self._inner.data_received(data)
            if body is not None:
                self._weigh(body, len(data), body.total_bytes - before)
            if self._is_socket:
                self._slow_down(len(data))

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._admitted else None

    def pause_writing(self) -> None:
        if self._admitted:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._admitted:
            self._inner.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._has_head()
        if self._admitted and self._transport is not None:
            self._gate.leave(self, self._transport, self.address)
            self._inner.connection_lost(error)

    def request_begins(self, *, is_socket: bool = False) -> None:
        self._requests += 1
        self._is_socket = is_socket
        self._has_head()

    def request_ends(self) -> None:
        self._requests -= 1
        self._is_socket = False
        is_open = self._transport is not None and not self._transport.is_closing()
        if is_open and not self._requests and self._deadline is None:
            self._gate.rests(self)

    def brings_chunks(self, body: StreamReader) -> None:
        self._chunked = body

    def _weigh(self, body: StreamReader, size: int, content: int) -> None:
        """Close a connection whose body is mostly what is around its chunks: each costs as much as a large one."""
        if body.is_eof():
            # What came after the end is no body; the next head is bounded by itself.
            if self._chunked is body:
                self._chunked = None
            return
        bounds, now = self._gate.bounds, asyncio.get_running_loop().time()
        gone = (now - self._framing_at) * bounds.framing_bytes / bounds.framing_s
        self._framing = max(0.0, self._framing - gone) + max(0.0, size - content - content / 16)
        self._framing_at = now
        if self._framing > bounds.framing_bytes:
            log.debug("a body of tiny chunks from %s: closed", self.address or "here")
            self.abort()

    def _slow_down(self, size: int) -> None:
        """Count what came; where it is too much, read on when it no longer is."""
        bounds, loop = self._gate.bounds, asyncio.get_running_loop()
        per_s = bounds.socket_bytes / bounds.socket_s
        self._came = max(0.0, self._came - (loop.time() - self._came_at) * per_s) + size
        self._came_at = loop.time()
        over = self._came - bounds.socket_bytes
        # One that the library has paused is read when its messages are handled, and what comes then is counted.
        if over > 0 and self._transport is not None and self._transport.is_reading():
            self._transport.pause_reading()
            loop.call_later(over / per_s, self._read_on)

    def _read_on(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def abort(self) -> None:
        """Close at once; what was not sent is dropped."""
        self._has_head()
        if self._transport is not None:
            self._transport.abort()

    def _await_head(self) -> None:
        self._deadline = asyncio.get_running_loop().call_later(self._gate.bounds.head_s, self.abort)

    def _has_head(self) -> None:
        self._begun = False
        self._gate.works(self)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

"""Connections that send nothing, send slowly, or are many cost the others nothing."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientSession, web

from inference.untrusted import connections
from inference.untrusted.connections import ConnectionBounds, check_body, listening

PATIENT = ConnectionBounds(head_s=600.0)


async def _echo(request: web.Request) -> web.Response:
    check_body(request, 1000)
    return web.Response(body=await request.read())


@asynccontextmanager
async def served(bounds: ConnectionBounds) -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_get("/", _echo)
    app.router.add_post("/", _echo)
    async with listening(app, "127.0.0.1", 0, bounds=bounds, shutdown_timeout=0.1) as port:
        yield port


async def answer(port: int) -> int:
    async with ClientSession() as session, session.get(f"http://127.0.0.1:{port}/") as response:
        return response.status


@asynccontextmanager
async def opened(port: int, sent: bytes = b"") -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    try:
        yield reader, writer
    finally:
        writer.close()


async def test_a_head_that_does_not_come_closes_its_connection() -> None:
    async with served(ConnectionBounds(head_s=0.2)) as port:
        for sent in (b"", b"GET / HTTP/1.1\r\nHost:"):
            async with opened(port, sent) as (reader, _):
                assert await _rest(reader) == b""
        # Also the second request of a connection has to come; between the two it may be idle.
        async with opened(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") as (reader, writer):
            assert b"200 OK" in await reader.readline()
            await asyncio.sleep(0.4)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"Content-Length: 0" in await reader.readuntil(b"HTTP/1.1 200 OK")
            writer.write(b"GET / HT")
            await _rest(reader)


async def _rest(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionError:
        return b""


async def test_a_request_that_is_handled_has_its_time() -> None:
    goes_on = asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        await goes_on.wait()
        return web.Response(text="done")

    app = web.Application()
    app.router.add_get("/", slow)
    app_bounds = ConnectionBounds(head_s=1.0)
    head = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    async with (
        listening(app, "127.0.0.1", 0, bounds=app_bounds, shutdown_timeout=0.1) as port,
        opened(port, head) as (reader, _),
    ):
        await asyncio.sleep(1.3)
        goes_on.set()
        assert (await reader.read()).endswith(b"done")


async def test_nine_hundred_that_say_nothing_lock_nobody_out() -> None:
    bounds = ConnectionBounds(head_s=600.0, without_request=64)
    async with served(bounds) as port:
        streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(900)]
        assert await answer(port) == 200
        # Only the newest are still there.
        ends = [asyncio.ensure_future(_rest(reader)) for reader, _ in streams]
        for end in ends[: 900 - bounds.without_request]:
            await end
        assert not ends[-1].done()
        for _, writer in streams:
            writer.close()
        await asyncio.gather(*ends)


async def _closed(reader: asyncio.StreamReader) -> None:
    assert await _rest(reader) == b""


async def test_one_that_waits_makes_room_where_all_are_taken() -> None:
    async with served(ConnectionBounds(head_s=600.0, total=3)) as port:
        async with ClientSession() as session, session.get(f"http://127.0.0.1:{port}/"):
            streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            assert await answer(port) == 200
            await _closed(streams[0][0])
        for _, writer in streams:
            writer.close()


async def test_one_that_is_idle_makes_room_where_all_are_taken() -> None:
    head = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    async with served(ConnectionBounds(total=3)) as port, AsyncExitStack() as stack:
        idle = [await stack.enter_async_context(opened(port, head)) for _ in range(3)]
        for reader, _ in idle:
            await reader.readuntil(b"\r\n\r\n")
        assert await answer(port) == 200
        await _rest(idle[0][0])
        reader, writer = idle[2]
        writer.write(head)
        assert b"200 OK" in await reader.readline(), "only the one that was idle for longest is gone"


async def test_one_whose_request_is_handled_makes_no_room() -> None:
    goes_on, begun = asyncio.Event(), asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        begun.set()
        await goes_on.wait()
        return web.Response(text="done")

    app = web.Application()
    app.router.add_get("/", slow)
    head = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    async with (
        listening(app, "127.0.0.1", 0, bounds=ConnectionBounds(total=1), shutdown_timeout=0.1) as port,
        opened(port, head) as (reader, _),
    ):
        await begun.wait()
        async with opened(port, head) as (other, _):
            assert await _rest(other) == b""
        goes_on.set()
        assert (await reader.read()).endswith(b"done")


class _Transport(asyncio.Transport):
    def __init__(self, address: str = "", *, closing: bool = False) -> None:
        super().__init__({"peername": (address, 5)})
        self.closing = closing

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.closing = True


def _connected(gate: connections._Gate, address: str) -> tuple[connections._Connection, _Transport]:
    made, transport = connections._Connection(asyncio.Protocol(), gate), _Transport(address)
    made.connection_made(transport)
    return made, transport


def _answered(made: connections._Connection) -> None:
    made.request_begins()
    made.request_ends()


async def test_an_address_that_is_at_its_bound_gives_up_what_is_idle_of_its_own() -> None:
    gate = connections._Gate(ConnectionBounds(per_address=2))
    other, others = _connected(gate, "10.0.0.8")
    _answered(other)
    made = [_connected(gate, "10.0.0.7") for _ in range(2)]
    assert _connected(gate, "10.0.0.7")[1].closing
    _answered(made[1][0])
    assert not _connected(gate, "10.0.0.7")[1].closing
    assert [transport.closing for _, transport in made] == [False, True]
    assert not others.closing


async def test_one_whose_head_has_come_stays_before_those_that_say_nothing() -> None:
    gate = connections._Gate(ConnectionBounds(without_request=2))
    asking, asks = _connected(gate, "10.0.0.7")
    asking._received(b"GET / HTTP/1.1\r\n\r\n")
    silent = [_connected(gate, "10.0.0.8")[1] for _ in range(5)]
    assert [asks.closing, *(each.closing for each in silent)] == [False, True, True, True, True, False]
    # What has begun and does not go on gives way in its turn.
    others = [_connected(gate, "10.0.0.9") for _ in range(3)]
    for other, _ in others:
        other._received(b"G")
    _connected(gate, "10.0.0.9")
    assert asks.closing


async def test_a_crowd_is_accepted_in_small_lots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever comes in between, a head that is there is read before more are taken than are kept."""
    admitted: list[int] = []
    admit = connections._Gate.admit

    def counted(*args: Any) -> bool:
        admitted.append(1)
        return admit(*args)

    monkeypatch.setattr(connections._Gate, "admit", counted)
    async with served(PATIENT) as port:
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]  # the loop stands still
        lots: list[int] = []
        while sum(lots) < len(clients):
            await asyncio.sleep(0)
            lots.append(len(admitted))
            admitted.clear()
        for client in clients:
            client.close()
    assert max(lots) <= 16


async def test_one_that_has_gone_while_its_request_was_handled_is_not_kept() -> None:
    gate = connections._Gate(ConnectionBounds(total=2))
    gone, transport = _connected(gate, "10.0.0.7")
    gone.request_begins()
    transport.closing = True
    gone.connection_lost(None)
    gone.request_ends()
    idle, closed = _connected(gate, "10.0.0.7")
    _answered(idle)
    _connected(gate, "10.0.0.7")[0].request_begins()
    assert not _connected(gate, "10.0.0.7")[1].closing
    assert closed.closing


async def test_connections_of_one_foreign_address_are_bounded() -> None:
    gate = connections._Gate(ConnectionBounds(per_address=2))
    made = [connections._Connection(asyncio.Protocol(), gate) for _ in range(3)]
    transports = [asyncio.Transport() for _ in made]
    admitted = [gate.admit(each, transport, "10.0.0.7") for each, transport in zip(made, transports, strict=True)]
    assert admitted == [True, True, False]
    assert gate.admit(made[2], transports[2], "10.0.0.8")
    gate.leave(made[0], transports[0], "10.0.0.7")
    assert gate.admit(made[0], transports[0], "10.0.0.7")


def test_this_machine_and_named_proxies_have_no_address_of_their_own() -> None:
    counted = connections._Gate(ConnectionBounds(shared=["10.0.1.0/24", "2001:db8::5"])).counted
    assert counted(("127.0.0.1", 5)) == counted(("::1", 5, 0, 0)) == ""
    assert counted("") == counted(None) == ""
    assert counted(("10.0.0.7", 5)) == "10.0.0.7"
    assert counted(("10.0.1.7", 5)) == counted(("2001:db8::5", 5, 0, 0)) == ""
    # A port for both sees IPv4 in IPv6.
    assert counted(("::ffff:10.0.1.7", 5, 0, 0)) == counted(("::ffff:127.0.0.1", 5, 0, 0)) == ""
    assert counted(("::ffff:10.0.0.7", 5, 0, 0)) == "10.0.0.7"
    assert counted(("2001:db8:1::5", 5, 0, 0)) == counted(("2001:db8:1::6", 5, 0, 0)), "a /64 is one customer's"
    assert counted(("2001:db8:1::5", 5, 0, 0)) != counted(("2001:db8:1:1::5", 5, 0, 0))


async def test_a_declared_length_over_the_limit_is_answered_before_it_comes() -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n"
    async with served(PATIENT) as port, opened(port, head) as (reader, _):
        assert b"413" in await reader.readline()


async def test_a_compressed_body_is_refused_and_never_unpacked() -> None:
    async with served(PATIENT) as port, ClientSession() as session:
        url = f"http://127.0.0.1:{port}/"
        for encoding in ("gzip", "deflate", "br", "gzip, gzip"):
            headers = {"Content-Encoding": encoding}
            async with session.post(url, data=gzip.compress(bytes(10**6))[:900], headers=headers) as response:
                assert response.status == 415
        async with session.post(url, data=b"plain", headers={"Content-Encoding": "identity"}) as response:
            assert await response.read() == b"plain"


async def test_a_head_that_cannot_be_read_is_not_quoted_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with served(PATIENT) as port, opened(port, b"\0" * 100_000) as (reader, _):
        assert b"400" in await reader.readline()
    assert len(caplog.text) < 10_000


async def _until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def test_a_socket_is_read_no_faster_than_it_may_send_whatever_its_frames_are() -> None:
    """Fragments without a word in them never become a message that somebody could count."""
    transports, messages = list[asyncio.Transport](), list[str]()

    async def socket(request: web.Request) -> web.WebSocketResponse:
        response = web.WebSocketResponse()
        await response.prepare(request)
        assert request.transport is not None
        transports.append(request.transport)
        async for message in response:
            messages.append(message.data)
        return response

    app = web.Application()
    app.router.add_get("/ws", socket)
    app.router.add_get("/", _echo)
    handshake = (
        b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    first, empty, last = b"\x01\x81\0\0\0\0a", b"\x00\x80\0\0\0\0", b"\x80\x81\0\0\0\0b"
    bounds = ConnectionBounds(socket_bytes=1000, socket_s=1.0)
    async with (
        listening(app, "127.0.0.1", 0, bounds=bounds, shutdown_timeout=0.1) as port,
        opened(port, handshake) as (reader, writer),
    ):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(first + empty * 300)
        await _until(lambda: bool(transports) and not transports[0].is_reading())
        assert await answer(port) == 200
        writer.write(last)
        await _until(lambda: bool(messages))
        assert messages == ["ab"], "it is read later, and nothing of it is lost"


CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_a_body_of_tiny_chunks_is_not_read_to_its_end() -> None:
    reads: list[int] = []

    async def slow(request: web.Request) -> web.Response:
        async for data in request.content.iter_any():
            reads.append(len(data))  # noqa: PERF401 - each before the next one comes
        return web.Response()

    app = web.Application()
    app.router.add_post("/", slow)
    async with (
        listening(app, "127.0.0.1", 0, shutdown_timeout=0.1) as port,
        opened(port, CHUNKED + b"1\r\n-\r\n" * 50_000 + b"0\r\n\r\n") as (reader, _),
    ):
        assert await _rest(reader) == b""
    assert sum(reads) < 5_000


async def test_tiny_chunks_after_the_answer_are_not_read_either() -> None:
    async with (
        served(PATIENT) as port,
        opened(port, CHUNKED.replace(b" / ", b" /none ") + b"1\r\n-\r\n" * 50_000 + b"0\r\n\r\n") as (reader, _),
    ):
        assert b"HTTP/1.1 200" not in await _rest(reader)
        assert await answer(port) == 200


async def test_chunks_of_an_honest_size_are_read() -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in [b"x" * 100] * 9)
    async with served(PATIENT) as port, opened(port, (CHUNKED + chunks + b"0\r\n\r\n") * 100) as (reader, _):
        for _ in range(100):
            assert await reader.readuntil(b"x" * 900)


async def test_of_no_connection_much_is_parsed_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    parse = web.RequestHandler.data_received

    def seen(self: web.RequestHandler, data: bytes) -> None:
        sizes.append(len(data))
        parse(self, data)

    monkeypatch.setattr(web.RequestHandler, "data_received", seen)
    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    async with served(PATIENT) as port, opened(port, CHUNKED + chunk * 100 + b"0\r\n\r\n") as (reader, _):
        await reader.readuntil(b"\r\n")
    assert max(sizes) <= 2**14

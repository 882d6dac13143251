"""Behind proxies: one browser is one person on every way in, and comes from where it comes from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from unittest.mock import MagicMock

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from adapters.web import server
from adapters.web.security.connection_limits import ConnectionLimits, TooManyHere
from adapters.web.security.door import Door
from adapters.web.security.identity import Identities
from tests.unit.web_parts import Parts, browser_session

PASSWORD = "open, please"
HERE = {"Host": "chat.example", "Origin": "https://chat.example", "X-Forwarded-For": "198.51.100.7"}


@pytest.mark.parametrize("password", ["", PASSWORD])
@pytest.mark.parametrize("proto", ["https", "wss", "WSS", "http, wss"])
async def test_the_socket_is_the_pages_person_whatever_the_proxy_calls_tls(password: str, proto: str) -> None:
    """Traefik says "https" of the page and "wss" of its socket."""
    server = Parts().server(proxies=["127.0.0.1"], hostnames=["chat.example"], password=password)
    async with server.serving() as address, aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        tls = HERE | {"X-Forwarded-Proto": "https"}
        if password:
            response = await session.post(address + "enter", json={"password": password}, headers=tls)
        else:
            response = await session.get(address, headers=tls)
        given = "; ".join(f"{name}={each.value}" for name, each in response.cookies.items())
        assert "__Host-partyline=" in given
        people = []
        for each in ("https", proto):
            headers = HERE | {"X-Forwarded-Proto": each, "Cookie": given}
            async with session.ws_connect(address + "ws", headers=headers) as socket:
                people.append((await socket.receive_json())["person"])
        assert people[0] == people[1]


async def test_one_person_holds_so_many_sockets_and_hears_why_there_is_no_other() -> None:
    async with Parts().server(proxies=["127.0.0.1"]).serving() as address, AsyncExitStack() as stack:
        session = await stack.enter_async_context(browser_session())
        await session.get(address, headers={"X-Forwarded-For": "198.51.100.7"})
        for number in range(20):
            headers = {"X-Forwarded-For": f"198.51.100.{number}"}
            socket = await stack.enter_async_context(session.ws_connect(address + "ws", headers=headers))
            assert (await socket.receive_json())["type"] == "hello"
        async with asyncio.timeout(10), session.ws_connect(address + "ws", headers=headers) as more:
            said = await more.receive_json()
            assert said["type"] == "error"
            assert "close some of its tabs" in said["sentence"]
            assert (await more.receive()).type is aiohttp.WSMsgType.CLOSE
            assert more.close_code == 1013
        async with browser_session() as other, other.ws_connect(address + "ws", headers=headers) as theirs:
            assert (await theirs.receive_json())["type"] == "hello"
        await socket.close()
        async with asyncio.timeout(10):
            while True:
                async with session.ws_connect(address + "ws", headers=headers) as again:
                    if (await again.receive_json())["type"] == "hello":
                        break


async def test_the_people_of_one_address_hold_so_many_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "ConnectionLimits", lambda **_: ConnectionLimits(address=2))
    async with Parts().server(proxies=["127.0.0.1"]).serving() as address, AsyncExitStack() as stack:
        got = []
        for place in ("2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"):
            session = await stack.enter_async_context(browser_session())
            try:
                headers = {"X-Forwarded-For": place}
                await stack.enter_async_context(session.ws_connect(address + "ws", headers=headers))
                got.append(101)
            except aiohttp.WSServerHandshakeError as error:
                got.append(error.status)
        assert got == [101, 101, 429, 101]


async def test_one_person_sends_so_many_uploads_at_the_same_time() -> None:
    """A slow one holds its connection for minutes."""
    over = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="p"; filename="a.png"\r\n\r\n'
        await over.wait()
        yield b"--x--\r\n"

    page = Parts().server()
    async with page.serving() as address, browser_session() as session:
        await session.get(address)
        headers = {"Content-Type": "multipart/form-data; boundary=x"}

        async def sent() -> int:
            async with session.post(address + "upload", data=slow(), headers=headers) as response:
                return response.status

        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            first = [tasks.create_task(sent()) for _ in range(20)]
            while page._forms._people.total() < 20:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            async with session.post(address + "upload", data=b"--x--\r\n", headers=headers) as refused:
                assert (refused.status, "in a moment" in (await refused.json())["sentence"]) == (429, True)
            over.set()
        assert 429 not in [each.result() for each in first]
        assert not page._forms._people


def test_seats_are_given_back_and_loopback_is_many_peoples() -> None:
    seats = ConnectionLimits(person=1, address=1)
    with seats.taken("a", "192.0.2.1") as first, pytest.raises(TooManyHere), seats.taken("b", "192.0.2.1"):
        pass
    with (
        seats.taken("a", "127.0.0.1") as again,
        seats.taken("b", "127.0.0.1") as beside,
        seats.taken("a", "192.0.2.1") as second,
    ):
        assert (first, again, beside, second) == (True, True, True, False)
    assert not seats._people
    assert not seats._addresses


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("9.9.9.9", "9.9.9.9"),
        ("1.1.1.1, 9.9.9.9", "9.9.9.9"),  # what stands before is the visitor's own
        ("1.1.1.1, 9.9.9.9, 203.0.113.5", "9.9.9.9"),  # a network of a service before nginx
        ("1.1.1.1, 9.9.9.9, 203.0.113.5:4433, [2001:db8::5]:443,", "9.9.9.9"),
        ("203.0.113.5, 203.0.113.6", "203.0.113.5"),
        ("9.9.9.9, unknown, 203.0.113.5", "unknown"),
        ("9.9.9.9, ::ffff:203.0.113.5", "9.9.9.9"),
        ("9.9.9.9, 192.0.2.200, [::ffff:192.0.2.201]:443", "9.9.9.9"),
        ("", "127.0.0.1"),
    ],
)
def test_who_comes_through_several_proxies_comes_from_before_them(forwarded: str, address: str) -> None:
    door = Door(Identities("key"), ["127.0.0.1", "203.0.113.0/24", "2001:db8::5", "::ffff:192.0.2.192/122"])
    for peer in ("127.0.0.1", "::ffff:127.0.0.1"):  # a port for both sees IPv4 in IPv6
        transport = MagicMock()
        transport.get_extra_info = lambda name, default=None, peer=peer: (peer, 1) if name == "peername" else default
        request = make_mocked_request("GET", "/", headers={"X-Forwarded-For": forwarded}, transport=transport)
        assert door.visitor(request).address == (address if forwarded else peer)


async def test_whoever_hangs_up_before_the_socket_is_there_fails_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def gone(*_: object) -> None:
        raise aiohttp.ClientConnectionResetError("Cannot write to closing transport")

    monkeypatch.setattr(web.WebSocketResponse, "prepare", gone)
    async with Parts().server().serving() as address, browser_session() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(address + "ws")
    assert not caplog.records

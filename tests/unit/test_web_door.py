"""Behind proxies: one browser is one person on every way in, and comes from where it comes from."""

from __future__ import annotations

import aiohttp
import pytest

from tests.unit.web_parts import Parts

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

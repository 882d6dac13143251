"""New guests without end: what is stored of them, and how many one address may bring."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

import aiohttp
import pytest
from yarl import URL

from adapters.web.channel.setting_views import SettingView
from adapters.web.posts.memory import MemoryPosts
from adapters.web.security.identity import Identities, Identity
from tests.floods import REGULAR, REGULAR_SECRET, Seen, guest
from tests.unit.web_parts import FakePanel, Parts, browser_session, visit


async def test_a_visit_stores_nothing_and_a_message_the_name() -> None:
    posts = MemoryPosts()
    async with Parts(posts=posts).server().serving() as address:
        for _ in range(5):
            async with visit(address):
                pass
        assert await posts.count_names() == 0
        async with visit(address) as page:
            await page.type("hello")
            await page.answer()
            hello = page.seen[0]
            assert await posts.name_of(hello["person"]) == hello["name"]
        assert await posts.count_names() == 1


async def test_a_setting_stores_the_name_too() -> None:
    posts = MemoryPosts()
    async with Parts(posts=posts).server().serving() as address, visit(address) as page:
        await page.say("setting", name="temperature", value="0.3")
        await page.next("settings", lambda message: bool(message.get("sentence")))
        assert await posts.count_names() == 1


async def statuses(address: str, path: str, come_from: list[str], accept: str = "text/html,*/*") -> list[int]:
    """What requests without a cookie get that come through a proxy."""
    got = []
    for each in come_from:
        async with (
            aiohttp.ClientSession(headers={"X-Forwarded-For": each, "Accept": accept}) as session,
            session.get(address + path) as response,
        ):
            got.append(response.status)
            if response.status == 429:
                assert int(response.headers["Retry-After"]) > 0
                assert "try again in" in await response.text()
                assert not response.cookies
    return got


async def test_one_address_brings_so_many_new_guests_and_others_are_let_in() -> None:
    async with Parts().server(proxies=["127.0.0.1"], new_guests=3).serving() as address:
        assert await statuses(address, "", ["192.0.2.1"] * 5) == [200, 200, 200, 429, 429]
        assert await statuses(address, "", ["192.0.2.2"]) == [200]
        six = [f"2001:db8::{number}" for number in range(5)]
        assert await statuses(address, "", six) == [200, 200, 200, 429, 429], "a /64 is one customer's"
        assert await statuses(address, "", ["2001:db8:0:1::1"]) == [200]


async def test_what_looks_whether_the_page_lives_is_never_refused() -> None:
    """A proxy's check comes from the proxy's own address, every second."""
    async with Parts().server(proxies=["127.0.0.1"], new_guests=3).serving() as address:
        assert await statuses(address, "", ["192.0.2.1"] * 6, accept="*/*") == [200] * 6
        assert await statuses(address, "", ["192.0.2.1"]) == [429]


async def test_a_socket_without_a_cookie_is_a_new_guest_too() -> None:
    async with Parts().server(proxies=["127.0.0.1"], new_guests=1).serving() as address:
        headers = {"X-Forwarded-For": "192.0.2.1"}
        async with browser_session() as session:
            async with session.get(address, headers=headers) as response:
                assert response.status == 200
            for _ in range(3):  # who has a cookie is nobody new
                async with session.ws_connect(address + "ws", headers=headers) as socket:
                    assert (await socket.receive_json())["type"] == "hello"
        async with browser_session() as session:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(address + "ws", headers=headers)
            assert refused.value.status == 429
            async with session.post(address + "upload", data=b"", headers=headers) as response:
                assert response.status == 429


async def test_a_page_with_a_password_counts_those_who_enter() -> None:
    async with Parts().server(proxies=["127.0.0.1"], new_guests=1, password="x").serving() as address:
        got = []
        for _ in range(3):
            async with browser_session() as session:
                headers = {"X-Forwarded-For": "192.0.2.1"}
                assert (await session.get(address, headers=headers)).status == 200, "the form is for everybody"
                posted = await session.post(address + "enter", json={"password": "x"}, headers=headers)
                got.append(posted.status)
        assert got == [200, 429, 429]


@pytest.mark.parametrize(
    ("method", "path", "dest"),
    [
        ("GET", "", "image"),
        ("GET", "", "empty"),
        ("GET", "", "iframe"),
        ("HEAD", "", None),
        ("GET", "ws", "image"),
        ("GET", "ws", None),
    ],
)
async def test_a_look_of_another_site_or_a_probe_is_no_new_guest(method: str, path: str, dest: str | None) -> None:
    async with Parts().server(proxies=["127.0.0.1"], new_guests=1).serving() as address:
        here = {"X-Forwarded-For": "192.0.2.1"}
        looks = here | ({"Sec-Fetch-Dest": dest, "Sec-Fetch-Site": "cross-site"} if dest else {})
        for _ in range(3):
            async with (
                aiohttp.ClientSession() as session,
                session.request(method, address + path, headers=looks) as got,
            ):
                assert (got.status, dict(got.cookies)) == (400 if path else 200, {})
        opened = here | {"Sec-Fetch-Dest": "document"}
        async with aiohttp.ClientSession() as session, session.get(address, headers=opened) as got:
            assert (got.status, list(got.cookies)) == (200, ["partyline"])
        assert await statuses(address, "", ["192.0.2.1"]) == [429]


async def test_loopback_has_no_bound() -> None:
    async with Parts().server(new_guests=1).serving() as address:
        assert await statuses(address, "", ["192.0.2.1"] * 5) == [200] * 5, "that is no proxy"


class SlowForGuests(FakePanel):
    async def describe(self, person_id: str) -> Sequence[SettingView]:
        if person_id != REGULAR:
            await asyncio.Event().wait()
        return await super().describe(person_id)


@pytest.mark.parametrize("collected", [False, True], ids=["new", "with collected cookies"])
async def test_whoever_has_been_here_before_joins_beside_a_crowd_that_has_not(collected: bool) -> None:
    """Nor has a crowd whose cookies were collected a day before, with which nothing was ever asked."""
    parts = Parts(panel=SlowForGuests())
    parts.bot.known = [REGULAR]
    days_ago = int(time.time() - 2 * 86_400)
    async with (
        parts.server(key=REGULAR_SECRET).serving() as address,
        AsyncExitStack() as crowd,
    ):
        for number in range(10):
            session = await crowd.enter_async_context(browser_session())
            if collected:
                cookie = Identities(REGULAR_SECRET).cookie_of(Identity(f"{number:064x}", days_ago))
                session.cookie_jar.update_cookies({"partyline": cookie}, URL(address))
            await crowd.enter_async_context(session.ws_connect(address + "ws"))
        async with guest(address, Seen(), is_regular=True) as (someone, _), asyncio.timeout(30):
            assert await someone.ask("a word") is not None
